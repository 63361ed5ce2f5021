//! The server: its services on its listeners, from the first call to the last.

pub(crate) mod listener;

pub(crate) mod admin;

mod calls;

mod health;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::timeout};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::Routes,
    transport::{self, Server, server::TcpIncoming},
};
use tonic_reflection::server::Builder as Reflection;
use tracing::{info, warn};

use self::{
    admin::Admin,
    calls::Calls,
    health::Reporter,
    listener::{Listener, SocketFile},
};
use crate::{
    proto::{FILE_DESCRIPTOR_SET, password_reset_service_server::PasswordResetServiceServer},
    readiness::Readiness,
    service::Service,
    telemetry::{export::meter, metrics, observer::Observer},
};

/// The longest message that is taken, in bytes. The longest sensible one is some 3 KiB.
const MAX_MESSAGE: usize = 64 * 1024;
/// The streams that a connection may have beyond the calls that may be in flight.
const SPARE_STREAMS: u32 = 64;
/// How long the calls that were given up at the end of the drain time have to get their answers out.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The listeners, bound.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) grpc: Vec<Listener>,
    pub(crate) admin: Option<TcpListener>,
}

/// What calls may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) timeout: Duration,
    pub(crate) max_in_flight: u32,
    pub(crate) drain_timeout: Duration,
}

/// A running server. Dropped, it cuts everything off.
#[derive(Debug)]
pub(crate) struct Running {
    servers: JoinSet<Result<(), transport::Error>>,
    /// The health reports and the admin listener, which outlive the servers.
    _helpers: JoinSet<()>,
    /// A socket's file stays until its listener is done.
    _files: Vec<SocketFile>,
    readiness: Readiness,
    health: Reporter,
    drain_timeout: Duration,
    in_flight: Arc<Semaphore>,
    max_in_flight: u32,
    /// Told to the servers: no new connections.
    drain: CancellationToken,
    /// Told to the calls: give up.
    stop: CancellationToken,
}

/// Starts to serve; when this is done, calls are taken and health says so.
pub(crate) async fn start(
    listeners: Listeners,
    service: Service,
    limits: Limits,
    observer: Observer,
    admin: Admin,
) -> Running {
    let readiness = service.readiness.clone();
    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let in_flight = Arc::new(Semaphore::new(limits.max_in_flight as usize));
    let is_api_reachable = service.rest.breaker.gauge();
    metrics::observe(&meter(), &in_flight, limits.max_in_flight, &readiness, is_api_reachable);
    let calls = Calls::new(limits.timeout, Arc::clone(&in_flight), stop.clone(), service.keys.owner(), observer);
    let (health_service, health) =
        health::service(PasswordResetServiceServer::<Service>::NAME, readiness.clone()).await;
    let routes = Routes::new(PasswordResetServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE))
        .add_service(health_service)
        .add_service(reflection().build_v1().expect("the contract is a valid descriptor"))
        .add_service(reflection().build_v1alpha().expect("the contract is a valid descriptor"))
        .prepare();

    let (mut servers, mut files) = (JoinSet::new(), Vec::new());
    for listener in listeners.grpc {
        let router = http2(limits).layer(calls.clone()).add_routes(routes.clone());
        let drained = drain.clone().cancelled_owned();
        match listener {
            Listener::Tcp(listener) => {
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                servers.spawn(router.serve_with_incoming_shutdown(incoming, drained));
            }
            Listener::Unix(listener, file) => {
                files.push(file);
                servers.spawn(router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), drained));
            }
        }
    }
    readiness.serving();
    let changes = readiness.changes();
    health.report().await;
    let mut helpers = JoinSet::new();
    helpers.spawn(health.clone().follow(changes));
    helpers.spawn(readiness.clone().forgive());
    if let Some(listener) = listeners.admin {
        let routes = admin::routes(admin).into_make_service_with_connect_info::<SocketAddr>();
        helpers.spawn(async move { log_failure(axum::serve(listener, routes).await) });
    }
    Running {
        servers,
        _helpers: helpers,
        _files: files,
        readiness,
        health,
        drain_timeout: limits.drain_timeout,
        in_flight,
        max_in_flight: limits.max_in_flight,
        drain,
        stop,
    }
}

impl Running {
    /// Goes on until `shutdown` completes, and then until the calls in flight are answered or the drain time is over.
    ///
    /// # Errors
    ///
    /// If a listener fails before that.
    pub(crate) async fn until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), transport::Error> {
        tokio::select! {
            () = shutdown => {}
            result = finished(&mut self.servers) => return result,
        }
        self.readiness.stopping();
        self.health.report().await;
        info!("stopping: no new connections, calls in flight are finished");
        self.drain.cancel();
        if timeout(self.drain_timeout, self.drained()).await.is_err() {
            warn!("the drain time is over: calls in flight are given up");
        }
        self.stop.cancel();
        // What is left are connections without a call: watches of the health service, peers that do not go.
        if timeout(LAST_WORDS, all_finished(&mut self.servers)).await.is_err() {
            info!("some connections are still open and are cut off");
        }
        Ok(())
    }

    /// Waits until no call is in flight any more.
    async fn drained(&mut self) {
        /// Looked at, not waited for: who waits for all places would keep them from the calls that still come in.
        const LOOK_EVERY: Duration = Duration::from_millis(10);
        let (places, most) = (Arc::clone(&self.in_flight), self.max_in_flight as usize);
        let idle = async move {
            while places.available_permits() < most {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = all_finished(&mut self.servers) => {}
            () = idle => {}
        }
    }
}

/// The next server to end; none is expected to before the shutdown.
async fn finished(servers: &mut JoinSet<Result<(), transport::Error>>) -> Result<(), transport::Error> {
    match servers.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        None => std::future::pending().await,
    }
}

async fn all_finished(servers: &mut JoinSet<Result<(), transport::Error>>) {
    while let Some(result) = servers.join_next().await {
        if let Ok(Err(error)) = result {
            warn!(%error, "a listener failed while it was drained");
        }
    }
}

fn log_failure(result: io::Result<()>) {
    if let Err(error) = result {
        warn!(%error, "the admin listener failed");
    }
}

/// The transport. tonic leaves bounds off that hyper would have had.
fn http2(limits: Limits) -> Server {
    Server::builder()
        .accept_http1(true)
        // Some more, so that a call beyond the limit is refused at once and does not wait in its client.
        .max_concurrent_streams(limits.max_in_flight.saturating_add(SPARE_STREAMS))
        .http2_max_local_error_reset_streams(Some(1024))
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
}

/// Reflection of every service, and of the details in a status, so that grpcurl can show them.
fn reflection() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
