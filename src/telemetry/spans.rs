//! The spans of a call, by OpenTelemetry's semantic conventions: a SERVER span for the rpc, and below it a CLIENT span for
//! each attempt at the REST call.
//!
//! They are made with the OpenTelemetry API itself, not from `tracing` spans: so they hold what is set here and nothing
//! else, whatever is logged meanwhile. A span ends when it is dropped, also when the caller goes away.

use std::{net::SocketAddr, sync::LazyLock, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context, KeyValue,
    global::{self, BoxedTracer},
    propagation::TextMapPropagator,
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_semantic_conventions::attribute;
use tonic::Code;

use super::{
    method::Method, metrics::Metrics, request_outcome::RequestOutcome, room::NoRoom,
    traceparent::Traceparent,
};
use crate::{
    connect_info::ConnectInfo,
    endpoint::Endpoint,
    error::Error,
    status::{Classification, code_name, is_server_error},
};

/// The span of an rpc.
#[derive(Debug)]
pub(crate) struct ServerSpan(Context);

/// The span and the measurement of an attempt at a REST call.
#[derive(Debug)]
pub(crate) struct ClientSpan<'a> {
    context: Context,
    endpoint: &'a Endpoint,
    metrics: &'a Metrics,
    start: Instant,
    exchange: RequestOutcome,
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Made at the first call, when the provider is long set, and kept: to make one takes a lock and memory.
static TRACER: LazyLock<BoxedTracer> = LazyLock::new(|| global::tracer("reset-gateway"));

/// The trace that a caller's metadata name, if they do.
pub(crate) fn callers_trace(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

impl ServerSpan {
    /// Starts the span in that trace.
    pub(crate) fn start(method: Method, peer: &ConnectInfo, trace: &Context) -> Self {
        // Not `rpc.method_original`: a name that does not exist can hold anything.
        let name = match method {
            Method::Known(rpc) => rpc.full_name(),
            Method::Other => "grpc",
        };
        let context = started(
            SpanBuilder::from_name(name).with_kind(SpanKind::Server),
            trace,
        );
        // Most calls are not picked, and the samplers that there are ask for no attributes.
        let span = context.span();
        if span.is_recording() {
            span.set_attributes(server_attributes(method, peer));
        }
        Self(context)
    }

    /// What the call's further spans are put below.
    pub(crate) fn context(&self) -> &Context {
        &self.0
    }

    /// The ids of the trace and of the span, if there are any.
    pub(super) fn ids(&self) -> Option<Traceparent> {
        Traceparent::of(self.0.span().span_context())
    }

    /// Ends the span with the status that the caller gets.
    pub(crate) fn finish(&self, code: Code, failure: Option<Classification>) {
        let span = self.0.span();
        if !span.is_recording() {
            return;
        }
        let name = code_name(code);
        span.set_attribute(KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, name));
        if let Some(verdict) = failure {
            span.set_attribute(KeyValue::new(
                "reset_gateway.reason",
                verdict.reason.as_str_name(),
            ));
            span.set_attribute(KeyValue::new("reset_gateway.fault", verdict.fault.as_str()));
            span.set_attribute(KeyValue::new(
                "reset_gateway.outcome",
                verdict.outcome.as_str(),
            ));
        }
        if is_server_error(code) {
            span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, name));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

impl<'a> ClientSpan<'a> {
    /// Starts the span below the call's, for an attempt that began then.
    pub(crate) fn start(
        endpoint: &'a Endpoint,
        parent: &Context,
        metrics: &'a Metrics,
        start: Instant,
    ) -> Self {
        let name = endpoint.rpc.http_method().as_str();
        let context = started(
            SpanBuilder::from_name(name).with_kind(SpanKind::Client),
            parent,
        );
        let span = context.span();
        if span.is_recording() {
            span.update_name(endpoint.span_name.clone());
            span.set_attributes(endpoint.attributes.iter().cloned());
            span.set_attribute(KeyValue::new(
                attribute::URL_FULL,
                endpoint.url_without_values(),
            ));
        }
        Self {
            context,
            endpoint,
            metrics,
            start,
            exchange: RequestOutcome::default(),
        }
    }

    /// Notes that the request repeats another, as which repetition.
    pub(crate) fn repeats(&self, count: u32) {
        self.context.span().set_attribute(KeyValue::new(
            attribute::HTTP_REQUEST_RESEND_COUNT,
            i64::from(count),
        ));
    }

    /// Writes `traceparent`, and `tracestate` if there is any, so that the trace goes on at the API.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        let span = self.context.span();
        let Some(parent) = Traceparent::of(span.span_context()) else {
            return;
        };
        let state = span.span_context().trace_state().header();
        for (name, value) in [(TRACEPARENT, parent.into_value()), (TRACESTATE, state)] {
            if let Ok(value) = HeaderValue::try_from(value)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        }
    }

    /// Notes the answer's status line.
    pub(crate) fn answered(&mut self, response: &reqwest::Response) {
        self.exchange
            .answered(response.status(), response.version());
    }

    /// Notes why no whole answer came.
    pub(crate) fn fail(&mut self, error: &Error) {
        if let Some(kind) = error_type(error) {
            self.exchange.failed(kind);
        }
    }
}

impl Drop for ClientSpan<'_> {
    /// However the request ended, also by its caller's giving it up.
    fn drop(&mut self) {
        self.metrics
            .request_ended(self.endpoint, &self.exchange, self.start.elapsed());
        let span = self.context.span();
        if span.is_recording() {
            span.set_attributes(self.exchange.attributes());
            if self.exchange.is_error() {
                span.set_status(Status::error(""));
            }
            span.end();
        }
    }
}

/// Starts a span below `parent` and puts it into a context, if there is room for it.
fn started(builder: SpanBuilder, parent: &Context) -> Context {
    if let Some(no_room) = parent.get::<NoRoom>() {
        no_room.count();
        return parent.clone();
    }
    parent.with_span(TRACER.build_with_context(builder, parent))
}

fn server_attributes(method: Method, peer: &ConnectInfo) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"),
        KeyValue::new(attribute::RPC_METHOD, method.name()),
        KeyValue::new(attribute::NETWORK_TRANSPORT, peer.transport()),
    ];
    if let ConnectInfo::Tcp { local, remote } = *peer {
        attributes.extend(
            local.into_iter().flat_map(|local| {
                address(local, attribute::SERVER_ADDRESS, attribute::SERVER_PORT)
            }),
        );
        attributes.extend(address(
            remote,
            attribute::NETWORK_PEER_ADDRESS,
            attribute::NETWORK_PEER_PORT,
        ));
    }
    attributes
}

fn address(address: SocketAddr, host: &'static str, port: &'static str) -> [KeyValue; 2] {
    [
        KeyValue::new(host, address.ip().to_string()),
        KeyValue::new(port, i64::from(address.port())),
    ]
}

/// The class of a failed exchange; `None` for what is no failure of the exchange.
fn error_type(error: &Error) -> Option<&'static str> {
    match error {
        Error::Unreachable(_) => Some("connect"),
        Error::ConnectionLost(_) => Some("connection_lost"),
        Error::TimedOut { .. } => Some("timeout"),
        Error::TooLarge { .. } => Some("response_too_large"),
        // Given up by this side: no error of the other's.
        Error::ShuttingDown { .. } => None,
        Error::Invalid(_)
        | Error::Undecodable(_)
        | Error::KeyMissing
        | Error::TooManyAttempts { .. }
        | Error::Refused(_)
        | Error::CircuitOpen { .. }
        | Error::Overloaded
        | Error::Panicked { .. } => None,
    }
}
