//! Calls that a peer gives up as soon as it has begun them, again and again ("rapid reset", CVE-2023-44487): they cost it little,
//! and never count among the streams that it may have. h2's account of them has only those that it has not handed out when
//! they are reset; here calls are handed out as they come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::crowd::Activity;
use crate::call::Record;

/// How soon a call has to be given up to count. Who holds more of them open for longer than that comes to the most streams
/// that there may be.
const SOON: Duration = Duration::from_millis(100);
/// The most by which they may outnumber the calls that are answered: a client that gives up all that it has under way, and is
/// unlucky again and again, is none that storms.
const MOST: u32 = 1024;

/// A connection's account.
#[derive(Debug, Default)]
pub(super) struct Resets(AtomicU32);

/// A call that has begun and not ended yet.
pub(super) struct Begun<'a> {
    pub(super) activity: &'a Arc<Activity>,
    record: Arc<Record>,
    arrival: Instant,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its peer gives it up, if that is where it ends.
    UnderWay,
    /// Its message has broken off: the answer is for nobody.
    BrokenOff,
    Answered,
}

impl<'a> Begun<'a> {
    /// A call on the connection of that activity, which came at that time.
    pub(super) fn new(activity: &'a Arc<Activity>, record: &Arc<Record>, arrival: Instant) -> Self {
        Self { activity, record: Arc::clone(record), arrival, state: State::UnderWay }
    }

    pub(super) fn broke_off(&mut self) {
        self.state = State::BrokenOff;
    }

    pub(super) fn answered(mut self) {
        if self.state == State::UnderWay {
            self.state = State::Answered;
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.state == State::Answered {
            self.activity.resets.forgive();
        } else if !self.record.was_sent() && self.arrival.elapsed() < SOON && self.activity.resets.count() > MOST {
            self.activity.cut_off();
        }
    }
}

impl Resets {
    /// Counts another one. Gives how many there are.
    fn count(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Forgives one.
    fn forgive(&self) {
        // Most connections have none.
        if self.0.load(Ordering::Relaxed) > 0 {
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |resets| resets.checked_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::crowd::Crowd;

    /// Whether so many calls that are given up like that have their connection cut off.
    fn is_cut_off_by(times: u32, give_up: impl Fn(&Arc<Activity>)) -> bool {
        let member = Crowd::new(1).enter().unwrap();
        (0..times).for_each(|_| give_up(&member.activity));
        member.activity.is_cut_off()
    }

    fn begin(activity: &Arc<Activity>, was_sent: bool) -> Begun<'_> {
        let record = Arc::<Record>::default();
        assert!(!was_sent || record.send());
        Begun::new(activity, &record, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_all_its_calls_as_they_begin_is_cut_off() {
        let give_up = |activity: &_| drop(begin(activity, false));
        assert!(!is_cut_off_by(MOST, give_up));
        assert!(is_cut_off_by(MOST + 1, give_up));
        // So has one that never sends the rest of their messages.
        assert!(is_cut_off_by(MOST + 1, |activity| {
            let mut call = begin(activity, false);
            call.broke_off();
            call.answered();
        }));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_every_other_answer_is_not() {
        let give_up_one_of_two = |activity: &_| {
            drop(begin(activity, false));
            begin(activity, false).answered();
        };
        assert!(!is_cut_off_by(10 * MOST, give_up_one_of_two));
        // Answers are no provision for later.
        let member = Crowd::new(1).enter().unwrap();
        (0..MOST).for_each(|_| begin(&member.activity, false).answered());
        (0..=MOST).for_each(|_| drop(begin(&member.activity, false)));
        assert!(member.activity.is_cut_off());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_what_the_api_has_is_not() {
        assert!(!is_cut_off_by(10 * MOST, |activity| drop(begin(activity, true))));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_is_not() {
        let member = Crowd::new(1).enter().unwrap();
        let calls: Vec<_> = (0..10 * MOST).map(|_| begin(&member.activity, false)).collect();
        tokio::time::advance(SOON).await;
        drop(calls);
        assert!(!member.activity.is_cut_off());
    }
}
