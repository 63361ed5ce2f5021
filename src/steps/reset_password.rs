//! Step 1: `POST /v1.0/users/password/reset`
//!
//! Has a confirmation code mailed to the trader. Whether the secret question must be answered shows
//! only when a caller tries without: the API sends the same `ErrorIncorrectAnswer` for a missing
//! answer and for a wrong one.

use serde::Serialize;

use super::{StepContext, validate::Validator};
use crate::{
    attempt_limiter::Guess,
    envelope::{ApiError, ApiErrorKind, ApiResponse, SuccessRule, read},
    error::Error,
    proto::{ResetPasswordRequest, ResetPasswordResponse},
    upstream::Payload,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_question_answer: Option<&'a str>,
}

pub(crate) async fn reset_password(
    context: StepContext,
    request: ResetPasswordRequest,
) -> Result<ResetPasswordResponse, Error> {
    let user = request.user.as_str();
    let secret_question_answer = request.secret_question_answer.as_deref();
    let values = Validator::default()
        .field("user", user)
        .field("secret_question_answer", secret_question_answer)
        .finish()?;
    let answer_given = secret_question_answer.is_some();
    let payload = Payload::json(&Body {
        user,
        secret_question_answer,
    });
    let parse = |response: &_| parse(response, answer_given);
    let attempt = async || context.send(payload, values, parse).await;
    if answer_given {
        let (limiter, guess) = (&context.attempt_limiter, Guess::Answer(user));
        limiter.limit(guess, &context.call, attempt).await
    } else {
        attempt().await
    }
}

/// Success is an empty `Errors`: the documented body of a call that worked says `"IsSucceed": false`.
pub(super) fn parse(
    response: &ApiResponse,
    answer_given: bool,
) -> Result<ResetPasswordResponse, ApiError> {
    let result = read(response, SuccessRule::NoErrors);
    result
        .map(|_| ResetPasswordResponse {})
        .map_err(|mut error| {
            if error.kind == ApiErrorKind::IncorrectAnswer && !answer_given {
                error.kind = ApiErrorKind::AnswerRequired;
            }
            error
        })
}
