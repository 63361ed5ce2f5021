//! Step 3: `POST /v1.0/users/password/reset/code`, in newer releases `POST /v1.0/users/identifiers/reset/code`
//!
//! Exchanges the code from the mail for a token. A code names no user, so a guess may hit any user's.

use super::{Step, validate::Validator};
use crate::{
    attempt_limiter::Guess,
    envelope::{ApiError, ApiErrorKind, ApiResponse, read_text},
    error::Error,
    proto::{GenerateTokenRequest, GenerateTokenResponse},
    rpc::UpstreamRelease,
    upstream::Payload,
};

pub(crate) fn generate_token(
    GenerateTokenRequest { code }: &GenerateTokenRequest,
    release: UpstreamRelease,
) -> Result<Step<'_, GenerateTokenResponse>, Error> {
    let mut members = vec![("Code", code.as_str())];
    if release == UpstreamRelease::Etna {
        // What the token is for.
        members.push(("Identifier", "ResetPassword"));
    }
    Ok(Step {
        values: Validator::default().field("code", Some(code)).finish()?,
        payload: Payload::json(&members),
        guess: Some(Guess::Code),
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
