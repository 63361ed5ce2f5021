//! What a 4xx means, which several layers send in several shapes.

use serde_json::value::RawValue;

use super::{ApiErrorKind, ApiResponse, SuccessRule, json::JsonObject, result::ResultEnvelope};

/// The kind of a 4xx.
pub(super) fn kind(
    answer: &ApiResponse,
    members: Option<&JsonObject<'_>>,
    dialect: SuccessRule,
) -> ApiErrorKind {
    if members.is_some_and(is_version_error) {
        return ApiErrorKind::EndpointMissing;
    }
    match answer.http_status {
        400 if members.is_some_and(|members| is_present(members, "ModelState")) => {
            ApiErrorKind::Validation
        }
        400 => match members.map(ResultEnvelope::of) {
            Some(Ok(result)) if result.refused(dialect) == ApiErrorKind::IncorrectAnswer => {
                ApiErrorKind::IncorrectAnswer
            }
            _ => ApiErrorKind::BadRequest,
        },
        401 => ApiErrorKind::KeyRejected,
        403 if members.is_some_and(is_key_error) => ApiErrorKind::KeyRejected,
        403 => ApiErrorKind::Forbidden,
        404 if is_route_missing(answer, members) => ApiErrorKind::EndpointMissing,
        404 => ApiErrorKind::NotFound,
        405 => ApiErrorKind::EndpointMissing,
        408 => ApiErrorKind::Timeout,
        409 => ApiErrorKind::Conflict,
        422 => ApiErrorKind::Validation,
        429 => ApiErrorKind::RateLimited,
        _ => ApiErrorKind::Declined(None),
    }
}

/// `{"Error":{"Code":"UnsupportedApiVersion",…}}`
fn is_version_error(members: &JsonObject<'_>) -> bool {
    error_code(members).is_some_and(|code| code.eq_ignore_ascii_case("UnsupportedApiVersion"))
}

/// `{"Error":{"Code":…}}`
pub(super) fn error_code(members: &JsonObject<'_>) -> Option<String> {
    members
        .get::<JsonObject<'_>>("Error")
        .ok()??
        .get("Code")
        .ok()?
}

/// `{"error":"Application key is not defined or does not exist"}`
fn is_key_error(members: &JsonObject<'_>) -> bool {
    ["error", "Message"]
        .into_iter()
        .any(|name| has_text(members, name, "application key"))
}

/// Whether nothing is served at the path: the API says so, or it was not the API that answered.
fn is_route_missing(answer: &ApiResponse, members: Option<&JsonObject<'_>>) -> bool {
    match members {
        Some(members) => has_text(members, "Message", "no http resource was found"),
        None => !matches!(answer.body.trim_ascii(), b"" | b"null" | b"\"\""),
    }
}

fn has_text(members: &JsonObject<'_>, name: &str, lowercase: &str) -> bool {
    members
        .get::<String>(name)
        .ok()
        .flatten()
        .is_some_and(|text| text.to_ascii_lowercase().contains(lowercase))
}

fn is_present(members: &JsonObject<'_>, name: &str) -> bool {
    !matches!(members.get::<&RawValue>(name), Ok(None))
}
