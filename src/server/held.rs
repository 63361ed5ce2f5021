//! An answer's body that counts as waiting for its peer until the last byte of it is on its way.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::waits::Wait;

/// The body, and that it waits.
struct Held {
    body: Body,
    wait: Arc<Wait>,
}

/// Some of the body's bytes. They may lie around for long after the body is gone, where the peer's window is small.
struct Part {
    bytes: Bytes,
    _wait: Arc<Wait>,
}

/// Makes the answer's body count, if it has one.
pub(super) fn hold(answer: Response<Body>, wait: impl FnOnce() -> Wait) -> Response<Body> {
    if answer.body().is_end_stream() {
        return answer;
    }
    answer.map(|body| {
        Body::new(Held {
            body,
            wait: Arc::new(wait()),
        })
    })
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let part = |bytes| {
            Bytes::from_owner(Part {
                bytes,
                _wait: Arc::clone(&self.wait),
            })
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
