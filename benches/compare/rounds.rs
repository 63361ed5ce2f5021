//! The rounds, in which each candidate is measured once, and what is made of them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    bench::Bench,
    candidate::Candidate,
    failures::Failures,
    load::{self, Load},
    measure::Sizes,
    running::{Cost, Running},
    turns::{self, PARTS},
};

/// The load of the rounds.
pub(crate) const CONNECTIONS: u32 = 8;
pub(crate) const STREAMS: u32 = 8;

/// How long calls took, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) median: f64,
    pub(crate) mean: f64,
}

/// What a round tells of a candidate.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// In seconds.
    pub(crate) cpu_per_call: f64,
    pub(crate) calls_per_second: f64,
    /// In bytes.
    pub(crate) peak_memory: f64,
    /// Of one call at a time.
    pub(crate) latency: Latency,
}

/// One round.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    /// Of one request at a time to the API itself.
    pub(crate) direct: Latency,
    pub(crate) samples: BTreeMap<Candidate, Sample>,
}

/// All rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Rounds(pub(crate) Vec<Round>);

/// A candidate in a round.
struct Entrant<'a> {
    candidate: Candidate,
    running: Running<'a>,
    cost: Cost,
    /// Of memory, when it has been loaded, in bytes.
    peak: f64,
    /// Of the calls one at a time, in seconds.
    took: Vec<f64>,
}

/// Measures the candidates in turns. One that fails is not measured again.
pub(crate) fn measure(
    bench: &Bench,
    candidates: &[Candidate],
    sizes: &Sizes,
    failures: &mut Failures,
) -> Rounds {
    let mut rounds = Rounds(Vec::new());
    let mut order = candidates.to_vec();
    for number in 1..=sizes.rounds {
        eprintln!("round {number} of {}", sizes.rounds);
        let round = round(bench, &order, sizes, failures);
        order.retain(|candidate| round.samples.contains_key(candidate));
        rounds.0.push(round);
        if !order.is_empty() {
            order.rotate_left(1);
        }
    }
    rounds
}

fn round(bench: &Bench, candidates: &[Candidate], sizes: &Sizes, failures: &mut Failures) -> Round {
    let load = Load {
        connections: CONNECTIONS,
        streams: STREAMS,
        calls: sizes.calls,
    };
    let mut entrants: Vec<_> = candidates
        .iter()
        .filter_map(|&candidate| {
            failures.keep(
                candidate.title(),
                Entrant::start(bench, candidate, load, sizes),
            )
        })
        .collect();
    turns::take(&mut entrants, |entrant| {
        let part = entrant.load(load.part());
        failures.keep(entrant.candidate.title(), part).is_some()
    });
    entrants
        .iter_mut()
        .for_each(|entrant| entrant.peak = entrant.running.peak());
    let mut direct = load::directly(bench, sizes.single_calls / PARTS);
    turns::take(&mut entrants, |entrant| {
        direct.extend(load::directly(bench, sizes.single_calls / PARTS));
        let part = entrant.one_at_a_time(sizes.single_calls / PARTS);
        failures.keep(entrant.candidate.title(), part).is_some()
    });
    let samples = entrants
        .into_iter()
        .filter_map(|entrant| {
            let candidate = entrant.candidate;
            failures
                .keep(candidate.title(), entrant.end())
                .map(|sample| (candidate, sample))
        })
        .collect();
    Round {
        direct: Latency::of(direct),
        samples,
    }
}

impl<'a> Entrant<'a> {
    /// Starts it, and warms it up.
    fn start(
        bench: &'a Bench,
        candidate: Candidate,
        load: Load,
        sizes: &Sizes,
    ) -> Result<Self, String> {
        let mut running = candidate.start(bench)?;
        running.load(load.warm_up())?;
        running.one_at_a_time(sizes.single_calls / PARTS)?;
        Ok(Self {
            candidate,
            running,
            cost: Cost::default(),
            peak: 0.0,
            took: Vec::new(),
        })
    }

    fn load(&mut self, load: Load) -> Result<(), String> {
        self.cost += self.running.load(load)?;
        Ok(())
    }

    fn one_at_a_time(&mut self, calls: u32) -> Result<(), String> {
        self.took.extend(self.running.one_at_a_time(calls)?);
        Ok(())
    }

    fn end(self) -> Result<Sample, String> {
        self.running.end()?;
        let (cpu_per_call, calls_per_second) =
            (self.cost.cpu_per_call(), self.cost.calls_per_second());
        Ok(Sample {
            cpu_per_call,
            calls_per_second,
            peak_memory: self.peak,
            latency: Latency::of(self.took),
        })
    }
}

impl Latency {
    fn of(took: Vec<f64>) -> Self {
        Self {
            mean: took.iter().sum::<f64>() / took.len() as f64,
            median: median(took),
        }
    }
}

/// What is read off a sample.
pub(crate) type Value = fn(&Round, &Sample) -> f64;

pub(crate) const CPU: Value = |_, sample| sample.cpu_per_call;
pub(crate) const RATE: Value = |_, sample| sample.calls_per_second;
pub(crate) const MEMORY: Value = |_, sample| sample.peak_memory;
pub(crate) const MEDIAN: Value = |_, sample| sample.latency.median;
pub(crate) const MEAN: Value = |_, sample| sample.latency.mean;
/// What the way through the candidate adds to that to the API.
pub(crate) const ADDED: Value = |round, sample| sample.latency.median - round.direct.median;

impl Rounds {
    /// The median of a candidate's values; none if it was not measured in every round.
    pub(crate) fn median(&self, candidate: Candidate, value: Value) -> Option<f64> {
        let values: Option<Vec<_>> = self
            .0
            .iter()
            .map(|round| round.value(candidate, value))
            .collect();
        values.map(median)
    }

    /// The median of the ratios of two candidates, round by round, so that a slow moment weighs on both.
    pub(crate) fn ratio(&self, candidate: Candidate, base: Candidate, value: Value) -> Option<f64> {
        let ratio =
            |round: &Round| Some(round.value(candidate, value)? / round.value(base, value)?);
        self.0
            .iter()
            .map(ratio)
            .collect::<Option<Vec<_>>>()
            .map(median)
    }

    /// The medians of the API itself.
    pub(crate) fn direct(&self) -> Latency {
        let of = |value: fn(&Latency) -> f64| {
            median(self.0.iter().map(|round| value(&round.direct)).collect())
        };
        Latency {
            median: of(|latency| latency.median),
            mean: of(|latency| latency.mean),
        }
    }
}

impl Round {
    fn value(&self, candidate: Candidate, value: Value) -> Option<f64> {
        self.samples
            .get(&candidate)
            .map(|sample| value(self, sample))
    }
}

/// The median of at least one value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
