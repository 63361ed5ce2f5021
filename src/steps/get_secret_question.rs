//! Step 2: `GET /v1.0/users/password/secret-question?username=…`
//!
//! Returns the question to put to the trader.

use crate::{
    envelope::{ApiError, ApiResponse, SuccessRule, read},
    error::Error,
    proto::{GetSecretQuestionRequest, GetSecretQuestionResponse},
    upstream::Payload,
};

use super::{StepContext, validate::Fields};

pub(crate) async fn get_secret_question(
    context: StepContext,
    request: GetSecretQuestionRequest,
) -> Result<GetSecretQuestionResponse, Error> {
    let username = request.username.as_str();
    let values = Fields::default().required("username", username).check()?;
    let response = context
        .send(Payload::Query("username", username), values)
        .await?;
    parse(&response).map_err(Error::Refused)
}

/// An empty `Model` means that the account has no question.
pub(super) fn parse(response: &ApiResponse) -> Result<GetSecretQuestionResponse, ApiError> {
    let question = read(response, SuccessRule::IsSucceed)?.string(response)?;
    Ok(GetSecretQuestionResponse {
        secret_question: question.filter(|question| !question.is_empty()),
    })
}
