//! Whether calls should be sent here: what `/readyz` and the health service say.

use std::time::Duration;

use tokio::sync::watch;

/// How long a rejected key keeps the gateway from being ready.
const KEY_REJECTION_EXPIRY: Duration = Duration::from_secs(30);

/// The state that the parts of the gateway share. Starts as not ready.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(watch::Sender<State>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    serving: bool,
    key_rejected: bool,
    api_unreachable: bool,
}

impl Readiness {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    /// The listeners take calls.
    pub(crate) fn serving(&self) {
        self.change(|state| state.serving = true);
    }

    /// The gateway is going down.
    pub(crate) fn stopping(&self) {
        self.change(|state| state.serving = false);
    }

    /// The API does not accept the gateway's own key, so no call can succeed.
    pub(crate) fn key_rejected(&self) {
        self.change(|state| state.key_rejected = true);
    }

    /// The key was accepted, or there is a new one to be tried.
    pub(crate) fn key_works(&self) {
        // Told at every call: look before taking the lock.
        if self.0.borrow().key_rejected {
            self.change(|state| state.key_rejected = false);
        }
    }

    /// No connection to the API can be made, for longer than a moment.
    pub(crate) fn api_unreachable(&self) {
        self.change(|state| state.api_unreachable = true);
    }

    /// Connections to the API can be made again.
    pub(crate) fn api_reachable(&self) {
        self.change(|state| state.api_unreachable = false);
    }

    /// Takes a rejection of the key back after a while, again and again. A gateway that is not ready may get no calls, and
    /// without calls it would never learn that its key has been put in order.
    pub(crate) async fn expire_key_rejection(self) {
        let mut changes = self.changes();
        loop {
            if self.0.borrow().key_rejected {
                tokio::time::sleep(KEY_REJECTION_EXPIRY).await;
                self.key_works();
            }
            if !changes.next().await {
                return;
            }
        }
    }

    /// Why the gateway is not ready; `None` if it is.
    pub(crate) fn not_ready_reason(&self) -> Option<&'static str> {
        let state = *self.0.borrow();
        match state {
            State { serving: false, .. } => Some("not serving"),
            State {
                key_rejected: true, ..
            } => Some("application key rejected"),
            State {
                api_unreachable: true,
                ..
            } => Some("API unreachable"),
            State {
                serving: true,
                key_rejected: false,
                api_unreachable: false,
            } => None,
        }
    }

    /// Waits until anything changes, and forever if nothing does.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            let before = *state;
            change(state);
            *state != before
        });
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

    #[tokio::test(start_paused = true)]
    async fn a_rejected_key_is_tried_again_after_a_while() {
        let readiness = Readiness::new();
        readiness.serving();
        tokio::spawn(readiness.clone().expire_key_rejection());
        for _ in 0..2 {
            readiness.key_rejected();
            tokio::time::sleep(KEY_REJECTION_EXPIRY / 2).await;
            assert_eq!(
                readiness.not_ready_reason(),
                Some("application key rejected")
            );
            tokio::time::sleep(KEY_REJECTION_EXPIRY).await;
            assert_eq!(readiness.not_ready_reason(), None);
        }
    }
}
