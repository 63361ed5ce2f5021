//! How many connections there are. Past the most that there may be, the one that has been idle for longest has to leave, and
//! first of all those over which no call has ever come: so nobody can keep others out by sitting around.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use super::{afterwards::Afterwards, resets::Resets};

/// How much is taken of a peer in a turn of its connection, in bytes: two or three calls. The rest waits until those that have
/// begun have had their turn: so less memory is in use at a time, more of which the processor has in its cache, and nobody's
/// burst of calls goes before all that the others have.
const TURN: usize = 256;

/// The connections that there are.
#[derive(Clone, Debug)]
pub(crate) struct Crowd(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    /// What all activities count their time from.
    epoch: Instant,
    members: Mutex<JsonObject>,
}

#[derive(Debug, Default)]
struct JsonObject {
    all: HashMap<u64, Arc<Activity>>,
    next: u64,
    /// Those that are to leave next, the very next one at the end. Looked for many at a time, since that takes a while.
    idle: Vec<u64>,
}

/// What happens on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    epoch: Instant,
    /// Bytes that the peer has sent.
    heard: AtomicUsize,
    /// Bytes that are still taken of it in this turn.
    allowance: AtomicUsize,
    /// Requests that are all here and not answered yet.
    open: AtomicU32,
    /// When the last call began, in milliseconds after `epoch` and one; 0: there was none.
    last: AtomicU64,
    leave: CancellationToken,
    cut_off: CancellationToken,
    /// The requests that the peer gave up as soon as they had begun.
    resets: Resets,
    /// What has still to be told of calls that are answered.
    pub(super) afterwards: Afterwards,
}

/// A connection's place; given back when it is dropped.
pub(super) struct Member {
    id: u64,
    crowd: Crowd,
    pub(super) activity: Arc<Activity>,
}

impl Crowd {
    /// Room for that many connections.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            epoch: Instant::now(),
            members: Mutex::default(),
        }))
    }

    /// How many there may be.
    pub(super) fn most(&self) -> usize {
        self.0.most
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.members().all.len()
    }

    /// A place for another connection; nothing if there is none and nobody is idle.
    pub(super) fn enter(&self) -> Option<Member> {
        let mut members = self.members();
        if members.all.len() >= self.0.most && !members.make_room() {
            return None;
        }
        let (id, activity) = (members.next, Arc::new(Activity::new(self.0.epoch)));
        members.next += 1;
        members.all.insert(id, Arc::clone(&activity));
        Some(Member {
            id,
            crowd: self.clone(),
            activity,
        })
    }

    fn members(&self) -> MutexGuard<'_, JsonObject> {
        self.0
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl JsonObject {
    /// Tells one that is idle to leave; whether there was any.
    fn make_room(&mut self) -> bool {
        self.one_leaves() || {
            self.idle = self.longest_idle();
            self.one_leaves()
        }
    }

    /// Tells the next of those that have been looked for.
    fn one_leaves(&mut self) -> bool {
        while let Some(id) = self.idle.pop() {
            // Meanwhile it may have gone or come to life.
            if let Some(activity) = self.all.get(&id).filter(|activity| activity.is_idle()) {
                activity.leave.cancel();
                self.all.remove(&id);
                return true;
            }
        }
        false
    }

    fn longest_idle(&self) -> Vec<u64> {
        const AT_ONCE: usize = 64;
        let idle = self.all.iter().filter(|(_, activity)| activity.is_idle());
        let mut idle: Vec<_> = idle
            .map(|(id, activity)| (activity.last.load(Ordering::Relaxed), *id))
            .collect();
        idle.sort_unstable();
        idle.into_iter()
            .take(AT_ONCE)
            .rev()
            .map(|(_, id)| id)
            .collect()
    }
}

impl Activity {
    fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            heard: AtomicUsize::new(0),
            allowance: AtomicUsize::new(TURN),
            open: AtomicU32::new(0),
            last: AtomicU64::new(0),
            leave: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            resets: Resets::default(),
            afterwards: Afterwards::default(),
        }
    }

    /// The connection has another turn.
    pub(super) fn begin_turn(&self) {
        self.allowance.store(TURN, Ordering::Relaxed);
    }

    /// How many bytes of the peer are still taken in this turn.
    pub(super) fn allowance(&self) -> usize {
        self.allowance.load(Ordering::Relaxed)
    }

    /// The peer has sent so many bytes, no more than are taken.
    pub(super) fn hear(&self, bytes: usize) {
        self.heard.fetch_add(bytes, Ordering::Relaxed);
        self.allowance.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether the peer has begun to speak: the shortest beginning is HTTP/2's preface.
    pub(super) fn is_greeted(&self) -> bool {
        const PREFACE: usize = 24;
        self.heard.load(Ordering::Relaxed) >= PREFACE
    }

    /// A call begins; it ends when what this gives is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.last.store(
            self.epoch.elapsed().as_millis() as u64 + 1,
            Ordering::Relaxed,
        );
        Open(Arc::clone(self))
    }

    /// Whether there has been a call.
    pub(super) fn was_of_use(&self) -> bool {
        self.last.load(Ordering::Relaxed) > 0
    }

    /// Completes when others need the place.
    pub(super) async fn told_to_leave(&self) {
        self.leave.cancelled().await;
    }

    /// Ends the connection at once.
    pub(super) fn cut_off(&self) {
        self.cut_off.cancel();
    }

    /// Whether the connection has to end at once.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.is_cancelled()
    }

    /// The peer has given a request up as soon as it had begun it; who does so too often has its connection end.
    pub(super) fn given_up(&self) {
        if self.resets.are_too_many() {
            self.cut_off();
        }
    }

    /// Completes when the connection has to end at once.
    pub(super) async fn until_cut_off(&self) {
        self.cut_off.cancelled().await;
    }

    /// Whether no call is being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Open(Arc<Activity>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.members().all.remove(&self.id);
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Member").field(&self.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_to_leave(member: &Member) -> bool {
        member.activity.leave.is_cancelled()
    }

    #[test]
    fn who_never_called_leaves_first_and_then_who_has_been_idle_for_longest() {
        let crowd = Crowd::new(4);
        let member = || {
            std::thread::sleep(std::time::Duration::from_millis(5));
            crowd.enter()
        };
        let mut members: Vec<_> = std::iter::from_fn(member).take(4).collect();
        // The one that calls late is the older one.
        let [busy, late, early, silent] = &members[..] else {
            panic!("four have room")
        };
        let _call = busy.activity.request();
        for member in [early, late] {
            drop(member.activity.request());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let first = crowd.enter().unwrap();
        assert!(has_to_leave(silent) && !has_to_leave(early));
        let _first = first.activity.request();
        let second = crowd.enter().unwrap();
        assert!(has_to_leave(early) && !has_to_leave(late));
        let _second = second.activity.request();
        let third = crowd.enter().unwrap();
        assert!(has_to_leave(late));
        let _third = third.activity.request();
        assert!(crowd.enter().is_none(), "all are busy");
        assert_eq!(crowd.len(), 4);

        members.truncate(1);
        assert_eq!(
            crowd.len(),
            4,
            "those who had to leave had lost their places already"
        );
        drop(third);
        assert!(crowd.enter().is_some());
    }

    #[test]
    fn who_has_come_to_life_meanwhile_may_stay() {
        let crowd = Crowd::new(2);
        let (one, other) = (crowd.enter().unwrap(), crowd.enter().unwrap());
        drop((one.activity.request(), other.activity.request()));
        // Both are on the list of those who leave next; the first of them goes.
        let _third = crowd.enter().unwrap();
        let stayed = if has_to_leave(&one) { &other } else { &one };
        assert!(!has_to_leave(stayed));
        let _call = stayed.activity.request();
        let third = crowd.enter().unwrap();
        assert!(!has_to_leave(stayed), "it has a call under way");
        drop(third);
    }
}
