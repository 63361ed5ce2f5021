//! What a 4xx means, which several layers send in several shapes.

use serde_json::value::RawValue;

use super::{Answer, Cause, Dialect, members::Members, result::ResultEnvelope};

/// The cause of a 4xx.
pub(super) fn cause(answer: &Answer, members: Option<&Members<'_>>, dialect: Dialect) -> Cause {
    if members.is_some_and(is_version_error) {
        return Cause::EndpointMissing;
    }
    match answer.http_status {
        400 if members.is_some_and(|members| is_present(members, "ModelState")) => {
            Cause::Validation
        }
        400 => match members.map(ResultEnvelope::of) {
            Some(Ok(result)) if result.refused(dialect) == Cause::IncorrectAnswer => {
                Cause::IncorrectAnswer
            }
            _ => Cause::BadRequest,
        },
        401 => Cause::KeyRejected,
        403 if members.is_some_and(is_key_error) => Cause::KeyRejected,
        403 => Cause::Forbidden,
        404 if is_route_missing(answer, members) => Cause::EndpointMissing,
        404 => Cause::NotFound,
        405 => Cause::EndpointMissing,
        408 => Cause::Timeout,
        409 => Cause::Conflict,
        422 => Cause::Validation,
        429 => Cause::RateLimited,
        _ => Cause::Declined(None),
    }
}

/// `{"Error":{"Code":"UnsupportedApiVersion",…}}`
fn is_version_error(members: &Members<'_>) -> bool {
    error_code(members).is_some_and(|code| code.eq_ignore_ascii_case("UnsupportedApiVersion"))
}

/// `{"Error":{"Code":…}}`
pub(super) fn error_code(members: &Members<'_>) -> Option<String> {
    members
        .get::<Members<'_>>("Error")
        .ok()??
        .get("Code")
        .ok()?
}

/// `{"error":"Application key is not defined or does not exist"}`
fn is_key_error(members: &Members<'_>) -> bool {
    ["error", "Message"]
        .into_iter()
        .any(|name| has_text(members, name, "application key"))
}

/// Whether nothing is served at the path: the API says so, or it was not the API that answered.
fn is_route_missing(answer: &Answer, members: Option<&Members<'_>>) -> bool {
    match members {
        Some(members) => has_text(members, "Message", "no http resource was found"),
        None => !matches!(answer.body.trim_ascii(), b"" | b"null" | b"\"\""),
    }
}

fn has_text(members: &Members<'_>, name: &str, lowercase: &str) -> bool {
    members
        .get::<String>(name)
        .ok()
        .flatten()
        .is_some_and(|text| text.to_ascii_lowercase().contains(lowercase))
}

fn is_present(members: &Members<'_>, name: &str) -> bool {
    !matches!(members.get::<&RawValue>(name), Ok(None))
}
