//! The settings: read from the command line and the environment, and checked before a port is bound.
//! Apart from the OpenTelemetry SDK, which reads its own variables, nothing else reads the environment.

mod access;
mod check;
mod cli;
mod environment;
mod error;
pub(crate) mod otel;
mod parse;
pub(crate) mod telemetry;

use std::{env, ffi::OsString};

use clap::{CommandFactory, FromArgMatches};
use clap_complete::Shell;

pub use self::{
    access::{AuthzMode, AuthzOptions, ClientAuth, SelfSigned, TlsOptions, TlsVersion},
    cli::{AppKeyOptions, Attempts, Authz, Command, Explain, Limits, Probe, Sandbox, Serve},
    error::ConfigError,
    parse::AttemptRate,
    telemetry::LogFormat,
};
pub(crate) use self::{parse::parse_app_key, telemetry::Telemetry};

/// Reads the command line and the environment.
///
/// # Errors
///
/// The first setting that is wrong or missing.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ConfigError> {
    let args = with_default_command(args);
    check_encoding(&args)?;
    with_variables(Command::command())
        .try_get_matches_from(args)
        .and_then(|matches| Command::from_arg_matches(&matches))
        .or_else(|error| match error.use_stderr() {
            false => Ok(Command::Help(error.render().to_string())),
            true => Err(ConfigError::from_clap(&error)),
        })
}

/// The script by which the shell completes commands and options.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    let mut command = Command::command();
    clap_complete::generate(shell, &mut command, "reset-gateway", &mut script);
    String::from_utf8(script).expect("clap_complete writes UTF-8")
}

/// Gives each flag its variable, `RESET_GATEWAY_TIMEOUT` for `--timeout`, and all arguments their common settings.
fn with_variables(cli: clap::Command) -> clap::Command {
    cli.mut_subcommands(|command| {
        command.mut_args(|arg| {
            // clap refuses some settings on a flag without a value.
            let takes_value = arg.get_action().takes_values();
            // The options' texts name their values.
            let arg = arg.hide_possible_values(takes_value);
            let Some(flag) = arg.get_long() else {
                return arg;
            };
            // clap takes only a name that lives as long as the program.
            let variable: &str = error::variable_of(flag).leak();
            let arg = arg.env(variable).hide_env_values(true);
            arg.allow_negative_numbers(takes_value)
        })
    })
}

/// Checks that the arguments and the gateway's variables are UTF-8: clap would not name the variable that is not.
fn check_encoding(args: &[OsString]) -> Result<(), ConfigError> {
    if args.iter().any(|arg| arg.to_str().is_none()) {
        return Err(ConfigError::new("arguments", "must be UTF-8"));
    }
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

impl Probe {
    /// Whether gRPC calls over TCP need TLS.
    pub(crate) fn needs_tls(&self) -> bool {
        self.tls_cert.is_some() || self.tls_self_signed.is_some()
    }
}
