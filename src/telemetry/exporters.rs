//! The way out for spans and metrics: set up before anything is measured, and emptied at the end.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, global, metrics::Meter};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider},
    trace::{SdkTracerProvider, SpanExporter},
};
use opentelemetry_semantic_conventions::attribute;
use tracing::warn;

use super::{
    batches::Batches,
    delivery::{Counted, Counts, Reported},
    metrics::observe_delivery,
    otlp,
    prometheus::{self, Page},
    rejected::{self, RejectedLayer},
    room::Room,
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
    room: Room,
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
        let (metrics, page) = if config.otel.is_disabled {
            (None, None)
        } else {
            meter_provider(&config.otel, &counts)?
        };
        if let Some(provider) = &metrics {
            global::set_meter_provider(provider.clone());
        }
        observe_delivery(&meter(), Arc::clone(&counts));
        let metrics = metrics.filter(|_| !matches!(config.otel.metrics, Exporter::None));
        let room = Room::new(
            Arc::clone(&counts),
            config.otel.spans.waiting,
            config.otel.sampler.clone(),
        );
        Ok(Self {
            traces,
            metrics,
            counts,
            room,
            page,
        })
    }

    /// The room that there is for spans.
    pub(crate) fn room(&self) -> Room {
        self.room.clone()
    }

    /// What hears the exporters' events, beside the log.
    pub(crate) fn rejected(&self) -> RejectedLayer {
        rejected::layer(Arc::clone(&self.counts))
    }

    /// What `/metrics` shows; nothing if the SDK is disabled.
    pub(crate) fn page(&self) -> Option<Page> {
        self.page.clone()
    }

    /// Sends what is left, for a few seconds at the most. Blocks, so it must not be called from a task.
    pub(crate) fn finish(self) {
        let traces = self
            .traces
            .map(|provider| ending(move || provider.shutdown_with_timeout(PATIENCE)));
        let metrics = self
            .metrics
            .map(|provider| ending(move || provider.shutdown_with_timeout(PATIENCE)));
        let deadline = Instant::now() + PATIENCE;
        let is_done = |end: Receiver<OTelSdkResult>| {
            let left = deadline.saturating_duration_since(Instant::now());
            matches!(end.recv_timeout(left), Ok(Ok(())))
        };
        let ends: Vec<_> = traces.into_iter().chain(metrics).map(is_done).collect();
        let failed = ends.contains(&false);
        let dropped =
            self.counts.queue_full() + self.counts.export_failed() + self.counts.waiting() as u64;
        if failed || dropped > 0 {
            warn!(dropped, "not all spans and metrics could be sent");
        }
    }
}

/// Runs the end of a provider beside this thread: one that is slow, and the SDK's limit does not hold for metrics, must not
/// keep the other from sending.
fn ending(end: impl FnOnce() -> OTelSdkResult + Send + 'static) -> Receiver<OTelSdkResult> {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        // Nobody waits any more if that took too long.
        let _ = done.send(end());
    });
    is_done
}

/// What everything here is measured by.
pub(crate) fn meter() -> Meter {
    global::meter("reset-gateway")
}

fn tracer_provider(
    config: &OpenTelemetry,
    counts: &Arc<Counts>,
) -> Result<Option<SdkTracerProvider>, ConfigError> {
    let provider = match &config.traces {
        Exporter::None => return Ok(None),
        Exporter::Console => tracer_provider_over(
            opentelemetry_stdout::SpanExporter::default(),
            config,
            counts,
        ),
        Exporter::Otlp(otlp) => tracer_provider_over(otlp::spans(otlp)?, config, counts),
    };
    Ok(Some(provider))
}

fn tracer_provider_over(
    mut exporter: impl SpanExporter + 'static,
    config: &OpenTelemetry,
    counts: &Arc<Counts>,
) -> SdkTracerProvider {
    let resource = resource(config);
    exporter.set_resource(&resource);
    let processor = Batches::new(
        Counted::new(exporter, Arc::clone(counts)),
        Arc::clone(counts),
        config.spans,
    );
    let provider = SdkTracerProvider::builder()
        .with_sampler(config.sampler.clone())
        .with_span_processor(processor);
    provider.with_resource(resource).build()
}

fn meter_provider(
    config: &OpenTelemetry,
    counts: &Arc<Counts>,
) -> Result<(Option<SdkMeterProvider>, Option<Page>), ConfigError> {
    let (reader, page) = prometheus::reader();
    let provider = SdkMeterProvider::builder()
        .with_resource(resource(config))
        .with_reader(reader);
    let provider = pushing(provider, &config.metrics, counts)?;
    Ok((Some(provider.build()), Some(page)))
}

fn pushing(
    provider: MeterProviderBuilder,
    exporter: &Exporter,
    counts: &Arc<Counts>,
) -> Result<MeterProviderBuilder, ConfigError> {
    Ok(match exporter {
        Exporter::None => provider,
        Exporter::Console => provider.with_reader(
            PeriodicReader::builder(opentelemetry_stdout::MetricExporter::default()).build(),
        ),
        Exporter::Otlp(otlp) => provider.with_reader(
            PeriodicReader::builder(Reported::new(otlp::metrics(otlp)?, Arc::clone(counts)))
                .build(),
        ),
    })
}

/// Who is measured: as the standard variables say, and where they name no service, this program.
fn resource(config: &OpenTelemetry) -> Resource {
    let of_list = config
        .resource
        .iter()
        .find(|(key, _)| key == attribute::SERVICE_NAME)
        .map(|(_, name)| name.clone());
    let name = config
        .service_name
        .clone()
        .or(of_list)
        .unwrap_or_else(|| "reset-gateway".to_owned());
    Resource::builder()
        .with_attribute(KeyValue::new(
            attribute::SERVICE_VERSION,
            env!("CARGO_PKG_VERSION"),
        ))
        .with_attributes(
            config
                .resource
                .iter()
                .map(|(key, value)| KeyValue::new(key.clone(), value.clone())),
        )
        .with_service_name(name)
        .build()
}
