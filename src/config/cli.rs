//! The command line. The doc comments are the text of `--help`.

mod check;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, error::ErrorKind};
use http::{HeaderName, HeaderValue};
use reqwest::Url;

use super::{
    Command, ConfigError,
    environment::check_encoding,
    parse::{
        AdminListen, Age, RateOrOff, address_or_off, api_version, duration, duration_or_off,
        duration_or_zero, http_status, key, metadata_name, parse_bool, positive, rate_or_off,
        seconds, socket_address, upstream_url, worker_threads,
    },
    telemetry::LogFormat,
};
use crate::{
    address::Address,
    rpc::{API_VERSION, Rpc},
};

/// A gRPC gateway in front of AutoShares' password-reset REST API.
#[derive(Debug, Parser)]
#[command(name = "reset-gateway", version)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the gateway (the default)
    ///
    /// Tracing is configured by the standard OTEL_* variables, the log level by RUST_LOG.
    Serve(Box<ServeOptions>),
    /// Run only the stand-in REST API
    Sandbox(SandboxOptions),
    /// Ask a running gateway's health service; exit status 0 when it serves
    Probe(ProbeOptions),
    /// Print the gRPC status that an answer of the API becomes
    Explain(ExplainOptions),
}

#[derive(Args, Debug)]
struct ServeOptions {
    /// Where to take calls, IP:port or unix:/path; repeatable, in the variable separated by commas
    #[arg(
        long,
        env = "RESET_GATEWAY_LISTEN",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "ADDRESS"
    )]
    #[arg(default_value = "127.0.0.1:50051")]
    listen: Vec<Address>,
    /// Where /livez and /readyz are served, IP:port, or off
    #[arg(
        long,
        env = "RESET_GATEWAY_ADMIN_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    #[arg(default_value = "127.0.0.1:9464", value_parser = address_or_off)]
    admin_listen: AdminListen,
    /// The API's base URL; required without --sandbox
    #[arg(long, env = "RESET_GATEWAY_UPSTREAM_URL", hide_env_values = true, value_name = "URL", value_parser = upstream_url)]
    upstream_url: Option<Url>,
    /// The version in the API's paths
    #[arg(
        long,
        env = "RESET_GATEWAY_UPSTREAM_API_VERSION",
        hide_env_values = true,
        value_name = "VERSION"
    )]
    #[arg(default_value = API_VERSION, value_parser = api_version)]
    upstream_api_version: String,
    /// A PEM file of certificates to trust beside the system's
    #[arg(
        long,
        env = "RESET_GATEWAY_UPSTREAM_CA",
        hide_env_values = true,
        value_name = "FILE"
    )]
    upstream_ca: Option<PathBuf>,
    #[command(flatten)]
    key: KeyOptions,
    /// The most one call may take; a caller's shorter deadline wins
    #[arg(
        long,
        env = "RESET_GATEWAY_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION"
    )]
    #[arg(default_value = "10s", value_parser = duration, allow_negative_numbers = true)]
    timeout: Duration,
    /// The most that connecting to the API may take
    #[arg(
        long,
        env = "RESET_GATEWAY_CONNECT_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION"
    )]
    #[arg(default_value = "2s", value_parser = duration, allow_negative_numbers = true)]
    connect_timeout: Duration,
    /// The most calls at a time, across all connections
    #[arg(
        long,
        env = "RESET_GATEWAY_MAX_IN_FLIGHT",
        hide_env_values = true,
        value_name = "NUMBER"
    )]
    #[arg(default_value = "1024", value_parser = positive, allow_negative_numbers = true)]
    max_in_flight: u32,
    /// The most connections of callers at a time; past it the one that has been idle for longest has to go
    #[arg(
        long,
        env = "RESET_GATEWAY_MAX_CONNECTIONS",
        hide_env_values = true,
        value_name = "NUMBER"
    )]
    #[arg(default_value = "1024", value_parser = positive, allow_negative_numbers = true)]
    max_connections: u32,
    /// How long a connection takes new calls, so that clients spread anew, or off
    #[arg(
        long,
        env = "RESET_GATEWAY_MAX_CONNECTION_AGE",
        hide_env_values = true,
        value_name = "DURATION"
    )]
    #[arg(default_value = "off", value_parser = duration_or_off, allow_negative_numbers = true)]
    max_connection_age: Age,
    /// The most codes of one caller that the API may refuse, and the time in which as many come back; or off
    #[arg(
        long,
        env = "RESET_GATEWAY_CODE_ATTEMPTS",
        hide_env_values = true,
        value_name = "NUMBER/DURATION"
    )]
    #[arg(default_value = "20/10m", value_parser = rate_or_off)]
    code_attempts: RateOrOff,
    /// The same for all callers together
    #[arg(
        long,
        env = "RESET_GATEWAY_CODE_ATTEMPTS_TOTAL",
        hide_env_values = true,
        value_name = "NUMBER/DURATION"
    )]
    #[arg(default_value = "60/10m", value_parser = rate_or_off)]
    code_attempts_total: RateOrOff,
    /// The same for the answers to the secret question of one user
    #[arg(
        long,
        env = "RESET_GATEWAY_ANSWER_ATTEMPTS",
        hide_env_values = true,
        value_name = "NUMBER/DURATION"
    )]
    #[arg(default_value = "5/15m", value_parser = rate_or_off)]
    answer_attempts: RateOrOff,
    /// The metadata that tells callers apart; without it, a caller is an IP address, or the user of a Unix socket
    #[arg(
        long,
        env = "RESET_GATEWAY_CALLER_METADATA",
        hide_env_values = true,
        value_name = "NAME"
    )]
    #[arg(value_parser = metadata_name)]
    caller_metadata: Option<HeaderName>,
    /// The threads that answer calls; without it, as many as the CPUs that the program may use
    #[arg(
        long,
        env = "RESET_GATEWAY_WORKER_THREADS",
        hide_env_values = true,
        value_name = "NUMBER"
    )]
    #[arg(value_parser = worker_threads, allow_negative_numbers = true)]
    worker_threads: Option<u16>,
    /// How long calls are still taken after the signal to stop, while health already says otherwise
    #[arg(
        long,
        env = "RESET_GATEWAY_DRAIN_DELAY",
        hide_env_values = true,
        value_name = "DURATION"
    )]
    #[arg(default_value = "0s", value_parser = duration_or_zero, allow_negative_numbers = true)]
    drain_delay: Duration,
    /// The most that it may all take after the signal to stop, the delay included
    #[arg(
        long,
        env = "RESET_GATEWAY_DRAIN_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION"
    )]
    #[arg(default_value = "25s", value_parser = duration_or_zero, allow_negative_numbers = true)]
    drain_timeout: Duration,
    /// Put the stand-in API behind the gateway, in the same process
    #[arg(long, env = "RESET_GATEWAY_SANDBOX", hide_env_values = true, action = ArgAction::SetTrue, value_parser = parse_bool)]
    sandbox: bool,
    #[command(flatten)]
    sandbox_listen: SandboxListen,
    #[command(flatten)]
    log: LogOptions,
}

#[derive(Args, Debug)]
struct KeyOptions {
    /// The application key; better kept in a file, since others can see a command line
    #[arg(long, env = "RESET_GATEWAY_APP_KEY", hide_env_values = true, value_name = "KEY", value_parser = key)]
    app_key: Option<HeaderValue>,
    /// A file with the application key, read again when it changes. With no key each caller sends its own as et-app-key
    /// metadata; with one, theirs are ignored
    #[arg(
        long,
        env = "RESET_GATEWAY_APP_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    #[arg(conflicts_with = "app_key")]
    app_key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct SandboxListen {
    /// Where the stand-in API listens, IP:port [default: 127.0.0.1:0]
    #[arg(
        long,
        env = "RESET_GATEWAY_SANDBOX_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    #[arg(value_parser = socket_address)]
    sandbox_listen: Option<SocketAddr>,
}

#[derive(Args, Debug)]
struct LogOptions {
    /// How log lines are written, text or json; text on a terminal, else json
    #[arg(
        long,
        env = "RESET_GATEWAY_LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT"
    )]
    log_format: Option<LogFormat>,
}

#[derive(Args, Debug)]
struct SandboxOptions {
    #[command(flatten)]
    listen: SandboxListen,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    log: LogOptions,
}

#[derive(Args, Debug)]
struct ProbeOptions {
    /// Where the gateway listens, IP:port or unix:/path; of several the first
    #[arg(
        long,
        env = "RESET_GATEWAY_LISTEN",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "ADDRESS"
    )]
    #[arg(default_value = "127.0.0.1:50051")]
    listen: Vec<Address>,
}

#[derive(Args, Debug)]
struct ExplainOptions {
    /// The rpc that the answer is for: ResetPassword, GetSecretQuestion, GenerateToken or UpdatePassword
    #[arg(
        long,
        env = "RESET_GATEWAY_RPC",
        hide_env_values = true,
        value_name = "NAME"
    )]
    rpc: Rpc,
    /// The answer's HTTP status
    #[arg(
        long,
        env = "RESET_GATEWAY_HTTP_STATUS",
        hide_env_values = true,
        value_name = "NUMBER"
    )]
    #[arg(default_value = "200", value_parser = http_status)]
    http_status: u16,
    /// The answer's Content-Type
    #[arg(
        long,
        env = "RESET_GATEWAY_CONTENT_TYPE",
        hide_env_values = true,
        value_name = "TYPE"
    )]
    #[arg(default_value = "application/json")]
    content_type: String,
    /// The answer's Retry-After, in seconds
    #[arg(long, env = "RESET_GATEWAY_RETRY_AFTER", hide_env_values = true, value_name = "SECONDS", value_parser = seconds)]
    retry_after: Option<Duration>,
    /// The request held an answer to the secret question
    #[arg(long, env = "RESET_GATEWAY_ANSWERED", hide_env_values = true, action = ArgAction::SetTrue, value_parser = parse_bool)]
    answered: bool,
    /// The request went out with the caller's application key, not the gateway's
    #[arg(long, env = "RESET_GATEWAY_CALLERS_KEY", hide_env_values = true, action = ArgAction::SetTrue, value_parser = parse_bool)]
    callers_key: bool,
    /// The file with the answer's body; without it, standard input
    #[arg(value_name = "FILE")]
    body: Option<PathBuf>,
}

/// Reads the command line and the environment.
///
/// # Errors
///
/// The first setting that is wrong or missing; or, as `Ok(Err(_))`, the text that `--help` or `--version` asks for.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
) -> Result<Result<Command, String>, ConfigError> {
    check_encoding("RESET_GATEWAY_")?;
    let cli = match Cli::try_parse_from(with_default_command(args)) {
        Ok(cli) => cli,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            return Ok(Err(error.render().to_string()));
        }
        Err(error) => return Err(ConfigError::of_parser(&error)),
    };
    let command = match cli.command {
        CliCommand::Serve(options) => Command::Serve(Box::new(options.check()?)),
        CliCommand::Sandbox(options) => Command::Sandbox(Box::new(options.check()?)),
        CliCommand::Probe(options) => Command::Probe(check::first(options.listen)?),
        CliCommand::Explain(options) => Command::Explain(options.check()),
    };
    Ok(Ok(command))
}

/// Puts `serve` where no command is named.
fn with_default_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<_> = args.into_iter().collect();
    let names_none = args
        .get(1)
        .is_none_or(|first| first.to_str().is_some_and(|first| first.starts_with('-')));
    let asks_for_help = args.get(1).is_some_and(|first| {
        ["-h", "--help", "-V", "--version"]
            .iter()
            .any(|flag| first == flag)
    });
    if names_none && !asks_for_help {
        args.insert(1.min(args.len()), "serve".into());
    }
    args
}
