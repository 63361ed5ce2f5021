//! The server: its services on its listeners, from the first call to the last.
//!
//! ```text
//!   listener ─▶ accept ─▶ crowd ─▶ connection ─▶ around ──────▶ health, reflection
//!               forever   if there  bounds,        └──▶ calls ─▶ our rpcs
//!                         is room   age, end            a layer around each
//! ```

pub(crate) mod listener;

pub(crate) mod admin;

mod accept;

mod batch;

mod afterwards;

mod crowd;

mod files;

mod connection;

mod socket;

mod around;

mod call_layer;

mod grpc;

mod message;

mod resets;

mod waits;

mod held;

mod health;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{body::Body, server::NamedService, service::Routes};
use tonic_reflection::server::Builder as Reflection;
use tower::ServiceExt;
use tracing::{info, warn};

use self::{
    accept::Acceptor,
    admin::Admin,
    call_layer::{Calls, Patience},
    connection::Ends,
    crowd::Crowd,
    health::Reporter,
    listener::Listener,
};
use crate::{
    app_key::KeyOwner,
    config::Limits,
    proto::{FILE_DESCRIPTOR_SET, password_reset_service_server::PasswordResetServiceServer},
    readiness::Readiness,
    service::Service,
    telemetry::{call_log::CallObserver, metrics, metrics::meter},
};

/// The longest message that is taken, in bytes. The longest sensible one is some 3 KiB.
const MAX_MESSAGE: usize = 64 * 1024;
/// The longest question about the server, in bytes: the names in it are short.
const MAX_QUESTION: usize = 4096;
/// How many calls may at least be on the way in at a time.
const MIN_ARRIVING: u32 = 1024;
/// How long the calls that were given up at the end of the drain time have to get their answers out.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long after a connection's age its last calls are waited for, beyond what a call may take.
const AGE_GRACE: Duration = Duration::from_secs(5);

/// The listeners, bound.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) grpc: Vec<Listener>,
    pub(crate) admin: Option<TcpListener>,
}

/// A running server. Dropped, it cuts everything off.
#[derive(Debug)]
pub(crate) struct Running {
    /// A listener, and with it a socket's file, goes when its task ends.
    acceptors: JoinSet<()>,
    connections: TaskTracker,
    /// The health reports and the admin listener, which outlive the connections.
    _helpers: JoinSet<()>,
    readiness: Readiness,
    health: Reporter,
    limits: Limits,
    in_flight: Arc<Semaphore>,
    ends: Ends,
    /// Told to the calls: give up.
    stop: CancellationToken,
}

/// Starts to serve; when this is done, calls are taken and health says so.
pub(crate) async fn start(
    listeners: Listeners,
    service: Service,
    limits: Limits,
    observer: CallObserver,
    admin: Admin,
) -> Running {
    let readiness = service.readiness.clone();
    let stop = CancellationToken::new();
    let in_flight = Arc::clone(&service.upstream.in_flight);
    let crowd = Crowd::new(files::room_for(
        limits.max_connections,
        limits.max_in_flight,
    ));
    let is_api_reachable = service.upstream.circuit_breaker.gauge();
    metrics::observe(
        &meter(),
        &in_flight,
        limits.max_in_flight,
        &readiness,
        is_api_reachable,
    );
    let counted = crowd.clone();
    metrics::observe_connections(&meter(), move || counted.len());
    let calls = calls(
        limits,
        &in_flight,
        &stop,
        service.app_keys.owner(),
        observer,
    );
    let (about, health) = about_the_server(service.readiness.clone()).await;
    let rpcs = rpcs(service);

    let acceptor = Acceptor {
        http: connection::http(limits.max_in_flight),
        crowd,
        connections: TaskTracker::new(),
        ends: Ends {
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
            hurry: Arc::default(),
            max_age: limits.max_connection_age,
            age_grace: limits.timeout + AGE_GRACE,
        },
    };
    let mut acceptors = JoinSet::new();
    for listener in listeners.grpc {
        let (calls, rpcs, about) = (calls.clone(), rpcs.clone(), about.clone());
        acceptors.spawn(acceptor.clone().run(listener, move |peer, member| {
            let calls = calls.around(
                rpcs.clone(),
                about.clone(),
                peer,
                Arc::clone(&member.activity),
            );
            calls.map_request(|request: http::Request<_>| request.map(Body::new))
        }));
    }
    readiness.serving();
    let changes = readiness.changes();
    health.report().await;
    let mut helpers = JoinSet::new();
    helpers.spawn(health.clone().follow(changes));
    helpers.spawn(readiness.clone().expire_key_rejection());
    if let Some(listener) = listeners.admin {
        let routes = admin::routes(admin).into_make_service_with_connect_info::<SocketAddr>();
        helpers.spawn(async move { log_failure(axum::serve(listener, routes).await) });
    }
    let Acceptor {
        connections, ends, ..
    } = acceptor;
    Running {
        acceptors,
        connections,
        _helpers: helpers,
        readiness,
        health,
        limits,
        in_flight,
        ends,
        stop,
    }
}

/// The layer around every call.
fn calls(
    limits: Limits,
    in_flight: &Arc<Semaphore>,
    stop: &CancellationToken,
    key: KeyOwner,
    observer: CallObserver,
) -> Calls {
    let patience = Patience {
        arriving: limits.max_in_flight.max(MIN_ARRIVING) as usize,
        // Each connection may well watch our health, and each call in flight has an answer.
        leaving: (limits.max_connections.saturating_add(limits.max_in_flight)) as usize,
    };
    Calls::new(
        limits.timeout,
        Arc::clone(in_flight),
        patience,
        stop.clone(),
        key,
        observer,
    )
}

/// The four rpcs.
pub(crate) type Rpcs = PasswordResetServiceServer<Service>;

fn rpcs(service: Service) -> Rpcs {
    PasswordResetServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE)
}

/// Health and reflection.
async fn about_the_server(readiness: Readiness) -> (Routes, Reporter) {
    let (health_service, health) =
        health::service(PasswordResetServiceServer::<Service>::NAME, readiness).await;
    let v1 = reflection()
        .build_v1()
        .expect("the contract is a valid descriptor");
    let v1alpha = reflection()
        .build_v1alpha()
        .expect("the contract is a valid descriptor");
    let routes = Routes::new(health_service)
        .add_service(v1.max_decoding_message_size(MAX_QUESTION))
        .add_service(v1alpha.max_decoding_message_size(MAX_QUESTION));
    (routes.prepare(), health)
}

impl Running {
    /// Goes on until `shutdown` completes, and then until the calls in flight are answered or the drain time is over.
    pub(crate) async fn until(mut self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            // None ends before the drain, unless by a bug: a gateway that is there and takes no calls would be worse than none.
            Some(Err(panic)) = self.acceptors.join_next() => std::panic::resume_unwind(panic.into_panic()),
        }
        self.readiness.stopping();
        self.health.report().await;
        if timeout(self.limits.drain_timeout, self.drain())
            .await
            .is_err()
        {
            warn!("the drain time is over: calls in flight are given up");
        }
        self.ends.drain.cancel();
        self.connections.close();
        self.stop.cancel();
        // What is left are connections without a call: watches of the health service, peers that do not go.
        if timeout(LAST_WORDS, self.connections.wait()).await.is_err() {
            info!("some connections are still open and are cut off");
        }
    }

    /// Goes on as before for a moment, so that those who send calls here can learn that they should not any more; and
    /// then takes no new ones and waits for those in flight.
    async fn drain(&mut self) {
        if !self.limits.drain_delay.is_zero() {
            info!("stopping soon: not ready, but calls are still taken");
            sleep(self.limits.drain_delay).await;
        }
        info!("stopping: no new connections, calls in flight are finished");
        self.ends.drain.cancel();
        while self.acceptors.join_next().await.is_some() {}
        self.connections.close();
        tokio::select! {
            () = self.connections.wait() => {}
            () = idle(&self.in_flight, self.limits.max_in_flight) => {}
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ends.cut.cancel();
    }
}

/// Waits until no call is in flight any more.
async fn idle(in_flight: &Semaphore, most: u32) {
    /// Looked at, not waited for: who waits for all places would keep them from the calls that still come in.
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    while in_flight.available_permits() < most as usize {
        sleep(LOOK_EVERY).await;
    }
}

fn log_failure(result: io::Result<()>) {
    if let Err(error) = result {
        warn!(%error, "the admin listener failed");
    }
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
