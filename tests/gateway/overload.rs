//! Far more calls than the gateway can take: what it can it does, and the rest it refuses at once. By counts, not by the
//! clock; `cargo bench --bench overload` measures the times.

use tokio::task::JoinSet;
use tonic::Status;

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Plain, within},
    status::summary,
};

/// What the gateway can take, and how many times that is offered at once.
const IN_FLIGHT: usize = 20;
const FACTOR: usize = 10;
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 20;
/// How often it is offered before the places of the round before are free: each is a moment after its answer has left.
const OFFERS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_the_capacity_leaves_no_place_empty_and_refusals_do_not_wait() {
    let json = [("Content-Type", "application/json")];
    let api = Api::start(Reply::Held(bytes(200, &json, Call::Question.success().as_bytes()))).await;
    let limit = IN_FLIGHT.to_string();
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-in-flight", &limit]);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(gateway.client().await);
    }
    let before = gateway.memory();

    let (mut calls, mut refused) = (JoinSet::new(), 0);
    for round in 0..ROUNDS {
        for offer in 0.. {
            assert!(offer < OFFERS, "round {round}: only {} of {IN_FLIGHT} places are taken", api.waiting());
            for call in 0..FACTOR * IN_FLIGHT {
                let mut client = clients[call % CONNECTIONS].clone();
                calls.spawn(async move { Call::Question.make(&mut client, Plain).await });
            }
            // The API holds what it was asked; so a refusal that waited for any answer would never come.
            within(|| {
                refused += std::iter::from_fn(|| calls.try_join_next()).map(|end| check(&end.unwrap())).count();
                calls.len() == api.waiting()
            })
            .await;
            if calls.len() >= IN_FLIGHT {
                break;
            }
        }
        assert_eq!(calls.len(), IN_FLIGHT, "calls in flight in round {round}");
        api.release();
        while let Some(end) = calls.join_next().await {
            end.unwrap().unwrap();
        }
    }
    assert!(refused >= ROUNDS * (FACTOR - 1) * IN_FLIGHT, "{refused} refused");
    assert_eq!(api.requests().len(), ROUNDS * IN_FLIGHT, "what is refused was not sent");
    let peak = gateway.peak_memory();
    println!("{refused} refused; memory in KiB: {before} before, {peak} at most");
    assert!(peak < before + 32 * 1024, "{before} KiB before, {peak} KiB at most");
}

/// The call was refused as it should have been.
fn check<T>(end: &Result<T, Status>) {
    let refusal = end.as_ref().err().expect("an answer while the API gives none");
    assert_eq!(summary(refusal), "ResourceExhausted GATEWAY_OVERLOADED gateway not_sent retry=1s");
}
