//! The ways in which the layers of the API may write what it means to say, undone: HTML's, JSON's, URLs' and forms'.

use html_escape::decode_html_entities;
use percent_encoding::percent_decode_str;

/// The text with one layer of escapes undone: HTML's, JSON's, and those of URLs and forms.
pub(super) fn unescaped(text: &str) -> String {
    // The plus first: one that comes out of an escape is no space.
    let text = text.replace('+', " ");
    let text = without_backslashes(&without_void_references(&decode_html_entities(&text)));
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// The text without the numeric references that are left when HTML's are undone, `&#0;`: nobody sees what they stand for.
fn without_void_references(text: &str) -> String {
    let mut parts = text.split("&#");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(';') {
            Some((number, rest)) if number.bytes().all(|b| b.is_ascii_hexdigit() || b == b'x') => {
                kept.push_str(rest);
            }
            _ => {
                kept.push_str("&#");
                kept.push_str(part);
            }
        }
    }
    kept
}

/// The text with `%21` undone, but not `%41`: nobody escapes a letter, so that is rather a percent sign before a value.
pub(super) fn signs_unescaped(text: &str) -> String {
    let is_sign = |digits: &[u8; 2]| {
        let byte = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_some_and(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric())
    };
    let mut kept = String::with_capacity(text.len());
    let mut parts = text.split('%');
    kept.push_str(parts.next().unwrap_or_default());
    for part in parts {
        kept.push_str(if part.as_bytes().first_chunk().is_some_and(is_sign) {
            "%"
        } else {
            "%25"
        });
        kept.push_str(part);
    }
    percent_decode_str(&kept).decode_utf8_lossy().into_owned()
}

/// The text with the escapes of JSON undone, and `%u0027`, which old versions of ASP write.
fn without_backslashes(text: &str) -> String {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let (unit, length) = match (c, after.as_bytes()) {
            ('\\' | '%', [b'u', digits @ ..]) => (hexadecimal(digits), 6),
            ('\\', [b'n' | b'r' | b't' | b'b' | b'f', ..]) => (Some(u16::from(b' ')), 2),
            ('\\', [sign @ (b'"' | b'\\' | b'/' | b'\''), ..]) => (Some(u16::from(*sign)), 2),
            _ => (None, 0),
        };
        rest = match unit {
            Some(unit) => {
                units.push(unit);
                &rest[length..]
            }
            None => {
                units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
                after
            }
        };
    }
    String::from_utf16_lossy(&units)
}

/// The number of which these are the first four digits.
fn hexadecimal(digits: &[u8]) -> Option<u16> {
    let digit = |number: u16, digit: &u8| {
        Some(number << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?)
    };
    digits.first_chunk::<4>()?.iter().try_fold(0, digit)
}
