//! Compares the gateway with Envoy's gRPC-JSON reverse transcoder and with a plain tonic + reqwest server.
//!
//! `benches/compare/run` fetches the tools and runs this. It prints one table in Markdown and exits with status 1 if the
//! gateway misses a threshold. h2load makes the calls, all of them `GetSecretQuestion`; nginx is the API and answers
//! from memory. Each server has one worker thread.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

mod candidate;
mod collector;
mod lab;
mod load;
mod measure;
mod plain;
mod report;

#[path = "../support/process.rs"]
mod process;

use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;

use lab::Lab;
use measure::Plan;

#[derive(Debug, Parser)]
struct Cli {
    /// The directory with reset-gateway, envoy, nginx and h2load, in which they run
    #[arg(long, default_value = "target/compare/bin")]
    programs: PathBuf,
    /// A smoke test of a few seconds, which judges nothing
    #[arg(long)]
    quick: bool,
    /// Serve as the plain tonic + reqwest server on the first address, with the API on the second
    #[arg(long, hide = true, num_args = 2)]
    plain: Vec<SocketAddr>,
    /// Cargo passes it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let [listen, api] = cli.plain[..] {
        plain::serve(listen, api);
        return ExitCode::SUCCESS;
    }
    let plan = if cli.quick { Plan::QUICK } else { Plan::FULL };
    let lab = Lab::new(&cli.programs);
    let _api = lab.start_api();
    let samples = measure::run(&lab, &plan);
    let program = fs::metadata(lab.directory.join("reset-gateway")).unwrap();
    let program_size = program.len() as f64 / 1e6;
    report::print_table(&plan, &samples, program_size);
    let passes = cli.quick || report::keeps_thresholds(&samples, program_size);
    ExitCode::from(u8::from(!passes))
}
