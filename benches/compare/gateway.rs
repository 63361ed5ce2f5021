//! The gateway as a candidate: as it ships, in all but the ports and the key.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{ChildStderr, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{bench::Bench, process::Process, wait};

/// How it is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: u32,
    /// Which part of the calls has spans.
    pub(crate) sampled: f64,
}

/// A client span and a server span.
const SPANS_PER_CALL: f64 = 2.0;

/// What it says of itself while it runs.
pub(crate) struct Telemetry {
    sampled: f64,
    /// The lines of its log.
    lines: Arc<AtomicUsize>,
    /// How many spans the collector had before.
    spans_before: usize,
}

/// Adds to a command for the program how it is run.
pub(crate) fn configure(command: &mut Command, bench: &Bench, settings: Settings, listen: &str) {
    command
        .args(["--listen", listen, "--admin-listen", "127.0.0.1:0", "--app-key", "bench"])
        .args(["--upstream-url", &format!("http://{}", bench.api.address)])
        .env("TOKIO_WORKER_THREADS", settings.workers.to_string())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", bench.collector.address))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if settings.sampled < 1.0 {
        command
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", settings.sampled.to_string());
    } else {
        // At its limit more wait than usual, and none may be dropped.
        command.env("OTEL_TRACES_SAMPLER", "always_on").env("OTEL_BSP_MAX_QUEUE_SIZE", "100000");
    }
}

/// Starts it by a configured command, and waits until it serves.
pub(crate) fn start(
    command: &mut Command,
    bench: &Bench,
    settings: Settings,
) -> Result<(Process, SocketAddr, Telemetry), String> {
    let spans_before = bench.collector.spans();
    let mut process = Process(command.spawn().unwrap());
    let lines = count_lines(process.0.stderr.take().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("gRPC on ").and_then(|address| address.parse().ok());
    let address = address.ok_or_else(|| "it does not start".to_owned())?;
    Ok((process, address, Telemetry { sampled: settings.sampled, lines, spans_before }))
}

/// Reads the log, as a container's runtime would.
fn count_lines(mut log: ChildStderr) -> Arc<AtomicUsize> {
    let lines = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&lines);
    thread::spawn(move || {
        let mut bytes = [0; 64 * 1024];
        while let Ok(length @ 1..) = log.read(&mut bytes) {
            counted.fetch_add(bytes[..length].iter().filter(|byte| **byte == b'\n').count(), Ordering::SeqCst);
        }
    });
    lines
}

impl Telemetry {
    /// Waits until the spans of so many calls have arrived, if all calls have spans: sending them is part of the cost.
    pub(crate) fn wait_for_spans(&self, bench: &Bench, calls: u32) -> Result<(), String> {
        let expected = (SPANS_PER_CALL * f64::from(calls)) as usize;
        if self.sampled < 1.0 || wait::until(|| self.spans(bench) >= expected) {
            return Ok(());
        }
        Err(format!("{} spans of {calls} calls", self.spans(bench)))
    }

    /// Whether so many calls have been logged and have had spans, after the end of the gateway: or it was cheap for the
    /// wrong reason.
    pub(crate) fn check(&self, bench: &Bench, calls: u32) -> Result<(), String> {
        let lines = || self.lines.load(Ordering::SeqCst);
        if !wait::until(|| lines() >= calls as usize) {
            return Err(format!("{} log lines of {calls} calls", lines()));
        }
        let traced = self.spans(bench) as f64 / SPANS_PER_CALL;
        let expected = self.sampled * f64::from(calls);
        // Which calls are sampled is chance. All of them is none.
        let deviation = (expected * (1.0 - self.sampled)).sqrt();
        if (traced - expected).abs() > 6.0 * deviation {
            return Err(format!("{traced} of {calls} calls have spans"));
        }
        Ok(())
    }

    fn spans(&self, bench: &Bench) -> usize {
        bench.collector.spans() - self.spans_before
    }
}
