//! What may be told of an answer: codes that are identifiers, and what a validation says about fields.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Field,
    http_error::error_code,
    json::JsonObject,
    redact::{Redactor, sanitize},
};
use crate::rpc::REQUEST_FIELDS;

/// The API's codes that are plain identifiers; there is no reason for it to send others, or many.
pub(super) fn codes(members: &JsonObject<'_>, redactor: &Redactor) -> Vec<String> {
    const MOST: usize = 8;
    let is_identifier = |code: &String| {
        (1..=64).contains(&code.len())
            && code.starts_with(|c: char| c.is_ascii_alphabetic())
            && code
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let listed = members
        .strings("ErrorsCode")
        .unwrap_or_default()
        .into_iter();
    let codes: Vec<_> = listed
        .chain(error_code(members))
        .filter(is_identifier)
        .filter(|code| !redactor.finds_any_in(code))
        .take(MOST)
        .collect();
    // Side by side, as they are told, they may spell what none of them says alone.
    if redactor.finds_any_in(&codes.join(",")) {
        Vec::new()
    } else {
        codes
    }
}

/// `ModelState`: `parameter.Property` to a list of messages, or to one.
pub(super) fn fields(
    members: &JsonObject<'_>,
    redactor: &Redactor,
    budget: &mut usize,
) -> Vec<Field> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Messages {
        One(String),
        Many(Vec<Option<String>>),
    }

    const MOST: usize = 8;
    let state = members
        .get::<JsonObject<'_>>("ModelState")
        .ok()
        .flatten()
        .unwrap_or_default();
    let field = |(key, messages): (&str, &RawValue)| {
        let messages = match serde_json::from_str(messages.get()) {
            Ok(Messages::One(message)) => vec![message],
            Ok(Messages::Many(messages)) => messages.into_iter().flatten().collect(),
            Err(_) => Vec::new(),
        };
        Field {
            name: contract_name(key, redactor),
            text: sanitize(messages.iter().map(String::as_str), redactor, budget),
        }
    };
    state.iter().take(MOST).map(field).collect()
}

/// The contract's spelling of a field's name, `userPassword.OldPassword[0]` → `old_password`; empty if it does not look
/// like a name or repeats a value of the request.
fn contract_name(key: &str, redactor: &Redactor) -> String {
    let property = key.rsplit('.').next().unwrap_or(key);
    let property = property.split('[').next().unwrap_or(property);
    // The contract's own names are no secret, even to a trader whose password is "password".
    if let Some(known) = REQUEST_FIELDS
        .iter()
        .find(|field| is_spelled(property, field))
    {
        return (*known).to_owned();
    }
    let is_name = (1..=64).contains(&property.len())
        && property
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_name && !redactor.finds_any_in(property) {
        snake_case(property)
    } else {
        String::new()
    }
}

/// Whether the property is that field of the contract, in whatever case.
fn is_spelled(property: &str, field: &str) -> bool {
    let letters = |name: &str| name.replace('_', "").to_ascii_lowercase();
    letters(property) == letters(field)
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
