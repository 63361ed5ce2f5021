//! Makes requests' values and responses of the API from random bytes.

use std::ops::RangeInclusive;

use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

use super::encoding::ENCODINGS;
use crate::envelope::{ApiResponse, PrivateValues};

const CASES: [fn(&str) -> String; 3] = [str::to_owned, str::to_lowercase, str::to_uppercase];
const WORDS: &str = "a|Bc|de9|xyz|Q|0|42|hunter";
/// Some change their length with their case, look like an escape, or are no letters.
const SIGNS: &str = "é|e\u{301}|ß|ẞ|İ|ı|Σ|ς|σ|ﬁ|ｈ|K|пароль|密碼|🔑| |.|-|_|!|@|+|%|&|<|>|'|\"|\\|%41|&amp;|\\u0041|…";
const MARKUP: &str = "<p>|</p>|<|&|\\|&#|\u{202e}|\0";
const HARMLESS: &str = "Answer is incorrect, try again.|Validation error occured while processing entity|\
    Application key is not defined or does not exist|ErrorIncorrectAnswer|UnsupportedApiVersion|Conflict";

/// A list, or a text of several.
pub(super) fn list<'b, T, C: FromIterator<T>>(
    u: &mut Unstructured<'b>,
    length: RangeInclusive<usize>,
    mut item: impl FnMut(&mut Unstructured<'b>) -> Result<T>,
) -> Result<C> {
    (0..u.int_in_range(length)?).map(|_| item(u)).collect()
}

/// One of the alternatives, which are separated by bars.
pub(super) fn choose(u: &mut Unstructured<'_>, alternatives: &str) -> Result<String> {
    let alternatives: Vec<_> = alternatives.split('|').collect();
    u.choose(&alternatives).map(|chosen| (*chosen).to_owned())
}

/// A value of a request: of words, of signs, of any characters, or of all of them.
pub(super) fn value(u: &mut Unstructured<'_>) -> Result<String> {
    let kinds = u.choose(&[0..=0, 1..=1, 2..=2, 0..=2])?;
    list(u, 1..=12, |u| match u.int_in_range(kinds.clone())? {
        0 => choose(u, WORDS),
        1 => choose(u, SIGNS),
        _ => Ok(String::from_utf16_lossy(&[u.arbitrary()?])),
    })
}

/// A text of the API, which may repeat values in any encoding.
pub(super) fn text(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    let part = |u: &mut Unstructured<'_>| match u.int_in_range(0..=7)? {
        0 => choose(u, HARMLESS),
        1 => choose(u, MARKUP),
        2 => Ok(choose(u, SIGNS)?.repeat(u.int_in_range(0..=1000)?)),
        _ => encoded_value(u, values),
    };
    // A separator keeps a sign and the value after it apart: "100%" and "beef" would together hide the value.
    let parts: Vec<_> = list(u, 0..=5, part)?;
    Ok(parts.join(u.choose(&[" ", ", ", "\r\n"])?))
}

/// A value in up to two encodings and any case, perhaps with something invisible inside.
fn encoded_value(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    let once = u.choose(&ENCODINGS)?(u.choose(values)?);
    let twice = u.choose(&ENCODINGS)?(&once);
    let text = u.choose(&CASES)?(&twice);
    let (start, end) = text.split_at(text.floor_char_boundary(text.len() / 2));
    Ok([start, &choose(u, "||||||<b>|\u{ad}|\u{200b}|\n")?, end].concat())
}

pub(super) fn response(u: &mut Unstructured<'_>, values: &[String]) -> Result<ApiResponse> {
    let statuses = [200, 302, 400, 403, 404, 422, 429, 500, 503, u.arbitrary()?];
    Ok(ApiResponse {
        http_status: *u.choose(&statuses)?,
        content_type: u
            .choose(&[None, Some("text/HTML"), Some("application/json")])?
            .map(str::to_owned),
        retry_after: u.arbitrary()?,
        body: match u.int_in_range(0..=7)? {
            0 => String::from_utf8_lossy(u.bytes(u.len() / 2)?).into_owned(),
            1 => text(u, values)?,
            _ => documented(u, values)?,
        },
        values: PrivateValues(values.to_vec()),
    })
}

/// A body with the documented members.
fn documented(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    let texts = |u: &mut _| list::<_, Value>(u, 0..=9, |u| text(u, values));
    let field = |u: &mut _| Ok((text(u, values)?, text(u, values)?));
    let fields = |u: &mut _| list::<_, Value>(u, 0..=9, field);
    let errors = [texts(u)?, fields(u)?, Value::Null];
    let body = json!({
        "Errors": u.choose(&errors)?,
        "ErrorsCode": texts(u)?,
        "ModelState": fields(u)?,
        "Error": { "Code": text(u, values)? },
        "StatusCode": text(u, values)?,
        "IsSucceed": u.arbitrary::<Option<bool>>()?,
    });
    // Half of a character, which serde_json does not write.
    Ok(body.to_string().replace('🔑', r"\ud83d"))
}
