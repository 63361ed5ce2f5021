//! Request bodies that tell when their request leaves, which is what decides whether a failed write may be repeated; and
//! that do not let it leave any more once the call is given up.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::call::CallRecord;

/// The bytes of a body. The client takes them only once it has a connection to write them to.
pub(super) struct Body {
    bytes: Option<Bytes>,
    record: Arc<CallRecord>,
}

impl Body {
    pub(super) fn new(bytes: Bytes, record: Arc<CallRecord>) -> Self {
        Self {
            bytes: Some(bytes),
            record,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        if self.record.send() {
            Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
        } else {
            Poll::Ready(Some(Err(GivenUp)))
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The body of a request that has none.
///
/// The client asks once whether it is at its end: when it has a connection and is about to write the request's head. For a
/// GET with a body that is not at its end, and of no known size, it writes the head alone, without a length, and asks for
/// nothing more.
pub(super) struct NoBody(Arc<CallRecord>);

impl NoBody {
    pub(super) fn new(record: Arc<CallRecord>) -> Self {
        Self(record)
    }
}

impl http_body::Body for NoBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        Poll::Ready(Some(Err(GivenUp)))
    }

    fn is_end_stream(&self) -> bool {
        // Whether it may leave is what the size says, which is asked for next.
        let _ = self.0.send();
        false
    }

    fn size_hint(&self) -> SizeHint {
        // A byte that never comes makes the client break off before anything is written.
        if self.0.was_sent() {
            SizeHint::default()
        } else {
            SizeHint::with_exact(1)
        }
    }
}

/// Why a body is not sent after all: its call is over.
#[derive(Debug)]
pub(super) struct GivenUp;

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call was given up")
    }
}

impl std::error::Error for GivenUp {}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    #[tokio::test]
    async fn a_write_is_sent_when_its_first_byte_is_taken_and_never_once_it_was_given_up() {
        for given_up in [false, true] {
            let record = Arc::new(CallRecord::default());
            let mut body = Body::new(Bytes::from_static(b"{}"), Arc::clone(&record));
            assert_eq!(
                (body.is_end_stream(), body.size_hint().exact()),
                (false, Some(2))
            );
            assert!(!record.was_sent(), "asked before there is a connection");
            if given_up {
                assert!(!record.abandon());
            }
            let frame =
                std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            assert_eq!(frame.is_some_and(|frame| frame.is_ok()), !given_up);
            assert_eq!(record.was_sent(), !given_up);
        }
    }

    #[tokio::test]
    async fn a_read_that_was_given_up_breaks_off_before_it_leaves() {
        let record = Arc::new(CallRecord::default());
        let mut body = NoBody::new(Arc::clone(&record));
        assert!(!record.abandon());
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(1));
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert!(matches!(frame, Some(Err(GivenUp))));
    }

    #[test]
    fn a_read_is_sent_when_the_client_asks_for_its_end() {
        let record = Arc::new(CallRecord::default());
        let body = NoBody::new(Arc::clone(&record));
        assert_ne!(
            body.size_hint().exact(),
            Some(0),
            "asked early, by whoever may send it twice"
        );
        assert!(!record.was_sent());
        assert!(!body.is_end_stream() && record.was_sent());
        assert_eq!(body.size_hint().exact(), None);
    }
}
