//! The export of spans over OTLP. Protocol, endpoint, headers, sampler and the rest are the SDK's `OTEL_*` variables.

use std::time::Duration;

use opentelemetry::global;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use opentelemetry_semantic_conventions::attribute;
use tracing::warn;

use crate::config::{ConfigError, Telemetry};

/// The spans' way out. What is still to be sent goes out with [`Export::finish`].
#[derive(Debug)]
#[must_use = "spans that are not sent yet are lost without `finish`"]
pub(crate) struct Export(Option<SdkTracerProvider>);

impl Export {
    /// Starts exporting, if that is configured. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// If a variable has a value that the exporter cannot use.
    pub(crate) fn start(config: &Telemetry) -> Result<Self, ConfigError> {
        if !config.export_traces {
            return Ok(Self(None));
        }
        let exporter = SpanExporter::builder().build().map_err(|_| {
            ConfigError::variable(config.endpoint_variable, "takes a URL, such as http://127.0.0.1:4317")
        })?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        global::set_tracer_provider(provider.clone());
        Ok(Self(Some(provider)))
    }

    /// Sends what is left. Blocks, so it must not be called from a task.
    pub(crate) fn finish(self) {
        const PATIENCE: Duration = Duration::from_secs(3);
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(PATIENCE)
        {
            warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Who sends the spans: the standard variables, and where they name no service, this program.
fn resource() -> Resource {
    let of_environment = Resource::builder().build();
    let is_named = of_environment
        .iter()
        .any(|(key, value)| key.as_str() == attribute::SERVICE_NAME && !value.as_str().starts_with("unknown_service"));
    let resource = Resource::builder()
        .with_attribute(opentelemetry::KeyValue::new(attribute::SERVICE_VERSION, env!("CARGO_PKG_VERSION")));
    if is_named { resource.build() } else { resource.with_service_name("reset-gateway").build() }
}
