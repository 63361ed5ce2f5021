//! The gRPC service: four one-line handlers over one helper.

use tonic::{Request, Response, Status};

use crate::{
    app_key::{AppKeys, Owner},
    call::Call,
    caller::Callers,
    envelope::Cause,
    error::Error,
    guard::Guard,
    proto::{
        GenerateTokenRequest, GenerateTokenResponse, GetSecretQuestionRequest,
        GetSecretQuestionResponse, ResetPasswordRequest, ResetPasswordResponse,
        UpdatePasswordRequest, UpdatePasswordResponse,
        password_reset_service_server::PasswordResetService,
    },
    readiness::Readiness,
    rest::{Api, Rest},
    status::Verdict,
    steps,
};

/// The service over the API that `rest` reaches.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) rest: Rest,
    pub(crate) keys: AppKeys,
    pub(crate) callers: Callers,
    pub(crate) guard: Guard,
    pub(crate) readiness: Readiness,
}

#[tonic::async_trait]
impl PasswordResetService for Service {
    async fn reset_password(
        &self,
        request: Request<ResetPasswordRequest>,
    ) -> Result<Response<ResetPasswordResponse>, Status> {
        self.answer(request, steps::reset_password).await
    }

    async fn get_secret_question(
        &self,
        request: Request<GetSecretQuestionRequest>,
    ) -> Result<Response<GetSecretQuestionResponse>, Status> {
        self.answer(request, steps::get_secret_question).await
    }

    async fn generate_token(
        &self,
        request: Request<GenerateTokenRequest>,
    ) -> Result<Response<GenerateTokenResponse>, Status> {
        self.answer(request, steps::generate_token).await
    }

    async fn update_password(
        &self,
        request: Request<UpdatePasswordRequest>,
    ) -> Result<Response<UpdatePasswordResponse>, Status> {
        self.answer(request, steps::update_password).await
    }
}

impl Service {
    /// Takes a step with the call's key and deadline, and tells its error as a status.
    ///
    /// Not an `async fn`: its future would keep room for the request, of which only the message is still needed.
    fn answer<Req, Res>(
        &self,
        mut request: Request<Req>,
        step: impl AsyncFnOnce(&Api<'_>, Req) -> Result<Res, Error>,
    ) -> impl Future<Output = Result<Response<Res>, Status>> {
        let call: Call = request
            .extensions_mut()
            .remove()
            .expect("the calls layer is around every rpc");
        let key = self.keys.of_call(request.metadata());
        let caller = self.callers.of_call(request.metadata(), call.peer);
        let message = request.into_inner();
        async move {
            let attempts = self.guard.attempts(caller, &call);
            let result = match key {
                Ok(key) => {
                    step(
                        &Api {
                            rest: &self.rest,
                            call: &call,
                            key,
                            attempts,
                        },
                        message,
                    )
                    .await
                }
                Err(error) => Err(error),
            };
            self.learn(&result);
            result
                .map(Response::new)
                .map_err(|error| self.tell(&error, &call))
        }
    }

    /// Whether the API accepts the gateway's own key is seen in every answer of its.
    fn learn<T>(&self, result: &Result<T, Error>) {
        match result {
            _ if self.keys.owner() == Owner::Caller => {}
            Err(Error::Refused(refusal)) if refusal.cause == Cause::KeyRejected => {
                self.readiness.key_rejected()
            }
            Ok(_) | Err(Error::Refused(_)) => self.readiness.key_works(),
            Err(_) => {}
        }
    }

    /// The status of an error, which is noted for those who watch the call.
    fn tell(&self, error: &Error, call: &Call) -> Status {
        let key = self.keys.owner();
        let verdict = Verdict::of(error, call.rpc.only_reads(), key);
        call.record.failed(verdict, key, error);
        verdict.status(error)
    }
}
