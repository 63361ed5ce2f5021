//! The table in Markdown, and the thresholds that the gateway has to keep.

use std::{fs, thread};

use crate::{
    candidate::CANDIDATES,
    measure::{Plan, Samples},
};

/// A column's values, decimals and unit, and whether the ratio to Envoy follows in a column of its own.
type Column = (fn(&Samples) -> &[f64], usize, &'static str, bool);

const HEADINGS: &str = "| | CPU per call | ratio | calls/s | ratio | added latency | ratio | \
    peak at 64 streams | at 1000 | start |";
const COLUMNS: [Column; 6] = [
    (|samples| &samples.cpu_per_call, 1, " µs", true),
    (|samples| &samples.calls_per_second, 0, "", true),
    (|samples| &samples.added_latency, 0, " µs", true),
    (|samples| &samples.peak_at_64, 1, " MB", false),
    (|samples| &samples.peak_at_1000, 1, " MB", false),
    (|samples| &samples.starts, 1, " ms", false),
];

pub(crate) fn print_table(plan: &Plan, samples: &[Samples; 4], program_size: f64) {
    println!("{}.", machine());
    println!(
        "Medians of {} rounds of {} turns of {} calls; ratios to Envoy within a turn.\n",
        plan.rounds, plan.turns, plan.calls
    );
    println!("{HEADINGS}\n|{}", " --- |".repeat(10));
    let [_, envoy, ..] = samples;
    for (candidate, samples) in CANDIDATES.iter().zip(samples) {
        println!("| {} |{}", candidate.title, row(samples, envoy));
    }
    println!("\nThe gateway's program: {program_size:.2} MB.");
}

fn row(samples: &Samples, envoy: &Samples) -> String {
    let mut row = String::new();
    for (values, decimals, unit, has_ratio) in COLUMNS {
        row += &format!(" {:.decimals$}{unit} |", median(values(samples)));
        if has_ratio {
            row += &format!(" {:.2} |", ratio(values(samples), values(envoy)));
        }
    }
    row
}

/// Prints each threshold with the measured value; whether all are kept.
pub(crate) fn keeps_thresholds([gateway, envoy, _, tls]: &[Samples; 4], program_size: f64) -> bool {
    let cpu = ratio(&gateway.cpu_per_call, &envoy.cpu_per_call);
    let rate = ratio(&gateway.calls_per_second, &envoy.calls_per_second);
    let latency = ratio(&gateway.added_latency, &envoy.added_latency);
    let over_tls = ratio(&tls.cpu_per_call, &gateway.cpu_per_call);
    let (at_64, at_1000) = (&gateway.peak_at_64, &gateway.peak_at_1000);
    let thresholds = [
        ("calls/s to Envoy's", rate, "at least", 1.6),
        ("CPU per call to Envoy's", cpu, "at most", 0.7),
        ("added latency to Envoy's", latency, "at most", 0.55),
        ("MB at 64 streams", median(at_64), "at most", 24.0),
        ("MB at 1000 streams", median(at_1000), "at most", 64.0),
        ("CPU per call over TLS to without", over_tls, "at most", 1.1),
        ("ms to start", median(&gateway.starts), "at most", 20.0),
        ("MB of program", program_size, "at most", 12.0),
    ];
    println!();
    let mut all_kept = true;
    for (what, measured, word, bound) in thresholds {
        let is_kept = match word {
            "at least" => measured >= bound,
            _ => measured <= bound,
        };
        let verdict = if is_kept { "kept" } else { "BROKEN" };
        println!("- {what}: {measured:.3}, {word} {bound}: {verdict}");
        all_kept &= is_kept;
    }
    all_kept
}

/// The median over all turns of a value divided by the other's in the same turn.
fn ratio(values: &[f64], others: &[f64]) -> f64 {
    let pairs = values.iter().zip(others);
    let ratios: Vec<_> = pairs.map(|(value, other)| value / other).collect();
    median(&ratios)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn machine() -> String {
    let cores = thread::available_parallelism().unwrap();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    let mut lines = cpus.lines();
    let model = lines.find_map(|line| line.strip_prefix("model name\t: "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let (model, kernel) = (model.unwrap_or("unknown"), kernel.trim());
    format!("{cores} cores, {model}, Linux {kernel}")
}
