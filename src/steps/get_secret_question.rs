//! Step 2: `GET /v1.0/users/password/secret-question?username=…`
//!
//! Returns the question to put to the trader.

use crate::{
    envelope::{Answer, Dialect, Refusal, read},
    error::Error,
    proto::{GetSecretQuestionRequest, GetSecretQuestionResponse},
    rest::{Api, Payload},
};

use super::fields::Fields;

pub(crate) async fn get_secret_question(
    api: &Api<'_>,
    request: GetSecretQuestionRequest,
) -> Result<GetSecretQuestionResponse, Error> {
    let username = request.username.as_str();
    let values = Fields::default().required("username", username).check()?;
    let answer = api
        .send(Payload::Query("username", username), values)
        .await?;
    verdict(&answer).map_err(Error::Refused)
}

/// An empty `Model` means that the account has no question.
pub(super) fn verdict(answer: &Answer) -> Result<GetSecretQuestionResponse, Refusal> {
    let question = read(answer, Dialect::Common)?.string(answer)?;
    Ok(GetSecretQuestionResponse {
        secret_question: question.filter(|question| !question.is_empty()),
    })
}
