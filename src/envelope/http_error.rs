//! Classifies a 4xx, which several layers of the API send in different shapes.

use serde_json::value::RawValue;

use super::{ApiErrorKind, ApiResponse, SuccessRule, json::JsonObject, result::ResultEnvelope};

/// The kind of a 4xx whose body is this object; `None` if it is not JSON.
pub(super) fn kind(
    response: &ApiResponse,
    object: Option<&JsonObject<'_>>,
    rule: SuccessRule,
) -> ApiErrorKind {
    let has = |found: fn(&JsonObject<'_>) -> bool| object.is_some_and(found);
    let result = object.and_then(|object| ResultEnvelope::of(object).ok());
    match response.http_status {
        _ if has(is_version_error) => ApiErrorKind::EndpointMissing,
        400 if has(has_model_state) => ApiErrorKind::Validation,
        400 => match result.map(|result| result.error_kind(rule)) {
            Some(ApiErrorKind::IncorrectAnswer) => ApiErrorKind::IncorrectAnswer,
            _ => ApiErrorKind::BadRequest,
        },
        401 => ApiErrorKind::KeyRejected,
        403 if has(is_key_error) => ApiErrorKind::KeyRejected,
        403 => ApiErrorKind::Forbidden,
        404 if has(is_route_error) => ApiErrorKind::EndpointMissing,
        // Not JSON and not empty: a web server in front of the API does not know the path.
        404 if object.is_none() && !is_empty(&response.body) => ApiErrorKind::EndpointMissing,
        404 => ApiErrorKind::NotFound,
        405 => ApiErrorKind::EndpointMissing,
        408 => ApiErrorKind::Timeout,
        409 => ApiErrorKind::Conflict,
        422 => ApiErrorKind::Validation,
        429 => ApiErrorKind::RateLimited,
        _ => ApiErrorKind::Declined(None),
    }
}

/// `{"Error":{"Code":…}}`
pub(super) fn error_code(object: &JsonObject<'_>) -> Option<String> {
    let error: JsonObject<'_> = object.get("Error").ok()??;
    error.get("Code").ok()?
}

/// `{"Error":{"Code":"UnsupportedApiVersion",…}}`
fn is_version_error(object: &JsonObject<'_>) -> bool {
    error_code(object).is_some_and(|code| code.eq_ignore_ascii_case("UnsupportedApiVersion"))
}

fn has_model_state(object: &JsonObject<'_>) -> bool {
    !matches!(object.get::<&RawValue>("ModelState"), Ok(None))
}

/// `{"error":"Application key is not defined or does not exist"}`
fn is_key_error(object: &JsonObject<'_>) -> bool {
    let says = |name| has_text(object, name, "application key");
    says("error") || says("Message")
}

/// `{"Message":"No HTTP resource was found that matches the request URI '…'."}`
fn is_route_error(object: &JsonObject<'_>) -> bool {
    has_text(object, "Message", "no http resource was found")
}

fn has_text(object: &JsonObject<'_>, name: &str, lowercase: &str) -> bool {
    let text: Option<String> = object.get(name).unwrap_or_default();
    text.is_some_and(|text| text.to_ascii_lowercase().contains(lowercase))
}

fn is_empty(body: &[u8]) -> bool {
    matches!(body.trim_ascii(), b"" | b"null" | b"\"\"")
}
