//! Which reads are repeated, and when. Writes never are: one that seems to have failed may have mailed
//! a code or changed a password.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::backoff;
use crate::{envelope::ApiResponse, error::Error};

/// How often one call is repeated.
const MAX_RETRIES: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// The longest `Retry-After` that is waited for. A longer one is passed on to the caller, who can do
/// something else meanwhile.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(2);
/// What must be left of the call's time after a pause, for the attempt itself.
const TIME_FOR_ATTEMPT: Duration = Duration::from_millis(50);

/// Bounds the retries of all calls together to a fifth of the reads, so that an API that fails does
/// not get three times the requests of one that works.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicU32);

impl RetryBudget {
    /// What a retry costs. A read earns 1.
    const PRICE: u32 = 5;
    /// The most that is saved, and the first balance: ten retries, for a gateway with few calls.
    const MAX: u32 = 10 * Self::PRICE;

    pub(super) fn new() -> Self {
        Self(AtomicU32::new(Self::MAX))
    }

    fn earn(&self) {
        self.update(|balance| (balance < Self::MAX).then_some(balance + 1));
    }

    /// Pays for a retry, if the balance allows it.
    fn spend(&self) -> bool {
        self.update(|balance| balance.checked_sub(Self::PRICE))
    }

    fn update(&self, update: impl FnMut(u32) -> Option<u32>) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update)
            .is_ok()
    }
}

/// The retries of one call.
#[derive(Debug)]
pub(super) struct Retries<'a> {
    budget: &'a RetryBudget,
    deadline: Instant,
    left: u32,
    made: u32,
}

impl<'a> Retries<'a> {
    pub(super) fn new(is_read_only: bool, deadline: Instant, budget: &'a RetryBudget) -> Self {
        if is_read_only {
            budget.earn();
        }
        Self {
            budget,
            deadline,
            left: if is_read_only { MAX_RETRIES } else { 0 },
            made: 0,
        }
    }

    /// How many retries there have been.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// How long to pause before the next retry; `None` if `result` is final.
    pub(super) fn next(&mut self, result: &Result<ApiResponse, Error>) -> Option<Duration> {
        let retry_after = retry_after(result)?;
        if self.left == 0 || retry_after > LONGEST_RETRY_AFTER {
            return None;
        }
        let pause = backoff::pause(FIRST_PAUSE, LONGEST_PAUSE, self.made).max(retry_after);
        let time_left = self.deadline.saturating_duration_since(Instant::now());
        if pause + TIME_FOR_ATTEMPT > time_left || !self.budget.spend() {
            return None;
        }
        self.left -= 1;
        self.made += 1;
        Some(pause)
    }
}

/// The shortest pause before a retry that may go better; `None` if none would.
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
    use crate::envelope::RequestValues;

    fn response(http_status: u16, retry_after: Option<u64>) -> Result<ApiResponse, Error> {
        let retry_after = retry_after.map(Duration::from_secs);
        let (body, values) = (bytes::Bytes::new(), RequestValues::default());
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

    #[tokio::test(start_paused = true)]
    async fn reads_are_repeated_twice_and_writes_never() {
        let budget = RetryBudget::new();
        for (is_read_only, most) in [(true, 2), (false, 0)] {
            for http_status in 502..=504 {
                let mut retries = Retries::new(is_read_only, in_seconds(10), &budget);
                let pauses: Vec<_> =
                    std::iter::from_fn(|| retries.next(&response(http_status, None))).collect();
                assert_eq!(
                    (pauses.len(), retries.made()),
                    (most, most as u32),
                    "{is_read_only} {http_status}"
                );
                assert!(
                    pauses
                        .iter()
                        .all(|pause| (25..=150).contains(&pause.as_millis())),
                    "{pauses:?}"
                );
            }
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
            assert_eq!(
                Retries::new(true, in_seconds(10), &budget).next(&result),
                None,
                "{:?}",
                result.err()
            );
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
            (None, Instant::now() + TIME_FOR_ATTEMPT, None),
            (None, Instant::now(), None),
        ] {
            let pause = Retries::new(true, deadline, &budget).next(&response(503, retry_after));
            assert_eq!(pause, expected.map(Duration::from_secs), "{retry_after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_a_fifth_of_the_calls_and_ten_more_are_repeated() {
        let budget = RetryBudget::new();
        let outage = |calls: u32| {
            let mut made = 0;
            for _ in 0..calls {
                let mut retries = Retries::new(true, in_seconds(10), &budget);
                while retries.next(&response(503, None)).is_some() {}
                made += retries.made();
            }
            made
        };
        assert_eq!(outage(1000), 209, "the first call finds the reserve full");
        assert_eq!(outage(1000), 200, "the reserve is used up");
        // Calls that succeed save no more than the reserve.
        for _ in 0..1000 {
            Retries::new(true, in_seconds(10), &budget);
        }
        assert_eq!(
            outage(5),
            10,
            "the calls earn nothing on top of a full reserve"
        );
    }
}
