//! The metrics that are read when they are exported: the state of the process, and the telemetry that is lost.

use std::sync::{Arc, atomic::Ordering};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrumentBuilder, Meter, ObservableGauge},
};
use tokio::sync::Semaphore;

use super::{exporters::FAILED_SPANS, log_writer, metrics::meter};
use crate::readiness::Readiness;

/// Registers the gauges of the gateway's state.
pub(crate) fn register(
    in_flight: Arc<Semaphore>,
    limit: u32,
    readiness: Readiness,
    is_api_reachable: impl Fn() -> bool + Send + Sync + 'static,
    connections: impl Fn() -> usize + Send + Sync + 'static,
) {
    let (meter, limit) = (meter(), u64::from(limit));
    let in_flight = move || limit.saturating_sub(in_flight.available_permits() as u64);
    gauge(&meter, "reset_gateway.calls.in_flight", in_flight)
        .with_unit("{call}")
        .with_description("Requests to the API that are in flight.")
        .build();
    gauge(&meter, "reset_gateway.calls.limit", move || limit)
        .with_unit("{call}")
        .with_description("The maximum number of requests to the API in flight.")
        .build();
    let is_ready = move || u64::from(readiness.not_ready_reason().is_none());
    gauge(&meter, "reset_gateway.ready", is_ready)
        .with_description("Whether the gateway is ready: 1 or 0.")
        .build();
    let is_reachable = move || u64::from(is_api_reachable());
    gauge(&meter, "reset_gateway.upstream.reachable", is_reachable)
        .with_description("1 if connections to the API are tried; 0 after several in a row failed.")
        .build();
    let connections = move || connections() as u64;
    gauge(&meter, "reset_gateway.connections", connections)
        .with_unit("{connection}")
        .with_description("Connections of callers.")
        .build();
}

pub(super) fn gauge<'a>(
    meter: &'a Meter,
    name: &'static str,
    value: impl Fn() -> u64 + Send + Sync + 'static,
) -> AsyncInstrumentBuilder<'a, ObservableGauge<u64>, u64> {
    let gauge = meter.u64_observable_gauge(name);
    gauge.with_callback(move |gauge| gauge.observe(value(), &[]))
}

/// Registers the program's version and the telemetry that is lost. Spans that find the queue full are counted by the SDK,
/// as `otel.sdk.processor.span.processed`.
pub(super) fn observe_process() {
    let version = [KeyValue::new("version", env!("CARGO_PKG_VERSION"))];
    meter()
        .u64_observable_gauge("reset_gateway.build_info")
        .with_description("Always 1, with the version of the program.")
        .with_callback(move |gauge| gauge.observe(1, &version))
        .build();
    let reason = [KeyValue::new("reason", "export_failed")];
    meter()
        .u64_observable_counter("reset_gateway.spans.dropped")
        .with_unit("{span}")
        .with_description("Spans that were not delivered.")
        .with_callback(move |spans| spans.observe(FAILED_SPANS.load(Ordering::Relaxed), &reason))
        .build();
    meter()
        .u64_observable_counter("reset_gateway.log.lines.dropped")
        .with_unit("{line}")
        .with_description("Log lines that were dropped because nobody read them.")
        .with_callback(|lines| lines.observe(log_writer::dropped(), &[]))
        .build();
}
