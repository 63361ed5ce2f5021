//! The limit on connections. When all places are taken, a new connection takes the place of an idle one, so nobody can
//! keep others out by holding connections open.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::connection_state::ConnectionState;

/// How many evicted connections may use their grace period at a time. Each holds its socket until it closes.
const MAX_EVICTED: usize = 16;

/// Counts connections and evicts idle ones. Clones share the count.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimit(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    max: usize,
    /// The connections that have a place.
    admitted: HashMap<u64, Arc<ConnectionState>>,
    /// Evicted connections that have not ended, the oldest first.
    evicted: VecDeque<Arc<ConnectionState>>,
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

    /// The most sockets that connections should have, evicted ones included.
    pub(super) fn max_sockets(&self) -> usize {
        self.0.lock().max + MAX_EVICTED
    }

    /// The number of connections, without those that were evicted.
    pub(super) fn len(&self) -> usize {
        self.0.lock().admitted.len()
    }

    /// Takes a place for a connection that ends with `drain`. `None` if all places are taken by busy connections.
    pub(super) fn acquire(&self, drain: &CancellationToken) -> Option<ConnectionPermit> {
        let mut registry = self.0.lock();
        if registry.admitted.len() >= registry.max && !registry.evict_one() {
            return None;
        }
        let state = Arc::new(ConnectionState::new(drain.child_token()));
        registry.admitted.insert(state.id, Arc::clone(&state));
        let limit = self.clone();
        Some(ConnectionPermit { limit, state })
    }
}

impl Registry {
    /// Evicts the idle connection that has been silent longest, one without any call before all others.
    fn evict_one(&mut self) -> bool {
        let idle = self.admitted.values().filter(|state| !state.is_busy());
        let silent_longest = idle.min_by_key(|state| state.eviction_order());
        let Some(state) = silent_longest.cloned() else {
            return false;
        };
        self.admitted.remove(&state.id);
        state.evict();
        self.evicted.push_back(state);
        if self.evicted.len() > MAX_EVICTED
            && let Some(state) = self.evicted.pop_front()
        {
            state.grace_over.cancel();
        }
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut registry = self.limit.0.lock();
        registry.admitted.remove(&self.state.id);
        registry.evicted.retain(|state| state.id != self.state.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(limit: &ConnectionLimit) -> Option<ConnectionPermit> {
        limit.acquire(&CancellationToken::new())
    }

    #[test]
    fn a_connection_without_calls_is_evicted_first_then_the_one_silent_longest() {
        let limit = ConnectionLimit::new(4);
        let [busy, late, early, unused] = [(); 4].map(|()| acquire(&limit).unwrap());
        let _call = busy.state.begin_call();
        for used in [&early, &late] {
            drop(used.state.begin_call());
            used.state.record_read();
        }
        unused.state.record_read();
        for expected in [&unused, &early, &late] {
            assert!(!expected.state.is_evicted());
            let newcomer = acquire(&limit).unwrap();
            assert!(expected.state.is_evicted() && expected.state.end.is_cancelled());
            std::mem::forget((newcomer.state.begin_call(), newcomer));
        }
        assert!(acquire(&limit).is_none(), "every connection is busy");
        assert_eq!(limit.len(), 4);
        assert!(!busy.state.is_evicted());
    }

    #[test]
    fn a_permit_gives_its_place_back() {
        let limit = ConnectionLimit::new(1);
        let permit = acquire(&limit).unwrap();
        let call = permit.state.begin_call();
        assert!(acquire(&limit).is_none());
        drop((call, permit));
        assert_eq!(limit.len(), 0);
        assert!(acquire(&limit).is_some());
    }

    #[test]
    fn few_evicted_connections_may_take_their_time() {
        let limit = ConnectionLimit::new(1);
        let permits: Vec<_> = std::iter::repeat_with(|| acquire(&limit).unwrap())
            .take(MAX_EVICTED + 1)
            .collect();
        assert!(!permits[0].state.grace_over.is_cancelled());
        let _one_more = acquire(&limit).unwrap();
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
