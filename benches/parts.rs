//! How long the gateway's own parts take: `cargo bench --bench parts`, and with `-- NAME` those whose name has that in it.
//!
//! Criterion compares with the run before. Times are the machine's; what must not grow is held by the benchmark
//! `instructions`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

#[path = "support/cases.rs"]
mod cases;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases::all() {
        criterion.bench_function(case.name, |bencher| bencher.iter(|| case.run()));
    }
    criterion.final_summary();
}
