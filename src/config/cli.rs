//! The commands and their options. The doc comments are the text of `--help`; `config` gives each
//! flag its variable.

#![expect(
    missing_docs,
    reason = "in --help, a text on a struct would replace the text of its command"
)]

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser};
use clap_complete::Shell;
use http::{HeaderName, HeaderValue};
use reqwest::Url;

use super::{
    access::{AuthzOptions, SelfSigned, TlsOptions},
    parse::{
        AttemptRate, COUNT, api_version, duration, duration_or_zero, header, key, metadata_name,
        number, or_off, parse_bool, rate, rpc_path, seconds, socket_address, upstream_url,
    },
    telemetry::LogFormat,
};
use crate::{
    address::Address,
    rpc::{API_VERSION, Rpc, UpstreamRelease},
};

/// The value of an option that can be `off`. It is an alias because clap makes an option optional if
/// its type is spelt `Option`.
pub(super) type OrOff<T> = Option<T>;

/// A gRPC gateway in front of AutoShares' password-reset REST API.
#[derive(Debug, Parser)]
#[command(name = "reset-gateway", version)]
pub enum Command {
    /// Run the gateway (the default)
    ///
    /// Tracing is configured by the standard OTEL_* variables, the log level by RUST_LOG. SIGTERM,
    /// SIGINT and SIGQUIT end it after the calls in flight; SIGHUP reads the files that are followed.
    Serve(Box<Serve>),
    /// Run only the stand-in REST API
    Sandbox(Sandbox),
    /// Ask a running gateway whether it serves; exit status 0 if it does
    Probe(Probe),
    /// Print the gRPC status that a response of the API becomes
    Explain(Explain),
    /// Print what a policy says about a call; exit status 0 if it allows the call, 1 if it does not
    Authz(Authz),
    /// Print a script by which a shell completes commands and options
    Completions(Completions),
    /// The text that `--help` or `--version` asks for.
    #[command(skip)]
    Help(String),
}

#[derive(Args, Debug)]
pub struct Serve {
    /// Address for gRPC calls, IP:port, localhost:port, :port or unix:/path; repeatable, comma-separated in the
    /// variable
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    #[arg(value_delimiter = ',')]
    #[arg(help_heading = "Listeners")]
    pub listen: Vec<Address>,
    /// Address for /livez, /readyz and /metrics, IP:port, or off
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    #[arg(value_parser = or_off(socket_address))]
    #[arg(help_heading = "Listeners")]
    pub admin_listen: OrOff<SocketAddr>,
    /// Base URL of the API; required without --sandbox
    #[arg(long, value_name = "URL", value_parser = upstream_url)]
    #[arg(help_heading = "API")]
    pub upstream_url: Option<Url>,
    /// Version in the API's paths
    #[arg(long, value_name = "VERSION", default_value = API_VERSION, value_parser = api_version)]
    #[arg(help_heading = "API")]
    pub upstream_api_version: String,
    /// Release of the API: autoshares, or etna for newer ones, where step 3 has another path and body
    #[arg(long, value_name = "RELEASE", default_value = "autoshares")]
    #[arg(help_heading = "API")]
    pub upstream_release: UpstreamRelease,
    /// PEM file of certificates to trust beside the system's; it is reloaded when it changes
    #[arg(long, value_name = "FILE")]
    #[arg(help_heading = "API")]
    pub upstream_ca: Option<PathBuf>,
    /// PEM file with the certificate to show to the API, and those that its issuer needs; it is reloaded when it changes
    #[arg(long, value_name = "FILE")]
    #[arg(help_heading = "API")]
    pub upstream_cert: Option<PathBuf>,
    /// PEM file with the private key of that certificate; it is reloaded when it changes
    #[arg(long, value_name = "FILE")]
    #[arg(help_heading = "API")]
    pub upstream_key: Option<PathBuf>,
    /// Longest time to connect to the API
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    #[arg(help_heading = "API")]
    pub connect_timeout: Duration,
    #[command(flatten, next_help_heading = "TLS")]
    pub tls: TlsOptions,
    #[command(flatten, next_help_heading = "TLS")]
    pub self_signed: SelfSigned,
    #[command(flatten, next_help_heading = "API")]
    pub key: AppKeyOptions,
    #[command(flatten, next_help_heading = "Calls and connections")]
    pub limits: Limits,
    #[command(flatten, next_help_heading = "Limits on guesses and mails")]
    pub attempts: Attempts,
    #[command(flatten, next_help_heading = "Who may call")]
    pub authz: AuthzOptions,
    /// Threads that handle calls; by default as many as the CPUs that the program may use
    #[arg(long, value_name = "NUMBER", value_parser = number(1..=1024_u16))]
    #[arg(help_heading = "Calls and connections")]
    pub worker_threads: Option<u16>,
    /// Put the stand-in API behind the gateway, in the same process
    #[arg(long, action = ArgAction::SetTrue, value_parser = parse_bool)]
    #[arg(help_heading = "Sandbox")]
    pub sandbox: bool,
    /// Address of the stand-in API, IP:port [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS", value_parser = socket_address)]
    #[arg(help_heading = "Sandbox")]
    pub sandbox_listen: Option<SocketAddr>,
    /// File with a secret of at least 32 bytes; with it, log lines have hashes that tell users and tokens apart; it is
    /// reloaded when it changes
    #[arg(long, value_name = "FILE")]
    #[arg(help_heading = "Logs")]
    pub audit_key_file: Option<PathBuf>,
    /// Format of log lines, text or json; by default text on a terminal, else json
    #[arg(long, value_name = "FORMAT")]
    #[arg(help_heading = "Logs")]
    pub log_format: Option<LogFormat>,
}

#[derive(Args, Debug)]
pub struct AppKeyOptions {
    /// The application key; better kept in a file, since other users can see a command line
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub app_key: Option<HeaderValue>,
    /// File with the application key; it is reloaded when it changes. Without a key, each caller sends
    /// its own in the et-app-key metadata; with one, callers' keys are ignored
    #[arg(long, value_name = "FILE", conflicts_with = "app_key")]
    pub app_key_file: Option<PathBuf>,
}

#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest time of a call; a caller's shorter deadline wins, but a write that was sent goes on
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// Maximum number of requests to the API at a time, across all connections
    #[arg(long, value_name = "NUMBER", default_value = "1024", value_parser = number(COUNT))]
    pub max_in_flight: u32,
    /// Maximum number of client connections; past it, the one that has been idle longest is closed
    #[arg(long, value_name = "NUMBER", default_value = "1024", value_parser = number(COUNT))]
    pub max_connections: u32,
    /// Maximum age of a connection, so that clients rebalance across gateways, or off
    #[arg(long, value_name = "DURATION", default_value = "off", value_parser = or_off(duration))]
    pub max_connection_age: OrOff<Duration>,
    /// How long calls are still taken after the signal to stop, while health says NOT_SERVING
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration_or_zero)]
    #[arg(help_heading = "Stopping")]
    pub drain_delay: Duration,
    /// Longest time that calls get after the signal to stop, the delay included
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = duration_or_zero)]
    #[arg(help_heading = "Stopping")]
    pub drain_timeout: Duration,
}

#[derive(Args, Clone, Debug)]
pub struct Attempts {
    /// Wrong codes allowed per caller, and the time in which that many become available again; or off
    #[arg(long, value_name = "NUMBER/DURATION", default_value = "20/10m")]
    #[arg(value_parser = or_off(rate))]
    pub code_attempts: OrOff<AttemptRate>,
    /// The same for all callers together
    #[arg(long, value_name = "NUMBER/DURATION", default_value = "60/10m")]
    #[arg(value_parser = or_off(rate))]
    pub code_attempts_total: OrOff<AttemptRate>,
    /// The same for the answers to the secret question of one user
    #[arg(long, value_name = "NUMBER/DURATION", default_value = "5/15m")]
    #[arg(value_parser = or_off(rate))]
    pub answer_attempts: OrOff<AttemptRate>,
    /// Codes that may be mailed to one user, and the time in which as many become available again; or off
    #[arg(long, value_name = "NUMBER/DURATION", default_value = "5/15m")]
    #[arg(value_parser = or_off(rate))]
    pub resets: OrOff<AttemptRate>,
    /// The same for all users together
    #[arg(long, value_name = "NUMBER/DURATION", default_value = "off")]
    #[arg(value_parser = or_off(rate))]
    pub resets_total: OrOff<AttemptRate>,
    /// Metadata that tells callers apart; by default a caller is the name in its certificate, a Unix socket's user, or an
    /// IP address
    #[arg(long, value_name = "NAME", value_parser = metadata_name)]
    pub caller_metadata: Option<HeaderName>,
}

#[derive(Args, Debug)]
pub struct Sandbox {
    /// Address of the stand-in API, IP:port [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS", value_parser = socket_address)]
    pub sandbox_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub key: AppKeyOptions,
    /// Format of log lines, text or json; by default text on a terminal, else json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

#[derive(Args, Debug)]
pub struct Probe {
    /// Addresses of the gateway, as in serve; a Unix socket is asked if there is one, else the first
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    #[arg(value_delimiter = ',')]
    pub listen: Vec<Address>,
    /// Address for /readyz, as in serve; it is asked where gRPC calls need TLS
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    #[arg(value_parser = or_off(socket_address))]
    pub admin_listen: OrOff<SocketAddr>,
    /// As in serve: gRPC calls over TCP need TLS
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// As in serve: gRPC calls over TCP need TLS
    #[cfg_attr(
        feature = "self-signed",
        arg(long, value_name = "DIRECTORY", conflicts_with = "tls_cert")
    )]
    #[cfg_attr(not(feature = "self-signed"), arg(skip))]
    pub tls_self_signed: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Explain {
    /// The rpc: ResetPassword, GetSecretQuestion, GenerateToken or UpdatePassword
    #[arg(long, value_name = "NAME")]
    pub rpc: Rpc,
    /// HTTP status of the response
    #[arg(long, value_name = "NUMBER", default_value = "200", value_parser = number(100..=999_u16))]
    pub http_status: u16,
    /// Content-Type of the response
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    pub content_type: String,
    /// Retry-After of the response, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub retry_after: Option<Duration>,
    /// The request held an answer to the secret question
    #[arg(long, action = ArgAction::SetTrue, value_parser = parse_bool)]
    pub answered: bool,
    /// The request was sent with the caller's application key, not the gateway's
    #[arg(long, action = ArgAction::SetTrue, value_parser = parse_bool)]
    pub callers_key: bool,
    /// File with the body of the response; by default standard input
    #[arg(value_name = "FILE")]
    pub body: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Authz {
    /// File with the policy, in the format of gRFC A43
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// A name of the caller; repeatable, for callers that have several. Without one, the caller is connected by TCP
    /// without TLS; an empty one stands for TLS without a certificate
    #[arg(long, value_name = "NAME")]
    pub principal: Vec<String>,
    /// Path of the call, /package.Service/Method
    #[arg(long, value_name = "PATH", value_parser = rpc_path)]
    pub path: String,
    /// A header of the call, NAME=VALUE; repeatable
    #[arg(long, value_name = "HEADER", value_parser = header)]
    pub header: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Args, Debug)]
pub struct Completions {
    /// The shell: bash, elvish, fish, powershell or zsh
    pub shell: Shell,
}
