//! Requests that a peer gives up as soon as it has begun them, again and again ("rapid reset", CVE-2023-44487): they cost it
//! little, and never count among the streams that it may have. h2 has an account of those that it has not handed out when
//! they are reset; here requests are handed out as they come, and it sees few. Those that cannot be answered for what has
//! come of them count as well: whether the peer would have taken a refusal cannot be told.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::crowd::Activity;
use crate::call::CallRecord;

/// How soon a request has to be over to count. A client that gives up its calls whenever the API is slow waits for longer.
const SOON: Duration = Duration::from_millis(10);
/// The most of them in a second. A client that gives up all that it has under way, and begins and gives it up again, is none
/// that storms.
const MOST: u32 = 1024;

/// A connection's account.
#[derive(Debug, Default)]
pub(super) struct Resets(Mutex<Option<Second>>);

#[derive(Debug)]
struct Second {
    began: Instant,
    resets: u32,
}

/// A request that has begun. If it is not answered, it is given up.
pub(super) struct Begun<'a> {
    activity: &'a Activity,
    record: &'a CallRecord,
    arrival: Instant,
    is_answered: bool,
}

impl<'a> Begun<'a> {
    /// A request on the connection of that activity, which came at that time.
    pub(super) fn new(activity: &'a Activity, record: &'a CallRecord, arrival: Instant) -> Self {
        Self {
            activity,
            record,
            arrival,
            is_answered: false,
        }
    }

    /// It is answered, and not only refused for what has come of it.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.is_answered && !self.record.was_sent() && self.arrival.elapsed() < SOON {
            self.activity.given_up();
        }
    }
}

impl Resets {
    /// Counts another one. Whether there are too many with it.
    pub(super) fn are_too_many(&self) -> bool {
        let (mut second, now) = (
            self.0.lock().unwrap_or_else(PoisonError::into_inner),
            Instant::now(),
        );
        let since = second
            .take()
            .filter(|second| now - second.began < Duration::from_secs(1));
        let Second { began, resets } = since.unwrap_or(Second {
            began: now,
            resets: 0,
        });
        *second = Some(Second {
            began,
            resets: resets + 1,
        });
        resets >= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::crowd::Crowd;

    /// Whether so many requests that end like that have their connection cut off.
    fn is_cut_off_by(times: u32, mut end: impl FnMut(Begun<'_>)) -> bool {
        let member = Crowd::new(1).enter().unwrap();
        (0..times).for_each(|_| {
            end(Begun::new(
                &member.activity,
                &CallRecord::default(),
                Instant::now(),
            ))
        });
        member.activity.is_cut_off()
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_its_requests_as_they_begin_is_cut_off() {
        assert!(!is_cut_off_by(MOST, |begun| drop(begun)));
        assert!(is_cut_off_by(MOST + 1, |begun| drop(begun)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_pays_for_it_by_other_requests() {
        let mut is_even = false;
        let every_other_answered = |begun: Begun<'_>| {
            is_even = !is_even;
            if is_even {
                begun.answered()
            } else {
                drop(begun)
            }
        };
        assert!(is_cut_off_by(2 * MOST + 2, every_other_answered));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_answered_is_not() {
        assert!(!is_cut_off_by(10 * MOST, |begun| begun.answered()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_what_the_api_has_is_not() {
        let sent = CallRecord::default();
        assert!(sent.send());
        let member = Crowd::new(1).enter().unwrap();
        (0..10 * MOST).for_each(|_| drop(Begun::new(&member.activity, &sent, Instant::now())));
        assert!(!member.activity.is_cut_off());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_or_takes_its_time_is_not() {
        let (member, record) = (Crowd::new(1).enter().unwrap(), CallRecord::default());
        let begin = || Begun::new(&member.activity, &record, Instant::now());
        let calls: Vec<_> = (0..10 * MOST).map(|_| begin()).collect();
        tokio::time::advance(SOON).await;
        drop(calls);
        for _ in 0..10 {
            (0..MOST).for_each(|_| drop(begin()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(!member.activity.is_cut_off());
    }
}
