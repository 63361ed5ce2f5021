//! Accepting connections, until the drain.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{rt::TokioExecutor, server::conn::auto::Builder};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tower::Service;
use tracing::warn;

use super::{
    afterwards::Telling,
    batch::Batch,
    connection::{self, Ends},
    crowd::{Crowd, Member},
    listener::{Listener, Stream},
};
use crate::connect_info::ConnectInfo;

/// How long to wait after a failure that will not pass by itself, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What all listeners share.
#[derive(Clone, Debug)]
pub(super) struct Acceptor {
    pub(super) http: Builder<TokioExecutor>,
    pub(super) crowd: Crowd,
    pub(super) connections: TaskTracker,
    pub(super) ends: Ends,
}

impl Acceptor {
    /// Accepts what comes, gives each connection the service that `service_for` makes, and stops at the drain: what has
    /// connected by then is still served, what comes later is refused by the system.
    pub(super) async fn run<S>(
        self,
        listener: Listener,
        service_for: impl Fn(ConnectInfo, &Member) -> S,
    ) where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let mut is_failing = false;
        loop {
            self.let_leavers_go().await;
            let accepted = tokio::select! {
                // First, so that the drain leaves nobody behind who is already in the system's queue.
                biased;
                accepted = listener.accept() => accepted,
                () = self.ends.drain.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    is_failing = false;
                    self.take(stream, peer, &service_for);
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    if !is_failing {
                        warn!(%error, "connections cannot be accepted");
                    }
                    is_failing = true;
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Those who had to leave still hold their files until they have gone, so that they must not be too many. Who has a call
    /// under way is let finish it, for whom nobody else waits.
    async fn let_leavers_go(&self) {
        const MOST_LEAVERS: usize = 32;
        const TIMES: usize = 10;
        for _ in 0..TIMES {
            if self.connections.len() <= self.crowd.most() + MOST_LEAVERS {
                return;
            }
            self.ends.hurry.notify_waiters();
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Serves a connection, if there is room for it; else it is closed.
    fn take<S>(
        &self,
        stream: Stream,
        peer: ConnectInfo,
        service_for: impl Fn(ConnectInfo, &Member) -> S,
    ) where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let Some(member) = self.crowd.enter() else {
            return;
        };
        let service = service_for(peer, &member);
        let activity = Arc::clone(&member.activity);
        let connection = connection::serve(
            stream,
            self.http.clone(),
            service,
            member,
            self.ends.clone(),
        );
        self.connections.spawn(Batch::new(
            Telling::new(connection, Arc::clone(&activity)),
            activity,
        ));
    }
}

/// Whether the connection failed, and not the listener.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(
        error.kind(),
        E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused | E::Interrupted
    )
}
