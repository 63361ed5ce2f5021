//! The ways in which a layer of the API may write a value that it was sent.

use std::fmt::Write;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::choices::Choices;
use crate::rpc::PERCENT_ENCODED;

/// A way to write a value that says which value it is.
pub(super) type Disguise = fn(&str) -> String;

/// All of them. What is told of an answer must have a value in none.
pub(super) const ALL: [Disguise; 9] = [
    plain,
    html,
    html_numbers,
    percent,
    percent_all,
    form,
    json,
    json_ascii,
    percent_u,
];

/// A value in up to two disguises, one over the other, in some case, perhaps with something in it that nobody sees.
pub(super) fn disguised(choices: &mut Choices<'_>, value: &str) -> String {
    let mut text = choices.of(&ALL)(value);
    if choices.once_in(3) {
        text = choices.of(&ALL)(&text);
    }
    match choices.below(4) {
        0 => text,
        1 => text.to_uppercase(),
        2 => text.to_lowercase(),
        _ => {
            let middle = text.floor_char_boundary(text.len() / 2);
            let inside = choices.of(&["<b>", "\u{ad}", "\u{200b}", "\n", "…"]);
            text.insert_str(middle, inside);
            text
        }
    }
}

fn plain(value: &str) -> String {
    value.to_owned()
}

fn html(value: &str) -> String {
    html_escape::encode_safe(value).into_owned()
}

/// Each character that is no ASCII letter or digit as a number, as .NET writes what has no name of its own.
fn html_numbers(value: &str) -> String {
    each_other(value, |text, c| write!(text, "&#{};", u32::from(c)))
}

fn percent(value: &str) -> String {
    utf8_percent_encode(value, PERCENT_ENCODED).to_string()
}

fn percent_all(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// As in the body of an HTML form.
fn form(value: &str) -> String {
    percent(value).replace("%20", "+")
}

fn json(value: &str) -> String {
    let quoted = serde_json::to_string(value).expect("a string is JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

/// All but ASCII letters and digits as `\u0027`; .NET does so for whatever could mean something in HTML.
fn json_ascii(value: &str) -> String {
    in_utf16(value, "\\u")
}

/// `%u0027`, as classic ASP has it.
fn percent_u(value: &str) -> String {
    in_utf16(value, "%u")
}

fn in_utf16(value: &str, prefix: &str) -> String {
    each_other(value, |text, c| {
        c.encode_utf16(&mut [0; 2])
            .iter()
            .try_for_each(|unit| write!(text, "{prefix}{unit:04x}"))
    })
}

fn each_other(value: &str, mut write: impl FnMut(&mut String, char) -> std::fmt::Result) -> String {
    let mut text = String::new();
    for c in value.chars() {
        if c.is_ascii_alphanumeric() {
            text.push(c);
        } else {
            write(&mut text, c).expect("a string takes anything");
        }
    }
    text
}
