//! Mixed load with random faults: `cargo bench --bench soak -- --seconds 600` (a minute by default).
//!
//! Every call carries its own number, so that both sides can be compared at the end. The soak fails unless
//!
//! - every call is answered exactly once,
//! - the API saw every write at most once, every read at most three times, and no call that ended with `not_sent`,
//! - the callers' results, the gateway's metrics and what the API saw agree,
//! - memory and open files stay flat.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

mod api;
mod call;
mod check;
mod gateway;

#[path = "../support/process.rs"]
mod process;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use tokio::time::sleep;

use call::{Call, Client};
use gateway::Gateway;

const CONNECTIONS: usize = 4;
const STREAMS: usize = 16;

#[derive(Debug, Parser)]
struct Cli {
    /// How long to go on
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The gateway; without it, the one built for the benchmarks
    #[arg(long, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_reset-gateway"), hide_default_value = true)]
    gateway: PathBuf,
    /// Cargo passes it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    let seen = api::Seen::default();
    let api = api::serve(Arc::clone(&seen)).await;
    let gateway = Gateway::start(&cli.gateway, api);
    let load = run(&gateway, Duration::from_secs(cli.seconds)).await;
    let metrics = gateway.metrics().await;
    check::counts_agree(&load.calls, &seen.lock().unwrap(), &metrics);
    check::is_flat("memory, bytes", &load.memory, 1.15);
    check::is_flat("open files", &load.files, 1.25);
    gateway.process.stop();
    println!("all agree");
}

/// Observations made while the load ran.
struct Load {
    calls: HashMap<u64, Call>,
    memory: Vec<u64>,
    files: Vec<u64>,
}

async fn run(gateway: &Gateway, duration: Duration) -> Load {
    let (end, next) = (Instant::now() + duration, Arc::new(AtomicU64::new(0)));
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = gateway.client().await;
        for _ in 0..STREAMS {
            callers.push(tokio::spawn(make_calls(
                client.clone(),
                end,
                Arc::clone(&next),
            )));
        }
    }
    let (mut memory, mut files) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        sleep(Duration::from_millis(500)).await;
        memory.push(gateway.process.memory("VmRSS:"));
        files.push(gateway.open_files());
    }
    let mut calls = HashMap::new();
    for caller in callers {
        for (id, call) in caller.await.unwrap() {
            assert!(calls.insert(id, call).is_none(), "two responses to {id}");
        }
    }
    assert_eq!(calls.len() as u64, next.load(Ordering::SeqCst), "responses");
    Load {
        calls,
        memory,
        files,
    }
}

/// Makes one call after the other until the end.
async fn make_calls(mut client: Client, end: Instant, next: Arc<AtomicU64>) -> Vec<(u64, Call)> {
    let mut calls = Vec::new();
    while Instant::now() < end {
        let id = next.fetch_add(1, Ordering::SeqCst);
        calls.push((id, Call::make(&mut client, id).await));
    }
    calls
}
