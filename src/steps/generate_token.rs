//! Step 3: `POST /v1.0/users/password/reset/code`
//!
//! Exchanges the code from the mail for a token. A code names no user, so any caller may guess one of anybody's.

use serde::Serialize;

use crate::{
    envelope::{ApiError, ApiErrorKind, ApiResponse, SuccessRule, read},
    error::Error,
    proto::{GenerateTokenRequest, GenerateTokenResponse},
    upstream::Payload,
};

use super::{StepContext, validate::Fields};

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
    let values = Fields::default().required("code", code).check()?;
    let guess = async || {
        let response = context.send(Payload::json(&Body { code }), values).await?;
        parse(&response).map_err(Error::Refused)
    };
    let StepContext {
        attempt_limiter,
        client,
        call,
        ..
    } = &context;
    attempt_limiter.try_code(*client, call, guess).await
}

/// `Model` is the token; a success without one is none.
pub(super) fn parse(response: &ApiResponse) -> Result<GenerateTokenResponse, ApiError> {
    let token = read(response, SuccessRule::IsSucceed)?
        .string(response)?
        .filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| ApiError::bare(ApiErrorKind::Malformed, response))?;
    Ok(GenerateTokenResponse { token })
}
