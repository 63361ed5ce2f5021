//! Whether calls should be sent here: what `/readyz` and the health service report.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// How long a rejected key keeps the gateway from being ready.
const KEY_REJECTION_EXPIRY: Duration = Duration::from_secs(30);
/// How often [`Readiness::changed`] looks whether a reason has expired.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The state that the parts of the gateway share. It starts as not ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(watch::Sender<State>);

/// Rejections and outages expire: a gateway that is not ready may get no calls, and only a call can
/// show that they are over.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    serving: bool,
    key_rejected_until: Option<Instant>,
    unreachable_until: Option<Instant>,
}

impl Readiness {
    /// Sets whether the listeners accept calls. They no longer do when the gateway shuts down.
    pub(crate) fn set_serving(&self, serving: bool) {
        self.0.send_modify(|state| state.serving = serving);
    }

    /// The API has rejected the gateway's own key, so calls cannot succeed.
    pub(crate) fn key_rejected(&self) {
        let until = Some(Instant::now() + KEY_REJECTION_EXPIRY);
        self.0.send_modify(|state| state.key_rejected_until = until);
    }

    /// The API has accepted the key, or there is a new one to try.
    pub(crate) fn clear_key_rejection(&self) {
        // Almost always there is nothing to change: look before taking the lock.
        if self.0.borrow().key_rejected_until.is_some() {
            self.0.send_modify(|state| state.key_rejected_until = None);
        }
    }

    /// The API cannot be reached, and no call will try to before `until`; `None` if it can again.
    pub(crate) fn set_api_unreachable(&self, until: Option<Instant>) {
        self.0.send_modify(|state| state.unreachable_until = until);
    }

    /// Why the gateway is not ready; `None` if it is.
    pub(crate) fn not_ready_reason(&self) -> Option<&'static str> {
        let state = *self.0.borrow();
        let now = Instant::now();
        let lasts = |until: Option<Instant>| until.is_some_and(|until| now < until);
        if !state.serving {
            Some("not serving")
        } else if lasts(state.key_rejected_until) {
            Some("application key rejected")
        } else if lasts(state.unreachable_until) {
            Some("API unreachable")
        } else {
            None
        }
    }

    /// Waits until the reason is not `last`, and returns it.
    pub(crate) async fn changed(&self, last: Option<&'static str>) -> Option<&'static str> {
        let mut states = self.0.subscribe();
        loop {
            let reason = self.not_ready_reason();
            if reason != last {
                return reason;
            }
            let _ = timeout(EXPIRY_CHECK_INTERVAL, states.changed()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn serving() -> Readiness {
        let readiness = Readiness::default();
        readiness.set_serving(true);
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
        readiness.clear_key_rejection();
        assert_eq!(readiness.not_ready_reason(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_api_counts_until_the_pause_ends() {
        let readiness = serving();
        readiness.set_api_unreachable(Some(Instant::now() + 40 * SECOND));
        readiness.key_rejected();
        tokio::time::sleep(KEY_REJECTION_EXPIRY + SECOND).await;
        assert_eq!(readiness.not_ready_reason(), Some("API unreachable"));
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(readiness.not_ready_reason(), None);
        readiness.set_api_unreachable(Some(Instant::now() + 40 * SECOND));
        readiness.set_api_unreachable(None);
        assert_eq!(readiness.not_ready_reason(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_noticed_within_a_second_also_if_a_reason_expires() {
        let readiness = serving();
        readiness.key_rejected();
        let start = Instant::now();
        let reason = readiness.changed(None).await;
        assert_eq!(reason, Some("application key rejected"));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(readiness.changed(reason).await, None);
        let range = KEY_REJECTION_EXPIRY..=KEY_REJECTION_EXPIRY + SECOND;
        assert!(range.contains(&start.elapsed()));
    }
}
