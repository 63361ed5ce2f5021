//! The spans of a call, by OpenTelemetry's semantic conventions: a SERVER span for the rpc, and below it a CLIENT span for
//! each try of the REST call, the first one and the retries; and the trace context that travels with them.
//!
//! They are made with the OpenTelemetry API itself, not from `tracing` spans: so they hold what is set here and nothing
//! else, whatever is logged meanwhile. A span ends when it is dropped, also when the caller cancels.

use std::{collections::HashMap, sync::LazyLock, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Version};
use opentelemetry::{
    Context, KeyValue, Value,
    global::{self, BoxedTracer},
    propagation::{Injector, TextMapPropagator},
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_semantic_conventions::attribute;
use tonic::Code;

use super::metrics::{Metrics, rpc_name};
use crate::{
    call::Failure,
    connect_info::{ConnectInfo, Transport},
    endpoint::Endpoint,
    error::Error,
    rpc::Rpc,
    status::{code_name, is_server_error},
};

/// The span and the measurement of one try of a REST call.
#[derive(Debug)]
pub(crate) struct ClientSpan<'a> {
    context: Context,
    endpoint: &'a Endpoint,
    metrics: &'a Metrics,
    start: Instant,
    /// Attributes of the response, for the span and the measurement.
    attributes: Vec<KeyValue>,
    has_failed: bool,
}

/// Made at the first call, when the provider is set. Making one takes a lock.
static TRACER: LazyLock<BoxedTracer> = LazyLock::new(|| global::tracer("reset-gateway"));

/// Extracts the caller's trace context from its metadata, if there is one. Several `tracestate` fields are joined. Several
/// `traceparent` fields are invalid and ignored.
pub(crate) fn extract_trace_context(headers: &HeaderMap) -> Context {
    const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else {
        return Context::new();
    };
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let states = headers.get_all("tracestate").iter().map(text);
    let states = states.collect::<Vec<_>>().join(",");
    let fields = HashMap::from([
        ("traceparent".to_owned(), text(parent)),
        ("tracestate".to_owned(), states),
    ]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &fields)
}

/// Starts the SERVER span of a call in that trace.
pub(super) fn start(rpc: Option<Rpc>, caller: &ConnectInfo, trace: &Context) -> Context {
    let name = rpc.map_or("grpc", Rpc::full_name);
    let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
    let context = started(builder, trace);
    let span = context.span();
    if span.is_recording() {
        span.set_attributes(server_attributes(rpc, caller));
    }
    context
}

/// Ends the SERVER span with the status that the caller gets.
pub(super) fn finish(call: &Context, code: Code, failure: Option<&Failure>) {
    let span = call.span();
    if !span.is_recording() {
        return;
    }
    let name = code_name(code);
    span.set_attribute(KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, name));
    if let Some(Failure { classification, .. }) = failure {
        span.set_attributes([
            KeyValue::new("reset_gateway.reason", classification.reason.as_str_name()),
            KeyValue::new("reset_gateway.fault", classification.fault.as_str()),
            KeyValue::new("reset_gateway.outcome", classification.outcome.as_str()),
        ]);
    }
    if is_server_error(code) {
        span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, name));
        span.set_status(Status::error(""));
    }
    span.end();
}

impl<'a> ClientSpan<'a> {
    /// Starts the span of a try that began at `start`, below the call's span.
    pub(crate) fn start(
        endpoint: &'a Endpoint,
        parent: &Context,
        metrics: &'a Metrics,
        start: Instant,
    ) -> Self {
        let name = endpoint.rpc.http_method().as_str();
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Client);
        let context = started(builder, parent);
        let span = context.span();
        if span.is_recording() {
            let url = endpoint.url_without_values();
            span.update_name(endpoint.span_name.clone());
            span.set_attributes(endpoint.attributes.iter().cloned());
            span.set_attribute(KeyValue::new(attribute::URL_FULL, url));
        }
        Self {
            context,
            endpoint,
            metrics,
            start,
            attributes: Vec::new(),
            has_failed: false,
        }
    }

    /// Notes that this is a retry; `count` is 1 for the first one.
    pub(crate) fn set_resend_count(&self, count: u32) {
        let count = KeyValue::new(attribute::HTTP_REQUEST_RESEND_COUNT, i64::from(count));
        self.context.span().set_attribute(count);
    }

    /// Writes the trace context, so that the trace goes on at the API.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        let mut injector = NonEmpty(HeaderInjector(headers));
        TraceContextPropagator::new().inject_context(&self.context, &mut injector);
    }

    /// Notes the response's status line.
    pub(crate) fn record_response(&mut self, response: &reqwest::Response) {
        let status = response.status();
        let version = match response.version() {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        };
        let code = i64::from(status.as_u16());
        self.attributes.extend([
            KeyValue::new(attribute::HTTP_RESPONSE_STATUS_CODE, code),
            KeyValue::new(attribute::NETWORK_PROTOCOL_VERSION, version),
        ]);
        if status.is_client_error() || status.is_server_error() {
            self.set_error(status.as_str().to_owned());
        }
    }

    /// Notes why no whole response came. A response that is an error and then breaks off stays one error.
    pub(crate) fn fail(&mut self, error: &Error) {
        if let Some(error_type) = error_type(error)
            && !self.has_failed
        {
            self.set_error(error_type);
        }
    }

    fn set_error(&mut self, error_type: impl Into<Value>) {
        self.has_failed = true;
        let error_type = KeyValue::new(attribute::ERROR_TYPE, error_type);
        self.attributes.push(error_type);
    }
}

impl Drop for ClientSpan<'_> {
    /// Ends the span and records the duration, even if the caller cancelled the call.
    fn drop(&mut self) {
        let span = self.context.span();
        if span.is_recording() {
            span.set_attributes(self.attributes.iter().cloned());
            if self.has_failed {
                span.set_status(Status::error(""));
            }
            span.end();
        }
        let duration = self.start.elapsed();
        self.metrics
            .request_ended(self.endpoint, &self.attributes, duration);
    }
}

/// Leaves out what is empty, as `tracestate` often is.
struct NonEmpty<'a>(HeaderInjector<'a>);

impl Injector for NonEmpty<'_> {
    fn set(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            self.0.set(key, value);
        }
    }
}

/// Starts a span below `parent` and puts it into a context.
fn started(builder: SpanBuilder, parent: &Context) -> Context {
    parent.with_span(TRACER.build_with_context(builder, parent))
}

fn server_attributes(rpc: Option<Rpc>, caller: &ConnectInfo) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"),
        KeyValue::new(attribute::RPC_METHOD, rpc_name(rpc)),
        KeyValue::new(attribute::NETWORK_TRANSPORT, caller.transport.as_str()),
    ];
    if let Transport::Tcp { local, remote } = caller.transport {
        let server = local.map(|it| (it, attribute::SERVER_ADDRESS, attribute::SERVER_PORT));
        let (host, port) = (
            attribute::NETWORK_PEER_ADDRESS,
            attribute::NETWORK_PEER_PORT,
        );
        for (address, host, port) in server.into_iter().chain([(remote, host, port)]) {
            attributes.push(KeyValue::new(host, address.ip().to_string()));
            attributes.push(KeyValue::new(port, i64::from(address.port())));
        }
    }
    attributes
}

/// The class of a failed request; `None` if the API is not the cause of the failure.
fn error_type(error: &Error) -> Option<&'static str> {
    match error {
        Error::Unreachable(_) => Some("connect"),
        Error::ConnectionLost(_) => Some("connection_lost"),
        Error::TimedOut { .. } => Some("timeout"),
        Error::TooLarge { .. } => Some("response_too_large"),
        _ => None,
    }
}
