//! Step 4: `PUT /v1.0/users/passwords/reset/`
//!
//! Sets the new password. The plural and the trailing slash are both part of the path.

use serde::Serialize;

use crate::{
    envelope::{Answer, Dialect, Refusal, read},
    error::Error,
    proto::{UpdatePasswordRequest, UpdatePasswordResponse},
    rest::{Api, Payload},
};

use super::fields::Fields;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    token: &'a str,
    password: &'a str,
    password_confirmation: &'a str,
}

pub(crate) async fn update_password(
    api: &Api<'_>,
    request: UpdatePasswordRequest,
) -> Result<UpdatePasswordResponse, Error> {
    let (token, password) = (request.token.as_str(), request.password.as_str());
    let values = Fields::default()
        .required("token", token)
        .required("password", password)
        .confirmation(
            "password_confirmation",
            request.password_confirmation.as_deref(),
            password,
        )
        .check()?;
    let answer = api
        .send(
            Payload::json(&Body {
                token,
                password,
                password_confirmation: password,
            }),
            values,
        )
        .await?;
    verdict(&answer).map_err(Error::Refused)
}

/// The answer is a success or not; it holds nothing else.
pub(super) fn verdict(answer: &Answer) -> Result<UpdatePasswordResponse, Refusal> {
    read(answer, Dialect::Common).map(|_| UpdatePasswordResponse {})
}
