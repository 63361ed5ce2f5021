//! The body of a REST request, which marks its call as sent. hyper asks for the body once it has a connection, just before it
//! writes the first byte. At that moment:
//!
//! - If the call is not cancelled, the body marks it as sent. From then on its outcome is no longer `not_sent`.
//! - If the call is cancelled, the body returns an error, and hyper writes nothing.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::call::CallRecord;

/// A JSON body, or none. hyper asks for JSON by `poll_frame`, and without JSON by `is_end_stream`.
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
            Some(Err("the call was cancelled"))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.json.is_none() && self.record.try_mark_sent()
    }

    fn size_hint(&self) -> SizeHint {
        // Without JSON, only the body of a cancelled call is not at its end. As one byte is announced, hyper polls for it before
        // it writes anything, and gets the error.
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
    async fn a_write_is_sent_when_its_body_is_taken_and_never_after_it_was_cancelled() {
        for cancelled in [false, true] {
            let (mut body, record) = body(Some(Bytes::from_static(b"{}")));
            assert_eq!(
                (body.is_end_stream(), body.size_hint().exact()),
                (false, Some(2))
            );
            assert!(!record.was_sent(), "asked before there is a connection");
            if cancelled {
                record.cancel();
            }
            let frame =
                std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            assert_eq!(frame.is_some_and(|frame| frame.is_ok()), !cancelled);
            assert_eq!(record.was_sent(), !cancelled);
        }
    }

    #[tokio::test]
    async fn a_read_that_was_cancelled_is_not_sent() {
        let (mut body, record) = body(None);
        record.cancel();
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(1));
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert!(matches!(frame, Some(Err(_))));
    }

    #[test]
    fn a_read_is_sent_when_hyper_asks_for_its_end() {
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
