//! The result envelope, in which the API tells how a call went: `{"Model":…,"Errors":[…],"ErrorsCode":[…],…}`.

use serde_json::value::RawValue;

use super::{
    ApiErrorKind, Model, SuccessRule,
    json::{JsonObject, Unreadable},
};

/// Reads the result of a 2xx.
pub(super) fn read<'a>(
    members: &JsonObject<'a>,
    dialect: SuccessRule,
) -> Result<Model<'a>, ApiErrorKind> {
    let result = ResultEnvelope::of(members).map_err(|_: Unreadable| ApiErrorKind::Malformed)?;
    if result.is_refused() {
        return Err(result.refused(dialect));
    }
    let is_succeed = result.is_succeed.ok_or(ApiErrorKind::Malformed)?;
    if is_succeed || dialect == SuccessRule::Reset {
        Ok(Model(result.model))
    } else {
        Err(ApiErrorKind::Unexplained)
    }
}

/// The result envelope of a finished call.
pub(super) struct ResultEnvelope<'a> {
    model: Option<&'a RawValue>,
    errors: Vec<String>,
    codes: Vec<String>,
    http_status: Option<u16>,
    is_succeed: Option<bool>,
}

impl<'a> ResultEnvelope<'a> {
    pub(super) fn of(members: &JsonObject<'a>) -> Result<Self, Unreadable> {
        Ok(Self {
            model: members.get("Model")?,
            errors: members.strings("Errors")?,
            codes: members.strings("ErrorsCode")?,
            http_status: members
                .get::<String>("StatusCode")?
                .as_deref()
                .and_then(status_named),
            is_succeed: members.get("IsSucceed")?,
        })
    }

    fn is_refused(&self) -> bool {
        !(self.errors.is_empty() && self.codes.is_empty())
    }

    /// The cause of a result that is refused.
    pub(super) fn refused(&self, dialect: SuccessRule) -> ApiErrorKind {
        let is_about_the_answer =
            (0..self.errors.len().max(self.codes.len())).any(|n| self.is_incorrect_answer(n));
        if dialect == SuccessRule::Reset && is_about_the_answer {
            ApiErrorKind::IncorrectAnswer
        } else {
            ApiErrorKind::Declined(self.http_status)
        }
    }

    /// Whether an entry of the parallel lists says so: its code or, where older releases leave that out, its text.
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

/// "Answer is incorrect, try again.", which older releases send without a code.
fn is_incorrect_answer(text: &str) -> bool {
    text.to_ascii_lowercase().contains("answer is incorrect")
}

/// The error that the name of a .NET `HttpStatusCode` means, as an HTTP status.
fn status_named(name: &str) -> Option<u16> {
    let status = match name.to_ascii_lowercase().as_str() {
        "badrequest" => 400,
        "unauthorized" => 401,
        "paymentrequired" => 402,
        "forbidden" => 403,
        "notfound" => 404,
        "methodnotallowed" => 405,
        "notacceptable" => 406,
        "requesttimeout" => 408,
        "conflict" => 409,
        "gone" => 410,
        "preconditionfailed" => 412,
        "requestentitytoolarge" => 413,
        "unprocessableentity" | "unprocessablecontent" => 422,
        "locked" => 423,
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
