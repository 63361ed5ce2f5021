//! Step 3: `POST /v1.0/users/password/reset/code`
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
    let code = request.code.as_str();
    Ok(Step {
        validated: Validator::default()
            .field("code", Some(code))
            .request_id(request.request_id.as_deref())
            .finish()?,
        payload: Payload::json(&[("Code", code)]),
        attempts: vec![Attempt::Code],
        parse,
    })
}

/// `Model` is the token. A success without one is malformed.
pub(super) fn parse(response: &ApiResponse) -> Result<GenerateTokenResponse, ApiError> {
    let token = read_text(response)?;
    let token =
        token.ok_or_else(|| ApiError::without_details(ApiErrorKind::Malformed, response))?;
    Ok(GenerateTokenResponse { token })
}
