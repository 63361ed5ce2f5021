//! The standard `OTEL_*` variables. Those that the Rust SDK does not read are read here and acted on; those that it does
//! read are checked here, since it would fall back to a default without a word that anybody sees.

use std::{fmt, fs};

use super::{ConfigError, environment::variable};

/// What is exported, and how.
#[derive(Debug)]
pub struct OpenTelemetry {
    /// Where spans go.
    pub traces: Exporter,
    /// Where metrics are pushed to; `/metrics` is there beside that.
    pub metrics: Exporter,
    /// Whether anything is measured at all (`OTEL_SDK_DISABLED`).
    pub is_disabled: bool,
    /// Whether the caller's trace is taken up and handed on (`OTEL_PROPAGATORS`).
    pub propagates_trace_context: bool,
    /// What this service is called (`OTEL_SERVICE_NAME`); comes before the name in `OTEL_RESOURCE_ATTRIBUTES`.
    pub service_name: Option<String>,
    /// The most spans that may wait to be sent (`OTEL_BSP_MAX_QUEUE_SIZE`).
    pub max_queued_spans: usize,
}

/// Where a signal goes.
#[derive(Debug)]
pub enum Exporter {
    /// Nowhere.
    None,
    /// To standard output, for people.
    Console,
    /// To a collector.
    Otlp(Otlp),
}

/// How a collector is reached, apart from what the SDK reads for itself.
pub struct Otlp {
    /// What is spoken.
    pub protocol: Protocol,
    /// The variable that names the endpoint.
    pub endpoint_variable: String,
    /// Certificates to trust, as PEM.
    pub ca: Option<Vec<u8>>,
    /// The certificate to show and its key, both as PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// What is spoken to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
}

const MAX_QUEUED_SPANS: usize = 2048;

impl OpenTelemetry {
    pub(super) fn from_environment() -> Result<Self, ConfigError> {
        check_what_the_sdk_reads()?;
        let is_disabled = variable("OTEL_SDK_DISABLED")?.is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let (traces, metrics) = (exporter("TRACES", &[])?, exporter("METRICS", &["prometheus"])?);
        Ok(Self {
            traces: if is_disabled { Exporter::None } else { traces },
            metrics: if is_disabled { Exporter::None } else { metrics },
            is_disabled,
            propagates_trace_context: propagates_trace_context()?,
            service_name: variable("OTEL_SERVICE_NAME")?,
            max_queued_spans: number("OTEL_BSP_MAX_QUEUE_SIZE")?.unwrap_or(MAX_QUEUED_SPANS),
        })
    }
}

/// The exporter of a signal: what `OTEL_{signal}_EXPORTER` names; without it a collector, if there is an endpoint. The
/// names in `pulled` push nothing anywhere.
fn exporter(signal: &str, pulled: &[&str]) -> Result<Exporter, ConfigError> {
    let name = format!("OTEL_{signal}_EXPORTER");
    let otlp = otlp(signal)?;
    match variable(&name)?.map(|value| value.to_ascii_lowercase()).as_deref() {
        None if of_signal(signal, "ENDPOINT")?.is_none() => Ok(Exporter::None),
        None | Some("otlp") => Ok(Exporter::Otlp(otlp)),
        Some("console") => Ok(Exporter::Console),
        Some("none") => Ok(Exporter::None),
        Some(value) if pulled.contains(&value) => Ok(Exporter::None),
        Some(_) => {
            let known = [&["otlp", "console"], pulled].concat().join(", ");
            Err(ConfigError::variable(&name, format!("takes {known} or none")))
        }
    }
}

fn otlp(signal: &str) -> Result<Otlp, ConfigError> {
    let protocol = match of_signal(signal, "PROTOCOL")? {
        None => Protocol::HttpProtobuf,
        Some((name, value)) => match value.as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::HttpProtobuf,
            _ => return Err(ConfigError::variable(&name, "takes grpc or http/protobuf")),
        },
    };
    let endpoint_variable = match of_signal(signal, "ENDPOINT")? {
        Some((name, value)) => {
            let is_url = reqwest::Url::parse(&value).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !is_url {
                return Err(ConfigError::variable(&name, "takes an http or https URL, such as http://127.0.0.1:4317"));
            }
            name
        }
        None => "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
    };
    let identity = match (pem(signal, "CLIENT_CERTIFICATE")?, pem(signal, "CLIENT_KEY")?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(missing(signal, "CLIENT_KEY", "CLIENT_CERTIFICATE")),
        (None, Some(_)) => return Err(missing(signal, "CLIENT_CERTIFICATE", "CLIENT_KEY")),
    };
    Ok(Otlp { protocol, endpoint_variable, ca: pem(signal, "CERTIFICATE")?, identity })
}

fn missing(signal: &str, wanted: &str, there: &str) -> ConfigError {
    let name = format!("OTEL_EXPORTER_OTLP_{signal}_{wanted}");
    ConfigError::variable(&name, format!("is missing: {there} goes with it"))
}

/// A setting of the OTLP exporter: the signal's own before the one for all signals; with the name of its variable.
fn of_signal(signal: &str, setting: &str) -> Result<Option<(String, String)>, ConfigError> {
    for name in [format!("OTEL_EXPORTER_OTLP_{signal}_{setting}"), format!("OTEL_EXPORTER_OTLP_{setting}")] {
        if let Some(value) = variable(&name)? {
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

/// The content of the PEM file that a setting names.
fn pem(signal: &str, setting: &str) -> Result<Option<Vec<u8>>, ConfigError> {
    let Some((name, path)) = of_signal(signal, setting)? else { return Ok(None) };
    let takes = |why: String| ConfigError::variable(&name, format!("takes a PEM file ({why})"));
    let content = fs::read(path).map_err(|error| takes(error.to_string()))?;
    let is_pem = content.windows(11).any(|window| window == b"-----BEGIN ");
    if is_pem { Ok(Some(content)) } else { Err(takes("nothing of the kind in it".to_owned())) }
}

/// `tracecontext` is the one propagator that does anything: baggage is known, but never sent to the API.
fn propagates_trace_context() -> Result<bool, ConfigError> {
    const NAME: &str = "OTEL_PROPAGATORS";
    let Some(list) = variable(NAME)? else { return Ok(true) };
    let list = list.to_ascii_lowercase();
    let names: Vec<_> = list.split(',').map(str::trim).collect();
    if names.iter().any(|name| !matches!(*name, "tracecontext" | "baggage" | "none")) {
        return Err(ConfigError::variable(NAME, "takes a list of tracecontext and baggage, or none"));
    }
    Ok(names.contains(&"tracecontext") && !names.contains(&"none"))
}

fn check_what_the_sdk_reads() -> Result<(), ConfigError> {
    for name in [
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_BSP_EXPORT_TIMEOUT",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
    ] {
        number(name)?;
    }
    for signal in ["", "TRACES_", "METRICS_"] {
        number(&format!("OTEL_EXPORTER_OTLP_{signal}TIMEOUT"))?;
        one_of(&format!("OTEL_EXPORTER_OTLP_{signal}COMPRESSION"), &["gzip", "none"])?;
        one_of(&format!("OTEL_EXPORTER_OTLP_{signal}INSECURE"), &["true", "false"])?;
        pairs(&format!("OTEL_EXPORTER_OTLP_{signal}HEADERS"))?;
    }
    one_of("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", &["cumulative", "delta", "lowmemory"])?;
    one_of("OTEL_SDK_DISABLED", &["true", "false"])?;
    pairs("OTEL_RESOURCE_ATTRIBUTES")?;
    sampler()
}

/// A whole number above 0.
fn number(name: &str) -> Result<Option<usize>, ConfigError> {
    let parse = |value: String| value.parse().ok().filter(|number| *number > 0);
    match variable(name)?.map(parse) {
        None => Ok(None),
        Some(Some(number)) => Ok(Some(number)),
        Some(None) => Err(ConfigError::variable(name, "takes a whole number above 0")),
    }
}

fn one_of(name: &str, known: &[&str]) -> Result<(), ConfigError> {
    let is_known = |value: String| known.iter().any(|known| value.eq_ignore_ascii_case(known));
    if variable(name)?.is_none_or(is_known) {
        Ok(())
    } else {
        Err(ConfigError::variable(name, format!("takes {}", known.join(" or "))))
    }
}

/// `key=value,key=value`
fn pairs(name: &str) -> Result<(), ConfigError> {
    let are_pairs =
        |list: String| list.split(',').all(|pair| pair.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty()));
    if variable(name)?.is_none_or(are_pairs) {
        Ok(())
    } else {
        Err(ConfigError::variable(name, "takes key=value pairs, separated by commas"))
    }
}

fn sampler() -> Result<(), ConfigError> {
    const KNOWN: [&str; 6] = [
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ];
    let (name, argument) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
    // The SDK compares the case too.
    if variable(name)?.is_some_and(|value| !KNOWN.contains(&value.as_str())) {
        return Err(ConfigError::variable(name, format!("takes one of {}", KNOWN.join(", "))));
    }
    let is_ratio = |value: String| value.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio));
    if variable(argument)?.is_none_or(is_ratio) {
        Ok(())
    } else {
        Err(ConfigError::variable(argument, "takes a number from 0 to 1"))
    }
}

impl fmt::Debug for Otlp {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp")
            .field("protocol", &self.protocol)
            .field("endpoint_variable", &self.endpoint_variable)
            .finish_non_exhaustive()
    }
}
