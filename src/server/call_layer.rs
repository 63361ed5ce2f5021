//! The layer around every call: it refuses requests that are not gRPC and calls that the policy does not allow. To each call
//! of our rpcs it adds a deadline, a span, a metric, a log line and status details.

use std::{
    convert::Infallible,
    future::pending,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, body::Body};
use tower::{BoxError, Service};

use super::{
    authorization::{Authorization, authorize, authorize_unobserved},
    connection_state::ConnectionState,
    grpc::{code_of, header_list_size, is_grpc, is_health_or_reflection, not_grpc},
    reading_limit::ReadingLimit,
};
use crate::{
    call::{Call, CallRecord, callers_timeout, time_budget},
    connect_info::ConnectInfo,
    error::Error,
    rpc::Rpc,
    telemetry::call_observer::{CallObservation, CallObserver},
};

/// The most metadata that a call may have, in bytes as HTTP/2 counts them.
const MAX_METADATA: usize = 16 * 1024;
/// How long the rest of a message is waited for when its call is refused early.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of the layer, shared by all connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) timeout: Duration,
    pub(super) reading: ReadingLimit,
    /// The calls that have not ended: without a response yet, or writes that go on after they were cancelled.
    pub(super) unfinished_calls: TaskTracker,
    /// Tells calls that the gateway cannot wait for them any longer.
    pub(super) shutdown: CancellationToken,
    /// Who may call what; `None` if every caller may make every call.
    pub(super) authorization: Option<Authorization>,
    pub(super) observer: CallObserver,
}

/// The services of one connection with the layer around them.
#[derive(Clone, Debug)]
pub(super) struct CallLayer<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) caller: ConnectInfo,
    pub(super) connection: Arc<ConnectionState>,
    pub(super) inner: S,
}

type ResponseFuture = BoxFuture<'static, Result<Response<Body>, Infallible>>;

impl<S> Service<Request<Incoming>> for CallLayer<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> ResponseFuture {
        if !is_grpc(&request) {
            return ready(not_grpc());
        }
        if is_health_or_reflection(request.uri().path()) {
            self.call_health_or_reflection(request)
        } else {
            self.call_rpc(request)
        }
    }
}

impl<S> CallLayer<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    /// Health and reflection: not observed, and bounded in number and in the time until the response begins.
    fn call_health_or_reflection(&mut self, request: Request<Incoming>) -> ResponseFuture {
        let shared = Arc::clone(&self.shared);
        if header_list_size(request.headers()) > MAX_METADATA {
            return ready(refuse_unobserved(&Error::TooMuchMetadata));
        }
        let Ok(permit) = Arc::clone(&self.connection.auxiliary_streams).try_acquire_owned() else {
            return ready(refuse_unobserved(&Error::Overloaded));
        };
        let authorization = shared.authorization.as_ref();
        let authorized = authorize_unobserved(authorization, &request, &self.caller);
        if let Err(error) = self.connection.check_trust().and(authorized) {
            return Box::pin(async move {
                let message = with_permit(permit, request.into_body());
                let never_displaced = Notify::new();
                discard(message, &never_displaced).await;
                Ok(refuse_unobserved(&error))
            });
        }
        let response = self.inner.call(request.map(Body::new));
        Box::pin(async move {
            Ok(match timeout(shared.timeout, response).await {
                Ok(Ok(response)) => response.map(|body| with_permit(permit, body)),
                Err(_) => refuse_unobserved(&Error::TimedOut { sent: false }),
            })
        })
    }

    /// One of the four rpcs, or one that does not exist.
    fn call_rpc(&mut self, request: Request<Incoming>) -> ResponseFuture {
        // The deadline counts from here, not from the first poll.
        let arrival = Instant::now();
        let (shared, caller) = (Arc::clone(&self.shared), &self.caller);
        if shared.shutdown.is_cancelled() {
            // Not observed: the last spans may be exported already, and this one would be lost.
            return ready(refuse_unobserved(&Error::ShuttingDown { sent: false }));
        }
        let running = self.connection.begin_call();
        let rpc = Rpc::by_path(request.uri().path());
        let mut observation =
            shared
                .observer
                .begin(rpc, request.headers(), caller, arrival.into_std());
        if header_list_size(request.headers()) > MAX_METADATA {
            // A response that is ready, not an async block, so that the metadata is freed now.
            return ready(observe_refusal(&Error::TooMuchMetadata, observation));
        }
        let (decision, authorized) = authorize(shared.authorization.as_ref(), &request, caller);
        observation.decision = decision;
        let authorized = self.connection.check_trust().and(authorized);
        let (permit, displaced) = shared.reading.begin();
        // tonic drops the body, and with it the permit, when it has read the message.
        let reading = (permit, self.connection.begin_reading());
        let mut request = request.map(|body| with_permit(reading, body));
        let rpc = match authorized.and(rpc.ok_or(Error::UnknownMethod)) {
            Ok(rpc) => rpc,
            Err(error) => {
                let running = (running, shared.unfinished_calls.token());
                return Box::pin(async move {
                    let _running = running;
                    discard(request.into_body(), &displaced).await;
                    Ok(observe_refusal(&error, observation))
                });
            }
        };
        let call = shared.new_call(rpc, caller, arrival, request.headers(), &observation);
        request.extensions_mut().insert(Arc::clone(&call));
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = respond(response, &call, &displaced).await;
            observation.set_response(code_of(&response));
            // Dropping the observation records the call: its span, its metrics and its log line. The response need not wait for
            // that, which saves 8 % of the added latency.
            tokio::spawn(async move {
                yield_now().await;
                drop((observation, running, call));
            });
            Ok(response)
        })
    }
}

impl Shared {
    /// The context of a call that has arrived.
    fn new_call(
        &self,
        rpc: Rpc,
        caller: &ConnectInfo,
        arrival: Instant,
        headers: &HeaderMap,
        observation: &CallObservation,
    ) -> Arc<Call> {
        let callers_timeout = callers_timeout(headers);
        let budget = time_budget(callers_timeout, self.timeout);
        let work_budget = match rpc.is_read_only() {
            true => budget,
            false => self.timeout,
        };
        Arc::new(Call {
            rpc,
            caller: caller.clone(),
            deadline: arrival + budget,
            callers_deadline: callers_timeout.map(|timeout| arrival + timeout),
            work_deadline: arrival + work_budget,
            trace: observation.span.clone(),
            shutdown: self.shutdown.clone(),
            _running: self.unfinished_calls.token(),
            record: Arc::clone(&observation.record),
        })
    }
}

/// The handler's response; or, if there is none in time, one in its place.
async fn respond(
    response: impl Future<Output = Result<Response<Body>, Infallible>>,
    call: &Call,
    displaced: &Notify,
) -> Response<Body> {
    tokio::select! {
        // If both complete at once, the handler's response wins. The deadline here also covers the time in which the message is
        // read, and ends the wait for a write that goes on.
        biased;
        response = response => {
            let Ok(response) = response;
            with_details(response, call)
        }
        error = call.until_cancelled() => call.fail(&error).into_http(),
        () = until_displaced(displaced, call) => call.fail(&Error::Overloaded).into_http(),
    }
}

/// Replaces a status that tonic made by itself, when it could not read the request, by one with details.
fn with_details(response: Response<Body>, call: &Call) -> Response<Body> {
    /// The compressions that the caller could have used.
    const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");
    match response.extensions().get::<Status>() {
        Some(status) if status.details().is_empty() => {
            let mut refusal = call.fail(&Error::Undecodable(status.code())).into_http();
            if let Some(accepted) = response.headers().get(ACCEPTED) {
                refusal.headers_mut().insert(ACCEPTED, accepted.clone());
            }
            refusal
        }
        _ => response,
    }
}

/// Refuses a call, and records it.
fn observe_refusal(error: &Error, mut observation: CallObservation) -> Response<Body> {
    let status = observation.record.fail(error, false, Duration::MAX);
    observation.set_response(status.code());
    status.into_http()
}

/// Refuses a call without a record of it.
fn refuse_unobserved(error: &Error) -> Response<Body> {
    CallRecord::default()
        .fail(error, false, Duration::MAX)
        .into_http()
}

fn ready(response: Response<Body>) -> ResponseFuture {
    Box::pin(std::future::ready(Ok(response)))
}

/// Completes when the reading limit displaces the call, and cancels it. Never completes if the call has been sent meanwhile.
async fn until_displaced(displaced: &Notify, call: &Call) {
    displaced.notified().await;
    call.record.cancel();
    if call.record.may_be_seen() {
        pending::<()>().await;
    }
}

/// The body, which holds the permit until it is dropped.
fn with_permit<P, B>(permit: P, body: B) -> Body
where
    P: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Body::new(body.map_frame(move |frame| {
        let _held = &permit;
        frame
    }))
}

/// Reads and discards the rest of a message, until [`DISCARD_TIMEOUT`] at most, or until the call is displaced. If the stream
/// ended first, h2 would count the remaining frames as connection errors.
async fn discard(mut message: Body, displaced: &Notify) {
    let end = async { while let Some(Ok(_)) = message.frame().await {} };
    tokio::select! {
        () = end => {}
        () = sleep(DISCARD_TIMEOUT) => {}
        () = displaced.notified() => {}
    }
}
