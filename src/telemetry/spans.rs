//! The two spans of a call, by OpenTelemetry's semantic conventions: a SERVER span for the rpc, and below it a CLIENT span
//! for the REST call.
//!
//! They are made with the OpenTelemetry API itself, not from `tracing` spans: so they hold what is set here and nothing
//! else, whatever is logged meanwhile. A span ends when it is dropped, also when the caller goes away.

use std::{net::SocketAddr, sync::LazyLock, time::Instant};

use http::{HeaderMap, Version, header::HeaderName};
use opentelemetry::{
    Context, KeyValue, Value,
    global::{self, BoxedTracer},
    propagation::TextMapPropagator,
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_semantic_conventions::attribute;
use tonic::Code;

use super::{method::Method, metrics::Metrics, room::NoRoom};
use crate::{
    endpoint::Endpoint,
    error::Error,
    peer::Peer,
    status::{Verdict, code_name, is_server_error},
};

/// The span of an rpc.
#[derive(Debug)]
pub(crate) struct ServerSpan(Context);

/// The span and the measurement of a REST call.
#[derive(Debug)]
pub(crate) struct ClientSpan {
    context: Context,
    /// What the measurement has; of them the span has all, and more.
    attributes: Vec<KeyValue>,
    metrics: Metrics,
    start: Instant,
}

/// Made at the first call, when the provider is long set, and kept: to make one takes a lock and memory.
static TRACER: LazyLock<BoxedTracer> = LazyLock::new(|| global::tracer("reset-gateway"));

/// The trace that a caller's metadata name, if they do.
pub(crate) fn callers_trace(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

impl ServerSpan {
    /// Starts the span in that trace.
    pub(crate) fn start(method: Method, peer: &Peer, trace: &Context) -> Self {
        let mut attributes = vec![
            KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(attribute::RPC_METHOD, method.name()),
        ];
        attributes.push(KeyValue::new(attribute::NETWORK_TRANSPORT, peer.transport()));
        if let Peer::Tcp { local, remote } = *peer {
            attributes.extend(address(local, attribute::SERVER_ADDRESS, attribute::SERVER_PORT));
            attributes.extend(address(Some(remote), attribute::NETWORK_PEER_ADDRESS, attribute::NETWORK_PEER_PORT));
        }
        // Not `rpc.method_original`: a name that does not exist can hold anything.
        let name = match method {
            Method::Known(rpc) => rpc.full_name(),
            Method::Other => "grpc",
        };
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_attributes(attributes);
        Self(started(builder, trace))
    }

    /// What the call's further spans are put below.
    pub(crate) fn context(&self) -> &Context {
        &self.0
    }

    /// The ids of the trace and of the span, if there are any.
    pub(crate) fn ids(&self) -> Option<(String, String)> {
        let span = self.0.span();
        let ids = span.span_context();
        ids.is_valid().then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
    }

    /// Ends the span with the status that the caller gets.
    pub(crate) fn finish(&self, code: Code, failure: Option<Verdict>) {
        let span = self.0.span();
        if !span.is_recording() {
            return;
        }
        let name = code_name(code);
        span.set_attribute(KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, name));
        if let Some(verdict) = failure {
            span.set_attribute(KeyValue::new("reset_gateway.reason", verdict.reason.as_str_name()));
            span.set_attribute(KeyValue::new("reset_gateway.fault", verdict.fault.as_str()));
            span.set_attribute(KeyValue::new("reset_gateway.outcome", verdict.outcome.as_str()));
        }
        if is_server_error(code) {
            span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, name));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

impl ClientSpan {
    /// Starts the span below the call's.
    pub(crate) fn start(endpoint: &Endpoint, parent: &Context, metrics: &Metrics) -> Self {
        let mut attributes = endpoint.attributes.clone();
        let builder = SpanBuilder::from_name(endpoint.span_name.clone()).with_kind(SpanKind::Client);
        let context = started(builder.with_attributes(attributes.clone()), parent);
        let span = context.span();
        if span.is_recording() {
            span.set_attribute(KeyValue::new(attribute::URL_FULL, endpoint.url_without_values()));
        }
        attributes.reserve(3);
        Self { context, attributes, metrics: metrics.clone(), start: Instant::now() }
    }

    /// Writes `traceparent`, and `tracestate` if there is any, so that the trace goes on at the API.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
        TraceContextPropagator::new().inject_context(&self.context, &mut HeaderInjector(headers));
        // The propagator writes it even when there is nothing to say.
        if headers.get(TRACESTATE).is_some_and(|state| state.is_empty()) {
            headers.remove(TRACESTATE);
        }
    }

    /// Notes the answer's status line.
    pub(crate) fn answered(&mut self, response: &reqwest::Response) {
        let status = response.status();
        self.note(KeyValue::new(attribute::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
        self.note(KeyValue::new(attribute::NETWORK_PROTOCOL_VERSION, version(response.version())));
        if status.is_client_error() || status.is_server_error() {
            self.error(Value::from(status.as_str().to_owned()));
        }
    }

    /// Notes why no whole answer came.
    pub(crate) fn fail(&mut self, error: &Error) {
        if let Some(kind) = error_type(error) {
            self.error(Value::from(kind));
        }
    }

    fn error(&mut self, kind: Value) {
        // An answer that is an error and then breaks off is still one error.
        if !self.attributes.iter().any(|attribute| attribute.key.as_str() == attribute::ERROR_TYPE) {
            self.note(KeyValue::new(attribute::ERROR_TYPE, kind));
            self.context.span().set_status(Status::error(""));
        }
    }

    fn note(&mut self, attribute: KeyValue) {
        self.context.span().set_attribute(attribute.clone());
        self.attributes.push(attribute);
    }
}

impl Drop for ClientSpan {
    /// However the request ended, also by its caller's giving it up.
    fn drop(&mut self) {
        self.metrics.request_ended(&self.attributes, self.start.elapsed());
        self.context.span().end();
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

fn address(address: Option<SocketAddr>, host: &'static str, port: &'static str) -> Vec<KeyValue> {
    address
        .map(|address| {
            vec![KeyValue::new(host, address.ip().to_string()), KeyValue::new(port, i64::from(address.port()))]
        })
        .unwrap_or_default()
}

/// The class of a failed exchange; `None` for what is no failure of the exchange.
fn error_type(error: &Error) -> Option<&'static str> {
    match error {
        Error::Unreachable(_) => Some("connect"),
        Error::Broken(_) => Some("connection_lost"),
        Error::TimedOut { .. } => Some("timeout"),
        Error::TooLarge { .. } => Some("response_too_large"),
        // Given up by this side: no error of the other's.
        Error::ShuttingDown { .. } => None,
        Error::Invalid(_)
        | Error::Unread(_)
        | Error::KeyMissing
        | Error::TooManyAttempts { .. }
        | Error::Refused(_)
        | Error::Overloaded
        | Error::Panicked { .. } => None,
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
