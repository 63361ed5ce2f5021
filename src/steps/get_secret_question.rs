//! Step 2: `GET /v1.0/users/password/secret-question?username=…`
//!
//! Returns the question to ask the trader.

use super::{Step, validate::Validator};
use crate::{
    envelope::{ApiError, ApiResponse, read_text},
    error::Error,
    proto::{GetSecretQuestionRequest, GetSecretQuestionResponse},
    upstream::Payload,
};

pub(crate) fn get_secret_question(
    GetSecretQuestionRequest { username }: &GetSecretQuestionRequest,
) -> Result<Step<'_, GetSecretQuestionResponse>, Error> {
    Ok(Step {
        validated: Validator::default()
            .field("username", Some(username))
            .finish()?,
        payload: Payload::Query("username", username),
        attempts: Vec::new(),
        parse,
    })
}

/// `Model` is the question. It is empty if the account has none.
pub(super) fn parse(response: &ApiResponse) -> Result<GetSecretQuestionResponse, ApiError> {
    let secret_question = read_text(response)?;
    Ok(GetSecretQuestionResponse { secret_question })
}
