//! Rounds of alternating turns. In each round the candidates start anew; in each turn every candidate takes one short
//! load, one after the other, so that a slow moment of the machine affects all of them.

use crate::{
    candidate::{Candidate, Running},
    lab::Lab,
    load::{Load, run_directly},
};

const CONNECTIONS: u32 = 8;

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) turns: u32,
    /// Per load at 64 streams.
    pub(crate) calls: u32,
    /// Per turn, one at a time.
    pub(crate) single_calls: u32,
    /// Per round.
    pub(crate) starts: u32,
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        rounds: 3,
        turns: 15,
        calls: 20_000,
        single_calls: 1_000,
        starts: 5,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        turns: 2,
        calls: 2_000,
        single_calls: 50,
        starts: 1,
    };
}

/// One candidate's values in one turn; times in seconds.
pub(crate) struct Turn {
    pub(crate) cpu_per_call: f64,
    pub(crate) calls_per_second: f64,
    /// Its mean latency for one call at a time, less that of the API asked directly.
    pub(crate) added_latency: f64,
}

/// What was measured of one candidate: a value per turn, start or round.
#[derive(Default)]
pub(crate) struct Samples {
    pub(crate) turns: Vec<Turn>,
    /// In seconds.
    pub(crate) starts: Vec<f64>,
    /// In bytes.
    pub(crate) peak_at_64: Vec<u64>,
    pub(crate) peak_at_1000: Vec<u64>,
}

/// All that was measured, in the order of [`Candidate::ALL`].
pub(crate) struct Results {
    pub(crate) samples: [Samples; 3],
    /// Of the gateway's program, in bytes.
    pub(crate) program_size: u64,
}

pub(crate) fn run(lab: &Lab, plan: &Plan) -> Results {
    let mut samples = <[Samples; 3]>::default();
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        measure_round(lab, plan, &mut samples);
    }
    let program = std::fs::metadata(&lab.tools.gateway).unwrap();
    Results {
        samples,
        program_size: program.len(),
    }
}

fn measure_round(lab: &Lab, plan: &Plan, samples: &mut [Samples; 3]) {
    for _ in 0..plan.starts {
        for (candidate, samples) in Candidate::ALL.into_iter().zip(&mut *samples) {
            samples.starts.push(candidate.start(lab).start);
        }
    }
    let load = |streams_per_connection| Load {
        connections: CONNECTIONS,
        streams_per_connection,
        calls: plan.calls,
    };
    let single = Load {
        connections: 1,
        streams_per_connection: 1,
        calls: plan.single_calls,
    };
    let mut running = Candidate::ALL.map(|candidate| candidate.start(lab));
    for warm_up in &mut running {
        warm_up.load(load(8));
    }
    for turn in 0..plan.turns as usize {
        let direct = run_directly(lab, single);
        for position in 0..running.len() {
            // Another candidate begins each turn.
            let at = (turn + position) % running.len();
            let turn = measure_turn(&mut running[at], load(8), single, direct);
            samples[at].turns.push(turn);
        }
    }
    for (mut running, samples) in running.into_iter().zip(samples) {
        samples.peak_at_64.push(running.peak_memory());
        running.load(load(125));
        running.load(load(125));
        samples.peak_at_1000.push(running.peak_memory());
        running.end();
    }
}

fn measure_turn(running: &mut Running<'_>, load: Load, single: Load, direct: f64) -> Turn {
    let (cpu_per_call, calls_per_second) = running.load(load);
    // One call at a time: the rate is the inverse of the mean latency.
    let (_, singles_per_second) = running.load(single);
    Turn {
        cpu_per_call,
        calls_per_second,
        added_latency: 1.0 / singles_per_second - 1.0 / direct,
    }
}

impl Results {
    pub(crate) fn of(&self, candidate: Candidate) -> &Samples {
        &self.samples[candidate as usize]
    }

    /// The median over all turns of a candidate's value divided by Envoy's in the same turn.
    pub(crate) fn ratio_to_envoy(&self, candidate: Candidate, value: fn(&Turn) -> f64) -> f64 {
        let envoys = &self.of(Candidate::Envoy).turns;
        let pairs = self.of(candidate).turns.iter().zip(envoys);
        median(pairs.map(|(turn, envoys)| value(turn) / value(envoys)))
    }
}

impl Samples {
    pub(crate) fn median(&self, value: fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(value))
    }

    /// In milliseconds.
    pub(crate) fn start(&self) -> f64 {
        median(self.starts.iter().map(|seconds| seconds * 1e3))
    }
}

/// The median, in megabytes of 10^6 bytes.
pub(crate) fn megabytes(bytes: &[u64]) -> f64 {
    median(bytes.iter().map(|bytes| *bytes as f64 / 1e6))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
