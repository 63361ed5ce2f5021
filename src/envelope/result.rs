//! Reads the result envelope, which reports how a call went: `{"Model":…,"Errors":[…],"ErrorsCode":[…],…}`.

use serde_json::value::RawValue;

use super::{ApiErrorKind, SuccessRule, json::JsonObject};

/// The model of a result that is a success.
pub(super) fn read<'a>(
    object: &JsonObject<'a>,
    rule: SuccessRule,
) -> Result<Option<&'a RawValue>, ApiErrorKind> {
    let model = object.get("Model")?;
    let errors = object.strings("Errors")?;
    let codes = object.strings("ErrorsCode")?;
    let status_code: Option<String> = object.get("StatusCode")?;
    let is_succeed = object.get("IsSucceed")?;
    // The lists are parallel, but either may be absent.
    let mut entries = 0..errors.len().max(codes.len());
    match is_succeed {
        _ if !entries.is_empty() => {
            let is_answer = |entry| is_incorrect_answer(errors.get(entry), codes.get(entry));
            if rule == SuccessRule::NoErrors && entries.any(is_answer) {
                return Err(ApiErrorKind::IncorrectAnswer);
            }
            let http_status = status_code.as_deref().and_then(http_status);
            Err(ApiErrorKind::Declined(http_status))
        }
        None => Err(ApiErrorKind::Malformed),
        Some(false) if rule == SuccessRule::IsSucceed => Err(ApiErrorKind::Unexplained),
        Some(_) => Ok(model),
    }
}

/// Whether an error is about the answer to the secret question. Older releases send no code, but only "Answer is
/// incorrect, try again."
fn is_incorrect_answer(text: Option<&String>, code: Option<&String>) -> bool {
    match code.filter(|code| !code.is_empty()) {
        Some(code) => code.eq_ignore_ascii_case("ErrorIncorrectAnswer"),
        None => text.is_some_and(|text| text.to_ascii_lowercase().contains("answer is incorrect")),
    }
}

/// The HTTP status for the name of a .NET `HttpStatusCode`, or one that the gateway treats alike;
/// `None` for all others.
fn http_status(name: &str) -> Option<u16> {
    match name.to_ascii_lowercase().as_str() {
        "badrequest" | "requestentitytoolarge" => Some(400),
        "unprocessableentity" | "unprocessablecontent" => Some(400),
        "unauthorized" | "forbidden" => Some(403),
        "notfound" | "gone" => Some(404),
        "methodnotallowed" | "notimplemented" => Some(405),
        "requesttimeout" | "gatewaytimeout" => Some(408),
        "conflict" => Some(409),
        "toomanyrequests" => Some(429),
        "internalservererror" | "badgateway" | "serviceunavailable" => Some(500),
        _ => None,
    }
}
