//! Step 3: `POST /v1.0/users/password/reset/code`
//!
//! Exchanges the code from the mail for a token. A code names no user, so a guess may hit anybody's.

use serde::Serialize;

use super::{StepContext, validate::Validator};
use crate::{
    attempt_limiter::Guess,
    envelope::{ApiError, ApiErrorKind, ApiResponse, SuccessRule, read},
    error::Error,
    proto::{GenerateTokenRequest, GenerateTokenResponse},
    upstream::Payload,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    code: &'a str,
}

pub(crate) async fn generate_token(
    context: StepContext,
    request: GenerateTokenRequest,
) -> Result<GenerateTokenResponse, Error> {
    let code = request.code.as_str();
    let values = Validator::default().field("code", code).finish()?;
    let payload = Payload::json(&Body { code });
    let attempt = async || context.send(payload, values, parse).await;
    let (limiter, guess) = (&context.attempt_limiter, Guess::Code(context.client));
    limiter.limit(guess, &context.call, attempt).await
}

/// `Model` is the token. A success without one is malformed.
pub(super) fn parse(response: &ApiResponse) -> Result<GenerateTokenResponse, ApiError> {
    let token = read(response, SuccessRule::IsSucceed)?
        .string(response)?
        .filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| ApiError::bare(ApiErrorKind::Malformed, response))?;
    Ok(GenerateTokenResponse { token })
}
