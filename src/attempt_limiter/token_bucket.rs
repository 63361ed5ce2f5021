//! A token bucket: a number of tokens that come back evenly. It has no clock: callers pass the time.

use std::time::Duration;

use tokio::time::Instant;

/// How many attempts there may be, and how fast they come back: `20/10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    most: u32,
    /// The time in which one token comes back.
    interval: Duration,
}

/// What is left of a rate. The default is everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When all tokens are back; `None` if they are.
    full_at: Option<Instant>,
}

/// Whether there is room for one more attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// Not before a pending attempt is settled.
    AfterPending,
    /// Not before this time has passed.
    After(Duration),
}

impl Rate {
    /// `most` attempts, all of which come back in the time `per`. Neither is zero.
    pub(crate) fn new(most: u32, per: Duration) -> Self {
        // Rounded up, so that no more attempts pass than configured.
        let interval = per.as_nanos().div_ceil(u128::from(most.max(1)));
        Self {
            most,
            interval: Duration::from_nanos(u64::try_from(interval).unwrap_or(u64::MAX)),
        }
    }

    /// Whether there is room for one more attempt if each pending one turns out to cost a token.
    pub(super) fn room(self, bucket: Bucket, pending: u32, now: Instant) -> Room {
        let missing = bucket.time_to_full(now);
        let spent = missing.as_nanos().div_ceil(self.interval.as_nanos().max(1));
        if spent + u128::from(pending) < u128::from(self.most) {
            Room::Free
        } else if pending > 0 {
            Room::AfterPending
        } else {
            Room::After(missing.saturating_sub(self.interval * (self.most - 1)))
        }
    }

    /// The bucket with one token less.
    pub(super) fn spend(self, bucket: Bucket, now: Instant) -> Bucket {
        Bucket {
            full_at: Some(now + bucket.time_to_full(now) + self.interval),
        }
    }
}

impl Bucket {
    pub(super) fn is_full(self, now: Instant) -> bool {
        self.time_to_full(now).is_zero()
    }

    fn time_to_full(self, now: Instant) -> Duration {
        self.full_at.map_or(Duration::ZERO, |full_at| {
            full_at.saturating_duration_since(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Three attempts, one more each ten seconds.
    fn rate() -> Rate {
        Rate::new(3, 30 * SECOND)
    }

    fn spent(tokens: usize, now: Instant) -> Bucket {
        (0..tokens).fold(Bucket::default(), |bucket, _| rate().spend(bucket, now))
    }

    #[test]
    fn an_empty_bucket_tells_when_the_next_token_comes() {
        let now = Instant::now();
        for tokens in 0..3 {
            assert_eq!(
                rate().room(spent(tokens, now), 0, now),
                Room::Free,
                "{tokens} spent"
            );
        }
        let empty = spent(3, now);
        assert_eq!(rate().room(empty, 0, now), Room::After(10 * SECOND));
        assert_eq!(
            rate().room(empty, 0, now + 4 * SECOND),
            Room::After(6 * SECOND)
        );
        assert_eq!(rate().room(empty, 0, now + 10 * SECOND), Room::Free);
    }

    #[test]
    fn tokens_come_back_one_by_one_and_never_exceed_the_maximum() {
        let now = Instant::now();
        let later = now + 10 * SECOND;
        let empty_again = rate().spend(spent(3, now), later);
        assert_eq!(rate().room(empty_again, 0, later), Room::After(10 * SECOND));
        let much_later = now + 3600 * SECOND;
        let one_spent = rate().spend(empty_again, much_later);
        assert_eq!(rate().room(one_spent, 1, much_later), Room::Free);
        assert_eq!(rate().room(one_spent, 2, much_later), Room::AfterPending);
    }

    #[test]
    fn each_pending_attempt_needs_a_token() {
        let now = Instant::now();
        assert_eq!(rate().room(Bucket::default(), 2, now), Room::Free);
        assert_eq!(rate().room(Bucket::default(), 3, now), Room::AfterPending);
        assert_eq!(rate().room(spent(2, now), 1, now), Room::AfterPending);
        assert_eq!(rate().room(spent(2, now), 1, now + 10 * SECOND), Room::Free);
    }

    #[test]
    fn rates_that_do_not_divide_evenly_let_no_more_through() {
        let now = Instant::now();
        for (most, per) in [
            (3, 10 * SECOND),
            (7, Duration::from_millis(1)),
            (1_000_000, Duration::from_millis(1)),
        ] {
            let rate = Rate::new(most, per);
            let mut bucket = Bucket::default();
            for _ in 0..most {
                assert_eq!(rate.room(bucket, 0, now), Room::Free, "{most} in {per:?}");
                bucket = rate.spend(bucket, now);
            }
            assert!(
                matches!(rate.room(bucket, 0, now), Room::After(wait) if wait >= per / most),
                "{most} in {per:?}"
            );
        }
    }
}
