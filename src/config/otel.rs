//! The standard `OTEL_*` variables. Those that the Rust SDK does not read are read here and acted on; those that it does
//! read are checked here, since it would fall back to a default without a word that anybody sees.

use std::{fmt, fs, time::Duration};

use http::{HeaderName, HeaderValue};
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use reqwest::{Certificate, Identity};

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
    /// Further attributes of this service (`OTEL_RESOURCE_ATTRIBUTES`), which the SDK does not decode.
    pub resource: Vec<(String, String)>,
    /// Which calls get spans (`OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`).
    pub sampler: Sampler,
    /// How spans wait to be sent (`OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, `OTEL_BSP_SCHEDULE_DELAY`).
    pub spans: SpanBounds,
}

/// How many spans may wait to be sent, and how long.
#[derive(Clone, Copy, Debug)]
pub struct SpanBounds {
    /// The most that may wait, those that are being sent among them.
    pub waiting: usize,
    /// The most in a request.
    pub batch: usize,
    /// How long after the last request one leaves that is not full.
    pub delay: Duration,
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
    /// The endpoint as it is given, if it is.
    pub endpoint: Option<String>,
    /// The most that connecting and an attempt to export may take, and after which no other is made: the exporter's timeout
    /// or that of what feeds it (`OTEL_BSP_EXPORT_TIMEOUT`, `OTEL_METRIC_EXPORT_TIMEOUT`), which the SDK does not keep.
    pub timeout: Duration,
    /// Certificates to trust, as PEM.
    pub ca: Option<Pem>,
    /// The certificate to show and its key, both as PEM.
    pub identity: Option<(Pem, Pem)>,
}

/// The content of a PEM file.
pub(crate) type Pem = Vec<u8>;

/// What is spoken to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
}

/// The standard's bounds for spans that wait.
const MAX_WAITING: usize = 2048;
const MAX_BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(5);
/// The SDK's default for an export.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A span takes a kilobyte.
const MAX_QUEUE: usize = 100_000;
/// What every number of the SDK's can hold.
const MAX_NUMBER: usize = 2_147_483_647;

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
            resource: pairs("OTEL_RESOURCE_ATTRIBUTES", |_, _| true, "takes key=value pairs, separated by commas")?,
            sampler: sampler()?,
            spans: SpanBounds {
                waiting: number("OTEL_BSP_MAX_QUEUE_SIZE", MAX_QUEUE)?.unwrap_or(MAX_WAITING),
                batch: number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", MAX_QUEUE)?.unwrap_or(MAX_BATCH),
                delay: milliseconds("OTEL_BSP_SCHEDULE_DELAY")?.unwrap_or(DELAY),
            },
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
        Some((name, value)) => match value.to_ascii_lowercase().as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::HttpProtobuf,
            _ => return Err(ConfigError::variable(&name, "takes grpc or http/protobuf")),
        },
    };
    let (endpoint_variable, endpoint) = match of_signal(signal, "ENDPOINT")? {
        Some((name, value)) => {
            let is_url = reqwest::Url::parse(&value).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !is_url {
                return Err(ConfigError::variable(&name, "takes an http or https URL, such as http://127.0.0.1:4317"));
            }
            (name, Some(value))
        }
        None => ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), None),
    };
    let timeout = match of_signal(signal, "TIMEOUT")? {
        Some((name, _)) => milliseconds(&name)?.unwrap_or(TIMEOUT),
        None => TIMEOUT,
    };
    let of_processor =
        milliseconds(if signal == "TRACES" { "OTEL_BSP_EXPORT_TIMEOUT" } else { "OTEL_METRIC_EXPORT_TIMEOUT" })?;
    Ok(Otlp {
        protocol,
        endpoint_variable,
        endpoint,
        timeout: of_processor.map_or(timeout, |most| timeout.min(most)),
        ca: certificate(signal, "CERTIFICATE")?.map(|(_, pem)| pem),
        identity: identity(signal)?,
    })
}

/// The certificate to show and its key, which only go together.
fn identity(signal: &str) -> Result<Option<(Pem, Pem)>, ConfigError> {
    match (certificate(signal, "CLIENT_CERTIFICATE")?, file(signal, "CLIENT_KEY")?) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing(signal, "CLIENT_KEY", "CLIENT_CERTIFICATE")),
        (None, Some(_)) => Err(missing(signal, "CLIENT_CERTIFICATE", "CLIENT_KEY")),
        (Some((_, certificate)), Some((name, key))) => {
            let both = Identity::from_pem(&[certificate.as_slice(), b"\n", &key].concat());
            // Whether they belong together is only seen when they are used.
            let fit = both.and_then(|identity| reqwest::Client::builder().identity(identity).build()).is_ok();
            let takes = "takes a PEM file with the key of the client certificate";
            if fit { Ok(Some((certificate, key))) } else { Err(ConfigError::variable(&name, takes)) }
        }
    }
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

/// The content of the file that a setting names; with the name of its variable.
fn file(signal: &str, setting: &str) -> Result<Option<(String, Vec<u8>)>, ConfigError> {
    let Some((name, path)) = of_signal(signal, setting)? else { return Ok(None) };
    match fs::read(path) {
        Ok(content) => Ok(Some((name, content))),
        Err(error) => Err(ConfigError::variable(&name, format!("takes a PEM file ({error})"))),
    }
}

/// The same, of certificates.
fn certificate(signal: &str, setting: &str) -> Result<Option<(String, Vec<u8>)>, ConfigError> {
    let Some((name, pem)) = file(signal, setting)? else { return Ok(None) };
    let found = Certificate::from_pem_bundle(&pem).is_ok_and(|found| !found.is_empty());
    if found { Ok(Some((name, pem))) } else { Err(ConfigError::variable(&name, "takes a PEM file of certificates")) }
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
    for name in ["OTEL_BSP_EXPORT_TIMEOUT", "OTEL_METRIC_EXPORT_TIMEOUT"] {
        milliseconds(name)?;
    }
    for name in [
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
    ] {
        number(name, MAX_NUMBER)?;
    }
    for signal in ["", "TRACES_", "METRICS_"] {
        number(&format!("OTEL_EXPORTER_OTLP_{signal}TIMEOUT"), MAX_NUMBER)?;
        one_of(&format!("OTEL_EXPORTER_OTLP_{signal}COMPRESSION"), &["gzip", "none"])?;
        one_of(&format!("OTEL_EXPORTER_OTLP_{signal}INSECURE"), &["true", "false"])?;
        check_headers(&format!("OTEL_EXPORTER_OTLP_{signal}HEADERS"))?;
    }
    one_of("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", &["cumulative", "delta", "lowmemory"])?;
    one_of("OTEL_SDK_DISABLED", &["true", "false"])
}

/// A whole number above 0.
fn number(name: &str, most: usize) -> Result<Option<usize>, ConfigError> {
    let parse = |value: String| value.parse().ok().filter(|number| (1..=most).contains(number));
    match variable(name)?.map(parse) {
        None => Ok(None),
        Some(Some(number)) => Ok(Some(number)),
        Some(None) => Err(ConfigError::variable(name, format!("takes a whole number from 1 to {most}"))),
    }
}

fn milliseconds(name: &str) -> Result<Option<Duration>, ConfigError> {
    Ok(number(name, MAX_NUMBER)?.map(|number| Duration::from_millis(number as u64)))
}

fn one_of(name: &str, known: &[&str]) -> Result<(), ConfigError> {
    let is_known = |value: String| known.iter().any(|known| value.eq_ignore_ascii_case(known));
    if variable(name)?.is_none_or(is_known) {
        Ok(())
    } else {
        Err(ConfigError::variable(name, format!("takes {}", known.join(" or "))))
    }
}

/// `key=value,key=value`, percent-encoded, if all pairs are as they should be.
fn pairs(name: &str, is_right: impl Fn(&str, &str) -> bool, takes: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let Some(list) = variable(name)? else { return Ok(Vec::new()) };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (key.trim(), percent_decode_str(value.trim()).decode_utf8().ok()?);
        (!key.is_empty() && is_right(key, &value)).then(|| (key.to_owned(), value.into_owned()))
    };
    let pairs: Option<_> = list.split(',').map(pair).collect();
    pairs.ok_or_else(|| ConfigError::variable(name, takes))
}

/// The headers that go to a collector, which the SDK would leave out without a word if they are none.
fn check_headers(name: &str) -> Result<(), ConfigError> {
    let is_header = |key: &str, value: &str| key.parse::<HeaderName>().is_ok() && HeaderValue::from_str(value).is_ok();
    pairs(name, is_header, "takes headers as key=value pairs, separated by commas").map(drop)
}

fn sampler() -> Result<Sampler, ConfigError> {
    let (name, argument) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
    let parse = |text: String| text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    let ratio = match variable(argument)?.map(parse) {
        None => 1.0,
        Some(Some(ratio)) => ratio,
        Some(None) => return Err(ConfigError::variable(argument, "takes a number from 0 to 1")),
    };
    let below_a_parent = |root| Sampler::ParentBased(Box::new(root));
    Ok(match variable(name)?.unwrap_or_default().to_ascii_lowercase().as_str() {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio),
        "" | "parentbased_always_on" => below_a_parent(Sampler::AlwaysOn),
        "parentbased_always_off" => below_a_parent(Sampler::AlwaysOff),
        "parentbased_traceidratio" => below_a_parent(Sampler::TraceIdRatioBased(ratio)),
        _ => {
            let known = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, \
                         parentbased_traceidratio";
            return Err(ConfigError::variable(name, format!("takes one of {known}")));
        }
    })
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
