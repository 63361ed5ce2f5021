//! What may be passed on of the API's own words: plain text, short, without anything that the caller sent.
//!
//! The API may repeat a value as it was sent, or escaped in whatever way one of its layers is used to. So a value that
//! stands there as it is gets a gap in its place; and if after that the letters and digits of the text, with none, some or
//! all of the escapes undone, still spell it, the text is left out whole. Of a value without letters the signs count.

use std::fmt;

use html_escape::decode_html_entities;
use unicode_normalization::UnicodeNormalization;

use super::escapes::{signs_unescaped, unescaped};
use crate::invisible::is_invisible;

/// The most text, in bytes, that one status passes on.
pub(crate) const MAX_TEXT: usize = 512;
/// A longer message is a page, not a message, and is left out whole.
const MAX_MESSAGE: usize = 4096;
/// What stands where a value of the request was.
const GAP: &str = "…";
/// How often escapes are undone, since one layer may escape what another has escaped.
const LAYERS: usize = 4;

/// What no answer may repeat to anybody: the values of the request, and the key.
#[derive(Clone, Default)]
pub(crate) struct RequestValues(Vec<String>);

impl RequestValues {
    pub(crate) fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        Self(values.into_iter().map(str::to_owned).collect())
    }

    /// Adds one more.
    pub(crate) fn add(&mut self, value: &str) {
        self.0.push(value.to_owned());
    }

    /// What keeps them out of texts. It takes some work, which an answer that is a success does not need.
    pub(crate) fn redactor(&self) -> Redactor {
        let spelled = |value: &String| Value {
            plain: squeezed(value),
            spellings: spellings(value),
        };
        let mut values: Vec<_> = self
            .0
            .iter()
            .map(spelled)
            .filter(|value| !value.plain.is_empty())
            .collect();
        // The longest first: it may contain a shorter one.
        values.sort_by_key(|value| std::cmp::Reverse(value.plain.len()));
        Redactor(values)
    }
}

/// Keeps values out of texts.
pub(crate) struct Redactor(Vec<Value>);

struct Value {
    plain: String,
    spellings: Vec<Spelling>,
}

/// What a text spells, however it is written.
#[derive(PartialEq)]
struct Spelling {
    /// The letters and digits alone, case folded.
    letters: String,
    /// All that can be seen, in lower case.
    signs: String,
}

impl Redactor {
    /// Whether the text repeats a value, in whatever case and however escaped.
    pub(crate) fn finds_any_in(&self, text: &str) -> bool {
        let spellings = spellings(text);
        self.0
            .iter()
            .any(|value| find(text, &value.plain).is_some() || value.is_spelled_by(&spellings))
    }

    /// The message as plain text, with a gap in place of each value; nothing if that does not get rid of them all.
    fn taken_out_of(&self, message: &str) -> String {
        let (mut text, spellings) = (plain(message), spellings(message));
        for value in &self.0 {
            if find(&text, &value.plain).is_some() {
                text = value.gap_in(&text);
            } else if value.is_spelled_by(&spellings) {
                return String::new();
            }
        }
        if self.finds_any_in(&text) {
            String::new()
        } else {
            text
        }
    }
}

impl Value {
    fn is_spelled_by(&self, texts: &[Spelling]) -> bool {
        self.spellings
            .iter()
            .any(|value| texts.iter().any(|text| text.has(value)))
    }

    /// The text with a gap wherever the value stands in it.
    fn gap_in(&self, text: &str) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((start, end)) = find(rest, &self.plain) {
            kept.push_str(&rest[..start]);
            kept.push_str(GAP);
            rest = &rest[end..];
        }
        kept + rest
    }
}

impl Spelling {
    fn of(text: &str) -> Self {
        // Character by character: a sigma at the end of a word is another letter than within one.
        let folded = text
            .nfkd()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect::<String>();
        Self {
            letters: folded.nfkd().filter(|c| c.is_alphanumeric()).collect(),
            signs: text
                .chars()
                .filter(|c| !c.is_whitespace() && !is_invisible(*c))
                .collect(),
        }
    }

    fn has(&self, value: &Self) -> bool {
        match (value.letters.as_str(), value.signs.as_str()) {
            ("", "") => false,
            ("", signs) => self.signs.contains(signs),
            (letters, _) => self.letters.contains(letters),
        }
    }
}

impl fmt::Debug for RequestValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestValues([redacted])")
    }
}

/// Joins what fits of the messages into one text of at most `budget` bytes, which is charged for it.
pub(crate) fn sanitize<'m>(
    messages: impl IntoIterator<Item = &'m str>,
    redactor: &Redactor,
    budget: &mut usize,
) -> String {
    let mut text = String::new();
    for message in messages
        .into_iter()
        .filter(|message| message.len() <= MAX_MESSAGE)
    {
        let separator = if text.is_empty() { "" } else { " " };
        let room = budget.saturating_sub(text.len() + separator.len());
        if room == 0 {
            break;
        }
        let message = redactor.taken_out_of(message);
        let part = &message[..message.floor_char_boundary(room)];
        if !part.is_empty() {
            text.push_str(separator);
            text.push_str(part);
        }
    }
    // Two messages side by side may spell what neither says alone.
    if redactor.finds_any_in(&text) {
        text.clear();
    }
    *budget -= text.len();
    text
}

/// The text without markup, control characters and repeated white space.
fn plain(text: &str) -> String {
    let text = decode_html_entities(text);
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(start) = rest.find('<') {
        plain.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        if rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?' | '%'))
        {
            rest = rest.find('>').map_or("", |end| &rest[end + 1..]);
        }
    }
    plain.push_str(rest);
    // What is left of them could make markup together with what stands around it.
    squeezed(&plain.replace(['<', '>'], ""))
}

/// The text with one space for each run of white space and of characters that nobody sees.
fn squeezed(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for word in text
        .split(|c: char| c.is_whitespace() || is_invisible(c))
        .filter(|word| !word.is_empty())
    {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    squeezed
}

/// What the text spells as it is, and with one layer of escapes after the other undone. All of them count: what looks
/// like an escape may be a part of the value.
fn spellings(text: &str) -> Vec<Spelling> {
    // In lower case, since the name of an escape may have been changed with all the rest: `&APOS;`.
    let mut text: String = text.chars().flat_map(char::to_lowercase).collect();
    let mut spellings = vec![Spelling::of(&text)];
    for _ in 0..LAYERS {
        let unescaped = unescaped(&text);
        if unescaped == text {
            break;
        }
        spellings.push(Spelling::of(&signs_unescaped(&text)));
        text = unescaped;
        spellings.push(Spelling::of(&text));
    }
    spellings
}

/// The first place, from and to, where the text has the value, whatever the case of either.
fn find(text: &str, value: &str) -> Option<(usize, usize)> {
    text.char_indices()
        .find_map(|(start, _)| Some((start, start + length_of_match(&text[start..], value)?)))
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
        sanitize(
            messages.iter().copied(),
            &RequestValues::of(values.iter().copied()).redactor(),
            &mut { MAX_TEXT },
        )
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
            assert_eq!(passed_on_of(&[message], &[]), expected, "{message:?}");
        }
    }

    #[test]
    fn a_value_that_stands_there_gets_a_gap() {
        for (message, value, expected) in [
            (
                "User robert.zak is locked",
                "robert.zak",
                "User … is locked",
            ),
            (
                "User ROBERT.ZAK is locked",
                "robert.zak",
                "User … is locked",
            ),
            ("no a b c d", "b  c", "no a … d"),
            ("straße", "STRAßE", "…"),
            ("<b>pa</b>ss", "pass", "…"),
            ("abcdef", "abc", "…def"),
            ("!!! is short", "!!!", "… is short"),
        ] {
            assert_eq!(
                passed_on_of(&[message], &[value]),
                expected,
                "{message:?} {value:?}"
            );
        }
        assert_eq!(
            passed_on_of(&["abcdef"], &["abc", "abcdef"]),
            "",
            "one may hide in the other"
        );
    }

    #[test]
    fn a_value_that_is_written_in_another_way_takes_the_text_with_it() {
        for (message, value) in [
            ("Password hunter2&amp;co&#39;&lt;x is weak", "hunter2&co'<x"),
            ("o&amp;#39;neil.secret", "o'neil.secret"),
            ("hunter+two! is weak", "hunter two!"),
            ("hunter(2)%21", "hunter(2)!"),
            ("no a%40b.com", "a@b.com"),
            ("no a%2540b.com", "a@b.com"),
            ("hun\\\"ter\\\\2", "hun\"ter\\2"),
            ("STRASSE7", "straße7"),
            ("cafe\u{301}9", "café9"),
            ("hun\u{ad}ter2", "hunter2"),
            ("hun\u{200b}ter2", "hunter2"),
            ("İstanbul is far", "i\u{307}stanbul"),
            ("ｈｕｎｔｅｒ２", "hunter2"),
            ("ΟΔΟΣ%41bc", "οδος"),
            ("o\\u0027neil.secret", "o'neil.secret"),
            ("caf\\u00e99", "café9"),
            ("caf%u00E99", "café9"),
            ("O&APOS;NEIL.SECRET", "o'neil.secret"),
            ("two\\nlines", "two\nlines"),
            ("%21%40%23%24", "!@#$"),
            ("&#43;&#43; %u002b%u002b", "++"),
            ("&amp;#33;&amp;#33;", "!!"),
            ("\\ud83d\\udd11\\ud83d\\udd11", "🔑🔑"),
            ("a%252541b", "a%2541b"),
            ("5%aaaaa%2a4", "aaaaa*4"),
            ("&#104;un&#0;&#116;er&#28;2", "hun\0ter\u{1c}2"),
            ("5%41aaa%2a4", "41aaa*4"),
            ("aabb", "ab"),
            ("it is …", "…"),
        ] {
            assert_eq!(
                passed_on_of(&[message], &[value]),
                "",
                "{message:?} {value:?}"
            );
        }
        assert_eq!(
            passed_on_of(&["open", "sesame"], &["open sesame"]),
            "",
            "nothing is spelled across messages"
        );
    }

    #[test]
    fn text_is_cut_at_a_character_within_the_budget() {
        let long = "é".repeat(400);
        let mut budget = MAX_TEXT;
        let first = sanitize(
            [long.as_str()],
            &RequestValues::default().redactor(),
            &mut budget,
        );
        assert_eq!(first.len(), 512);
        assert_eq!(
            sanitize(
                [long.as_str()],
                &RequestValues::default().redactor(),
                &mut budget
            ),
            "",
            "the budget is for all of them"
        );
        assert_eq!(
            passed_on_of(&[&"x".repeat(MAX_MESSAGE + 1), "short"], &[]),
            "short"
        );
    }
}
