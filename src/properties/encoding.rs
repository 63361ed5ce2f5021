//! The ways in which a layer of the API may write a value that it received.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::rpc::PERCENT_ENCODED;

pub(super) const ALL: [fn(&str) -> String; 9] = [
    str::to_owned,
    |value| html_escape::encode_safe(value).into_owned(),
    // What .NET does with characters that have no name.
    |value| escape_others(value, |c| format!("&#{};", u32::from(c))),
    |value| utf8_percent_encode(value, PERCENT_ENCODED).to_string(),
    |value| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
    // The body of an HTML form.
    |value| format!("{}", utf8_percent_encode(value, PERCENT_ENCODED)).replace("%20", "+"),
    |value| {
        let quoted = serde_json::json!(value).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    },
    |value| escape_others(value, |c| utf16_escape("\\u", c)),
    // Classic ASP.
    |value| escape_others(value, |c| utf16_escape("%u", c)),
];

/// The value in any two encodings, one after the other.
pub(super) fn twice(value: &str) -> Vec<String> {
    let once = ALL.iter().map(|encode| encode(value));
    once.flat_map(|value| ALL.map(|encode| encode(&value)))
        .collect()
}

/// Escapes every character but ASCII letters and digits.
fn escape_others(value: &str, escape: fn(char) -> String) -> String {
    let encode = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c.to_string(),
        c => escape(c),
    };
    value.chars().map(encode).collect()
}

fn utf16_escape(prefix: &str, c: char) -> String {
    let escape = |unit: &mut u16| format!("{prefix}{unit:04x}");
    c.encode_utf16(&mut [0; 2]).iter_mut().map(escape).collect()
}
