//! Step 1: `POST /v1.0/users/password/reset`
//!
//! Has a confirmation code mailed to the trader. Whether the secret question must be answered is learned by trying
//! without: the API sends the same `ErrorIncorrectAnswer` for an answer that is missing and for one that is wrong.

use serde::Serialize;

use crate::{
    envelope::{ApiError, ApiErrorKind, ApiResponse, SuccessRule, read},
    error::Error,
    proto::{ResetPasswordRequest, ResetPasswordResponse},
    upstream::Payload,
};

use super::{StepContext, validate::Fields};

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
    let values = Fields::default()
        .required("user", user)
        .optional("secret_question_answer", secret_question_answer)
        .check()?;
    let reset = async || {
        let response = context
            .send(
                Payload::json(&Body {
                    user,
                    secret_question_answer,
                }),
                values,
            )
            .await?;
        parse(&response, secret_question_answer.is_some()).map_err(Error::Refused)
    };
    match secret_question_answer {
        Some(_) => {
            let StepContext {
                attempt_limiter,
                call,
                ..
            } = &context;
            attempt_limiter.try_answer(user, call, reset).await
        }
        None => reset().await,
    }
}

/// Success is an empty `Errors`: the documented body of a call that worked says `"IsSucceed": false`.
pub(super) fn parse(
    response: &ApiResponse,
    answer_given: bool,
) -> Result<ResetPasswordResponse, ApiError> {
    match read(response, SuccessRule::NoErrors) {
        Ok(_) => Ok(ResetPasswordResponse {}),
        Err(refusal) if refusal.kind == ApiErrorKind::IncorrectAnswer && !answer_given => {
            Err(ApiError {
                kind: ApiErrorKind::AnswerRequired,
                ..refusal
            })
        }
        Err(refusal) => Err(refusal),
    }
}
