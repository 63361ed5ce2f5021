//! The metrics, by OpenTelemetry's semantic conventions where they have a name for it. No attribute ever holds anything
//! that a caller or the API wrote, so the number of series is bounded.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundHistogram, Counter, Histogram, Meter},
};
use opentelemetry_semantic_conventions::{attribute, metric};
use tokio::sync::Semaphore;
use tonic::Code;

use super::{delivery::Counts, method::Method, request_outcome::RequestOutcome};
use crate::{
    app_key::KeyOwner,
    endpoint::Endpoint,
    proto::ErrorReason,
    readiness::Readiness,
    rpc::Rpc,
    status::{Classification, code_name, is_server_error},
};

/// The conventions' buckets, in seconds. The SDK's own are made for milliseconds.
const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The reasons that say that an answer of the API's is not as documented.
const CONTRACT_BROKEN: [ErrorReason; 5] = [
    ErrorReason::UpstreamMalformed,
    ErrorReason::UpstreamResponseTooLarge,
    ErrorReason::UpstreamRedirected,
    ErrorReason::UpstreamEndpointMissing,
    ErrorReason::UpstreamUnexplained,
];

/// The instruments that calls are measured with.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Instruments>);

#[derive(Debug)]
struct Instruments {
    calls: Histogram<f64>,
    requests: Histogram<f64>,
    answers: Counter<u64>,
    key_rejected: Counter<u64>,
    contract_broken: Counter<u64>,
    shed: Counter<u64>,
    retries: Counter<u64>,
    usual: [Usual; Rpc::ALL.len()],
}

/// Instruments of an rpc that are bound to the attributes of what goes as it should, which is nearly all: to look a series up
/// by its attributes takes longer than to count. Bound at the first use, since that makes the series.
#[derive(Debug, Default)]
struct Usual {
    call: OnceLock<BoundHistogram<f64>>,
    answer: OnceLock<BoundCounter<u64>>,
    request: OnceLock<BoundHistogram<f64>>,
}

impl Metrics {
    /// The instruments of that meter.
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, description: &'static str| {
            let histogram = meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description);
            histogram.with_boundaries(SECONDS.to_vec()).build()
        };
        let count = |name: &'static str, unit: &'static str, description: &'static str| {
            meter
                .u64_counter(name)
                .with_unit(unit)
                .with_description(description)
                .build()
        };
        let metrics = Self(Arc::new(Instruments {
            calls: seconds(
                metric::RPC_SERVER_CALL_DURATION,
                "Duration of the calls that came in.",
            ),
            requests: seconds(
                metric::HTTP_CLIENT_REQUEST_DURATION,
                "Duration of the requests to the API.",
            ),
            answers: count(
                "reset_gateway.answers",
                "{call}",
                "Calls by what became of them.",
            ),
            key_rejected: count(
                "reset_gateway.app_key.rejected",
                "{call}",
                "Calls whose application key the API rejected.",
            ),
            contract_broken: count(
                "reset_gateway.contract.broken",
                "{call}",
                "Answers of the API that are not as documented: it may have changed.",
            ),
            shed: count(
                "reset_gateway.calls.shed",
                "{call}",
                "Calls that were refused because too many were in flight.",
            ),
            retries: count(
                "reset_gateway.retries",
                "{request}",
                "Requests to the API that repeat another.",
            ),
            usual: Default::default(),
        }));
        metrics.begin_at_zero();
        metrics
    }

    /// Makes the series of what hardly ever happens: Prometheus sees no increase in a counter that begins at one.
    fn begin_at_zero(&self) {
        for owner in [KeyOwner::Gateway, KeyOwner::Caller] {
            self.0
                .key_rejected
                .add(0, &[KeyValue::new("key.owner", owner.as_str())]);
        }
        for (rpc, reason) in Rpc::ALL
            .into_iter()
            .flat_map(|rpc| CONTRACT_BROKEN.map(|reason| (rpc, reason)))
        {
            let method = rpc_method(Method::Known(rpc));
            self.0
                .contract_broken
                .add(0, &[method, KeyValue::new("reason", reason.as_str_name())]);
        }
        self.0.shed.add(0, &[]);
        self.0.retries.add(0, &[]);
    }

    /// A call has ended, with that code, and as that row of the status table if it failed.
    pub(crate) fn call_ended(
        &self,
        method: Method,
        code: Code,
        failure: Option<(Classification, KeyOwner)>,
        took: Duration,
    ) {
        let Instruments {
            calls,
            answers,
            usual,
            ..
        } = &*self.0;
        if let (Method::Known(rpc), Code::Ok, None) = (method, code, failure) {
            let usual = &usual[rpc as usize];
            usual
                .call
                .get_or_init(|| calls.bind(&call_attributes(method, code)))
                .record(took.as_secs_f64());
            usual
                .answer
                .get_or_init(|| answers.bind(&answer_attributes(method, code, None)))
                .add(1);
            return;
        }
        calls.record(took.as_secs_f64(), &call_attributes(method, code));
        answers.add(
            1,
            &answer_attributes(method, code, failure.map(|(verdict, _)| verdict)),
        );
        if let Some((verdict, owner)) = failure {
            self.count_what_matters(method, verdict, owner);
        }
    }

    fn count_what_matters(&self, method: Method, verdict: Classification, owner: KeyOwner) {
        let reason = KeyValue::new("reason", verdict.reason.as_str_name());
        match verdict.reason {
            ErrorReason::AppKeyRejected => self
                .0
                .key_rejected
                .add(1, &[KeyValue::new("key.owner", owner.as_str())]),
            ErrorReason::GatewayOverloaded => self.0.shed.add(1, &[]),
            broken if CONTRACT_BROKEN.contains(&broken) => {
                self.0.contract_broken.add(1, &[rpc_method(method), reason]);
            }
            _ => {}
        }
    }

    /// A request to the API repeats another.
    pub(crate) fn request_repeated(&self) {
        self.0.retries.add(1, &[]);
    }

    /// A request to the API has ended, however.
    pub(super) fn request_ended(
        &self,
        endpoint: &Endpoint,
        exchange: &RequestOutcome,
        took: Duration,
    ) {
        let Instruments {
            requests, usual, ..
        } = &*self.0;
        let attributes = || [endpoint.attributes.clone(), exchange.attributes()].concat();
        if exchange.is_usual() {
            let usual = &usual[endpoint.rpc as usize].request;
            usual
                .get_or_init(|| requests.bind(&attributes()))
                .record(took.as_secs_f64());
        } else {
            requests.record(took.as_secs_f64(), &attributes());
        }
    }
}

fn rpc_method(method: Method) -> KeyValue {
    KeyValue::new(attribute::RPC_METHOD, method.name())
}

fn call_attributes(method: Method, code: Code) -> Vec<KeyValue> {
    let status = code_name(code);
    let mut attributes = vec![
        KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"),
        rpc_method(method),
        KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, status),
    ];
    if is_server_error(code) {
        attributes.push(KeyValue::new(attribute::ERROR_TYPE, status));
    }
    attributes
}

fn answer_attributes(method: Method, code: Code, failure: Option<Classification>) -> Vec<KeyValue> {
    let mut attributes = vec![
        rpc_method(method),
        KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, code_name(code)),
    ];
    attributes.extend(failure.into_iter().flat_map(|verdict| {
        [
            KeyValue::new("reason", verdict.reason.as_str_name()),
            KeyValue::new("fault", verdict.fault.as_str()),
            KeyValue::new("outcome", verdict.outcome.as_str()),
        ]
    }));
    attributes
}

/// Registers what is not counted but looked up when somebody asks.
pub(crate) fn observe(
    meter: &Meter,
    in_flight: &Arc<Semaphore>,
    most: u32,
    readiness: &Readiness,
    is_api_reachable: impl Fn() -> bool + Send + Sync + 'static,
) {
    let free = Arc::clone(in_flight);
    meter
        .u64_observable_gauge("reset_gateway.calls.in_flight")
        .with_unit("{call}")
        .with_description("Calls that are being answered.")
        .with_callback(move |gauge| {
            gauge.observe(
                u64::from(most).saturating_sub(free.available_permits() as u64),
                &[],
            );
        })
        .build();
    meter
        .u64_observable_gauge("reset_gateway.calls.limit")
        .with_unit("{call}")
        .with_description("The most calls that may be answered at a time.")
        .with_callback(move |gauge| gauge.observe(u64::from(most), &[]))
        .build();
    let readiness = readiness.clone();
    meter
        .u64_observable_gauge("reset_gateway.ready")
        .with_description("Whether the gateway is ready: 1 or 0.")
        .with_callback(move |gauge| {
            gauge.observe(u64::from(readiness.not_ready_reason().is_none()), &[]);
        })
        .build();
    meter
        .u64_observable_gauge("reset_gateway.upstream.reachable")
        .with_description(
            "Whether connections to the API are tried: 1, or 0 after several in a row have failed.",
        )
        .with_callback(move |gauge| gauge.observe(u64::from(is_api_reachable()), &[]))
        .build();
    meter
        .u64_observable_gauge("reset_gateway.build_info")
        .with_description("Always 1, with the version of the program.")
        .with_callback(|gauge| {
            gauge.observe(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
        })
        .build();
}

/// Registers how many connections there are; `count` looks it up.
pub(crate) fn observe_connections(
    meter: &Meter,
    count: impl Fn() -> usize + Send + Sync + 'static,
) {
    meter
        .u64_observable_gauge("reset_gateway.connections")
        .with_unit("{connection}")
        .with_description("Connections of callers.")
        .with_callback(move |gauge| gauge.observe(count() as u64, &[]))
        .build();
}

/// Registers what became of spans.
pub(super) fn observe_delivery(meter: &Meter, counts: Arc<Counts>) {
    meter
        .u64_observable_counter("reset_gateway.spans.dropped")
        .with_unit("{span}")
        .with_description("Spans that were not delivered.")
        .with_callback(move |counter| {
            counter.observe(
                counts.queue_full(),
                &[KeyValue::new("reason", "queue_full")],
            );
            counter.observe(
                counts.export_failed(),
                &[KeyValue::new("reason", "export_failed")],
            );
        })
        .build();
}
