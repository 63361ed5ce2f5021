//! Calls of every kind, for a program that counts what its code does: `deploy/build` has it make them, and builds the
//! program that ships by the counts.
//!
//! `cargo bench --bench training -- PROGRAM` runs that program as it ships, with everything on, and fails if a call ends
//! otherwise than it should. The API is reached over TLS half of the time, and answers from memory.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

#[expect(dead_code, reason = "the rarer ones are nobody's here")]
#[path = "support/answers.rs"]
mod answers;
#[path = "support/api.rs"]
mod api;
#[expect(dead_code, reason = "nobody counts the spans here")]
#[path = "support/collector.rs"]
mod collector;
#[expect(dead_code, reason = "nothing is measured here")]
#[path = "support/process.rs"]
mod process;

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
};

use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::NamedTempFile;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use collector::Collector;
use process::Process;

/// How many calls are made at a time on each of some connections, and how often the whole round of them.
const LOADS: [(usize, usize, usize); 3] = [(1, 1, 400), (8, 8, 40), (8, 64, 4)];

fn main() {
    let program = env::args()
        .nth(1)
        .expect("it takes the path of the program");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let collector = Collector::serve().await;
        let (tls, certificate) = start_api_over_tls();
        let apis = [
            vec![format!("http://{}", api::start())],
            vec![
                format!("https://{tls}"),
                "--upstream-ca".to_owned(),
                certificate.path().display().to_string(),
            ],
        ];
        for api in apis {
            let (process, address) = start(&program, &api, collector.address);
            for (connections, streams, rounds) in LOADS {
                load(address, connections, streams, rounds).await;
            }
            // Only a program that ends by itself leaves its counts.
            process.stop();
        }
    });
}

/// Starts the API with a certificate of its own, which is given too.
fn start_api_over_tls() -> (SocketAddr, NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let secured = move |connection| {
        StreamOwned::new(
            ServerConnection::new(Arc::clone(&config)).unwrap(),
            connection,
        )
    };
    (api::start_over(secured), file)
}

/// Starts the program before that API.
fn start(program: &str, api: &[String], collector: SocketAddr) -> (Process, SocketAddr) {
    let mut child = Command::new(program)
        .args([
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--app-key",
            "training",
            "--upstream-url",
        ])
        .args(api)
        // A program that counts is slow, and so may be the machine.
        .args(["--timeout", "1m", "--connect-timeout", "1m"])
        // All are the same caller's, and some answers are wrong.
        .args([
            "--code-attempts",
            "off",
            "--code-attempts-total",
            "off",
            "--answer-attempts",
            "off",
        ])
        .env_clear()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", "0.01")
        .stdout(Stdio::piped())
        .stderr(File::create("/dev/null").unwrap())
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
    (Process(child), address)
}

/// Makes so many rounds of calls on each stream of each connection.
async fn load(gateway: SocketAddr, connections: usize, streams: usize, rounds: usize) {
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let endpoint = Endpoint::from_shared(format!("http://{gateway}")).unwrap();
        let client = PasswordResetServiceClient::new(endpoint.connect().await.unwrap());
        for _ in 0..streams {
            let mut client = client.clone();
            tasks.push(tokio::spawn(async move {
                for round in 0..rounds {
                    make_calls(&mut client, round).await;
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// One call of each step; and in one round of ten the refusals that nothing but a caller's mistake takes.
async fn make_calls(client: &mut PasswordResetServiceClient<Channel>, round: usize) {
    let reset = |answer: Option<&str>| ResetPasswordRequest {
        user: "robert.zak".to_owned(),
        secret_question_answer: answer.map(str::to_owned),
    };
    let question = |name: &str| GetSecretQuestionRequest {
        username: name.to_owned(),
    };
    let code = GenerateTokenRequest {
        code: "741175".to_owned(),
    };
    let password = UpdatePasswordRequest {
        token: "ba6b8cac-6738-4434-bd26-825db020a05c".to_owned(),
        password: "correct horse".to_owned(),
        password_confirmation: None,
    };
    client
        .get_secret_question(question("robert.zak"))
        .await
        .unwrap();
    client
        .reset_password(reset(Some("Peterson")))
        .await
        .unwrap();
    client.generate_token(code).await.unwrap();
    client.update_password(password).await.unwrap();
    if round.is_multiple_of(10) {
        check(
            client.reset_password(reset(None)).await,
            Code::FailedPrecondition,
        );
        check(
            client.get_secret_question(question("")).await,
            Code::InvalidArgument,
        );
    }
}

fn check<T>(answer: Result<T, Status>, expected: Code) {
    assert_eq!(answer.err().map(|status| status.code()), Some(expected));
}
