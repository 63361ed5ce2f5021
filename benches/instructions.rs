//! How many instructions the gateway's own parts take: `cargo bench --bench instructions`, and with `-- NAME` those whose
//! name has that in it. It needs valgrind. Unlike times, the counts are nearly the same on a busy machine and an idle one, so
//! that they can be held to bounds.
//!
//! It fails where a part takes over a tenth more than `benches/instructions.txt` says, or is not in there. That one takes
//! over a tenth less is only told: good news is no reason to hold a change up, but as long as the new count is not
//! recorded, the part may grow back unseen. `-- --record` records the counts.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

#[path = "support/cases.rs"]
mod cases;

#[path = "support/bounds.rs"]
mod bounds;

#[path = "support/callgrind.rs"]
mod callgrind;

use std::{env, process::ExitCode};

use bounds::{Bounds, Judgement};
use cases::Case;

fn main() -> ExitCode {
    // Cargo adds a `--bench` of its own.
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let (options, names): (Vec<&str>, Vec<&str>) = args
        .iter()
        .map(String::as_str)
        .partition(|arg| arg.starts_with("--"));
    let is_meant =
        |case: &Case| names.is_empty() || names.iter().any(|name| case.name.contains(name));
    match options[..] {
        [callgrind::REPEAT] => callgrind::repeat(&case_named(names[0])),
        [] => return check(is_meant),
        ["--record"] => record(is_meant),
        _ => panic!("takes --record and names of parts"),
    }
    ExitCode::SUCCESS
}

fn case_named(name: &str) -> Case {
    cases::all()
        .into_iter()
        .find(|case| case.name == name)
        .unwrap()
}

/// Counts and compares with the bounds.
fn check(is_meant: impl Fn(&Case) -> bool) -> ExitCode {
    let bounds = Bounds::read();
    let mut failures = Vec::new();
    for case in cases::all().into_iter().filter(is_meant) {
        let (name, count) = (case.name, callgrind::count(&case));
        let judgement = bounds.judge(name, count);
        println!("{name:<28} {count:>10}  {judgement}");
        if !matches!(judgement, Judgement::Kept { .. } | Judgement::Fallen { .. }) {
            failures.push(format!("{name} takes {count} instructions: {judgement}"));
        }
    }
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("\n{}", failures.join("\n"));
    eprintln!(
        "recorded with {}, counted with {}",
        bounds.tools(),
        callgrind::tools()
    );
    eprintln!("if that is how it has to be: cargo bench --bench instructions -- --record");
    ExitCode::FAILURE
}

/// Counts, and makes the counts the bounds.
fn record(is_meant: impl Fn(&Case) -> bool) {
    let mut bounds = Bounds::read();
    for case in cases::all() {
        if is_meant(&case) {
            let count = callgrind::count(&case);
            println!("{:<28} {count:>10}", case.name);
            bounds.set(case.name, count);
        }
    }
    bounds.write(
        cases::all().iter().map(|case| case.name),
        &callgrind::tools(),
    );
}
