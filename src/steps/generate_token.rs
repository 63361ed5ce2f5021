//! Step 3: `POST /v1.0/users/password/reset/code`
//!
//! Exchanges the code from the mail for a token. A code names no user, so any caller may guess one of anybody's.

use serde::Serialize;

use crate::{
    envelope::{Answer, Cause, Dialect, Refusal, read},
    error::Error,
    proto::{GenerateTokenRequest, GenerateTokenResponse},
    rest::{Api, Payload},
};

use super::fields::Fields;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    code: &'a str,
}

pub(crate) async fn generate_token(
    api: &Api<'_>,
    request: GenerateTokenRequest,
) -> Result<GenerateTokenResponse, Error> {
    let code = request.code.as_str();
    let values = Fields::default().required("code", code).check()?;
    let guess = async || {
        let answer = api.send(Payload::json(&Body { code }), values).await?;
        verdict(&answer).map_err(Error::Refused)
    };
    api.attempts.of_code(guess).await
}

/// `Model` is the token; a success without one is none.
pub(super) fn verdict(answer: &Answer) -> Result<GenerateTokenResponse, Refusal> {
    let token = read(answer, Dialect::Common)?
        .string(answer)?
        .filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Refusal::bare(Cause::Malformed, answer))?;
    Ok(GenerateTokenResponse { token })
}
