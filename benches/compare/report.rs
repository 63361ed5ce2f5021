//! The table in Markdown, and the thresholds that the gateway has to keep.

use std::{fs, thread};

use crate::{
    candidate::CANDIDATES,
    measure::{Plan, Samples},
};

pub(crate) fn print_table(plan: &Plan, samples: &[Samples; 3], program_size: f64) {
    println!("{}.", machine());
    println!(
        "Medians of {} rounds of {} turns of {} calls; ratios to Envoy within a turn.\n",
        plan.rounds, plan.turns, plan.calls
    );
    println!(
        "| | CPU per call | ratio | calls/s | ratio | added latency | ratio | peak at 64 streams | at 1000 | start |"
    );
    println!("|{}", " --- |".repeat(10));
    let [_, envoy, _] = samples;
    for ((title, _), samples) in CANDIDATES.iter().zip(samples) {
        let [
            cpu,
            cpu_ratio,
            rate,
            rate_ratio,
            latency,
            latency_ratio,
            at_64,
            at_1000,
            start,
        ] = values(samples, envoy);
        println!(
            "| {title} | {cpu:.1} µs | {cpu_ratio:.2} | {rate:.0} | {rate_ratio:.2} | {latency:.0} µs | \
            {latency_ratio:.2} | {at_64:.1} MB | {at_1000:.1} MB | {start:.1} ms |"
        );
    }
    println!("\nThe gateway's program: {program_size:.2} MB.");
}

/// Prints each threshold with the measured value; whether all are kept.
pub(crate) fn keeps_thresholds([gateway, envoy, _]: &[Samples; 3], program_size: f64) -> bool {
    let [_, cpu, _, rate, _, latency, at_64, at_1000, start] = values(gateway, envoy);
    let thresholds = [
        ("calls/s to Envoy's", rate, "at least", 1.6),
        ("CPU per call to Envoy's", cpu, "at most", 0.65),
        ("added latency to Envoy's", latency, "at most", 0.55),
        ("MB at 64 streams", at_64, "at most", 20.0),
        ("MB at 1000 streams", at_1000, "at most", 64.0),
        ("ms to start", start, "at most", 20.0),
        ("MB of program", program_size, "at most", 10.0),
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

/// The medians, in the order of the table's columns.
fn values(samples: &Samples, envoy: &Samples) -> [f64; 9] {
    [
        median(&samples.cpu_per_call),
        ratio(&samples.cpu_per_call, &envoy.cpu_per_call),
        median(&samples.calls_per_second),
        ratio(&samples.calls_per_second, &envoy.calls_per_second),
        median(&samples.added_latency),
        ratio(&samples.added_latency, &envoy.added_latency),
        median(&samples.peak_at_64),
        median(&samples.peak_at_1000),
        median(&samples.starts),
    ]
}

/// The median over all turns of a value divided by Envoy's in the same turn.
fn ratio(values: &[f64], envoys: &[f64]) -> f64 {
    let pairs = values.iter().zip(envoys);
    let ratios: Vec<_> = pairs.map(|(value, envoy)| value / envoy).collect();
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
    let model = model.unwrap_or("unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}
