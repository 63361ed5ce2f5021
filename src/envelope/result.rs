//! Reads the result envelope, which reports how a call went: `{"Model":…,"Errors":[…],"ErrorsCode":[…],…}`.

use serde_json::value::RawValue;

use super::{ApiErrorKind, SuccessRule, json::JsonObject};

/// Whether a result is a success.
///
/// # Errors
///
/// Why it is not.
pub(super) fn check(object: &JsonObject<'_>, rule: SuccessRule) -> Result<(), ApiErrorKind> {
    if let Some(kind) = refusal(object, rule) {
        return Err(kind);
    }
    let is_readable = |name| object.strings(name).map(drop);
    match (object.get("IsSucceed")?, rule) {
        (None, _) => Err(ApiErrorKind::Malformed),
        (Some(false), SuccessRule::IsSucceed) => Err(ApiErrorKind::Unexplained),
        (Some(true), _) => is_readable("Errors"),
        // Only the two lists can tell this success from a failure.
        (Some(false), SuccessRule::NoErrors) => {
            is_readable("Errors").and(is_readable("ErrorsCode"))
        }
    }
}

/// Why the API refused the call, if the result has an entry in `Errors` or `ErrorsCode`.
pub(super) fn refusal(object: &JsonObject<'_>, rule: SuccessRule) -> Option<ApiErrorKind> {
    let [errors, codes] =
        ["Errors", "ErrorsCode"].map(|name| object.strings(name).unwrap_or_default());
    // The lists are parallel, but either may be absent.
    let mut entries = 0..errors.len().max(codes.len());
    if entries.is_empty() {
        return None;
    }
    let is_answer = |entry| is_incorrect_answer(errors.get(entry), codes.get(entry));
    if rule == SuccessRule::NoErrors && entries.any(is_answer) {
        return Some(ApiErrorKind::IncorrectAnswer);
    }
    let status_code: Option<&RawValue> = object.get("StatusCode").unwrap_or_default();
    let status_code = status_code.map_or("", |code| code.get().trim_matches('"'));
    Some(ApiErrorKind::Declined(http_status(status_code)))
}

/// Whether an error is about the answer to the secret question. Older releases send no code, but only "Answer is
/// incorrect, try again."
fn is_incorrect_answer(text: Option<&String>, code: Option<&String>) -> bool {
    match code.filter(|code| !code.is_empty()) {
        Some(code) => code.eq_ignore_ascii_case("ErrorIncorrectAnswer"),
        None => text.is_some_and(|text| text.to_ascii_lowercase().contains("answer is incorrect")),
    }
}

/// The HTTP status for a .NET `HttpStatusCode`, its name or its number, or a status that the gateway treats alike; `None`
/// for all others.
fn http_status(code: &str) -> Option<u16> {
    match code.to_ascii_lowercase().as_str() {
        "badrequest" | "400" | "requestentitytoolarge" | "413" => Some(400),
        "unprocessableentity" | "unprocessablecontent" | "422" => Some(400),
        "unauthorized" | "401" | "forbidden" | "403" => Some(403),
        "notfound" | "404" | "gone" | "410" => Some(404),
        "methodnotallowed" | "405" | "notimplemented" | "501" => Some(405),
        "requesttimeout" | "408" | "gatewaytimeout" | "504" => Some(408),
        "conflict" | "409" => Some(409),
        "toomanyrequests" | "429" => Some(429),
        "internalservererror" | "badgateway" | "serviceunavailable" => Some(500),
        number => matches!(number.parse(), Ok(500..=599_u16)).then_some(500),
    }
}
