//! The OTLP exporters, over gRPC and HTTP, and a wrapper that counts and reports exports that fail.

use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_otlp::{
    MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{self, SpanData},
};
use parking_lot::Mutex;
use reqwest::{Certificate, Identity, blocking::Client};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tracing::warn;

use crate::config::otel::Otlp;

/// How often an error that keeps recurring is logged.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Spans whose export failed.
pub(super) static FAILED_SPANS: AtomicU64 = AtomicU64::new(0);

/// The exporter that a builder of either signal makes.
macro_rules! otlp_exporter {
    ($builder:expr, $config:expr) => {{
        let (builder, config) = ($builder, $config);
        if config.is_grpc {
            let builder = builder.with_tonic().with_timeout(config.timeout);
            builder.with_channel(channel(config)?).build()
        } else {
            let builder = builder.with_http().with_protocol(Protocol::HttpBinary);
            let builder = builder.with_endpoint(&config.endpoint);
            let builder = builder.with_timeout(config.timeout);
            builder.with_http_client(http_client(config)?).build()
        }
    }};
}

/// The exporter of spans. Must be called within a tokio runtime.
pub(super) fn spans(config: &Otlp) -> Option<CountingExporter<SpanExporter>> {
    build_or_warn(|| Ok(otlp_exporter!(SpanExporter::builder(), config)?))
}

/// The exporter of metrics. Must be called within a tokio runtime.
pub(super) fn metrics(config: &Otlp) -> Option<CountingExporter<MetricExporter>> {
    build_or_warn(|| Ok(otlp_exporter!(MetricExporter::builder(), config)?))
}

/// Builds an exporter, or logs a warning. The warning omits the error, which may contain the endpoint and its password.
fn build_or_warn<E>(
    build: impl FnOnce() -> Result<E, Box<dyn Error>>,
) -> Option<CountingExporter<E>> {
    let Ok(exporter) = build() else {
        warn!("nothing is exported over OTLP: the settings do not fit together");
        return None;
    };
    Some(CountingExporter {
        exporter,
        last_warning: Mutex::default(),
    })
}

/// Built here because the SDK's own channel waits for a connection forever.
fn channel(config: &Otlp) -> Result<Channel, tonic::transport::Error> {
    let mut endpoint = Endpoint::from_shared(config.endpoint.clone())?
        .timeout(config.timeout)
        .connect_timeout(config.timeout);
    if config.endpoint.starts_with("https:") {
        endpoint = endpoint.tls_config(tls(config))?;
    }
    // With a connector of our own, the time-out covers the TLS handshake too.
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    Ok(endpoint.connect_with_connector_lazy(connector))
}

fn tls(config: &Otlp) -> ClientTlsConfig {
    let mut tls = ClientTlsConfig::new().with_enabled_roots();
    if let Some(ca) = &config.ca {
        tls = tls.ca_certificate(tonic::transport::Certificate::from_pem(ca));
    }
    if let Some((certificate, key)) = &config.identity {
        tls = tls.identity(tonic::transport::Identity::from_pem(certificate, key));
    }
    tls
}

/// A blocking client, because the SDK exports from threads of its own. reqwest requires that it is built outside the
/// runtime.
fn http_client(config: &Otlp) -> Result<Client, Box<dyn Error>> {
    let build = || -> reqwest::Result<Client> {
        let mut client = Client::builder().no_proxy().timeout(config.timeout);
        if let Some(ca) = &config.ca {
            client = client.tls_certs_merge(Certificate::from_pem_bundle(ca)?);
        }
        if let Some((certificate, key)) = &config.identity {
            let pem = [certificate.as_slice(), b"\n", key].concat();
            client = client.identity(Identity::from_pem(&pem)?);
        }
        client.build()
    };
    let built = thread::scope(|scope| scope.spawn(build).join());
    Ok(built.map_err(|_| "building the client panicked")??)
}

/// An exporter that counts the spans whose export fails, which the SDK counts as processed, and warns of failures at most
/// once a minute.
#[derive(Debug)]
pub(super) struct CountingExporter<E> {
    exporter: E,
    last_warning: Mutex<Option<Instant>>,
}

impl<E> CountingExporter<E> {
    /// Whether a failure is logged now.
    fn is_warning_due(&self, now: Instant) -> bool {
        let mut last = self.last_warning.lock();
        let is_due = last.is_none_or(|last| now.duration_since(last) >= WARNING_INTERVAL);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

// The errors are the SDK's: a gRPC code or an HTTP status, or what the system says. They hold no URL, and nothing that the
// collector wrote.

impl<E: trace::SpanExporter> trace::SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let size = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        if let Err(error) = &result {
            let dropped = FAILED_SPANS.fetch_add(size, Ordering::Relaxed) + size;
            if self.is_warning_due(Instant::now()) {
                let why = format!("the collector does not take them: {error}");
                warn!(why, dropped, "spans are dropped");
            }
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Metrics whose export fails are not lost: the next export contains them.
impl<E: PushMetricExporter> PushMetricExporter for CountingExporter<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        if let Err(error) = &result
            && self.is_warning_due(Instant::now())
        {
            warn!(%error, "the collector does not take the metrics");
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recurring_failure_is_logged_once_a_minute() {
        let start = Instant::now();
        let reporting = CountingExporter {
            exporter: (),
            last_warning: Mutex::default(),
        };
        let is_logged = |after| reporting.is_warning_due(start + Duration::from_secs(after));
        assert_eq!(
            [0, 1, 59, 60, 61, 119, 120].map(is_logged),
            [true, false, false, true, false, false, true]
        );
    }
}
