//! Logs, traces and metrics: `RUST_LOG` here, the standard `OTEL_*` variables in [`super::otel`].

use std::{io::IsTerminal, str::FromStr};

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{ConfigError, environment::variable, otel::OpenTelemetry};

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What is logged, and what is exported where to.
#[derive(Debug)]
pub struct Telemetry {
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: Targets,
    /// Traces and metrics.
    pub otel: OpenTelemetry,
}

impl Telemetry {
    /// What the environment says; the flag for the log format comes before what the terminal suggests.
    pub(crate) fn from_environment(log_format: Option<LogFormat>) -> Result<Self, ConfigError> {
        let on_terminal = || {
            if std::io::stderr().is_terminal() {
                LogFormat::Text
            } else {
                LogFormat::Json
            }
        };
        Ok(Self {
            log_format: log_format.unwrap_or_else(on_terminal),
            log_filter: log_filter()?,
            otel: OpenTelemetry::from_environment(),
        })
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("takes text or json"),
        }
    }
}

/// What log directives take, for error messages.
pub(crate) const LOG_DIRECTIVES: &str =
    "takes a level, or targets such as reset_gateway=debug,info";

/// Reads log directives: levels, and targets with a level. What the parser would take besides is more likely a slip than
/// meant, and would turn off what is wanted: a misspelt level is a target, and nothing at all is `error`.
pub(crate) fn log_directives(text: &str) -> Option<Targets> {
    let is_level = |level: &str| level.parse::<LevelFilter>().is_ok() && !level.is_empty();
    let is_target = |target: &str| {
        !target.is_empty()
            && target
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'))
    };
    let is_clear = |part: &str| match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    };
    let text = text.trim();
    text.parse().ok().filter(|_| text.split(',').all(is_clear))
}

fn log_filter() -> Result<Targets, ConfigError> {
    match variable("RUST_LOG")? {
        None => Ok(Targets::new().with_default(LevelFilter::INFO)),
        Some(text) => {
            log_directives(&text).ok_or_else(|| ConfigError::variable("RUST_LOG", LOG_DIRECTIVES))
        }
    }
}
