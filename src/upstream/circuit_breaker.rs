//! Fails calls at once while the API cannot be reached, and lets one call at a time find out
//! whether it can be reached again.
//!
//! ```text
//! closed ── five connections in a row fail ──▶ open ── the pause ends ──▶ half open: one trial call
//!   ▲                                           ▲                                │       │
//!   │                                           └── it fails: a longer pause ────┘       │
//!   └──────────────────────────── it connects ───────────────────────────────────────────┘
//! ```

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tracing::{info, warn};

use super::backoff;
use crate::{
    envelope::ApiResponse,
    error::{Error, chain},
    readiness::Readiness,
};

/// How many connections in a row must fail to open the circuit.
const FAILURE_THRESHOLD: u32 = 5;
/// A deadline that passes before a connection is made counts as a failure only after this time.
const MIN_COUNTED_TIMEOUT: Duration = Duration::from_millis(500);
/// How many trial calls must fail before the gateway is not ready, so that a short restart of the
/// API does not make it so.
const FAILED_TRIALS_UNTIL_NOT_READY: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The shortest time that callers are told to wait, also while a trial call is in flight.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    state: Mutex<State>,
    /// One permit, which the trial call holds.
    trial: Semaphore,
    readiness: Readiness,
}

#[derive(Debug)]
struct State {
    /// How many connections have failed since the last one that did not. The circuit is open from
    /// [`FAILURE_THRESHOLD`] on, and then only trial calls count.
    failures: u32,
    /// When the next trial call may start, if the circuit is open.
    open_until: Instant,
}

/// Lets one request through.
#[derive(Debug)]
#[must_use]
pub(super) struct Admission<'a> {
    breaker: &'a CircuitBreaker,
    trial: Option<SemaphorePermit<'a>>,
}

impl CircuitBreaker {
    pub(super) fn new(readiness: Readiness) -> Self {
        let (failures, open_until) = (0, Instant::now());
        Self {
            state: Mutex::new(State {
                failures,
                open_until,
            }),
            trial: Semaphore::new(1),
            readiness,
        }
    }

    /// Admits a request: any while the circuit is closed, and one trial call after each pause.
    ///
    /// # Errors
    ///
    /// [`Error::CircuitOpen`] if the request must not be sent.
    pub(super) fn admit(&self) -> Result<Admission<'_>, Error> {
        let (breaker, state) = (self, self.state.lock());
        let mut trial = None;
        if !state.is_closed() {
            let pause = state.open_until.saturating_duration_since(Instant::now());
            trial = self.trial.try_acquire().ok().filter(|_| pause.is_zero());
            if trial.is_none() {
                let pause = pause.clamp(MIN_RETRY_DELAY, MAX_PAUSE);
                return Err(Error::CircuitOpen { pause });
            }
        }
        Ok(Admission { breaker, trial })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().is_closed()
    }
}

impl State {
    fn is_closed(&self) -> bool {
        self.failures < FAILURE_THRESHOLD
    }
}

impl Admission<'_> {
    /// Updates the state from the result of the request, which took this long.
    pub(super) fn record(self, result: &Result<ApiResponse, Error>, took: Duration) {
        let (breaker, is_trial) = (self.breaker, self.trial.is_some());
        let failure = match result {
            Ok(_) | Err(Error::ConnectionLost(_) | Error::TooLarge { .. }) => None,
            // There is a connection, though maybe an old one. That is enough proof for a trial
            // call.
            Err(Error::TimedOut { sent: true }) if is_trial => None,
            Err(error @ Error::Unreachable(_)) => Some(error),
            Err(error @ Error::TimedOut { sent: false }) if took >= MIN_COUNTED_TIMEOUT => {
                Some(error)
            }
            // These errors do not tell whether connections can be made.
            Err(_) => return,
        };
        let mut state = breaker.state.lock();
        if !state.is_closed() && !is_trial {
            // A late result of an earlier call.
            return;
        }
        let Some(error) = failure else {
            state.failures = 0;
            if is_trial {
                info!("the API can be reached again");
                breaker.readiness.set_api_unreachable(None);
            }
            return;
        };
        state.failures = state.failures.saturating_add(1);
        let Some(failed_trials) = state.failures.checked_sub(FAILURE_THRESHOLD) else {
            return;
        };
        if failed_trials == 0 {
            warn!(
                error = chain(error),
                "the API cannot be reached: calls fail at once until it can be again"
            );
        }
        let until = Instant::now() + backoff::pause(FIRST_PAUSE, MAX_PAUSE, failed_trials);
        state.open_until = until;
        if failed_trials >= FAILED_TRIALS_UNTIL_NOT_READY {
            breaker.readiness.set_api_unreachable(Some(until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_LARGE: Result<ApiResponse, Error> = Err(Error::TooLarge { http_status: 200 });
    const TIMED_OUT: Result<ApiResponse, Error> = Err(Error::TimedOut { sent: false });

    fn breaker() -> CircuitBreaker {
        let readiness = Readiness::default();
        readiness.set_serving(true);
        CircuitBreaker::new(readiness)
    }

    /// Records a connection that is not made.
    fn fail(breaker: &CircuitBreaker) {
        let admission = breaker.admit().unwrap();
        admission.record(&TIMED_OUT, MIN_COUNTED_TIMEOUT);
    }

    /// Records a connection that is made.
    fn succeed(breaker: &CircuitBreaker) {
        let admission = breaker.admit().unwrap();
        admission.record(&TOO_LARGE, MIN_COUNTED_TIMEOUT);
    }

    /// A breaker that has just opened.
    fn open_breaker() -> CircuitBreaker {
        let breaker = breaker();
        for _ in 0..FAILURE_THRESHOLD {
            fail(&breaker);
        }
        breaker
    }

    fn pause(breaker: &CircuitBreaker) -> Duration {
        match breaker.admit() {
            Err(Error::CircuitOpen { pause }) => pause,
            other => panic!("{other:?}"),
        }
    }

    /// How long the circuit stays open from now on.
    fn time_left(breaker: &CircuitBreaker) -> Duration {
        breaker.state.lock().open_until - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_row_open_it() {
        let breaker = breaker();
        for _ in 0..3 {
            for _ in 1..FAILURE_THRESHOLD {
                fail(&breaker);
            }
            succeed(&breaker);
        }
        let late = breaker.admit().unwrap();
        for _ in 0..FAILURE_THRESHOLD {
            assert!(breaker.is_closed());
            fail(&breaker);
        }
        assert!(!breaker.is_closed() && breaker.admit().is_err());
        late.record(&TOO_LARGE, MIN_COUNTED_TIMEOUT);
        assert!(
            breaker.admit().is_err(),
            "a late response does not close it"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_says_nothing_if_it_was_short_or_there_was_a_connection() {
        let breaker = breaker();
        for _ in 0..2 * FAILURE_THRESHOLD {
            let short = MIN_COUNTED_TIMEOUT - Duration::from_millis(1);
            breaker.admit().unwrap().record(&TIMED_OUT, short);
            let sent = Err(Error::TimedOut { sent: true });
            breaker
                .admit()
                .unwrap()
                .record(&sent, 2 * MIN_COUNTED_TIMEOUT);
        }
        assert!(breaker.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_are_told_what_is_left_of_the_pause() {
        let breaker = open_breaker();
        let whole = time_left(&breaker);
        assert_eq!(pause(&breaker), whole);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(pause(&breaker), whole - Duration::from_millis(50));
        tokio::time::advance(whole).await;
        let _trial = breaker.admit().unwrap();
        assert_eq!(pause(&breaker), MIN_RETRY_DELAY, "a trial is in flight");
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_trial_doubles_the_pause_until_one_connects() {
        let breaker = open_breaker();
        for middle in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0].map(Duration::from_secs_f64) {
            let pause = time_left(&breaker);
            assert!(
                (middle / 2..=middle * 3 / 2).contains(&pause),
                "{pause:?} for {middle:?}"
            );
            tokio::time::advance(pause).await;
            let trial = breaker.admit().unwrap();
            assert!(breaker.admit().is_err(), "one trial at a time");
            trial.record(&TIMED_OUT, MIN_COUNTED_TIMEOUT);
        }
        tokio::time::advance(time_left(&breaker)).await;
        succeed(&breaker);
        for _ in 0..FAILURE_THRESHOLD {
            fail(&breaker);
        }
        assert!(time_left(&breaker) <= FIRST_PAUSE * 3 / 2, "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_without_a_result_leaves_its_place_to_the_next() {
        let breaker = open_breaker();
        tokio::time::advance(time_left(&breaker)).await;
        drop(breaker.admit().unwrap());
        let short = MIN_COUNTED_TIMEOUT - Duration::from_millis(1);
        breaker.admit().unwrap().record(&TIMED_OUT, short);
        let sent = Err(Error::TimedOut { sent: true });
        breaker.admit().unwrap().record(&sent, short);
        assert!(breaker.is_closed(), "a connection that is kept is one");
    }

    #[tokio::test(start_paused = true)]
    async fn from_the_second_failed_trial_on_the_gateway_is_not_ready() {
        let breaker = open_breaker();
        for expected in [None, None, Some("API unreachable")] {
            assert_eq!(breaker.readiness.not_ready_reason(), expected);
            tokio::time::advance(time_left(&breaker)).await;
            fail(&breaker);
        }
        tokio::time::advance(time_left(&breaker)).await;
        succeed(&breaker);
        assert_eq!(breaker.readiness.not_ready_reason(), None);
    }
}
