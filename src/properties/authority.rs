//! A property of the rewriter on Unix sockets: it changes the value of `:authority` and nothing else.

use arbitrary::{Result, Unstructured};

use super::http2::{self, HEADERS, PREFACE};
use crate::server::authority_rewriter::Frames;

/// Of all that a client sends, only the value of `:authority` is rewritten, and it does not matter in which pieces it
/// arrives. Of bytes that are not HTTP/2, no others are changed.
pub fn authority(u: &mut Unstructured<'_>) -> Result<()> {
    let (sent, expected): (Vec<_>, Vec<_>) = http2::connection(u)?.into_iter().unzip();
    assert_eq!(rewritten(u, &sent)?, expected);

    let kind = if u.arbitrary()? {
        HEADERS
    } else {
        u.arbitrary()?
    };
    let first = http2::frame(
        kind,
        u.arbitrary()?,
        http2::unchanged(u.bytes(u.len() / 2)?),
    );
    let first: Vec<_> = first.into_iter().map(|(byte, _)| byte).collect();
    let sent = [PREFACE, &first, u.peek_bytes(u.len()).unwrap_or_default()].concat();
    let in_pieces = rewritten(u, &sent)?;
    let mut at_once = sent.clone();
    Frames::new().rewrite(&mut at_once);
    assert_eq!(in_pieces, at_once);
    for (sent, got) in sent.into_iter().zip(at_once) {
        // In Huffman's code a bit is set.
        let is_replaced = got == b'-' && [b'/', b'%'].contains(&sent);
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
        let (piece, others) = rest.split_at_mut(length);
        frames.rewrite(piece);
        rest = others;
    }
    Ok(bytes)
}
