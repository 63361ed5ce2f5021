//! Step 2: `GET /v1.0/users/password/secret-question?username=…`
//!
//! Returns the question to ask the trader.

use super::{StepContext, validate::Validator};
use crate::{
    envelope::{ApiError, ApiResponse, SuccessRule, read},
    error::Error,
    proto::{GetSecretQuestionRequest, GetSecretQuestionResponse},
    upstream::Payload,
};

pub(crate) async fn get_secret_question(
    context: StepContext,
    request: GetSecretQuestionRequest,
) -> Result<GetSecretQuestionResponse, Error> {
    let username = request.username.as_str();
    let values = Validator::default().field("username", username).finish()?;
    let payload = Payload::Query("username", username);
    context.send(payload, values, parse).await
}

/// `Model` is the question. It is empty if the account has none.
pub(super) fn parse(response: &ApiResponse) -> Result<GetSecretQuestionResponse, ApiError> {
    let question = read(response, SuccessRule::IsSucceed)?.string(response)?;
    Ok(GetSecretQuestionResponse {
        secret_question: question.filter(|question| !question.is_empty()),
    })
}
