//! Makes requests' values and responses of the API from random bytes.

use std::ops::RangeInclusive;

use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

use super::{CASES, encoding};
use crate::envelope::{ApiResponse, PrivateValues};

/// Parts of values and texts: some change their length with their case, look like an escape, or are no letters.
const PIECES: &str = "a|Bc|de9|xyz|Q|0|42|hunter|é|e\u{301}|ß|ẞ|İ|ı|Σ|ς|σ|ﬁ|ｈ|K|пароль|密碼|🔑| |.|-|_|!|@|+|%|&|<|>|\
    '|\"|\\|%41|&amp;|\\u0041|…";
const MARKUP: &str = "<p>|</p>|<|&|\\|&#|\u{202e}|\0";
pub(super) const SENTENCES: &str = "Answer is incorrect, try again.|Validation error occured while processing entity|\
    No HTTP resource was found that matches the request URI|Application key is not defined or does not exist";
const CODES: &str = "ErrorIncorrectAnswer|UnsupportedApiVersion|Conflict|GatewayTimeout";

/// A list, or a text of characters.
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

/// A value of a request: of any characters of the basic plane, of ASCII, or of pieces.
pub(super) fn value(u: &mut Unstructured<'_>) -> Result<String> {
    let kind = u.int_in_range(0..=3)?;
    list(u, 1..=12, |u| match kind {
        0 => Ok(char::from_u32(u.arbitrary::<u16>()?.into())
            .unwrap_or('🔑')
            .into()),
        1 => u.int_in_range(b' '..=b'~').map(|c| char::from(c).into()),
        _ => choose(u, PIECES),
    })
}

/// A message of the API, which may repeat values in any encoding.
pub(super) fn message(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    if u.ratio(1, 12)? {
        return Ok(choose(u, PIECES)?.repeat(u.int_in_range(0..=5000)?));
    }
    let part = |u: &mut Unstructured<'_>| match u.int_in_range(0..=4)? {
        0 => choose(u, SENTENCES),
        1 => choose(u, PIECES),
        2 => choose(u, MARKUP),
        _ => encoded_value(u, values),
    };
    // A separator keeps a sign and the value after it apart: "100%" and "beef" would together hide the value.
    let parts: Vec<_> = list(u, 0..=5, part)?;
    Ok(parts.join(u.choose(&[" ", ", ", "\r\n"])?))
}

pub(super) fn response(u: &mut Unstructured<'_>, values: &[String]) -> Result<ApiResponse> {
    let any_status = u.arbitrary()?;
    let statuses = [
        200, 200, 200, 302, 400, 403, 404, 422, 422, 429, 500, 503, any_status,
    ];
    let content_types = [Some("application/json"), Some("text/HTML"), None];
    let mut body = match u.int_in_range(0..=7)? {
        0 => String::from_utf8_lossy(u.bytes(u.len() / 2)?).into_owned(),
        1 => message(u, values)?,
        _ => format!(
            "{{{}}}",
            list::<_, Vec<_>>(u, 1..=6, |u| member(u, values))?.join(",")
        ),
    };
    if u.ratio(1, 12)? {
        // What is left of a byte that is not UTF-8.
        let at = body.floor_char_boundary(u.int_in_range(0..=body.len())?);
        body.insert(at, '\u{fffd}');
    }
    Ok(ApiResponse {
        http_status: *u.choose(&statuses)?,
        content_type: u.choose(&content_types)?.map(str::to_owned),
        retry_after: u.arbitrary()?,
        body,
        values: PrivateValues(values.to_vec()),
    })
}

/// A member of a JSON body, usually as documented.
fn member(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    let texts = |u: &mut Unstructured<'_>| list::<_, Value>(u, 0..=3, |u| message(u, values));
    let field = |u: &mut Unstructured<'_>| Ok((name(u, values)?, texts(u)?));
    let (member, value) = match u.int_in_range(0..=10)? {
        0 | 1 => ("Errors", texts(u)?),
        2 => ("ErrorsCode", list(u, 0..=40, |u| name(u, values))?),
        3 | 4 => ("ModelState", list(u, 0..=9, field)?),
        5 => ("Error", json!({ "Code": name(u, values)? })),
        6 => ("StatusCode", json!(choose(u, CODES)?)),
        7 => ("StatusCode", json!(u.int_in_range(100..=599)?)),
        8 => ("Errors", json!(message(u, values)?)),
        9 => ("Errors", list(u, 0..=9, field)?),
        _ => ("IsSucceed", json!(u.arbitrary::<bool>()?)),
    };
    let value = if u.ratio(1, 12)? { json!(7) } else { value };
    // Half of a character.
    let surrogates = *u.choose(&[0, 0, 0, 0, 0, 0, 0, 1])?;
    let value = value.to_string().replacen(' ', "\\ud83d", surrogates);
    Ok(format!("\"{}\":{value}", u.choose(&CASES)?(member)))
}

/// A code or the name of a field: a known one, the longest one, a value, or half of one.
fn name(u: &mut Unstructured<'_>, values: &[String]) -> Result<String> {
    let value = encoded_value(u, values)?;
    let (start, end) = value.split_at(value.floor_char_boundary(value.len() / 2));
    Ok(match u.int_in_range(0..=4)? {
        0 => choose(u, CODES)?,
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
    let twice = u.choose(&encoding::ALL)?(&once);
    let mut text = u.choose(&CASES)?(&twice);
    if u.ratio(1, 4)? {
        let middle = text.floor_char_boundary(text.len() / 2);
        text.insert_str(middle, &choose(u, "<b>|\u{ad}|\u{200b}|\n")?);
    }
    Ok(text)
}
