//! Reads the API's responses: (HTTP status, content type, body) → success or [`ApiError`].
//!
//! Every quirk of the API is handled here. Its layers respond in different shapes:
//!
//! | shape | HTTP status | example |
//! | --- | --- | --- |
//! | result | 200 | `{"Model":…,"Errors":["…"],"ErrorsCode":["…"],"StatusCode":"Continue","IsSucceed":false}` |
//! | application key | 403 | `{"error":"Application key is not defined or does not exist"}` |
//! | authorization | 401 | `{"Message":"Authorization has been denied for this request."}` |
//! | bad request | 400 | `{"Message":"The request is invalid."}` |
//! | validation | 422 | `{"Message":"…","ModelState":{"userPassword.OldPassword":["Password is required"]}}` |
//! | validation, ASP.NET Core | 400, 422 | `{"title":"…","detail":"…","errors":{"OldPassword":["Password is required"]}}` |
//! | entity missing | 404 | `{"Message":"Resource was not found"}` or nothing |
//! | route missing | 404 | `{"Message":"No HTTP resource was found that matches the request URI '…'."}` |
//! | API version | 400, 405 | `{"Error":{"Code":"UnsupportedApiVersion","Message":"…"}}` |
//! | server fault | 500 | `{"message":"…","error":"…"}`, in debug mode with a stack trace |
//! | proxy in front | any | HTML, plain text, nothing |
//!
//! - Member names vary in case. `Errors`, `ErrorsCode`, `Model` and `StatusCode` may be absent or `null`.
//! - Serializers change with their version: `StatusCode` is the name or the number of a .NET `HttpStatusCode` ("Continue"
//!   carries no information), `Errors` and `ErrorsCode` are lists or one string.
//! - The label and the encoding of a body may be wrong, so only the JSON in it counts.
//! - A member that does not decide about success may have any type.
//! - Step 1 documents `"IsSucceed": false` for a call that succeeded: see [`SuccessRule`].
//! - Older releases omit `ErrorsCode`. Then only the text identifies a wrong answer to the secret question.
//! - `ErrorIncorrectAnswer` counts with every 2xx and 4xx. Otherwise a 4xx means what its HTTP status says, and `Errors` and
//!   `ErrorsCode` only add to it.
//!
//! This module does not depend on gRPC.

mod details;
mod http_error;
mod json;
mod redact;
mod result;

use std::time::Duration;

use self::json::{JsonObject, Text};
pub(crate) use self::redact::PrivateValues;

/// A complete HTTP response of the API. It has no `Debug`, because the body may hold a token.
pub(crate) struct ApiResponse {
    pub(crate) http_status: u16,
    pub(crate) content_type: Option<String>,
    /// How long `Retry-After` asks to wait, whether it was a number or a date.
    pub(crate) retry_after: Option<Duration>,
    /// Of at most [`crate::upstream::MAX_RESPONSE`] bytes, with replacement characters for those that are not UTF-8.
    pub(crate) body: String,
    /// The values that must not appear in anything derived from the response.
    pub(crate) values: PrivateValues,
}

/// How an endpoint reports success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SuccessRule {
    /// `IsSucceed` is true, and `Errors` and `ErrorsCode` are empty.
    IsSucceed,
    /// Step 1: `Errors` and `ErrorsCode` are empty, because the documented success is `{"Errors": [], "IsSucceed": false}`. Only this
    /// step reports `ErrorIncorrectAnswer`.
    NoErrors,
}

/// A response that is not a success, reduced to what callers may see.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) kind: ApiErrorKind,
    pub(crate) http_status: u16,
    /// The API's own codes, each a plain identifier.
    pub(crate) codes: Vec<String>,
    /// The API's own text, sanitized; often empty.
    pub(crate) text: String,
    /// What the API says about single fields of its request.
    pub(crate) fields: Vec<FieldError>,
    pub(crate) retry_after: Option<Duration>,
    /// Whether the API itself sent the response, and not something in front of it.
    pub(crate) is_from_api: bool,
    /// Whether the response is a result envelope, which only the API's own code writes.
    pub(crate) is_result: bool,
}

/// A validation error of one field.
#[derive(Debug)]
pub(crate) struct FieldError {
    /// The field's name in the contract's spelling, `new_password`; empty if unknown.
    pub(crate) name: String,
    /// The API's own text, sanitized.
    pub(crate) text: String,
}

/// Why a response is not a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiErrorKind {
    /// `ErrorIncorrectAnswer`: the answer to the secret question is wrong, or missing. Step 1 knows which.
    IncorrectAnswer,
    /// `ErrorIncorrectAnswer`, and the caller gave no answer.
    AnswerRequired,
    /// Any other entry in `Errors` or `ErrorsCode`, with the HTTP status that `StatusCode` stands for; or a 4xx
    /// without a kind of its own.
    Declined(Option<u16>),
    /// No success, and nothing in `Errors` or `ErrorsCode`.
    Unexplained,
    BadRequest,
    Validation,
    /// The application key is rejected; the operator has to act.
    KeyRejected,
    /// The application key is rejected, and the caller sent it.
    CallersKeyRejected,
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
    /// A 2xx in an undocumented form.
    Malformed,
}

impl ApiError {
    /// An error that tells nothing but the HTTP status.
    pub(crate) fn without_details(kind: ApiErrorKind, response: &ApiResponse) -> Self {
        Self {
            kind,
            http_status: response.http_status,
            codes: Vec::new(),
            text: String::new(),
            fields: Vec::new(),
            retry_after: response.retry_after,
            is_from_api: false,
            is_result: false,
        }
    }

    /// An error with the codes, `Errors` and `ModelState` of the response. Server errors and malformed responses pass on
    /// no text, which might describe the server's internals.
    fn with_details(kind: ApiErrorKind, response: &ApiResponse, object: &JsonObject<'_>) -> Self {
        let mut redactor = response.values.redactor();
        let mut error = Self::without_details(kind, response);
        error.codes = details::codes(object, &redactor);
        error.is_result = has_any(object, &["IsSucceed"]);
        error.is_from_api = match response.http_status {
            200..=299 => kind != ApiErrorKind::Malformed,
            400 | 404 | 409 | 422 | 500 => !is_html(response) && has_any(object, &DOCUMENTED),
            401..=599 => error.is_result,
            _ => false,
        };
        let is_malformed = matches!(kind, ApiErrorKind::Malformed | ApiErrorKind::Redirected);
        if response.http_status < 500 && !is_malformed {
            error.fields = details::fields(object, &mut redactor);
            error.text = redactor.sanitize(&object.strings("Errors").unwrap_or_default());
        }
        error
    }
}

/// Reads the text that is the `Model` of a success; `None` if there is none, or an empty one.
///
/// # Errors
///
/// The API's error, or [`ApiErrorKind::Malformed`] if the model is no text.
pub(crate) fn read_text(response: &ApiResponse) -> Result<Option<String>, ApiError> {
    let model = read_with(response, SuccessRule::IsSucceed, |it| it.get("Model"))?;
    Ok(model.map(|Text(text)| text).filter(|text| !text.is_empty()))
}

/// Decides whether the response is a success.
///
/// # Errors
///
/// The API's error, if it is not.
pub(crate) fn read(response: &ApiResponse, rule: SuccessRule) -> Result<(), ApiError> {
    read_with(response, rule, |_| Ok(()))
}

fn read_with<T>(
    response: &ApiResponse,
    rule: SuccessRule,
    model: impl FnOnce(&JsonObject<'_>) -> Result<T, ApiErrorKind>,
) -> Result<T, ApiError> {
    let object = JsonObject::parse(&response.body);
    let kind = match (response.http_status, &object) {
        (200..=299, Some(object)) => {
            match result::check(object, rule).and_then(|()| model(object)) {
                Ok(model) => return Ok(model),
                Err(kind) => kind,
            }
        }
        (300..=399, _) => ApiErrorKind::Redirected,
        (400..=499, _) => http_error::kind(response, object.as_ref(), rule),
        (501, _) => ApiErrorKind::EndpointMissing,
        (502, _) => ApiErrorKind::BadGateway,
        (503, _) => ApiErrorKind::Unavailable,
        (504, _) => ApiErrorKind::Timeout,
        (500..=599, _) => ApiErrorKind::Failed,
        _ => ApiErrorKind::Malformed,
    };
    let object = object.unwrap_or_default();
    Err(ApiError::with_details(kind, response, &object))
}

/// Whether the response is labelled as HTML. Something in front of the API may then have sent it.
fn is_html(response: &ApiResponse) -> bool {
    let content_type = response.content_type.as_deref().unwrap_or_default();
    content_type.to_ascii_lowercase().contains("html")
}

/// The members of the documented shapes of an error.
const DOCUMENTED: [&str; 5] = ["Message", "Error", "ModelState", "Errors", "IsSucceed"];

fn has_any(object: &JsonObject<'_>, names: &[&str]) -> bool {
    let is_any = |member: &str| names.iter().any(|name| name.eq_ignore_ascii_case(member));
    object.iter().any(|(member, _)| is_any(member))
}
