//! The four steps of a reset. Each rpc has a file: the fields of its message, its body for the API, and the reading of the
//! response. `rpc.rs` has the method and the path.

mod generate_token;
mod get_secret_question;
mod reset_password;
mod update_password;
pub(crate) mod validate;

use http::HeaderValue;
use uuid::Uuid;

use self::validate::Validated;
pub(crate) use self::{
    generate_token::{generate_etna_token, generate_token},
    get_secret_question::get_secret_question,
    reset_password::reset_password,
    update_password::update_password,
};
use crate::{
    attempt_limiter::{Attempt, AttemptLimiter, CallerId},
    call::Call,
    envelope::{ApiError, ApiResponse},
    error::Error,
    rpc::Rpc,
    upstream::{ApiRequest, Payload, Upstream},
};

/// What a step needs to send its request.
#[derive(Debug)]
pub(crate) struct StepContext<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) attempt_limiter: &'a AttemptLimiter,
    pub(crate) caller: CallerId,
    pub(crate) call: &'a Call,
    pub(crate) app_key: HeaderValue,
}

/// The REST request of one call, and how its response is read. A step is made from a validated message.
pub(crate) struct Step<'a, T> {
    payload: Payload<'a>,
    /// Its values must not appear in an error.
    validated: Validated,
    /// The guesses and resets that the call makes, which are limited.
    attempts: Vec<Attempt<'a>>,
    /// Reads the API's response.
    parse: fn(&ApiResponse) -> Result<T, ApiError>,
}

impl<'a, T> Step<'a, T> {
    /// The id of a write that may be repeated.
    pub(crate) fn request_id(&self) -> Option<Uuid> {
        self.validated.request_id
    }

    /// What the API is sent.
    pub(crate) fn payload(&self) -> &Payload<'a> {
        &self.payload
    }

    /// Sends the REST request, once the limits on attempts allow it, and reads the response.
    ///
    /// # Errors
    ///
    /// As [`AttemptLimiter::limit`] and [`Upstream::send`], or the API's error.
    pub(crate) async fn run(self, context: &StepContext<'_>) -> Result<T, Error> {
        let request = ApiRequest {
            call: context.call,
            app_key: &context.app_key,
            payload: self.payload,
        };
        let send = async || {
            let response = context
                .upstream
                .send(&request, self.validated.values)
                .await?;
            (self.parse)(&response).map_err(Error::Api)
        };
        let (limiter, caller) = (context.attempt_limiter, context.caller);
        let limited = limiter.limit(&self.attempts, caller, context.call, send);
        limited.await
    }
}

/// Reads a response without a call, for `explain` and for tests.
///
/// # Errors
///
/// The API's error, if the response is not a success.
pub(crate) fn parse(rpc: Rpc, response: &ApiResponse, answer_given: bool) -> Result<(), ApiError> {
    match rpc {
        Rpc::ResetPassword if answer_given => reset_password::parse(response).map(drop),
        Rpc::ResetPassword => reset_password::parse_without_answer(response).map(drop),
        Rpc::GetSecretQuestion => get_secret_question::parse(response).map(drop),
        Rpc::GenerateToken => generate_token::parse(response).map(drop),
        Rpc::UpdatePassword => update_password::parse(response).map(drop),
    }
}
