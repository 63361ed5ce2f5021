//! Makes what a client sends on a connection from random bytes: frames with header blocks in them.

use arbitrary::{Result, Unstructured};

use super::generate::{choose, list};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames.
const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
/// Flags of frames.
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const NAMES: &str = "x|te|:path|authority|:authorit|:authoritx|:authority-|user-agent";
const PIECES: &str = "|/|%|%2F|//| |-|.|3|4|localhost|:50051|/run/gateway.sock|tuzZ|?|'|#>|[~|@";
/// HPACK's codes for characters, by their length in bits.
const CODES: [(u32, &str); 8] = [
    (5, "012aceiost"),
    (6, " %-./3456789=A_bdfghlmnpru"),
    (7, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, "&*,;XZ"),
    (10, "!\"()?"),
    (11, "'+|"),
    (12, "#>"),
    (13, "\0$@[]~"),
];

/// Bytes as they are sent, and what the rewriter makes of each.
pub(super) type Bytes = Vec<(u8, u8)>;

/// All that a client sends.
pub(super) fn connection(u: &mut Unstructured<'_>) -> Result<Bytes> {
    let frames: Vec<_> = list(u, 1..=6, |u| match u.int_in_range(0..=3)? {
        0 => {
            let kind = *u.choose(&[DATA, PING])?;
            // Bytes that would be rewritten in a header block.
            Ok(frame(kind, u.arbitrary()?, unchanged(b"\x41\x03a/b")))
        }
        _ => call(u),
    })?;
    Ok([unchanged(PREFACE), frames.concat()].concat())
}

/// One frame.
pub(super) fn frame(kind: u8, flags: u8, payload: Bytes) -> Bytes {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [unchanged(&[a, b, c, kind, flags, 0, 0, 0, 1]), payload].concat()
}

pub(super) fn unchanged(bytes: &[u8]) -> Bytes {
    bytes.iter().map(|byte| (*byte, *byte)).collect()
}

/// A header block in one frame or several.
fn call(u: &mut Unstructured<'_>) -> Result<Bytes> {
    let mut block = list::<_, Vec<_>>(u, 0..=6, field)?.concat();
    let mut frames = Vec::new();
    let mut kind = HEADERS;
    for _ in 0..u.int_in_range(0..=4)? {
        let rest = block.split_off(u.int_in_range(0..=block.len())?);
        frames.push(part(u, kind, 0, block)?);
        (kind, block) = (CONTINUATION, rest);
    }
    frames.push(part(u, kind, END_HEADERS, block)?);
    Ok(frames.concat())
}

/// A part of a header block in its frame, perhaps with padding and a priority.
fn part(u: &mut Unstructured<'_>, kind: u8, flags: u8, block: Bytes) -> Result<Bytes> {
    if kind != HEADERS {
        // These flags mean nothing here.
        let others = u.arbitrary::<u8>()? & (PADDED | PRIORITY);
        return Ok(frame(kind, flags | others, block));
    }
    let padding: Option<u8> = u.arbitrary()?;
    let has_priority = u.arbitrary()?;
    let flags = flags | if padding.is_some() { PADDED } else { 0 };
    let flags = flags | if has_priority { PRIORITY } else { 0 };
    let payload = [
        unchanged(padding.as_slice()),
        // In a header block it would be the beginning of an authority.
        unchanged(if has_priority { b"A\x40/%/" } else { &[] }),
        block,
        unchanged(&vec![b'/'; padding.unwrap_or_default().into()]),
    ];
    Ok(frame(kind, flags, payload.concat()))
}

/// A field of any form.
fn field(u: &mut Unstructured<'_>) -> Result<Bytes> {
    let (first, prefix) = *u.choose(&[(0x40, 6), (0x00, 4), (0x10, 4)])?;
    let value = list::<_, Vec<_>>(u, 0..=6, |u| choose(u, PIECES))?.concat();
    let value = value.repeat(*u.choose(&[1, 1, 1, 100])?);
    let is_coded = u.arbitrary()?;
    let authority = string(&value, is_coded)
        .into_iter()
        .zip(string(&replaced(&value, is_coded), is_coded))
        .map(|((sent, _), (expected, _))| (sent, expected));
    let other = string(&value, is_coded);
    Ok(match u.int_in_range(0..=5)? {
        0 => number(0x80, 7, u.int_in_range(1..=300)?),
        1 => number(0x20, 5, *u.choose(&[0, 15, 30, 31, 158, 159, 4096])?),
        2 => [number(first, prefix, u.int_in_range(2..=300)?), other].concat(),
        3 => {
            let name = string(&choose(u, NAMES)?, u.arbitrary()?);
            [number(first, prefix, 0), name, other].concat()
        }
        4 => [number(first, prefix, 1), authority.collect()].concat(),
        _ => {
            let name = string(":authority", false);
            [number(first, prefix, 0), name, authority.collect()].concat()
        }
    })
}

/// What becomes of the value of `:authority`.
fn replaced(value: &str, is_coded: bool) -> String {
    match is_coded {
        true => value.replace('/', "3").replace('%', ".").replace(' ', "-"),
        false => value.replace(['/', '%'], "-"),
    }
}

fn string(text: &str, is_coded: bool) -> Bytes {
    let (first, bytes) = match is_coded {
        true => (0x80, coded(text)),
        false => (0, text.as_bytes().to_vec()),
    };
    [number(first, 7, bytes.len()), unchanged(&bytes)].concat()
}

/// A number of HPACK's, which begins in the low bits of its first byte.
fn number(first: u8, prefix: u32, value: usize) -> Bytes {
    let most = (1 << prefix) - 1;
    let mut bytes = vec![first | value.min(most) as u8];
    let mut rest = value.checked_sub(most);
    while let Some(value) = rest {
        rest = (value >= 0x80).then_some(value >> 7);
        bytes.push((value & 0x7f) as u8 | if rest.is_some() { 0x80 } else { 0 });
    }
    unchanged(&bytes)
}

/// A text in HPACK's Huffman code, with ones at its end.
fn coded(text: &str) -> Vec<u8> {
    let mut bits: Vec<bool> = text.chars().flat_map(code).collect();
    bits.resize(bits.len().next_multiple_of(8), true);
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    bits.chunks(8).map(byte).collect()
}

/// The code of a character: codes of the same length follow each other.
fn code(character: char) -> Vec<bool> {
    let (mut next, mut length) = (0, 0);
    for (bits, characters) in CODES {
        next <<= bits - length;
        length = bits;
        if let Some(position) = characters.find(character) {
            let code = next + position;
            return (0..bits).rev().map(|bit| code >> bit & 1 == 1).collect();
        }
        next += characters.len();
    }
    unreachable!("no piece has {character:?}")
}
