//! The way out for spans and metrics: set up before anything is measured, and emptied at the end.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use opentelemetry::{Key, KeyValue, global, metrics::Meter};
use opentelemetry_sdk::{
    Resource,
    metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider},
    trace::{BatchSpanProcessor, SdkTracerProvider, SpanExporter},
};
use opentelemetry_semantic_conventions::attribute;
use tracing::warn;

use super::{
    delivery::{Bounded, Counted, Counts, Reported},
    metrics::observe_delivery,
    otlp,
    prometheus::{self, Page},
};
use crate::config::{
    ConfigError, Telemetry,
    otel::{Exporter, OpenTelemetry},
};

/// The most that sending the last spans and metrics may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Spans and metrics on their way out. What is still to be sent goes out with [`Export::finish`].
#[derive(Debug)]
#[must_use = "what is not sent yet is lost without `finish`"]
pub(crate) struct Export {
    traces: Option<SdkTracerProvider>,
    /// Only if they are pushed anywhere.
    metrics: Option<SdkMeterProvider>,
    counts: Arc<Counts>,
    page: Option<Page>,
}

impl Export {
    /// Starts measuring and exporting, as configured. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// If a variable has a value that an exporter cannot use.
    pub(crate) fn start(config: &Telemetry) -> Result<Self, ConfigError> {
        let counts = Arc::new(Counts::default());
        let traces = tracer_provider(&config.otel, &counts)?;
        if let Some(provider) = &traces {
            global::set_tracer_provider(provider.clone());
        }
        let (metrics, page) = if config.otel.is_disabled { (None, None) } else { meter_provider(&config.otel)? };
        if let Some(provider) = &metrics {
            global::set_meter_provider(provider.clone());
        }
        observe_delivery(&meter(), Arc::clone(&counts));
        let metrics = metrics.filter(|_| !matches!(config.otel.metrics, Exporter::None));
        Ok(Self { traces, metrics, counts, page })
    }

    /// What `/metrics` shows; nothing if the SDK is disabled.
    pub(crate) fn page(&self) -> Option<Page> {
        self.page.clone()
    }

    /// Sends what is left, for a few seconds at the most. Blocks, so it must not be called from a task.
    pub(crate) fn finish(self) {
        let (done, is_done) = mpsc::channel();
        let (traces, metrics) = (self.traces, self.metrics);
        // The SDK's own limit does not hold for metrics.
        thread::spawn(move || {
            let traces = traces.map(|provider| provider.shutdown_with_timeout(PATIENCE));
            let metrics = metrics.map(|provider| provider.shutdown_with_timeout(PATIENCE));
            // Nobody waits any more if that took too long.
            let _ = done.send([traces, metrics]);
        });
        let results = is_done.recv_timeout(PATIENCE);
        let failed = results.map_or(true, |results| results.into_iter().flatten().any(|result| result.is_err()));
        let dropped = self.counts.queue_full() + self.counts.export_failed() + self.counts.waiting() as u64;
        if failed || dropped > 0 {
            warn!(dropped, "not all spans and metrics could be sent");
        }
    }
}

/// What everything here is measured by.
pub(crate) fn meter() -> Meter {
    global::meter("reset-gateway")
}

fn tracer_provider(config: &OpenTelemetry, counts: &Arc<Counts>) -> Result<Option<SdkTracerProvider>, ConfigError> {
    let provider = match &config.traces {
        Exporter::None => return Ok(None),
        Exporter::Console => tracer_provider_over(opentelemetry_stdout::SpanExporter::default(), config, counts),
        Exporter::Otlp(otlp) => tracer_provider_over(otlp::spans(otlp)?, config, counts),
    };
    Ok(Some(provider))
}

fn tracer_provider_over(
    exporter: impl SpanExporter + 'static,
    config: &OpenTelemetry,
    counts: &Arc<Counts>,
) -> SdkTracerProvider {
    let processor = BatchSpanProcessor::builder(Counted::new(exporter, Arc::clone(counts))).build();
    let processor = Bounded::new(processor, Arc::clone(counts), config.max_queued_spans);
    SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource(config)).build()
}

fn meter_provider(config: &OpenTelemetry) -> Result<(Option<SdkMeterProvider>, Option<Page>), ConfigError> {
    let (reader, page) = prometheus::reader();
    let provider = SdkMeterProvider::builder().with_resource(resource(config)).with_reader(reader);
    let provider = pushing(provider, &config.metrics)?;
    Ok((Some(provider.build()), Some(page)))
}

fn pushing(provider: MeterProviderBuilder, exporter: &Exporter) -> Result<MeterProviderBuilder, ConfigError> {
    Ok(match exporter {
        Exporter::None => provider,
        Exporter::Console => {
            provider.with_reader(PeriodicReader::builder(opentelemetry_stdout::MetricExporter::default()).build())
        }
        Exporter::Otlp(otlp) => {
            provider.with_reader(PeriodicReader::builder(Reported::new(otlp::metrics(otlp)?)).build())
        }
    })
}

/// Who is measured: as the standard variables say, and where they name no service, this program.
fn resource(config: &OpenTelemetry) -> Resource {
    let version = KeyValue::new(attribute::SERVICE_VERSION, env!("CARGO_PKG_VERSION"));
    let of_environment = Resource::builder().with_attribute(version);
    let found = Resource::builder().build().get(&Key::from_static_str(attribute::SERVICE_NAME));
    let named = found.filter(|name| !name.as_str().starts_with("unknown_service")).map(|name| name.to_string());
    let name = config.service_name.clone().or(named).unwrap_or_else(|| "reset-gateway".to_owned());
    of_environment.with_service_name(name).build()
}
