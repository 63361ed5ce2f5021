//! Request bodies that record when their request is sent, which decides whether a failed call may be
//! repeated. Once the call is abandoned they keep the request from being sent.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::call::CallRecord;

/// A JSON body. The client takes it only once it has a connection to write it to.
pub(super) struct JsonBody {
    /// `None` once they are taken.
    bytes: Option<Bytes>,
    record: Arc<CallRecord>,
}

impl JsonBody {
    pub(super) fn new(bytes: Bytes, record: Arc<CallRecord>) -> Self {
        Self {
            bytes: Some(bytes),
            record,
        }
    }
}

impl Body for JsonBody {
    type Data = Bytes;
    type Error = Abandoned;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abandoned>>> {
        if self.record.send() {
            Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
        } else {
            Poll::Ready(Some(Err(Abandoned)))
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The body of a GET, which has none.
///
/// The client asks once whether the body is at its end: when it has a connection and is about to
/// write the head. If the body then is not at its end and has no known size, the client writes the
/// head alone, without a length, and never polls for data.
pub(super) struct EmptyBody(Arc<CallRecord>);

impl EmptyBody {
    pub(super) fn new(record: Arc<CallRecord>) -> Self {
        Self(record)
    }
}

impl Body for EmptyBody {
    type Data = Bytes;
    type Error = Abandoned;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abandoned>>> {
        Poll::Ready(Some(Err(Abandoned)))
    }

    fn is_end_stream(&self) -> bool {
        // The client asks for the size next, which tells whether the request may be sent.
        let _ = self.0.send();
        false
    }

    fn size_hint(&self) -> SizeHint {
        if self.0.was_sent() {
            SizeHint::default()
        } else {
            // The client polls for this byte before it writes anything, and gets the error.
            SizeHint::with_exact(1)
        }
    }
}

/// The call was abandoned before its request was sent.
#[derive(Debug)]
pub(super) struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call was given up")
    }
}

impl std::error::Error for Abandoned {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_is_sent_when_its_body_is_taken_and_never_after_it_was_abandoned() {
        for abandoned in [false, true] {
            let record = Arc::new(CallRecord::default());
            let mut body = JsonBody::new(Bytes::from_static(b"{}"), Arc::clone(&record));
            assert_eq!(
                (body.is_end_stream(), body.size_hint().exact()),
                (false, Some(2))
            );
            assert!(!record.was_sent(), "asked before there is a connection");
            if abandoned {
                assert!(!record.abandon());
            }
            let frame =
                std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            assert_eq!(frame.is_some_and(|frame| frame.is_ok()), !abandoned);
            assert_eq!(record.was_sent(), !abandoned);
        }
    }

    #[tokio::test]
    async fn a_read_that_was_abandoned_is_not_sent() {
        let record = Arc::new(CallRecord::default());
        let mut body = EmptyBody::new(Arc::clone(&record));
        assert!(!record.abandon());
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(1));
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert!(matches!(frame, Some(Err(Abandoned))));
    }

    #[test]
    fn a_read_is_sent_when_the_client_asks_for_its_end() {
        let record = Arc::new(CallRecord::default());
        let body = EmptyBody::new(Arc::clone(&record));
        assert_ne!(
            body.size_hint().exact(),
            Some(0),
            "asked before there is a connection"
        );
        assert!(!record.was_sent());
        assert!(!body.is_end_stream() && record.was_sent());
        assert_eq!(body.size_hint().exact(), None);
    }
}
