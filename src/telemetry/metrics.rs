//! The metrics, by OpenTelemetry's semantic conventions where they have a name. No attribute holds
//! text from a caller or the API, so the number of series is bounded.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use opentelemetry::{
    KeyValue, global,
    metrics::{AsyncInstrumentBuilder, Counter, Histogram, Meter, ObservableGauge},
};
use opentelemetry_semantic_conventions::{attribute, metric};
use tokio::sync::Semaphore;
use tonic::Code;

use super::{exporters::FAILED_SPANS, log_writer};
use crate::{
    call::Failure,
    endpoint::Endpoint,
    proto::ErrorReason,
    readiness::Readiness,
    rpc::Rpc,
    status::{Fault, code_name, is_server_error},
};

/// The conventions' buckets, in seconds. The SDK's own are made for milliseconds.
const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The reasons that say that the API does not respond as documented.
const CONTRACT_BROKEN: [ErrorReason; 5] = [
    ErrorReason::UpstreamMalformed,
    ErrorReason::UpstreamResponseTooLarge,
    ErrorReason::UpstreamRedirected,
    ErrorReason::UpstreamEndpointMissing,
    ErrorReason::UpstreamUnexplained,
];

/// The instruments that calls are measured with.
#[derive(Debug)]
pub(crate) struct Metrics {
    calls: Histogram<f64>,
    requests: Histogram<f64>,
    results: Counter<u64>,
    key_rejected: Counter<u64>,
    contract_broken: Counter<u64>,
    shed: Counter<u64>,
    retries: Counter<u64>,
    authz_decisions: Counter<u64>,
}

pub(super) fn meter() -> Meter {
    global::meter("reset-gateway")
}

impl Metrics {
    /// Must be called when the meter provider is set.
    pub(crate) fn new() -> Self {
        let meter = meter();
        let seconds = |name: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s");
            histogram.with_boundaries(SECONDS.to_vec())
        };
        let count =
            |name: &'static str, unit: &'static str| meter.u64_counter(name).with_unit(unit);
        let metrics = Self {
            calls: seconds(metric::RPC_SERVER_CALL_DURATION)
                .with_description("Duration of the calls that came in.")
                .build(),
            requests: seconds(metric::HTTP_CLIENT_REQUEST_DURATION)
                .with_description("Duration of the requests to the API.")
                .build(),
            results: count("reset_gateway.answers", "{call}")
                .with_description("Calls by status code, reason, fault and outcome.")
                .build(),
            key_rejected: count("reset_gateway.app_key.rejected", "{call}")
                .with_description("Calls whose application key the API rejected.")
                .build(),
            contract_broken: count("reset_gateway.contract.broken", "{call}")
                .with_description(
                    "Answers of the API that are not as documented: it may have changed.",
                )
                .build(),
            shed: count("reset_gateway.calls.shed", "{call}")
                .with_description("Calls that were refused because the gateway was overloaded.")
                .build(),
            retries: count("reset_gateway.retries", "{request}")
                .with_description("Requests to the API that repeat another.")
                .build(),
            authz_decisions: count("reset_gateway.authz.decisions", "{call}")
                .with_description("Calls that the policy has decided about.")
                .build(),
        };
        metrics.initialize_series();
        metrics
    }

    /// Makes the series of rare events: Prometheus sees no increase in a counter that begins at one.
    fn initialize_series(&self) {
        for owner in [Fault::Gateway, Fault::Caller] {
            self.key_rejected.add(0, &[key_owner(owner)]);
        }
        for rpc in Rpc::ALL {
            for reason in CONTRACT_BROKEN {
                let reason = KeyValue::new("reason", reason.as_str_name());
                let attributes = [rpc_method(Some(rpc)), reason];
                self.contract_broken.add(0, &attributes);
            }
        }
        self.shed.add(0, &[]);
        self.retries.add(0, &[]);
    }

    /// Counts a call that has ended.
    pub(crate) fn call_ended(
        &self,
        rpc: Option<Rpc>,
        code: Code,
        failure: Option<&Failure>,
        duration: Duration,
    ) {
        let code_attribute = KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, code_name(code));
        let mut attributes = vec![rpc_method(rpc), code_attribute];
        if let Some(failure) = failure {
            self.count_failure(rpc, failure);
            let classification = failure.classification;
            attributes.extend([
                KeyValue::new("reason", classification.reason.as_str_name()),
                KeyValue::new("fault", classification.fault.as_str()),
                KeyValue::new("outcome", classification.outcome.as_str()),
            ]);
        }
        self.results.add(1, &attributes);
        attributes.truncate(2);
        attributes.push(KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"));
        if is_server_error(code) {
            attributes.push(KeyValue::new(attribute::ERROR_TYPE, code_name(code)));
        }
        self.calls.record(duration.as_secs_f64(), &attributes);
    }

    fn count_failure(&self, rpc: Option<Rpc>, failure: &Failure) {
        match failure.classification.reason {
            ErrorReason::AppKeyRejected => {
                let owner = key_owner(failure.classification.fault);
                self.key_rejected.add(1, &[owner]);
            }
            ErrorReason::GatewayOverloaded => self.shed.add(1, &[]),
            reason if CONTRACT_BROKEN.contains(&reason) => {
                let reason = KeyValue::new("reason", reason.as_str_name());
                self.contract_broken.add(1, &[rpc_method(rpc), reason]);
            }
            _ => {}
        }
    }

    /// Counts a request to the API that repeats another.
    pub(crate) fn count_retry(&self) {
        self.retries.add(1, &[]);
    }

    /// Counts calls that the policy has decided about; `rpc` and `decision` have few values.
    pub(crate) fn count_authz_decisions(
        &self,
        count: u64,
        rpc: &'static str,
        decision: &'static str,
        rule: Option<Arc<str>>,
    ) {
        let mut attributes = vec![
            KeyValue::new("rpc", rpc),
            KeyValue::new("decision", decision),
        ];
        attributes.extend(rule.map(|rule| KeyValue::new("rule", rule)));
        self.authz_decisions.add(count, &attributes);
    }

    /// Measures a request to the API, however it ended.
    pub(super) fn request_ended(
        &self,
        endpoint: &Endpoint,
        response: Vec<KeyValue>,
        duration: Duration,
    ) {
        let mut attributes = response;
        attributes.extend_from_slice(&endpoint.attributes);
        self.requests.record(duration.as_secs_f64(), &attributes);
    }
}

/// `package.Service/Method`, or the conventions' word for a method that does not exist: its name can hold anything.
pub(super) fn rpc_name(rpc: Option<Rpc>) -> &'static str {
    rpc.map_or("_OTHER", Rpc::full_name)
}

fn key_owner(owner: Fault) -> KeyValue {
    KeyValue::new("key.owner", owner.as_str())
}

fn rpc_method(rpc: Option<Rpc>) -> KeyValue {
    KeyValue::new(attribute::RPC_METHOD, rpc_name(rpc))
}

/// Registers the observable gauges.
pub(crate) fn register_gauges(
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
