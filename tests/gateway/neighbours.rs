//! Callers that share the gateway with greedy ones: they must not lose a response.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use reset_gateway::proto::password_reset_service_client::PasswordResetServiceClient;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use tonic::transport::Channel;

use crate::{
    statuses::FullListener,
    support::{
        api::{Api, Reply, bytes},
        attack::raise_file_limit,
        frames::{
            DATA, END_HEADERS, END_STREAM, HEADERS, NO_SETTINGS, PING, PREFACE, call_to, frame,
            frames, greet,
        },
        gateway::{Call, Gateway, KEY, Plain, within},
        over_tls::open,
        raw::{framed, post},
        status::summary,
    },
};

type Client = PasswordResetServiceClient<Channel>;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const PASSWORD: &str = "/autoshares.passwordreset.v1.PasswordResetService/UpdatePassword";

fn late(delay: Duration, body: &str) -> Reply {
    Reply::Late(
        delay,
        bytes(
            200,
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        ),
    )
}

/// A whole call on a stream.
fn call(path: &str, stream: u32, message: &[u8]) -> Vec<u8> {
    [
        frame(HEADERS, END_HEADERS, stream, &call_to(path, &[])),
        frame(DATA, END_STREAM, stream, message),
    ]
    .concat()
}

/// How often each response is given to so many calls at a time.
async fn told(client: &Client, call: Call, calls: usize) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    let calls = (0..calls).map(|_| {
        let mut client = client.clone();
        async move { call.make(&mut client, Plain).await }
    });
    for end in join_all(calls).await {
        let response = end.map_or_else(
            |status| format!("{:?} {}", status.code(), status.message()),
            |()| "OK".to_owned(),
        );
        *told.entry(response).or_default() += 1;
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_writes_succeeds_beside_many_health_watches() {
    raise_file_limit();
    let api = Api::start(late(Duration::from_millis(300), Call::Password.success())).await;
    let options = [
        "--app-key",
        KEY,
        "--max-connections",
        "100",
        "--max-in-flight",
        "100",
    ];
    let gateway = Gateway::with(&api.url(), &options);
    let client = gateway.client().await;
    Call::Password
        .make(&mut client.clone(), Plain)
        .await
        .unwrap();
    let mut hoarders = Vec::new();
    for _ in 0..99 {
        let mut hoarder = greet(&gateway, NO_SETTINGS).await;
        hoarder
            .write_all(&[call(WATCH, 1, &framed(&[])), call(WATCH, 3, &framed(&[]))].concat())
            .await
            .unwrap();
        hoarders.push(hoarder);
    }
    // Then their watches have waited for long, and are nearly as many as may.
    sleep(Duration::from_millis(1200)).await;
    for _ in 0..3 {
        assert_eq!(
            told(&client, Call::Password, 50).await,
            BTreeMap::from([("OK".to_owned(), 50)])
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_crosses_its_connections_goaway_is_answered() {
    let api = Api::start(Reply::json(200, Call::Password.success())).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-connections", "1"]);
    let mut caller = greet(&gateway, NO_SETTINGS).await;
    caller
        .write_all(&call(PASSWORD, 1, &Call::Password.framed()))
        .await
        .unwrap();
    within(|| api.requests().len() == 1).await;
    sleep(Duration::from_millis(100)).await;
    // Longer than who has to leave is given if it does nothing.
    api.reply(late(Duration::from_millis(1500), Call::Password.success()));
    let _newcomer = greet(&gateway, NO_SETTINGS).await;
    caller
        .write_all(&call(PASSWORD, 3, &Call::Password.framed()))
        .await
        .unwrap();

    let mut received = Vec::new();
    let answered = timeout(Duration::from_secs(5), async {
        loop {
            let seen = frames(&received).len();
            if caller.read_buf(&mut received).await.unwrap() == 0 {
                return false;
            }
            for (kind, flags, stream, payload) in &frames(&received)[seen..] {
                match (*kind, *flags, *stream) {
                    // By its response the gateway knows that the caller has been told.
                    (PING, 0, 0) => caller.write_all(&frame(PING, 1, 0, payload)).await.unwrap(),
                    (HEADERS, _, 3) => return true,
                    _ => {}
                }
            }
        }
    });
    assert!(
        answered.await.unwrap(),
        "the API saw {}",
        api.requests().len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_messages_to_health_hold_little_memory() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    sleep(Duration::from_millis(200)).await;
    let before = gateway.memory();
    let stream = open(&gateway).await;
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    // Nearly all of a message of four mebibytes, on each of many streams.
    let length: u32 = 4 * 1024 * 1024;
    let message = [
        &[0][..],
        &length.to_be_bytes(),
        &vec![0; length as usize - 100],
    ]
    .concat();
    let message = bytes::Bytes::from(message);
    let mut kept = Vec::new();
    for _ in 0..100 {
        client = client.ready().await.unwrap();
        let request = post(CHECK, "application/grpc").body(()).unwrap();
        let (response, mut stream) = client.send_request(request, false).unwrap();
        // It may be refused before all of it is sent.
        let _ = stream.send_data(message.clone(), false);
        kept.push((response, stream));
    }
    sleep(Duration::from_secs(2)).await;
    assert!(
        gateway.memory() < before + 64 * 1024,
        "{before} KiB before, {} KiB after",
        gateway.memory()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_get_in_past_idle_ones_that_made_a_call() {
    raise_file_limit();
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-connections", "100"]);
    for (path, message) in [(CHECK, framed(&[])), (PASSWORD, Call::Password.framed())] {
        let greeting = [PREFACE, NO_SETTINGS, &call(path, 1, &message)].concat();
        let mut stayers = Vec::new();
        for _ in 0..600 {
            let mut stream = open(&gateway).await;
            stream.write_all(&greeting).await.unwrap();
            stayers.push(stream);
        }
        let newcomer = async {
            Call::Question
                .make(&mut gateway.client().await, Plain)
                .await
        };
        timeout(Duration::from_secs(8), newcomer)
            .await
            .expect("within the time of some leavers")
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_waiting_for_the_limiter_holds_no_in_flight_permit() {
    fn slow_to_say_no(request: &str) -> Reply {
        if request.contains("Code") {
            late(
                Duration::from_secs(3),
                r#"{"Errors":["no"],"ErrorsCode":["ErrorIncorrectCode"],"IsSucceed":false}"#,
            )
        } else {
            Reply::json(200, Call::Question.success())
        }
    }
    let api = Api::start(Reply::By(slow_to_say_no)).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-in-flight", "50"]);
    let mut honest = gateway.client().await;
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let mut guesser = gateway.client().await;
        guesses.spawn(async move { Call::Token.make(&mut guesser, Plain).await });
    }
    within(|| !api.requests().is_empty()).await;
    sleep(Duration::from_millis(500)).await;
    for _ in 0..20 {
        Call::Question.make(&mut honest, Plain).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_shorter_than_the_connect_timeout_open_the_circuit() {
    let full = FullListener::start().await;
    let gateway = Gateway::with(
        &full.url(),
        &[
            "--app-key",
            KEY,
            "--timeout",
            "800ms",
            "--connect-timeout",
            "10s",
        ],
    );
    let client = gateway.client().await;
    let first = told(&client, Call::Password, 5).await;
    assert!(
        first
            .keys()
            .all(|response| response.starts_with("DeadlineExceeded")),
        "{first:?}"
    );
    gateway.logged("the API cannot be reached").await;
    let status = Call::Password
        .make(&mut client.clone(), Plain)
        .await
        .unwrap_err();
    assert!(
        summary(&status).starts_with("Unavailable UPSTREAM_UNREACHABLE upstream not_sent retry="),
        "{status:?}"
    );
}
