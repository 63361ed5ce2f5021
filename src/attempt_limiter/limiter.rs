//! A limit on attempts: of each key, and of all keys together.
//!
//! An attempt is *pending* from before it is sent until it is settled. It may turn out to cost a token, so it has to be
//! able to: there are never more attempts pending than tokens left. Who comes when all tokens may yet be needed waits until
//! an attempt is settled. Each key has a line of its own, and the lines take turns, so that one that is long does not keep
//! the others waiting.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    latest::Latest,
    token_bucket::{Bucket, Rate, Room},
};
use crate::{
    call::{Call, CallRecord},
    error::Error,
};

/// The most keys of which is kept how much they have left is twice this; it takes some 2 MiB. To have one forgotten, a
/// guesser would have to spend tokens of so many others.
const GENERATION: usize = 32 * 1024;

/// The most attempts that wait at a time. They hold no place among the calls in flight.
const MOST_WAITING: usize = 4096;
/// When to come again, for who finds as many waiting.
const SOON: Duration = Duration::from_secs(1);

/// The limit. Clones are the same limit.
#[derive(Clone, Debug)]
pub(super) struct Limit(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    of_each: Option<Rate>,
    of_all: Option<Rate>,
    /// What is left for a key, if not everything.
    buckets: Latest<Bucket>,
    /// What is left for all.
    total: Bucket,
    /// The attempts of all that are pending.
    pending: u32,
    /// The keys with an attempt that is pending or waits, so never more than there are calls in flight and waiting.
    lines: HashMap<u64, Line>,
    /// The keys with an attempt that waits, each once, the next one first.
    turns: VecDeque<u64>,
}

/// The attempts of one key.
#[derive(Debug, Default)]
struct Line {
    pending: u32,
    waiting: VecDeque<Waiting>,
}

/// An attempt that waits.
#[derive(Debug)]
struct Waiting {
    record: Arc<CallRecord>,
    decision: oneshot::Sender<Decision>,
}

/// An attempt may be made; or the next may be after that time.
type Decision = Result<Permit, Duration>;

/// Allows one attempt. Dropped before it is settled, it costs a token if the attempt has been sent.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit {
    limit: Limit,
    key: u64,
    record: Arc<CallRecord>,
    /// Whether it costs a token, as far as that is settled.
    costs: Option<bool>,
}

/// Where an attempt waits.
struct Place<'a> {
    limit: &'a Limit,
    key: u64,
    decision: oneshot::Receiver<Decision>,
}

impl Limit {
    /// At most so many attempts of each key, and of all together; `None` is no limit.
    pub(super) fn new(of_each: Option<Rate>, of_all: Option<Rate>) -> Self {
        Self(Arc::new(Mutex::new(State {
            of_each,
            of_all,
            buckets: Latest::new(GENERATION),
            total: Bucket::default(),
            pending: 0,
            lines: HashMap::new(),
            turns: VecDeque::new(),
        })))
    }

    /// Waits for the permit to make one attempt.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyAttempts`] if there is no token left, or whatever ends the call while it waits.
    pub(super) async fn permit(&self, key: u64, call: &Call) -> Result<Permit, Error> {
        let mut place = match self.ask(key, &call.record) {
            Ok(decision) => return decision.map_err(too_many),
            Err(decision) => Place {
                limit: self,
                key,
                decision,
            },
        };
        tokio::select! {
            biased;
            decision = &mut place.decision => decision.expect("each attempt in a line is decided on").map_err(too_many),
            error = call.end() => Err(error),
        }
    }

    /// The decision, or where it is going to arrive.
    fn ask(
        &self,
        key: u64,
        record: &Arc<CallRecord>,
    ) -> Result<Decision, oneshot::Receiver<Decision>> {
        let mut state = self.state();
        match state.room(key, Instant::now()) {
            Room::Free => {
                state.begin(key);
                Ok(Ok(self.permit_for(key, record)))
            }
            Room::After(time) => Ok(Err(time)),
            Room::AfterPending if state.waiting() >= MOST_WAITING => Ok(Err(SOON)),
            Room::AfterPending => Err(state.line_up(key, record)),
        }
    }

    fn permit_for(&self, key: u64, record: &Arc<CallRecord>) -> Permit {
        Permit {
            limit: self.clone(),
            key,
            record: Arc::clone(record),
            costs: None,
        }
    }

    /// An attempt is settled, which others may wait for.
    fn settle(&self, key: u64, costs: bool) {
        let now = Instant::now();
        let mut decided = Vec::new();
        let mut state = self.state();
        state.settle(key, costs, now);
        state.take_turns(now, |key, Waiting { record, decision }, result| {
            decided.push((decision, result.map(|()| self.permit_for(key, &record))));
        });
        // A permit whose call has gone is dropped, and takes the lock itself.
        drop(state);
        for (waiting, decision) in decided {
            let _ = waiting.send(decision);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic leaves it half changed; and a permit may be dropped by one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether one more attempt of that key may be made.
    fn room(&mut self, key: u64, now: Instant) -> Room {
        let pending = self.lines.get(&key).map_or(0, |line| line.pending);
        let bucket = self.buckets.touch(key).unwrap_or_default();
        let of_each = self
            .of_each
            .map_or(Room::Free, |rate| rate.room(bucket, pending, now));
        let of_all = self
            .of_all
            .map_or(Room::Free, |rate| rate.room(self.total, self.pending, now));
        of_each.max(of_all)
    }

    /// An attempt is pending.
    fn begin(&mut self, key: u64) {
        self.lines.entry(key).or_default().pending += 1;
        self.pending += 1;
    }

    /// An attempt is not pending any more.
    fn settle(&mut self, key: u64, costs: bool, now: Instant) {
        if let Some(line) = self.lines.get_mut(&key) {
            line.pending -= 1;
        }
        self.pending -= 1;
        self.tidy(key);
        if costs {
            if let Some(rate) = self.of_each {
                let bucket = self.buckets.touch(key).unwrap_or_default();
                self.buckets.put(key, rate.spend(bucket, now));
            }
            if let Some(rate) = self.of_all {
                self.total = rate.spend(self.total, now);
            }
        }
    }

    /// How many wait.
    fn waiting(&self) -> usize {
        self.turns
            .iter()
            .filter_map(|key| self.lines.get(key))
            .map(|line| line.waiting.len())
            .sum()
    }

    /// An attempt waits.
    fn line_up(&mut self, key: u64, record: &Arc<CallRecord>) -> oneshot::Receiver<Decision> {
        let line = self.lines.entry(key).or_default();
        if line.waiting.is_empty() {
            self.turns.push_back(key);
        }
        let (decision, decided) = oneshot::channel();
        line.waiting.push_back(Waiting {
            record: Arc::clone(record),
            decision,
        });
        decided
    }

    /// Takes out of a line those that do not wait any more.
    fn leave(&mut self, key: u64) {
        if let Some(line) = self.lines.get_mut(&key) {
            line.waiting.retain(|waiting| !waiting.decision.is_closed());
            if line.waiting.is_empty() {
                self.turns.retain(|other| *other != key);
            }
        }
        self.tidy(key);
    }

    /// Decides on those that wait, as far as that can be done: on each line, and those that got something are the last
    /// next time.
    fn take_turns(
        &mut self,
        now: Instant,
        mut decide: impl FnMut(u64, Waiting, Result<(), Duration>),
    ) {
        let mut served = VecDeque::new();
        for key in mem::take(&mut self.turns) {
            let mut is_served = false;
            while let Some(result) = self.decision(key, now)
                && let Some(waiting) = self
                    .lines
                    .get_mut(&key)
                    .and_then(|line| line.waiting.pop_front())
            {
                if waiting.decision.is_closed() {
                    continue;
                }
                if result.is_ok() {
                    self.begin(key);
                }
                is_served = true;
                decide(key, waiting, result);
            }
            if self
                .lines
                .get(&key)
                .is_some_and(|line| !line.waiting.is_empty())
            {
                if is_served {
                    &mut served
                } else {
                    &mut self.turns
                }
                .push_back(key);
            }
            self.tidy(key);
        }
        self.turns.append(&mut served);
    }

    /// What can be said to an attempt of that key by now; `None`: it has to wait.
    fn decision(&mut self, key: u64, now: Instant) -> Option<Result<(), Duration>> {
        match self.room(key, now) {
            Room::Free => Some(Ok(())),
            Room::After(time) => Some(Err(time)),
            Room::AfterPending => None,
        }
    }

    /// Forgets a key that has nothing pending and nobody waiting.
    fn tidy(&mut self, key: u64) {
        if self
            .lines
            .get(&key)
            .is_some_and(|line| line.pending == 0 && line.waiting.is_empty())
        {
            self.lines.remove(&key);
        }
    }
}

impl Permit {
    /// The attempt has ended: whether it costs a token.
    pub(super) fn settle(mut self, costs: bool) {
        self.costs = Some(costs);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Not settled: the caller has gone, or the handler panicked. What was not sent by now never will be.
        let costs = self.costs.unwrap_or_else(|| self.record.abandon());
        self.limit.settle(self.key, costs);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.decision.is_terminated() {
            self.decision.close();
            self.limit.state().leave(self.key);
        }
    }
}

fn too_many(retry_after: Duration) -> Error {
    Error::TooManyAttempts { retry_after }
}

#[cfg(test)]
mod tests {
    use opentelemetry::Context;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::rpc::Rpc;

    const HOUR: Duration = Duration::from_secs(3600);

    fn limit(of_each: u32, of_all: u32) -> Limit {
        Limit::new(
            Some(Rate::new(of_each, HOUR)),
            Some(Rate::new(of_all, HOUR)),
        )
    }

    fn call() -> Call {
        Call {
            rpc: Rpc::GenerateToken,
            deadline: Instant::now() + HOUR,
            client: crate::connect_info::ConnectInfo::Unix { uid: None },
            is_shortened: false,
            trace: Context::new(),
            shutdown: CancellationToken::new(),
            record: Arc::default(),
        }
    }

    /// Whether there is a decision by now. A permit is given back at once.
    async fn is_decided(
        waiting: &mut (impl Future<Output = Result<Permit, Error>> + Unpin),
    ) -> bool {
        futures_util::poll!(waiting).is_ready()
    }

    fn is_empty(limit: &Limit) -> bool {
        let state = limit.state();
        state.pending == 0 && state.lines.is_empty() && state.turns.is_empty()
    }

    #[tokio::test]
    async fn the_lines_take_turns() {
        let (limit, call) = (limit(2, 2), call());
        let first = [
            limit.permit(1, &call).await.unwrap(),
            limit.permit(1, &call).await.unwrap(),
        ];
        let mut of_one: Vec<_> = (0..3).map(|_| Box::pin(limit.permit(1, &call))).collect();
        for waiting in &mut of_one {
            assert!(!is_decided(waiting).await);
        }
        let mut of_two = Box::pin(limit.permit(2, &call));
        assert!(!is_decided(&mut of_two).await);

        let [one, two] = first;
        one.settle(false);
        assert!(
            is_decided(&mut of_one[0]).await,
            "the first in the first line"
        );
        assert!(is_decided(&mut of_two).await, "then the other line");
        assert!(is_decided(&mut of_one[1]).await, "then the first again");
        drop(of_one);
        two.settle(false);
        drop(of_two);
        assert!(is_empty(&limit));
    }

    #[tokio::test]
    async fn who_waits_for_others_is_not_forgotten_and_lines_that_can_go_on_do() {
        let (limit, call) = (limit(1, 2), call());
        let (one, two) = (
            limit.permit(1, &call).await.unwrap(),
            limit.permit(2, &call).await.unwrap(),
        );
        let (mut again, mut three) = (
            Box::pin(limit.permit(1, &call)),
            Box::pin(limit.permit(3, &call)),
        );
        assert!(!is_decided(&mut again).await && !is_decided(&mut three).await);
        // The first line is blocked by its own attempt, the second is not.
        two.settle(false);
        assert!(!is_decided(&mut again).await);
        let three = three.await.unwrap();
        one.settle(true);
        assert!(matches!(again.await, Err(Error::TooManyAttempts { .. })));
        three.settle(true);
        assert!(
            matches!(
                limit.permit(4, &call).await,
                Err(Error::TooManyAttempts { .. })
            ),
            "nothing is left for all"
        );
        assert!(is_empty(&limit));
    }

    #[tokio::test]
    async fn who_leaves_gives_back_a_permit_that_it_has_not_seen() {
        let (limit, call) = (limit(1, 1), call());
        let first = limit.permit(1, &call).await.unwrap();
        let (mut gone, mut waiting) = (
            Box::pin(limit.permit(1, &call)),
            Box::pin(limit.permit(1, &call)),
        );
        assert!(!is_decided(&mut gone).await && !is_decided(&mut waiting).await);
        first.settle(false);
        drop(gone);
        waiting.await.unwrap().settle(false);
        assert!(is_empty(&limit));
    }

    #[tokio::test]
    async fn a_line_is_as_long_as_there_are_calls_in_it() {
        let (limit, call) = (limit(1, 1), call());
        let first = limit.permit(1, &call).await.unwrap();
        for key in 0..1000 {
            assert!(!is_decided(&mut Box::pin(limit.permit(key % 7, &call))).await);
            let state = limit.state();
            assert!(
                state.lines.len() == 1
                    && state.lines[&1].waiting.is_empty()
                    && state.turns.is_empty()
            );
        }
        drop(first);
        assert!(is_empty(&limit));
    }

    #[tokio::test]
    async fn a_permit_that_is_dropped_costs_what_was_sent() {
        for sent in [false, true] {
            let (limit, call) = (limit(1, 1), call());
            let permit = limit.permit(1, &call).await.unwrap();
            assert!(!sent || call.record.send());
            drop(permit);
            assert_eq!(limit.permit(1, &self::call()).await.is_err(), sent);
        }
    }

    #[tokio::test]
    async fn many_keys_leave_little_behind() {
        let (limit, call) = (Limit::new(Some(Rate::new(1, HOUR)), None), call());
        for key in 0..20 * GENERATION as u64 {
            limit.permit(key, &call).await.unwrap().settle(key % 2 == 0);
        }
        assert!(limit.state().buckets.len() <= 2 * GENERATION);
        assert!(is_empty(&limit));
    }
}
