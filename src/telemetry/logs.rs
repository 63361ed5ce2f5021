//! Log lines on standard error.

use std::{io, panic};

use tracing::{Level, Metadata, Subscriber, error, subscriber::set_global_default};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    registry::LookupSpan,
};

use crate::config::{LogFormat, Telemetry};

/// Starts logging, once for the process.
pub(crate) fn start(config: &Telemetry) {
    let filter = config.log_filter.clone().and(filter_fn(is_fit_to_be_logged));
    let subscriber = tracing_subscriber::registry().with(lines(config.log_format).with_filter(filter));
    set_global_default(subscriber).expect("logging is started once");
    panic::set_hook(Box::new(|panic| {
        // Never the message: it may hold a value.
        let place = panic.location().map(ToString::to_string);
        error!(place, "panicked");
    }));
}

fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    }
}

/// The libraries' debug output shows headers, URLs and bodies: no level that can be set turns it on.
fn is_fit_to_be_logged(event: &Metadata<'_>) -> bool {
    event.target().starts_with(env!("CARGO_CRATE_NAME")) || *event.level() <= Level::INFO
}
