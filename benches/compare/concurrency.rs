//! What a call costs the gateway when few and when many are made at a time.

use serde::Serialize;

use crate::{
    bench::Bench,
    candidate::Candidate,
    load::Load,
    measure::Sizes,
    rounds::{CONNECTIONS, STREAMS, median},
};

/// Streams on each connection; the second is that of the rounds.
const STREAMS_EACH: [u32; 4] = [1, STREAMS, 32, 125];

/// So many calls at a time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Level {
    pub(crate) calls_at_a_time: u32,
    /// In seconds.
    pub(crate) cpu_per_call: f64,
    /// To that of the rounds' load.
    pub(crate) to_rounds: f64,
    /// To the mean of all levels.
    pub(crate) to_mean: f64,
}

/// Measures all of them in turns, each in a fresh process.
pub(crate) fn levels(bench: &Bench, sizes: &Sizes) -> Result<Vec<Level>, String> {
    let mut rounds = Vec::new();
    for round in 0..sizes.rounds as usize {
        eprintln!("round {} of {}", round + 1, sizes.rounds);
        let mut costs = [0.0; STREAMS_EACH.len()];
        for turn in 0..costs.len() {
            let level = (round + turn) % costs.len();
            costs[level] = cost(bench, STREAMS_EACH[level], sizes.calls)?;
        }
        rounds.push(costs);
    }
    let mean = |costs: &[f64]| costs.iter().sum::<f64>() / costs.len() as f64;
    let level = |(at, streams): (usize, &u32)| Level {
        calls_at_a_time: CONNECTIONS * streams,
        cpu_per_call: median(rounds.iter().map(|costs| costs[at]).collect()),
        to_rounds: median(rounds.iter().map(|costs| costs[at] / costs[1]).collect()),
        to_mean: median(rounds.iter().map(|costs| costs[at] / mean(costs)).collect()),
    };
    Ok(STREAMS_EACH.iter().enumerate().map(level).collect())
}

fn cost(bench: &Bench, streams: u32, calls: u32) -> Result<f64, String> {
    let mut running = Candidate::Gateway.start(bench)?;
    let cost = running.load(Load { connections: CONNECTIONS, streams, calls })?;
    running.end()?;
    Ok(cost.cpu_per_call)
}
