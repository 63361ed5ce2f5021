//! A collector that takes everything, and counts the spans.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// A running collector; it ends with the runtime.
pub(crate) struct Collector {
    /// Where it takes OTLP over gRPC.
    pub(crate) address: SocketAddr,
    received: Received,
}

/// The spans that have arrived.
#[derive(Clone, Default)]
struct Received(Arc<AtomicUsize>);

impl Collector {
    pub(crate) async fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, received) = (listener.local_addr().unwrap(), Received::default());
        let server = Server::builder()
            .add_service(TraceServiceServer::new(received.clone()))
            .add_service(MetricsServiceServer::new(received.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Self { address, received }
    }

    /// How many spans have arrived so far.
    pub(crate) fn spans(&self) -> usize {
        self.received.0.load(Ordering::SeqCst)
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request
            .get_ref()
            .resource_spans
            .iter()
            .flat_map(|spans| &spans.scope_spans);
        self.0.fetch_add(
            scopes.map(|scope| scope.spans.len()).sum(),
            Ordering::SeqCst,
        );
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        _: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
