//! Far more calls than the gateway can take: what it can it does, and the rest it refuses at once.

use std::time::{Duration, Instant};

use reset_gateway::proto::password_reset_service_client::PasswordResetServiceClient;
use tokio::{task::JoinSet, time::interval};
use tonic::transport::Channel;

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Plain},
    status::summary,
};

/// Twenty calls at a time that take a quarter of a second each: eighty a second at the best.
const IN_FLIGHT: usize = 20;
const LATENCY: Duration = Duration::from_millis(250);
const CONNECTIONS: usize = 4;
const TIME: Duration = Duration::from_secs(3);

/// The most calls a second that are served: by callers who are as many as may be, and wait for their answers.
async fn best(clients: &[PasswordResetServiceClient<Channel>]) -> f64 {
    let (start, mut callers) = (Instant::now(), JoinSet::new());
    for caller in 0..IN_FLIGHT {
        let mut client = clients[caller % clients.len()].clone();
        callers.spawn(async move {
            let mut served = 0;
            while start.elapsed() < TIME {
                // A place is free again a moment after its answer is on its way.
                served += u32::from(Call::Question.make(&mut client, Plain).await.is_ok());
            }
            served
        });
    }
    let served: u32 = callers.join_all().await.into_iter().sum();
    f64::from(served) / start.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_the_capacity_costs_no_throughput_and_refusals_do_not_wait() {
    let json = [("Content-Type", "application/json")];
    let answer = bytes(200, &json, Call::Question.success().as_bytes());
    let api = Api::start(Reply::Late(LATENCY, answer)).await;
    let limit = IN_FLIGHT.to_string();
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-in-flight", &limit]);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(gateway.client().await);
    }
    let best = best(&clients).await;
    let _ = api.requests();
    let before = gateway.memory();

    let capacity = IN_FLIGHT as f64 / LATENCY.as_secs_f64();
    let (start, mut calls, mut ticks) = (Instant::now(), JoinSet::new(), interval(Duration::from_millis(10)));
    let mut offered = 0;
    while start.elapsed() < TIME {
        ticks.tick().await;
        // What is due by now, whether what was offered before is answered or not.
        while (offered as f64) < 10.0 * capacity * start.elapsed().as_secs_f64() {
            let mut client = clients[offered % CONNECTIONS].clone();
            offered += 1;
            calls.spawn(async move {
                let start = Instant::now();
                (Call::Question.make(&mut client, Plain).await, start.elapsed())
            });
        }
    }
    let (served, refused): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(|(end, _)| end.is_ok());
    for (refusal, _) in &refused {
        let expected = "ResourceExhausted GATEWAY_OVERLOADED gateway not_sent retry=1s";
        assert_eq!(summary(refusal.as_ref().unwrap_err()), expected);
    }
    let mut times: Vec<_> = refused.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    let (median, rate) = (times[times.len() / 2], served.len() as f64 / start.elapsed().as_secs_f64());
    println!("{offered} offered, {rate:.1} a second served of {best:.1}, {} refused in {median:?}", refused.len());
    assert!(rate >= 0.9 * best, "{rate:.1} a second, {best:.1} at the best");
    assert!(median < LATENCY / 4, "refused in {median:?}");
    assert_eq!(api.requests().len(), served.len(), "what is refused was not sent");
    let peak = gateway.peak_memory();
    assert!(peak < before + 32 * 1024, "{before} KiB before, {peak} KiB at most");
}
