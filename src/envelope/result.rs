//! The result envelope, in which the API tells how a call went: `{"Model":…,"Errors":[…],"ErrorsCode":[…],…}`.

use serde_json::value::RawValue;

use super::{
    Cause, Dialect, Model,
    members::{Members, Unreadable},
};

/// Reads the result of a 2xx.
pub(super) fn read<'a>(members: &Members<'a>, dialect: Dialect) -> Result<Model<'a>, Cause> {
    let result = ResultEnvelope::of(members).map_err(|_: Unreadable| Cause::Malformed)?;
    if result.is_refused() {
        return Err(result.refused(dialect));
    }
    let is_succeed = result.is_succeed.ok_or(Cause::Malformed)?;
    // An error named by `StatusCode` counts where `IsSucceed` cannot be relied on.
    let worked = is_succeed || (dialect == Dialect::Reset && result.http_status.is_none());
    if worked { Ok(Model(result.model)) } else { Err(Cause::Unexplained) }
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
    pub(super) fn of(members: &Members<'a>) -> Result<Self, Unreadable> {
        Ok(Self {
            model: members.get("Model")?,
            errors: members.strings("Errors")?,
            codes: members.strings("ErrorsCode")?,
            http_status: members.get::<String>("StatusCode")?.as_deref().and_then(status_named),
            is_succeed: members.get("IsSucceed")?,
        })
    }

    fn is_refused(&self) -> bool {
        !(self.errors.is_empty() && self.codes.is_empty())
    }

    /// The cause of a result that is refused.
    pub(super) fn refused(&self, dialect: Dialect) -> Cause {
        let by_code = self.codes.iter().any(|code| code.eq_ignore_ascii_case("ErrorIncorrectAnswer"));
        let by_text = self.codes.is_empty() && self.errors.iter().any(|text| is_incorrect_answer(text));
        if dialect == Dialect::Reset && (by_code || by_text) {
            Cause::IncorrectAnswer
        } else {
            Cause::Declined(self.http_status)
        }
    }
}

/// "Answer is incorrect, try again.", which older releases send without a code.
fn is_incorrect_answer(text: &str) -> bool {
    text.to_ascii_lowercase().contains("answer is incorrect")
}

/// The error that the name of a .NET `HttpStatusCode` means, as an HTTP status.
fn status_named(name: &str) -> Option<u16> {
    let status = match name {
        "BadRequest" => 400,
        "Unauthorized" => 401,
        "PaymentRequired" => 402,
        "Forbidden" => 403,
        "NotFound" => 404,
        "MethodNotAllowed" => 405,
        "NotAcceptable" => 406,
        "RequestTimeout" => 408,
        "Conflict" => 409,
        "Gone" => 410,
        "PreconditionFailed" => 412,
        "RequestEntityTooLarge" => 413,
        "UnprocessableEntity" | "UnprocessableContent" => 422,
        "Locked" => 423,
        "TooManyRequests" => 429,
        "InternalServerError" => 500,
        "NotImplemented" => 501,
        "BadGateway" => 502,
        "ServiceUnavailable" => 503,
        "GatewayTimeout" => 504,
        _ => return None,
    };
    Some(status)
}
