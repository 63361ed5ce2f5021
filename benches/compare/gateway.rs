//! The gateway as a candidate: as it ships, in all but the ports and the key.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::{
    bench::Bench, collector::Collector, leash, process::Process, running::Started,
    telemetry::Telemetry,
};

/// How it is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: u32,
    /// Which part of the calls has spans.
    pub(crate) sampled: f64,
}

/// Adds to a command for the program how it is run.
pub(crate) fn configure(
    command: &mut Command,
    bench: &Bench,
    collector: &Collector,
    settings: Settings,
    listen: &str,
) {
    command
        .args([
            "--listen",
            listen,
            "--admin-listen",
            "127.0.0.1:0",
            "--app-key",
            "bench",
        ])
        .args(["--upstream-url", &format!("http://{}", bench.api.address)])
        .args(["--worker-threads", &settings.workers.to_string()])
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", collector.address),
        )
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
        command
            .env("OTEL_TRACES_SAMPLER", "always_on")
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "100000");
    }
}

/// Starts it, and waits until it serves.
pub(crate) fn start(bench: &Bench, settings: Settings) -> Result<Started, String> {
    let (collector, mut command) = (bench.collector(), leash::command(&bench.tools.gateway));
    configure(&mut command, bench, &collector, settings, "127.0.0.1:0");
    let mut process = Process(command.spawn().unwrap());
    let telemetry = Telemetry::new(
        process.0.stderr.take().unwrap(),
        collector,
        settings.sampled,
    );
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .trim()
        .strip_prefix("gRPC on ")
        .and_then(|address| address.parse().ok());
    let address = address.ok_or("it does not start")?;
    Ok(Started {
        process,
        address,
        telemetry: Some(telemetry),
    })
}
