//! RequestValues of requests, and what the API may say about them.

use super::{choices::Choices, disguise::disguised};

/// What values and texts are made of, besides ASCII: what changes its length with its case, what looks like an escape,
/// what is no letter, and what is put together of parts.
const PIECES: [&str; 40] = [
    "a",
    "Bc",
    "de9",
    "xyz",
    "Q",
    "0",
    "42",
    "hunter",
    "é",
    "e\u{301}",
    "ß",
    "İ",
    "ı",
    "Σ",
    "ς",
    "σ",
    "ﬁ",
    "ｈ",
    "K",
    "пароль",
    "密碼",
    "🔑",
    " ",
    ".",
    "-",
    "_",
    "!",
    "@",
    "+",
    "%",
    "&",
    "<",
    ">",
    "'",
    "\"",
    "\\",
    "%41",
    "&amp;",
    "\\u0041",
    "…",
];

const SENTENCES: [&str; 6] = [
    "Answer is incorrect, try again.",
    "The password is too weak",
    "Validation error occured while processing entity",
    "No HTTP resource was found that matches the request URI",
    "Application key is not defined or does not exist",
    "is locked",
];

/// A value that a caller may send: now and then short, now and then of any characters.
pub(super) fn value(choices: &mut Choices<'_>) -> String {
    match choices.below(8) {
        0 => choices.several(1, 2, piece).concat(),
        1 => choices
            .several(4, 8, |choices| char::from(b' ' + choices.below(95) as u8))
            .into_iter()
            .collect(),
        2 => choices.several(4, 8, character).into_iter().collect(),
        3 | 4 => choices
            .several(2, 4, |choices| choices.of(&PIECES[..8]))
            .concat(),
        _ => choices.several(3, 6, piece).concat(),
    }
}

/// A message of the API's: its own words, values in disguise, and what else there may be.
pub(super) fn message(choices: &mut Choices<'_>, values: &[String]) -> String {
    if choices.once_in(12) {
        return piece(choices).repeat(choices.below(256) * 20);
    }
    let part = |choices: &mut Choices<'_>| match choices.below(6) {
        0 | 1 => choices.of(&SENTENCES).to_owned(),
        2 => piece(choices).to_owned(),
        3 => choices
            .of(&[
                "<p>", "</p>", "<", "&", "%", "\\", "&#", "%2", "\u{202e}", "\0",
            ])
            .to_owned(),
        _ if values.is_empty() => String::new(),
        _ => {
            let value = &values[choices.below(values.len())];
            disguised(choices, value)
        }
    };
    // With a space, for a sign before a value could make an escape together with its beginning: `100%` and `beef`. That
    // it would hide the value is known.
    let separator = choices.of(&[" ", ", ", "\r\n"]);
    choices.several(0, 4, part).join(separator)
}

pub(super) fn sentence(choices: &mut Choices<'_>) -> &'static str {
    choices.of(&SENTENCES)
}

fn piece(choices: &mut Choices<'_>) -> &'static str {
    choices.of(&PIECES)
}

fn character(choices: &mut Choices<'_>) -> char {
    char::from_u32(u32::from(choices.number())).unwrap_or('\u{1f511}')
}
