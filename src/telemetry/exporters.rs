//! The OTLP exporters, over gRPC and HTTP, and a wrapper that counts and reports exports that fail.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_otlp::{
    MetricExporter, Protocol, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SpanData, SpanExporter},
};
use reqwest::{Certificate, Identity, blocking::Client};
use tonic::transport::{
    Certificate as TonicCertificate, Channel, ClientTlsConfig, Endpoint, Identity as TonicIdentity,
};
use tracing::warn;

use crate::config::otel::collector::Otlp;

/// How often an error that keeps recurring is logged.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The exporter that a builder of either signal makes; `None` if the settings do not fit together.
macro_rules! otlp_exporter {
    ($builder:expr, $config:expr) => {{
        let (builder, config) = ($builder, $config);
        let exporter = if config.is_grpc {
            let builder = builder.with_tonic().with_timeout(config.timeout);
            builder.with_channel(channel(config)?).build()
        } else {
            let builder = builder.with_http().with_protocol(Protocol::HttpBinary);
            let builder = builder.with_endpoint(&config.endpoint);
            let builder = builder.with_timeout(config.timeout);
            builder.with_http_client(client(config)?).build()
        };
        exporter.ok().or_else(unusable)
    }};
}

/// The exporter of spans. Must be called within a tokio runtime.
pub(super) fn spans(config: &Otlp) -> Option<opentelemetry_otlp::SpanExporter> {
    otlp_exporter!(opentelemetry_otlp::SpanExporter::builder(), config)
}

/// The exporter of metrics. Must be called within a tokio runtime.
pub(super) fn metrics(config: &Otlp) -> Option<MetricExporter> {
    otlp_exporter!(MetricExporter::builder(), config)
}

/// Leaves out the error: it may hold the endpoint, and with it a password.
fn unusable<T>() -> Option<T> {
    warn!("nothing is exported over OTLP: the settings do not fit together");
    None
}

/// Built here because the SDK's own channel waits for a connection forever.
fn channel(config: &Otlp) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(config.endpoint.clone()).ok()?;
    let endpoint = endpoint
        .timeout(config.timeout)
        .connect_timeout(config.timeout);
    let is_https = config.endpoint.starts_with("https:");
    let endpoint = if is_https {
        endpoint.tls_config(tls(config))
    } else {
        Ok(endpoint)
    };
    // With a connector of our own, the time-out covers the TLS handshake too.
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let channel = endpoint.map(|endpoint| endpoint.connect_with_connector_lazy(connector));
    channel.ok().or_else(unusable)
}

fn tls(config: &Otlp) -> ClientTlsConfig {
    let mut tls = ClientTlsConfig::new().with_enabled_roots();
    if let Some(ca) = &config.ca {
        tls = tls.ca_certificate(TonicCertificate::from_pem(ca));
    }
    if let Some((certificate, key)) = &config.identity {
        tls = tls.identity(TonicIdentity::from_pem(certificate, key));
    }
    tls
}

/// A blocking client, because the SDK exports from threads of its own. reqwest requires that it is built outside the
/// runtime.
fn client(config: &Otlp) -> Option<Client> {
    let client = thread::scope(|scope| scope.spawn(|| build_client(config)).join());
    client.ok().and_then(Result::ok).or_else(unusable)
}

fn build_client(config: &Otlp) -> reqwest::Result<Client> {
    let mut client = Client::builder().no_proxy().timeout(config.timeout);
    if let Some(ca) = &config.ca {
        client = client.tls_certs_merge(Certificate::from_pem_bundle(ca)?);
    }
    if let Some((certificate, key)) = &config.identity {
        let pem = [certificate.as_slice(), b"\n", key].concat();
        client = client.identity(Identity::from_pem(&pem)?);
    }
    client.build()
}

/// An exporter that counts the spans whose export fails, which the SDK counts as processed, and warns of failures at most
/// once a minute.
#[derive(Debug)]
pub(super) struct Reporting<E> {
    exporter: E,
    failed_spans: Arc<AtomicU64>,
    warning: RateLimitedWarning,
}

impl<E> Reporting<E> {
    pub(super) fn new(exporter: E, failed_spans: &Arc<AtomicU64>) -> Self {
        Self {
            exporter,
            failed_spans: Arc::clone(failed_spans),
            warning: RateLimitedWarning::default(),
        }
    }
}

// The errors are the SDK's: a gRPC code or an HTTP status, or what the system says. They hold no URL, and nothing that the
// collector wrote.

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let size = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        if let Err(error) = &result {
            let dropped = self.failed_spans.fetch_add(size, Ordering::Relaxed) + size;
            let why = format!("the collector does not take them: {error}");
            self.warning
                .log(|| warn!(why, dropped, "spans are dropped"));
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Metrics whose export fails are not lost: the next export contains them.
impl<E: PushMetricExporter> PushMetricExporter for Reporting<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        if let Err(error) = &result {
            self.warning
                .log(|| warn!(%error, "the collector does not take the metrics"));
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

/// Logs a recurring failure at most once a minute.
#[derive(Debug, Default)]
struct RateLimitedWarning(Mutex<Option<Instant>>);

impl RateLimitedWarning {
    fn log(&self, log: impl FnOnce()) {
        self.log_at(Instant::now(), log);
    }

    fn log_at(&self, now: Instant, log: impl FnOnce()) {
        let Ok(mut last) = self.0.lock() else { return };
        if last.is_none_or(|last| now.duration_since(last) >= WARNING_INTERVAL) {
            *last = Some(now);
            log();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recurring_failure_is_logged_once_a_minute() {
        let (warning, start) = (RateLimitedWarning::default(), Instant::now());
        let is_logged = |after| {
            let mut logged = false;
            warning.log_at(start + Duration::from_secs(after), || logged = true);
            logged
        };
        assert_eq!(
            [0, 1, 59, 60, 61, 119, 120].map(is_logged),
            [true, false, false, true, false, false, true]
        );
    }
}
