//! Classifies a 4xx, which several layers of the API send in different shapes.

use serde_json::value::RawValue;

use super::{ApiErrorKind, ApiResponse, SuccessRule, json::JsonObject, result};

/// `{"error":"Application key is not defined or does not exist"}`
const KEY_ERROR: &str = "application key";
/// `{"Message":"No HTTP resource was found that matches the request URI '…'."}`
const ROUTE_ERROR: &str = "no http resource was found";

/// The kind of a 4xx. `body` is `None` if it is not a JSON object.
pub(super) fn kind(
    response: &ApiResponse,
    body: Option<&JsonObject<'_>>,
    rule: SuccessRule,
) -> ApiErrorKind {
    let empty = JsonObject::default();
    let object = body.unwrap_or(&empty);
    let says = |name, expected| {
        let text = object.text(name);
        text.is_some_and(|text| text.to_ascii_lowercase().contains(expected))
    };
    let code = error_code(object).unwrap_or_default();
    let is_empty = matches!(response.body.trim(), "" | "null" | "\"\"");
    match response.http_status {
        _ if result::refusal(object, rule) == Some(ApiErrorKind::IncorrectAnswer) => {
            ApiErrorKind::IncorrectAnswer
        }
        _ if code.eq_ignore_ascii_case("UnsupportedApiVersion") => ApiErrorKind::EndpointMissing,
        400 if names_fields(object) => ApiErrorKind::Validation,
        400 => ApiErrorKind::BadRequest,
        401 => ApiErrorKind::KeyRejected,
        403 if says("error", KEY_ERROR) || says("Message", KEY_ERROR) => ApiErrorKind::KeyRejected,
        403 => ApiErrorKind::Forbidden,
        404 if says("Message", ROUTE_ERROR) => ApiErrorKind::EndpointMissing,
        // Not JSON and not empty: a web server in front of the API does not know the path.
        404 if body.is_none() && !is_empty => ApiErrorKind::EndpointMissing,
        404 => ApiErrorKind::NotFound,
        405 => ApiErrorKind::EndpointMissing,
        408 => ApiErrorKind::Timeout,
        409 => ApiErrorKind::Conflict,
        422 => ApiErrorKind::Validation,
        429 => ApiErrorKind::RateLimited,
        _ => ApiErrorKind::Declined(None),
    }
}

/// Whether the error is about fields: a `ModelState`, or ASP.NET Core's `"errors": {"Property": ["…"]}`.
fn names_fields(object: &JsonObject<'_>) -> bool {
    let has_model_state = !matches!(object.get::<&RawValue>("ModelState"), Ok(None));
    has_model_state || object.object("Errors").iter().next().is_some()
}

/// `{"Error":{"Code":…}}`
pub(super) fn error_code(object: &JsonObject<'_>) -> Option<String> {
    object.object("Error").text("Code")
}
