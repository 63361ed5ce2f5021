//! Step 4: `PUT /v1.0/users/passwords/reset/`
//!
//! Sets the new password. The plural and the trailing slash are both part of the path.

use serde::Serialize;

use super::{StepContext, validate::Validator};
use crate::{
    envelope::{ApiError, ApiResponse, SuccessRule, read},
    error::Error,
    proto::{UpdatePasswordRequest, UpdatePasswordResponse},
    upstream::Payload,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    token: &'a str,
    password: &'a str,
    password_confirmation: &'a str,
}

pub(crate) async fn update_password(
    context: StepContext,
    request: UpdatePasswordRequest,
) -> Result<UpdatePasswordResponse, Error> {
    let (token, password) = (request.token.as_str(), request.password.as_str());
    let confirmation = request.password_confirmation.as_deref();
    let values = Validator::default()
        .field("token", token)
        .field("password", password)
        .check("password_confirmation", confirmation, |confirmation| {
            (confirmation != password).then_some("must equal the password, or be left out")
        })
        .finish()?;
    let payload = Payload::json(&Body {
        token,
        password,
        password_confirmation: password,
    });
    context.send(payload, values, parse).await
}

/// The response holds nothing but whether the call succeeded.
pub(super) fn parse(response: &ApiResponse) -> Result<UpdatePasswordResponse, ApiError> {
    read(response, SuccessRule::IsSucceed).map(|_| UpdatePasswordResponse {})
}
