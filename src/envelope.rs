//! What the API says, read out of what it sends: (HTTP status, content type, body) → success or [`Refusal`].
//!
//! Every quirk of the API lives here. Several layers answer, each in its own shape:
//!
//! | shape | HTTP status | example |
//! | --- | --- | --- |
//! | result | 200 | `{"Model":…,"Errors":["…"],"ErrorsCode":["…"],"StatusCode":"Continue","IsSucceed":false}` |
//! | application key | 403 | `{"error":"Application key is not defined or does not exist"}` |
//! | authorization | 401 | `{"Message":"Authorization has been denied for this request."}` |
//! | bad request | 400 | `{"Message":"The request is invalid."}` |
//! | validation | 422 | `{"Message":"…","ModelState":{"userPassword.OldPassword":["Password is required"]}}` |
//! | entity missing | 404 | `{"Message":"Resource was not found"}` or nothing |
//! | route missing | 404 | `{"Message":"No HTTP resource was found that matches the request URI '…'."}` |
//! | API version | 400, 405 | `{"Error":{"Code":"UnsupportedApiVersion","Message":"…"}}` |
//! | server fault | 500 | `{"message":"…","error":"…"}`, with a stack trace when it debugs |
//! | what stands in front | any | HTML, plain text, nothing |
//!
//! - Names vary in case; `Errors`, `ErrorsCode`, `Model` and `StatusCode` may be absent or `null`.
//! - Step 1 documents `"IsSucceed": false` for a call that worked: see [`Dialect`].
//! - Older releases leave out `ErrorsCode`: then the text alone tells a wrong answer to the secret question.
//! - `StatusCode` is the name of a .NET `HttpStatusCode`; "Continue" says nothing.
//!
//! This module knows no gRPC.

mod members;
mod text;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::contract::REQUEST_FIELDS;

use self::members::{Members, Unreadable};
pub(crate) use self::text::Values;
use self::text::{MAX_TEXT, passed_on};

/// An HTTP answer of the API, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http_status: u16,
    pub(crate) content_type: Option<String>,
    /// The time that `Retry-After` asks to wait, however it was written.
    pub(crate) retry_after: Option<Duration>,
    /// At most as long as [`crate::rest::MAX_ANSWER`].
    pub(crate) body: Bytes,
}

/// How an endpoint tells how the call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// It worked if `IsSucceed` is true and there are no `Errors`.
    Common,
    /// Step 1: it worked if there are no `Errors`, for the documented success is `{"Errors": [], "IsSucceed": false}`.
    /// And `ErrorIncorrectAnswer` has a meaning.
    Reset,
}

/// An answer that is not a success, and what may be told of it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) cause: Cause,
    pub(crate) http_status: u16,
    /// The API's own codes, each a plain identifier.
    pub(crate) codes: Vec<String>,
    /// The API's own words, fit to be passed on; often none.
    pub(crate) text: String,
    /// What the API says about single fields of its request.
    pub(crate) fields: Vec<Field>,
    pub(crate) retry_after: Option<Duration>,
}

/// What a validation says about one field.
#[derive(Debug)]
pub(crate) struct Field {
    /// The field's name in the contract's spelling, `new_password`; empty if the API names none.
    pub(crate) name: String,
    /// The API's own words, fit to be passed on.
    pub(crate) text: String,
}

/// Why an answer is not a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// `ErrorIncorrectAnswer`: the answer to the secret question is missing or wrong. Step 1 knows which.
    IncorrectAnswer,
    /// The same, and no answer was given.
    AnswerRequired,
    /// Another entry in `Errors`, with the HTTP status that `StatusCode` names; or a 4xx that has no cause of its own.
    Declined(Option<u16>),
    /// No success, and no `Errors` that would say why.
    Unexplained,
    BadRequest,
    Validation,
    KeyRejected,
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
    /// A success in a form that is not documented.
    Malformed,
}

/// The `Model` of a successful answer.
#[derive(Debug)]
pub(crate) struct Model<'a>(Option<&'a RawValue>);

impl Model<'_> {
    /// The model as a string; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Cause::Malformed`] if it is anything else.
    pub(crate) fn string(&self, answer: &Answer) -> Result<Option<String>, Refusal> {
        let parse = |model: &RawValue| serde_json::from_str(model.get());
        self.0.map(parse).transpose().map_err(|_| Refusal::bare(Cause::Malformed, answer))
    }
}

impl Refusal {
    /// A refusal of which nothing but the HTTP status is told.
    pub(crate) fn bare(cause: Cause, answer: &Answer) -> Self {
        let (http_status, retry_after) = (answer.http_status, answer.retry_after);
        Self { cause, http_status, codes: Vec::new(), text: String::new(), fields: Vec::new(), retry_after }
    }
}

/// Reads an answer: the verdict on it, apart from what a step makes of the model.
///
/// # Errors
///
/// Whatever the answer is if not a success.
pub(crate) fn read<'a>(answer: &'a Answer, dialect: Dialect, values: &Values) -> Result<Model<'a>, Refusal> {
    let members = members(answer);
    let cause = match answer.http_status {
        200..=299 => match members.as_ref().ok_or(Cause::Malformed).and_then(|members| result(members, dialect)) {
            Ok(model) => return Ok(model),
            Err(cause) => cause,
        },
        300..=399 => Cause::Redirected,
        400..=499 => client_error(answer, members.as_ref(), dialect),
        501 => Cause::EndpointMissing,
        502 => Cause::BadGateway,
        503 => Cause::Unavailable,
        504 => Cause::Timeout,
        500..=599 => Cause::Failed,
        _ => Cause::Malformed,
    };
    Err(refusal(cause, answer, &members.unwrap_or_default(), values))
}

/// The members of the body, if it is a JSON object. What calls itself HTML is not looked into.
fn members(answer: &Answer) -> Option<Members<'_>> {
    let is_html = answer.content_type.as_deref().is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
    if is_html { None } else { Members::parse(&answer.body) }
}

/// Reads the result of a 2xx.
fn result<'a>(members: &Members<'a>, dialect: Dialect) -> Result<Model<'a>, Cause> {
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
struct ResultEnvelope<'a> {
    model: Option<&'a RawValue>,
    errors: Vec<String>,
    codes: Vec<String>,
    http_status: Option<u16>,
    is_succeed: Option<bool>,
}

impl<'a> ResultEnvelope<'a> {
    fn of(members: &Members<'a>) -> Result<Self, Unreadable> {
        Ok(Self {
            model: members.get("Model")?,
            errors: strings(members, "Errors")?,
            codes: strings(members, "ErrorsCode")?,
            http_status: members.get::<String>("StatusCode")?.as_deref().and_then(status_named),
            is_succeed: members.get("IsSucceed")?,
        })
    }

    fn is_refused(&self) -> bool {
        !(self.errors.is_empty() && self.codes.is_empty())
    }

    /// The cause of a result that is refused.
    fn refused(&self, dialect: Dialect) -> Cause {
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

/// A list of strings, of which any may be `null`.
fn strings(members: &Members<'_>, name: &str) -> Result<Vec<String>, Unreadable> {
    let list: Option<Vec<Option<String>>> = members.get(name)?;
    Ok(list.into_iter().flatten().flatten().collect())
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

/// The cause of a 4xx.
fn client_error(answer: &Answer, members: Option<&Members<'_>>, dialect: Dialect) -> Cause {
    if members.is_some_and(is_version_error) {
        return Cause::EndpointMissing;
    }
    match answer.http_status {
        400 if members.is_some_and(|members| is_present(members, "ModelState")) => Cause::Validation,
        400 => match members.map(ResultEnvelope::of) {
            Some(Ok(result)) if result.refused(dialect) == Cause::IncorrectAnswer => Cause::IncorrectAnswer,
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
fn error_code(members: &Members<'_>) -> Option<String> {
    members.get::<Members<'_>>("Error").ok()??.get("Code").ok()?
}

/// `{"error":"Application key is not defined or does not exist"}`
fn is_key_error(members: &Members<'_>) -> bool {
    ["error", "Message"].into_iter().any(|name| has_text(members, name, "application key"))
}

/// Whether nothing is served at the path: the API says so, or it was not the API that answered.
fn is_route_missing(answer: &Answer, members: Option<&Members<'_>>) -> bool {
    match members {
        Some(members) => has_text(members, "Message", "no http resource was found"),
        None => !answer.body.is_empty(),
    }
}

fn has_text(members: &Members<'_>, name: &str, lowercase: &str) -> bool {
    members.get::<String>(name).ok().flatten().is_some_and(|text| text.to_ascii_lowercase().contains(lowercase))
}

fn is_present(members: &Members<'_>, name: &str) -> bool {
    !matches!(members.get::<&RawValue>(name), Ok(None))
}

/// The refusal with all that may be told of it: nothing but codes, `Errors` and `ModelState`. Of a server fault not even
/// the texts are told, since they may describe the server's inside, nor those of an answer that is not what it should be.
fn refusal(cause: Cause, answer: &Answer, members: &Members<'_>, values: &Values) -> Refusal {
    let mut refusal = Refusal::bare(cause, answer);
    refusal.codes = codes(members, values);
    if answer.http_status < 500 && !matches!(cause, Cause::Malformed | Cause::Redirected) {
        let mut budget = MAX_TEXT;
        refusal.fields = fields(members, values, &mut budget);
        let errors = strings(members, "Errors").unwrap_or_default();
        refusal.text = passed_on(errors.iter().map(String::as_str), values, &mut budget);
    }
    refusal
}

/// The API's codes that are plain identifiers; there is no reason for it to send others, or many.
fn codes(members: &Members<'_>, values: &Values) -> Vec<String> {
    const MOST: usize = 8;
    let is_identifier = |code: &String| {
        (1..=64).contains(&code.len())
            && code.starts_with(|c: char| c.is_ascii_alphabetic())
            && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let listed = strings(members, "ErrorsCode").unwrap_or_default().into_iter();
    listed.chain(error_code(members)).filter(is_identifier).filter(|code| !values.are_in(code)).take(MOST).collect()
}

/// `ModelState`: `parameter.Property` to a list of messages, or to one.
fn fields(members: &Members<'_>, values: &Values, budget: &mut usize) -> Vec<Field> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Messages {
        One(String),
        Many(Vec<String>),
    }

    const MOST: usize = 8;
    let state = members.get::<Members<'_>>("ModelState").ok().flatten().unwrap_or_default();
    let field = |(key, messages): (&str, &RawValue)| {
        let messages = match serde_json::from_str(messages.get()) {
            Ok(Messages::One(message)) => vec![message],
            Ok(Messages::Many(messages)) => messages,
            Err(_) => Vec::new(),
        };
        Field { name: contract_name(key, values), text: passed_on(messages.iter().map(String::as_str), values, budget) }
    };
    state.iter().take(MOST).map(field).collect()
}

/// The contract's spelling of a field's name, `userPassword.OldPassword` → `old_password`; empty if it does not look like
/// a name or repeats a value of the request.
fn contract_name(key: &str, values: &Values) -> String {
    let property = key.rsplit('.').next().unwrap_or(key);
    let is_name =
        (1..=64).contains(&property.len()) && property.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let name = snake_case(property);
    // The contract's own names are no secret even to a trader whose password is "password".
    let may_be_told = is_name && (REQUEST_FIELDS.contains(&name.as_str()) || !values.are_in(property));
    if may_be_told { name } else { String::new() }
}

fn snake_case(property: &str) -> String {
    let mut name = String::with_capacity(property.len() + 4);
    let mut before = '_';
    for c in property.chars() {
        if c.is_ascii_uppercase() && !before.is_ascii_uppercase() && before != '_' {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
        before = c;
    }
    name
}
