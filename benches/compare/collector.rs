//! An OpenTelemetry collector that accepts everything and counts the spans.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tonic::{Request, Response, body::Body, server::Grpc, transport::Server};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// The number of spans received.
pub(crate) type Spans = Arc<AtomicUsize>;

/// Serves OTLP over gRPC until the runtime ends.
pub(crate) async fn serve(listen: SocketAddr, spans: Spans) {
    let rpc = service_fn(move |request| export(request, spans.clone()));
    Server::builder().serve(listen, rpc).await.unwrap();
}

/// Responds with an empty message, in which every field has its default.
async fn export(
    request: http::Request<Body>,
    spans: Spans,
) -> Result<http::Response<Body>, Infallible> {
    let count = service_fn(async |request: Request<ExportTraceServiceRequest>| {
        spans.fetch_add(count_spans(request.get_ref()), Ordering::SeqCst);
        Ok(Response::new(()))
    });
    let ignore = service_fn(async |_: Request<()>| Ok(Response::new(())));
    let response = if request.uri().path().ends_with(".TraceService/Export") {
        Grpc::new(ProstCodec::default()).unary(count, request).await
    } else {
        Grpc::new(ProstCodec::default())
            .unary(ignore, request)
            .await
    };
    Ok(response)
}

fn count_spans(request: &ExportTraceServiceRequest) -> usize {
    let resources = request.resource_spans.iter();
    let scopes = resources.flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}
