//! Keeps the values of the request and the application key out of the API's own words.
//!
//! The API may repeat a value as it was sent, or escaped by one or two of its layers. So the gateway undoes the usual
//! escapes once and twice, in every order, and compares letters and digits alone, whatever their case. A text that
//! contains a value in any of these forms is left out whole.

use html_escape::decode_html_entities;
use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

use crate::invisible::is_invisible;

/// The most bytes of the API's text that one status passes on.
const MAX_TEXT: usize = 512;

/// The values that are kept out of every text from a response: those of the call's request, and its application key. It has
/// no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct PrivateValues(pub(crate) Vec<String>);

impl PrivateValues {
    /// Prepares the values for comparison. Only an error response needs this.
    pub(crate) fn redactor(&self) -> Redactor {
        let comparable = |value: &String| {
            let visible = fold(value);
            let letters = letters(&visible);
            // A value without letters and digits is compared by its other characters.
            if letters.is_empty() { visible } else { letters }
        };
        let values = self.0.iter().map(comparable);
        Redactor {
            values: values.filter(|value| !value.is_empty()).collect(),
            budget: MAX_TEXT,
        }
    }
}

/// Keeps private values out of the texts of one status.
pub(crate) struct Redactor {
    values: Vec<String>,
    /// How many bytes of text the status may still take.
    pub(super) budget: usize,
}

impl Redactor {
    /// Whether the text contains a value in any case and spelling, escaped up to twice.
    pub(crate) fn finds_value_in(&self, text: &str) -> bool {
        decoded_up_to_twice(text).iter().any(|text| {
            let visible = fold(text);
            let letters = letters(&visible);
            let is_in = |value: &String| letters.contains(value) || visible.contains(value);
            self.values.iter().any(is_in)
        })
    }
}

/// The visible characters, without differences of case and compatibility forms.
fn fold(text: &str) -> String {
    // By way of upper case, so that "ß" equals "SS" and a final sigma equals any other.
    let lower = text.nfkd().flat_map(char::to_lowercase);
    let folded: String = lower
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    let is_visible = |c: &char| !c.is_whitespace() && !is_invisible(*c);
    folded.nfkd().filter(is_visible).collect()
}

/// The letters and digits of a folded text, without accents.
fn letters(folded: &str) -> String {
    folded.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// The text as it is, and with one or two layers of escapes undone.
fn decoded_up_to_twice(text: &str) -> Vec<String> {
    // The case of an escape may have changed with the rest of the text: `&AMP;`.
    let text = text.to_lowercase();
    let once = decoded(&text);
    let twice = once.iter().flat_map(|text| decoded(text)).collect();
    [vec![text], once, twice].concat()
}

/// The text with one layer undone, in each way that changes it. Each way must be an exact inverse,
/// because the value itself may contain what looks like another escape.
fn decoded(text: &str) -> Vec<String> {
    // Plus signs come first: one that comes out of an escape is not a space.
    let with_spaces = text.replace('+', " ");
    let mut texts = vec![
        decode_html_entities(text).into_owned(),
        unescape(text, "&#", character_reference),
        unescape(text, "\\", backslash_escape),
        unescape(text, "%", utf16_unit),
        percent_decode_str(&with_spaces)
            .decode_utf8_lossy()
            .into_owned(),
    ];
    texts.retain(|decoded| decoded != text);
    texts
}

/// Undoes the escapes that begin with `start`. `read` decodes the text after it, appends the result
/// in UTF-16, and returns the length that it read; `None` if it is not an escape.
fn unescape(text: &str, start: &str, read: fn(&str, &mut Vec<u16>) -> Option<usize>) -> String {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(start) {
        units.extend(before.encode_utf16());
        let length = read(after, &mut units);
        if length.is_none() {
            units.extend(start.encode_utf16());
        }
        rest = &after[length.unwrap_or(0)..];
    }
    units.extend(rest.encode_utf16());
    String::from_utf16_lossy(&units)
}

/// `&#39;` or `&#x27;`. Unlike `decode_html_entities`, this also reads control characters.
fn character_reference(text: &str, units: &mut Vec<u16>) -> Option<usize> {
    let (number, _) = text.split_once(';')?;
    let code = match number.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    units.extend_from_slice(char::from_u32(code.ok()?)?.encode_utf16(&mut [0; 2]));
    Some(number.len() + 1)
}

/// JSON's `\u0027`, `\n` and `\"`.
fn backslash_escape(text: &str, units: &mut Vec<u16>) -> Option<usize> {
    let unit = match text.bytes().next()? {
        b'u' => return utf16_unit(text, units),
        b'n' | b'r' | b't' | b'b' | b'f' => b' ',
        sign @ (b'"' | b'\\' | b'/' | b'\'') => sign,
        _ => return None,
    };
    units.push(unit.into());
    Some(1)
}

/// The `u0027` of JSON's `\u0027` and of `%u0027`, which old versions of ASP write.
fn utf16_unit(text: &str, units: &mut Vec<u16>) -> Option<usize> {
    let digits = text.strip_prefix('u')?.get(..4)?;
    units.push(u16::from_str_radix(digits, 16).ok()?);
    Some(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_in_any_case_and_spelling() {
        for (message, value) in [
            ("User robert.zak is locked", "robert.zak"),
            ("User ROBERT.ZAK is locked", "robert.zak"),
            ("no a b c d", "b  c"),
            ("straße", "STRAßE"),
            ("!!! is short", "!!!"),
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
            ("&#104;un&#0;&#116;er&#28;2", "hun\0ter\u{1c}2"),
            ("aabb", "ab"),
            ("it is …", "…"),
        ] {
            let redactor = PrivateValues(vec![value.to_owned()]).redactor();
            assert!(redactor.finds_value_in(message), "{message:?} {value:?}");
            assert!(!redactor.finds_value_in("Try again."), "{value:?}");
        }
    }
}
