//! One connection: TLS and its first bytes, HTTP/2 with its bounds, and a graceful end.

use std::{convert::Infallible, future::pending, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2::Builder};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::body::Body;
use tower::Service;
use tracing::info;

use super::{
    connection_limit::ConnectionPermit, connection_state::ConnectionState, listener::Stream,
    monitored_io::MonitoredIo, preface::expect_http2, rewind::Rewind, tls_handshake::TlsHandshakes,
    trust::Trust,
};
use crate::connect_info::{ConnectInfo, Transport};

/// How long a peer has for the TLS handshake and the HTTP/2 preface, so that it cannot hold a connection open for free.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an evicted connection may take to close.
const EVICTION_GRACE: Duration = Duration::from_secs(1);
/// How long calls of a client that is no longer trusted are accepted after the GOAWAY, because it may have sent them before
/// it saw that. h2 itself accepts new calls until the client acknowledges a PING, and a client may never do so.
const DISTRUST_GRACE: Duration = Duration::from_secs(1);
/// How much longer than the call timeout an aged or evicted connection waits for its calls.
const AGE_GRACE: Duration = Duration::from_secs(5);

/// A connection without TLS, or with it. Stalls are noticed below TLS, which buffers what it writes.
type MaybeTlsStream = Either<MonitoredIo<Stream>, Box<TlsStream<MonitoredIo<Stream>>>>;

/// Settings that all connections share.
#[derive(Clone, Debug)]
pub(super) struct ConnectionServer {
    http: Builder<TokioExecutor>,
    /// How long a connection takes new calls.
    max_age: Option<Duration>,
    /// The longest that a call takes.
    call_timeout: Duration,
    /// `None` if TCP listeners speak no TLS.
    tls: Option<TlsHandshakes>,
}

impl ConnectionServer {
    pub(super) fn new(
        max_age: Option<Duration>,
        call_timeout: Duration,
        tls: Option<TlsHandshakes>,
    ) -> Self {
        Self {
            http: http2(),
            max_age,
            call_timeout,
            tls,
        }
    }

    /// Serves a connection until it closes, with the service that `service` makes for its caller. Errors of the connection
    /// are not reported.
    pub(super) async fn serve<S>(
        self,
        stream: Stream,
        caller: ConnectInfo,
        service: impl FnOnce(ConnectInfo) -> S,
        permit: ConnectionPermit,
    ) where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let state = &*permit.state;
        let established = tokio::select! {
            // Polled first: it logs a handshake that is evicted.
            biased;
            established = Box::pin(self.handshake(stream, caller, &permit.state)) => established,
            () = state.until_handshake_must_stop() => None,
        };
        let Some((stream, caller, trust)) = established else {
            return;
        };
        let service = TowerToHyperService::new(service(caller.clone()));
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let served = async {
            let is_aged = tokio::select! {
                _ = connection.as_mut() => return,
                () = state.end.cancelled() => false,
                () = until_aged(self.max_age) => true,
            };
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                _ = connection => {}
                () = self.until_grace_ends(state, is_aged) => {}
            }
        };
        tokio::select! {
            () = served => {}
            () = self.cut_off_when_distrusted(trust, &caller, state) => {}
        }
    }

    /// Ends the connection gracefully when its client is no longer trusted, and soon refuses its further calls. Completes when
    /// the calls that were accepted before have had time to end.
    async fn cut_off_when_distrusted(
        &self,
        trust: Option<Trust>,
        caller: &ConnectInfo,
        state: &ConnectionState,
    ) {
        until_distrusted(trust, caller).await;
        state.end.cancel();
        sleep(DISTRUST_GRACE).await;
        state.refuse_calls();
        sleep(self.call_timeout + AGE_GRACE).await;
    }

    /// Makes TLS, where the listener speaks it, and reads the first bytes. `None` if the peer does not speak HTTP/2, or is
    /// refused or too slow.
    async fn handshake(
        &self,
        stream: Stream,
        mut caller: ConnectInfo,
        state: &Arc<ConnectionState>,
    ) -> Option<(Rewind<MaybeTlsStream>, ConnectInfo, Option<Trust>)> {
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let stream = MonitoredIo::new(stream, Arc::clone(state));
        let (stream, trust) = match (&self.tls, caller.transport) {
            (Some(tls), Transport::Tcp { remote, .. }) => {
                let secured = tls.accept(stream, remote, deadline, state).await?;
                caller.identity = Arc::new(secured.identity);
                (Either::Right(secured.stream), secured.trust)
            }
            _ => (Either::Left(stream), None),
        };
        let stream = timeout_at(deadline, expect_http2(stream)).await.ok()??;
        Some((stream, caller, trust))
    }

    /// Completes when the connection's grace period ends.
    async fn until_grace_ends(&self, state: &ConnectionState, is_aged: bool) {
        let calls = self.call_timeout + AGE_GRACE;
        if state.is_evicted() {
            let _ = timeout(EVICTION_GRACE, state.grace_over.cancelled()).await;
            // A write that was sent must get its response.
            let _ = timeout(calls, until_idle(state)).await;
        } else if is_aged {
            sleep(calls).await;
        } else {
            pending::<()>().await;
        }
    }
}

/// HTTP/2 with bounds on everything that a peer can make this side hold or do. What is wrong with one stream must end that
/// stream alone, because another one on the same connection may carry a write.
fn http2() -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(256)
        // Far above what the call layer accepts: h2 ends the connection when a header block is much longer than this.
        .max_header_list_size(512 * 1024)
        .initial_stream_window_size(64 * 1024)
        // h2 bounds small DATA frames by half of this.
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(64 * 1024)
        // It counts over a connection's whole life, so that refusals alone would end it.
        .max_local_error_reset_streams(None)
        // Clients cancel many calls at once when their own deadlines pass; only an attacker cancels a thousand unread ones.
        .max_pending_accept_reset_streams(1024)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    http
}

/// Completes when the client is no longer trusted.
async fn until_distrusted(trust: Option<Trust>, caller: &ConnectInfo) {
    match trust {
        Some(mut trust) => {
            let why = trust.until_ended().await;
            let principal = caller.identity.principal();
            info!(principal, "a client's connection ends: {why}");
        }
        None => pending().await,
    }
}

async fn until_idle(state: &ConnectionState) {
    const POLL_INTERVAL: Duration = Duration::from_millis(50);
    while state.is_busy() {
        sleep(POLL_INTERVAL).await;
    }
}

/// Completes at that age, give or take a tenth, so that clients do not all reconnect at once.
async fn until_aged(max_age: Option<Duration>) {
    match max_age {
        Some(max_age) => sleep(max_age.mul_f64(rand::random_range(0.9..1.1))).await,
        None => pending().await,
    }
}
