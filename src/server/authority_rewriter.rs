//! Makes `:authority` valid on Unix sockets. gRPC's C core (Python, C++, Ruby, PHP), Java and grpcurl send the socket's path
//! there, and h2 refuses such calls.

mod header_block;

mod huffman;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use self::header_block::HeaderBlock;

const PREFACE_LENGTH: usize = 24;
const FRAME_HEADER_LENGTH: usize = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_LENGTH: usize = 5;

/// Reads what a client sends on a Unix socket, with the authority made valid.
#[derive(Debug)]
pub(super) struct AuthorityRewriter<R> {
    reader: R,
    frames: Frames,
}

impl<R> AuthorityRewriter<R> {
    pub(super) fn new(reader: R) -> Self {
        let frames = Frames::new();
        Self { reader, frames }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for AuthorityRewriter<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        ready!(Pin::new(&mut self.reader).poll_read(cx, buf))?;
        self.frames.rewrite(&mut buf.filled_mut()[start..]);
        Poll::Ready(Ok(()))
    }
}

/// Finds the header blocks among a client's bytes and rewrites them in place, without holding a byte back.
///
/// Only the lengths of frames carry over from one frame to the next, and each block is read from its own beginning. So
/// a block that is not understood passes unchanged and cannot spoil a later one.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// How many bytes to pass on before the next part of a header block, how many that part has, and how many to pass on
    /// after it.
    before: usize,
    part: usize,
    after: usize,
    /// The next frame's header as far as it was read, with the length of the padding if there is one.
    header: Vec<u8>,
    block: HeaderBlock,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self {
            before: PREFACE_LENGTH,
            ..Self::default()
        }
    }

    /// Rewrites the bytes that come next.
    pub(crate) fn rewrite(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.before > 0 {
                take(&mut self.before, &mut bytes);
            } else if self.part > 0 {
                self.block.rewrite(take(&mut self.part, &mut bytes));
            } else if self.after > 0 {
                take(&mut self.after, &mut bytes);
            } else if let Some(byte) = bytes.split_off_first_mut() {
                self.header.push(*byte);
                self.read_frame_header();
            }
        }
    }

    fn read_frame_header(&mut self) {
        let [a, b, c, frame_type, flags, _, _, _, _, padding @ ..] = &*self.header else {
            return;
        };
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let has = |flag| *frame_type == HEADERS && flags & flag != 0;
        // A frame without a byte has no padding either; h2 ends the connection.
        if has(PADDED) && padding.is_empty() && length > 0 {
            return;
        }
        let padding = padding.first().map_or(0, |padding| usize::from(*padding));
        let priority = if has(PRIORITY) { PRIORITY_LENGTH } else { 0 };
        let rest = FRAME_HEADER_LENGTH + length - self.header.len();
        let part = rest.checked_sub(priority + padding);
        (self.before, self.part, self.after) = match (*frame_type, part) {
            (HEADERS | CONTINUATION, Some(part)) => (priority, part, padding),
            // Another frame, or one that ends the connection.
            _ => (rest, 0, 0),
        };
        if *frame_type == HEADERS {
            self.block = HeaderBlock::default();
        }
        self.header.clear();
    }
}

/// Splits off as many bytes as `count` says, or all that there are, and counts them.
fn take<'b>(count: &mut usize, bytes: &mut &'b mut [u8]) -> &'b mut [u8] {
    let length = bytes.len().min(*count);
    *count -= length;
    bytes.split_off_mut(..length).unwrap_or_default()
}
