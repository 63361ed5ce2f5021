//! Streams that wait for their peer: for the rest of a message, or for an answer to be taken. A peer may let them wait for as
//! long as it likes, but not any number of them: past the most that there may be, the connection that has most of them
//! is cut off. So a peer that hoards them pays itself, and not the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::crowd::Activity;

/// The streams that wait, on all connections.
#[derive(Clone, Debug)]
pub(super) struct Waits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    total: usize,
    /// By the address of the connection's activity.
    connections: HashMap<usize, Tally>,
}

#[derive(Debug)]
struct Tally {
    streams: usize,
    activity: Arc<Activity>,
}

/// A stream that waits, until this is dropped.
#[derive(Debug)]
pub(super) struct Wait {
    waits: Waits,
    activity: Arc<Activity>,
}

impl Waits {
    /// At most that many streams may wait at a time.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, waiting: Mutex::default() }))
    }

    /// A stream of that connection waits from now on.
    pub(super) fn begin(&self, activity: &Arc<Activity>) -> Wait {
        let mut waiting = self.waiting();
        // One that is cut off already was counted out, with all its streams.
        if !activity.is_cut_off() {
            waiting.add(activity);
            while waiting.total > self.0.most {
                waiting.cut_off_the_worst();
            }
        }
        Wait { waits: self.clone(), activity: Arc::clone(activity) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, activity: &Arc<Activity>) {
        let tally = self.connections.entry(key(activity));
        tally.or_insert_with(|| Tally { streams: 0, activity: Arc::clone(activity) }).streams += 1;
        self.total += 1;
    }

    fn remove(&mut self, activity: &Arc<Activity>) {
        let Some(tally) = self.connections.get_mut(&key(activity)) else { return };
        tally.streams -= 1;
        self.total -= 1;
        if tally.streams == 0 {
            self.connections.remove(&key(activity));
        }
    }

    fn cut_off_the_worst(&mut self) {
        let worst = self.connections.iter().max_by_key(|(_, tally)| tally.streams).map(|(key, _)| *key);
        let Some(tally) = worst.and_then(|worst| self.connections.remove(&worst)) else { return };
        self.total -= tally.streams;
        tally.activity.cut_off();
    }
}

/// No other activity has it as long as this one is held, as it is by each stream that waits.
fn key(activity: &Arc<Activity>) -> usize {
    Arc::as_ptr(activity).addr()
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.waiting().remove(&self.activity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::crowd::Crowd;

    #[test]
    fn past_the_limit_the_connection_with_most_streams_is_cut_off() {
        let (crowd, waits) = (Crowd::new(3), Waits::new(4));
        let members: Vec<_> = std::iter::from_fn(|| crowd.enter()).take(3).collect();
        let [one, hoarder, another] = [0, 1, 2].map(|i| Arc::clone(&members[i].activity));
        let first = waits.begin(&one);
        let hoarded: Vec<_> = (0..3).map(|_| waits.begin(&hoarder)).collect();
        drop(waits.begin(&hoarder));
        assert!(hoarder.is_cut_off() && !one.is_cut_off(), "it had four of five");

        let _late = waits.begin(&hoarder);
        drop(hoarded);
        let _others: Vec<_> = (0..3).map(|_| waits.begin(&another)).collect();
        assert!(!one.is_cut_off() && !another.is_cut_off(), "what it left does not count any more");
        drop(first);
        assert_eq!(waits.waiting().total, 3);
    }
}
