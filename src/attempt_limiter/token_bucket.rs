//! A token bucket: so many tokens, which come back evenly. It has no clock; everybody tells it what time it is.

use std::time::Duration;

use tokio::time::Instant;

/// How many attempts there may be, and how fast they come back: `20/10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    most: u32,
    /// The time in which one token comes back.
    pace: Duration,
}

/// What is left of a rate. The default is all of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When all tokens are back; `None`: they are.
    full_at: Option<Instant>,
}

/// Whether there is room for one more attempt. The greater is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    Free,
    /// Not before one of the attempts that are under way is settled.
    AfterPending,
    /// Not before so much time has passed.
    After(Duration),
}

impl Rate {
    /// `most` attempts, of which as many come back in the time `per`, neither being zero.
    pub(crate) fn new(most: u32, per: Duration) -> Self {
        // Rounded up: never more than was asked for.
        let pace = per.as_nanos().div_ceil(u128::from(most.max(1)));
        Self {
            most,
            pace: Duration::from_nanos(u64::try_from(pace).unwrap_or(u64::MAX)),
        }
    }

    /// Whether one more attempt has room beside those that are pending, each of which may yet turn out to cost a token.
    pub(super) fn room(self, bucket: Bucket, pending: u32, now: Instant) -> Room {
        let missing = bucket.time_to_full(now);
        let spent = missing.as_nanos().div_ceil(self.pace.as_nanos().max(1));
        if spent + u128::from(pending) < u128::from(self.most) {
            Room::Free
        } else if pending > 0 {
            Room::AfterPending
        } else {
            Room::After(missing.saturating_sub(self.pace * (self.most - 1)))
        }
    }

    /// The bucket with one token less.
    pub(super) fn spend(self, bucket: Bucket, now: Instant) -> Bucket {
        Bucket {
            full_at: Some(now + bucket.time_to_full(now) + self.pace),
        }
    }
}

impl Bucket {
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
    fn a_bucket_has_its_tokens_and_then_tells_when_the_next_comes() {
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
    fn tokens_come_back_one_by_one_and_no_more_than_there_were() {
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
    fn what_is_pending_may_turn_out_to_be_spent() {
        let now = Instant::now();
        assert_eq!(rate().room(Bucket::default(), 2, now), Room::Free);
        assert_eq!(rate().room(Bucket::default(), 3, now), Room::AfterPending);
        assert_eq!(rate().room(spent(2, now), 1, now), Room::AfterPending);
        assert_eq!(rate().room(spent(2, now), 1, now + 10 * SECOND), Room::Free);
    }

    #[test]
    fn odd_rates_give_no_more_than_was_asked_for() {
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

    #[test]
    fn the_stricter_room_is_the_greater() {
        assert!(
            Room::Free < Room::AfterPending && Room::AfterPending < Room::After(Duration::ZERO)
        );
        assert!(Room::After(SECOND) < Room::After(2 * SECOND));
    }
}
