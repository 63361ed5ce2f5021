//! Limits the calls whose message is still being read, because each may buffer up to the maximum message size. Past the
//! limit, the call that has been reading longest is displaced: it is refused. A well-behaved client sends the message right
//! after the headers, so peers that send half a message cannot block others.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Counts the calls that are being read, over all connections.
#[derive(Clone, Debug)]
pub(super) struct ReadingLimit(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    max: usize,
    next_id: u64,
    /// Notified when the call is displaced. The oldest call comes first.
    reading: BTreeMap<u64, Arc<Notify>>,
}

/// A call's place. It is dropped when the message is complete.
#[derive(Debug)]
pub(super) struct ReadingPermit {
    id: u64,
    limit: ReadingLimit,
}

impl ReadingLimit {
    pub(super) fn new(max: usize) -> Self {
        let calls = Calls {
            max,
            ..Calls::default()
        };
        Self(Arc::new(Mutex::new(calls)))
    }

    /// Begins to read a call's message. The second value is notified if the call is displaced to make room for others.
    pub(super) fn begin(&self) -> (ReadingPermit, Arc<Notify>) {
        let displaced = Arc::new(Notify::new());
        let mut calls = self.0.lock();
        if calls.reading.len() >= calls.max
            && let Some((_, oldest)) = calls.reading.pop_first()
        {
            oldest.notify_one();
        }
        let id = calls.next_id;
        calls.next_id += 1;
        calls.reading.insert(id, Arc::clone(&displaced));
        drop(calls);
        let limit = self.clone();
        (ReadingPermit { id, limit }, displaced)
    }
}

impl Drop for ReadingPermit {
    fn drop(&mut self) {
        self.limit.0.lock().reading.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_refused(refused: &Notify) -> bool {
        refused.notified().now_or_never().is_some()
    }

    #[test]
    fn past_the_limit_the_oldest_call_is_refused() {
        let limit = ReadingLimit::new(2);
        let (first, first_refused) = limit.begin();
        let (second, second_refused) = limit.begin();
        drop(first);
        let (_third, third_refused) = limit.begin();
        assert!(!is_refused(&first_refused) && !is_refused(&second_refused));
        let _fourth = limit.begin();
        assert!(is_refused(&second_refused) && !is_refused(&third_refused));
        drop(second);
        assert_eq!(limit.0.lock().reading.len(), 2);
    }
}
