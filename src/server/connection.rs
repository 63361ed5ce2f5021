//! One connection: its first bytes, HTTP/2 with its bounds, and a graceful end.

use std::{convert::Infallible, future::pending, io, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2::Builder};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{sleep, timeout},
};
use tonic::body::Body;
use tower::Service;

use super::{
    connection_limit::{ConnectionPermit, ConnectionState},
    monitored_io::MonitoredIo,
};

/// How long a peer has to send the HTTP/2 preface, so that it cannot hold a connection open for free.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the drain waits for the preface of a connection that has just been accepted.
const DRAIN_HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(200);
/// How long an evicted connection may take to close.
const EVICTION_GRACE: Duration = Duration::from_secs(1);
/// How much longer than the call timeout an aged or evicted connection waits for its calls.
const AGE_GRACE: Duration = Duration::from_secs(5);

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The answer to a peer that speaks HTTP/1.
const NOT_HTTP_1: &[u8] = b"HTTP/1.1 415 Unsupported Media Type\r\n\
    content-type: text/plain\r\ncontent-length: 84\r\nconnection: close\r\n\r\n\
    this is a gRPC server: it takes POST over HTTP/2 with content-type application/grpc\n";

/// Settings that all connections share.
#[derive(Clone, Debug)]
pub(super) struct ConnectionServer {
    http: Builder<TokioExecutor>,
    /// How long a connection takes new calls.
    max_age: Option<Duration>,
    /// The longest that a call takes.
    call_timeout: Duration,
}

impl ConnectionServer {
    pub(super) fn new(max_age: Option<Duration>, call_timeout: Duration) -> Self {
        Self {
            http: http2(),
            max_age,
            call_timeout,
        }
    }

    /// Serves a connection until it closes. Errors of the connection are not reported.
    pub(super) async fn serve<S>(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        service: S,
        permit: ConnectionPermit,
    ) where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let state = &*permit.state;
        let stream = MonitoredIo::new(stream, permit.state.clone());
        let Some(stream) = handshake(stream, state).await else {
            return;
        };
        let service = TowerToHyperService::new(service);
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
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
    }

    /// Completes when the connection's grace period ends.
    async fn until_grace_ends(&self, state: &ConnectionState, is_aged: bool) {
        let calls = self.call_timeout + AGE_GRACE;
        if state.is_evicted() {
            let _ = timeout(EVICTION_GRACE, state.grace_over.cancelled()).await;
            // A write that was sent must be answered.
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

/// Reads the first bytes. `None` if the peer does not speak HTTP/2 or sends nothing in time.
async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: MonitoredIo<S>,
    state: &ConnectionState,
) -> Option<MonitoredIo<S>> {
    let mut first_bytes = Vec::with_capacity(PREFACE.len());
    let speaks_http2 = tokio::select! {
        read = read_preface(&mut stream, &mut first_bytes) => read.ok()?,
        () = sleep(HANDSHAKE_TIMEOUT) => return None,
        () = until_handshake_ends(state) => return None,
    };
    if speaks_http2 {
        stream.rewind(Bytes::from_static(PREFACE));
        return Some(stream);
    }
    if first_bytes.first().is_some_and(u8::is_ascii_uppercase) {
        // A peer that has gone does not read the answer.
        let _ = timeout(EVICTION_GRACE, refuse_http1(stream)).await;
    }
    None
}

/// Reads until the bytes are HTTP/2's preface, or can't become it.
async fn read_preface(
    stream: &mut (impl AsyncRead + Unpin),
    first_bytes: &mut Vec<u8>,
) -> io::Result<bool> {
    while first_bytes.len() < PREFACE.len() {
        let missing = (PREFACE.len() - first_bytes.len()) as u64;
        if (&mut *stream).take(missing).read_buf(first_bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(first_bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Completes when a connection without a preface has to close.
async fn until_handshake_ends(state: &ConnectionState) {
    state.end.cancelled().await;
    if !state.is_evicted() {
        sleep(DRAIN_HANDSHAKE_TIMEOUT).await;
    }
}

async fn refuse_http1(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    const MAX_DISCARDED: u64 = 64 * 1024;
    stream.write_all(NOT_HTTP_1).await?;
    stream.shutdown().await?;
    // Closing a socket with unread bytes resets it, and the peer might lose the answer.
    tokio::io::copy(&mut stream.take(MAX_DISCARDED), &mut tokio::io::sink()).await?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_http_1_says_its_length() {
        let text = std::str::from_utf8(NOT_HTTP_1).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
