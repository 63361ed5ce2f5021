//! A circuit breaker: finds out that the API cannot be reached, and then lets calls fail at once, until a probe finds that
//! it can be again.
//!
//! ```text
//!   closed ── five connections in a row fail ──▶ open: pause, probe, longer pause, probe, …
//!     ▲                                                            │
//!     └───────────────────── a probe is answered ──────────────────┘
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{backoff, probe::Probe};
use crate::{call::chain, envelope::ApiResponse, error::Error, readiness::Readiness};

/// The connections that must fail in a row.
const FAILURES: u32 = 5;
/// An attempt that has no connection after this time counts as failed also where its call's time ends then.
const SLOW: Duration = Duration::from_millis(500);
/// The probes that must fail in a row before the gateway is not ready: a restart of the API's is not worth that.
const PROBES: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What callers are told to wait at the least, also while a probe is under way.
const LEAST_WAIT: Duration = Duration::from_millis(100);

/// The breaker of all calls. With its last clone the probes end.
#[derive(Clone, Debug)]
pub(crate) struct CircuitBreaker {
    circuit: Arc<Circuit>,
    probe: Probe,
    /// The probes of the last outage.
    probes: Arc<Mutex<JoinSet<()>>>,
}

#[derive(Debug)]
struct Circuit {
    state: Mutex<State>,
    readiness: Readiness,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Calls go through. So many connections have failed since the last that did not.
    Closed { failures: u32 },
    /// Calls fail at once. The next probe is then.
    Open { next_probe: Instant },
}

impl CircuitBreaker {
    /// A closed one.
    pub(super) fn new(probe: Probe, readiness: Readiness) -> Self {
        Self {
            circuit: Arc::new(Circuit::new(readiness)),
            probe,
            probes: Arc::default(),
        }
    }

    /// Fails while connections are not to be tried.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.circuit.check()
    }

    /// Learns from the end of an attempt that took so long.
    pub(super) fn learn(&self, result: &Result<ApiResponse, Error>, took: Duration) {
        match result {
            Err(error) if is_failure_to_connect(error, took) => {
                if let Some(first_probe) = self.circuit.failed() {
                    warn!(
                        error = chain(error),
                        "the API cannot be reached: calls fail at once until it can be again"
                    );
                    self.start_probes(first_probe);
                }
            }
            Ok(_) | Err(Error::ConnectionLost(_) | Error::TooLarge { .. }) => self.circuit.worked(),
            // Nothing is known of a connection that was given up early, by whomever.
            Err(_) => {}
        }
    }

    /// What tells whether the breaker is closed. It does not keep the probes going.
    pub(crate) fn gauge(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let circuit = Arc::clone(&self.circuit);
        move || circuit.check().is_ok()
    }

    fn start_probes(&self, first: Instant) {
        let (circuit, probe) = (Arc::clone(&self.circuit), self.probe.clone());
        let mut probes = JoinSet::new();
        probes.spawn(async move { circuit.recover(first, || probe.send()).await });
        *self.probes.lock().unwrap_or_else(PoisonError::into_inner) = probes;
    }
}

impl Circuit {
    fn new(readiness: Readiness) -> Self {
        Self {
            state: Mutex::new(State::Closed { failures: 0 }),
            readiness,
        }
    }

    fn check(&self) -> Result<(), Error> {
        match *self.state() {
            State::Closed { .. } => Ok(()),
            State::Open { next_probe } => {
                let pause = next_probe.saturating_duration_since(Instant::now());
                Err(Error::CircuitOpen {
                    pause: pause.clamp(LEAST_WAIT, LONGEST_PAUSE),
                })
            }
        }
    }

    /// A connection could not be made. If that opens the circuit: when the first probe is.
    fn failed(&self) -> Option<Instant> {
        let mut state = self.state();
        let State::Closed { failures } = &mut *state else {
            return None;
        };
        *failures += 1;
        if *failures < FAILURES {
            return None;
        }
        let first_probe = next_probe(0);
        *state = State::Open {
            next_probe: first_probe,
        };
        Some(first_probe)
    }

    /// A connection was made. While the circuit is open that is a late answer, and the probes know better.
    fn worked(&self) {
        if let State::Closed { failures } = &mut *self.state() {
            *failures = 0;
        }
    }

    /// Probes until one is answered, and closes the circuit.
    async fn recover<F: Future<Output = bool>>(
        &self,
        first: Instant,
        mut probe: impl FnMut() -> F,
    ) {
        let (mut next, mut failed) = (first, 0);
        loop {
            sleep_until(next).await;
            if probe().await {
                return self.close();
            }
            failed += 1;
            if failed == PROBES {
                self.readiness.api_unreachable();
            }
            next = next_probe(failed);
            *self.state() = State::Open { next_probe: next };
        }
    }

    fn close(&self) {
        let mut state = self.state();
        *state = State::Closed { failures: 0 };
        // Under the lock: a new outage must not be overtaken by the end of this one.
        self.readiness.api_reachable();
        info!("the API can be reached again");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether no connection could be made in that time, or not in any time that should be needed.
fn is_failure_to_connect(error: &Error, took: Duration) -> bool {
    match error {
        Error::Unreachable(_) => true,
        Error::TimedOut { sent } => !sent && took >= SLOW,
        _ => false,
    }
}

/// When to probe after so many probes have failed.
fn next_probe(failed: u32) -> Instant {
    Instant::now() + backoff::pause(FIRST_PAUSE, LONGEST_PAUSE, failed)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A circuit that has just opened, and when the first probe is.
    fn open() -> (Circuit, Instant) {
        let readiness = Readiness::new();
        readiness.serving();
        let circuit = Circuit::new(readiness);
        for _ in 1..FAILURES {
            assert!(circuit.failed().is_none());
            circuit.check().unwrap();
        }
        let first_probe = circuit.failed().unwrap();
        (circuit, first_probe)
    }

    fn pause(circuit: &Circuit) -> Duration {
        match circuit.check() {
            Err(Error::CircuitOpen { pause }) => pause,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_row_open_it_and_one_connection_between_them_does_not() {
        let circuit = Circuit::new(Readiness::new());
        for _ in 0..10 {
            for _ in 1..FAILURES {
                assert!(circuit.failed().is_none());
            }
            circuit.worked();
        }
        for _ in 1..FAILURES {
            assert!(circuit.failed().is_none());
        }
        assert!(circuit.check().is_ok());
        assert!(circuit.failed().is_some() && circuit.check().is_err());
        assert!(circuit.failed().is_none(), "it opens once");
        circuit.worked();
        assert!(
            circuit.check().is_err(),
            "an answer that was on its way does not close it"
        );
    }

    #[test]
    fn a_deadline_in_haste_says_nothing_of_the_api() {
        let in_haste = SLOW - Duration::from_millis(1);
        for (sent, took, expected) in [
            (false, SLOW, true),
            (false, in_haste, false),
            (true, 2 * SLOW, false),
        ] {
            assert_eq!(
                is_failure_to_connect(&Error::TimedOut { sent }, took),
                expected,
                "{sent} {took:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn callers_are_told_what_is_left_of_the_pause() {
        let (circuit, first_probe) = open();
        let whole = first_probe - Instant::now();
        assert!(
            (FIRST_PAUSE / 2..=FIRST_PAUSE * 3 / 2).contains(&whole),
            "{whole:?}"
        );
        assert_eq!(pause(&circuit), whole);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(pause(&circuit), whole - Duration::from_millis(50));
        tokio::time::advance(whole).await;
        assert_eq!(pause(&circuit), LEAST_WAIT, "a probe is under way");
        *circuit.state() = State::Open {
            next_probe: Instant::now() + LONGEST_PAUSE * 3 / 2,
        };
        assert_eq!(pause(&circuit), LONGEST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_come_one_at_a_time_after_ever_longer_pauses_until_one_is_answered() {
        const TOOK: Duration = Duration::from_secs(3);
        let (circuit, first_probe) = open();
        let (mut last, pauses) = (Instant::now(), RefCell::new(Vec::new()));
        circuit
            .recover(first_probe, || {
                pauses.borrow_mut().push(Instant::now() - last);
                last = Instant::now() + TOOK;
                let is_answered = pauses.borrow().len() == 10;
                async move {
                    tokio::time::sleep(TOOK).await;
                    is_answered
                }
            })
            .await;
        let middles =
            [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0].map(Duration::from_secs_f64);
        for (pause, middle) in pauses.take().into_iter().zip(middles) {
            // The timer's ticks are milliseconds.
            let tick = Duration::from_millis(1);
            assert!(
                (middle / 2..=middle * 3 / 2 + tick).contains(&pause),
                "{pause:?} for {middle:?}"
            );
        }
        assert!(circuit.check().is_ok());
        assert!(
            (1..FAILURES).all(|_| circuit.failed().is_none()),
            "it counts from the beginning"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn two_failed_probes_make_the_gateway_not_ready_and_an_answered_one_ready() {
        for (answered, expected) in [
            (1, None),
            (2, None),
            (3, Some("API unreachable")),
            (4, Some("API unreachable")),
        ] {
            let (circuit, first_probe) = open();
            assert_eq!(circuit.readiness.not_ready_reason(), None);
            let (mut probes, mut trouble) = (0, None);
            let readiness = circuit.readiness.clone();
            circuit
                .recover(first_probe, || {
                    probes += 1;
                    trouble = readiness.not_ready_reason();
                    std::future::ready(probes == answered)
                })
                .await;
            assert_eq!(
                (trouble, readiness.not_ready_reason()),
                (expected, None),
                "{answered}"
            );
        }
    }
}
