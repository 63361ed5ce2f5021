//! The metrics as Prometheus reads them.

use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Encoder, Registry, TextEncoder};

/// The page at `/metrics`.
#[derive(Clone, Debug)]
pub(crate) struct Page(Registry);

/// The reader that fills the page, and the page.
pub(super) fn reader() -> (PrometheusExporter, Page) {
    let registry = Registry::new();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .build();
    (
        reader.expect("a fresh registry takes a collector"),
        Page(registry),
    )
}

impl Page {
    /// The text of the page, in Prometheus's format.
    pub(crate) fn text(&self) -> String {
        let text = TextEncoder::new().encode_to_string(&self.0.gather());
        text.expect("metrics can be written as text")
    }

    /// The media type of the text.
    pub(crate) fn content_type() -> String {
        TextEncoder::new().format_type().to_owned()
    }
}
