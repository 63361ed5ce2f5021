//! All that is measured, in this order.

use std::{collections::BTreeMap, fs};

use serde::Serialize;

use crate::{
    bench::Bench,
    candidate::Candidate,
    concurrency::{self, Level},
    failures::Failures,
    memory::{self, Growth},
    rounds::{self, CPU, Rounds},
    starts::{self, Starts},
};

/// How much is measured.
#[derive(Debug, Serialize)]
pub(crate) struct Sizes {
    pub(crate) rounds: u32,
    /// In a load.
    pub(crate) calls: u32,
    /// One at a time.
    pub(crate) single_calls: u32,
    pub(crate) starts: u32,
}

/// What came out.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) rounds: Rounds,
    /// The most resident memory at a thousand streams, in bytes.
    pub(crate) peaks: BTreeMap<Candidate, f64>,
    pub(crate) growth: Option<Growth>,
    pub(crate) levels: Vec<Level>,
    pub(crate) starts: BTreeMap<Candidate, Starts>,
    /// The gateway's program, in bytes.
    pub(crate) binary: f64,
    pub(crate) failures: Failures,
}

pub(crate) fn all(bench: &Bench, candidates: &[Candidate], sizes: &Sizes) -> Results {
    let mut failures = Failures::default();
    let rounds = rounds::measure(bench, candidates, sizes, &mut failures);
    let mut results = Results {
        candidates: candidates.to_vec(),
        rounds,
        peaks: BTreeMap::new(),
        growth: None,
        levels: Vec::new(),
        starts: BTreeMap::new(),
        binary: fs::metadata(&bench.tools.gateway).unwrap().len() as f64,
        failures,
    };
    results.measure_memory(bench, sizes);
    results.measure_concurrency(bench, sizes);
    results.measure_starts(bench, sizes);
    results
}

impl Results {
    /// Whether it did its work in every round.
    fn has_served(&self, candidate: Candidate) -> bool {
        self.rounds.median(candidate, CPU).is_some()
    }

    fn measure_memory(&mut self, bench: &Bench, sizes: &Sizes) {
        for candidate in [Candidate::Gateway, Candidate::Envoy, Candidate::Reqwest] {
            if self.has_served(candidate) {
                let what = format!("1000 streams, {}", candidate.title());
                let peak = self
                    .failures
                    .attempt(&what, || memory::peak(bench, candidate, sizes.calls));
                self.peaks.extend(peak.map(|peak| (candidate, peak)));
            }
        }
        if self.has_served(Candidate::Gateway) {
            self.growth = self
                .failures
                .attempt("ten times the calls", || memory::growth(bench, sizes.calls));
        }
    }

    fn measure_concurrency(&mut self, bench: &Bench, sizes: &Sizes) {
        if self.has_served(Candidate::Gateway) {
            let levels = self
                .failures
                .attempt("calls at a time", || concurrency::levels(bench, sizes));
            self.levels = levels.unwrap_or_default();
        }
    }

    fn measure_starts(&mut self, bench: &Bench, sizes: &Sizes) {
        for (candidate, measure) in [
            (Candidate::Gateway, starts::of_gateway as Way),
            (Candidate::Envoy, starts::of_envoy),
        ] {
            if self.has_served(candidate) {
                let what = format!("starts, {}", candidate.title());
                let starts = self
                    .failures
                    .attempt(&what, || measure(bench, sizes.starts));
                self.starts.extend(starts.map(|starts| (candidate, starts)));
            }
        }
    }
}

type Way = fn(&Bench, u32) -> Result<Starts, String>;
