//! Watches a call from its arrival to its end, however it ends, and then tells: its span, the metrics, and one log line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderMap;
use opentelemetry::Context;
use tonic::Code;

use super::{
    method::Method,
    metrics::Metrics,
    room::Room,
    spans::{ServerSpan, callers_trace},
    traceparent::Traceparent,
};
use crate::{
    call::CallRecord,
    connect_info::ConnectInfo,
    rpc::Rpc,
    status::{Fault, Outcome, code_name},
};

/// What calls are observed with.
#[derive(Clone, Debug)]
pub(crate) struct CallObserver {
    pub(crate) metrics: Metrics,
    /// Whether the caller's trace is taken up.
    pub(crate) takes_up_traces: bool,
    /// For spans.
    pub(crate) room: Room,
}

/// A call that is being observed. Dropped before it is finished, it was given up by its caller.
#[derive(Debug)]
pub(crate) struct CallObservation {
    method: Method,
    span: ServerSpan,
    metrics: Metrics,
    arrival: Instant,
    peer: &'static str,
    record: Arc<CallRecord>,
    code: Code,
    /// Until it was answered.
    took: Option<Duration>,
}

impl CallObserver {
    /// A call arrived then.
    pub(crate) fn begin(
        &self,
        rpc: Option<Rpc>,
        headers: &HeaderMap,
        peer: ConnectInfo,
        arrival: Instant,
    ) -> CallObservation {
        let method = rpc.map_or(Method::Other, Method::Known);
        let trace = if self.takes_up_traces {
            callers_trace(headers)
        } else {
            Context::new()
        };
        let trace = self.room.mark(trace);
        CallObservation {
            method,
            span: ServerSpan::start(method, &peer, &trace),
            metrics: self.metrics.clone(),
            arrival,
            peer: peer.transport(),
            record: Arc::default(),
            code: Code::Cancelled,
            took: None,
        }
    }
}

impl CallObservation {
    /// What the call's further spans are put below.
    pub(crate) fn context(&self) -> &Context {
        self.span.context()
    }

    /// Where what becomes known of the call is noted.
    pub(crate) fn record(&self) -> &Arc<CallRecord> {
        &self.record
    }

    /// The call is answered, and measured. Its line is logged when this is dropped.
    pub(crate) fn finish(&mut self, code: Code) {
        self.code = code;
        self.took = Some(self.measure());
    }

    /// Ends the span and counts the call. Gives how long it took until now.
    fn measure(&self) -> Duration {
        let took = self.arrival.elapsed();
        let failure = self.record.failure();
        self.span
            .finish(self.code, failure.map(|failure| failure.verdict));
        self.metrics.call_ended(
            self.method,
            self.code,
            failure.map(|failure| (failure.verdict, failure.key)),
            took,
        );
        took
    }
}

impl Drop for CallObservation {
    fn drop(&mut self) {
        let took = self.took.unwrap_or_else(|| self.measure());
        self.log(took);
    }
}

/// One event, at a level that is known only now.
macro_rules! event_at {
    ($fault:expr, $($fields:tt)*) => {
        match $fault {
            None | Some(Fault::Caller) => tracing::info!($($fields)*),
            Some(Fault::Upstream) => tracing::warn!($($fields)*),
            Some(Fault::Gateway) => tracing::error!($($fields)*),
        }
    };
}

impl CallObservation {
    /// The call's line. The level is by who has to act: nobody and the caller, the API's people, the operator.
    fn log(&self, took: Duration) {
        let failure = self.record.failure();
        let verdict = failure.map(|failure| failure.verdict);
        let given_up =
            (self.code == Code::Cancelled).then(|| Outcome::if_sent(self.record.abandon()));
        let trace = self.span.ids();
        event_at!(
            verdict.map(|verdict| verdict.fault),
            rpc = self.method.name(),
            code = code_name(self.code),
            reason = verdict.map(|verdict| verdict.reason.as_str_name()),
            fault = verdict.map(|verdict| verdict.fault.as_str()),
            outcome = verdict
                .map(|verdict| verdict.outcome)
                .or(given_up)
                .map(Outcome::as_str),
            upstream_status = self.record.http_status(),
            duration_ms = took.as_micros() as f64 / 1000.0,
            peer = self.peer,
            trace_id = trace.as_ref().map(Traceparent::trace_id),
            span_id = trace.as_ref().map(Traceparent::span_id),
            error = failure.map(|failure| failure.error.as_str()),
            "call"
        );
    }
}

#[cfg(test)]
impl CallObserver {
    /// One whose spans and measurements go nowhere.
    pub(crate) fn without_export() -> Self {
        let metrics = Metrics::new(&opentelemetry::global::meter("test"));
        let room = Room::new(
            Arc::default(),
            1,
            opentelemetry_sdk::trace::Sampler::AlwaysOff,
        );
        Self {
            metrics,
            takes_up_traces: true,
            room,
        }
    }
}
