//! Step 4: `PUT /v1.0/users/passwords/reset/`
//!
//! Sets the new password. The plural and the trailing slash are both part of the path.

use serde::Serialize;

use super::{context::StepContext, validate::Validator};
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
        .required("token", token)
        .required("password", password)
        .confirmation("password_confirmation", confirmation, password)
        .finish()?;
    let payload = Payload::json(&Body {
        token,
        password,
        password_confirmation: password,
    });
    let response = context.send(payload, values).await?;
    parse(&response).map_err(Error::Refused)
}

/// The response holds nothing but whether the call succeeded.
pub(super) fn parse(response: &ApiResponse) -> Result<UpdatePasswordResponse, ApiError> {
    read(response, SuccessRule::IsSucceed).map(|_| UpdatePasswordResponse {})
}
