//! Compares the callers' results, what the API saw, and the gateway's metrics.

use std::collections::{BTreeMap, HashMap};

use tonic::Code;

use crate::call::{Call, End};

/// Prints how the calls ended, and fails if the three accounts differ.
pub(crate) fn counts_agree(calls: &HashMap<u64, Call>, seen: &HashMap<u64, u32>, metrics: &str) {
    let mut ends = BTreeMap::<String, u64>::new();
    for (id, call) in calls {
        let times = seen.get(id).copied().unwrap_or(0);
        assert!(
            is_truthful(call, times),
            "{id}, seen {times} times: {call:?}"
        );
        let end = match &call.end {
            End::Ok => "Ok".to_owned(),
            End::Failed { code, outcome } => format!("{code:?} {outcome}"),
            End::Cancelled => "cancelled".to_owned(),
        };
        *ends.entry(end).or_default() += 1;
    }
    for (end, count) in &ends {
        println!("{count:>9}  {end}");
    }

    // A cancelled call may have reached the gateway or not.
    let cancelled = ends.get("cancelled").copied().unwrap_or(0);
    let (most, counted) = (
        calls.len() as u64,
        sum(metrics, "reset_gateway_answers_total"),
    );
    println!("{most:>9}  calls made, {counted} counted by the gateway");
    assert!((most - cancelled..=most).contains(&counted));

    // A request that the gateway gave up may not have reached the API.
    let requests: u64 = seen.values().copied().map(u64::from).sum();
    let measured = sum(metrics, "http_client_request_duration_seconds_count");
    println!("{requests:>9}  requests at the API, {measured} measured by the gateway");
    assert!(measured >= requests);
    assert_eq!(sum(metrics, "reset_gateway_calls_in_flight"), 0);
}

/// Whether the call's end is possible if the API saw it so many times.
fn is_truthful(call: &Call, times: u32) -> bool {
    let at_most = if call.only_reads { 3 } else { 1 };
    let is_possible = match &call.end {
        End::Ok => times > 0,
        End::Failed { code, outcome } => {
            (outcome != "not_sent" || times == 0)
                // UNAVAILABLE invites a retry.
                && (outcome != "unknown" || *code != Code::Unavailable)
        }
        End::Cancelled => true,
    };
    times <= at_most && is_possible
}

/// The sum of all samples of a metric.
fn sum(metrics: &str, name: &str) -> u64 {
    let samples = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    samples
        .map(|sample| sample.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
        .sum()
}

/// Compares the second half of the values with the first, without its first tenth.
pub(crate) fn is_flat(what: &str, values: &[u64], at_most: f64) {
    let warm = &values[values.len() / 10..];
    let (first, second) = warm.split_at(warm.len() / 2);
    let (first, second) = (median(first), median(second));
    println!("{what}: {first} in the first half, {second} in the second");
    assert!(second as f64 <= first as f64 * at_most, "{what} grew");
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}
