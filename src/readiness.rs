//! Whether calls should be sent here: what `/readyz` and the health service answer.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long a rejected key keeps the gateway from being ready.
const KEY_REJECTION_EXPIRY: Duration = Duration::from_secs(30);

/// The state that the parts of the gateway share. It starts as not ready.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(watch::Sender<State>);

/// Rejections and outages expire: a gateway that is not ready may get no calls, and only a call can
/// show that they are over.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    serving: bool,
    key_rejected_until: Option<Instant>,
    api_unreachable_until: Option<Instant>,
}

impl Readiness {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    /// The listeners accept calls.
    pub(crate) fn serving(&self) {
        self.change(|state| state.serving = true);
    }

    /// The gateway shuts down.
    pub(crate) fn stopping(&self) {
        self.change(|state| state.serving = false);
    }

    /// The API has rejected the gateway's own key, so calls cannot succeed.
    pub(crate) fn key_rejected(&self) {
        let until = Instant::now() + KEY_REJECTION_EXPIRY;
        self.change(|state| state.key_rejected_until = Some(until));
    }

    /// The API has accepted the key, or there is a new one to try.
    pub(crate) fn key_works(&self) {
        // Almost always there is nothing to change: look before taking the lock.
        if self.0.borrow().key_rejected_until.is_some() {
            self.change(|state| state.key_rejected_until = None);
        }
    }

    /// The API cannot be reached, and no call will try to before `until`.
    pub(crate) fn api_unreachable(&self, until: Instant) {
        self.change(|state| state.api_unreachable_until = Some(until));
    }

    /// The API can be reached again.
    pub(crate) fn api_reachable(&self) {
        self.change(|state| state.api_unreachable_until = None);
    }

    /// Clears what has expired, for as long as the gateway runs.
    pub(crate) async fn clear_expired(self) {
        let mut states = self.0.subscribe();
        loop {
            let expiry = states.borrow_and_update().next_expiry();
            tokio::select! {
                () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                    self.change(|state| state.clear_expired(Instant::now()));
                }
                _ = states.changed() => {}
            }
        }
    }

    /// Why the gateway is not ready; `None` if it is.
    pub(crate) fn not_ready_reason(&self) -> Option<&'static str> {
        self.0.borrow().not_ready_reason()
    }

    /// The changes of [`Self::not_ready_reason`] from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// Changes the state. Only a change of the reason wakes anybody: [`Self::clear_expired`] finds a
    /// later expiry when the earlier one passes.
    fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            let before = state.not_ready_reason();
            change(state);
            state.not_ready_reason() != before
        });
    }
}

impl State {
    fn not_ready_reason(&self) -> Option<&'static str> {
        if !self.serving {
            Some("not serving")
        } else if self.key_rejected_until.is_some() {
            Some("application key rejected")
        } else if self.api_unreachable_until.is_some() {
            Some("API unreachable")
        } else {
            None
        }
    }

    fn next_expiry(&self) -> Option<Instant> {
        [self.key_rejected_until, self.api_unreachable_until]
            .into_iter()
            .flatten()
            .min()
    }

    fn clear_expired(&mut self, now: Instant) {
        for until in [
            &mut self.key_rejected_until,
            &mut self.api_unreachable_until,
        ] {
            until.take_if(|until| *until <= now);
        }
    }
}

/// The changes of a [`Readiness`].
#[derive(Debug)]
pub(crate) struct Changes(watch::Receiver<State>);

impl Changes {
    /// Waits for the next change; `false` once there can be none.
    pub(crate) async fn next(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn serving() -> Readiness {
        let readiness = Readiness::new();
        readiness.serving();
        tokio::spawn(readiness.clone().clear_expired());
        readiness
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejection_of_the_key_counts_from_the_last_one() {
        let readiness = serving();
        for _ in 0..3 {
            readiness.key_rejected();
            tokio::time::sleep(KEY_REJECTION_EXPIRY - SECOND).await;
            let reason = readiness.not_ready_reason();
            assert_eq!(reason, Some("application key rejected"));
        }
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(readiness.not_ready_reason(), None);
        readiness.key_rejected();
        readiness.key_works();
        assert_eq!(readiness.not_ready_reason(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_api_counts_until_the_pause_ends() {
        let readiness = serving();
        readiness.api_unreachable(Instant::now() + 40 * SECOND);
        readiness.key_rejected();
        tokio::time::sleep(KEY_REJECTION_EXPIRY + SECOND).await;
        assert_eq!(readiness.not_ready_reason(), Some("API unreachable"));
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(readiness.not_ready_reason(), None);
        readiness.api_unreachable(Instant::now() + 40 * SECOND);
        readiness.api_reachable();
        assert_eq!(readiness.not_ready_reason(), None);
    }
}
