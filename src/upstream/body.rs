//! The body of a request. It marks the call as sent just before the first byte can leave, which decides
//! whether a failed call's outcome is `not_sent`. If the call has been abandoned, the body fails, and
//! nothing is sent.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::call::CallRecord;

/// A JSON body, or none.
///
/// The client takes JSON only once it has a connection to write it to. Without JSON, it asks once
/// whether the body is at its end, when it has a connection and is about to write the head.
pub(super) struct RequestBody {
    /// `None` once it is taken, or if there is none.
    pub(super) json: Option<Bytes>,
    pub(super) record: Arc<CallRecord>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(if self.record.try_mark_sent() {
            self.json.take().map(|json| Ok(Frame::data(json)))
        } else {
            Some(Err("the call was abandoned"))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.json.is_none() && self.record.try_mark_sent()
    }

    fn size_hint(&self) -> SizeHint {
        // A body that should be empty and is not at its end belongs to an abandoned call. The client
        // polls for this one byte before it writes anything, and gets the error.
        let length = self.json.as_ref().map_or(1, Bytes::len);
        SizeHint::with_exact(length as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: Option<Bytes>) -> (RequestBody, Arc<CallRecord>) {
        let record = Arc::<CallRecord>::default();
        let body = RequestBody {
            json,
            record: Arc::clone(&record),
        };
        (body, record)
    }

    #[tokio::test]
    async fn a_write_is_sent_when_its_body_is_taken_and_never_after_it_was_abandoned() {
        for abandoned in [false, true] {
            let (mut body, record) = body(Some(Bytes::from_static(b"{}")));
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
        let (mut body, record) = body(None);
        assert!(!record.abandon());
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(1));
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert!(matches!(frame, Some(Err(_))));
    }

    #[test]
    fn a_read_is_sent_when_the_client_asks_for_its_end() {
        let (body, record) = body(None);
        assert_ne!(
            body.size_hint().exact(),
            Some(0),
            "asked before there is a connection"
        );
        assert!(!record.was_sent());
        assert!(body.is_end_stream() && record.was_sent());
    }
}
