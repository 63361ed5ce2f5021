//! Step 4: `PUT /v1.0/users/passwords/reset/`
//!
//! Sets the new password. The plural and the trailing slash are both part of the path.

use super::{Step, validate::Validator};
use crate::{
    envelope::{ApiError, ApiResponse, SuccessRule, read},
    error::Error,
    proto::{UpdatePasswordRequest, UpdatePasswordResponse},
    upstream::Payload,
};

pub(crate) fn update_password(
    request: &UpdatePasswordRequest,
) -> Result<Step<'_, UpdatePasswordResponse>, Error> {
    let (token, password) = (request.token.as_str(), request.password.as_str());
    let confirmation = request.password_confirmation.as_deref();
    let is_same = confirmation.is_none_or(|confirmation| confirmation == password);
    let rule = "must equal the password, or be left out";
    Ok(Step {
        validated: Validator::default()
            .field("token", Some(token))
            .field("password", Some(password))
            .check("password_confirmation", rule, is_same)
            .request_id(request.request_id.as_deref())
            .finish()?,
        payload: Payload::json(&[
            ("Token", token),
            ("Password", password),
            ("PasswordConfirmation", password),
        ]),
        attempts: Vec::new(),
        parse,
    })
}

/// The response holds nothing but whether the call succeeded.
pub(super) fn parse(response: &ApiResponse) -> Result<UpdatePasswordResponse, ApiError> {
    read(response, SuccessRule::IsSucceed).map(|()| UpdatePasswordResponse {})
}
