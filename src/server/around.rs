//! Which way a request goes: what is not gRPC is turned away, what is about the server is passed on, and our rpcs get the
//! layer of [`Calls`].

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::{Code, body::Body};
use tower::{Service, ServiceExt};

use super::{
    call_layer::{Calls, Origin, Shared},
    crowd::Activity,
    grpc::{code_of, is_about_the_server, is_grpc, not_grpc},
    held::hold,
    resets::Begun,
};
use crate::{call::CallRecord, connect_info::ConnectInfo};

/// Services with [`Calls`] around them, on a connection.
#[derive(Clone, Debug)]
pub(crate) struct AroundCalls<S, R> {
    shared: Arc<Shared>,
    /// Our rpcs, which no router has to find.
    rpcs: S,
    /// Health and reflection.
    about: R,
    origin: Origin,
}

impl<S, R> Service<Request<Body>> for AroundCalls<S, R>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    R: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each call waits for a clone of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The time counts from here, not from the first poll.
        let arrival = Instant::now();
        let (shared, origin) = (Arc::clone(&self.shared), self.origin.clone());
        if !is_grpc(&request) {
            // What still comes of it is not read.
            origin.activity.given_up();
            Box::pin(async move { Ok(hold(not_grpc(), || shared.leaving(&origin))) })
        } else if is_about_the_server(request.uri().path()) {
            let mut about = self.about.clone();
            Box::pin(async move {
                // From now on, for its peer may let it wait for the question as well.
                let (wait, record) = (shared.leaving(&origin), CallRecord::default());
                let begun = Begun::new(&origin.activity, &record, arrival);
                let answer = pass_on(&mut about, request).await;
                if code_of(&answer) == Code::Ok {
                    begun.answered();
                }
                Ok(hold(answer, || wait))
            })
        } else {
            let mut rpcs = self.rpcs.clone();
            Box::pin(async move {
                let answer = shared
                    .observe(&mut request, &mut rpcs, &origin, arrival)
                    .await;
                Ok(hold(answer, || shared.leaving(&origin)))
            })
        }
    }
}

impl<S, R> AroundCalls<S, R> {
    /// Tells of the calls that are answered; where there is a connection, its task does.
    pub(crate) fn tell(&self) {
        self.origin.activity.afterwards.tell();
    }
}

impl Calls {
    /// The service of our rpcs and those about the server, with this layer around them, for the calls of a connection.
    pub(super) fn around<S, R>(
        &self,
        rpcs: S,
        about: R,
        peer: ConnectInfo,
        activity: Arc<Activity>,
    ) -> AroundCalls<S, R> {
        AroundCalls {
            shared: Arc::clone(&self.0),
            rpcs,
            about,
            origin: Origin { peer, activity },
        }
    }
}

async fn pass_on<S>(inner: &mut S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let Ok(inner) = inner.ready().await;
    let Ok(answer) = inner.call(request).await;
    answer
}
