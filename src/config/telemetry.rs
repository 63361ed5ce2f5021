//! Logs and traces: `RUST_LOG`, and those of the standard `OTEL_*` variables that the SDK leaves to the program.

use std::{env, io::IsTerminal, str::FromStr};

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::ConfigError;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What is logged and whether traces are exported.
#[derive(Debug)]
pub struct Telemetry {
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: Targets,
    /// Whether spans are exported over OTLP.
    pub export_traces: bool,
    /// The variable that says where to; the SDK reads it.
    pub endpoint_variable: &'static str,
}

/// The variables with the endpoint for spans, the one that counts first.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

impl Telemetry {
    /// What the environment says; the flag for the log format comes before what the terminal suggests.
    pub(super) fn from_environment(log_format: Option<LogFormat>) -> Result<Self, ConfigError> {
        let on_terminal = || if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
        Ok(Self {
            log_format: log_format.unwrap_or_else(on_terminal),
            log_filter: log_filter()?,
            export_traces: exports_traces()?,
            endpoint_variable: ENDPOINTS.into_iter().find(|name| variable(name).is_some()).unwrap_or(ENDPOINTS[1]),
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

fn log_filter() -> Result<Targets, ConfigError> {
    match variable("RUST_LOG") {
        None => Ok(Targets::new().with_default(LevelFilter::INFO)),
        Some(directives) => directives.parse().map_err(|_| {
            ConfigError::variable("RUST_LOG", "takes a level, or targets such as reset_gateway=debug,info")
        }),
    }
}

/// Traces are exported as soon as an endpoint or an exporter is named, and never if the SDK is disabled.
fn exports_traces() -> Result<bool, ConfigError> {
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        if variable(name).is_some_and(|protocol| !matches!(protocol.as_str(), "grpc" | "http/protobuf")) {
            return Err(ConfigError::variable(name, "takes grpc or http/protobuf"));
        }
    }
    let is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let names_exporter = match variable("OTEL_TRACES_EXPORTER").as_deref() {
        None => ENDPOINTS.into_iter().any(|name| variable(name).is_some()),
        Some("otlp") => true,
        Some("none") => false,
        Some(_) => return Err(ConfigError::variable("OTEL_TRACES_EXPORTER", "takes otlp or none")),
    };
    Ok(names_exporter && !is_disabled)
}

/// A variable that has a value; by the OpenTelemetry specification an empty one has none.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
