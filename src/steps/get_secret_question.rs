//! Step 2: `GET /v1.0/users/password/secret-question?username=…`
//!
//! Returns the question to ask the trader.

use super::{context::StepContext, validate::Validator};
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
    let values = Validator::default()
        .required("username", username)
        .finish()?;
    let payload = Payload::Query("username", username);
    let response = context.send(payload, values).await?;
    parse(&response).map_err(Error::Refused)
}

/// `Model` is the question. It is empty if the account has none.
pub(super) fn parse(response: &ApiResponse) -> Result<GetSecretQuestionResponse, ApiError> {
    let question = read(response, SuccessRule::IsSucceed)?.string(response)?;
    Ok(GetSecretQuestionResponse {
        secret_question: question.filter(|question| !question.is_empty()),
    })
}
