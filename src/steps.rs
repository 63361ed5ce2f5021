//! The four steps of a reset. Each file is one rpc: its REST body, its fields, and what the response
//! means.

mod context;
mod generate_token;
mod get_secret_question;
mod reset_password;
mod update_password;
mod validate;

pub(crate) use self::{
    context::StepContext, generate_token::generate_token, get_secret_question::get_secret_question,
    reset_password::reset_password, update_password::update_password,
};
use crate::{
    envelope::{ApiError, ApiResponse},
    rpc::Rpc,
};

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
