//! Decides which reads are retried, and when. Writes are never retried: one that seems to have failed may
//! have mailed a code or changed a password.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::backoff;
use crate::{envelope::ApiResponse, error::Error};

/// How often one read is retried.
const MAX_RETRIES: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(100);
/// The longest `Retry-After` that is waited for. A longer one is passed on to the caller, who can do
/// something else meanwhile.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(2);
/// What must be left of the call's time after a pause, for the retry itself.
const MIN_RETRY_TIME: Duration = Duration::from_millis(50);

/// Bounds the retries of all calls together to a fifth of the reads, so that a failing API does not
/// get three times its usual requests.
#[derive(Debug)]
pub(super) struct RetryBudget(Mutex<u32>);

impl RetryBudget {
    /// The price of a retry. A read earns 1.
    const PRICE: u32 = 5;
    /// The maximum and the initial balance: ten retries, for a gateway with few calls.
    const MAX: u32 = 10 * Self::PRICE;

    pub(super) fn new() -> Self {
        Self(Mutex::new(Self::MAX))
    }

    /// Counts a read.
    pub(super) fn deposit(&self) {
        let mut balance = self.0.lock();
        *balance = Self::MAX.min(*balance + 1);
    }

    /// Pays for the next retry of a read that ended with `result` after this many `retries`, and
    /// returns the pause before it; `None` if `result` is final.
    pub(super) fn withdraw(
        &self,
        result: &Result<ApiResponse, Error>,
        retries: u32,
        deadline: Instant,
    ) -> Option<Duration> {
        let retry_after = retry_after(result)?;
        if retries == MAX_RETRIES || retry_after > MAX_RETRY_AFTER {
            return None;
        }
        let pause = backoff::pause(FIRST_PAUSE, MAX_PAUSE, retries).max(retry_after);
        let time_left = deadline.saturating_duration_since(Instant::now());
        let mut balance = self.0.lock();
        if pause + MIN_RETRY_TIME > time_left || *balance < Self::PRICE {
            return None;
        }
        *balance -= Self::PRICE;
        Some(pause)
    }
}

/// The shortest pause after which a retry may succeed; `None` if none would.
fn retry_after(result: &Result<ApiResponse, Error>) -> Option<Duration> {
    match result {
        Ok(response) if matches!(response.http_status, 502..=504) => {
            Some(response.retry_after.unwrap_or_default())
        }
        Err(Error::Unreachable(_) | Error::ConnectionLost(_)) => Some(Duration::ZERO),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::PrivateValues;

    fn response(http_status: u16, retry_after: Option<u64>) -> Result<ApiResponse, Error> {
        let retry_after = retry_after.map(Duration::from_secs);
        let (body, values) = (String::new(), PrivateValues::default());
        Ok(ApiResponse {
            http_status,
            content_type: None,
            retry_after,
            body,
            values,
        })
    }

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    /// The pauses of a read that always ends with this HTTP status.
    fn pauses(budget: &RetryBudget, http_status: u16) -> Vec<Duration> {
        budget.deposit();
        let result = response(http_status, None);
        (0..)
            .map_while(|retries| budget.withdraw(&result, retries, in_seconds(10)))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn reads_are_repeated_twice() {
        for http_status in 502..=504 {
            let pauses = pauses(&RetryBudget::new(), http_status);
            assert_eq!(pauses.len(), 2, "{http_status}");
            let range = 25..=150;
            assert!(
                pauses
                    .iter()
                    .all(|pause| range.contains(&pause.as_millis())),
                "{pauses:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_that_would_be_the_same_again_is_final() {
        let budget = RetryBudget::new();
        let timed_out = Err(Error::TimedOut { sent: true });
        let results =
            [200, 302, 400, 404, 429, 500, 501, 505].map(|http_status| response(http_status, None));
        for result in results
            .into_iter()
            .chain([timed_out, Err(Error::TooLarge { http_status: 503 })])
        {
            let pause = budget.withdraw(&result, 0, in_seconds(10));
            assert_eq!(pause, None, "{:?}", result.err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_as_long_as_retry_after_if_there_is_time() {
        let budget = RetryBudget::new();
        for (retry_after, deadline, expected) in [
            (Some(2), in_seconds(3), Some(2)),
            (Some(2), in_seconds(2), None),
            (Some(3), in_seconds(10), None),
            (Some(u64::MAX), in_seconds(10), None),
            (None, Instant::now() + MIN_RETRY_TIME, None),
            (None, Instant::now(), None),
        ] {
            let pause = budget.withdraw(&response(503, retry_after), 0, deadline);
            assert_eq!(pause, expected.map(Duration::from_secs), "{retry_after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_a_fifth_of_the_calls_and_ten_more_are_repeated() {
        let budget = RetryBudget::new();
        let outage = |calls: u32| -> usize { (0..calls).map(|_| pauses(&budget, 503).len()).sum() };
        assert_eq!(outage(1000), 209, "the first call finds the reserve full");
        assert_eq!(outage(1000), 200, "the reserve is used up");
        // Calls that succeed save no more than the reserve.
        for _ in 0..1000 {
            budget.deposit();
        }
        assert_eq!(
            outage(5),
            10,
            "the calls earn nothing on top of a full reserve"
        );
    }
}
