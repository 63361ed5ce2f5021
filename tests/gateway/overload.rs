//! Far more calls than the gateway can take: what it can it does, and the rest it refuses. By counts, not by the clock.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use crate::support::{
    api::{Api, Reply, bytes},
    frames::{
        DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, SETTINGS, call_to, frame, frames,
        greet,
    },
    gateway::{Call, Gateway, KEY, Plain, within},
    over_tls::Stream,
    status::summary,
};

/// The gateway's limit, and the multiple of it that is offered at once.
const IN_FLIGHT: usize = 20;
const FACTOR: usize = 10;
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_ten_times_the_capacity_every_permit_is_used_and_the_rest_is_refused_at_once() {
    let json = [("Content-Type", "application/json")];
    let api = Api::start(Reply::Held(bytes(
        200,
        &json,
        Call::Question.success().as_bytes(),
    )))
    .await;
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
        // The API holds what it is asked; so a refusal that waited for a response would never come.
        within(|| {
            while let Some(end) = calls.try_join_next() {
                let refusal = end.unwrap().expect_err("the API gives no response");
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
        // A response may be here before the API has noted that it is gone.
        within(|| api.waiting() == 0).await;
    }
    assert_eq!(
        api.requests().len(),
        ROUNDS * IN_FLIGHT,
        "what is refused was not sent"
    );
    let peak = gateway.peak_memory();
    println!("memory in KiB: {before} before, {peak} at most");
    assert!(
        peak < before + 32 * 1024,
        "{before} KiB before, {peak} KiB at most"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_any_number_of_refusals() {
    /// At a time: h2 does not remember more than some of the streams that it has ended before their message was here. What
    /// comes on the others counts as an error, of which it forgives a connection 1024.
    const AT_A_TIME: u32 = 60;
    const TIMES: u32 = 200;
    /// So many pings, one after the other, take far longer than a refusal, also on a busy machine.
    const PINGS: u32 = 20_000;
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(
        &api.url(),
        &["--app-key", KEY, "--max-in-flight", "1", "--timeout", "1h"],
    );
    let mut client = gateway.client().await;
    let in_flight = tokio::spawn(async move { Call::Question.make(&mut client, Plain).await });
    within(|| api.waiting() == 1).await;

    let mut stream = greet(&gateway, &frame(SETTINGS, 0, 0, &[])).await;
    let head = call_to(
        "/autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion",
        &[],
    );
    let (mut unread, mut refused) = (Vec::new(), 0);
    for time in 0..TIMES {
        let streams = || (time * AT_A_TIME..(time + 1) * AT_A_TIME).map(|call| 2 * call + 1);
        let heads: Vec<_> = streams()
            .map(|id| frame(HEADERS, END_HEADERS, id, &head))
            .collect();
        stream.write_all(&heads.concat()).await.unwrap();
        // The messages come when the gateway has long had the heads.
        refused += ping(&mut stream, &mut unread).await;
        let messages: Vec<_> = streams()
            .map(|id| frame(DATA, END_STREAM, id, &Call::Question.framed()))
            .collect();
        stream.write_all(&messages.concat()).await.unwrap();
        let mut pings = 0;
        while refused < (time + 1) * AT_A_TIME {
            assert!(pings < PINGS, "only {refused} calls are refused");
            refused += ping(&mut stream, &mut unread).await;
            pings += 1;
        }
    }
    assert!(!in_flight.is_finished(), "the call under way goes on");
}

/// Sends a ping and reads until it is answered; how many calls were refused meanwhile.
async fn ping(stream: &mut Stream, unread: &mut Vec<u8>) -> u32 {
    stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.unwrap();
    let (mut refusals, mut is_answered) = (0, false);
    while !is_answered {
        assert!(
            stream.read_buf(unread).await.unwrap() > 0,
            "the gateway has closed the connection"
        );
        let read = frames(unread);
        for (kind, flags, _, _) in &read {
            assert_ne!(*kind, GOAWAY, "the gateway ends the connection");
            refusals += u32::from(*kind == HEADERS && flags & END_STREAM != 0);
            is_answered |= *kind == PING;
        }
        let taken: usize = read.iter().map(|(.., payload)| 9 + payload.len()).sum();
        unread.drain(..taken);
    }
    refusals
}
