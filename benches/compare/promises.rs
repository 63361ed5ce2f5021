//! What is promised of the gateway, and whether it is kept.

use serde::Serialize;

use crate::{
    candidate::Candidate,
    measure::Results,
    rounds::{ADDED, CPU, MEMORY, RATE},
};

/// A promise and what came out.
#[derive(Debug, Serialize)]
pub(crate) struct Promise {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// None: it was not measured.
    pub(crate) measured: Option<f64>,
    pub(crate) bound: Bound,
    pub(crate) verdict: Verdict,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Ratio,
    /// Of 10^6 bytes.
    Megabytes,
    Milliseconds,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    /// Between the two.
    Within(f64, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Kept,
    Broken,
    /// It says why.
    NotJudged(&'static str),
}

/// The fewest cores on which a second worker can show what it is worth: h2load and nginx take one each.
const CORES_FOR_TWO_WORKERS: usize = 4;

pub(crate) fn judge(results: &Results, cores: usize) -> Vec<Promise> {
    use Candidate::{AllSpans, Envoy, Gateway, TwoWorkers};
    let rounds = &results.rounds;
    let megabytes = |bytes: f64| bytes / 1e6;
    let gateways_start = results.starts.get(&Gateway);
    let mut promises = vec![
        ratio(
            "CPU per call as it ships, to Envoy's",
            rounds.ratio(Gateway, Envoy, CPU),
            Bound::AtMost(0.5),
        ),
        ratio(
            "CPU per call with every span exported, to Envoy's",
            rounds.ratio(AllSpans, Envoy, CPU),
            Bound::Below(1.0),
        ),
        ratio(
            "throughput of one worker, to Envoy's",
            rounds.ratio(Gateway, Envoy, RATE),
            Bound::AtLeast(2.0),
        ),
        two_workers(rounds.ratio(TwoWorkers, Gateway, RATE), cores),
        ratio(
            "latency that it adds, to what Envoy adds",
            rounds.ratio(Gateway, Envoy, ADDED),
            Bound::AtMost(0.4),
        ),
        promise(
            "memory at 64 streams",
            Unit::Megabytes,
            rounds.median(Gateway, MEMORY).map(megabytes),
            Bound::AtMost(16.0),
        ),
        promise(
            "memory at 1000 streams",
            Unit::Megabytes,
            results.peaks.get(&Gateway).copied().map(megabytes),
            Bound::AtMost(48.0),
        ),
        ratio(
            "memory after ten times the calls, to that before",
            results.growth.map(|growth| growth.last / growth.first),
            Bound::AtMost(1.05),
        ),
    ];
    promises.extend(at_a_time(results));
    promises.extend([
        promise(
            "start to serving",
            Unit::Milliseconds,
            gateways_start.and_then(|start| Some(start.accepts.max(start.ready?) * 1e3)),
            Bound::AtMost(20.0),
        ),
        promise(
            "the program",
            Unit::Megabytes,
            Some(megabytes(results.binary)),
            Bound::AtMost(10.0),
        ),
    ]);
    promises
}

/// The cost of a call at each number of calls at a time, but for the one that the others are compared with.
fn at_a_time(results: &Results) -> Vec<Promise> {
    [8, 256, 1000]
        .map(|calls| {
            let level = results
                .levels
                .iter()
                .find(|level| level.calls_at_a_time == calls);
            let what = format!("CPU per call, {calls} at a time, to that of 64");
            promise(
                what,
                Unit::Ratio,
                level.map(|level| level.to_rounds),
                Bound::Within(0.85, 1.15),
            )
        })
        .into()
}

fn two_workers(measured: Option<f64>, cores: usize) -> Promise {
    let promise = ratio(
        "throughput of two workers, to that of one",
        measured,
        Bound::AtLeast(1.7),
    );
    if cores < CORES_FOR_TWO_WORKERS {
        return Promise {
            verdict: Verdict::NotJudged("it takes 4 cores"),
            ..promise
        };
    }
    promise
}

fn ratio(what: &str, measured: Option<f64>, bound: Bound) -> Promise {
    promise(what, Unit::Ratio, measured, bound)
}

fn promise(what: impl Into<String>, unit: Unit, measured: Option<f64>, bound: Bound) -> Promise {
    let verdict = match measured {
        None => Verdict::NotJudged("not measured"),
        Some(measured) if bound.holds(measured) => Verdict::Kept,
        Some(_) => Verdict::Broken,
    };
    Promise {
        what: what.into(),
        unit,
        measured,
        bound,
        verdict,
    }
}

impl Bound {
    fn holds(self, measured: f64) -> bool {
        match self {
            Self::AtMost(bound) => measured <= bound,
            Self::Below(bound) => measured < bound,
            Self::AtLeast(bound) => measured >= bound,
            Self::Within(low, high) => (low..=high).contains(&measured),
        }
    }
}
