//! Far more calls than the gateway can take: what it can it does, and the rest it refuses. By counts, not by the clock:
//! `cargo bench --bench overload` measures the times.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{
    api::{Api, Reply, bytes},
    frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, SETTINGS, call_to, frame, frames, greet},
    gateway::{Call, Gateway, KEY, Plain, within},
    status::summary,
};

/// What the gateway can take, and how many times that is offered at once.
const IN_FLIGHT: usize = 20;
const FACTOR: usize = 10;
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_the_capacity_leaves_no_place_empty_and_refusals_wait_for_no_answer() {
    let json = [("Content-Type", "application/json")];
    let api = Api::start(Reply::Held(bytes(200, &json, Call::Question.success().as_bytes()))).await;
    let limit = IN_FLIGHT.to_string();
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-in-flight", &limit]);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(gateway.client().await);
    }
    let before = gateway.memory();

    let mut calls = JoinSet::new();
    for round in 0..ROUNDS {
        for call in 0..FACTOR * IN_FLIGHT {
            let mut client = clients[call % CONNECTIONS].clone();
            calls.spawn(async move { Call::Question.make(&mut client, Plain).await });
        }
        // The API holds what it is asked; so a refusal that waited for an answer would never come.
        within(|| {
            while let Some(end) = calls.try_join_next() {
                let refusal = end.unwrap().expect_err("the API gives no answer");
                let expected = "ResourceExhausted GATEWAY_OVERLOADED gateway not_sent retry=1s";
                assert_eq!(summary(&refusal), expected, "round {round}");
            }
            calls.len() == api.waiting()
        })
        .await;
        assert_eq!(calls.len(), IN_FLIGHT, "calls in flight in round {round}");
        api.release();
        while let Some(end) = calls.join_next().await {
            end.unwrap().unwrap();
        }
        // An answer may be here before the API has noted that it is gone.
        within(|| api.waiting() == 0).await;
    }
    assert_eq!(api.requests().len(), ROUNDS * IN_FLIGHT, "what is refused was not sent");
    let peak = gateway.peak_memory();
    println!("memory in KiB: {before} before, {peak} at most");
    assert!(peak < before + 32 * 1024, "{before} KiB before, {peak} KiB at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_any_number_of_refusals() {
    /// At a time: h2 does not remember more than some of the streams that it has ended before their message was here. What
    /// comes on the others counts as an error, of which it forgives a connection 1024.
    const AT_A_TIME: u32 = 60;
    const TIMES: u32 = 200;
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-in-flight", "1"]);
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { Call::Question.make(&mut client, Plain).await });
    within(|| api.waiting() == 1).await;

    let mut stream = greet(&gateway, &frame(SETTINGS, 0, 0, &[])).await;
    let head = call_to("/autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion", &[]);
    let (mut unread, mut refused) = (Vec::new(), 0);
    for time in 0..TIMES {
        let streams = || (time * AT_A_TIME..(time + 1) * AT_A_TIME).map(|call| 2 * call + 1);
        let heads = streams().map(|id| frame(HEADERS, END_HEADERS, id, &head));
        // The messages come when the gateway has long had the heads.
        let begin = heads.chain([frame(PING, 0, 0, &[0; 8])]).collect::<Vec<_>>().concat();
        stream.write_all(&begin).await.unwrap();
        refused += refusals_until(PING, &mut stream, &mut unread).await;
        let messages: Vec<_> = streams().map(|id| frame(DATA, END_STREAM, id, &Call::Question.framed())).collect();
        stream.write_all(&messages.concat()).await.unwrap();
        while refused < (time + 1) * AT_A_TIME {
            refused += refusals_until(HEADERS, &mut stream, &mut unread).await;
        }
    }
    assert!(!in_flight.is_finished(), "the call under way goes on");
}

/// Reads until a frame of that kind has come; how many calls were refused meanwhile.
async fn refusals_until(awaited: u8, stream: &mut TcpStream, unread: &mut Vec<u8>) -> u32 {
    let (mut refusals, mut has_come) = (0, false);
    while !has_come {
        assert!(stream.read_buf(unread).await.unwrap() > 0, "the gateway has closed the connection");
        let read = frames(unread);
        for (kind, flags, _, _) in &read {
            assert_ne!(*kind, GOAWAY, "the gateway ends the connection");
            refusals += u32::from(*kind == HEADERS && flags & END_STREAM != 0);
            has_come |= *kind == awaited;
        }
        let taken: usize = read.iter().map(|(.., payload)| 9 + payload.len()).sum();
        unread.drain(..taken);
    }
    refusals
}
