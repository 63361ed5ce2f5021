//! The four steps of a reset. Each file is one rpc: its REST body, its fields, and what the response
//! means.

mod generate_token;
mod get_secret_question;
mod reset_password;
mod update_password;
mod validate;

use std::sync::Arc;

use http::HeaderValue;

pub(crate) use self::{
    generate_token::generate_token, get_secret_question::get_secret_question,
    reset_password::reset_password, update_password::update_password,
};
use crate::{
    attempt_limiter::{AttemptLimiter, client_id::ClientId},
    call::Call,
    envelope::{ApiError, ApiResponse, RequestValues},
    error::Error,
    rpc::Rpc,
    upstream::{ApiRequest, Payload, Upstream},
};

/// What a step works with. It owns everything, so a step can outlive the request that started it.
#[derive(Debug)]
pub(crate) struct StepContext {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) attempt_limiter: Arc<AttemptLimiter>,
    pub(crate) client: ClientId,
    pub(crate) call: Arc<Call>,
    pub(crate) app_key: HeaderValue,
}

impl StepContext {
    /// Sends the REST request of the call's rpc and reads the response with `parse`.
    ///
    /// # Errors
    ///
    /// As [`Upstream::send`], and the API's error.
    async fn send<T>(
        &self,
        payload: Payload<'_>,
        values: RequestValues,
        parse: impl FnOnce(&ApiResponse) -> Result<T, ApiError>,
    ) -> Result<T, Error> {
        let (call, app_key) = (&*self.call, &self.app_key);
        let request = ApiRequest {
            call,
            app_key,
            payload,
        };
        let response = self.upstream.send(&request, values).await?;
        parse(&response).map_err(Error::Refused)
    }
}

/// Reads a response without a call, for `explain` and for tests.
///
/// # Errors
///
/// The API's error, if the response is not a success.
pub(crate) fn parse(rpc: Rpc, response: &ApiResponse, answer_given: bool) -> Result<(), ApiError> {
    match rpc {
        Rpc::ResetPassword => reset_password::parse(response, answer_given).map(drop),
        Rpc::GetSecretQuestion => get_secret_question::parse(response).map(drop),
        Rpc::GenerateToken => generate_token::parse(response).map(drop),
        Rpc::UpdatePassword => update_password::parse(response).map(drop),
    }
}
