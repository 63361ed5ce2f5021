//! The life of a connection: its bounds, and its end.

use std::{convert::Infallible, iter, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::{
    crowd::{Activity, Member},
    socket::Socket,
};

/// How long a peer may take to begin: a connection costs it nothing.
const GREETING: Duration = Duration::from_secs(10);
/// How long a peer that has to leave may take to do so.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a connection that the drain finds without a greeting is given, for its first call may be on the way.
const LAST_GREETING: Duration = Duration::from_millis(200);
/// The streams that a connection may have beyond the calls that may be in flight, so that a call beyond that limit is
/// refused at once and does not wait in its client.
const SPARE_STREAMS: u32 = 64;
/// The most streams of a connection in any case: what it takes to keep track of one, some 2 KiB, is kept for as long as the
/// connection is there. A client with more calls waits or opens another connection.
const MAX_STREAMS: u32 = 256;
/// The largest head of a request, in bytes: what HTTP/2 servers commonly take.
const MAX_HEAD: u32 = 16 * 1024;
/// What a peer may send ahead, in bytes: on a stream somewhat more than the longest message. h2 takes half of what it may send
/// on all streams together for the most that small frames may cost it, 256 bytes each, before it closes a connection as a
/// flood; a burst of calls, one frame on each stream, is none.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;

/// What ends connections, soon or at once.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    /// No new calls on this connection: they should come over another one, or not here.
    pub(super) drain: CancellationToken,
    /// Away with what is left.
    pub(super) cut: CancellationToken,
    /// Told to those who had to leave: others stand at the door.
    pub(super) hurry: Arc<Notify>,
    /// The longest that a connection takes new calls, if there is a limit.
    pub(super) max_age: Option<Duration>,
    /// How long the calls that are left at that age are waited for: none may take longer.
    pub(super) age_grace: Duration,
}

/// HTTP/2 with bounds on everything that a peer can make this side hold or do, and HTTP/1 to say that it is not spoken.
pub(super) fn http(max_in_flight: u32) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_in_flight.saturating_add(SPARE_STREAMS).min(MAX_STREAMS))
        .max_header_list_size(MAX_HEAD)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .max_local_error_reset_streams(1024)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    http.http1()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(GREETING)
        .max_buf_size(MAX_HEAD as usize);
    http
}

/// Serves a connection to its end.
pub(super) async fn serve<S>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http: Builder<TokioExecutor>,
    service: S,
    member: Member,
    ends: Ends,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let activity = Arc::clone(&member.activity);
    let stream = TokioIo::new(Socket::new(stream, Arc::clone(&activity)));
    let mut connection = pin!(http.serve_connection(stream, TowerToHyperService::new(service)));
    // Looked at when one of its events has come, and not each time that there is something to do for the connection.
    let mut end: FuturesUnordered<_> = iter::once(end(&activity, &ends)).collect();
    let end = tokio::select! {
        // Before the connection, which can take all the time that the runtime grants a turn, again and again.
        biased;
        Some(end) = end.next() => end,
        // However it ends: what a peer does wrong is no event here.
        _ = connection.as_mut() => return,
    };
    let Some(end) = end else { return };
    if !activity.is_greeted() {
        let _ = timeout(LAST_GREETING, connection.as_mut()).await;
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = ends.cut.cancelled() => {}
        () = activity.until_cut_off() => {}
        () = patience(end, &activity, &ends) => {}
    }
}

/// Why a connection has to end.
enum End {
    Leaving,
    OfAge,
    Draining,
}

/// Completes when the connection has to end; with nothing, if at once.
async fn end(activity: &Activity, ends: &Ends) -> Option<End> {
    tokio::select! {
        () = ends.cut.cancelled() => None,
        () = activity.until_cut_off() => None,
        () = silence(activity) => None,
        () = activity.told_to_leave() => activity.was_of_use().then_some(End::Leaving),
        () = age(ends.max_age) => Some(End::OfAge),
        () = ends.drain.cancelled() => Some(End::Draining),
    }
}

/// Completes when a connection that has to end is not waited for any longer. The calls that it has are: what was sent to the
/// API must be told.
async fn patience(end: End, activity: &Activity, ends: &Ends) {
    match end {
        End::Draining => std::future::pending().await,
        End::OfAge => sleep(ends.age_grace).await,
        End::Leaving => {
            tokio::select! {
                () = sleep(FAREWELL) => {}
                () = ends.hurry.notified() => {}
            }
            let _ = timeout(ends.age_grace, idle(activity)).await;
        }
    }
}

async fn idle(activity: &Activity) {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    while !activity.is_idle() {
        sleep(LOOK_EVERY).await;
    }
}

/// Completes when the peer has had its time to begin and has not.
async fn silence(activity: &Activity) {
    sleep(GREETING).await;
    if activity.is_greeted() {
        std::future::pending::<()>().await;
    }
}

/// Completes at that age, give or take a tenth, lest all clients of a gateway come back at once.
async fn age(most: Option<Duration>) {
    match most {
        Some(most) => sleep(most.mul_f64(rand::random_range(0.9..1.1))).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll, ready},
    };

    use tokio::{
        io::ReadBuf,
        task::{consume_budget, yield_now},
    };
    use tower::service_fn;

    use super::*;
    use crate::server::crowd::Crowd;

    /// A peer that never stops sending what costs it nothing, so that each turn ends because its time is over.
    struct Flood {
        /// In bytes.
        sent: usize,
    }

    impl AsyncRead for Flood {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
            const PRIORITY: &[u8] = b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\0";
            ready!(pin!(consume_budget()).poll(cx));
            let all = GREETING.iter().chain(
                PRIORITY
                    .iter()
                    .cycle()
                    .skip(self.sent.saturating_sub(GREETING.len()) % 14),
            );
            let next: Vec<_> = all
                .skip(self.sent.min(GREETING.len()))
                .take(buf.remaining())
                .copied()
                .collect();
            buf.put_slice(&next);
            self.sent += next.len();
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Flood {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_peer_that_never_stops_sending_is_cut_off_all_the_same() {
        let member = Crowd::new(1).enter().unwrap();
        let activity = Arc::clone(&member.activity);
        let ends = Ends {
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
            hurry: Arc::default(),
            max_age: None,
            age_grace: Duration::ZERO,
        };
        let service = service_fn(async |_: Request<Incoming>| Ok(Response::new(Body::empty())));
        let connection = tokio::spawn(serve(Flood { sent: 0 }, http(1), service, member, ends));
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(activity.is_greeted() && !connection.is_finished());
        activity.cut_off();
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(connection.is_finished());
    }
}
