//! What telemetry costs: CPU, throughput and latency of the gateway with it off, with metrics alone, with every span
//! exported, and with a collector that is dead; and its memory over many calls with a dead collector.
//!
//! `cargo bench --bench telemetry` prints a table, and fails where a promise is not kept. The rounds take turns, A B C A B
//! C, so that the ratios hold when the machine's speed drifts; "nothing exported" is there twice, and what lies between
//! the two is noise. CPU is the gateway process's own user and system time. The latencies are those at a fixed rate that
//! the gateway can take easily: at its limit they would only tell again what the CPU tells.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

#[path = "support/collector.rs"]
mod collector;
#[path = "support/process.rs"]
mod process;

use std::{
    convert::Infallible,
    fs,
    io::{BufRead, BufReader},
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
use tokio::net::TcpListener;
use tonic::transport::Endpoint;

use collector::Collector;
use process::Process;

const ROUNDS: usize = 5;
/// Both a multiple of all streams.
const CALLS: usize = 20_000;
const WARM_UP: usize = 3_200;
const CONNECTIONS: usize = 4;
const STREAMS: usize = 8;
/// The pace at which latencies are measured, in calls per second, and how many of them.
const PACE: usize = 2_000;
const PACED_CALLS: usize = 6_000;
/// For the memory with a dead collector.
const MANY_CALLS: usize = 200_000;

/// A way to run the gateway.
struct Mode {
    name: &'static str,
    variables: Vec<(&'static str, String)>,
    /// Whether spans arrive.
    exports: bool,
}

/// What one round cost.
#[derive(Clone, Copy)]
struct Cost {
    cpu_per_call: f64,
    calls_per_second: f64,
    p99: f64,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (api, collector) = (serve_api().await, Collector::serve().await);
        let modes = modes(collector.address);
        let mut costs: Vec<Vec<Cost>> = modes.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (mode, costs) in modes.iter().zip(&mut costs) {
                let gateway = Gateway::start(mode, api);
                let before = collector.spans();
                load(gateway.address, WARM_UP).await;
                let spans = if mode.exports {
                    2 * (WARM_UP + CALLS)
                } else {
                    0
                };
                let all_sent = || collector.spans() - before >= spans;
                costs.push(gateway.measure(CALLS, all_sent).await);
                gateway.process.stop();
                // Two of each call, or it was cheap for the wrong reason.
                let all = if mode.exports {
                    2 * (WARM_UP + CALLS + PACED_CALLS)
                } else {
                    0
                };
                assert_eq!(
                    collector.spans() - before,
                    all,
                    "spans of \"{}\"",
                    mode.name
                );
            }
        }
        print_table(&modes, &costs);
        let grown = print_memory(modes.last().unwrap(), api).await;
        check_promises(&costs, grown);
    });
}

/// What the README says of the cost of telemetry.
fn check_promises(costs: &[Vec<Cost>], grown: f64) {
    let [off, metrics, again, spans, _, dead] = costs else {
        panic!("six modes")
    };
    let both = [metrics.as_slice(), again].concat();
    let most = |what: &str, ratio: f64, most: f64| {
        println!("{what}: {ratio:.2}, at most {most:.2}");
        ratio <= most
    };
    let cpu = |cost: &Cost| cost.cpu_per_call;
    let time = |cost: &Cost| 1.0 / cost.calls_per_second;
    let p99 = |cost: &Cost| cost.p99;
    println!();
    let kept = [
        most(
            "CPU with metrics alone, of that with telemetry off",
            ratio(&both, &off.repeat(2), cpu),
            1.15,
        ),
        most(
            "CPU with every span exported, of that with telemetry off",
            ratio(spans, off, cpu),
            1.6,
        ),
        most(
            "time for all calls with the collector dead, of that with nothing exported",
            ratio(dead, metrics, time),
            1.0 + noise(metrics, again, time),
        ),
        most(
            "p99 with the collector dead, of that with nothing exported",
            // A slow moment of one is no slow moment of the other: rounds cannot be compared one by one.
            median(dead.iter().map(p99).collect()) / median(both.iter().map(p99).collect()),
            1.0 + noise(metrics, again, p99),
        ),
        most(
            "memory with the collector dead after ten times the calls",
            grown,
            1.1,
        ),
    ];
    assert!(!kept.contains(&false), "a promise is not kept");
}

/// The median of the ratios, round by round, so that a slow moment weighs on both sides.
fn ratio(costs: &[Cost], base: &[Cost], value: impl Fn(&Cost) -> f64) -> f64 {
    median(
        costs
            .iter()
            .zip(base)
            .map(|(cost, base)| value(cost) / value(base))
            .collect(),
    )
}

/// How far two runs of the same are apart in a round, typically.
fn noise(one: &[Cost], other: &[Cost], value: impl Fn(&Cost) -> f64) -> f64 {
    let apart = median(
        one.iter()
            .zip(other)
            .map(|(one, other)| (value(one) / value(other)).ln().abs())
            .collect(),
    );
    // A machine on which the same differs by more is not fit to measure on.
    (apart.exp() - 1.0).clamp(0.03, 0.1)
}

fn modes(collector: SocketAddr) -> Vec<Mode> {
    let quiet = || ("RUST_LOG", "off".to_owned());
    let grpc = || ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned());
    // At the gateway's limit more wait than usual, and none may be dropped.
    let queue = || ("OTEL_BSP_MAX_QUEUE_SIZE", "100000".to_owned());
    let to = |address: String| ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
    vec![
        Mode {
            name: "off",
            variables: vec![quiet(), ("OTEL_SDK_DISABLED", "true".to_owned())],
            exports: false,
        },
        Mode {
            name: "nothing exported",
            variables: vec![quiet()],
            exports: false,
        },
        Mode {
            name: "the same again",
            variables: vec![quiet()],
            exports: false,
        },
        Mode {
            name: "every span exported",
            variables: vec![quiet(), grpc(), queue(), to(collector.to_string())],
            exports: true,
        },
        Mode {
            name: "the same and the call log",
            variables: vec![grpc(), queue(), to(collector.to_string())],
            exports: true,
        },
        Mode {
            name: "collector dead",
            variables: vec![quiet(), grpc(), to("127.0.0.1:1".to_owned())],
            exports: false,
        },
    ]
}

fn print_table(modes: &[Mode], costs: &[Vec<Cost>]) {
    println!("| telemetry | CPU per call | ratio | calls/s | ratio | p99 at 2000/s | ratio |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let of = |costs: &[Cost], value: fn(&Cost) -> f64| median(costs.iter().map(value).collect());
    for (mode, cost) in modes.iter().zip(costs) {
        println!(
            "| {} | {:.1} µs | {:.2} | {:.0} | {:.2} | {:.2} ms | {:.2} |",
            mode.name,
            of(cost, |cost| cost.cpu_per_call) * 1e6,
            ratio(cost, &costs[0], |cost| cost.cpu_per_call),
            of(cost, |cost| cost.calls_per_second),
            ratio(cost, &costs[0], |cost| cost.calls_per_second),
            of(cost, |cost| cost.p99) * 1e3,
            ratio(cost, &costs[0], |cost| cost.p99),
        );
    }
}

/// By how much the memory has grown, as a ratio.
async fn print_memory(mode: &Mode, api: SocketAddr) -> f64 {
    let gateway = Gateway::start(mode, api);
    load(gateway.address, MANY_CALLS / 10).await;
    let before = gateway.process.resident();
    load(gateway.address, MANY_CALLS).await;
    let (first, after) = (MANY_CALLS / 10, gateway.process.resident());
    println!(
        "\nMemory with the collector dead: {before} KiB after {first} calls, {after} KiB after {MANY_CALLS} more."
    );
    after as f64 / before as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A running gateway.
struct Gateway {
    process: Process,
    address: SocketAddr,
}

impl Gateway {
    fn start(mode: &Mode, api: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reset-gateway"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "off",
                "--app-key",
                "bench",
            ])
            .args(["--upstream-url", &format!("http://{api}")])
            .env_clear()
            .envs(mode.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(fs::File::create("/dev/null").unwrap())
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
        Self {
            process: Process(child),
            address,
        }
    }

    /// The CPU includes what it takes until `all_sent`.
    async fn measure(&self, calls: usize, all_sent: impl Fn() -> bool) -> Cost {
        let (cpu, start) = (self.process.cpu(), Instant::now());
        load(self.address, calls).await;
        let took = start.elapsed().as_secs_f64();
        for _ in 0..1000 {
            if all_sent() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let cpu = self.process.cpu() - cpu;
        let mut latencies = paced(self.address).await;
        latencies.sort_unstable();
        let p99 = latencies[latencies.len() * 99 / 100].as_secs_f64();
        Cost {
            cpu_per_call: cpu / calls as f64,
            calls_per_second: calls as f64 / took,
            p99,
        }
    }
}

/// Makes that many calls, each stream one after another, as fast as they are answered.
async fn load(gateway: SocketAddr, calls: usize) {
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = connect(gateway).await;
        for _ in 0..STREAMS {
            let mut client = client.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..calls / (CONNECTIONS * STREAMS) {
                    call(&mut client).await;
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Makes calls at a fixed pace, whether the ones before are answered or not, and gives their latencies.
async fn paced(gateway: SocketAddr) -> Vec<Duration> {
    let client = connect(gateway).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut tasks = Vec::new();
    while tasks.len() < PACED_CALLS {
        ticks.tick().await;
        for _ in 0..PACE / 1000 {
            let mut client = client.clone();
            tasks.push(tokio::spawn(async move {
                let start = Instant::now();
                call(&mut client).await;
                start.elapsed()
            }));
        }
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.push(task.await.unwrap());
    }
    latencies
}

type Client = PasswordResetServiceClient<tonic::transport::Channel>;

async fn connect(gateway: SocketAddr) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{gateway}")).unwrap();
    PasswordResetServiceClient::new(endpoint.connect().await.unwrap())
}

async fn call(client: &mut Client) {
    let request = GetSecretQuestionRequest {
        username: "robert.zak".to_owned(),
    };
    client.get_secret_question(request).await.unwrap();
}

/// An API that answers from memory.
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
