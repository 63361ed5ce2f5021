//! Streams that wait for their peer: for the rest of a message, or for an answer to be taken. A peer may let them wait for as
//! long as it likes, but not any number of them: past the most that there may be, the connection with most that have
//! waited for long is cut off. So a peer that hoards them pays itself, and not the others, whose streams come and go.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use slab::Slab;
use tokio::time::Instant;

use super::crowd::Activity;

/// How long a stream may wait before that is held against its connection.
const LONG: Duration = Duration::from_secs(1);
/// How often is looked, at the most, for who hoards: it takes a look at every stream.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
    streams: Slab<Stream>,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Stream {
    since: Instant,
    connection: Arc<Activity>,
}

/// A stream that waits, until this is dropped.
#[derive(Debug)]
pub(super) struct Wait {
    waits: Waits,
    key: usize,
}

impl Waits {
    /// At most that many streams may wait for long.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            waiting: Mutex::default(),
        }))
    }

    /// A stream of that connection waits from now on.
    pub(super) fn begin(&self, connection: &Arc<Activity>) -> Wait {
        let (mut waiting, now) = (self.waiting(), Instant::now());
        let key = waiting.streams.insert(Stream {
            since: now,
            connection: Arc::clone(connection),
        });
        if waiting.streams.len() > self.0.most
            && waiting
                .looked
                .is_none_or(|looked| now - looked >= LOOK_EVERY)
        {
            waiting.looked = Some(now);
            waiting.cut_off_hoarders(self.0.most, now);
        }
        Wait {
            waits: self.clone(),
            key,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Cuts connections off until there will be no more streams than that, the worst first; and those that have a call under way
    /// last, for it may be a write.
    fn cut_off_hoarders(&self, most: usize, now: Instant) {
        let here = self
            .streams
            .iter()
            .map(|(_, stream)| stream)
            .filter(|stream| !stream.connection.is_cut_off());
        let mut hoards: HashMap<usize, (usize, &Arc<Activity>)> = HashMap::new();
        for Stream { connection, .. } in here.clone().filter(|stream| now - stream.since >= LONG) {
            hoards.entry(key(connection)).or_insert((0, connection)).0 += 1;
        }
        let mut hoards: Vec<_> = hoards.into_values().collect();
        hoards.sort_by_key(|(streams, connection)| (!connection.is_idle(), Reverse(*streams)));
        let mut left = here.clone().count();
        for (_, hoarder) in hoards {
            if left <= most {
                return;
            }
            left -= here
                .clone()
                .filter(|stream| Arc::ptr_eq(&stream.connection, hoarder))
                .count();
            hoarder.cut_off();
        }
    }
}

/// No other connection has it as long as this one's activity is held, as it is by each stream that waits.
fn key(connection: &Arc<Activity>) -> usize {
    Arc::as_ptr(connection).addr()
}

impl Drop for Wait {
    fn drop(&mut self) {
        let stream = self.waits.waiting().streams.remove(self.key);
        // Not under the lock: its connection may be gone but for this, and then tells what it has still to tell.
        drop(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::crowd::{Crowd, Member};

    fn connections(number: usize) -> Vec<Member> {
        let crowd = Crowd::new(number);
        std::iter::from_fn(|| crowd.enter()).take(number).collect()
    }

    fn hoard(waits: &Waits, connection: &Member, streams: usize) -> Vec<Wait> {
        (0..streams)
            .map(|_| waits.begin(&connection.activity))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn past_the_limit_who_hoards_most_is_cut_off_and_not_who_is_busy() {
        let (connections, waits) = (connections(3), Waits::new(4));
        let [small, large, busy] = &connections[..] else {
            panic!("three have room")
        };
        let _hoarded = (hoard(&waits, small, 1), hoard(&waits, large, 3));
        tokio::time::advance(LONG).await;
        let _burst = hoard(&waits, busy, 10);
        assert!(large.activity.is_cut_off(), "it has hoarded most");
        assert!(!busy.activity.is_cut_off(), "its streams have just come");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_alone_costs_nobody_the_connection() {
        let (connections, waits) = (connections(1), Waits::new(4));
        drop(hoard(&waits, &connections[0], 100));
        assert!(!connections[0].activity.is_cut_off());
        assert!(waits.waiting().streams.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_call_under_way_is_cut_off_last() {
        let (connections, waits) = (connections(2), Waits::new(4));
        let [calling, idle] = &connections[..] else {
            panic!("two have room")
        };
        let _call = calling.activity.request();
        let _hoarded = (hoard(&waits, calling, 3), hoard(&waits, idle, 1));
        tokio::time::advance(LONG).await;
        let _one_more = hoard(&waits, calling, 1);
        assert!(idle.activity.is_cut_off() && !calling.activity.is_cut_off());
    }
}
