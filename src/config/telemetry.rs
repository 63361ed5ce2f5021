//! Logs, traces and metrics: `RUST_LOG` here, the standard `OTEL_*` variables in [`super::otel`].

use std::{
    env,
    io::{self, IsTerminal},
};

use clap::ValueEnum;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{ConfigError, otel::OpenTelemetry};

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// The settings of the log, and of traces and metrics.
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

/// Reads log directives: levels, and targets with a level. [`Targets`] would accept more, such as a
/// misspelt level, which it reads as a target, and an empty level, which it reads as `error`. Both hide lines that are wanted.
pub(crate) fn log_directives(text: &str) -> Result<Targets, &'static str> {
    let is_clear = |directive: &str| match directive.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(directive),
    };
    let text = text.trim();
    let targets = text.parse().ok().filter(|_| text.split(',').all(is_clear));
    targets.ok_or("takes a level, or targets such as reset_gateway=debug,info")
}

fn is_target(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-');
    !text.is_empty() && text.bytes().all(is_allowed)
}

fn is_level(text: &str) -> bool {
    !text.is_empty() && text.parse::<LevelFilter>().is_ok()
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
