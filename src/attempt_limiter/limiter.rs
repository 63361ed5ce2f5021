//! Limits attempts, for each key and for all keys together.
//!
//! An attempt is *pending* from before it is sent until it is settled. It may cost a token, so
//! there are never more pending attempts than tokens left. A call that finds all tokens reserved
//! waits: first for a token of its key, then for one of the limit for all keys. Both queues are
//! first come, first served. Only the first call in a queue checks whether it can proceed, so a
//! settled attempt wakes one call in each queue. A key never has more calls in the second queue
//! than it has tokens, so a flood of one key does not delay the others.

use std::{
    collections::{HashMap, hash_map::Entry},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use lru::LruCache;
use parking_lot::Mutex;
use tokio::{
    sync::{self, Notify, Semaphore},
    time::Instant,
};

use super::token_bucket::TokenBucket;
use crate::{call::Call, config::AttemptRate, error::Error};

/// How many keys with spent tokens are remembered.
const MAX_KEYS: NonZeroUsize = NonZeroUsize::new(64 * 1024).expect("it is not zero");
/// How many calls may wait. They hold no in-flight permit.
const MAX_WAITING: usize = 4096;
/// The retry delay of a call that is refused because too many others wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A limit for each key, and one for all keys together.
#[derive(Debug)]
pub(super) struct KeyedLimiter {
    rate_of_each: Option<AttemptRate>,
    /// Makes the error of a call that is refused, from the time until the next attempt.
    refusal: fn(Duration) -> Error,
    all: Arc<Limit>,
    keys: Mutex<Keys>,
    waiting: Semaphore,
}

#[derive(Debug)]
struct Keys {
    /// The limit of each key that has calls now, and the number of those calls.
    in_use: HashMap<u64, (Arc<Limit>, usize)>,
    /// For each other key with spent tokens: when all of them will be back.
    spent: LruCache<u64, Instant>,
}

/// One limit, and the queue of the calls that wait for it.
#[derive(Debug)]
struct Limit {
    bucket: Mutex<TokenBucket>,
    /// Held by the first call in the queue. The others queue for it, first come, first served.
    turn: sync::Mutex<()>,
    /// Wakes the first call in the queue when an attempt is settled.
    settled: Notify,
}

/// A pending attempt. It may be made once it has reserved a token of each limit. If it is dropped before
/// it is settled, it costs those tokens if the call was sent.
#[derive(Debug)]
#[must_use]
pub(super) struct PendingAttempt<'a> {
    limiter: &'a KeyedLimiter,
    key: u64,
    call: &'a Call,
    reserved: Vec<Arc<Limit>>,
    /// `None` until it is settled.
    costs: Option<bool>,
}

impl KeyedLimiter {
    /// `None` means no limit.
    pub(super) fn new(
        of_each: Option<AttemptRate>,
        of_all: Option<AttemptRate>,
        refusal: fn(Duration) -> Error,
    ) -> Self {
        // `LruCache::new` allocates room for all keys at once.
        let mut spent = LruCache::unbounded();
        spent.resize(MAX_KEYS);
        let in_use = HashMap::new();
        Self {
            rate_of_each: of_each,
            refusal,
            all: Limit::new(of_all, Instant::now()),
            keys: Mutex::new(Keys { in_use, spent }),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// Waits until an attempt may be made.
    ///
    /// # Errors
    ///
    /// The limiter's refusal if no token is left or too many calls wait; or whatever ends the call while
    /// it waits.
    pub(super) async fn attempt<'a>(
        &'a self,
        key: u64,
        call: &'a Call,
    ) -> Result<PendingAttempt<'a>, Error> {
        let limits = [self.enter(key), Arc::clone(&self.all)];
        let mut attempt = PendingAttempt {
            limiter: self,
            key,
            call,
            reserved: Vec::new(),
            costs: None,
        };
        let reserve_all = async {
            for limit in limits {
                let reserved = limit.reserve(&self.waiting).await;
                reserved.map_err(self.refusal)?;
                attempt.reserved.push(limit);
            }
            Ok(())
        };
        tokio::select! {
            biased;
            result = reserve_all => result?,
            error = call.until_cancelled() => return Err(error),
        }
        Ok(attempt)
    }

    /// Registers a call of the key and returns the limit of the key.
    fn enter(&self, key: u64) -> Arc<Limit> {
        let Keys { in_use, spent } = &mut *self.keys.lock();
        let (limit, calls) = in_use.entry(key).or_insert_with(|| {
            let full_at = spent.pop(&key).unwrap_or_else(Instant::now);
            (Limit::new(self.rate_of_each, full_at), 0)
        });
        *calls += 1;
        Arc::clone(limit)
    }

    /// Removes a call of the key. After the last one, only the spent tokens are remembered.
    fn leave(&self, key: u64) {
        let Keys { in_use, spent } = &mut *self.keys.lock();
        let Entry::Occupied(mut entry) = in_use.entry(key) else {
            return;
        };
        let (limit, calls) = entry.get_mut();
        *calls -= 1;
        if *calls == 0 {
            let full_at = limit.bucket.lock().full_at;
            entry.remove();
            if full_at > Instant::now() {
                spent.put(key, full_at);
            }
        }
    }
}

impl Limit {
    fn new(rate: Option<AttemptRate>, full_at: Instant) -> Arc<Self> {
        Arc::new(Self {
            bucket: Mutex::new(TokenBucket::new(rate, full_at)),
            turn: sync::Mutex::default(),
            settled: Notify::new(),
        })
    }

    /// Reserves a token, after the calls that came earlier. An error is the time until the next attempt.
    async fn reserve(&self, waiting: &Semaphore) -> Result<(), Duration> {
        let is_queue_empty = self.turn.try_lock().is_ok();
        if is_queue_empty && let Some(result) = self.try_reserve() {
            return result;
        }
        let _permit = waiting.try_acquire().map_err(|_full| RETRY_AFTER)?;
        let _turn = self.turn.lock().await;
        loop {
            if let Some(result) = self.try_reserve() {
                return result;
            }
            self.settled.notified().await;
        }
    }

    /// Reserves a token or refuses to; `None` if that depends on how pending attempts end.
    fn try_reserve(&self) -> Option<Result<(), Duration>> {
        self.bucket.lock().reserve(Instant::now())
    }
}

impl PendingAttempt<'_> {
    /// Spends the reserved tokens if the attempt costs them, or else gives them back.
    pub(super) fn settle(mut self, costs: bool) {
        self.costs = Some(costs);
    }
}

impl Drop for PendingAttempt<'_> {
    fn drop(&mut self) {
        // Without a settlement, the call is cancelled or the handler panicked.
        let costs = self.costs.unwrap_or_else(|| {
            self.call.record.cancel();
            self.call.record.may_be_seen()
        });
        for limit in &self.reserved {
            limit.bucket.lock().settle(costs, Instant::now());
            limit.settled.notify_one();
        }
        self.limiter.leave(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::Rpc;

    const HOUR: Duration = Duration::from_secs(3600);

    fn limiter(of_each: u32, of_all: u32) -> KeyedLimiter {
        KeyedLimiter::new(Some((of_each, HOUR)), Some((of_all, HOUR)), refusal)
    }

    fn refusal(retry_after: Duration) -> Error {
        Error::TooManyAttempts { retry_after }
    }

    fn call() -> Call {
        Call::for_test(Rpc::GenerateToken, HOUR)
    }

    /// Polls a waiting call until it can get no further.
    async fn is_waiting(call: &mut (impl Future + Unpin)) -> bool {
        for _ in 0..10 {
            if futures_util::poll!(&mut *call).is_ready() {
                return false;
            }
        }
        true
    }

    fn is_idle(limiter: &KeyedLimiter) -> bool {
        limiter.all.bucket.lock().pending == 0
            && limiter.keys.lock().in_use.is_empty()
            && limiter.waiting.available_permits() == MAX_WAITING
    }

    #[tokio::test]
    async fn calls_of_a_key_wait_in_the_order_in_which_they_came() {
        let (limiter, call) = (limiter(1, 9), call());
        let first = limiter.attempt(1, &call).await.unwrap();
        let mut second = Box::pin(limiter.attempt(1, &call));
        let mut third = Box::pin(limiter.attempt(1, &call));
        assert!(is_waiting(&mut second).await && is_waiting(&mut third).await);
        first.settle(false);
        let mut newcomer = Box::pin(limiter.attempt(1, &call));
        assert!(is_waiting(&mut newcomer).await && is_waiting(&mut third).await);
        second.await.unwrap().settle(false);
        assert!(is_waiting(&mut newcomer).await);
        third.await.unwrap().settle(false);
        newcomer.await.unwrap().settle(false);
        assert!(is_idle(&limiter));
    }

    #[tokio::test]
    async fn a_flood_of_one_key_does_not_hold_up_another() {
        let (limiter, call) = (limiter(2, 2), call());
        let one = limiter.attempt(1, &call).await.unwrap();
        let two = limiter.attempt(1, &call).await.unwrap();
        let mut flood: Vec<_> = (0..100)
            .map(|_| Box::pin(limiter.attempt(1, &call)))
            .collect();
        for waiting in &mut flood {
            assert!(is_waiting(waiting).await);
        }
        let mut other = Box::pin(limiter.attempt(2, &call));
        assert!(is_waiting(&mut other).await);
        one.settle(false);
        for waiting in &mut flood {
            assert!(is_waiting(waiting).await, "the other key was first");
        }
        other.await.unwrap().settle(false);
        two.settle(false);
        drop(flood);
        assert!(is_idle(&limiter));
    }

    #[tokio::test]
    async fn when_the_last_token_is_spent_all_waiting_calls_are_refused() {
        let (limiter, call) = (limiter(1, 2), call());
        let one = limiter.attempt(1, &call).await.unwrap();
        let two = limiter.attempt(2, &call).await.unwrap();
        let mut same_key = Box::pin(limiter.attempt(1, &call));
        let mut other_key = Box::pin(limiter.attempt(3, &call));
        assert!(is_waiting(&mut same_key).await && is_waiting(&mut other_key).await);
        two.settle(true);
        assert!(is_waiting(&mut other_key).await && is_waiting(&mut same_key).await);
        one.settle(true);
        for result in [same_key.await, other_key.await] {
            assert!(matches!(result, Err(Error::TooManyAttempts { .. })));
        }
        assert!(is_idle(&limiter));
    }

    #[tokio::test]
    async fn a_call_that_leaves_passes_its_turn_on() {
        let (limiter, call) = (limiter(1, 1), call());
        let first = limiter.attempt(1, &call).await.unwrap();
        let mut leaves = Box::pin(limiter.attempt(1, &call));
        let mut stays = Box::pin(limiter.attempt(1, &call));
        assert!(is_waiting(&mut leaves).await && is_waiting(&mut stays).await);
        first.settle(false);
        drop(leaves);
        stays.await.unwrap().settle(false);
        assert!(is_idle(&limiter));
    }

    #[tokio::test]
    async fn no_more_calls_wait_than_the_limit_allows() {
        let (limiter, call) = (limiter(1, 9), call());
        let _first = limiter.attempt(1, &call).await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| Box::pin(limiter.attempt(1, &call)))
            .collect();
        for call in &mut waiting {
            assert!(futures_util::poll!(call).is_pending());
        }
        let refused = limiter.attempt(1, &call).await;
        assert!(matches!(
            refused,
            Err(Error::TooManyAttempts { retry_after }) if retry_after == RETRY_AFTER
        ));
        limiter.attempt(2, &call).await.unwrap().settle(false);
    }

    #[tokio::test]
    async fn an_attempt_that_is_dropped_costs_if_it_was_sent() {
        for sent in [false, true] {
            let (limiter, call) = (limiter(1, 1), call());
            let attempt = limiter.attempt(1, &call).await.unwrap();
            assert!(!sent || call.record.try_mark_sent());
            drop(attempt);
            assert_eq!(limiter.attempt(1, &self::call()).await.is_err(), sent);
        }
    }

    #[tokio::test]
    async fn only_spent_tokens_are_remembered_and_those_of_so_many_keys() {
        let call = call();
        let limiter = KeyedLimiter::new(Some((1, HOUR)), None, refusal);
        limiter.attempt(u64::MAX, &call).await.unwrap().settle(true);
        for key in 0..2 * MAX_KEYS.get() as u64 {
            limiter.attempt(key, &call).await.unwrap().settle(false);
        }
        assert!(limiter.attempt(u64::MAX, &call).await.is_err());
        for key in 0..2 * MAX_KEYS.get() as u64 {
            limiter.attempt(key, &call).await.unwrap().settle(true);
        }
        assert_eq!(limiter.keys.lock().spent.len(), MAX_KEYS.get());
        assert!(is_idle(&limiter));
        assert!(limiter.attempt(u64::MAX, &call).await.is_ok());
    }
}
