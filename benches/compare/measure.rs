//! Rounds of alternating turns. In each round the candidates start anew; in each turn every candidate takes one short
//! load, one after the other, so that a slow moment of the machine affects all of them.

use crate::{
    candidate::{CANDIDATES, Running, check_spans},
    lab::Lab,
    load::run_directly,
};

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) turns: usize,
    /// Per load at 64 streams.
    pub(crate) calls: u32,
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        rounds: 3,
        turns: 15,
        calls: 20_000,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        turns: 2,
        calls: 2_000,
    };
}

/// Per candidate and round.
const STARTS: u32 = 5;
/// Per turn and candidate, one at a time.
const SINGLE_CALLS: u32 = 1_000;

/// What was measured of one candidate: a value per turn, start or round.
#[derive(Default)]
pub(crate) struct Samples {
    /// In microseconds.
    pub(crate) cpu_per_call: Vec<f64>,
    pub(crate) calls_per_second: Vec<f64>,
    /// Its mean latency for one call at a time, less that of the API asked directly, in microseconds.
    pub(crate) added_latency: Vec<f64>,
    /// In milliseconds.
    pub(crate) starts: Vec<f64>,
    /// In megabytes.
    pub(crate) peak_at_64: Vec<f64>,
    pub(crate) peak_at_1000: Vec<f64>,
}

/// Returns the samples in the order of [`CANDIDATES`].
pub(crate) fn run(lab: &Lab, plan: &Plan) -> [Samples; CANDIDATES.len()] {
    let mut samples = <[Samples; CANDIDATES.len()]>::default();
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        measure_round(lab, plan, &mut samples);
    }
    samples
}

fn measure_round(lab: &Lab, plan: &Plan, samples: &mut [Samples; CANDIDATES.len()]) {
    for _ in 0..STARTS {
        for (candidate, samples) in CANDIDATES.into_iter().zip(&mut *samples) {
            samples.starts.push(Running::start(lab, candidate).start);
        }
    }
    let mut running = CANDIDATES.map(|candidate| Running::start(lab, candidate));
    for warm_up in &mut running {
        warm_up.load(64, plan.calls);
    }
    for turn in 0..plan.turns {
        let direct = run_directly(lab, SINGLE_CALLS);
        for position in 0..running.len() {
            // Another candidate begins each turn.
            let at = (turn + position) % running.len();
            measure_turn(plan, &mut running[at], direct, &mut samples[at]);
        }
    }
    let mut spans = 0.0;
    for (mut running, samples) in running.into_iter().zip(samples) {
        samples.peak_at_64.push(running.peak_memory());
        running.load(1000, plan.calls);
        running.load(1000, plan.calls);
        samples.peak_at_1000.push(running.peak_memory());
        spans += running.end();
    }
    check_spans(spans);
}

fn measure_turn(plan: &Plan, running: &mut Running<'_>, direct: f64, samples: &mut Samples) {
    let (cpu_per_call, calls_per_second) = running.load(64, plan.calls);
    // One call at a time: the rate is the inverse of the mean latency.
    let (_, singles_per_second) = running.load(1, SINGLE_CALLS);
    let added_latency = 1.0 / singles_per_second - 1.0 / direct;
    samples.cpu_per_call.push(cpu_per_call * 1e6);
    samples.calls_per_second.push(calls_per_second);
    samples.added_latency.push(added_latency * 1e6);
}
