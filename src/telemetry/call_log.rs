//! Observes each call from its arrival to its end: one span, one measurement and one log line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderMap;
use opentelemetry::{Context, trace::TraceContextExt};
use tonic::Code;

use super::{
    metrics::{Metrics, rpc_name},
    spans::{self, extract_trace_context},
};
use crate::{
    call::{CallRecord, Failure},
    connect_info::ConnectInfo,
    policy::Decision,
    proto::ErrorReason,
    rpc::Rpc,
    status::{Fault, Outcome, code_name},
};

/// Observes calls with the process's metrics and spans.
#[derive(Clone, Debug)]
pub(crate) struct CallObserver {
    pub(crate) metrics: Arc<Metrics>,
    /// Whether a caller's trace is continued.
    pub(crate) propagates_trace_context: bool,
}

/// A call that is being observed. It is recorded when it is dropped; if it is not finished by then, its caller has
/// cancelled it.
#[derive(Debug)]
pub(crate) struct CallObservation {
    rpc: Option<Rpc>,
    /// Holds the server span, the parent of the call's further spans.
    pub(crate) span: Context,
    metrics: Arc<Metrics>,
    arrival: Instant,
    client: ConnectInfo,
    /// Where the call's handler notes what happens.
    pub(crate) record: Arc<CallRecord>,
    /// What the policy says about the call; `None` without a policy.
    pub(crate) decision: Option<Decision>,
    /// The status that the caller gets, and how long that took; `None` until it is finished.
    end: Option<(Code, Duration)>,
}

/// Logs an event at the level that the fault calls for: INFO for success and the caller's faults, WARN for the API's,
/// ERROR for the gateway's. A security event is at least a WARN.
macro_rules! log_by_fault {
    ($fault:expr, $event:expr, $($fields:tt)*) => {
        match $fault {
            None | Some(Fault::Caller) if $event.is_none() => tracing::info!($($fields)*),
            None | Some(Fault::Caller | Fault::Upstream) => tracing::warn!($($fields)*),
            Some(Fault::Gateway) => tracing::error!($($fields)*),
        }
    };
}

impl CallObserver {
    /// Starts to observe a call; `rpc` is `None` if no such method exists.
    pub(crate) fn begin(
        &self,
        rpc: Option<Rpc>,
        headers: &HeaderMap,
        client: &ConnectInfo,
        arrival: Instant,
    ) -> CallObservation {
        let trace = self
            .propagates_trace_context
            .then(|| extract_trace_context(headers));
        CallObservation {
            rpc,
            span: spans::start(rpc, client, &trace.unwrap_or_default()),
            metrics: Arc::clone(&self.metrics),
            arrival,
            client: client.clone(),
            record: Arc::default(),
            decision: None,
            end: None,
        }
    }
}

impl CallObservation {
    /// The call with the status that its caller gets.
    pub(crate) fn finished(mut self, code: Code) -> Self {
        self.end = Some((code, self.arrival.elapsed()));
        self
    }

    fn log(&self, code: Code, duration: Duration, failure: Option<&Failure>) {
        let classification = failure.map(|failure| failure.classification);
        let cancelled = (code == Code::Cancelled).then(|| Outcome::if_sent(self.record.abandon()));
        let outcome = classification.map(|it| it.outcome).or(cancelled);
        let event = classification.and_then(|it| security_event(it.reason));
        let audited = self.decision.as_ref().filter(|it| it.is_audited);
        let span = self.span.span();
        let ids = Some(span.span_context()).filter(|ids| ids.is_valid());
        log_by_fault!(
            classification.map(|it| it.fault),
            event,
            rpc = rpc_name(self.rpc),
            code = code_name(code),
            reason = classification.map(|it| it.reason.as_str_name()),
            fault = classification.map(|it| it.fault.as_str()),
            outcome = outcome.map(Outcome::as_str),
            upstream_status = self.record.http_status(),
            duration_ms = duration.as_micros() as f64 / 1000.0,
            peer = self.client.transport.as_str(),
            principal = self.client.identity.principal(),
            event,
            policy = audited.map(|it| &*it.policy),
            rule = audited.and_then(|it| it.rule.as_deref()),
            authorized = audited.map(|it| it.is_allowed),
            trace_id = ids.map(|ids| ids.trace_id().to_string()),
            span_id = ids.map(|ids| ids.span_id().to_string()),
            error = failure.map(|failure| failure.error.as_str()),
            "call"
        );
    }
}

/// The name of a failure in OWASP's vocabulary of security events.
fn security_event(reason: ErrorReason) -> Option<&'static str> {
    (reason == ErrorReason::CallerNotAllowed).then_some("authz_fail")
}

impl Drop for CallObservation {
    fn drop(&mut self) {
        let cancelled = || (Code::Cancelled, self.arrival.elapsed());
        let (code, duration) = self.end.unwrap_or_else(cancelled);
        let failure = self.record.failure();
        spans::finish(&self.span, code, failure);
        self.metrics.call_ended(self.rpc, code, failure, duration);
        self.log(code, duration, failure);
    }
}
