//! Step 1: `POST /v1.0/users/password/reset`
//!
//! Has a confirmation code mailed to the trader. Only a call without an answer shows whether the secret
//! question must be answered: the API sends the same `ErrorIncorrectAnswer` for a missing answer and
//! for a wrong one.

use super::{Step, validate::Validator};
use crate::{
    attempt_limiter::Attempt,
    envelope::{ApiError, ApiErrorKind, ApiResponse, SuccessRule, read},
    error::Error,
    proto::{ResetPasswordRequest, ResetPasswordResponse},
    upstream::Payload,
};

pub(crate) fn reset_password(
    request: &ResetPasswordRequest,
) -> Result<Step<'_, ResetPasswordResponse>, Error> {
    let user = request.user.as_str();
    let answer = request.secret_question_answer.as_deref();
    let mut members = vec![("User", user)];
    members.extend(answer.map(|answer| ("SecretQuestionAnswer", answer)));
    let mut attempts = vec![Attempt::Reset(user)];
    attempts.extend(answer.map(|_| Attempt::Answer(user)));
    Ok(Step {
        validated: Validator::default()
            .field("user", Some(user))
            .field("secret_question_answer", answer)
            .request_id(request.request_id.as_deref())
            .finish()?,
        payload: Payload::json(&members),
        attempts,
        parse: match answer {
            Some(_) => parse,
            None => parse_without_answer,
        },
    })
}

/// Success is an empty `Errors`: the documented body of a call that worked says `"IsSucceed": false`.
pub(super) fn parse(response: &ApiResponse) -> Result<ResetPasswordResponse, ApiError> {
    read(response, SuccessRule::NoErrors).map(|()| ResetPasswordResponse {})
}

/// Reads the response to a call without an answer. The API reports the missing answer as an incorrect one.
pub(super) fn parse_without_answer(
    response: &ApiResponse,
) -> Result<ResetPasswordResponse, ApiError> {
    parse(response).map_err(|mut error| {
        if error.kind == ApiErrorKind::IncorrectAnswer {
            error.kind = ApiErrorKind::AnswerRequired;
        }
        error
    })
}
