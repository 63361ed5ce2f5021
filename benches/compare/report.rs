//! The table in Markdown, and the thresholds that the gateway has to keep.

use std::{fs, thread};

use crate::{
    candidate::Candidate,
    measure::{Plan, Results, Turn, megabytes},
};

const CPU: fn(&Turn) -> f64 = |turn| turn.cpu_per_call;
const RATE: fn(&Turn) -> f64 = |turn| turn.calls_per_second;
const LATENCY: fn(&Turn) -> f64 = |turn| turn.added_latency;

pub(crate) fn print_table(plan: &Plan, results: &Results) {
    println!("{}.", machine());
    println!(
        "Medians of {} rounds of {} turns of {} calls; ratios to Envoy within a turn.\n",
        plan.rounds, plan.turns, plan.calls
    );
    println!(
        "| | CPU per call | ratio | calls/s | ratio | added latency | ratio | peak at 64 streams | at 1000 | start |"
    );
    println!("|{}", " --- |".repeat(10));
    for candidate in Candidate::ALL {
        println!("{}", row(results, candidate));
    }
    println!(
        "\nThe gateway's program: {:.2} MB.",
        megabytes(&[results.program_size])
    );
}

fn row(results: &Results, candidate: Candidate) -> String {
    let samples = results.of(candidate);
    let ratio = |value| results.ratio_to_envoy(candidate, value);
    format!(
        "| {} | {:.1} µs | {:.2} | {:.0} | {:.2} | {:.0} µs | {:.2} | {:.1} MB | {:.1} MB | {:.1} ms |",
        candidate.title(),
        samples.median(CPU) * 1e6,
        ratio(CPU),
        samples.median(RATE),
        ratio(RATE),
        samples.median(LATENCY) * 1e6,
        ratio(LATENCY),
        megabytes(&samples.peak_at_64),
        megabytes(&samples.peak_at_1000),
        samples.start(),
    )
}

/// Prints each threshold with the measured value; whether all are kept.
pub(crate) fn keeps_thresholds(results: &Results) -> bool {
    let gateway = results.of(Candidate::Gateway);
    let ratio = |value| results.ratio_to_envoy(Candidate::Gateway, value);
    let at_most = [
        ("CPU per call to Envoy's", ratio(CPU), 0.65),
        ("added latency to Envoy's", ratio(LATENCY), 0.55),
        ("MB at 64 streams", megabytes(&gateway.peak_at_64), 20.0),
        ("MB at 1000 streams", megabytes(&gateway.peak_at_1000), 64.0),
        ("ms to start", gateway.start(), 20.0),
        ("MB of program", megabytes(&[results.program_size]), 10.0),
    ];
    println!();
    let mut all_kept = judge("calls/s to Envoy's", ratio(RATE), "at least", 1.6, |by| {
        by >= 0.0
    });
    for (what, measured, bound) in at_most {
        all_kept &= judge(what, measured, "at most", bound, |by| by <= 0.0);
    }
    all_kept
}

fn judge(what: &str, measured: f64, word: &str, bound: f64, is_kept: fn(f64) -> bool) -> bool {
    let kept = is_kept(measured - bound);
    let verdict = if kept { "kept" } else { "BROKEN" };
    println!("- {what}: {measured:.3}, {word} {bound}: {verdict}");
    kept
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    format!(
        "{} cores, {}, Linux {}",
        thread::available_parallelism().unwrap(),
        model
            .unwrap_or("unknown")
            .trim_start_matches(['\t', ' ', ':']),
        kernel.trim()
    )
}
