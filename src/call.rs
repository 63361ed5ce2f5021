//! One call on its way through the gateway: until when it may take, whether it was sent, and which trace it is part of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use opentelemetry::Context;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{contract::Rpc, error::Error};

/// What the layers know of a call; travels to the handler as a request extension.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) rpc: Rpc,
    pub(crate) deadline: Instant,
    /// Holds the call's server span, below which the REST call has its own.
    pub(crate) trace: Context,
    /// Cancelled when the gateway cannot wait for the call any longer.
    pub(crate) stop: CancellationToken,
    pub(crate) sent: Sent,
}

/// Whether the API may have seen the call: set before the first byte of its request can leave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<AtomicBool>);

impl Sent {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Call {
    /// Whether there is no time left to begin anything.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() {
            Err(Error::ShuttingDown { sent: self.sent.get() })
        } else if Instant::now() >= self.deadline {
            Err(Error::TimedOut { sent: self.sent.get() })
        } else {
            Ok(())
        }
    }

    /// Waits until the call must be given up, and says why.
    pub(crate) async fn end(&self) -> Error {
        tokio::select! {
            () = tokio::time::sleep_until(self.deadline) => Error::TimedOut { sent: self.sent.get() },
            () = self.stop.cancelled() => Error::ShuttingDown { sent: self.sent.get() },
        }
    }
}

/// How long a call may take: the caller's `grpc-timeout` or `most`, whichever is shorter.
///
/// Of the caller's time a little is kept back, so that the answer is there before the caller gives up; then it learns
/// the outcome. It also keeps ahead of tonic's own timer, which would say CANCELLED.
pub(crate) fn budget(headers: &HeaderMap, most: Duration) -> Duration {
    const KEPT_BACK: (Duration, Duration) = (Duration::from_micros(1500), Duration::from_millis(10));
    let timeout = headers.get("grpc-timeout").and_then(|value| grpc_timeout(value.to_str().ok()?));
    timeout.map_or(most, |timeout| most.min(timeout.saturating_sub((timeout / 20).clamp(KEPT_BACK.0, KEPT_BACK.1))))
}

/// `grpc-timeout`: one to eight digits and a unit, by the gRPC-over-HTTP/2 specification. Anything else is no timeout, as
/// tonic has it.
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
                &HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), timeout.parse().unwrap())]),
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
