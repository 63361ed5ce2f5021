//! A property of the rewriter on Unix sockets: it changes the value of `:authority` and nothing else.

use arbitrary::{Result, Unstructured};

use super::generate::{choose, list};
use crate::server::authority_rewriter::Frames;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
/// Flags of frames.
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const NAMES: &str =
    ":authority|:authority|:path|authority|:authorit|:authoritx|:authority-|user-agent";
/// Characters, each with its code (RFC 7541, appendix B): those that are replaced, what they become, and the first and
/// the last of each length.
const CHARACTERS: &str = "/011000|%010101| 010100|3011001|.010111|-010110|000000|t01001|u101101|:1011100|z1111011|\
    &11111000|Z11111101|!1111111000|?1111111100|'11111111010|+11111111011|#111111111010|>111111111011|\
    $1111111111001|~1111111111101";

/// Of all that a client sends, only the value of `:authority` is rewritten, and it does not matter in which pieces it
/// arrives. Of bytes that are not HTTP/2, no others are changed.
pub fn authority(u: &mut Unstructured<'_>) -> Result<()> {
    let same_bytes = u.peek_bytes(u.len()).unwrap_or_default();
    let sent = connection(&mut Unstructured::new(same_bytes), false)?;
    let expected = connection(u, true)?;
    assert_eq!(rewritten(u, &sent)?, expected);

    let kind = *u.choose(&[HEADERS, CONTINUATION])?;
    let first = frame(kind, u.arbitrary()?, u.bytes(u.len() / 2)?);
    let sent = [PREFACE, &first, u.peek_bytes(u.len()).unwrap_or_default()].concat();
    let in_pieces = rewritten(u, &sent)?;
    let mut at_once = sent.clone();
    Frames::new().rewrite(&mut at_once);
    assert_eq!(in_pieces, at_once);
    for (sent, got) in sent.into_iter().zip(at_once) {
        // In Huffman's code a bit is set.
        let is_replaced = got == b'-' && b"/%".contains(&sent);
        assert!(
            is_replaced || got & sent == sent,
            "{sent:#x} became {got:#x}"
        );
    }
    Ok(())
}

/// Rewrites the bytes in pieces of random lengths.
fn rewritten(u: &mut Unstructured<'_>, sent: &[u8]) -> Result<Vec<u8>> {
    let (mut bytes, mut frames) = (sent.to_vec(), Frames::new());
    let mut rest = &mut *bytes;
    while !rest.is_empty() {
        let length = u.int_in_range(1..=40)?.min(rest.len());
        frames.rewrite(rest.split_off_mut(..length).unwrap_or_default());
    }
    Ok(bytes)
}

/// All that a client sends; or, of the same random bytes, what becomes of it.
fn connection(u: &mut Unstructured<'_>, is_rewritten: bool) -> Result<Vec<u8>> {
    let frames: Vec<_> = list(u, 1..=6, |u| match u.ratio(1, 4)? {
        // Bytes that would be rewritten in a header block.
        true => Ok(frame(
            *u.choose(&[DATA, PING])?,
            u.arbitrary()?,
            b"\x41\x03a/b",
        )),
        false => call(u, is_rewritten),
    })?;
    Ok([PREFACE, &frames.concat()].concat())
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, 1], payload].concat()
}

/// A header block in one frame or several, perhaps with padding and a priority.
fn call(u: &mut Unstructured<'_>, is_rewritten: bool) -> Result<Vec<u8>> {
    let block = list::<_, Vec<_>>(u, 0..=6, |u| field(u, is_rewritten))?.concat();
    let (first, rest) = block.split_at(u.int_in_range(0..=block.len())?);
    let (padding, has_priority): (Option<u8>, bool) = u.arbitrary()?;
    let flags = u8::from(padding.is_some()) * PADDED + u8::from(has_priority) * PRIORITY;
    // In a header block it would be the beginning of an authority.
    let priority = &b"A\x40/%A"[..usize::from(has_priority) * 5];
    let after = vec![b'/'; padding.unwrap_or_default().into()];
    let payload = [padding.as_slice(), priority, first, &after].concat();
    let mut frames = frame(HEADERS, flags, &payload);
    for part in rest.chunks(u.int_in_range(1..=200)?) {
        // The flags mean nothing here.
        frames.extend(frame(CONTINUATION, u.arbitrary()?, part));
    }
    Ok(frames)
}

/// A field of any form. A name that is said to be in Huffman's code is not the authority's.
fn field(u: &mut Unstructured<'_>, is_rewritten: bool) -> Result<Vec<u8>> {
    let (first, bits) = *u.choose(&[(0x40, 6), (0x00, 4), (0x10, 4)])?;
    let (index, text) = (u.int_in_range(1..=300)?, choose(u, NAMES)?);
    let flag = *u.choose(&[0, 0x80])?;
    let spelled = [&[first, flag | text.len() as u8], text.as_bytes()].concat();
    let is_authority = flag == 0 && text == ":authority";
    Ok(match u.int_in_range(0..=4)? {
        0 => number(0x80, 7, index),
        1 => number(0x20, 5, index),
        2 => [
            number(first, bits, index),
            value(u, is_rewritten && index == 1)?,
        ]
        .concat(),
        3 => [number(first, bits, 1), value(u, is_rewritten)?].concat(),
        _ => [spelled, value(u, is_rewritten && is_authority)?].concat(),
    })
}

/// The value of a field, with or without Huffman's code.
fn value(u: &mut Unstructured<'_>, is_rewritten: bool) -> Result<Vec<u8>> {
    let is_coded = u.arbitrary()?;
    let characters: Vec<_> = list(u, 0..=20, |u| choose(u, CHARACTERS))?;
    let written = |character: &String| match character.split_at(1) {
        ("/", _) if is_rewritten && is_coded => "011001".to_owned(),
        ("%", _) if is_rewritten && is_coded => "010111".to_owned(),
        (" ", _) if is_rewritten && is_coded => "010110".to_owned(),
        ("/" | "%", _) if is_rewritten => "-".to_owned(),
        (character, code) => [character, code][usize::from(is_coded)].to_owned(),
    };
    let text: String = characters.iter().map(written).collect();
    let mut bytes = text.repeat(*u.choose(&[1, 1, 1, 100])?).into_bytes();
    if is_coded {
        // Its last byte is filled up with ones.
        bytes.extend(b"1111111");
        let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | (bit & 1));
        bytes = bytes.chunks_exact(8).map(byte).collect();
    }
    let length = number(u8::from(is_coded) << 7, 7, bytes.len());
    Ok([length, bytes].concat())
}

/// A number of HPACK's, which begins in the low bits of its first byte.
fn number(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    let mut bytes = vec![first | value.min(most) as u8];
    let mut rest = value.checked_sub(most);
    while let Some(value) = rest {
        rest = (value >= 0x80).then_some(value >> 7);
        bytes.push((value & 0x7f) as u8 | u8::from(rest.is_some()) << 7);
    }
    bytes
}
