//! A token bucket: a number of tokens that come back evenly. It has no clock: callers pass the time.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::AttemptRate;

/// The tokens of a rate. Some are reserved by attempts that are pending.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// How many tokens there may be, and the time in which one comes back. `None` means no limit.
    limit: Option<(u32, Duration)>,
    /// When all spent tokens are back.
    pub(super) full_at: Instant,
    pub(super) pending: u32,
}

impl TokenBucket {
    pub(super) fn new(rate: Option<AttemptRate>, full_at: Instant) -> Self {
        Self {
            limit: rate.map(|(most, per)| (most, interval(most, per))),
            full_at,
            pending: 0,
        }
    }

    /// Reserves a token. An error is the time until the next one comes back. The result is `None`
    /// if a pending attempt may still give its token back.
    pub(super) fn reserve(&mut self, now: Instant) -> Option<Result<(), Duration>> {
        if let Some((most, interval)) = self.limit {
            let missing = self.full_at.saturating_duration_since(now);
            let spent = missing.as_nanos().div_ceil(interval.as_nanos().max(1));
            if spent + u128::from(self.pending) >= u128::from(most) {
                let wait = missing.saturating_sub(interval * (most - 1));
                return (self.pending == 0).then_some(Err(wait));
            }
        }
        self.pending += 1;
        Some(Ok(()))
    }

    /// Ends a pending attempt. Its token is spent if the attempt costs one.
    pub(super) fn settle(&mut self, costs: bool, now: Instant) {
        self.pending -= 1;
        if costs && let Some((_, interval)) = self.limit {
            self.full_at = self.full_at.max(now) + interval;
        }
    }
}

/// The time in which one of `most` tokens comes back, if all do in the time `per`. It is rounded up,
/// so that no more attempts pass than configured.
fn interval(most: u32, per: Duration) -> Duration {
    let nanoseconds = per.as_nanos().div_ceil(u128::from(most.max(1)));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RESERVED: Option<Result<(), Duration>> = Some(Ok(()));

    /// Three attempts, one more each ten seconds.
    fn bucket(now: Instant) -> TokenBucket {
        TokenBucket::new(Some((3, 30 * SECOND)), now)
    }

    fn reserve_and_spend(bucket: &mut TokenBucket, now: Instant) {
        assert_eq!(bucket.reserve(now), RESERVED);
        bucket.settle(true, now);
    }

    #[test]
    fn an_empty_bucket_tells_when_the_next_token_comes() {
        let now = Instant::now();
        let mut bucket = bucket(now);
        for _ in 0..3 {
            reserve_and_spend(&mut bucket, now);
        }
        assert_eq!(bucket.reserve(now), Some(Err(10 * SECOND)));
        assert_eq!(bucket.reserve(now + 4 * SECOND), Some(Err(6 * SECOND)));
        assert_eq!(bucket.reserve(now + 10 * SECOND), RESERVED);
    }

    #[test]
    fn tokens_come_back_one_by_one_and_never_exceed_the_maximum() {
        let now = Instant::now();
        let mut bucket = bucket(now);
        for _ in 0..3 {
            reserve_and_spend(&mut bucket, now);
        }
        let later = now + 10 * SECOND;
        reserve_and_spend(&mut bucket, later);
        assert_eq!(bucket.reserve(later), Some(Err(10 * SECOND)));
        let much_later = now + 3600 * SECOND;
        for _ in 0..3 {
            assert_eq!(bucket.reserve(much_later), RESERVED);
        }
        assert_eq!(bucket.reserve(much_later), None);
    }

    #[test]
    fn each_pending_attempt_needs_a_token() {
        let now = Instant::now();
        let mut bucket = bucket(now);
        for _ in 0..3 {
            assert_eq!(bucket.reserve(now), RESERVED);
        }
        assert_eq!(bucket.reserve(now), None);
        bucket.settle(true, now);
        assert_eq!(bucket.reserve(now), None, "that token is gone");
        bucket.settle(false, now);
        assert_eq!(bucket.reserve(now), RESERVED, "this one came back");
        assert_eq!(bucket.reserve(now + 10 * SECOND), RESERVED);
    }

    #[test]
    fn rates_that_do_not_divide_evenly_let_no_more_through() {
        let now = Instant::now();
        for (most, per) in [
            (3, 10 * SECOND),
            (7, Duration::from_millis(1)),
            (1_000_000, Duration::from_millis(1)),
        ] {
            let mut bucket = TokenBucket::new(Some((most, per)), now);
            for _ in 0..most {
                reserve_and_spend(&mut bucket, now);
            }
            assert!(
                matches!(bucket.reserve(now), Some(Err(wait)) if wait >= per / most),
                "{most} in {per:?}"
            );
        }
    }
}
