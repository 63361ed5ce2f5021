//! An OpenTelemetry collector that keeps what it receives, over gRPC and over HTTP, in the clear and over TLS.

use std::{
    io::Read,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use flate2::read::GzDecoder;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{Metric, metric, number_data_point},
    trace::v1::Span,
};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding,
    transport::{Server, server::TcpIncoming},
};

/// The collector; ends with the runtime of its test.
#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    /// Of every request.
    headers: Vec<HeaderMap>,
}

impl Collector {
    /// One that speaks that protocol, as `OTEL_EXPORTER_OTLP_PROTOCOL` names it.
    pub async fn speaking(protocol: &str) -> Self {
        match protocol {
            "grpc" => Self::grpc().await,
            "http/protobuf" => Self::http().await,
            other => panic!("{other}"),
        }
    }

    pub async fn grpc() -> Self {
        let (listener, collector) = Self::bind().await;
        tokio::spawn(
            collector
                .services()
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        collector
    }

    async fn grpc_over(tls: TlsAcceptor) -> Self {
        let (listener, collector) = Self::bind().await;
        tokio::spawn(
            collector
                .services()
                .serve_with_incoming(accepted(listener, tls)),
        );
        collector
    }

    /// The same over TLS.
    pub async fn speaking_over(protocol: &str, tls: TlsAcceptor) -> Self {
        match protocol {
            "grpc" => Self::grpc_over(tls).await,
            "http/protobuf" => Self::http_over(tls).await,
            other => panic!("{other}"),
        }
    }

    async fn http_over(tls: TlsAcceptor) -> Self {
        let (listener, collector) = Self::bind().await;
        let routes = collector.routes();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = tls.accept(stream).await else {
                    continue;
                };
                let service = TowerToHyperService::new(routes.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        collector
    }

    pub async fn http() -> Self {
        let (listener, collector) = Self::bind().await;
        let routes = collector.routes();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        collector
    }

    fn routes(&self) -> Router {
        let routes = Router::new()
            .route("/v1/traces", post(take_traces))
            .route("/v1/metrics", post(take_metrics));
        routes.with_state(self.clone())
    }

    fn services(&self) -> tonic::transport::server::Router {
        let traces =
            TraceServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip);
        let metrics =
            MetricsServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip);
        Server::builder().add_service(traces).add_service(metrics)
    }

    async fn bind() -> (TcpListener, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (
            listener,
            Self {
                address,
                received: Arc::default(),
            },
        )
    }

    pub fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let resources = received
            .traces
            .iter()
            .flat_map(|request| &request.resource_spans);
        resources
            .flat_map(|spans| &spans.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }

    /// The metric as it was last received.
    pub fn metric(&self, name: &str) -> Option<Metric> {
        let received = self.received.lock().unwrap();
        let resources = received
            .metrics
            .iter()
            .flat_map(|request| &request.resource_metrics);
        let mut metrics = resources
            .flat_map(|metrics| &metrics.scope_metrics)
            .flat_map(|scope| &scope.metrics);
        metrics.rfind(|metric| metric.name == name).cloned()
    }

    /// Everything that was received, as text.
    pub fn text(&self) -> String {
        format!("{:?}", self.received.lock().unwrap())
    }

    /// A header of the last request.
    pub fn header(&self, name: &str) -> Option<String> {
        let received = self.received.lock().unwrap();
        received
            .headers
            .last()?
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    }

    /// The value of a resource's attribute.
    pub fn resource(&self, key: &str) -> Option<String> {
        let received = self.received.lock().unwrap();
        let attributes = &received
            .traces
            .first()?
            .resource_spans
            .first()?
            .resource
            .as_ref()?
            .attributes;
        attributes
            .iter()
            .find(|attribute| attribute.key == key)
            .map(|attribute| value(attribute.value.as_ref()))
    }
}

/// The attributes of a span, sorted, as `key=value`.
pub fn attributes(span: &Span) -> Vec<String> {
    described(&span.attributes)
}

/// Key-value pairs, sorted, as `key=value`.
pub fn described(attributes: &[KeyValue]) -> Vec<String> {
    let describe =
        |attribute: &KeyValue| format!("{}={}", attribute.key, value(attribute.value.as_ref()));
    let mut attributes: Vec<_> = attributes.iter().map(describe).collect();
    attributes.sort();
    attributes
}

/// How often each set of attributes was measured, or what it counts.
pub fn points(metric: &Metric) -> Vec<(Vec<String>, u64)> {
    let number = |value: &Option<number_data_point::Value>| match value {
        Some(number_data_point::Value::AsInt(number)) => u64::try_from(*number).unwrap(),
        other => panic!("{other:?}"),
    };
    match metric.data.as_ref().unwrap() {
        metric::Data::Histogram(data) => data
            .data_points
            .iter()
            .map(|point| (described(&point.attributes), point.count))
            .collect(),
        metric::Data::Sum(data) => data
            .data_points
            .iter()
            .map(|point| (described(&point.attributes), number(&point.value)))
            .collect(),
        metric::Data::Gauge(data) => data
            .data_points
            .iter()
            .map(|point| (described(&point.attributes), number(&point.value)))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn value(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn accepted(
    listener: TcpListener,
    tls: TlsAcceptor,
) -> impl Stream<Item = std::io::Result<TlsStream<TcpStream>>> {
    futures_util::stream::unfold((listener, tls), |(listener, tls)| async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = tls.accept(stream).await;
        Some((stream, (listener, tls)))
    })
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.received.lock().unwrap();
        received
            .headers
            .push(request.metadata().clone().into_headers());
        received.traces.push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut received = self.received.lock().unwrap();
        received
            .headers
            .push(request.metadata().clone().into_headers());
        received.metrics.push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

async fn take_traces(
    State(collector): State<Collector>,
    headers: HeaderMap,
    body: Bytes,
) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(unpacked(&headers, &body).as_slice()).unwrap();
    let mut received = collector.received.lock().unwrap();
    received.headers.push(headers);
    received.traces.push(request);
    ExportTraceServiceResponse::default().encode_to_vec()
}

async fn take_metrics(
    State(collector): State<Collector>,
    headers: HeaderMap,
    body: Bytes,
) -> Vec<u8> {
    let request =
        ExportMetricsServiceRequest::decode(unpacked(&headers, &body).as_slice()).unwrap();
    let mut received = collector.received.lock().unwrap();
    received.headers.push(headers);
    received.metrics.push(request);
    ExportMetricsServiceResponse::default().encode_to_vec()
}

fn unpacked(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    if headers.get("content-encoding").is_none() {
        return body.to_vec();
    }
    let mut unpacked = Vec::new();
    GzDecoder::new(body).read_to_end(&mut unpacked).unwrap();
    unpacked
}
