//! How a collector is reached: the `OTEL_EXPORTER_OTLP_*` variables, each for one signal or for all.

use std::{fmt, fs, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use reqwest::{Certificate, Identity, Url};

use super::{NUMBER, milliseconds, one_of, pair};
use crate::config::environment::{Ignored, Variables};

/// How a collector is reached. The SDK reads headers and compression itself.
pub struct Otlp {
    /// Whether gRPC is spoken, not HTTP.
    pub is_grpc: bool,
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
const KEY: &str = "takes a PEM file with the key of the client certificate";

impl Otlp {
    /// The settings of a signal, `TRACES` or `METRICS`; and whether an endpoint is among them.
    pub(super) fn read(variables: &mut Variables, signal: &str) -> (Self, bool) {
        let protocols = one_of(&["grpc", "http/protobuf"]);
        let protocol = variables.otlp(signal, "PROTOCOL", "takes grpc or http/protobuf", protocols);
        let is_grpc = protocol == Some("grpc");
        check_headers(variables, signal);
        let endpoint = endpoint(variables, signal, is_grpc);
        let has_endpoint = endpoint.is_some();
        let default = if is_grpc {
            "http://localhost:4317".to_owned()
        } else {
            format!("http://localhost:4318/v1/{}", signal.to_lowercase())
        };
        let ca = variables.otlp(signal, "CERTIFICATE", CERTIFICATES, certificates);
        let otlp = Self {
            is_grpc,
            endpoint: endpoint.unwrap_or(default),
            timeout: timeout(variables, signal),
            ca,
            identity: identity(variables, signal),
        };
        (otlp, has_endpoint)
    }
}

/// The endpoint of a signal is taken as it is; over HTTP, the one for all signals is a base URL.
fn endpoint(variables: &mut Variables, signal: &str, is_grpc: bool) -> Option<String> {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
    variables.get(&own, URL, url).or_else(|| {
        let base = variables.get("OTEL_EXPORTER_OTLP_ENDPOINT", URL, url)?;
        if is_grpc {
            return Some(base);
        }
        let base = base.trim_end_matches('/');
        Some(format!("{base}/v1/{}", signal.to_lowercase()))
    })
}

fn timeout(variables: &mut Variables, signal: &str) -> Duration {
    let processor = match signal {
        "TRACES" => "OTEL_BSP_EXPORT_TIMEOUT",
        _ => "OTEL_METRIC_EXPORT_TIMEOUT",
    };
    let exporter = variables.otlp(signal, "TIMEOUT", NUMBER, milliseconds);
    let processor = variables.get(processor, NUMBER, milliseconds);
    let exporter = exporter.unwrap_or(Duration::from_secs(10));
    processor.map_or(exporter, |processor| processor.min(exporter))
}

fn check_headers(variables: &mut Variables, signal: &str) {
    for name in [
        format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS"),
        "OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
    ] {
        let expected = "takes headers as key=value pairs, separated by commas";
        variables.list(&name, expected, |text| {
            let (name, value) = pair(text)?;
            name.parse::<HeaderName>().ok()?;
            HeaderValue::from_str(&value).ok()
        });
    }
}

/// The client certificate with its key. Neither is used without the other.
fn identity(variables: &mut Variables, signal: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let certificate = variables.otlp(signal, "CLIENT_CERTIFICATE", CERTIFICATES, certificates);
    let key = variables.otlp(signal, "CLIENT_KEY", KEY, |path| {
        let key = fs::read(path).ok()?;
        let both = [certificate.as_deref()?, b"\n", &key].concat();
        // Whether they belong together only shows when they are used.
        let client = reqwest::Client::builder().identity(Identity::from_pem(&both).ok()?);
        client.build().is_ok().then_some(key)
    });
    let is_key_ignored = |ignored: &Ignored| ignored.variable.ends_with("CLIENT_KEY");
    if certificate.is_some() && key.is_none() && !variables.ignored.iter().any(is_key_ignored) {
        let expected = "takes effect only together with OTEL_EXPORTER_OTLP_CLIENT_KEY";
        variables.ignore("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", expected);
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
