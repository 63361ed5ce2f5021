//! Reads the result envelope, which reports how a call went: `{"Model":…,"Errors":[…],"ErrorsCode":[…],…}`.

use serde_json::value::RawValue;

use super::{
    ApiErrorKind, Model, SuccessRule,
    json::{JsonObject, Unreadable},
};

/// Reads the result of a 2xx.
pub(super) fn read<'a>(
    object: &JsonObject<'a>,
    rule: SuccessRule,
) -> Result<Model<'a>, ApiErrorKind> {
    let result = ResultEnvelope::of(object).map_err(|_: Unreadable| ApiErrorKind::Malformed)?;
    if result.has_errors() {
        return Err(result.error_kind(rule));
    }
    match result.is_succeed {
        None => Err(ApiErrorKind::Malformed),
        Some(false) if rule == SuccessRule::IsSucceed => Err(ApiErrorKind::Unexplained),
        Some(_) => Ok(Model(result.model)),
    }
}

/// The result envelope.
pub(super) struct ResultEnvelope<'a> {
    model: Option<&'a RawValue>,
    errors: Vec<String>,
    codes: Vec<String>,
    http_status: Option<u16>,
    is_succeed: Option<bool>,
}

impl<'a> ResultEnvelope<'a> {
    pub(super) fn of(object: &JsonObject<'a>) -> Result<Self, Unreadable> {
        let status_code = object.get::<String>("StatusCode")?;
        Ok(Self {
            model: object.get("Model")?,
            errors: object.strings("Errors")?,
            codes: object.strings("ErrorsCode")?,
            http_status: status_code.and_then(|name| http_status(&name)),
            is_succeed: object.get("IsSucceed")?,
        })
    }

    fn has_errors(&self) -> bool {
        !(self.errors.is_empty() && self.codes.is_empty())
    }

    pub(super) fn error_kind(&self, rule: SuccessRule) -> ApiErrorKind {
        let entries = self.errors.len().max(self.codes.len());
        if rule == SuccessRule::NoErrors && (0..entries).any(|n| self.is_incorrect_answer(n)) {
            ApiErrorKind::IncorrectAnswer
        } else {
            ApiErrorKind::Declined(self.http_status)
        }
    }

    /// Whether an entry of the parallel lists reports a wrong answer: by its code, or without one by its text.
    fn is_incorrect_answer(&self, entry: usize) -> bool {
        match self.codes.get(entry).filter(|code| !code.is_empty()) {
            Some(code) => code.eq_ignore_ascii_case("ErrorIncorrectAnswer"),
            None => self
                .errors
                .get(entry)
                .is_some_and(|text| is_incorrect_answer(text)),
        }
    }
}

/// Recognizes "Answer is incorrect, try again.", which older releases send without a code.
fn is_incorrect_answer(text: &str) -> bool {
    text.to_ascii_lowercase().contains("answer is incorrect")
}

/// The HTTP status that the name of a .NET `HttpStatusCode` means, if the gateway treats it differently from others.
fn http_status(name: &str) -> Option<u16> {
    let status = match name.to_ascii_lowercase().as_str() {
        "badrequest" => 400,
        "unauthorized" => 401,
        "forbidden" => 403,
        "notfound" => 404,
        "methodnotallowed" => 405,
        "requesttimeout" => 408,
        "conflict" => 409,
        "gone" => 410,
        "requestentitytoolarge" => 413,
        "unprocessableentity" | "unprocessablecontent" => 422,
        "toomanyrequests" => 429,
        "internalservererror" => 500,
        "notimplemented" => 501,
        "badgateway" => 502,
        "serviceunavailable" => 503,
        "gatewaytimeout" => 504,
        _ => return None,
    };
    Some(status)
}
