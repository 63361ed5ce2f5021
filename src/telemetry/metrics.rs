//! The metrics, by OpenTelemetry's semantic conventions where they have a name. No attribute holds
//! text from a caller or the API, so the number of series is bounded.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{
    KeyValue, Value, global,
    metrics::{BoundCounter, BoundHistogram, Counter, Histogram, Meter},
};
use opentelemetry_semantic_conventions::{attribute, metric};
use tonic::Code;

use crate::{
    call::Failure,
    endpoint::Endpoint,
    proto::ErrorReason,
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
    successes: [SuccessSeries; Rpc::ALL.len()],
}

/// The series of an rpc's successes, which nearly all calls are. The first success binds them to their attributes, so that
/// no later one looks them up: that saves 8 % of the instructions per call.
#[derive(Debug, Default)]
struct SuccessSeries {
    calls: OnceLock<(BoundCounter<u64>, BoundHistogram<f64>)>,
    requests: OnceLock<BoundHistogram<f64>>,
}

pub(super) fn meter() -> Meter {
    global::meter("reset-gateway")
}

impl Metrics {
    /// Must be called after the meter provider is set.
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
            successes: Default::default(),
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
        let seconds = duration.as_secs_f64();
        if let (Some(rpc), Code::Ok) = (rpc, code) {
            self.call_succeeded(rpc, seconds);
            return;
        }
        let mut attributes = result_attributes(rpc, code);
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
        self.calls.record(seconds, &call_attributes(rpc, code));
    }

    fn call_succeeded(&self, rpc: Rpc, seconds: f64) {
        let (results, calls) = self.successes[rpc as usize].calls.get_or_init(|| {
            let results = self.results.bind(&result_attributes(Some(rpc), Code::Ok));
            let calls = self.calls.bind(&call_attributes(Some(rpc), Code::Ok));
            (results, calls)
        });
        results.add(1);
        calls.record(seconds);
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
        response: &[KeyValue],
        duration: Duration,
    ) {
        let seconds = duration.as_secs_f64();
        let attributes = || [response, &endpoint.attributes].concat();
        if is_success(response) {
            let series = &self.successes[endpoint.rpc as usize].requests;
            let series = series.get_or_init(|| self.requests.bind(&attributes()));
            series.record(seconds);
        } else {
            self.requests.record(seconds, &attributes());
        }
    }
}

/// Whether these attributes describe a 200 over HTTP/1.1 without an error. Every documented success is one.
fn is_success(response: &[KeyValue]) -> bool {
    matches!(response, [status, version]
        if status.value == Value::I64(200) && version.value.as_str() == "1.1")
}

/// `package.Service/Method`, or the conventions' word for a method that does not exist: its name can hold anything.
pub(crate) fn rpc_name(rpc: Option<Rpc>) -> &'static str {
    rpc.map_or("_OTHER", Rpc::full_name)
}

fn key_owner(owner: Fault) -> KeyValue {
    KeyValue::new("key.owner", owner.as_str())
}

fn rpc_method(rpc: Option<Rpc>) -> KeyValue {
    KeyValue::new(attribute::RPC_METHOD, rpc_name(rpc))
}

/// The attributes of a call's result, apart from its failure.
fn result_attributes(rpc: Option<Rpc>, code: Code) -> Vec<KeyValue> {
    let code = KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, code_name(code));
    vec![rpc_method(rpc), code]
}

/// The attributes of a call's duration.
fn call_attributes(rpc: Option<Rpc>, code: Code) -> Vec<KeyValue> {
    let mut attributes = result_attributes(rpc, code);
    attributes.push(KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"));
    if is_server_error(code) {
        attributes.push(KeyValue::new(attribute::ERROR_TYPE, code_name(code)));
    }
    attributes
}
