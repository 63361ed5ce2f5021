//! The limit on connections. When all places are taken, a new connection takes the place of an idle one, so nobody can
//! keep others out by holding connections open.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::error::Error;

/// How many evicted connections may use their grace period at a time. Each holds its socket until it closes.
const MAX_EVICTED: usize = 16;
/// The most health and reflection streams that one connection may have open.
const MAX_AUXILIARY_STREAMS: usize = 32;

/// The number of times that any peer has connected or sent something.
static EVENTS: AtomicU64 = AtomicU64::new(0);

/// Counts connections and evicts idle ones. Clones share the count.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimit(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    max: usize,
    open: HashMap<u64, Arc<ConnectionState>>,
    /// Evicted connections, the oldest first. Some of them may have ended.
    evicted: VecDeque<Arc<ConnectionState>>,
}

/// The state of an open connection.
#[derive(Debug)]
pub(super) struct ConnectionState {
    /// The value of [`EVENTS`] when the peer connected. No other connection has it.
    id: u64,
    /// The value of [`EVENTS`] when the peer last sent something.
    last_read: AtomicU64,
    /// Calls that are not answered yet.
    open_calls: TaskTracker,
    /// Those of them whose message is not complete.
    reading: TaskTracker,
    had_call: AtomicBool,
    is_evicted: AtomicBool,
    /// Whether the client is no longer trusted.
    refuses_calls: AtomicBool,
    /// Tells the connection to end gracefully.
    pub(super) end: CancellationToken,
    /// Tells an evicted connection not to wait for its peer any longer.
    pub(super) grace_over: CancellationToken,
    pub(super) auxiliary_streams: Arc<Semaphore>,
}

/// A connection's place. Dropping it gives the place back.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limit: ConnectionLimit,
    pub(super) state: Arc<ConnectionState>,
}

impl ConnectionLimit {
    pub(super) fn new(max: usize) -> Self {
        let registry = Registry {
            max,
            ..Registry::default()
        };
        Self(Arc::new(Mutex::new(registry)))
    }

    /// The most connections whose sockets should be open, evicted ones included.
    pub(super) fn max_sockets(&self) -> usize {
        self.0.lock().max + MAX_EVICTED
    }

    /// The number of open connections, without those that were evicted.
    pub(super) fn len(&self) -> usize {
        self.0.lock().open.len()
    }

    /// Takes a place for a connection that ends with `drain`. `None` if all places are taken by busy connections.
    pub(super) fn acquire(&self, drain: &CancellationToken) -> Option<ConnectionPermit> {
        let mut registry = self.0.lock();
        if registry.open.len() >= registry.max && !registry.evict_one() {
            return None;
        }
        let state = Arc::new(ConnectionState::new(drain.child_token()));
        registry.open.insert(state.id, Arc::clone(&state));
        let limit = self.clone();
        Some(ConnectionPermit { limit, state })
    }
}

impl Registry {
    /// Evicts the idle connection that has been silent longest, one without any call before all others.
    fn evict_one(&mut self) -> bool {
        let idle = self.open.values().filter(|state| !state.is_busy());
        let silent_longest = idle.min_by_key(|state| state.eviction_order());
        let Some(state) = silent_longest.cloned() else {
            return false;
        };
        self.open.remove(&state.id);
        state.is_evicted.store(true, Ordering::Relaxed);
        state.end.cancel();
        self.evicted.push_back(state);
        if self.evicted.len() > MAX_EVICTED
            && let Some(state) = self.evicted.pop_front()
        {
            state.grace_over.cancel();
        }
        true
    }
}

impl ConnectionState {
    fn new(end: CancellationToken) -> Self {
        let id = EVENTS.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            last_read: AtomicU64::new(id),
            open_calls: TaskTracker::new(),
            reading: TaskTracker::new(),
            had_call: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            refuses_calls: AtomicBool::new(false),
            end,
            grace_over: CancellationToken::new(),
            auxiliary_streams: Arc::new(Semaphore::new(MAX_AUXILIARY_STREAMS)),
        }
    }

    /// Notes that the peer has sent something.
    pub(super) fn record_read(&self) {
        let event = EVENTS.fetch_add(1, Ordering::Relaxed);
        self.last_read.store(event, Ordering::Relaxed);
    }

    /// Whether the peer has ever sent something.
    pub(super) fn has_read(&self) -> bool {
        self.last_read.load(Ordering::Relaxed) != self.id
    }

    /// Notes that a call has begun. It ends when the token is dropped.
    pub(super) fn begin_call(&self) -> TaskTrackerToken {
        self.had_call.store(true, Ordering::Relaxed);
        self.open_calls.token()
    }

    /// Notes that the message of a call is being read, until the token is dropped.
    pub(super) fn begin_reading(&self) -> TaskTrackerToken {
        self.reading.token()
    }

    /// Whether a call is not answered yet. One whose message is not complete does not count: anybody can begin a call and
    /// leave it at that.
    pub(super) fn is_busy(&self) -> bool {
        self.open_calls.len() > self.reading.len()
    }

    /// Whether the connection ends because another one needs its place.
    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    /// Refuses further calls, because the client is no longer trusted.
    pub(super) fn refuse_calls(&self) {
        self.refuses_calls.store(true, Ordering::Relaxed);
    }

    /// Checks that the client is still trusted.
    ///
    /// # Errors
    ///
    /// [`Error::NoLongerTrusted`] if its calls must be refused.
    pub(super) fn check_trust(&self) -> Result<(), Error> {
        let is_trusted = !self.refuses_calls.load(Ordering::Relaxed);
        is_trusted.then_some(()).ok_or(Error::NoLongerTrusted)
    }

    /// Connections with a lower value are evicted first.
    fn eviction_order(&self) -> (bool, u64) {
        (
            self.had_call.load(Ordering::Relaxed),
            self.last_read.load(Ordering::Relaxed),
        )
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut registry = self.limit.0.lock();
        registry.open.remove(&self.state.id);
        registry.evicted.retain(|state| state.id != self.state.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(limit: &ConnectionLimit) -> Option<ConnectionPermit> {
        limit.acquire(&CancellationToken::new())
    }

    #[test]
    fn a_connection_without_calls_is_evicted_first_then_the_one_silent_longest() {
        let limit = ConnectionLimit::new(4);
        let [busy, late, early, unused] = [(); 4].map(|()| open(&limit).unwrap());
        let _call = busy.state.begin_call();
        for used in [&early, &late] {
            drop(used.state.begin_call());
            used.state.record_read();
        }
        unused.state.record_read();
        for expected in [&unused, &early, &late] {
            assert!(!expected.state.is_evicted());
            let newcomer = open(&limit).unwrap();
            assert!(expected.state.is_evicted() && expected.state.end.is_cancelled());
            std::mem::forget((newcomer.state.begin_call(), newcomer));
        }
        assert!(open(&limit).is_none(), "every connection is busy");
        assert_eq!(limit.len(), 4);
        assert!(!busy.state.is_evicted());
    }

    #[test]
    fn a_permit_gives_its_place_back() {
        let limit = ConnectionLimit::new(1);
        let permit = open(&limit).unwrap();
        let call = permit.state.begin_call();
        assert!(open(&limit).is_none());
        drop((call, permit));
        assert_eq!(limit.len(), 0);
        assert!(open(&limit).is_some());
    }

    #[test]
    fn few_evicted_connections_may_take_their_time() {
        let limit = ConnectionLimit::new(1);
        let permits: Vec<_> = std::iter::repeat_with(|| open(&limit).unwrap())
            .take(MAX_EVICTED + 1)
            .collect();
        assert!(!permits[0].state.grace_over.is_cancelled());
        let _one_more = open(&limit).unwrap();
        assert!(permits[0].state.grace_over.is_cancelled());
        assert!(!permits[1].state.grace_over.is_cancelled());
    }

    #[test]
    fn the_drain_ends_every_connection_without_evicting_it() {
        let drain = CancellationToken::new();
        let permit = ConnectionLimit::new(1).acquire(&drain).unwrap();
        drain.cancel();
        assert!(permit.state.end.is_cancelled() && !permit.state.is_evicted());
    }
}
