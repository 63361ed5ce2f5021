//! Makes requests' values and responses of the API from random bytes.

use std::{ops::RangeInclusive, time::Duration};

use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

use super::encoding;
use crate::envelope::{ApiResponse, RequestValues};

/// Parts of values and texts: some change their length with their case, look like an escape, or are no letters.
const PIECES: &str = "a|Bc|de9|xyz|Q|0|42|hunter|é|e\u{301}|ß|ẞ|İ|ı|Σ|ς|σ|ﬁ|ｈ|K|пароль|密碼|🔑| |.|-|_|!|@|+|%|&|<|>|\
    '|\"|\\|%41|&amp;|\\u0041|…";
const MARKUP: [&str; 8] = ["<p>", "</p>", "<", "&", "\\", "&#", "\u{202e}", "\0"];
const SENTENCES: [&str; 4] = [
    "Answer is incorrect, try again.",
    "Validation error occured while processing entity",
    "No HTTP resource was found that matches the request URI",
    "Application key is not defined or does not exist",
];
const HTTP_STATUSES: [u16; 12] = [200, 200, 200, 302, 400, 403, 404, 422, 422, 429, 500, 503];
const CODES: [&str; 4] = [
    "ErrorIncorrectAnswer",
    "UnsupportedApiVersion",
    "Conflict",
    "GatewayTimeout",
];

pub(super) fn list<'b, T>(
    u: &mut Unstructured<'b>,
    length: RangeInclusive<usize>,
    mut item: impl FnMut(&mut Unstructured<'b>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..u.int_in_range(length)?).map(|_| item(u)).collect()
}

/// A value of a request.
pub(super) fn value(u: &mut Unstructured<'_>) -> Result<String> {
    match u.int_in_range(0..=3)? {
        0 => Ok(list(u, 4..=12, any_char)?.into_iter().collect()),
        1 => {
            let ascii = list(u, 4..=12, |u| u.int_in_range(b' '..=b'~'))?;
            Ok(ascii.into_iter().map(char::from).collect())
        }
        _ => Ok(list(u, 1..=8, piece)?.concat()),
    }
}

pub(super) fn sentence(u: &mut Unstructured<'_>) -> Result<&'static str> {
    u.choose(&SENTENCES).copied()
}

/// A message of the API, which may repeat values in any encoding.
pub(super) fn message(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    if u.ratio(1, 12)? {
        return Ok(piece(u)?.repeat(u.int_in_range(0..=5000)?));
    }
    let part = |u: &mut Unstructured<'_>| match u.int_in_range(0..=4)? {
        0 => Ok(sentence(u)?.to_owned()),
        1 => Ok(piece(u)?.to_owned()),
        2 => u.choose(&MARKUP).map(|part| (*part).to_owned()),
        _ => encoded_value(u, values),
    };
    // A separator keeps a sign and the value after it apart: "100%" and "beef" would together hide the value.
    Ok(list(u, 0..=5, part)?.join(u.choose(&[" ", ", ", "\r\n"])?))
}

pub(super) fn response(u: &mut Unstructured<'_>, values: &[String]) -> Result<ApiResponse> {
    let types = [Some("application/json"), Some("text/HTML"), None];
    let http_status = match u.ratio(1, 10)? {
        true => u.arbitrary()?,
        false => *u.choose(&HTTP_STATUSES)?,
    };
    let content_type = u.choose(&types)?.map(str::to_owned);
    let retry_after: Option<u64> = u.arbitrary()?;
    let body = match u.int_in_range(0..=7)? {
        0 => u.bytes(u.len())?.to_vec(),
        1 => message(u, values)?.into_bytes(),
        _ => {
            let members = list(u, 1..=6, |u| member(u, values))?;
            format!("{{{}}}", members.join(",")).into_bytes()
        }
    };
    Ok(ApiResponse {
        http_status,
        content_type,
        retry_after: retry_after.map(Duration::from_secs),
        body: body.into(),
        values: RequestValues(values.to_vec()),
    })
}

/// A member of a JSON body, usually as documented.
fn member(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    let texts = |u: &mut Unstructured<'_>| list(u, 0..=3, |u| message(u, values));
    let codes = |u: &mut Unstructured<'_>, most| list(u, 0..=most, |u| name(u, values));
    let (member, value) = match u.int_in_range(0..=7)? {
        0 | 1 => ("Errors", json!(texts(u)?)),
        2 => ("ErrorsCode", json!(codes(u, 40)?)),
        3 | 4 => {
            let field = |u: &mut Unstructured<'_>| Ok((name(u, values)?, json!(texts(u)?)));
            let fields = list(u, 0..=9, field)?;
            ("ModelState", Value::Object(fields.into_iter().collect()))
        }
        5 => ("Error", json!({ "Code": codes(u, 1)?.concat() })),
        6 => ("StatusCode", json!(u.choose(&CODES)?)),
        _ => ("IsSucceed", json!(u.arbitrary::<bool>()?)),
    };
    let cases = [
        member.to_owned(),
        member.to_lowercase(),
        member.to_uppercase(),
    ];
    let value = if u.ratio(1, 12)? { json!(7) } else { value };
    Ok(format!("\"{}\":{value}", u.choose(&cases)?))
}

/// A code or the name of a field: a known one, the longest one, a value, or half of one.
fn name(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    let value = encoded_value(u, values)?;
    let (start, end) = value.split_at(value.floor_char_boundary(value.len() / 2));
    Ok(match u.int_in_range(0..=4)? {
        0 => (*u.choose(&CODES)?).to_owned(),
        1 => "aB".repeat(u.int_in_range(0..=40)?),
        2 => start.to_owned(),
        3 => end.to_owned(),
        _ => format!("user.{value}[0]"),
    })
}

/// A value in up to two encodings and any case, perhaps with something invisible inside.
fn encoded_value(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    if values.is_empty() {
        return Ok(String::new());
    }
    let once = u.choose(&encoding::ALL)?(u.choose(values)?);
    let mut text = u.choose(&encoding::ALL)?(&once);
    match u.int_in_range(0..=3)? {
        0 => {}
        1 => text = text.to_uppercase(),
        2 => text = text.to_lowercase(),
        _ => {
            let inside = u.choose(&["<b>", "\u{ad}", "\u{200b}", "\n"])?;
            text.insert_str(text.floor_char_boundary(text.len() / 2), inside);
        }
    }
    Ok(text)
}

fn piece(u: &mut Unstructured<'_>) -> Result<&'static str> {
    let pieces: Vec<_> = PIECES.split('|').collect();
    u.choose(&pieces).copied()
}

/// A character of the basic plane, or a key.
fn any_char(u: &mut Unstructured<'_>) -> Result<char> {
    let code: u16 = u.arbitrary()?;
    Ok(char::from_u32(code.into()).unwrap_or('\u{1f511}'))
}
