//! What a call costs the gateway when few and when many are made at a time.

use serde::Serialize;

use crate::{
    bench::Bench,
    candidate::Candidate,
    load::Load,
    measure::Sizes,
    rounds::{CONNECTIONS, STREAMS, median},
    running::{Cost, Running},
    turns,
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

/// A process at its level.
struct Entrant<'a> {
    level: usize,
    load: Load,
    running: Running<'a>,
    cost: Cost,
}

/// Measures all of them in turns, each in a process that is fresh in each round.
pub(crate) fn levels(bench: &Bench, sizes: &Sizes) -> Result<Vec<Level>, String> {
    let mut rounds = Vec::new();
    for round in 0..sizes.rounds as usize {
        eprintln!("round {} of {}", round + 1, sizes.rounds);
        rounds.push(costs(bench, round, sizes.calls)?);
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

/// What a call costs at each level, in seconds; the first turn is that of another one each round.
fn costs(bench: &Bench, round: usize, calls: u32) -> Result<[f64; STREAMS_EACH.len()], String> {
    let mut costs = [0.0; STREAMS_EACH.len()];
    let mut entrants = (0..costs.len())
        .map(|turn| Entrant::start(bench, (round + turn) % costs.len(), calls))
        .collect::<Result<Vec<_>, _>>()?;
    let mut failure = Ok(());
    turns::take(&mut entrants, |entrant| {
        let part = entrant.part();
        part.map_err(|why| failure = Err(why)).is_ok()
    });
    failure?;
    for Entrant {
        level,
        running,
        cost,
        ..
    } in entrants
    {
        running.end()?;
        costs[level] = cost.cpu_per_call();
    }
    Ok(costs)
}

impl<'a> Entrant<'a> {
    /// Starts it, and warms it up.
    fn start(bench: &'a Bench, level: usize, calls: u32) -> Result<Self, String> {
        let load = Load {
            connections: CONNECTIONS,
            streams: STREAMS_EACH[level],
            calls,
        };
        let mut running = Candidate::Gateway.start(bench)?;
        running.load(load.warm_up())?;
        Ok(Self {
            level,
            load,
            running,
            cost: Cost::default(),
        })
    }

    fn part(&mut self) -> Result<(), String> {
        self.cost += self.running.load(self.load.part())?;
        Ok(())
    }
}
