//! The two spans of a call, by OpenTelemetry's semantic conventions: a SERVER span for the rpc, and below it a CLIENT span
//! for the REST call.
//!
//! They are made with the OpenTelemetry API itself, not from `tracing` spans: so they hold what is set here and nothing
//! else, whatever is logged meanwhile. A span ends when it is dropped, also when the caller goes away.

use std::net::SocketAddr;

use http::{HeaderMap, Version, header::HeaderName};
use opentelemetry::{
    Context, KeyValue,
    global::{self, BoxedTracer},
    propagation::TextMapPropagator,
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_semantic_conventions::attribute;
use tonic::{Code, transport::server::TcpConnectInfo};

use crate::{contract::Rpc, endpoint::Endpoint, error::Error, status::code_name};

/// The span of an rpc.
#[derive(Debug)]
pub(crate) struct ServerSpan(Context);

/// The span of a REST call.
#[derive(Debug)]
pub(crate) struct ClientSpan(Context);

fn tracer() -> BoxedTracer {
    global::tracer("reset-gateway")
}

impl ServerSpan {
    /// Starts the span in the caller's trace, if its metadata name one.
    pub(crate) fn start(rpc: Rpc, headers: &HeaderMap, connection: Option<&TcpConnectInfo>) -> Self {
        let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let mut attributes = vec![
            KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(attribute::RPC_METHOD, rpc.full_name()),
        ];
        if let Some(connection) = connection {
            let local = connection.local_addr();
            attributes.extend(address(local, attribute::SERVER_ADDRESS, attribute::SERVER_PORT));
            let peer = connection.remote_addr();
            attributes.extend(address(peer, attribute::NETWORK_PEER_ADDRESS, attribute::NETWORK_PEER_PORT));
        }
        let builder = SpanBuilder::from_name(rpc.full_name()).with_kind(SpanKind::Server).with_attributes(attributes);
        Self(started(builder, &caller))
    }

    /// What the call's further spans are put below.
    pub(crate) fn context(&self) -> &Context {
        &self.0
    }

    /// Ends the span with the status that the caller gets.
    pub(crate) fn finish(self, code: Code) {
        let span = self.0.span();
        let name = code_name(code);
        span.set_attribute(KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, name));
        if is_server_error(code) {
            span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, name));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

impl ClientSpan {
    /// Starts the span below the call's.
    pub(crate) fn start(endpoint: &Endpoint, parent: &Context) -> Self {
        let url = &endpoint.url;
        let mut attributes = vec![
            KeyValue::new(attribute::HTTP_REQUEST_METHOD, endpoint.rpc.http_method().as_str()),
            KeyValue::new(attribute::URL_FULL, endpoint.url_without_values()),
            KeyValue::new(attribute::URL_TEMPLATE, endpoint.template.clone()),
        ];
        attributes.extend(url.host_str().map(|host| KeyValue::new(attribute::SERVER_ADDRESS, host.to_owned())));
        attributes
            .extend(url.port_or_known_default().map(|port| KeyValue::new(attribute::SERVER_PORT, i64::from(port))));
        let builder =
            SpanBuilder::from_name(endpoint.span_name.clone()).with_kind(SpanKind::Client).with_attributes(attributes);
        Self(started(builder, parent))
    }

    /// Writes `traceparent`, and `tracestate` if there is any, so that the trace goes on at the API.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
        TraceContextPropagator::new().inject_context(&self.0, &mut HeaderInjector(headers));
        // The propagator writes it even when there is nothing to say.
        if headers.get(TRACESTATE).is_some_and(|state| state.is_empty()) {
            headers.remove(TRACESTATE);
        }
    }

    /// Notes the answer's status line.
    pub(crate) fn answered(&mut self, response: &reqwest::Response) {
        let span = self.0.span();
        let status = response.status();
        span.set_attribute(KeyValue::new(attribute::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
        span.set_attribute(KeyValue::new(attribute::NETWORK_PROTOCOL_VERSION, version(response.version())));
        if status.is_client_error() || status.is_server_error() {
            span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
    }

    /// Notes why no whole answer came.
    pub(crate) fn fail(&mut self, error: &Error) {
        let span = self.0.span();
        if let Some(kind) = error_type(error) {
            span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, kind));
            span.set_status(Status::error(""));
        }
    }
}

/// Starts a span below `parent` and puts it into a context.
fn started(builder: SpanBuilder, parent: &Context) -> Context {
    parent.with_span(tracer().build_with_context(builder, parent))
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

/// The codes that the conventions call a server's error; the others are the caller's business.
fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
