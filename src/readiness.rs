//! Whether calls should be sent here: what `/readyz` and the health service say.

use tokio::sync::watch;

/// The state that the parts of the gateway share. Starts as not ready.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(watch::Sender<State>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    serving: bool,
    key_rejected: bool,
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

    /// Why the gateway is not ready; `None` if it is.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        let state = *self.0.borrow();
        match state {
            State { serving: false, .. } => Some("not serving"),
            State { key_rejected: true, .. } => Some("application key rejected"),
            State { serving: true, key_rejected: false } => None,
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
