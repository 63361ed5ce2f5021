//! The spans of a call, by OpenTelemetry's semantic conventions: a SERVER span for the rpc, and below it a CLIENT span for
//! each attempt at the REST call; and the trace context that travels with them.
//!
//! They are made with the OpenTelemetry API itself, not from `tracing` spans: so they hold what is set here and nothing
//! else, whatever is logged meanwhile. A span ends when it is dropped, also when the caller cancels.

use std::{net::SocketAddr, sync::LazyLock, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use opentelemetry::{
    Context, KeyValue, Value,
    global::{self, BoxedTracer},
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_semantic_conventions::attribute;
use tonic::Code;

use super::metrics::{Metrics, rpc_name};
use crate::{
    connect_info::ConnectInfo,
    endpoint::Endpoint,
    error::Error,
    rpc::Rpc,
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
    /// The status of the response, and its version of HTTP.
    response: Option<(StatusCode, Version)>,
    error_type: Option<Value>,
}

/// Made at the first call, when the provider is set. Making one takes a lock.
static TRACER: LazyLock<BoxedTracer> = LazyLock::new(|| global::tracer("reset-gateway"));

/// The trace that a caller's metadata names, if any.
pub(crate) fn callers_trace(headers: &HeaderMap) -> Context {
    let states = headers.get_all("tracestate").into_iter();
    let states: Vec<_> = states.filter_map(|state| state.to_str().ok()).collect();
    let extractor = CallerHeaders {
        headers,
        tracestate: states.join(","),
    };
    TraceContextPropagator::new().extract_with_context(&Context::new(), &extractor)
}

/// A caller's metadata. Several `tracestate` fields are one list; several `traceparent` fields are none.
struct CallerHeaders<'a> {
    headers: &'a HeaderMap,
    tracestate: String,
}

impl Extractor for CallerHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key == "tracestate" {
            return Some(&self.tracestate);
        }
        let mut values = self.headers.get_all(key).into_iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.headers.keys().map(HeaderName::as_str).collect()
    }
}

/// The headers of a request to the API. An empty `tracestate` is left out.
struct ApiHeaders<'a>(&'a mut HeaderMap);

impl Injector for ApiHeaders<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}

impl ServerSpan {
    /// Starts the span in that trace.
    pub(crate) fn start(rpc: Option<Rpc>, client: &ConnectInfo, trace: &Context) -> Self {
        let name = rpc.map_or("grpc", Rpc::full_name);
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
        let context = started(builder, trace);
        let span = context.span();
        if span.is_recording() {
            span.set_attributes(server_attributes(rpc, client));
        }
        Self(context)
    }

    /// The parent of the call's further spans.
    pub(crate) fn context(&self) -> &Context {
        &self.0
    }

    /// The ids of the trace and the span, if there are any.
    pub(super) fn ids(&self) -> Option<(String, String)> {
        let span = self.0.span();
        let ids = span.span_context();
        ids.is_valid()
            .then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
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
            span.set_attributes([
                KeyValue::new("reset_gateway.reason", verdict.reason.as_str_name()),
                KeyValue::new("reset_gateway.fault", verdict.fault.as_str()),
                KeyValue::new("reset_gateway.outcome", verdict.outcome.as_str()),
            ]);
        }
        if is_server_error(code) {
            span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, name));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

impl<'a> ClientSpan<'a> {
    /// Starts the span of an attempt that began at `start`, below the call's span.
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
            response: None,
            error_type: None,
        }
    }

    /// Notes that the request repeats another; `count` is 1 for the first repetition.
    pub(crate) fn repeats(&self, count: u32) {
        let count = KeyValue::new(attribute::HTTP_REQUEST_RESEND_COUNT, i64::from(count));
        self.context.span().set_attribute(count);
    }

    /// Writes the trace context, so that the trace goes on at the API.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        TraceContextPropagator::new().inject_context(&self.context, &mut ApiHeaders(headers));
    }

    /// Notes the response's status line.
    pub(crate) fn answered(&mut self, response: &reqwest::Response) {
        let status = response.status();
        self.response = Some((status, response.version()));
        if status.is_client_error() || status.is_server_error() {
            self.error_type = Some(status.as_str().to_owned().into());
        }
    }

    /// Notes why no whole response came. A response that is an error and then breaks off stays one error.
    pub(crate) fn fail(&mut self, error: &Error) {
        if self.error_type.is_none() {
            self.error_type = error_type(error).map(Value::from);
        }
    }

    /// What the span and the measurement say of the response.
    fn response_attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::new();
        if let Some((status, version)) = self.response {
            let status = i64::from(status.as_u16());
            let version = match version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            };
            attributes.extend([
                KeyValue::new(attribute::HTTP_RESPONSE_STATUS_CODE, status),
                KeyValue::new(attribute::NETWORK_PROTOCOL_VERSION, version),
            ]);
        }
        let error_type = self.error_type.clone();
        attributes.extend(error_type.map(|kind| KeyValue::new(attribute::ERROR_TYPE, kind)));
        attributes
    }
}

impl Drop for ClientSpan<'_> {
    /// However the request ended, also by its caller's cancelling it.
    fn drop(&mut self) {
        let attributes = self.response_attributes();
        let span = self.context.span();
        if span.is_recording() {
            span.set_attributes(attributes.iter().cloned());
            if self.error_type.is_some() {
                span.set_status(Status::error(""));
            }
            span.end();
        }
        self.metrics
            .request_ended(self.endpoint, attributes, self.start.elapsed());
    }
}

/// Starts a span below `parent` and puts it into a context.
fn started(builder: SpanBuilder, parent: &Context) -> Context {
    parent.with_span(TRACER.build_with_context(builder, parent))
}

fn server_attributes(rpc: Option<Rpc>, client: &ConnectInfo) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"),
        KeyValue::new(attribute::RPC_METHOD, rpc_name(rpc)),
        KeyValue::new(attribute::NETWORK_TRANSPORT, client.transport()),
    ];
    if let ConnectInfo::Tcp { local, remote } = *client {
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

/// The class of a failed request; `None` for what is no failure of the request.
fn error_type(error: &Error) -> Option<&'static str> {
    match error {
        Error::Unreachable(_) => Some("connect"),
        Error::ConnectionLost(_) => Some("connection_lost"),
        Error::TimedOut { .. } => Some("timeout"),
        Error::TooLarge { .. } => Some("response_too_large"),
        // The gateway gave up: that is no error of the API.
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
