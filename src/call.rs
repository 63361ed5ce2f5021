//! One call on its way through the gateway: until when it may take, which trace it is part of, and what becomes known of
//! it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU16, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use opentelemetry::Context;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    app_key::KeyOwner, connect_info::ConnectInfo, error::Error, rpc::Rpc, status::Classification,
};

/// What the layers know of a call; travels to the handler as a request extension.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) rpc: Rpc,
    pub(crate) client: ConnectInfo,
    pub(crate) deadline: Instant,
    /// Whether the deadline is the caller's, and shorter than the gateway's own.
    pub(crate) is_shortened: bool,
    /// Holds the call's server span, below which the REST call has its own.
    pub(crate) trace: Context,
    /// Cancelled when the gateway cannot wait for the call any longer.
    pub(crate) shutdown: CancellationToken,
    pub(crate) record: Arc<CallRecord>,
}

/// What becomes known of a call on its way.
#[derive(Debug, Default)]
pub(crate) struct CallRecord {
    sending: AtomicU8,
    http_status: AtomicU16,
    failure: OnceLock<Failure>,
}

/// The states of [`CallRecord::sending`]: exactly one of the last two follows the first.
const NOT_YET: u8 = 0;
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

/// How a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) verdict: Classification,
    /// Whose application key the call would have gone out with.
    pub(crate) key: KeyOwner,
    /// The error with all its causes, for the log.
    pub(crate) error: String,
}

impl CallRecord {
    /// From now on the API may see the call; asked before the first byte of its request can leave.
    ///
    /// `false`: the call was given up, its caller is being told that nothing was sent, and so nothing may be.
    #[must_use]
    pub(crate) fn send(&self) -> bool {
        let before =
            self.sending
                .compare_exchange(NOT_YET, SENT, Ordering::AcqRel, Ordering::Acquire);
        before != Err(GIVEN_UP)
    }

    /// From now on nothing is sent any more. Whether something may have been before.
    pub(crate) fn abandon(&self) -> bool {
        let before =
            self.sending
                .compare_exchange(NOT_YET, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
        before == Err(SENT)
    }

    /// Whether the API may have seen the call.
    pub(crate) fn was_sent(&self) -> bool {
        self.sending.load(Ordering::Acquire) == SENT
    }

    /// The call is tried once more: what was answered before does not count any more.
    pub(crate) fn tried_again(&self) {
        self.http_status.store(0, Ordering::Relaxed);
    }

    /// The API has answered with that HTTP status.
    pub(crate) fn answered(&self, http_status: u16) {
        self.http_status.store(http_status, Ordering::Relaxed);
    }

    /// The HTTP status of the API's answer, if there was one.
    pub(crate) fn http_status(&self) -> Option<u16> {
        Some(self.http_status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    /// The call has failed; only the first time counts.
    pub(crate) fn failed(&self, verdict: Classification, key: KeyOwner, error: &Error) {
        self.failure.get_or_init(|| Failure {
            verdict,
            key,
            error: chain(error),
        });
    }

    /// How the call failed, if it did.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }
}

/// The error and all its causes.
pub(crate) fn chain(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

impl Call {
    /// Gives the call up if there is no time left to begin anything.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.shutdown.is_cancelled() {
            Err(Error::ShuttingDown {
                sent: self.record.abandon(),
            })
        } else if Instant::now() >= self.deadline {
            Err(Error::TimedOut {
                sent: self.record.abandon(),
            })
        } else {
            Ok(())
        }
    }

    /// Waits for so long.
    ///
    /// # Errors
    ///
    /// If the call must be given up before that.
    pub(crate) async fn wait(&self, pause: Duration) -> Result<(), Error> {
        tokio::select! {
            error = self.end() => Err(error),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Waits until the call must be given up, gives it up, and says why.
    pub(crate) async fn end(&self) -> Error {
        tokio::select! {
            () = tokio::time::sleep_until(self.deadline) => Error::TimedOut { sent: self.record.abandon() },
            () = self.shutdown.cancelled() => Error::ShuttingDown { sent: self.record.abandon() },
        }
    }
}

/// How long a call may take: the caller's `grpc-timeout` or `most`, whichever is shorter.
///
/// Of the caller's time a little is kept back, so that the answer is there before the caller gives up; then it learns
/// the outcome.
pub(crate) fn budget(headers: &HeaderMap, most: Duration) -> Duration {
    const KEPT_BACK: (Duration, Duration) =
        (Duration::from_micros(1500), Duration::from_millis(10));
    let timeout = headers
        .get("grpc-timeout")
        .and_then(|value| grpc_timeout(value.to_str().ok()?));
    timeout.map_or(most, |timeout| {
        most.min(timeout.saturating_sub((timeout / 20).clamp(KEPT_BACK.0, KEPT_BACK.1)))
    })
}

/// `grpc-timeout`: one to eight digits and a unit, by the gRPC-over-HTTP/2 specification. Anything else is no timeout, as
/// tonic's clients have it.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
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
    use super::*;

    #[test]
    fn a_call_is_either_sent_or_given_up() {
        let (sent, given_up) = (CallRecord::default(), CallRecord::default());
        assert!(
            sent.send() && sent.send(),
            "a body is polled more than once"
        );
        assert!(sent.was_sent() && sent.abandon(), "it may have been seen");
        assert!(!given_up.abandon() && !given_up.abandon());
        assert!(
            !given_up.was_sent() && !given_up.send(),
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
        let budget_of = |timeout: &'static str| {
            budget(
                &HeaderMap::from_iter([(
                    http::HeaderName::from_static("grpc-timeout"),
                    timeout.parse().unwrap(),
                )]),
                most,
            )
        };
        assert_eq!(budget(&HeaderMap::new(), most), most);
        assert_eq!(budget_of("1H"), most);
        assert_eq!(budget_of("1S"), Duration::from_millis(990));
        assert_eq!(budget_of("100m"), Duration::from_millis(95));
        assert_eq!(budget_of("1m"), Duration::ZERO);
        assert_eq!(budget_of("soon"), most);
    }
}
