//! Which reads are tried again, and when. Writes never are: one that seems to have failed may have mailed a code or
//! changed a password.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::backoff;
use crate::{envelope::ApiResponse, error::Error};

/// How often one call is tried again.
const MOST: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// The longest that the API may ask to be left alone for. What is longer is told to the caller, who can go about something
/// else meanwhile, with how long it is.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// What must be left of the call's time after a pause, for the try itself.
const FOR_THE_TRY: Duration = Duration::from_millis(50);

/// The retries that all calls may make together: a fifth of the calls, so that an API that fails is not asked three times
/// as much as one that works.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<AtomicU32>);

impl Budget {
    /// What a retry takes; a call brings 1.
    const PRICE: u32 = 5;
    /// The most that is saved up, and what there is in the beginning: ten retries, for a gateway with few calls.
    const MOST: u32 = 10 * Self::PRICE;

    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU32::new(Self::MOST)))
    }

    /// A call that may be tried again has come.
    fn earn(&self) {
        self.change(|saved| (saved < Self::MOST).then_some(saved + 1));
    }

    /// Takes what a retry costs, if it is there.
    fn spend(&self) -> bool {
        self.change(|saved| saved.checked_sub(Self::PRICE))
    }

    fn change(&self, change: impl FnMut(u32) -> Option<u32>) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            .is_ok()
    }
}

/// The retries of one call.
#[derive(Debug)]
pub(super) struct Retries<'a> {
    budget: &'a Budget,
    deadline: Instant,
    most: u32,
    made: u32,
}

impl<'a> Retries<'a> {
    /// Those of a call until `deadline`, which has none unless it only reads.
    pub(super) fn new(only_reads: bool, deadline: Instant, budget: &'a Budget) -> Self {
        if only_reads {
            budget.earn();
        }
        Self {
            budget,
            deadline,
            most: if only_reads { MOST } else { 0 },
            made: 0,
        }
    }

    /// How many there have been.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// How long to wait before the call is tried once more, which from now on counts. `None` if `result` is to be told at
    /// once.
    pub(super) fn next(&mut self, result: &Result<ApiResponse, Error>) -> Option<Duration> {
        let asked_for =
            passing(result).filter(|wait| self.made < self.most && *wait <= LONGEST_WAIT)?;
        let pause = backoff::pause(FIRST_PAUSE, LONGEST_PAUSE, self.made).max(asked_for);
        let time_left = self.deadline.saturating_duration_since(Instant::now());
        if pause.saturating_add(FOR_THE_TRY) > time_left || !self.budget.spend() {
            return None;
        }
        self.made += 1;
        Some(pause)
    }
}

/// Whether the next try may well go better; and if so, how long the API wants to be left alone at the least.
fn passing(result: &Result<ApiResponse, Error>) -> Option<Duration> {
    match result {
        Ok(answer) if matches!(answer.http_status, 502..=504) => {
            Some(answer.retry_after.unwrap_or_default())
        }
        Err(Error::Unreachable(_) | Error::ConnectionLost(_)) => Some(Duration::ZERO),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::RequestValues;

    fn answer(http_status: u16, retry_after: Option<u64>) -> Result<ApiResponse, Error> {
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
    async fn reads_are_tried_again_twice_and_writes_never() {
        let budget = Budget::new();
        for (only_reads, most) in [(true, 2), (false, 0)] {
            for http_status in 502..=504 {
                let mut retries = Retries::new(only_reads, in_seconds(10), &budget);
                let pauses: Vec<_> =
                    std::iter::from_fn(|| retries.next(&answer(http_status, None))).collect();
                assert_eq!(
                    (pauses.len(), retries.made()),
                    (most, most as u32),
                    "{only_reads} {http_status}"
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
    async fn what_will_be_the_same_again_is_not_tried_again() {
        let budget = Budget::new();
        let timed_out = Err(Error::TimedOut { sent: true });
        let results =
            [200, 302, 400, 404, 429, 500, 501, 505].map(|http_status| answer(http_status, None));
        for result in results
            .into_iter()
            .chain([timed_out, Err(Error::TooLarge { http_status: 503 })])
        {
            assert_eq!(
                Retries::new(true, in_seconds(10), &budget).next(&result),
                None,
                "{result:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_as_long_as_the_api_asks_if_there_is_time_for_it() {
        let budget = Budget::new();
        for (retry_after, deadline, expected) in [
            (Some(2), in_seconds(3), Some(2)),
            (Some(2), in_seconds(2), None),
            (Some(3), in_seconds(10), None),
            (Some(u64::MAX), in_seconds(10), None),
            (None, Instant::now() + FOR_THE_TRY, None),
            (None, Instant::now(), None),
        ] {
            let pause = Retries::new(true, deadline, &budget).next(&answer(503, retry_after));
            assert_eq!(pause, expected.map(Duration::from_secs), "{retry_after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_a_fifth_of_the_calls_and_ten_more_are_tried_again() {
        let budget = Budget::new();
        let outage = |calls: u32| {
            let mut made = 0;
            for _ in 0..calls {
                let mut retries = Retries::new(true, in_seconds(10), &budget);
                while retries.next(&answer(503, None)).is_some() {}
                made += retries.made();
            }
            made
        };
        assert_eq!(outage(1000), 209, "the first call finds the reserve full");
        assert_eq!(outage(1000), 200, "the reserve is used up");
        // Calls that go well save up no more than that.
        for _ in 0..1000 {
            Retries::new(true, in_seconds(10), &budget);
        }
        assert_eq!(
            outage(5),
            10,
            "what the calls themselves bring does not fit in"
        );
    }
}
