//! The ways in which a layer of the API may write a value that it received.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub(super) const ENCODINGS: [fn(&str) -> String; 7] = [
    str::to_owned,
    |value| html_escape::encode_safe(value).into_owned(),
    percent,
    // The body of an HTML form.
    |value| percent(value).replace("%20", "+"),
    // JSON, as little of it as has to be escaped, and as much as some layers do.
    |value| value.replace('\\', r"\\").replace('"', r#"\""#),
    |value| escape_others(value, r"\u"),
    // Classic ASP.
    |value| escape_others(value, "%u"),
];

/// The value in any two encodings, one after the other.
pub(super) fn encoded_twice(value: &str) -> impl Iterator<Item = String> {
    let once = ENCODINGS.map(|encode| encode(value)).into_iter();
    once.flat_map(|value| ENCODINGS.map(|encode| encode(&value)))
}

fn percent(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// Escapes every character but ASCII letters and digits.
fn escape_others(value: &str, prefix: &str) -> String {
    let escape = |unit: u16| match char::from_u32(unit.into()) {
        Some(c) if c.is_ascii_alphanumeric() => c.to_string(),
        _ => format!("{prefix}{unit:04x}"),
    };
    value.encode_utf16().map(escape).collect()
}
