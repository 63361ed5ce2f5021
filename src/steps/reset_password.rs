//! Step 1: `POST /v1.0/users/password/reset`
//!
//! Has a confirmation code mailed to the trader. Whether the secret question must be answered is learned by trying
//! without: the API sends the same `ErrorIncorrectAnswer` for an answer that is missing and for one that is wrong.

use serde::Serialize;

use crate::{
    envelope::{Answer, Cause, Dialect, Refusal, read},
    error::Error,
    proto::{ResetPasswordRequest, ResetPasswordResponse},
    rest::{Api, Payload},
};

use super::fields::Fields;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_question_answer: Option<&'a str>,
}

pub(crate) async fn reset_password(
    api: &Api<'_>,
    request: ResetPasswordRequest,
) -> Result<ResetPasswordResponse, Error> {
    let user = request.user.as_str();
    let secret_question_answer = request.secret_question_answer.as_deref();
    let values = Fields::default()
        .required("user", user)
        .optional("secret_question_answer", secret_question_answer)
        .check()?;
    let reset = async || {
        let answer = api
            .send(
                Payload::json(&Body {
                    user,
                    secret_question_answer,
                }),
                values,
            )
            .await?;
        verdict(&answer, secret_question_answer.is_some()).map_err(Error::Refused)
    };
    match secret_question_answer {
        Some(_) => api.attempts.of_answer(user, reset).await,
        None => reset().await,
    }
}

/// Success is an empty `Errors`: the documented body of a call that worked says `"IsSucceed": false`.
pub(super) fn verdict(
    answer: &Answer,
    answer_given: bool,
) -> Result<ResetPasswordResponse, Refusal> {
    match read(answer, Dialect::Reset) {
        Ok(_) => Ok(ResetPasswordResponse {}),
        Err(refusal) if refusal.cause == Cause::IncorrectAnswer && !answer_given => Err(Refusal {
            cause: Cause::AnswerRequired,
            ..refusal
        }),
        Err(refusal) => Err(refusal),
    }
}
