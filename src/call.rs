//! One call on its way through the gateway: its deadline, its trace, and a record of what happens to it.
//!
//! A call is *cancelled* when it ends without the API's response: its caller cancels it, its deadline passes, or the gateway
//! displaces it, shuts down or panics.
//!
//! - If its REST request has not been sent, it is never sent. So the caller learns that the API has not seen the call.
//! - A read that has been sent ends at once.
//! - A write that has been sent goes on until its [`Call::work_deadline`] or the shutdown, so that the gateway learns what
//!   the API did.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU16, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName};
use opentelemetry::Context;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};
use tonic::Status;

use crate::{
    connect_info::ConnectInfo,
    error::{Error, chain},
    rpc::Rpc,
    status::Classification,
    subject_hash::SubjectHash,
};

/// How long the caller waits. A name that is made once need not be parsed for each call.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The context of a call, which the call layer passes to the handler as an extension of the request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) rpc: Rpc,
    pub(crate) caller: ConnectInfo,
    /// When the caller gets a response at the latest: shortly before its own deadline, or when `--timeout` is over.
    pub(crate) deadline: Instant,
    /// When its REST call ends at the latest. A write that was sent goes on after the deadline of its caller.
    pub(crate) work_deadline: Instant,
    /// When the caller stops waiting, if it has set a deadline.
    pub(crate) callers_deadline: Option<Instant>,
    /// Holds the call's server span, the parent of the REST call's span.
    pub(crate) trace: Context,
    /// Cancelled when the gateway cannot wait for the call any longer.
    pub(crate) shutdown: CancellationToken,
    /// The drain waits until it is dropped.
    pub(crate) _running: TaskTrackerToken,
    pub(crate) record: Arc<CallRecord>,
}

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

impl Call {
    /// Records how the call failed, and returns its status.
    pub(crate) fn fail(&self, error: &Error) -> Status {
        let time_left = self.callers_deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        self.record.fail(error, self.rpc.is_read_only(), time_left)
    }

    /// Cancels the call if its deadline has passed or the gateway shuts down, and returns which.
    pub(crate) fn ensure_not_cancelled(&self) -> Result<(), Error> {
        if self.shutdown.is_cancelled() {
            Err(self.shutting_down())
        } else if Instant::now() >= self.deadline {
            Err(self.timed_out())
        } else {
            Ok(())
        }
    }

    /// Waits that long, unless the call is cancelled before.
    pub(crate) async fn pause(&self, duration: Duration) -> Result<(), Error> {
        tokio::select! {
            error = self.until_cancelled() => Err(error),
            () = sleep(duration) => Ok(()),
        }
    }

    /// Waits until the deadline passes or the gateway shuts down, cancels the call, and returns which. (When the caller cancels
    /// it, its future is dropped.)
    pub(crate) async fn until_cancelled(&self) -> Error {
        tokio::select! {
            () = sleep_until(self.deadline) => self.timed_out(),
            () = self.shutdown.cancelled() => self.shutting_down(),
        }
    }

    /// As [`Self::until_cancelled`], but a write that was sent has until its `work_deadline`.
    pub(crate) async fn until_work_deadline(&self) -> Error {
        let time_is_over = async {
            sleep_until(self.deadline).await;
            self.record.cancel();
            if self.record.was_sent() {
                sleep_until(self.work_deadline).await;
            }
        };
        tokio::select! {
            () = time_is_over => self.timed_out(),
            () = self.shutdown.cancelled() => self.shutting_down(),
        }
    }

    fn timed_out(&self) -> Error {
        self.record.cancel();
        let sent = self.record.may_be_seen();
        Error::TimedOut { sent }
    }

    fn shutting_down(&self) -> Error {
        self.record.cancel();
        let sent = self.record.may_be_seen();
        Error::ShuttingDown { sent }
    }
}

/// How long a call may take: the caller's timeout or `max`, whichever is shorter.
///
/// A little of the caller's time is kept back, so that the status arrives before the caller's own timer ends the call.
pub(crate) fn time_budget(callers_timeout: Option<Duration>, max: Duration) -> Duration {
    const MIN_MARGIN: Duration = Duration::from_micros(1500);
    const MAX_MARGIN: Duration = Duration::from_millis(10);
    let Some(timeout) = callers_timeout else {
        return max;
    };
    let margin = (timeout / 20).clamp(MIN_MARGIN, MAX_MARGIN);
    max.min(timeout.saturating_sub(margin))
}

/// How long the caller waits; `None` if it sets no deadline.
pub(crate) fn callers_timeout(headers: &HeaderMap) -> Option<Duration> {
    grpc_timeout(headers.get(GRPC_TIMEOUT)?.to_str().ok()?)
}

/// `grpc-timeout`: one to eight digits and a unit, by the gRPC-over-HTTP/2 specification. Anything else counts as no
/// timeout, as in tonic.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::connect_info::Transport;

    impl Call {
        /// A call that nobody has sent, with that much time.
        pub(crate) fn for_test(rpc: Rpc, time: Duration) -> Self {
            Self {
                rpc,
                caller: ConnectInfo {
                    transport: Transport::Unix,
                    identity: Arc::default(),
                },
                deadline: Instant::now() + time,
                work_deadline: Instant::now() + time,
                callers_deadline: None,
                trace: Context::new(),
                shutdown: CancellationToken::new(),
                _running: TaskTracker::new().token(),
                record: Arc::default(),
            }
        }
    }

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

    #[test]
    fn grpc_timeout_is_read_as_specified() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("0n", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000m", None),
            ("m", None),
            ("", None),
            ("+1S", None),
            ("1s", None),
            ("1é", None),
        ] {
            assert_eq!(grpc_timeout(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_shorter_timeout_wins() {
        let most = Duration::from_secs(10);
        let budget_of = |timeout: &str| {
            let headers = HeaderMap::from_iter([(GRPC_TIMEOUT, timeout.parse().unwrap())]);
            time_budget(callers_timeout(&headers), most)
        };
        assert_eq!(time_budget(callers_timeout(&HeaderMap::new()), most), most);
        assert_eq!(budget_of("1H"), most);
        assert_eq!(budget_of("1S"), Duration::from_millis(990));
        assert_eq!(budget_of("100m"), Duration::from_millis(95));
        assert_eq!(budget_of("1m"), Duration::ZERO);
        assert_eq!(budget_of("soon"), most);
    }
}
