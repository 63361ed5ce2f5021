//! The settings: read from the command line and the environment, and checked before a port is bound.
//! Apart from the OpenTelemetry SDK, which reads its own variables, nothing else reads the environment.

mod cli;
mod environment;
mod error;
pub(crate) mod otel;
mod parse;
pub(crate) mod telemetry;

use std::{env, ffi::OsString, net::IpAddr};

use clap::{CommandFactory, FromArgMatches};
use reqwest::Url;

pub use self::{
    cli::{
        AppKeyOptions, AttemptRate, Attempts, Authz, AuthzMode, AuthzOptions, ClientAuth, Command,
        Explain, Limits, Probe, Sandbox, SelfSigned, Serve, TlsOptions, TlsVersion,
    },
    error::ConfigError,
    telemetry::LogFormat,
};
pub(crate) use self::{parse::parse_app_key, telemetry::Telemetry};
use crate::address::Address;

/// Reads the command line and the environment.
///
/// # Errors
///
/// The first setting that is wrong or missing.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ConfigError> {
    check_encoding()?;
    with_variables(Command::command())
        .try_get_matches_from(with_default_command(args))
        .and_then(|matches| Command::from_arg_matches(&matches))
        .or_else(|error| match error.use_stderr() {
            false => Ok(Command::Help(error.render().to_string())),
            true => Err(ConfigError::from_clap(&error)),
        })
}

/// Gives each flag its variable: `RESET_GATEWAY_TIMEOUT` for `--timeout`.
fn with_variables(cli: clap::Command) -> clap::Command {
    cli.mut_subcommands(|command| {
        command.mut_args(|arg| {
            let Some(flag) = arg.get_long() else {
                return arg;
            };
            // clap takes only a name that lives as long as the program.
            let variable: &str = error::variable_of(flag).leak();
            // clap refuses this setting on a flag without a value.
            let takes_value = arg.get_action().takes_values();
            let arg = arg.env(variable).hide_env_values(true);
            arg.allow_negative_numbers(takes_value)
        })
    })
}

/// Checks that the gateway's variables are UTF-8: clap would not name the one that is not.
fn check_encoding() -> Result<(), ConfigError> {
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("RESET_GATEWAY_") && value.to_str().is_none() {
            return Err(ConfigError::new(&name, "must be UTF-8"));
        }
    }
    Ok(())
}

/// Inserts `serve` if no command is named.
fn with_default_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<_> = args.into_iter().collect();
    match args.get(1).and_then(|arg| arg.to_str()) {
        Some("-h" | "--help" | "-V" | "--version") => {}
        Some(command) if !command.starts_with('-') => {}
        _ => args.insert(1.min(args.len()), "serve".into()),
    }
    args
}

impl Serve {
    /// Checks the options against each other.
    ///
    /// # Errors
    ///
    /// The first option that does not go with the others, or that they require.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let (flag, expected) = match &self.upstream_url {
            None if !self.sandbox => (
                "--upstream-url",
                "is missing: it takes the API's base URL, such as https://api.example.com; or use --sandbox",
            ),
            Some(_) if self.sandbox => {
                ("--sandbox", "cannot be given together with --upstream-url")
            }
            Some(_) if self.sandbox_listen.is_some() => ("--sandbox-listen", "goes with --sandbox"),
            Some(_) if self.self_signed.is_given() => ("--tls-self-signed", "goes with --sandbox"),
            _ if self.authz.authz_mode == AuthzMode::Audit && self.authz.authz_policy.is_none() => {
                ("--authz-mode", "goes with --authz-policy")
            }
            _ => return self.check_tls().and_then(|()| self.check_addresses()),
        };
        Err(ConfigError::new(flag, expected))
    }

    /// Refuses an option of TLS without the one that it goes with.
    fn check_tls(&self) -> Result<(), ConfigError> {
        let tls = &self.tls;
        let (cert, key) = (tls.tls_cert.is_some(), tls.tls_key.is_some());
        let ca = tls.tls_client_ca.is_some();
        for (flag, is_given, other, is_other_given) in [
            ("--tls-cert", cert, "--tls-key", key),
            ("--tls-key", key, "--tls-cert", cert),
            ("--tls-client-ca", ca, "--tls-cert", cert),
            (
                "--tls-client-auth",
                tls.tls_client_auth.is_some(),
                "--tls-client-ca",
                ca,
            ),
            (
                "--tls-client-crl",
                tls.tls_client_crl.is_some(),
                "--tls-client-ca",
                ca,
            ),
            (
                "--tls-min-version",
                tls.tls_min_version.is_some(),
                "--tls-cert",
                cert,
            ),
        ] {
            if is_given && !is_other_given {
                return Err(ConfigError::new(flag, format!("goes with {other}")));
            }
        }
        Ok(())
    }

    /// Whether requests to the API leave this machine without TLS.
    pub(crate) fn is_upstream_in_clear(&self) -> bool {
        let url = self.upstream_url.as_ref();
        url.is_some_and(|url| url.scheme() == "http" && !is_loopback(url))
    }

    /// Refuses an address that two listeners have.
    fn check_addresses(&self) -> Result<(), ConfigError> {
        let listen = self.listen.iter().cloned();
        let grpc = listen.map(|address| ("--listen", address));
        let tcp = |flag, address: Option<_>| Some((flag, Address::Tcp(address?)));
        let admin = tcp("--admin-listen", self.admin_listen);
        let sandbox = tcp("--sandbox-listen", self.sandbox_listen);
        let mut seen = Vec::new();
        for (flag, address) in grpc.chain(admin).chain(sandbox) {
            if seen.iter().any(|other| address.overlaps(other)) {
                let expected = "takes an address that no other listener has";
                return Err(ConfigError::new(flag, expected));
            }
            seen.push(address);
        }
        Ok(())
    }
}

impl Probe {
    /// Whether gRPC calls over TCP need TLS.
    pub(crate) fn needs_tls(&self) -> bool {
        self.tls_cert.is_some() || self.self_signed.is_given()
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
