//! Observes each call from its arrival to its end, and then records it: its server span, its metrics and its log line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderMap;
use opentelemetry::{Context, trace::TraceContextExt};
use tonic::Code;
use tracing::Level;

use super::{
    metrics::{Metrics, rpc_name},
    security_event::security_event,
    spans::{self, extract_trace_context},
};
use crate::{
    call::{Call, CallRecord, Failure},
    connect_info::ConnectInfo,
    policy::Decision,
    rpc::Rpc,
    status::{Fault, Outcome, code_name},
};

/// The target of a call's log lines, which operators' filters may name. It stays, although no module has this name.
const TARGET: &str = "reset_gateway::telemetry::call_log";

/// Observes calls with the process's metrics and spans.
#[derive(Clone, Debug)]
pub(crate) struct CallObserver {
    pub(crate) metrics: Arc<Metrics>,
    /// Whether a caller's trace is continued.
    pub(crate) propagates_trace_context: bool,
}

/// A call that is being observed. **It is recorded when this is dropped.** If it has no response by then, its caller has
/// cancelled it, or the gateway cut its connection off.
#[derive(Debug)]
pub(crate) struct CallObservation {
    rpc: Option<Rpc>,
    /// Holds the server span, the parent of the call's further spans.
    pub(crate) span: Context,
    metrics: Arc<Metrics>,
    arrival: Instant,
    caller: ConnectInfo,
    /// Where the call's handler notes what happens.
    pub(crate) record: Arc<CallRecord>,
    /// What the policy says about the call; `None` without a policy.
    pub(crate) decision: Option<Decision>,
    /// The status that the caller gets, and how long that took; `None` until there is a response.
    response: Option<(Code, Duration)>,
}

/// Logs at INFO, WARN or ERROR. The macros of `tracing` take only a constant level.
macro_rules! log_at {
    ($level:expr, $($fields:tt)*) => {
        match $level {
            Level::INFO => tracing::info!($($fields)*),
            Level::WARN => tracing::warn!($($fields)*),
            _ => tracing::error!($($fields)*),
        }
    };
}
pub(crate) use log_at;

/// The level that a fault calls for: INFO for success and the caller's faults, WARN for the API's, ERROR for the gateway's.
const fn level(fault: Option<Fault>) -> Level {
    match fault {
        None | Some(Fault::Caller) => Level::INFO,
        Some(Fault::Upstream) => Level::WARN,
        Some(Fault::Gateway) => Level::ERROR,
    }
}

impl CallObserver {
    /// Starts to observe a call; `rpc` is `None` if no such method exists.
    pub(crate) fn begin(
        &self,
        rpc: Option<Rpc>,
        headers: &HeaderMap,
        caller: &ConnectInfo,
        arrival: Instant,
    ) -> CallObservation {
        let trace = self
            .propagates_trace_context
            .then(|| extract_trace_context(headers));
        CallObservation {
            rpc,
            span: spans::start(rpc, caller, &trace.unwrap_or_default()),
            metrics: Arc::clone(&self.metrics),
            arrival,
            caller: caller.clone(),
            record: Arc::default(),
            decision: None,
            response: None,
        }
    }
}

impl CallObservation {
    /// Sets the status of the response, which the caller gets now. The call is recorded with it on drop.
    pub(crate) fn set_response(&mut self, code: Code) {
        self.response = Some((code, self.arrival.elapsed()));
    }

    fn log(
        &self,
        code: Code,
        duration: Duration,
        failure: Option<&Failure>,
        outcome: Option<Outcome>,
    ) {
        let classification = failure.map(|failure| failure.classification);
        let audited = self.decision.as_ref().filter(|it| it.is_audited);
        let span = self.span.span();
        let ids = Some(span.span_context()).filter(|ids| ids.is_valid());
        let reason = classification.map(|it| it.reason);
        let event = security_event(self.rpc, code, reason, self.record.was_sent());
        let subject = self.record.subject();
        log_at!(
            event.map_or_else(
                || level(classification.map(|it| it.fault)),
                |(_, level)| level
            ),
            target: TARGET,
            event = event.map(|(name, _)| name),
            rpc = rpc_name(self.rpc),
            code = code_name(code),
            reason = reason.map(|it| it.as_str_name()),
            fault = classification.map(|it| it.fault.as_str()),
            outcome = outcome.map(Outcome::as_str),
            upstream_status = self.record.http_status(),
            duration_ms = duration.as_micros() as f64 / 1000.0,
            peer = self.caller.transport.as_str(),
            principal = self.caller.identity.principal(),
            policy = audited.map(|it| &*it.policy),
            rule = audited.and_then(|it| it.rule.as_deref()),
            authorized = audited.map(|it| it.is_allowed),
            user_hash = subject.and_then(|it| Some(it.user()?.to_string())),
            token_hash = subject.and_then(|it| Some(it.token()?.to_string())),
            trace_id = ids.map(|ids| ids.trace_id().to_string()),
            span_id = ids.map(|ids| ids.span_id().to_string()),
            error = failure.map(|failure| failure.error.as_str()),
            "call"
        );
    }
}

impl Drop for CallObservation {
    fn drop(&mut self) {
        let cancelled = || (Code::Cancelled, self.arrival.elapsed());
        let (code, duration) = self.response.unwrap_or_else(cancelled);
        let cancelled = (code == Code::Cancelled).then(|| {
            self.record.cancel();
            Outcome::if_sent(self.record.may_be_seen())
        });
        let failure = self.record.failure();
        let outcome = failure.map(|it| it.classification.outcome).or(cancelled);
        spans::finish(&self.span, code, failure);
        self.metrics.call_ended(self.rpc, code, failure, duration);
        self.log(code, duration, failure, outcome);
    }
}

/// Logs that a write that was sent has succeeded after it was cancelled. Its own line, which was written then, could not say so.
pub(crate) fn log_late_success(call: &Call) {
    let event = security_event(Some(call.rpc), Code::Ok, None, true);
    let subject = call.record.subject();
    let span = call.trace.span();
    let ids = Some(span.span_context()).filter(|ids| ids.is_valid());
    tracing::info!(
        target: TARGET,
        event = event.map(|(name, _)| name),
        rpc = rpc_name(Some(call.rpc)),
        code = code_name(Code::Ok),
        upstream_status = call.record.http_status(),
        peer = call.caller.transport.as_str(),
        principal = call.caller.identity.principal(),
        user_hash = subject.and_then(|it| Some(it.user()?.to_string())),
        token_hash = subject.and_then(|it| Some(it.token()?.to_string())),
        trace_id = ids.map(|ids| ids.trace_id().to_string()),
        span_id = ids.map(|ids| ids.span_id().to_string()),
        "a write has succeeded after its call ended"
    );
}
