//! The settings, typed and checked before any port is bound. Nothing else reads the environment, apart from the
//! OpenTelemetry SDK, which reads its own standard variables.

mod error;

mod environment;

mod cli;

pub(crate) mod otel;

pub(crate) mod telemetry;

mod parse;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue};
use reqwest::{Certificate, Url};

pub use self::{
    cli::parse,
    error::ConfigError,
    telemetry::{LogFormat, Telemetry},
};
use crate::{address::Address, app_key, attempt_limiter::Rates, rpc::Rpc};

/// What the program is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Runs the gateway.
    Serve(Box<Serve>),
    /// Runs only the stand-in API.
    Sandbox(Box<Sandbox>),
    /// Asks a running gateway whether it serves.
    Probe(Address),
    /// Prints the status that an answer becomes.
    Explain(Explain),
}

/// The settings of `serve`.
#[derive(Debug)]
pub struct Serve {
    /// Where to take calls.
    pub listen: Vec<Address>,
    /// Where probes ask, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// Where the API is.
    pub api: Api,
    /// The version in the API's paths, `1.0`.
    pub api_version: String,
    /// The most that connecting to the API may take.
    pub connect_timeout: Duration,
    /// Certificates to trust beside the system's.
    pub ca: Vec<Certificate>,
    /// Whose application key calls go out with.
    pub key: Key,
    /// What calls and connections may take.
    pub limits: Limits,
    /// The most attempts to guess that the API may refuse.
    pub rates: Rates,
    /// The metadata that tells callers apart.
    pub caller_metadata: Option<HeaderName>,
    /// The threads that answer calls; none: as many as the CPUs that the process may use.
    pub worker_threads: Option<u16>,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

/// What calls and connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most that one call may take.
    pub timeout: Duration,
    /// The most calls at a time.
    pub max_in_flight: u32,
    /// The most connections of callers at a time.
    pub max_connections: u32,
    /// How long a connection takes new calls; none: for as long as it is there.
    pub max_connection_age: Option<Duration>,
    /// How long calls are still taken after the signal to stop.
    pub drain_delay: Duration,
    /// The most that all of it may take from the signal to stop on.
    pub drain_timeout: Duration,
}

/// Where the API is.
#[derive(Debug)]
pub enum Api {
    /// At that URL.
    Url(Url),
    /// In the same process, listening there.
    Sandbox(SocketAddr),
}

impl Api {
    /// Whether it is reached over TLS.
    pub(crate) fn is_over_tls(&self) -> bool {
        matches!(self, Self::Url(url) if url.scheme() == "https")
    }
}

/// Whose application key calls go out with.
#[derive(Debug)]
pub enum Key {
    /// The caller's, sent as metadata.
    Callers,
    /// The gateway's.
    Fixed(HeaderValue),
    /// The gateway's, from a file that is read again when it changes; and what was in it just now.
    File(PathBuf, HeaderValue),
}

/// The settings of the stand-in API.
#[derive(Debug)]
pub struct Sandbox {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The application key that it asks for, if any.
    pub key: Option<HeaderValue>,
    /// Logs.
    pub telemetry: Telemetry,
}

/// What `explain` is to explain.
#[derive(Debug)]
pub struct Explain {
    /// The rpc that the answer is for.
    pub rpc: Rpc,
    /// The answer's HTTP status.
    pub http_status: u16,
    /// The answer's `Content-Type`.
    pub content_type: String,
    /// The answer's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Whether the request held an answer to the secret question.
    pub answered: bool,
    /// Whose application key the request went out with.
    pub key_owner: app_key::KeyOwner,
    /// The file with the body; none: standard input.
    pub body: Option<PathBuf>,
}
