//! The settings: read from the command line and the environment, and checked before a port is bound.
//! Apart from the OpenTelemetry SDK, which reads its own variables, nothing else reads the environment.

mod cli;
mod environment;
mod error;
pub(crate) mod otel;
mod parse;
pub(crate) mod telemetry;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};
use http::HeaderValue;

use self::{cli::Cli, environment::check_encoding};
pub use self::{
    cli::{
        AppKeyOptions, AttemptRate, Attempts, Command, Explain, Limits, LogOptions, OrOff, Probe,
        Sandbox, SandboxListen, Serve,
    },
    error::ConfigError,
    telemetry::{LogFormat, Telemetry},
};
use crate::{address::Address, app_key};

/// Reads the command line and the environment.
///
/// # Errors
///
/// The first setting that is wrong or missing.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ConfigError> {
    check_encoding("RESET_GATEWAY_")?;
    let cli = with_variables(Cli::command())
        .try_get_matches_from(with_default_command(args))
        .and_then(|matches| Cli::from_arg_matches(&matches));
    match cli {
        Ok(Cli { command }) => {
            if let Command::Serve(serve) = &command {
                serve.check()?;
            }
            Ok(command)
        }
        Err(error) if !error.use_stderr() => Ok(Command::Help(error.render().to_string())),
        Err(error) => Err(ConfigError::from_clap(&error)),
    }
}

/// Gives each flag its variable: `RESET_GATEWAY_TIMEOUT` for `--timeout`.
fn with_variables(cli: clap::Command) -> clap::Command {
    cli.mut_subcommands(|command| {
        command.mut_args(|arg| {
            let Some(flag) = arg.get_long() else {
                return arg;
            };
            // clap keeps it for as long as the program runs.
            let variable: &str = error::variable_of(flag).leak();
            // Flags without a value refuse the last setting.
            let takes_value = arg.get_action().takes_values();
            let arg = arg.env(variable).hide_env_values(true);
            arg.allow_negative_numbers(takes_value)
        })
    })
}

/// Inserts `serve` if no command is named.
fn with_default_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<_> = args.into_iter().collect();
    let is_option = |arg: &OsString| arg.as_encoded_bytes().starts_with(b"-");
    let is_about_all = |arg: &OsString| {
        ["-h", "--help", "-V", "--version"]
            .iter()
            .any(|flag| arg == flag)
    };
    let names_none = args
        .get(1)
        .is_none_or(|arg| is_option(arg) && !is_about_all(arg));
    if names_none {
        args.insert(1.min(args.len()), "serve".into());
    }
    args
}

impl Serve {
    /// Checks what has to hold between the options.
    fn check(&self) -> Result<(), ConfigError> {
        match (&self.upstream_url, self.sandbox) {
            (None, false) => Err(ConfigError::flag(
                "--upstream-url",
                "is missing: it takes the API's base URL, such as https://api.example.com; or use --sandbox",
            )),
            (Some(_), true) => Err(ConfigError::flag(
                "--sandbox",
                "cannot be given together with --upstream-url",
            )),
            (Some(_), false) if self.sandbox_listen.sandbox_listen.is_some() => {
                Err(ConfigError::flag("--sandbox-listen", "goes with --sandbox"))
            }
            _ => self.check_addresses(),
        }
    }

    /// No address may be listened on twice. Port 0 is a different port each time.
    fn check_addresses(&self) -> Result<(), ConfigError> {
        let sandbox = self.sandbox.then(|| self.sandbox_listen.address());
        let others = [
            ("--admin-listen", self.admin_listen),
            ("--sandbox-listen", sandbox),
        ];
        let others = others
            .into_iter()
            .filter_map(|(flag, address)| Some((flag, Address::Tcp(address?))));
        let listen = self.listen.iter().cloned();
        let mut seen = Vec::new();
        for (flag, address) in listen.map(|address| ("--listen", address)).chain(others) {
            if seen.contains(&address) && !address.is_any_port() {
                return Err(ConfigError::flag(
                    flag,
                    "takes an address that no other listener has",
                ));
            }
            seen.push(address);
        }
        Ok(())
    }
}

impl AppKeyOptions {
    /// The application key that is used at the start; `None` if callers send their own.
    ///
    /// # Errors
    ///
    /// The key file cannot be used.
    pub(crate) fn read(&self) -> Result<Option<HeaderValue>, ConfigError> {
        let Some(path) = &self.app_key_file else {
            return Ok(self.app_key.clone());
        };
        app_key::read(path).map(Some).map_err(|error| {
            let expected = format!("takes a file with an application key ({error})");
            ConfigError::flag("--app-key-file", expected)
        })
    }
}
