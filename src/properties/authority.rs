//! A property of the rewriter on Unix sockets: it changes the value of `:authority` and nothing else.
//!
//! No length ever changes. So each byte is made together with what becomes of it.

use std::iter;

use arbitrary::{Result, Unstructured};

use super::generate::{choose, list};
use crate::server::authority_rewriter::Frames;

/// A byte that a client sends, and what becomes of it.
type Byte = [u8; 2];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames.
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const NAMES: &str =
    ":authority|:authority|:path|authority|:authorit|:authoritx|:authority-|user-agent";
/// Whether a value is in Huffman's code, its bytes, and what becomes of them: "a/%", and "/%/%" in the code.
const VALUES: [(bool, &[u8; 3], &[u8; 3]); 2] =
    [(false, b"a/%", b"a--"), (true, b"aV\x15", b"evW")];

/// Only the value of `:authority` is rewritten. Arbitrary bytes in a header block cause no panic.
pub fn authority(u: &mut Unstructured<'_>) -> Result<()> {
    let bytes = list::<_, Vec<_>>(u, 1..=6, frames)?.concat();
    let [sent, expected] = [0, 1].map(|side| Vec::from_iter(bytes.iter().map(|byte| byte[side])));
    assert_eq!(rewritten(u, &sent)?, expected);

    let header = [0, 0, 200, HEADERS, u.arbitrary()?, 0, 0, 0, 1];
    let sent = [&header, u.bytes(u.len() / 2)?].concat();
    rewritten(u, &sent).map(drop)
}

/// Rewrites the bytes after a preface, and checks that the result is the same if they arrive in pieces.
fn rewritten(u: &mut Unstructured<'_>, sent: &[u8]) -> Result<Vec<u8>> {
    let length = u.int_in_range(1..=40)?;
    let (mut at_once, mut frames) = ([PREFACE, sent].concat(), Frames::new());
    let mut in_pieces = at_once.clone();
    for piece in in_pieces.chunks_mut(length) {
        frames.rewrite(piece);
    }
    Frames::new().rewrite(&mut at_once);
    assert_eq!(in_pieces, at_once);
    Ok(at_once.split_off(PREFACE.len()))
}

fn same(bytes: &[u8]) -> Vec<Byte> {
    bytes.iter().map(|byte| [*byte; 2]).collect()
}

fn frame(kind: u8, flags: u8, payload: &[Byte]) -> Vec<Byte> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&same(&[a, b, c, kind, flags, 0, 0, 0, 1]), payload].concat()
}

/// A frame of another kind, or a header block in one frame or several, perhaps with padding and a priority.
fn frames(u: &mut Unstructured<'_>) -> Result<Vec<Byte>> {
    let (padding, has_priority, any_flags): (Option<u8>, bool, u8) = u.arbitrary()?;
    if u.ratio(1, 4)? {
        // A header field in DATA, SETTINGS or PING.
        let kind = *u.choose(&[0, 4, 6])?;
        return Ok(frame(kind, any_flags, &same(b"\x41\x03a/b")));
    }
    let block = list::<_, Vec<_>>(u, 0..=6, field)?.concat();
    let (first, rest) = block.split_at(u.int_in_range(0..=block.len())?);
    let flags = 0x8 * u8::from(padding.is_some()) + 0x20 * u8::from(has_priority);
    // In a header block it would be the beginning of an authority.
    let priority = &b"A\x40/%A"[..usize::from(has_priority) * 5];
    let before = same(&[padding.as_slice(), priority].concat());
    let after = same(&vec![b'/'; padding.unwrap_or_default().into()]);
    let mut frames = frame(HEADERS, flags, &[&before, first, &after].concat());
    for part in rest.chunks(u.int_in_range(1..=200)?) {
        // The flags mean nothing here.
        frames.extend(frame(CONTINUATION, any_flags, part));
    }
    Ok(frames)
}

/// A field of any form, whose name is an index or spelled. One that is said to be in Huffman's code is not the authority's.
fn field(u: &mut Unstructured<'_>) -> Result<Vec<Byte>> {
    let (first, bits) = *u.choose(&[(0x40, 6), (0x00, 4), (0x10, 4), (0x80, 7), (0x20, 5)])?;
    let index = *u.choose(&[0, 0, 0, 1, 1, 1, 2, 15, 31, 63, 127, 300])?;
    let (mut start, mut is_authority) = (number(first, bits, index), index == 1);
    if matches!(first, 0x80 | 0x20) {
        return Ok(same(&start));
    }
    if index == 0 {
        let (flag, name) = (*u.choose(&[0, 0x80])?, choose(u, NAMES)?);
        is_authority = flag == 0 && name == ":authority";
        start.extend(number(flag, 7, name.len()));
        start.extend(name.bytes());
    }
    Ok([same(&start), value(u, is_authority)?].concat())
}

/// A value of any length.
fn value(u: &mut Unstructured<'_>, is_authority: bool) -> Result<Vec<Byte>> {
    let (is_coded, sent, rewritten) = *u.choose(&VALUES)?;
    let rewritten = if is_authority { rewritten } else { sent };
    let length = u.int_in_range(0..=20)? * *u.choose(&[1, 1, 1, 100])?;
    let mut bytes = same(&number(u8::from(is_coded) << 7, 7, length));
    let all = iter::zip(*sent, *rewritten).cycle();
    bytes.extend(all.take(length).map(Byte::from));
    Ok(bytes)
}

/// A number of HPACK's, which begins in the low bits of its first byte.
fn number(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    let mut bytes = vec![first | value.min(most) as u8];
    if let Some(mut rest) = value.checked_sub(most) {
        while rest >= 0x80 {
            bytes.push(0x80 | rest as u8);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    bytes
}
