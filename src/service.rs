//! The gRPC service: four one-line handlers over one `call`.

mod run_to_end;

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use http::HeaderValue;
use prost::Message;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use self::run_to_end::run_to_end;
use crate::{
    app_key::AppKeys,
    attempt_limiter::AttemptLimiter,
    call::Call,
    envelope::ApiErrorKind,
    error::Error,
    proto::{self, password_reset_service_server::PasswordResetService},
    readiness::Readiness,
    request_ids::RequestIds,
    rpc::UpstreamRelease,
    steps::{self, Step, StepContext},
    subject_hash::{AuditKey, HasSubject},
    upstream::Upstream,
};

/// The state that the handlers of all calls share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) upstream_release: UpstreamRelease,
    pub(crate) app_keys: AppKeys,
    pub(crate) attempt_limiter: AttemptLimiter,
    pub(crate) request_ids: RequestIds,
    pub(crate) readiness: Readiness,
    /// Without it, nothing in the log tells users apart.
    pub(crate) audit_key: Option<AuditKey>,
}

#[tonic::async_trait]
impl PasswordResetService for Arc<Service> {
    async fn reset_password(
        &self,
        request: Request<proto::ResetPasswordRequest>,
    ) -> Result<Response<proto::ResetPasswordResponse>, Status> {
        self.call(request, steps::reset_password).await
    }

    async fn get_secret_question(
        &self,
        request: Request<proto::GetSecretQuestionRequest>,
    ) -> Result<Response<proto::GetSecretQuestionResponse>, Status> {
        self.call(request, steps::get_secret_question).await
    }

    async fn generate_token(
        &self,
        request: Request<proto::GenerateTokenRequest>,
    ) -> Result<Response<proto::GenerateTokenResponse>, Status> {
        let step = match self.upstream_release {
            UpstreamRelease::AutoShares => steps::generate_token,
            UpstreamRelease::Etna => steps::generate_etna_token,
        };
        self.call(request, step).await
    }

    async fn update_password(
        &self,
        request: Request<proto::UpdatePasswordRequest>,
    ) -> Result<Response<proto::UpdatePasswordResponse>, Status> {
        self.call(request, steps::update_password).await
    }
}

/// Makes the step of an rpc from its message.
type MakeStep<Req, Res> = for<'a> fn(&'a Req) -> Result<Step<'a, Res>, Error>;

impl Service {
    /// Runs a step for a call, and turns its error into a status. A panic of the step is an error too,
    /// so that the caller learns the outcome.
    async fn call<Req, Res>(
        self: &Arc<Self>,
        mut request: Request<Req>,
        make_step: MakeStep<Req, Res>,
    ) -> Result<Response<Res>, Status>
    where
        Req: HasSubject + Send + Sync + 'static,
        Res: HasSubject + Message + Default + 'static,
    {
        let call: Arc<Call> = request
            .extensions_mut()
            .remove()
            .expect("the call layer is around every rpc");
        let (service, work_call) = (Arc::clone(self), Arc::clone(&call));
        // Boxed here, because it is some kilobytes long: each function that took it by value would copy it.
        let work = Box::pin(async move {
            AssertUnwindSafe(service.work(&request, make_step, &work_call))
                .catch_unwind()
                .await
                .unwrap_or_else(|_panic| {
                    work_call.record.cancel();
                    let sent = work_call.record.may_be_seen();
                    Err(Error::Panicked { sent }.into())
                })
        });
        let result = run_to_end(Arc::clone(&call), work).await;
        result.map(Response::new).map_err(|error| call.fail(&error))
    }

    /// Makes the step of a call and runs it: once for all calls with the same id.
    async fn work<Req, Res>(
        &self,
        request: &Request<Req>,
        make_step: MakeStep<Req, Res>,
        call: &Call,
    ) -> Result<Res, Arc<Error>>
    where
        Req: HasSubject,
        Res: HasSubject + Message + Default,
    {
        let context = self.context(request.metadata(), call)?;
        let step = make_step(request.get_ref())?;
        self.record_subject(call, request.get_ref());
        let id = step.request_id().map(|id| {
            let callers_key = matches!(self.app_keys, AppKeys::Callers).then_some(&context.app_key);
            let content = (step.payload(), callers_key, context.caller);
            self.request_ids.identify(call.rpc, id, content)
        });
        let send = async || self.record_key_result(&context.app_key, step.run(&context).await);
        let response = match id {
            Some(id) => self.request_ids.send_once(id, call, send).await?,
            None => send().await?,
        };
        self.record_subject(call, &response);
        Ok(response)
    }

    /// Records whom the message is about, for the call's log line.
    fn record_subject(&self, call: &Call, message: &impl HasSubject) {
        if let (Some(key), Some(subject)) = (&self.audit_key, message.subject()) {
            call.record.set_subject(key.hash(subject));
        }
    }

    fn context<'a>(
        &'a self,
        metadata: &MetadataMap,
        call: &'a Call,
    ) -> Result<StepContext<'a>, Error> {
        let app_key = self.app_keys.of_call(metadata).ok_or(Error::KeyMissing)?;
        Ok(StepContext {
            upstream: &self.upstream,
            attempt_limiter: &self.attempt_limiter,
            caller: self.attempt_limiter.caller_id(metadata, &call.caller),
            call,
            app_key,
        })
    }

    /// Updates readiness from the response, which shows whether the gateway's own key is accepted. If
    /// callers send their keys, a rejection is theirs to act on.
    fn record_key_result<T>(
        &self,
        key: &HeaderValue,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        let AppKeys::Gateway(current) = &self.app_keys else {
            return result.map_err(Error::with_callers_key);
        };
        match &result {
            // The key has changed since the call was sent.
            _ if *current.borrow() != *key => {}
            Ok(_) => self.readiness.clear_key_rejection(),
            Err(Error::Api(error)) if error.kind == ApiErrorKind::KeyRejected => {
                self.readiness.key_rejected();
            }
            Err(Error::Api(error)) if error.is_from_api => self.readiness.clear_key_rejection(),
            // It may have come from a proxy, which knows no keys.
            Err(_) => {}
        }
        result
    }
}
