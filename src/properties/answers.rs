//! Answers of the API: its members in any case, as documented and not, with values of the request in them.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{choices::Choices, disguise, texts};
use crate::envelope::{ApiResponse, RequestValues};

const HTTP_STATUSES: [u16; 24] = [
    200, 200, 200, 422, 400, 401, 403, 404, 405, 408, 409, 429, 500, 501, 502, 503, 504, 201, 204,
    302, 418, 599, 100, 999,
];
const STATUS_CODES: [&str; 9] = [
    "Continue",
    "OK",
    "BadRequest",
    "notfound",
    "Conflict",
    "TooManyRequests",
    "ServiceUnavailable",
    "GatewayTimeout",
    "Forbidden",
];

/// An answer to a request with those values.
pub(super) fn answer(choices: &mut Choices<'_>, values: &[String]) -> ApiResponse {
    let http_status = if choices.once_in(10) {
        choices.number()
    } else {
        choices.of(&HTTP_STATUSES)
    };
    let content_type = choices.of(&[
        Some("application/json"),
        Some("text/HTML; charset=utf-8"),
        Some("\u{130}"),
        None,
    ]);
    let retry_after = choices
        .of(&[None, Some(0), Some(7), Some(u64::MAX)])
        .map(std::time::Duration::from_secs);
    let body = match choices.below(8) {
        0 => choices.rest().to_vec(),
        1 => texts::message(choices, values).into_bytes(),
        _ => body(choices, values),
    };
    ApiResponse {
        http_status,
        content_type: content_type.map(str::to_owned),
        retry_after,
        body: Bytes::from(body),
        values: RequestValues::of(values.iter().map(String::as_str)),
    }
}

/// A JSON object, now and then cut off.
fn body(choices: &mut Choices<'_>, values: &[String]) -> Vec<u8> {
    let members = choices.several(1, 5, |choices| member(choices, values));
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", json!(name)))
        .collect();
    let mut body = format!("{{{}}}", members.join(","));
    if choices.once_in(10) {
        body.truncate(body.floor_char_boundary(body.len() / 2));
    }
    body.into_bytes()
}

/// A member that the API has, mostly as it should be.
fn member(choices: &mut Choices<'_>, values: &[String]) -> (String, Value) {
    let text = |choices: &mut Choices<'_>| json!(texts::message(choices, values));
    let (name, value) = match choices.below(12) {
        0..=2 => ("Errors", choices.several(0, 3, text).into()),
        3 if choices.once_in(3) => ("ErrorsCode", json!(vec!["E".repeat(64); 100])),
        3 => (
            "ErrorsCode",
            choices
                .several(0, 60, |choices| json!(code(choices, values)))
                .into(),
        ),
        4..=6 => ("ModelState", state(choices, values)),
        7 => ("Message", text(choices)),
        8 => (
            "Error",
            json!({ "Code": code(choices, values), "Message": text(choices) }),
        ),
        9 => ("StatusCode", json!(choices.of(&STATUS_CODES))),
        10 => ("Model", text(choices)),
        _ => ("IsSucceed", json!(choices.once_in(2))),
    };
    let name = match choices.below(3) {
        0 => name.to_owned(),
        1 => name.to_ascii_lowercase(),
        _ => name.to_ascii_uppercase(),
    };
    (
        name,
        if choices.once_in(12) {
            choices
                .of(&[json!(null), json!(1), json!({})].each_ref())
                .clone()
        } else {
            value
        },
    )
}

/// `ModelState`, which may name many fields.
fn state(choices: &mut Choices<'_>, values: &[String]) -> Value {
    let fields = choices.several(0, 9, |choices| {
        let messages = choices.several(0, 2, |choices| texts::message(choices, values));
        let messages = if choices.once_in(4) {
            json!(messages.concat())
        } else {
            json!(messages)
        };
        (field(choices, values), messages)
    });
    Value::Object(fields.into_iter().collect())
}

fn field(choices: &mut Choices<'_>, values: &[String]) -> String {
    let name = match choices.below(5) {
        0 => choices
            .of(&[
                "OldPassword",
                "NEW_PASSWORD",
                "Code",
                "User",
                "secretQuestionAnswer",
            ])
            .to_owned(),
        1 => "aB".repeat(choices.below(40)),
        _ => identifier(choices, values),
    };
    format!(
        "{}{name}{}",
        choices.of(&["", "userPassword.", "x[0]."]),
        choices.of(&["", "[0]"])
    )
}

fn code(choices: &mut Choices<'_>, values: &[String]) -> String {
    match choices.below(5) {
        0 => choices
            .of(&["ErrorIncorrectAnswer", "UnsupportedApiVersion", "ErrorX"])
            .to_owned(),
        1 => "E".repeat(choices.of(&[64, 63, 65, 1])),
        _ => identifier(choices, values),
    }
}

/// A value, half of one, or one in disguise.
fn identifier(choices: &mut Choices<'_>, values: &[String]) -> String {
    let value = values
        .get(choices.below(values.len().max(1)))
        .map_or("", String::as_str);
    let (start, end) = value.split_at(value.floor_char_boundary(value.len() / 2));
    match choices.below(4) {
        0 => value.to_owned(),
        1 => start.trim_end_matches(',').to_owned(),
        2 => end.trim_start_matches(',').to_owned(),
        _ => disguise::disguised(choices, value),
    }
}
