//! The table and the promises, as Markdown and as JSON.

use std::{
    fmt::{self, Display, Formatter, Write},
    fs,
    path::Path,
};

use serde::Serialize;

use crate::{
    candidate::Candidate,
    concurrency::Level,
    machine::Facts,
    measure::{Results, Sizes},
    promises::{Bound, Promise, Unit, Verdict},
    rounds::{ADDED, CPU, MEAN, MEDIAN, MEMORY, RATE, Value},
};

/// All there is to tell.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) facts: Facts,
    pub(crate) sizes: Sizes,
    pub(crate) results: Results,
    pub(crate) promises: Vec<Promise>,
}

impl Report {
    /// Whether every candidate did its work, and no promise is broken.
    pub(crate) fn is_good(&self) -> bool {
        self.results.failures.0.is_empty()
            && self
                .promises
                .iter()
                .all(|promise| promise.verdict != Verdict::Broken)
    }

    pub(crate) fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("compare.md"), self.markdown()).unwrap();
        fs::write(
            directory.join("compare.json"),
            serde_json::to_vec_pretty(self).unwrap(),
        )
        .unwrap();
    }

    pub(crate) fn markdown(&self) -> String {
        let sections = [
            self.machine(),
            self.table(),
            self.memory(),
            self.levels(),
            self.starts(),
            self.judged(),
        ];
        sections
            .into_iter()
            .filter(|section| !section.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn machine(&self) -> String {
        let Facts {
            cores,
            cpu,
            kernel,
            versions,
        } = &self.facts;
        let versions: Vec<_> = versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let Sizes {
            rounds,
            calls,
            single_calls,
            starts,
        } = &self.sizes;
        format!(
            "{cores} cores, {cpu}, Linux {kernel}; {}.\n\
            Medians of {rounds} rounds of {calls} calls, {single_calls} one at a time, and of {starts} starts; \
            ratios round by round to Envoy.\n",
            versions.join(", ")
        )
    }

    fn table(&self) -> String {
        let direct = self.results.rounds.direct();
        let mut table = "\
            | | CPU per call, 64 streams | ratio | calls/s | ratio | memory peak | one call at a time: median | ratio | \
            mean | added | ratio |\n\
            | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
        for candidate in &self.results.candidates {
            writeln!(table, "{}", self.row(*candidate)).unwrap();
        }
        let (median, mean) = (direct.median * 1e6, direct.mean * 1e6);
        writeln!(
            table,
            "| the API, asked directly | | | | | | {median:.0} µs | | {mean:.0} µs | | |"
        )
        .unwrap();
        table
    }

    fn row(&self, candidate: Candidate) -> String {
        let rounds = &self.results.rounds;
        if rounds.median(candidate, CPU).is_none() {
            return format!(
                "| {} | not timed: {} | | | | | | | | | |",
                candidate.title(),
                self.why_not(candidate)
            );
        }
        let median = |value: Value, factor: f64| {
            rounds.median(candidate, value).unwrap_or(f64::NAN) * factor
        };
        let ratio = |value| {
            rounds
                .ratio(candidate, Candidate::Envoy, value)
                .map_or(String::new(), |ratio| format!("{ratio:.2}"))
        };
        format!(
            "| {} | {:.1} µs | {} | {:.0} | {} | {:.1} MB | {:.0} µs | {} | {:.0} µs | {:.0} µs | {} |",
            candidate.title(),
            median(CPU, 1e6),
            ratio(CPU),
            median(RATE, 1.0),
            ratio(RATE),
            median(MEMORY, 1e-6),
            median(MEDIAN, 1e6),
            ratio(MEDIAN),
            median(MEAN, 1e6),
            median(ADDED, 1e6),
            ratio(ADDED),
        )
    }

    fn why_not(&self, candidate: Candidate) -> &str {
        let failures = &self.results.failures.0;
        failures
            .iter()
            .find(|failure| failure.what == candidate.title())
            .map_or("", |failure| &failure.why)
    }

    fn memory(&self) -> String {
        let mut text = String::new();
        for (candidate, peak) in &self.results.peaks {
            writeln!(
                text,
                "Memory peak at 1000 streams, {}: {:.1} MB",
                candidate.title(),
                peak / 1e6
            )
            .unwrap();
        }
        if let Some(growth) = &self.results.growth {
            let (first, last, calls) = (growth.first / 1e6, growth.last / 1e6, self.sizes.calls);
            writeln!(
                text,
                "Memory of the gateway: {first:.2} MB after {calls} calls, {last:.2} MB after ten times as many."
            )
            .unwrap();
        }
        text
    }

    fn levels(&self) -> String {
        let levels = &self.results.levels;
        if levels.is_empty() {
            return String::new();
        }
        let mut table =
            "| calls at a time | CPU per call | to that of 64 | to the mean |\n| --- | --- | --- | --- |\n".to_owned();
        for Level {
            calls_at_a_time,
            cpu_per_call,
            to_rounds,
            to_mean,
        } in levels
        {
            let cost = cpu_per_call * 1e6;
            writeln!(
                table,
                "| {calls_at_a_time} | {cost:.1} µs | {to_rounds:.2} | {to_mean:.2} |"
            )
            .unwrap();
        }
        table
    }

    fn starts(&self) -> String {
        let mut text = String::new();
        for (candidate, starts) in &self.results.starts {
            let ready = starts.ready.map_or(String::new(), |ready| {
                format!(", says that it serves after {:.1} ms", ready * 1e3)
            });
            let accepts = starts.accepts * 1e3;
            writeln!(
                text,
                "Start, {}: accepts a connection after {accepts:.1} ms{ready}.",
                candidate.title()
            )
            .unwrap();
        }
        text
    }

    fn judged(&self) -> String {
        let failures = self
            .results
            .failures
            .0
            .iter()
            .map(|failure| format!("- FAILED: {}: {}\n", failure.what, failure.why));
        failures
            .chain(self.promises.iter().map(|promise| format!("- {promise}\n")))
            .collect()
    }
}

impl Display for Promise {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let unit = self.unit;
        write!(f, "{}: ", self.what)?;
        if let Some(measured) = self.measured {
            write!(f, "{measured:.2}{unit}, ")?;
        }
        match self.bound {
            Bound::AtMost(bound) => write!(f, "at most {bound}{unit}: "),
            Bound::Below(bound) => write!(f, "below {bound}{unit}: "),
            Bound::AtLeast(bound) => write!(f, "at least {bound}{unit}: "),
            Bound::Within(low, high) => write!(f, "from {low} to {high}{unit}: "),
        }?;
        match self.verdict {
            Verdict::Kept => f.write_str("kept"),
            Verdict::Broken => f.write_str("BROKEN"),
            Verdict::NotJudged(why) => write!(f, "not judged: {why}"),
        }
    }
}

impl Display for Unit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ratio => "",
            Self::Megabytes => " MB",
            Self::Milliseconds => " ms",
        })
    }
}
