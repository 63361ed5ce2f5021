//! The message of a call, read to its end before anything is done for the call.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Code, Status, body::Body};

use super::MAX_MESSAGE;
use crate::error::Error;

/// What gRPC puts before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Reads the body to its end; from then on its bytes are all there.
///
/// # Errors
///
/// It is longer than a message may be; or its stream broke, or ended before the message.
pub(super) async fn read(body: &mut Body) -> Result<(), Error> {
    let mut whole = Parts::default();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|status| Error::Undecodable(status.code()))?;
        // A request's trailers say nothing in gRPC.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > PREFIX + MAX_MESSAGE {
            return Err(Error::Undecodable(Code::OutOfRange));
        }
        whole.push(data);
    }
    let whole = whole.join();
    if !is_message(&whole) {
        // As tonic would say. A stream that its peer resets without an error looks like that.
        return Err(Error::Undecodable(Code::Internal));
    }
    *body = Body::new(Whole(whole));
    Ok(())
}

/// Whether the message was given up on the way, rather than refused or waited for in vain.
pub(super) fn is_broken_off(read: &Result<(), Error>) -> bool {
    matches!(read, Err(Error::Undecodable(code)) if *code != Code::OutOfRange)
}

/// Whether a message is all there, as far as its length is one that is taken.
fn is_message(bytes: &[u8]) -> bool {
    let Some((&[_, a, b, c, d], message)) = bytes.split_first_chunk::<PREFIX>() else {
        return false;
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    length > MAX_MESSAGE || message.len() >= length
}

/// What has come of a message. Nearly always one frame has it all, which is then not copied.
#[derive(Default)]
struct Parts {
    first: Bytes,
    joined: BytesMut,
}

impl Parts {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, part: Bytes) {
        if part.is_empty() {
            // So tonic's clients end a message.
        } else if self.len() == 0 {
            self.first = part;
        } else {
            self.joined
                .extend_from_slice(&std::mem::take(&mut self.first));
            self.joined.extend_from_slice(&part);
        }
    }

    fn join(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}

/// A body whose bytes are all there.
struct Whole(Bytes);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
