//! Step 3: `POST /v1.0/users/password/reset/code`, in newer releases `POST /v1.0/users/identifiers/reset/code`
//!
//! Exchanges the code from the mail for a token. A code names no user, so a guess may hit any user's.

use super::{Step, validate::Validator};
use crate::{
    attempt_limiter::Attempt,
    envelope::{ApiError, ApiErrorKind, ApiResponse, read_text},
    error::Error,
    proto::{GenerateTokenRequest, GenerateTokenResponse},
    upstream::Payload,
};

pub(crate) fn generate_token(
    request: &GenerateTokenRequest,
) -> Result<Step<'_, GenerateTokenResponse>, Error> {
    step(request, &[("Code", &request.code)])
}

/// For newer releases, which ask what the token is for.
pub(crate) fn generate_etna_token(
    request: &GenerateTokenRequest,
) -> Result<Step<'_, GenerateTokenResponse>, Error> {
    let purpose = ("Identifier", "ResetPassword");
    step(request, &[("Code", &request.code), purpose])
}

fn step<'a>(
    request: &'a GenerateTokenRequest,
    members: &[(&str, &str)],
) -> Result<Step<'a, GenerateTokenResponse>, Error> {
    Ok(Step {
        validated: Validator::default()
            .field("code", Some(&request.code))
            .request_id(request.request_id.as_deref())
            .finish()?,
        payload: Payload::json(members),
        attempts: vec![Attempt::Code],
        parse,
    })
}

/// `Model` is the token. A success without one, or with one that could not be decoded, is malformed.
pub(super) fn parse(response: &ApiResponse) -> Result<GenerateTokenResponse, ApiError> {
    let token = read_text(response)?.filter(|it| !it.contains(char::REPLACEMENT_CHARACTER));
    let token =
        token.ok_or_else(|| ApiError::without_details(ApiErrorKind::Malformed, response))?;
    Ok(GenerateTokenResponse { token })
}
