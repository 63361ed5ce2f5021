//! Reads OpenTelemetry's `OTEL_*` variables and passes the values to the SDK's builders. Only headers, compression and
//! temporality are left to the SDK.

use std::{collections::BTreeMap, fs, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfig, BatchConfigBuilder, Sampler},
};
use opentelemetry_semantic_conventions::attribute;
use percent_encoding::percent_decode_str;
use reqwest::{Certificate, Identity, Url};

use super::{environment::Variables, error, parse::number};

/// What is exported, and how.
pub(crate) struct OpenTelemetry {
    /// Where spans go.
    pub(crate) traces: Exporter,
    /// Where metrics are pushed to, beside `/metrics`.
    pub(crate) metrics: Exporter,
    /// How often metrics are pushed (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub(crate) metric_interval: Duration,
    /// Whether nothing is measured at all (`OTEL_SDK_DISABLED`).
    pub(crate) is_disabled: bool,
    /// Whether a caller's trace is continued (`OTEL_PROPAGATORS`).
    pub(crate) propagates_trace_context: bool,
    /// This service (`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`).
    pub(crate) resource: Resource,
    /// Which calls have spans (`OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`).
    pub(crate) sampler: Sampler,
    /// How spans wait to be sent (`OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, `OTEL_BSP_SCHEDULE_DELAY`).
    pub(crate) span_batches: BatchConfig,
    /// The variables whose value is not understood, and what they take.
    pub(crate) ignored: BTreeMap<String, String>,
}

/// Where a signal goes.
pub(crate) enum Exporter {
    /// Nowhere.
    None,
    /// To standard output, for people.
    Console,
    /// To a collector.
    Otlp(Otlp),
}

/// How a collector is reached. The SDK reads headers and compression itself.
pub(crate) struct Otlp {
    /// Whether gRPC is spoken, not HTTP.
    pub(crate) is_grpc: bool,
    /// Whether a variable names an endpoint.
    has_endpoint: bool,
    /// The URL that requests go to; it may hold a password.
    pub(crate) endpoint: String,
    /// The timeout of an export: the shorter of the exporter's and its processor's.
    pub(crate) timeout: Duration,
    /// Certificates to trust, as PEM.
    pub(crate) ca: Option<Vec<u8>>,
    /// The client certificate and its key, as PEM.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl OpenTelemetry {
    pub(super) fn from_environment() -> Self {
        let mut variables = Variables::default();
        let from = &mut variables;
        let disabled = from.get("OTEL_SDK_DISABLED", one_of(&["true", "false"]));
        Self {
            is_disabled: disabled == Some("true"),
            traces: exporter(from, "TRACES", &["otlp", "console", "none"]),
            metrics: exporter(from, "METRICS", &["otlp", "console", "prometheus", "none"]),
            metric_interval: duration(from, "OTEL_METRIC_EXPORT_INTERVAL", 60),
            propagates_trace_context: propagates_trace_context(from),
            resource: resource(from),
            sampler: sampler(from),
            span_batches: BatchConfigBuilder::default()
                .with_max_queue_size(size(from, "OTEL_BSP_MAX_QUEUE_SIZE", 2048))
                .with_max_export_batch_size(size(from, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 128))
                .with_scheduled_delay(duration(from, "OTEL_BSP_SCHEDULE_DELAY", 5))
                .build(),
            ignored: variables.ignored,
        }
    }
}

/// The exporter that `OTEL_{signal}_EXPORTER` names. Without a name, a collector if there is an endpoint.
fn exporter(from: &mut Variables, signal: &str, known: &[&'static str]) -> Exporter {
    let otlp = otlp(from, signal);
    match from.get(&format!("OTEL_{signal}_EXPORTER"), one_of(known)) {
        Some("console") => Exporter::Console,
        Some("otlp") => Exporter::Otlp(otlp),
        None if otlp.has_endpoint => Exporter::Otlp(otlp),
        _ => Exporter::None,
    }
}

fn size(from: &mut Variables, variable: &str, default: usize) -> usize {
    from.get(variable, number(1..=100_000)).unwrap_or(default)
}

fn duration(from: &mut Variables, variable: &str, default_seconds: u64) -> Duration {
    let duration = from.get(variable, milliseconds);
    duration.unwrap_or(Duration::from_secs(default_seconds))
}

/// Only `tracecontext` has an effect: baggage never goes to the API.
fn propagates_trace_context(from: &mut Variables) -> bool {
    let expected = "takes a list of tracecontext and baggage, or none";
    let known = one_of(&["tracecontext", "baggage", "none"]);
    let names = from.list("OTEL_PROPAGATORS", expected, |name| known(name.trim()).ok());
    names.is_empty() || (names.contains(&"tracecontext") && !names.contains(&"none"))
}

/// This service. Of equal keys the last one counts.
fn resource(from: &mut Variables) -> Resource {
    let expected = "takes key=value pairs, separated by commas";
    let pairs = from.list("OTEL_RESOURCE_ATTRIBUTES", expected, pair);
    let name = from.get("OTEL_SERVICE_NAME", |name| match name {
        "" => Err("takes text"),
        _ => Ok(("service.name".to_owned(), name.to_owned())),
    });
    let attributes = pairs.into_iter().chain(name);
    let version = env!("CARGO_PKG_VERSION");
    Resource::builder()
        .with_service_name("reset-gateway")
        .with_attribute(KeyValue::new(attribute::SERVICE_VERSION, version))
        .with_attributes(attributes.map(|(key, value)| KeyValue::new(key, value)))
        .build()
}

fn sampler(from: &mut Variables) -> Sampler {
    let ratio = from.get("OTEL_TRACES_SAMPLER_ARG", |text| match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("takes a number from 0 to 1"),
    });
    let by_ratio = Sampler::TraceIdRatioBased(ratio.unwrap_or(1.0));
    let below_parent = |root| Sampler::ParentBased(Box::new(root));
    let expected = "takes one of always_on, always_off, traceidratio, parentbased_always_on, \
                    parentbased_always_off, parentbased_traceidratio";
    let sampler = from.get("OTEL_TRACES_SAMPLER", |name| {
        match name.to_ascii_lowercase().as_str() {
            "always_on" => Ok(Sampler::AlwaysOn),
            "always_off" => Ok(Sampler::AlwaysOff),
            "traceidratio" => Ok(by_ratio.clone()),
            "parentbased_always_on" => Ok(below_parent(Sampler::AlwaysOn)),
            "parentbased_always_off" => Ok(below_parent(Sampler::AlwaysOff)),
            "parentbased_traceidratio" => Ok(below_parent(by_ratio.clone())),
            _ => Err(expected),
        }
    });
    sampler.unwrap_or_else(|| below_parent(Sampler::AlwaysOn))
}

/// How the collector of a signal, `TRACES` or `METRICS`, is reached.
fn otlp(from: &mut Variables, signal: &str) -> Otlp {
    warn_of_ignored_values(from, signal);
    let protocol = from.otlp(signal, "PROTOCOL", one_of(&["grpc", "http/protobuf"]));
    let is_grpc = protocol == Some("grpc");
    let (port, path) = match is_grpc {
        true => (4317, String::new()),
        false => (4318, format!("/v1/{}", signal.to_lowercase())),
    };
    // The endpoint for all signals is a base URL, that of one signal is complete.
    let own = from.get(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"), url);
    let endpoint = own.or_else(|| {
        let base = from.get("OTEL_EXPORTER_OTLP_ENDPOINT", url)?;
        Some(base.trim_end_matches('/').to_owned() + &path)
    });
    Otlp {
        is_grpc,
        has_endpoint: endpoint.is_some(),
        endpoint: endpoint.unwrap_or(format!("http://localhost:{port}{path}")),
        timeout: timeout(from, signal),
        ca: from.otlp(signal, "CERTIFICATE", certificates),
        identity: identity(from, signal),
    }
}

/// Warns of values that the SDK would ignore silently.
fn warn_of_ignored_values(from: &mut Variables, signal: &str) {
    from.otlp(signal, "COMPRESSION", one_of(&["gzip", "none"]));
    let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    from.get(temporality, one_of(&["cumulative", "delta", "lowmemory"]));
    let expected = "takes headers as key=value pairs, separated by commas";
    for signal in [&format!("{signal}_"), ""] {
        let variable = format!("OTEL_EXPORTER_OTLP_{signal}HEADERS");
        from.list(&variable, expected, header);
    }
}

fn timeout(from: &mut Variables, signal: &str) -> Duration {
    let processor = match signal {
        "TRACES" => from.get("OTEL_BSP_EXPORT_TIMEOUT", milliseconds),
        _ => from.get("OTEL_METRIC_EXPORT_TIMEOUT", milliseconds),
    };
    let exporter = from.otlp(signal, "TIMEOUT", milliseconds);
    let exporter = exporter.unwrap_or(Duration::from_secs(10));
    exporter.min(processor.unwrap_or(exporter))
}

/// The client certificate with its key. Neither is used without the other.
fn identity(from: &mut Variables, signal: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let certificate = from.otlp(signal, "CLIENT_CERTIFICATE", certificates);
    let key = from.otlp(signal, "CLIENT_KEY", |path| {
        let key = client_key(certificate.as_deref(), path);
        key.ok_or("takes a PEM file with the key of the client certificate")
    });
    let mut ignored = from.ignored.keys();
    let is_key_ignored = ignored.any(|variable| variable.ends_with("CLIENT_KEY"));
    if certificate.is_some() && key.is_none() && !is_key_ignored {
        let expected = "takes effect only together with OTEL_EXPORTER_OTLP_CLIENT_KEY";
        from.ignore("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", expected);
    }
    certificate.zip(key)
}

/// Reads the key of the certificate. Only a client that is built with both shows whether they belong together.
fn client_key(certificate: Option<&[u8]>, path: &str) -> Option<Vec<u8>> {
    let key = fs::read(path).ok()?;
    let both = Identity::from_pem(&[certificate?, b"\n", &key].concat()).ok()?;
    let client = reqwest::Client::builder().identity(both).build();
    client.is_ok().then_some(key)
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    number(1..=2_147_483_647)(text).map(Duration::from_millis)
}

fn url(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.as_str().parse::<Uri>().is_ok()
    });
    let url = url.map(String::from);
    url.ok_or("takes an http or https URL, such as http://127.0.0.1:4317")
}

fn certificates(path: &str) -> Result<Vec<u8>, &'static str> {
    let pem = fs::read(path).unwrap_or_default();
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(pem),
        _ => Err("takes a PEM file of certificates"),
    }
}

/// Parses one of the words, in any case.
fn one_of(words: &[&'static str]) -> impl Fn(&str) -> Result<&'static str, String> {
    |text| {
        let word = words.iter().find(|word| text.eq_ignore_ascii_case(word));
        word.copied().ok_or_else(|| error::one_of(words))
    }
}

/// `key=value`, percent-encoded.
fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let key = key.trim();
    (!key.is_empty()).then(|| (key.to_owned(), value.into_owned()))
}

fn header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair(text)?;
    Some((name.parse().ok()?, value.parse().ok()?))
}
