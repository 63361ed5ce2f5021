//! The record of a call: whether its REST request was sent, what the API responded, and how the call failed. The handler, the
//! REST request's body and the call's observation share it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU16, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tonic::Status;

use crate::{
    error::{Error, chain},
    status::Classification,
    subject_hash::SubjectHash,
};

/// The record of a call's progress and failure.
#[derive(Debug, Default)]
pub(crate) struct CallRecord {
    send_state: AtomicU8,
    /// The record of the call that this one repeats, while that call is under way.
    original: Mutex<Option<Arc<Self>>>,
    http_status: AtomicU16,
    failure: OnceLock<Failure>,
    subject: OnceLock<SubjectHash>,
}

/// The initial [`CallRecord::send_state`]. It changes at most once, to [`SENT`] or [`CANCELLED`].
const NOT_SENT: u8 = 0;
/// The API may have seen the call.
const SENT: u8 = 1;
/// The call was cancelled before it was sent, so it never is sent.
const CANCELLED: u8 = 2;

/// How a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) classification: Classification,
    /// The error with all its causes, for the log.
    pub(crate) error: String,
}

impl CallRecord {
    /// Records that the API may see the call. It is called before the first byte of the request can leave.
    ///
    /// `false`: the call was cancelled. Its caller learns that nothing was sent, so nothing may be.
    #[must_use]
    pub(crate) fn try_mark_sent(&self) -> bool {
        self.transition_from_not_sent(SENT) != CANCELLED
    }

    /// Cancels the call: if it was not sent by now, it never is.
    pub(crate) fn cancel(&self) {
        self.transition_from_not_sent(CANCELLED);
    }

    /// Of a call that is cancelled: whether the API may have seen it, or may yet see the call that it repeats.
    pub(crate) fn may_be_seen(&self) -> bool {
        let original = self.original.lock();
        let goes_on = |it: &Arc<Self>| it.send_state.load(Ordering::Acquire) != CANCELLED;
        self.was_sent() || original.as_ref().is_some_and(goes_on)
    }

    /// Sets the record of the call that this one repeats, while that call is under way.
    pub(crate) fn set_original(&self, record: Option<Arc<Self>>) {
        *self.original.lock() = record;
    }

    /// Whether the API may have seen the call.
    pub(crate) fn was_sent(&self) -> bool {
        self.send_state.load(Ordering::Acquire) == SENT
    }

    /// Changes [`NOT_SENT`] into that value. Returns the value that was there.
    fn transition_from_not_sent(&self, value: u8) -> u8 {
        self.send_state
            .compare_exchange(NOT_SENT, value, Ordering::AcqRel, Ordering::Acquire)
            .unwrap_or_else(|found| found)
    }

    /// Forgets the last response, because the call is sent again.
    pub(crate) fn clear_http_status(&self) {
        self.record_http_status(0);
    }

    /// Records the HTTP status of the API's response.
    pub(crate) fn record_http_status(&self, http_status: u16) {
        self.http_status.store(http_status, Ordering::Relaxed);
    }

    /// The HTTP status of the API's last response, if there was one.
    pub(crate) fn http_status(&self) -> Option<u16> {
        Some(self.http_status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    /// Records how the call failed, and returns its status. Only the first failure is recorded. `time_left` is the time until
    /// the caller's deadline.
    pub(crate) fn fail(&self, error: &Error, is_read_only: bool, time_left: Duration) -> Status {
        let classification = Classification::of(error, is_read_only);
        self.failure.get_or_init(|| Failure {
            classification,
            error: chain(error),
        });
        classification.status(error, is_read_only, time_left)
    }

    /// Records the hash of whom the call is about.
    pub(crate) fn set_subject(&self, subject: SubjectHash) {
        // Each call is about one.
        let _ = self.subject.set(subject);
    }

    /// The hash of whom the call is about, if it was recorded.
    pub(crate) fn subject(&self) -> Option<SubjectHash> {
        self.subject.get().copied()
    }

    /// How the call failed, if it did.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_either_sent_or_cancelled() {
        let (sent, cancelled) = (CallRecord::default(), CallRecord::default());
        assert!(
            sent.try_mark_sent() && sent.try_mark_sent(),
            "a body is polled more than once"
        );
        sent.cancel();
        assert!(sent.was_sent() && sent.may_be_seen());
        cancelled.cancel();
        assert!(!cancelled.may_be_seen());
        assert!(
            !cancelled.was_sent() && !cancelled.try_mark_sent(),
            "what was said to be unsent must stay so"
        );
    }
}
