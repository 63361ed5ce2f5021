//! The server: its services on its listeners, from the first call to the last.
//!
//! ```text
//!   listener ─▶ connection limit ─▶ connection ─────▶ call layer ─▶ routes: our rpcs, health, reflection
//!   accepts     evicts idle ones    TLS, preface,     policy, deadline,
//!                                   HTTP/2, age,      span, log line,
//!                                   graceful end      details
//! ```

pub(crate) mod listener;

mod unix_socket;

pub(crate) mod authority_rewriter;

mod connection_limit;

mod connection_state;

pub(crate) mod open_files;

mod connection;

mod monitored_io;

pub(crate) mod tls_handshake;

mod handshake_failure;

mod trust;

mod preface;

mod rewind;

mod call_layer;

pub(crate) mod authorization;

mod write_batching;

mod grpc;

mod reading_limit;

mod health;

pub(crate) mod admin;

use std::{sync::Arc, time::Duration};

use axum::Extension;
use futures_util::future::BoxFuture;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{codec::CompressionEncoding, service::Routes};
use tonic_reflection::server::Builder as Reflection;
use tracing::{info, warn};

use self::{
    admin::Admin,
    authorization::Authorization,
    call_layer::{CallLayer, Shared},
    connection::ConnectionServer,
    connection_limit::{ConnectionLimit, ConnectionPermit},
    health::Reporter,
    listener::{Listener, Stream},
    reading_limit::ReadingLimit,
    tls_handshake::TlsHandshakes,
    write_batching::batch_writes,
};
use crate::{
    config::Limits,
    connect_info::ConnectInfo,
    proto::{FILE_DESCRIPTOR_SET, password_reset_service_server::PasswordResetServiceServer},
    service::Service,
    telemetry::{call_observer::CallObserver, gauges},
};

/// The longest message of a call, in bytes. The longest sensible one has some 3 KiB.
const MAX_MESSAGE: usize = 64 * 1024;
/// The longest message to health and reflection, in bytes: the names in it are short.
const MAX_AUXILIARY_MESSAGE: usize = 4096;
/// The lowest limit on messages being read at a time. It leaves room for a burst of legitimate calls.
const MIN_READING: u32 = 1024;
/// The drain is complete when no call has been running for this long. A client may send one more before it sees the GOAWAY.
const QUIET_PERIOD: Duration = Duration::from_millis(100);
/// How long the remaining connections have to send their last responses and close after the drain.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// The listeners, bound.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) grpc: Vec<Listener>,
    pub(crate) admin: Option<Listener>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct RunningServer {
    /// The accept loops. A listener, and with it a socket's file, goes when its loop ends.
    listeners: JoinSet<()>,
    connections: TaskTracker,
    shared: Arc<Shared>,
    /// Tells listeners and connections to take no new calls.
    drain: CancellationToken,
    /// Health reports and the admin listener, which outlive the connections.
    _background: JoinSet<()>,
    health: Reporter,
    limits: Limits,
}

/// Starts to serve. When this completes, calls are accepted and health says so.
pub(crate) async fn start(
    listeners: Listeners,
    tls: Option<TlsHandshakes>,
    authorization: Option<Authorization>,
    service: Arc<Service>,
    limits: Limits,
    observer: CallObserver,
    admin: Admin,
) -> RunningServer {
    let shared = Arc::new(Shared {
        timeout: limits.timeout,
        reading: ReadingLimit::new(limits.max_in_flight.max(MIN_READING) as usize),
        unfinished_calls: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        authorization,
        observer,
    });
    let limit = ConnectionLimit::new(limits.max_connections as usize);
    let (connection_limit, upstream) = (limit.clone(), Arc::clone(&service.upstream));
    gauges::register(
        Arc::clone(&service.upstream.in_flight),
        limits.max_in_flight,
        service.readiness.clone(),
        move || upstream.circuit_breaker.is_closed(),
        move || connection_limit.len(),
    );
    let (routes, health) = routes(service).await;
    let (drain, connections) = (CancellationToken::new(), TaskTracker::new());
    let serve = serve(Arc::clone(&shared), routes, limits, tls);
    let mut accepting = JoinSet::new();
    for listener in listeners.grpc {
        let (limit, connections, drain) = (limit.clone(), connections.clone(), drain.clone());
        accepting.spawn(listener.accept_all(limit, connections, drain, serve.clone()));
    }
    health.readiness.set_serving(true);
    health.report().await;
    RunningServer {
        listeners: accepting,
        connections,
        shared,
        drain,
        _background: background(&health, listeners.admin, admin),
        health,
        limits,
    }
}

/// Returns the function that serves one connection.
fn serve(
    shared: Arc<Shared>,
    routes: Routes,
    limits: Limits,
    tls: Option<TlsHandshakes>,
) -> impl Fn(Stream, ConnectInfo, ConnectionPermit) -> BoxFuture<'static, ()> + Clone {
    let server = ConnectionServer::new(limits.max_connection_age, limits.timeout, tls);
    move |stream, caller, permit| {
        let (shared, connection) = (Arc::clone(&shared), Arc::clone(&permit.state));
        let inner = routes.clone();
        let service = |caller| CallLayer {
            shared,
            caller,
            connection,
            inner,
        };
        let connection = server.clone().serve(stream, caller, service, permit);
        Box::pin(batch_writes(connection))
    }
}

/// The routes of our rpcs, health and reflection, and the reporter that sets the health status.
async fn routes(service: Arc<Service>) -> (Routes, Reporter) {
    let (health_service, health) = health::service(service.readiness.clone()).await;
    let valid = "the contract is a valid descriptor";
    let v1 = reflection().build_v1().expect(valid);
    let v1alpha = reflection().build_v1alpha().expect(valid);
    // Requests may be compressed, but responses never are: they hold secrets, and a compressed length tells something about
    // them (BREACH).
    let rpcs = PasswordResetServiceServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE)
        .accept_compressed(CompressionEncoding::Gzip);
    let routes = Routes::new(rpcs)
        .add_service(health_service)
        .add_service(v1.max_decoding_message_size(MAX_AUXILIARY_MESSAGE))
        .add_service(v1alpha.max_decoding_message_size(MAX_AUXILIARY_MESSAGE));
    (routes.prepare(), health)
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

fn background(health: &Reporter, listener: Option<Listener>, admin: Admin) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(health.clone().follow());
    if let Some(listener) = listener {
        let limit = ConnectionLimit::new(admin::MAX_CONNECTIONS);
        let (connections, drain) = (TaskTracker::new(), CancellationToken::new());
        let routes = admin::routes(admin);
        let serve = move |stream, peer, permit| {
            admin::serve(routes.clone().layer(Extension(peer)), stream, permit)
        };
        tasks.spawn(listener.accept_all(limit, connections, drain, serve));
    }
    tasks
}

impl RunningServer {
    /// Serves until `shutdown` completes, and then until the calls in flight have ended or the drain time is over.
    pub(crate) async fn serve_until(mut self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            // An accept loop ends before the drain only if it panics. The process exits, so that it is restarted.
            Some(Err(panic)) = self.listeners.join_next() => std::panic::resume_unwind(panic.into_panic()),
        }
        self.health.readiness.set_serving(false);
        self.health.report().await;
        let drained = timeout(self.limits.drain_timeout, self.drain()).await;
        if drained.is_err() {
            warn!("the drain time is over: calls in flight are cancelled");
        }
        self.drain.cancel();
        self.shared.shutdown.cancel();
        // Calls that have just been cancelled are still recorded. The connections that are left then are watches of the health
        // service and peers that do not close.
        if timeout(FLUSH_TIMEOUT, self.until_ended()).await.is_err() {
            info!("some connections or calls have not ended and are cut off");
        }
    }

    /// Takes calls for another moment, so that clients can learn that they should go elsewhere. Then takes no new ones and
    /// waits for those in flight.
    async fn drain(&mut self) {
        if !self.limits.drain_delay.is_zero() {
            info!("stopping soon: not ready, but calls are still taken");
            sleep(self.limits.drain_delay).await;
        }
        info!("stopping: no new connections, calls in flight are finished");
        self.drain.cancel();
        while self.listeners.join_next().await.is_some() {}
        tokio::select! {
            () = self.until_ended() => {}
            () = until_quiet(&self.shared.unfinished_calls) => {}
        }
    }

    /// Waits until there is no connection and no call: some outlast their connection, such as writes whose callers have left.
    async fn until_ended(&self) {
        self.connections.close();
        self.shared.unfinished_calls.close();
        self.connections.wait().await;
        self.shared.unfinished_calls.wait().await;
    }
}

/// Waits until no call has been running for a while.
async fn until_quiet(calls: &TaskTracker) {
    loop {
        calls.wait().await;
        sleep(QUIET_PERIOD).await;
        if calls.is_empty() {
            return;
        }
    }
}
