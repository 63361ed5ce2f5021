//! Mixed load with random faults, for as long as asked: `cargo bench --bench soak -- --seconds 600` (60 without).
//!
//! Every call carries a number of its own, so that both sides can be compared at the end. It fails unless
//!
//! - every call is answered exactly once,
//! - the API saw every write at most once, every read at most three times, and no call that was told `not_sent`,
//! - what the callers were told, the gateway's metrics and what the API saw agree,
//! - memory and open files are flat.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

#[path = "support/process.rs"]
mod process;

use std::{
    collections::{BTreeMap, HashMap},
    env,
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::Rng;
use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use process::Process;

const CONNECTIONS: usize = 4;
const STREAMS: usize = 16;
const SECONDS: u64 = 60;

/// What became of a call, as its caller sees it.
#[derive(Clone, Debug)]
enum Told {
    Ok,
    /// A status of the gateway's: code, reason and outcome.
    Failed {
        code: String,
        outcome: String,
    },
    /// The caller went away, or its own client gave up.
    GoneAway,
}

/// A call that was made.
#[derive(Debug)]
struct Made {
    only_reads: bool,
    told: Told,
}

/// What the API has seen: how often each call.
type Seen = Arc<Mutex<HashMap<u64, u32>>>;

fn main() {
    let seconds = seconds();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let seen = Seen::default();
        let api = serve_api(Arc::clone(&seen)).await;
        let gateway = Gateway::start(api);
        let calls = run(&gateway, Duration::from_secs(seconds)).await;
        let metrics = gateway.metrics().await;
        check(&calls.made, &seen.lock().unwrap(), &metrics);
        check_flat("memory, KiB", &calls.memory, 1.15);
        check_flat("open files", &calls.files, 1.25);
        gateway.process.stop();
    });
    println!("all agree");
}

/// How long to go on.
fn seconds() -> u64 {
    let args: Vec<_> = env::args().collect();
    let given = args
        .iter()
        .position(|arg| arg == "--seconds")
        .and_then(|at| args.get(at + 1));
    given.map_or(SECONDS, |seconds| {
        seconds.parse().expect("--seconds takes a whole number")
    })
}

/// All that was measured while the load ran.
struct Run {
    made: HashMap<u64, Made>,
    memory: Vec<u64>,
    files: Vec<u64>,
}

async fn run(gateway: &Gateway, how_long: Duration) -> Run {
    let (end, next) = (Instant::now() + how_long, Arc::new(AtomicU64::new(0)));
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = gateway.client().await;
        for _ in 0..STREAMS {
            callers.push(tokio::spawn(call_until(
                end,
                client.clone(),
                Arc::clone(&next),
            )));
        }
    }
    let (mut memory, mut files) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        sleep(Duration::from_millis(500)).await;
        memory.push(gateway.process.resident());
        files.push(gateway.process.open_files());
    }
    let mut made = HashMap::new();
    for caller in callers {
        for (id, call) in caller.await.unwrap() {
            assert!(made.insert(id, call).is_none(), "one answer a call");
        }
    }
    assert_eq!(
        made.len() as u64,
        next.load(Ordering::SeqCst),
        "an answer for every call"
    );
    Run {
        made,
        memory,
        files,
    }
}

async fn call_until(end: Instant, mut client: Client, next: Arc<AtomicU64>) -> Vec<(u64, Made)> {
    let mut made = Vec::new();
    while Instant::now() < end {
        let id = next.fetch_add(1, Ordering::SeqCst);
        made.push((id, call(&mut client, id).await));
    }
    made
}

type Client = PasswordResetServiceClient<Channel>;

/// One call of a random rpc, with a random deadline, that its caller may give up.
async fn call(client: &mut Client, id: u64) -> Made {
    let (which, deadline, patience) = {
        let mut random = rand::rng();
        let deadline = if random.random_ratio(1, 20) {
            random.random_range(5..50)
        } else {
            2000
        };
        let patience = if random.random_ratio(1, 30) {
            random.random_range(0..20)
        } else {
            10_000
        };
        (
            random.random_range(0..4),
            deadline,
            Duration::from_millis(patience),
        )
    };
    let text = format!("id-{id}-");
    let answer = async {
        match which {
            0 => {
                let request = ResetPasswordRequest {
                    user: text,
                    secret_question_answer: None,
                };
                client
                    .reset_password(within(request, deadline))
                    .await
                    .map(drop)
            }
            1 => {
                let request = GetSecretQuestionRequest { username: text };
                client
                    .get_secret_question(within(request, deadline))
                    .await
                    .map(drop)
            }
            2 => client
                .generate_token(within(GenerateTokenRequest { code: text }, deadline))
                .await
                .map(drop),
            _ => {
                let request = UpdatePasswordRequest {
                    token: text,
                    password: "a new password".to_owned(),
                    password_confirmation: None,
                };
                client
                    .update_password(within(request, deadline))
                    .await
                    .map(drop)
            }
        }
    };
    let told = timeout(patience, answer)
        .await
        .map_or(Told::GoneAway, |answer| told(answer.err()));
    Made {
        only_reads: which == 1,
        told,
    }
}

fn within<T>(message: T, milliseconds: u64) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("grpc-timeout", format!("{milliseconds}m").parse().unwrap());
    request
}

fn told(status: Option<Status>) -> Told {
    let Some(status) = status else {
        return Told::Ok;
    };
    match status.get_details_error_info() {
        Some(info) => Told::Failed {
            code: format!("{:?}", status.code()),
            outcome: info.metadata["outcome"].clone(),
        },
        // The client's own timer, which ends no earlier than the gateway's but may be read first.
        None if status.code() == tonic::Code::Cancelled => Told::GoneAway,
        None => panic!("{status:?}"),
    }
}

/// Compares what the callers were told, what the API saw and what the gateway counted.
fn check(made: &HashMap<u64, Made>, seen: &HashMap<u64, u32>, metrics: &str) {
    let mut counts = BTreeMap::<String, u64>::new();
    for (id, call) in made {
        let times = seen.get(id).copied().unwrap_or(0);
        let most = if call.only_reads { 3 } else { 1 };
        assert!(times <= most, "call {id} was seen {times} times: {call:?}");
        let key = match &call.told {
            Told::Ok => {
                assert!(times > 0, "call {id} succeeded unseen");
                "Ok".to_owned()
            }
            Told::Failed { code, outcome } => {
                assert!(
                    outcome != "not_sent" || times == 0,
                    "call {id} was seen and told not_sent: {call:?}"
                );
                assert!(
                    !(code == "Unavailable" && outcome == "unknown"),
                    "call {id}: {call:?}"
                );
                format!("{code} {outcome}")
            }
            Told::GoneAway => "gone away".to_owned(),
        };
        *counts.entry(key).or_default() += 1;
    }
    for (what, count) in &counts {
        println!("{count:>9}  {what}");
    }
    let gone = counts.get("gone away").copied().unwrap_or(0);
    let (made, answered) = (made.len() as u64, made.len() as u64 - gone);
    let counted = sum(metrics, "reset_gateway_answers_total");
    println!("{made:>9}  made, {counted} counted by the gateway");
    assert!(
        (answered..=made).contains(&counted),
        "{answered} answered, {gone} gone away, {counted} counted"
    );
    let requests: u64 = seen.values().map(|times| u64::from(*times)).sum();
    let measured = sum(metrics, "http_client_request_duration_seconds_count");
    println!("{requests:>9}  requests at the API, {measured} measured by the gateway");
    assert!(
        measured >= requests,
        "the API saw what the gateway did not measure"
    );
    assert_eq!(sum(metrics, "reset_gateway_calls_in_flight"), 0);
}

/// The sum of all samples of that name.
fn sum(metrics: &str, name: &str) -> u64 {
    let samples = metrics
        .lines()
        .filter(|line| line.starts_with(&format!("{name}{{")));
    samples
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
        .sum()
}

/// Compares the second half of the values with the first, its very beginning left out.
fn check_flat(what: &str, values: &[u64], most: f64) {
    let median = |values: &[u64]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let begin = values.len() / 10;
    let (first, second) = values[begin..].split_at((values.len() - begin) / 2);
    let (first, second) = (median(first), median(second));
    println!("{what}: {first} in the first half, {second} in the second");
    assert!(second as f64 <= first as f64 * most, "{what} grew");
}

/// A running gateway.
struct Gateway {
    process: Process,
    address: SocketAddr,
    admin: String,
}

impl Gateway {
    fn start(api: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reset-gateway"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--app-key",
                "soak",
            ])
            .args([
                "--upstream-url",
                &format!("http://{api}"),
                "--timeout",
                "1s",
            ])
            // An API that fails at random refuses codes at random, too.
            .args(["--code-attempts", "off", "--code-attempts-total", "off"])
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(File::create("/dev/null").unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let mut announced = |beginning: &str| {
            lines
                .find_map(|line| line.strip_prefix(beginning).map(str::to_owned))
                .unwrap()
        };
        let (address, admin) = (
            announced("gRPC on ").parse().unwrap(),
            announced("admin on "),
        );
        Self {
            process: Process(child),
            address,
            admin,
        }
    }

    async fn client(&self) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        PasswordResetServiceClient::new(endpoint.connect().await.unwrap())
    }

    async fn metrics(&self) -> String {
        // The last calls that were given up may still be on their way out.
        sleep(Duration::from_secs(1)).await;
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client
            .get(format!("{}/metrics", self.admin))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }
}

/// An API in a bad state.
async fn serve_api(seen: Seen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = stream.set_nodelay(true);
            tokio::spawn(converse(stream, Arc::clone(&seen)));
        }
    });
    address
}

async fn converse(mut stream: TcpStream, seen: Seen) {
    while let Some(id) = read_request(&mut stream).await {
        *seen.lock().unwrap().entry(id).or_default() += 1;
        if answer(&mut stream).await.is_none() {
            return;
        }
    }
}

/// Answers at random: well, mostly. `None`: the connection is over.
async fn answer(stream: &mut TcpStream) -> Option<()> {
    const JSON: &str = "application/json";
    let (fate, delay) = (
        rand::rng().random_range(0..100),
        rand::rng().random_range(0..10),
    );
    sleep(Duration::from_millis(delay)).await;
    let success = r#"{"Model":"ba6b8cac-6738","Errors":[],"IsSucceed":true}"#;
    let answer = match fate {
        0..75 => response(200, JSON, success),
        75..79 => response(503, JSON, ""),
        79..82 => response(500, JSON, r#"{"message":"An error has occurred."}"#),
        82..84 => response(502, "text/html", "<html>Bad Gateway</html>"),
        84..86 => response(429, JSON, ""),
        86..88 => response(200, "text/html", "<html>Maintenance</html>"),
        88..90 => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_owned(),
        90..92 => "not HTTP at all\r\n\r\n".to_owned(),
        92..94 => {
            // An answer that comes too late for some.
            sleep(Duration::from_millis(delay * 120)).await;
            response(200, JSON, success)
        }
        94..96 => {
            stream.set_zero_linger().ok()?;
            return None;
        }
        96..98 => return None,
        // Answers, and closes the connection that the gateway would keep.
        _ => {
            stream
                .write_all(response(200, JSON, success).as_bytes())
                .await
                .ok()?;
            return None;
        }
    };
    stream.write_all(answer.as_bytes()).await.ok()?;
    (!(88..92).contains(&fate)).then_some(())
}

fn response(status: u16, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} S\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The number of the call whose request comes; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<u64> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text.split("id-").nth(1)?.split('-').next()?.parse().ok();
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
