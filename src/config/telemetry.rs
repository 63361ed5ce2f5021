//! Logs, traces and metrics: `RUST_LOG` here, the standard `OTEL_*` variables in [`super::otel`].

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{ConfigError, otel::OpenTelemetry};

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What is logged, and where traces and metrics are sent.
pub(crate) struct Telemetry {
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Which log lines are written.
    pub(crate) log_filter: Targets,
    /// Traces and metrics.
    pub(crate) otel: OpenTelemetry,
}

impl Telemetry {
    /// Reads the environment. Without an option, the log format depends on whether standard error is a terminal.
    pub(crate) fn from_environment(log_format: Option<LogFormat>) -> Result<Self, ConfigError> {
        let default = match io::stderr().is_terminal() {
            true => LogFormat::Text,
            false => LogFormat::Json,
        };
        Ok(Self {
            log_format: log_format.unwrap_or(default),
            log_filter: log_filter()?,
            otel: OpenTelemetry::from_environment(),
        })
    }
}

/// Reads log directives: levels, and targets with a level.
pub(crate) fn log_directives(text: &str) -> Result<Targets, &'static str> {
    let targets = targets(text.trim());
    targets.ok_or("takes a level, or targets such as reset_gateway=debug,info")
}

/// Not [`Targets`]'s own parser, which turns off what is wanted after a slip: it reads a misspelt level as a target, and an
/// empty level as `error`.
fn targets(text: &str) -> Option<Targets> {
    let mut targets = Targets::new();
    for directive in text.split(',') {
        targets = match directive.split_once('=') {
            None => targets.with_default(level(directive)?),
            Some((target, text)) if is_target(target) => targets.with_target(target, level(text)?),
            Some(_) => return None,
        };
    }
    Some(targets)
}

fn level(text: &str) -> Option<LevelFilter> {
    text.parse().ok().filter(|_| !text.is_empty())
}

fn is_target(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-');
    !text.is_empty() && text.bytes().all(is_allowed)
}

fn log_filter() -> Result<Targets, ConfigError> {
    let text = env::var_os("RUST_LOG").filter(|text| !text.is_empty());
    let filter = match text.as_ref().map(|text| text.to_str()) {
        None => Ok(Targets::new().with_default(LevelFilter::INFO)),
        Some(None) => Err("must be UTF-8"),
        Some(Some(text)) => log_directives(text),
    };
    filter.map_err(|expected| ConfigError::new("RUST_LOG", expected))
}
