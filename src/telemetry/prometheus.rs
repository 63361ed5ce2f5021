//! The metrics as Prometheus reads them.

use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TextEncoder, proto::MetricFamily};

/// The page at `/metrics`.
#[derive(Clone, Debug)]
pub(crate) struct Page(Registry);

/// The reader that fills the page, and the page.
pub(super) fn reader() -> (PrometheusExporter, Page) {
    let registry = Registry::new();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .build()
        .expect("a fresh registry takes a collector");
    (reader, Page(registry))
}

impl Page {
    /// The text of the page, in Prometheus's format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for family in self.0.gather() {
            if let Some(unit) = unit(&family) {
                // The encoder does not know of units.
                text += &format!("# UNIT {} {unit}\n", family.name());
            }
            let encoded = TextEncoder::new().encode_utf8(&[family], &mut text);
            encoded.expect("writing to memory succeeds");
        }
        text
    }
}

/// The unit of a family, which by the OpenTelemetry-to-Prometheus rules its name ends with.
fn unit(family: &MetricFamily) -> Option<&'static str> {
    let name = family.name().trim_end_matches("_total");
    ["seconds", "bytes"]
        .into_iter()
        .find(|unit| name.ends_with(&format!("_{unit}")))
}
