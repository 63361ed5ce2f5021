//! The layer around every call of our rpcs: each gets its span, its deadline, a place among the calls in flight, and an answer
//! even when its handler panics.

use std::{
    convert::Infallible,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use http::{HeaderName, Request, Response};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body};
use tower::{Service, ServiceExt};

use super::{
    crowd::Activity,
    grpc::code_of,
    message,
    resets::Begun,
    waits::{Wait, Waits},
};
use crate::{
    app_key::KeyOwner,
    call::{Call, CallRecord, budget},
    connect_info::ConnectInfo,
    error::Error,
    rpc::Rpc,
    status::Classification,
    telemetry::call_log::CallObserver,
};

/// What all calls share, on whichever listener they come in.
#[derive(Clone, Debug)]
pub(crate) struct Calls(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    timeout: Duration,
    in_flight: Arc<Semaphore>,
    /// Calls whose message is not all here.
    arriving: Waits,
    /// Answers that are not taken, watches and reflection among them.
    leaving: Waits,
    stop: CancellationToken,
    key: KeyOwner,
    observer: CallObserver,
}

/// How many streams may wait for their peers at a time, on all connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Calls for the rest of their message; each may hold as much as the longest message has.
    pub(crate) arriving: usize,
    /// Answers to be taken.
    pub(crate) leaving: usize,
}

impl Calls {
    /// Calls that may take `timeout` each, as many at a time as `in_flight` has places, and are given up when `stop` is
    /// cancelled.
    pub(crate) fn new(
        timeout: Duration,
        in_flight: Arc<Semaphore>,
        patience: Patience,
        stop: CancellationToken,
        key: KeyOwner,
        observer: CallObserver,
    ) -> Self {
        let (arriving, leaving) = (Waits::new(patience.arriving), Waits::new(patience.leaving));
        Self(Arc::new(Shared {
            timeout,
            in_flight,
            arriving,
            leaving,
            stop,
            key,
            observer,
        }))
    }
}

/// The connection that calls come from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) peer: ConnectInfo,
    pub(super) activity: Arc<Activity>,
}

impl Shared {
    /// An answer that is there for its peer to take.
    pub(super) fn leaving(&self, origin: &Origin) -> Wait {
        self.leaving.begin(&origin.activity)
    }

    /// A call, which is measured when it has ended, and logged when its answer has left.
    ///
    /// A request is large, and each function that took it would keep room for it in its future: so they are lent it.
    pub(super) async fn observe<S>(
        &self,
        request: &mut Request<Body>,
        inner: &mut S,
        origin: &Origin,
        arrival: Instant,
    ) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        if self.stop.is_cancelled() {
            // Not observed: by now the last spans may be on their way.
            return self.refuse(
                &Error::ShuttingDown { sent: false },
                false,
                &CallRecord::default(),
            );
        }
        let rpc = Rpc::by_path(request.uri().path());
        let observed = self
            .observer
            .begin(rpc, request.headers(), origin.peer, arrival.into_std());
        let answer = match rpc {
            Some(rpc) => {
                let budget = budget(request.headers(), self.timeout);
                let call = Arc::new(Call {
                    rpc,
                    client: origin.peer,
                    deadline: arrival + budget,
                    is_shortened: budget < self.timeout,
                    trace: observed.context().clone(),
                    shutdown: self.stop.clone(),
                    record: Arc::clone(observed.record()),
                });
                request.extensions_mut().insert(Arc::clone(&call));
                self.take(inner, request, &call, &origin.activity, arrival)
                    .await
            }
            // tonic would say so too, but without details.
            None => {
                origin.activity.given_up();
                self.refuse(
                    &Error::Undecodable(Code::Unimplemented),
                    false,
                    observed.record(),
                )
            }
        };
        observed.finish(code_of(&answer));
        answer
    }

    /// Finds the call a place among those in flight when its message is here: a caller that is slow to send it must not take
    /// the place of one that is not. Nor is a call refused before: h2 takes what still comes of it for an error, of which it
    /// forgives a connection 1024 before it ends it, with all the calls that it has.
    async fn take<S>(
        &self,
        inner: &mut S,
        request: &mut Request<Body>,
        call: &Call,
        activity: &Arc<Activity>,
        arrival: Instant,
    ) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let begun = Begun::new(activity, &call.record, arrival);
        let read = self.read(request, call, activity).await;
        let is_broken_off = message::is_broken_off(&read);
        let answer = match read {
            Ok(()) => self.admit(inner, request, call, activity).await,
            Err(error) => self.refuse_call(&error, call),
        };
        if !is_broken_off {
            begun.answered();
        }
        answer
    }

    /// Passes the call on, if there is a place for it.
    async fn admit<S>(
        &self,
        inner: &mut S,
        request: &mut Request<Body>,
        call: &Call,
        activity: &Arc<Activity>,
    ) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let _open = activity.request();
        let Ok(inner) = inner.ready().await;
        match catch_unwind(AssertUnwindSafe(|| inner.call(mem::take(request)))) {
            Ok(answer) => self.answer(answer, call).await,
            Err(_panic) => self.panicked(call),
        }
    }

    /// Waits until the request's message is here.
    async fn read(
        &self,
        request: &mut Request<Body>,
        call: &Call,
        activity: &Arc<Activity>,
    ) -> Result<(), Error> {
        let _wait = self.arriving.begin(activity);
        tokio::select! {
            biased;
            result = message::read(request.body_mut()) => result,
            error = call.end() => Err(error),
        }
    }

    /// The handler's answer; or, if it has none in time or at all, one in its place.
    async fn answer(
        &self,
        answer: impl Future<Output = Result<Response<Body>, Infallible>>,
        call: &Call,
    ) -> Response<Body> {
        tokio::select! {
            // The handler keeps the deadline itself, and knows more when it passes. This one is only for what it may miss.
            biased;
            result = AssertUnwindSafe(answer).catch_unwind() => match result {
                Ok(Ok(response)) => self.with_details(response, call),
                Ok(Err(never)) => match never {},
                Err(_panic) => self.panicked(call),
            },
            error = call.end() => self.refuse_call(&error, call),
        }
    }

    fn panicked(&self, call: &Call) -> Response<Body> {
        self.refuse_call(
            &Error::Panicked {
                sent: call.record.abandon(),
            },
            call,
        )
    }

    fn refuse_call(&self, error: &Error, call: &Call) -> Response<Body> {
        self.refuse(error, call.rpc.only_reads(), &call.record)
    }

    fn refuse(&self, error: &Error, only_reads: bool, record: &CallRecord) -> Response<Body> {
        let verdict = Classification::of(error, only_reads, self.key);
        record.failed(verdict, self.key, error);
        verdict.status(error).into_http()
    }

    /// Replaces a status that tonic made by itself, when it could not read the request, by one with details.
    fn with_details(&self, response: Response<Body>, call: &Call) -> Response<Body> {
        match response.extensions().get::<Status>() {
            Some(status) if status.details().is_empty() => {
                let mut refusal = self.refuse_call(&Error::Undecodable(status.code()), call);
                // What the caller could have compressed its message with.
                const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");
                refusal.headers_mut().extend(
                    response
                        .headers()
                        .get(ACCEPTED)
                        .map(|value| (ACCEPTED, value.clone())),
                );
                refusal
            }
            _ => response,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Version, header};
    use http_body_util::Full;
    use tonic_types::StatusExt;
    use tower::service_fn;

    use super::*;
    use crate::server::crowd::Crowd;

    /// The answer of a handler behind the layer to a gRPC call of step 4.
    async fn answer_of<S>(handler: S) -> Status
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let observer = CallObserver::without_export();
        let places = Arc::new(Semaphore::new(1));
        let patience = Patience {
            arriving: 1,
            leaving: 1,
        };
        let stop = CancellationToken::new();
        let calls = Calls::new(
            Duration::from_secs(10),
            places,
            patience,
            stop,
            KeyOwner::Gateway,
            observer,
        );
        let activity = Arc::clone(&Crowd::new(1).enter().unwrap().activity);
        let service = calls.around(
            handler.clone(),
            handler,
            ConnectInfo::Unix { uid: None },
            activity,
        );
        // Twice: the first call must have given its place back, however it ended.
        let _ = service.clone().oneshot(update_password()).await;
        let answer = service.oneshot(update_password()).await.unwrap();
        Status::from_header_map(answer.headers()).unwrap_or(Status::ok(""))
    }

    fn update_password() -> Request<Body> {
        let path = format!("http://gateway/{}", Rpc::UpdatePassword.full_name());
        let request = Request::post(path)
            .version(Version::HTTP_2)
            .header(header::CONTENT_TYPE, "application/grpc");
        request
            .body(Body::new(Full::new(Bytes::from_static(&[0; 5]))))
            .unwrap()
    }

    #[tokio::test]
    async fn a_panic_is_internal_with_the_outcome_as_far_as_it_is_known() {
        for (sent, outcome) in [(false, "not_sent"), (true, "unknown")] {
            let status = answer_of(service_fn(move |request: Request<Body>| async move {
                let call = request.extensions().get::<Arc<Call>>().unwrap();
                if sent {
                    assert!(call.record.send());
                }
                panic!("as a bug would")
            }))
            .await;
            assert_eq!(status.code(), Code::Internal);
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.reason, "GATEWAY_FAILED");
            assert_eq!(
                (
                    info.metadata["fault"].as_str(),
                    info.metadata["outcome"].as_str()
                ),
                ("gateway", outcome)
            );
        }
    }

    #[tokio::test]
    async fn a_success_is_passed_on() {
        let status = answer_of(service_fn(async |_: Request<Body>| {
            Ok(Response::new(Body::empty()))
        }))
        .await;
        assert_eq!(status.code(), Code::Ok);
    }
}
