//! The program's telemetry: log lines on standard error, and spans and metrics over OTLP and at `/metrics`. It never
//! contains a field of a request or the body of a response.
//!
//! ```text
//!   call ──▶ call_observer ──▶ spans    one SERVER span, and below it a CLIENT span for each try
//!                         ├──▶ metrics  duration, results by reason, …
//!                         └──▶ logging  one line
//! ```

pub(crate) mod call_observer;

mod security_event;

pub(crate) mod spans;

pub(crate) mod metrics;

pub(crate) mod gauges;

pub(crate) mod tls_metrics;

pub(crate) mod prometheus;

pub(crate) mod logging;

mod log_format;

pub(crate) mod log_writer;

mod exporters;

use std::{sync::atomic::Ordering, time::Duration};

use opentelemetry::global;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{PeriodicReader, SdkMeterProvider, exporter::PushMetricExporter},
    trace::{BatchConfig, BatchSpanProcessor, SdkTracerProvider, SpanExporter},
};
use tokio::{task::spawn_blocking, time::timeout};
use tracing::warn;

use self::{exporters::FAILED_SPANS, logging::LogLevel, prometheus::Page};
use crate::config::{
    self,
    otel::{Exporter, OpenTelemetry},
};

/// The most that sending the last spans and metrics may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Logging, tracing and metrics of the process. [`Telemetry::finish`] sends what is left.
#[derive(Debug)]
#[must_use = "what has not been sent yet is lost without `finish`"]
pub(crate) struct Telemetry {
    pub(crate) log_level: LogLevel,
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    /// The page at `/metrics`; `None` if the SDK is disabled.
    pub(crate) page: Option<Page>,
}

impl Telemetry {
    /// Starts logging, measuring and exporting. Must be called within a tokio runtime.
    pub(crate) fn start(config: config::Telemetry) -> Self {
        let log_level = logging::start(&config);
        // First the metrics: the span processor counts what it drops.
        let (metrics, page) = start_metrics(&config.otel).unzip();
        gauges::observe_process();
        Self {
            log_level,
            traces: start_traces(config.otel),
            metrics,
            page,
        }
    }

    /// Sends what is left, for a few seconds at most.
    pub(crate) async fn finish(self) {
        let (traces, metrics) = (self.traces, self.metrics);
        let (spans_sent, metrics_sent) = tokio::join!(
            shuts_down_in_time(move || traces.map_or(Ok(()), |it| it.shutdown())),
            shuts_down_in_time(move || metrics.map_or(Ok(()), |it| it.shutdown())),
        );
        let dropped = FAILED_SPANS.load(Ordering::Relaxed);
        if !spans_sent || !metrics_sent || dropped > 0 {
            warn!(dropped, "not all spans and metrics could be sent");
        }
    }
}

/// Whether a shutdown, which blocks, succeeds in time. The SDK applies no time-out to metrics.
async fn shuts_down_in_time(shutdown: impl FnOnce() -> OTelSdkResult + Send + 'static) -> bool {
    let end = timeout(FLUSH_TIMEOUT, spawn_blocking(shutdown)).await;
    matches!(end, Ok(Ok(Ok(()))))
}

/// Sets the tracer provider of the process, if spans are exported.
fn start_traces(config: OpenTelemetry) -> Option<SdkTracerProvider> {
    let batches = config.span_batches;
    let processor = match &config.traces {
        _ if config.is_disabled => return None,
        Exporter::None => return None,
        Exporter::Console => span_processor(opentelemetry_stdout::SpanExporter::default(), batches),
        Exporter::Otlp(otlp) => span_processor(exporters::spans(otlp)?, batches),
    };
    let provider = SdkTracerProvider::builder()
        .with_resource(config.resource)
        .with_sampler(config.sampler)
        .with_span_processor(processor)
        .build();
    global::set_tracer_provider(provider.clone());
    Some(provider)
}

fn span_processor(
    exporter: impl SpanExporter + 'static,
    batches: BatchConfig,
) -> BatchSpanProcessor {
    let processor = BatchSpanProcessor::builder(exporter);
    processor.with_batch_config(batches).build()
}

/// Sets the meter provider of the process, unless the SDK is disabled.
fn start_metrics(config: &OpenTelemetry) -> Option<(SdkMeterProvider, Page)> {
    if config.is_disabled {
        return None;
    }
    let (reader, page) = prometheus::reader();
    let provider = SdkMeterProvider::builder()
        .with_resource(config.resource.clone())
        .with_reader(reader);
    let provider = match &config.metrics {
        Exporter::None => provider,
        Exporter::Console => {
            let exporter = opentelemetry_stdout::MetricExporter::default();
            provider.with_reader(periodic(exporter, config))
        }
        Exporter::Otlp(otlp) => match exporters::metrics(otlp) {
            None => provider,
            Some(exporter) => provider.with_reader(periodic(exporter, config)),
        },
    };
    let provider = provider.build();
    global::set_meter_provider(provider.clone());
    Some((provider, page))
}

fn periodic<E: PushMetricExporter>(exporter: E, config: &OpenTelemetry) -> PeriodicReader<E> {
    let reader = PeriodicReader::builder(exporter);
    reader.with_interval(config.metric_interval).build()
}
