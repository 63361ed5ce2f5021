//! What a collector rejects of a batch that it takes (OTLP's partial success). The exporters tell of it in nothing but an
//! event.

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

/// Counts what is rejected. Says nothing itself: from within an event no other can be logged.
#[derive(Debug)]
pub(crate) struct Rejected(Arc<Counts>);

/// [`Rejected`], which hears the exporters' events alone.
pub(crate) type RejectedLayer = Filtered<Rejected, FilterFn, Registry>;

pub(super) fn layer(counts: Arc<Counts>) -> RejectedLayer {
    Rejected(counts).with_filter(FilterFn::new(is_partial_success))
}

fn is_partial_success(event: &Metadata<'_>) -> bool {
    event.target() == "opentelemetry-otlp" && event.name().ends_with("Client.PartialSuccess")
}

impl<S: Subscriber> Layer<S> for Rejected {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Count(&self.0));
    }
}

/// Reads the number in the event.
struct Count<'a>(&'a Counts);

impl Visit for Count<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        let number = value.try_into().unwrap_or(0);
        match field.name() {
            "rejected_spans" => self.0.rejected_spans(number),
            "rejected_data_points" => self.0.rejected_points(number),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
