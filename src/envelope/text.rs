//! What may be passed on of the API's own words: plain text, short, without anything that the caller sent.

use percent_encoding::utf8_percent_encode;

use crate::contract::PERCENT_ENCODED;

/// The most text, in bytes, that one status passes on.
pub(super) const MAX_TEXT: usize = 512;
/// A longer message is a page, not a message, and is left out whole.
const MAX_MESSAGE: usize = 4096;
/// What stands where a value of the request was.
const GAP: &str = "…";

/// The values of the request, which no answer may repeat to anybody.
#[derive(Clone, Default)]
pub(crate) struct Values(Vec<String>);

impl Values {
    /// The forms in which an answer could repeat these values: as sent, and percent-encoded.
    pub(crate) fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let encoded = |value: &str| utf8_percent_encode(value, PERCENT_ENCODED).to_string();
        let mut forms: Vec<String> = values
            .into_iter()
            .flat_map(|value| [plain(value), plain(&encoded(value))])
            .filter(|form| !form.is_empty())
            .collect();
        // The longest first: it may contain a shorter one.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self(forms)
    }

    /// Whether the text repeats a value, in whatever case.
    pub(super) fn are_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.0.iter().any(|value| text.contains(&value.to_lowercase()))
    }

    /// The text with a gap in place of each value; nothing if that does not get rid of them all.
    fn taken_out_of(&self, mut text: String) -> String {
        for value in &self.0 {
            let mut kept = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some((start, end)) = find(rest, value) {
                kept.push_str(&rest[..start]);
                kept.push_str(GAP);
                rest = &rest[end..];
            }
            kept.push_str(rest);
            text = kept;
        }
        if self.are_in(&text) { String::new() } else { text }
    }
}

/// Joins what fits of the messages into one text of at most `budget` bytes, which is charged for it.
pub(super) fn passed_on<'m>(
    messages: impl IntoIterator<Item = &'m str>,
    values: &Values,
    budget: &mut usize,
) -> String {
    let mut text = String::new();
    for message in messages.into_iter().filter(|message| message.len() <= MAX_MESSAGE) {
        let message = values.taken_out_of(plain(message));
        let separator = if text.is_empty() || message.is_empty() { "" } else { " " };
        let room = budget.saturating_sub(text.len() + separator.len());
        let part = &message[..message.floor_char_boundary(room)];
        if !part.is_empty() {
            text.push_str(separator);
            text.push_str(part);
        }
    }
    // Two messages side by side may spell what neither says alone.
    if values.are_in(&text) {
        text.clear();
    }
    *budget -= text.len();
    text
}

/// The text without markup, control characters and repeated white space.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '<' && rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!') {
            rest = rest.find('>').map_or("", |end| &rest[end + 1..]);
        } else if c.is_whitespace() || is_invisible(c) {
            if !plain.is_empty() && !plain.ends_with(' ') {
                plain.push(' ');
            }
        } else {
            plain.push(c);
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

/// Control characters, and those that change how the characters around them are shown.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The first place, from and to, where the text has the value, whatever the case of either.
fn find(text: &str, value: &str) -> Option<(usize, usize)> {
    text.char_indices().find_map(|(start, _)| Some((start, start + length_of_match(&text[start..], value)?)))
}

/// How many bytes of the text's beginning are the value.
fn length_of_match(text: &str, value: &str) -> Option<usize> {
    let mut rest = text.chars();
    for expected in value.chars() {
        let same = |c: char| c == expected || c.to_lowercase().eq(expected.to_lowercase());
        rest.next().filter(|c| same(*c))?;
    }
    Some(text.len() - rest.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_on_of(messages: &[&str], values: &[&str]) -> String {
        passed_on(messages.iter().copied(), &Values::of(values.iter().copied()), &mut { MAX_TEXT })
    }

    #[test]
    fn text_is_made_plain() {
        for (message, expected) in [
            ("Answer is incorrect, try again.", "Answer is incorrect, try again."),
            ("  two\r\n\tlines ", "two lines"),
            ("<p class=\"x\">marked <b>up</b></p>", "marked up"),
            ("1 < 2 > 0", "1 < 2 > 0"),
            ("cut <scr", "cut"),
            ("a\u{202e}b\u{0}c", "a b c"),
        ] {
            assert_eq!(passed_on_of(&[message], &[]), expected, "{message:?}");
        }
    }

    #[test]
    fn a_value_of_the_request_is_taken_out_in_every_form() {
        for (message, value, expected) in [
            ("User robert.zak is locked", "robert.zak", "User … is locked"),
            ("User ROBERT.ZAK is locked", "robert.zak", "User … is locked"),
            ("no a%40b.com", "a@b.com", "no …"),
            ("no a b c d", "b  c", "no a … d"),
            ("straße", "STRAßE", "…"),
            ("İstanbul is far", "i\u{307}stanbul", ""),
            ("<b>pa</b>ss", "pass", "…"),
            ("aabb", "ab", "a…b"),
            ("it is …", "…", ""),
            ("abcdef", "abc", "…def"),
        ] {
            assert_eq!(passed_on_of(&[message], &[value]), expected, "{message:?} {value:?}");
        }
        assert_eq!(passed_on_of(&["abcdef"], &["abc", "abcdef"]), "…", "the longer one goes first");
        assert_eq!(passed_on_of(&["open", "sesame"], &["open sesame"]), "", "nothing is spelled across messages");
    }

    #[test]
    fn text_is_cut_at_a_character_within_the_budget() {
        let long = "é".repeat(400);
        let mut budget = MAX_TEXT;
        let first = passed_on([long.as_str()], &Values::default(), &mut budget);
        assert_eq!(first.len(), 512);
        assert_eq!(passed_on([long.as_str()], &Values::default(), &mut budget), "", "the budget is for all of them");
        assert_eq!(passed_on_of(&[&"x".repeat(MAX_MESSAGE + 1), "short"], &[]), "short");
    }
}
