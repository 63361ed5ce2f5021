//! What the gateway costs beside what else one could deploy in its place: Envoy, and plain servers in Rust.
//!
//! `benches/compare/run` fetches what it takes, and runs this; `benches/compare/run --help` tells the options. It prints a
//! table in Markdown, writes it as Markdown and as JSON, and fails where a promise is not kept or where somebody did not
//! do the work: each candidate is started anew for each round and asked by a real client, and a load only counts if every
//! call got an answer of the right length, and the API saw as many requests. Within a round all take turns, A B C A B C,
//! with a tenth of their loads at a time, and ratios are made round by round, so that they hold when the machine's speed
//! changes; the next round begins with B. CPU is the process's own user and system time.
//!
//! h2load makes the calls, one rpc alone: `GetSecretQuestion`, the only one that may be repeated as often as one likes.
//! nginx is the API: it answers from memory, and costs less than any candidate.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

mod api;
mod bench;
mod candidate;
mod concurrency;
mod envoy;
mod failures;
mod gateway;
mod leash;
mod load;
mod machine;
mod measure;
mod memory;
mod plain;
mod port;
mod promises;
mod report;
mod rounds;
mod running;
mod starts;
mod telemetry;
mod turns;
mod wait;

#[path = "../support/collector.rs"]
mod collector;
#[path = "../support/process.rs"]
mod process;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use bench::{Bench, Tools};
use candidate::Candidate;
use measure::Sizes;
use turns::PARTS;

/// Compares the gateway with what else one could deploy in its place.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// How many rounds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many calls make a load
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(10_000..))]
    calls: u32,
    /// How many calls are made one at a time, for the latency
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..))]
    single_calls: u32,
    /// How many starts are timed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Measure these alone
    #[arg(long, value_name = "NAME", num_args = 1.., value_enum)]
    only: Vec<Candidate>,
    /// Where to write the table
    #[arg(long, value_name = "DIRECTORY", default_value = "target/compare")]
    out: PathBuf,
    /// The gateway; without it, the one that is built for the benchmarks
    #[arg(long, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_reset-gateway"), hide_default_value = true)]
    gateway: PathBuf,
    /// Envoy, with the filter grpc_json_reverse_transcoder
    #[arg(long, value_name = "PROGRAM", default_value = "envoy")]
    envoy: PathBuf,
    /// nginx, with the module stub_status
    #[arg(long, value_name = "PROGRAM", default_value = "nginx")]
    nginx: PathBuf,
    /// h2load, of nghttp2
    #[arg(long, value_name = "PROGRAM", default_value = "h2load")]
    h2load: PathBuf,
    /// Cargo gives it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What this program is to its own children.
#[derive(Debug, Subcommand)]
enum Mode {
    /// One of the plain servers
    #[command(hide = true)]
    Peer { kind: plain::Kind, api: SocketAddr },
    /// What ends with the benchmark
    #[command(hide = true)]
    Leash {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.mode {
        Some(Mode::Peer { kind, api }) => plain::serve(kind, api),
        Some(Mode::Leash { command }) => leash::become_command(&command),
        None => compare(cli),
    }
}

fn compare(cli: Cli) -> ExitCode {
    let whole = |calls| calls / PARTS * PARTS;
    let (calls, single_calls) = (whole(cli.calls), whole(cli.single_calls));
    let sizes = Sizes {
        rounds: cli.rounds,
        calls,
        single_calls,
        starts: cli.starts,
    };
    let tools = Tools {
        gateway: cli.gateway,
        envoy: cli.envoy,
        nginx: cli.nginx,
        h2load: cli.h2load,
    };
    let candidates = if cli.only.is_empty() {
        Candidate::ALL.to_vec()
    } else {
        cli.only
    };
    let facts = match machine::facts(&tools) {
        Ok(facts) => facts,
        Err(error) => {
            eprintln!("{error}; benches/compare/run knows where to get what is missing");
            return ExitCode::FAILURE;
        }
    };
    let results = measure::all(&Bench::start(tools), &candidates, &sizes);
    let promises = promises::judge(&results, facts.cores);
    let report = report::Report {
        facts,
        sizes,
        results,
        promises,
    };
    print!("{}", report.markdown());
    report.write(&cli.out);
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
