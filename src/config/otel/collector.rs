//! How a collector is reached: the `OTEL_EXPORTER_OTLP_*` from, each for one signal or for all.

use std::{fmt, fs, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use reqwest::{Certificate, Identity, Url};

use super::{NUMBER, milliseconds, one_of, pair};
use crate::config::environment::{Ignored, Variables};

/// How a collector is reached. The SDK reads headers and compression itself.
pub struct Otlp {
    /// Whether gRPC is spoken, not HTTP.
    pub is_grpc: bool,
    /// Whether a variable names an endpoint.
    pub has_endpoint: bool,
    /// The URL that requests go to.
    pub endpoint: String,
    /// The most that an export may take: the exporter's time-out or that of the processor that feeds it, whichever is
    /// shorter.
    pub timeout: Duration,
    /// Certificates to trust, as PEM.
    pub ca: Option<Vec<u8>>,
    /// The client certificate and its key, as PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

const URL: &str = "takes an http or https URL, such as http://127.0.0.1:4317";
const CERTIFICATES: &str = "takes a PEM file of certificates";
const HEADERS: &str = "takes headers as key=value pairs, separated by commas";
const KEY: &str = "takes a PEM file with the key of the client certificate";

impl Otlp {
    /// The settings of a signal, `TRACES` or `METRICS`.
    pub(super) fn read(from: &mut Variables, signal: &str) -> Self {
        check_what_the_sdk_reads(from, signal);
        let protocols = one_of(&["grpc", "http/protobuf"]);
        let protocol = from.otlp(signal, "PROTOCOL", "takes grpc or http/protobuf", protocols);
        let is_grpc = protocol == Some("grpc");
        let (port, path) = match is_grpc {
            true => (4317, String::new()),
            false => (4318, format!("/v1/{}", signal.to_lowercase())),
        };
        // The endpoint for all signals is a base URL, that of one signal is complete.
        let own = from.get(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"), URL, url);
        let endpoint = own.or_else(|| {
            let base = from.get("OTEL_EXPORTER_OTLP_ENDPOINT", URL, url)?;
            Some(base.trim_end_matches('/').to_owned() + &path)
        });
        Self {
            is_grpc,
            has_endpoint: endpoint.is_some(),
            endpoint: endpoint.unwrap_or(format!("http://localhost:{port}{path}")),
            timeout: timeout(from, signal),
            ca: from.otlp(signal, "CERTIFICATE", CERTIFICATES, certificates),
            identity: identity(from, signal),
        }
    }
}

fn timeout(from: &mut Variables, signal: &str) -> Duration {
    let processor = match signal {
        "TRACES" => "OTEL_BSP_EXPORT_TIMEOUT",
        _ => "OTEL_METRIC_EXPORT_TIMEOUT",
    };
    let exporter = from.otlp(signal, "TIMEOUT", NUMBER, milliseconds);
    let exporter = exporter.unwrap_or(Duration::from_secs(10));
    let processor = from.get(processor, NUMBER, milliseconds);
    processor.map_or(exporter, |processor| processor.min(exporter))
}

/// The SDK ignores what it does not understand of these, but silently.
fn check_what_the_sdk_reads(from: &mut Variables, signal: &str) {
    let compressions = one_of(&["gzip", "none"]);
    from.otlp(signal, "COMPRESSION", "takes gzip or none", compressions);
    let temporalities = one_of(&["cumulative", "delta", "lowmemory"]);
    from.get(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "takes cumulative, delta or lowmemory",
        temporalities,
    );
    for signal in [&format!("{signal}_"), ""] {
        let variable = format!("OTEL_EXPORTER_OTLP_{signal}HEADERS");
        from.list(&variable, HEADERS, |text| {
            let (name, value) = pair(text)?;
            let is_name = name.parse::<HeaderName>().is_ok();
            HeaderValue::from_str(&value).ok().filter(|_| is_name)
        });
    }
}

/// The client certificate with its key. Neither is used without the other.
fn identity(from: &mut Variables, signal: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let certificate = from.otlp(signal, "CLIENT_CERTIFICATE", CERTIFICATES, certificates);
    let key = from.otlp(signal, "CLIENT_KEY", KEY, |path| {
        let key = fs::read(path).ok()?;
        let both = [certificate.as_deref()?, b"\n", &key].concat();
        // Whether they belong together only shows when they are used.
        let client = reqwest::Client::builder().identity(Identity::from_pem(&both).ok()?);
        client.build().is_ok().then_some(key)
    });
    let is_key_ignored = |ignored: &Ignored| ignored.variable.ends_with("CLIENT_KEY");
    if certificate.is_some() && key.is_none() && !from.ignored.iter().any(is_key_ignored) {
        let expected = "takes effect only together with OTEL_EXPORTER_OTLP_CLIENT_KEY";
        from.ignore("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", expected);
    }
    certificate.zip(key)
}

fn url(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_http = matches!(url.scheme(), "http" | "https");
    (is_http && url.as_str().parse::<Uri>().is_ok()).then(|| url.into())
}

fn certificates(path: &str) -> Option<Vec<u8>> {
    let pem = fs::read(path).ok()?;
    let found = Certificate::from_pem_bundle(&pem).ok()?;
    (!found.is_empty()).then_some(pem)
}

impl fmt::Debug for Otlp {
    /// Leaves out the endpoint, which may hold a password, and the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp")
            .field("is_grpc", &self.is_grpc)
            .finish_non_exhaustive()
    }
}
