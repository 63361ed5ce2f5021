//! What the API says, read out of what it sends: (HTTP status, content type, body) → success or [`ApiError`].
//!
//! Every quirk of the API lives here. Several layers answer, each in its own shape:
//!
//! | shape | HTTP status | example |
//! | --- | --- | --- |
//! | result | 200 | `{"Model":…,"Errors":["…"],"ErrorsCode":["…"],"StatusCode":"Continue","IsSucceed":false}` |
//! | application key | 403 | `{"error":"Application key is not defined or does not exist"}` |
//! | authorization | 401 | `{"Message":"Authorization has been denied for this request."}` |
//! | bad request | 400 | `{"Message":"The request is invalid."}` |
//! | validation | 422 | `{"Message":"…","ModelState":{"userPassword.OldPassword":["Password is required"]}}` |
//! | entity missing | 404 | `{"Message":"Resource was not found"}` or nothing |
//! | route missing | 404 | `{"Message":"No HTTP resource was found that matches the request URI '…'."}` |
//! | API version | 400, 405 | `{"Error":{"Code":"UnsupportedApiVersion","Message":"…"}}` |
//! | server fault | 500 | `{"message":"…","error":"…"}`, with a stack trace when it debugs |
//! | what stands in front | any | HTML, plain text, nothing |
//!
//! - Names vary in case; `Errors`, `ErrorsCode`, `Model` and `StatusCode` may be absent or `null`.
//! - Step 1 documents `"IsSucceed": false` for a call that worked: see [`SuccessRule`].
//! - Older releases leave out `ErrorsCode`: then the text alone tells a wrong answer to the secret question.
//! - `StatusCode` is the name of a .NET `HttpStatusCode`; "Continue" says nothing.
//!
//! This module knows no gRPC.

mod details;
mod escapes;
mod http_error;
mod json;
pub(crate) mod redact;
mod result;

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde_json::value::RawValue;

pub(crate) use self::redact::RequestValues;
use self::{
    json::JsonObject,
    redact::{MAX_TEXT, sanitize},
};

/// An HTTP answer of the API, whole.
pub(crate) struct ApiResponse {
    pub(crate) http_status: u16,
    pub(crate) content_type: Option<String>,
    /// The time that `Retry-After` asks to wait, however it was written.
    pub(crate) retry_after: Option<Duration>,
    /// At most as long as [`crate::upstream::MAX_RESPONSE`].
    pub(crate) body: Bytes,
    /// What nothing that is told of the answer may repeat.
    pub(crate) values: RequestValues,
}

/// How an endpoint tells how the call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SuccessRule {
    /// It worked if `IsSucceed` is true and there are no `Errors`.
    Common,
    /// Step 1: it worked if there are no `Errors`, for the documented success is `{"Errors": [], "IsSucceed": false}`.
    /// And `ErrorIncorrectAnswer` has a meaning.
    Reset,
}

/// An answer that is not a success, and what may be told of it.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) kind: ApiErrorKind,
    pub(crate) http_status: u16,
    /// The API's own codes, each a plain identifier.
    pub(crate) codes: Vec<String>,
    /// The API's own words, fit to be passed on; often none.
    pub(crate) text: String,
    /// What the API says about single fields of its request.
    pub(crate) fields: Vec<Field>,
    pub(crate) retry_after: Option<Duration>,
    /// Whether the API itself answered. If not, it may have been anything in front of it.
    pub(crate) is_from_api: bool,
}

/// What a validation says about one field.
#[derive(Debug)]
pub(crate) struct Field {
    /// The field's name in the contract's spelling, `new_password`; empty if the API names none.
    pub(crate) name: String,
    /// The API's own words, fit to be passed on.
    pub(crate) text: String,
}

/// Why an answer is not a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiErrorKind {
    /// `ErrorIncorrectAnswer`: the answer to the secret question is missing or wrong. Step 1 knows which.
    IncorrectAnswer,
    /// The same, and no answer was given.
    AnswerRequired,
    /// Another entry in `Errors`, with the HTTP status that `StatusCode` names; or a 4xx that has no kind of its own.
    Declined(Option<u16>),
    /// No success, and no `Errors` that would say why.
    Unexplained,
    BadRequest,
    Validation,
    KeyRejected,
    Forbidden,
    NotFound,
    EndpointMissing,
    Conflict,
    RateLimited,
    Unavailable,
    BadGateway,
    Timeout,
    Failed,
    Redirected,
    /// A success in a form that is not documented.
    Malformed,
}

/// The `Model` of a successful answer.
pub(crate) struct Model<'a>(Option<&'a RawValue>);

impl fmt::Debug for ApiResponse {
    /// Without the body: it may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("http_status", &self.http_status)
            .finish_non_exhaustive()
    }
}

impl Model<'_> {
    /// The model as a string; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`ApiErrorKind::Malformed`] if it is anything else.
    pub(crate) fn string(&self, answer: &ApiResponse) -> Result<Option<String>, ApiError> {
        let parse = |model: &RawValue| serde_json::from_str(model.get());
        self.0
            .map(parse)
            .transpose()
            .map_err(|_| ApiError::bare(ApiErrorKind::Malformed, answer))
    }
}

impl ApiError {
    /// A refusal of which nothing but the HTTP status is told.
    pub(crate) fn bare(kind: ApiErrorKind, answer: &ApiResponse) -> Self {
        let (http_status, retry_after) = (answer.http_status, answer.retry_after);
        Self {
            kind,
            http_status,
            codes: Vec::new(),
            text: String::new(),
            fields: Vec::new(),
            retry_after,
            is_from_api: false,
        }
    }
}

/// Reads an answer: the verdict on it, apart from what a step makes of the model.
///
/// # Errors
///
/// Whatever the answer is if not a success.
pub(crate) fn read(answer: &ApiResponse, dialect: SuccessRule) -> Result<Model<'_>, ApiError> {
    let members = JsonObject::parse(&answer.body);
    let kind = match answer.http_status {
        // What calls itself HTML is no result, whatever is in it.
        200..=299 => {
            match members
                .as_ref()
                .filter(|_| !is_html(answer))
                .map(|members| result::read(members, dialect))
            {
                Some(Ok(model)) => return Ok(model),
                Some(Err(kind)) => kind,
                None => ApiErrorKind::Malformed,
            }
        }
        300..=399 => ApiErrorKind::Redirected,
        400..=499 => http_error::kind(answer, members.as_ref(), dialect),
        501 => ApiErrorKind::EndpointMissing,
        502 => ApiErrorKind::BadGateway,
        503 => ApiErrorKind::Unavailable,
        504 => ApiErrorKind::Timeout,
        500..=599 => ApiErrorKind::Failed,
        _ => ApiErrorKind::Malformed,
    };
    Err(refusal(kind, answer, &members.unwrap_or_default()))
}

/// Whether a body calls itself HTML.
fn is_html(answer: &ApiResponse) -> bool {
    answer
        .content_type
        .as_deref()
        .is_some_and(|kind| kind.to_ascii_lowercase().contains("html"))
}

/// Whether a body has a member that the documented shapes of an error have.
fn is_documented(members: &JsonObject<'_>) -> bool {
    members.iter().any(|(name, _)| {
        ["Message", "Error", "ModelState", "Errors", "IsSucceed"]
            .iter()
            .any(|documented| name.eq_ignore_ascii_case(documented))
    })
}

/// The refusal with all that may be told of it: nothing but codes, `Errors` and `ModelState`. Of a server fault not even
/// the texts are told, since they may describe the server's inside, nor those of an answer that is not what it should be.
fn refusal(kind: ApiErrorKind, answer: &ApiResponse, members: &JsonObject<'_>) -> ApiError {
    let redactor = answer.values.redactor();
    let mut refusal = ApiError::bare(kind, answer);
    refusal.codes = details::codes(members, &redactor);
    refusal.is_from_api = match answer.http_status {
        200..=299 => kind != ApiErrorKind::Malformed,
        400 | 404 | 409 | 422 | 500 => !is_html(answer) && is_documented(members),
        _ => false,
    };
    if answer.http_status < 500
        && !matches!(kind, ApiErrorKind::Malformed | ApiErrorKind::Redirected)
    {
        let mut budget = MAX_TEXT;
        refusal.fields = details::fields(members, &redactor, &mut budget);
        let errors = members.strings("Errors").unwrap_or_default();
        refusal.text = sanitize(errors.iter().map(String::as_str), &redactor, &mut budget);
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_does_not_show_its_body() {
        let body = Bytes::from_static(br#"{"Model":"the-token","Errors":[],"IsSucceed":true}"#);
        let values = RequestValues::of(["the-code"]);
        let answer = ApiResponse {
            http_status: 200,
            content_type: None,
            retry_after: None,
            body,
            values,
        };
        assert_eq!(format!("{answer:?}"), "Answer { http_status: 200, .. }");
    }
}
