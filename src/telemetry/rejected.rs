//! The spans that a collector rejects of a batch that it takes (OTLP's partial success). The exporters tell of them in
//! nothing but an event.

use std::{fmt::Debug, sync::Arc};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterFn, Filtered},
    layer::Context,
};

use super::delivery::Counts;

/// Counts the rejected spans. Says nothing itself: from within an event no other can be logged.
#[derive(Debug)]
pub(crate) struct Rejected(Arc<Counts>);

/// [`Rejected`], which hears the exporters' events alone.
pub(crate) type Listener = Filtered<Rejected, FilterFn, Registry>;

pub(super) fn listener(counts: Arc<Counts>) -> Listener {
    Rejected(counts).with_filter(FilterFn::new(is_partial_success))
}

fn is_partial_success(event: &Metadata<'_>) -> bool {
    const NAMES: [&str; 2] = ["TonicTracesClient.PartialSuccess", "HttpTraceClient.PartialSuccess"];
    event.target() == "opentelemetry-otlp" && NAMES.contains(&event.name())
}

impl<S: Subscriber> Layer<S> for Rejected {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut spans = Spans(0);
        event.record(&mut spans);
        self.0.rejected(spans.0);
    }
}

/// The number in the event.
struct Spans(u64);

impl Visit for Spans {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "rejected_spans" {
            self.0 = value.try_into().unwrap_or(0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
