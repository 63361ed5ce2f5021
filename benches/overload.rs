//! What overload costs: ten times the calls that the gateway can take are offered to it, whether those before are
//! answered or not.
//!
//! `cargo bench --bench overload` prints a table, and fails where a promise is not kept: that it serves nearly what it
//! serves at the best, that it refuses the rest at once and as it should, and that its memory stays. What it can take is
//! set by the calls in flight and the time that the API takes, and not by the machine, which callers and API share.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

#[path = "support/process.rs"]
mod process;

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use reset_gateway::proto::{
    GetSecretQuestionRequest, password_reset_service_client::PasswordResetServiceClient,
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{interval, sleep},
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use process::Process;

const IN_FLIGHT: usize = 20;
const LATENCY: Duration = Duration::from_millis(50);
const CONNECTIONS: usize = 4;
/// How many times what it can take is offered.
const FACTOR: usize = 10;
const TIME: Duration = Duration::from_secs(10);

/// What became of the calls.
struct Outcome {
    served_per_second: f64,
    /// How long each refusal took, the shortest first.
    refusals: Vec<Duration>,
    /// The gateway's CPU, in seconds.
    cpu: f64,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kept = runtime.block_on(async {
        let api = serve_api().await;
        println!(
            "| log | served/s at best | at {FACTOR} times | refused/s | median | p99 | CPU per refusal | memory |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
        let mut kept = true;
        for log in ["off", "info"] {
            kept &= measure(log, api).await;
        }
        kept
    });
    assert!(kept, "a promise is not kept");
}

/// Prints a line of the table; whether the promises are kept.
async fn measure(log: &str, api: SocketAddr) -> bool {
    let gateway = Gateway::start(log, api);
    let best = gateway.offered(1.0).await;
    let before = gateway.process.resident();
    let over = gateway.offered(FACTOR as f64).await;
    let after = gateway.process.resident();
    let at = |part: usize| over.refusals[over.refusals.len() * part / 100];
    let refused = over.refusals.len() as f64;
    println!(
        "| {log} | {:.0} | {:.0} | {:.0} | {:.2} ms | {:.2} ms | {:.1} µs | {before} → {after} KiB |",
        best.served_per_second,
        over.served_per_second,
        refused / TIME.as_secs_f64(),
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3,
        (over.cpu - best.cpu) / refused * 1e6,
    );
    over.served_per_second >= 0.9 * best.served_per_second
        && at(50) < Duration::from_millis(1)
        && after < before + 32 * 1024
}

/// A running gateway.
struct Gateway {
    process: Process,
    address: SocketAddr,
}

impl Gateway {
    fn start(log: &str, api: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reset-gateway"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "off",
                "--app-key",
                "bench",
            ])
            .args([
                "--upstream-url",
                &format!("http://{api}"),
                "--max-in-flight",
                &IN_FLIGHT.to_string(),
            ])
            .env_clear()
            .env("RUST_LOG", log)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("gRPC on ")
            .unwrap()
            .parse()
            .unwrap();
        // Read as a container's runtime would.
        let mut stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || while let Ok(1..) = stderr.read(&mut [0; 64 * 1024]) {});
        Self {
            process: Process(child),
            address,
        }
    }

    /// Offers that many times what the gateway can take.
    async fn offered(&self, factor: f64) -> Outcome {
        let pace = factor * IN_FLIGHT as f64 / LATENCY.as_secs_f64();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(connect(self.address).await);
        }
        sleep(LATENCY).await;
        let (cpu, start) = (self.process.cpu(), Instant::now());
        let (mut calls, mut ticks) = (JoinSet::new(), interval(Duration::from_millis(1)));
        let (mut offered, mut ends) = (0, Vec::new());
        while start.elapsed() < TIME {
            ticks.tick().await;
            while (offered as f64) < pace * start.elapsed().as_secs_f64() {
                calls.spawn(call(clients[offered % CONNECTIONS].clone()));
                offered += 1;
            }
            while let Some(end) = calls.try_join_next() {
                ends.push(end.unwrap());
            }
        }
        ends.extend(calls.join_all().await);
        let mut refusals: Vec<_> = ends
            .iter()
            .filter_map(|(refusal, took)| refusal.then_some(*took))
            .collect();
        refusals.sort_unstable();
        let served = (ends.len() - refusals.len()) as f64;
        Outcome {
            served_per_second: served / start.elapsed().as_secs_f64(),
            refusals,
            cpu: self.process.cpu() - cpu,
        }
    }
}

async fn connect(gateway: SocketAddr) -> PasswordResetServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{gateway}")).unwrap();
    PasswordResetServiceClient::new(endpoint.connect().await.unwrap())
}

/// Whether the call was refused, as it should have been, and how long it took.
async fn call(mut client: PasswordResetServiceClient<Channel>) -> (bool, Duration) {
    let start = Instant::now();
    let request = GetSecretQuestionRequest {
        username: "robert.zak".to_owned(),
    };
    let end = client.get_secret_question(request).await;
    let took = start.elapsed();
    if let Err(status) = &end {
        check_refusal(status);
    }
    (end.is_err(), took)
}

fn check_refusal(status: &Status) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(
        (status.code(), info.reason.as_str()),
        (Code::ResourceExhausted, "GATEWAY_OVERLOADED"),
        "{status:?}"
    );
    assert_eq!(info.metadata["outcome"], "not_sent");
    assert!(
        details
            .retry_info()
            .is_some_and(|retry| retry.retry_delay.is_some()),
        "{status:?}"
    );
}

/// An API that takes its time.
async fn serve_api() -> SocketAddr {
    const ANSWER: &[u8] =
        br#"{"Model":"What street did you live on in third grade?","Errors":[],"IsSucceed":true}"#;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let answer = service_fn(|_| async {
                sleep(LATENCY).await;
                let response = Response::builder().header("content-type", "application/json");
                Ok::<_, Infallible>(
                    response
                        .body(Full::new(Bytes::from_static(ANSWER)))
                        .unwrap(),
                )
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}
