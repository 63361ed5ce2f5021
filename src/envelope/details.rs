//! Selects what callers may see of a response: codes that are identifiers, field names, and short plain texts.

use html_escape::decode_html_entities;
use serde_json::value::RawValue;

use super::{
    FieldError,
    http_error::error_code,
    json::{JsonObject, strings},
    redact::Redactor,
};
use crate::{invisible::is_invisible, rpc::REQUEST_FIELDS};

/// Longer messages are left out: they are pages.
const MAX_MESSAGE: usize = 4096;
const MAX_CODES: usize = 8;
const MAX_FIELDS: usize = 8;
const MAX_IDENTIFIER: usize = 64;

/// Those of the API's codes that are plain identifiers.
pub(super) fn codes(object: &JsonObject<'_>, redactor: &Redactor) -> Vec<String> {
    let is_identifier =
        |code: &String| code.starts_with(|c: char| c.is_ascii_alphabetic()) && is_name(code, "_-.");
    let listed = object.strings("ErrorsCode").unwrap_or_default();
    let mut codes: Vec<_> = listed
        .into_iter()
        .chain(error_code(object))
        .filter(|code| is_identifier(code) && !redactor.finds_value_in(code))
        .take(MAX_CODES)
        .collect();
    // Two codes side by side may contain a value that neither contains alone.
    if redactor.finds_value_in(&codes.join(",")) {
        codes.clear();
    }
    codes
}

/// The entries of `ModelState` and of ASP.NET Core's `errors`, which map `parameter.Property` to one message or a list.
pub(super) fn fields(object: &JsonObject<'_>, redactor: &mut Redactor) -> Vec<FieldError> {
    let lists = ["ModelState", "Errors"].map(|name| object.object(name));
    let field = |(key, messages): (&str, &RawValue)| FieldError {
        name: contract_name(key, redactor),
        text: redactor.sanitize(&strings(messages).unwrap_or_default()),
    };
    let entries = lists.iter().flat_map(JsonObject::iter);
    entries.take(MAX_FIELDS).map(field).collect()
}

/// The contract's spelling of a field, `userPassword.OldPassword[0]` → `old_password`; empty if it is no name or contains
/// a private value.
fn contract_name(key: &str, redactor: &Redactor) -> String {
    let property = key.rsplit('.').next().unwrap_or(key);
    let property = property.split('[').next().unwrap_or(property);
    let letters = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let is_property = |field: &&str| letters(field) == letters(property);
    // The contract's own names are public, even if somebody's password is "password".
    let is_public = is_name(property, "_") && !redactor.finds_value_in(property);
    match REQUEST_FIELDS.into_iter().find(is_property) {
        Some(field) => field.to_owned(),
        None if is_public => snake_case(property),
        None => String::new(),
    }
}

/// Whether the text consists of ASCII letters, digits and these signs.
fn is_name(text: &str, signs: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
    (1..=MAX_IDENTIFIER).contains(&text.len()) && text.chars().all(is_allowed)
}

fn snake_case(property: &str) -> String {
    let mut name = String::new();
    for (index, c) in property.char_indices() {
        let starts_word = |before: char| !before.is_ascii_uppercase() && before != '_';
        if c.is_ascii_uppercase() && property[..index].ends_with(starts_word) {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

impl Redactor {
    /// Joins the messages that contain no value into one plain text within the budget, and charges the budget for it. One
    /// that could not be decoded is left out too, because a value in it may have changed.
    pub(crate) fn sanitize<M: AsRef<str>>(&mut self, messages: &[M]) -> String {
        let is_decoded = |text: &&str| !text.contains(char::REPLACEMENT_CHARACTER);
        let is_fit = |text: &&str| text.len() <= MAX_MESSAGE && !self.finds_value_in(text);
        let messages = messages
            .iter()
            .map(M::as_ref)
            .filter(is_decoded)
            .filter(is_fit);
        let messages: Vec<_> = messages.map(without_markup).collect();
        let mut text = messages
            .join(" ")
            .split(|c: char| c.is_whitespace() || is_invisible(c))
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        text.truncate(text.floor_char_boundary(self.budget));
        // Two messages side by side, or one without its markup, may contain a value that no message contained before.
        if self.finds_value_in(&text) {
            text.clear();
        }
        self.budget -= text.len();
        text
    }
}

fn without_markup(text: &str) -> String {
    let text = decode_html_entities(text);
    let mut parts = text.split('<');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_tag = part.starts_with(|c: char| c.is_ascii_alphabetic() || "/!?%".contains(c));
        plain.push_str(match part.split_once('>') {
            Some((_, after)) if is_tag => after,
            None if is_tag => "",
            _ => part,
        });
    }
    // A ">" that is left could form markup again with the text around it.
    plain.replace('>', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::PrivateValues;

    fn sanitized(messages: &[&str], values: &[&str]) -> String {
        let mut redactor =
            PrivateValues(values.iter().map(|&value| value.to_owned()).collect()).redactor();
        redactor.sanitize(messages)
    }

    #[test]
    fn text_is_made_plain() {
        for (message, expected) in [
            (
                "Answer is incorrect, try again.",
                "Answer is incorrect, try again.",
            ),
            ("  two\r\n\tlines ", "two lines"),
            ("<p class=\"x\">marked <b>up</b></p>", "marked up"),
            ("<<b>script>alert(1)</<b>script>", "scriptalert(1)script"),
            (
                "&lt;script&gt;x&lt;/script&gt; Tom &amp; Jerry",
                "x Tom & Jerry",
            ),
            ("<?xml version=1?><%= x %>y", "y"),
            ("1 < 2 > 0", "1 2 0"),
            ("cut <scr", "cut"),
            ("a\u{202e}b\u{0}c", "a b c"),
        ] {
            assert_eq!(sanitized(&[message], &[]), expected, "{message:?}");
        }
    }

    #[test]
    fn a_message_that_contains_a_value_is_left_out() {
        assert_eq!(
            sanitized(&["a secret", "Try again."], &["secret"]),
            "Try again."
        );
        assert_eq!(sanitized(&["open", "sesame"], &["open sesame"]), "");
        assert_eq!(
            sanitized(&["Zo\u{fffd}.42 is locked", "Try again."], &["zoë.42"]),
            "Try again."
        );
        assert_eq!(sanitized(&["se</b>cr<b>et"], &["secret"]), "");
        assert_eq!(
            sanitized(&["Try again."], &["", "\u{200b}", "123456"]),
            "Try again.",
            "an empty value is in every text"
        );
    }

    #[test]
    fn text_is_cut_at_a_character_within_the_budget() {
        let long = "é".repeat(400);
        let mut redactor = PrivateValues::default().redactor();
        assert_eq!(redactor.sanitize(&[&long]).len(), 512);
        assert_eq!(
            redactor.sanitize(&[&long]),
            "",
            "the budget is shared by all texts of a status"
        );
        let page = "x".repeat(MAX_MESSAGE + 1);
        assert_eq!(sanitized(&[&page, "short"], &[]), "short");
    }
}
