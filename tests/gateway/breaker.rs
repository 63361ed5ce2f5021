//! The circuit breaker: calls to an API that cannot be reached fail at once, and live calls find out
//! when it can be reached again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use reset_gateway::proto::password_reset_service_client::PasswordResetServiceClient;
use tokio::task::JoinSet;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Plain, get, run, within},
    raw::{post, send, status_of},
    status::{check, summary},
};

use Call::{Password, Question, Token};

const UNREACHABLE: &str = "Unavailable UPSTREAM_UNREACHABLE upstream not_sent";

/// An address where nobody listens.
fn closed() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// How long the caller is told to wait; `None` if a connection was tried.
fn told_to_wait(status: &Status) -> Option<Duration> {
    check(status);
    assert!(
        summary(status).starts_with(UNREACHABLE),
        "{}",
        summary(status)
    );
    status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay)
}

/// Makes calls until the breaker is open.
async fn open_circuit(client: &mut PasswordResetServiceClient<Channel>) {
    for _ in 0..5 {
        let status = Token.make(client, Plain).await.unwrap_err();
        assert_eq!(told_to_wait(&status), None);
    }
}

/// Calls again and again, as long as calls fail at once. The result of the one that was tried.
async fn trial(client: PasswordResetServiceClient<Channel>) -> Result<(), Status> {
    trial_of(Password, client).await
}

/// The same for any rpc.
async fn trial_of(
    call: Call,
    mut client: PasswordResetServiceClient<Channel>,
) -> Result<(), Status> {
    loop {
        let result = call.make(&mut client, Plain).await;
        match &result {
            Err(status)
                if summary(status).starts_with(UNREACHABLE) && told_to_wait(status).is_some() =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            _ => return result,
        }
    }
}

async fn readiness(gateway: &Gateway) -> (u16, String) {
    get(&format!("{}/readyz", gateway.announced("admin on "))).await
}

async fn reachable(gateway: &Gateway) -> bool {
    let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    let gauge = page
        .lines()
        .find(|line| line.starts_with("reset_gateway_upstream_reachable"))
        .unwrap();
    gauge.ends_with(" 1")
}

#[tokio::test]
async fn after_five_failures_calls_fail_at_once_until_one_call_finds_the_api_again() {
    let address = closed();
    let gateway = Gateway::before(&format!("http://{address}"));
    let mut client = gateway.client().await;
    assert!(reachable(&gateway).await);
    open_circuit(&mut client).await;

    // The API is back, but no call has found that out yet.
    let success = bytes(200, &[], Password.success().as_bytes());
    let api = Api::start_at(address, Reply::Held(success.clone())).await;
    for call in Call::ALL {
        let status = call.make(&mut client, Plain).await.unwrap_err();
        let wait = told_to_wait(&status).expect("nothing was tried");
        let expected = Duration::from_millis(100)..=Duration::from_millis(750);
        assert!(expected.contains(&wait), "{call:?} {wait:?}");
    }
    assert!(!reachable(&gateway).await);

    // One of many callers gets through, and the others fail at once for as long as it takes.
    let mut trials = JoinSet::new();
    for _ in 0..10 {
        trials.spawn(trial(client.clone()));
    }
    within(|| api.waiting() == 1).await;
    for call in Call::ALL {
        let status = call.make(&mut client, Plain).await.unwrap_err();
        let wait = told_to_wait(&status).expect("nothing was tried");
        assert_eq!(wait, Duration::from_millis(100), "{call:?}");
    }
    assert_eq!(api.requests().len(), 1);
    assert!(!reachable(&gateway).await);
    api.reply(Reply::Bytes(success));
    api.release();
    while let Some(result) = trials.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(api.requests().len(), 9, "then all get through");
    assert!(reachable(&gateway).await);

    let log = gateway.stopped().await;
    let lines_with = |text: &str| {
        log.lines()
            .filter(|line| line.contains(text))
            .collect::<Vec<_>>()
    };
    let opened = lines_with("the API cannot be reached");
    let closed = lines_with("the API can be reached again");
    assert_eq!((opened.len(), closed.len()), (1, 1), "{log}");
    assert!(
        opened[0].contains("\"level\":\"WARN\"") && opened[0].contains("refused"),
        "{}",
        opened[0]
    );
    assert!(
        !opened[0].contains(&address.port().to_string()),
        "no URL: {}",
        opened[0]
    );
    assert!(closed[0].contains("\"level\":\"INFO\""), "{}", closed[0]);
}

#[tokio::test]
async fn any_connection_in_between_starts_the_count_again() {
    let address = closed();
    let gateway = Gateway::before(&format!("http://{address}"));
    let mut client = gateway.client().await;
    for reply in [
        Reply::json(500, ""),
        Reply::Last(Vec::new()),
        Reply::json(200, Token.success()),
    ] {
        for _ in 0..4 {
            assert_eq!(
                told_to_wait(&Token.make(&mut client, Plain).await.unwrap_err()),
                None
            );
        }
        let api = Api::start_at(address, reply).await;
        let _ = Token.make(&mut client, Plain).await;
        assert_eq!(api.requests().len(), 1);
        api.stop().await;
    }
    assert!(
        !gateway.log().contains("the API cannot be reached"),
        "{}",
        gateway.log()
    );
}

#[tokio::test]
async fn reads_and_slow_connections_count_too() {
    let full = crate::statuses::FullListener::start().await;
    let gateway = Gateway::with(
        &full.url(),
        &["--app-key", KEY, "--connect-timeout", "50ms"],
    );
    let mut client = gateway.client().await;
    // Three attempts and two: the second call makes no third one.
    for _ in 0..2 {
        assert_eq!(
            told_to_wait(&Question.make(&mut client, Plain).await.unwrap_err()),
            None
        );
    }
    assert!(told_to_wait(&Token.make(&mut client, Plain).await.unwrap_err()).is_some());
    let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    let tried = page
        .lines()
        .filter(|line| line.starts_with("http_client_request_duration_seconds_count{"));
    let tried: f64 = tried
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert_eq!(tried, 5.0, "what is not tried is not measured");
}

#[tokio::test]
async fn trial_calls_come_one_at_a_time_after_growing_pauses() {
    let gateway = Gateway::before(&format!("http://{}", closed()));
    let mut client = gateway.client().await;
    open_circuit(&mut client).await;
    let mut times = vec![Instant::now()];
    for _ in 0..3 {
        // Of two callers one is tried. The other is told to wait, and is tried next time.
        let (one, other) = (trial(client.clone()), trial(client.clone()));
        tokio::select! {
            result = one => result.unwrap_err(),
            result = other => result.unwrap_err(),
        };
        times.push(Instant::now());
        let status = Password.make(&mut client, Plain).await.unwrap_err();
        assert!(told_to_wait(&status).is_some(), "it opens again");
    }
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, shortest) in pauses.iter().zip([250, 500, 1000]) {
        // The beginning of a pause is measured a moment late.
        let shortest = Duration::from_millis(shortest * 4 / 5);
        assert!(*pause >= shortest, "{pauses:?}");
    }
}

#[tokio::test]
async fn after_two_failed_trial_calls_the_gateway_is_not_ready_until_another_may_come() {
    const NOT_READY: &str = "not ready: API unreachable\n";
    let address = closed();
    let gateway = Gateway::before(&format!("http://{address}"));
    let mut client = gateway.client().await;
    open_circuit(&mut client).await;
    trial(client.clone()).await.unwrap_err();
    assert_eq!(readiness(&gateway).await.0, 200, "once is not enough");
    trial(client.clone()).await.unwrap_err();
    assert_eq!(readiness(&gateway).await, (503, NOT_READY.to_owned()));
    let probe = run(&["probe", "--listen", gateway.address()]);
    assert_eq!(probe.status.code(), Some(1));
    let live = format!("{}/livez", gateway.announced("admin on "));
    assert_eq!(get(&live).await.0, 200);

    // Nobody calls. When the pause ends the gateway is ready for a trial call, which fails.
    while readiness(&gateway).await.0 == 503 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!reachable(&gateway).await);
    let status = Password.make(&mut client, Plain).await.unwrap_err();
    assert_eq!(told_to_wait(&status), None, "it was tried");
    assert_eq!(readiness(&gateway).await, (503, NOT_READY.to_owned()));

    let _api = Api::start_at(address, Reply::json(200, Password.success())).await;
    trial(client).await.unwrap();
    assert_eq!(readiness(&gateway).await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn a_read_on_trial_that_its_caller_cancels_leaves_its_place_to_the_next() {
    let address = closed();
    let gateway = Gateway::before(&format!("http://{address}"));
    let mut client = gateway.client().await;
    open_circuit(&mut client).await;
    let api = Api::start_at(address, Reply::json(200, Password.success())).await;
    api.first([Reply::Silence]);
    let cancelled = tokio::spawn(trial_of(Question, client.clone()));
    within(|| api.waiting() == 1).await;
    cancelled.abort();
    within(|| api.closed() == 1).await;
    assert!(!reachable(&gateway).await);
    Password.make(&mut client, Plain).await.unwrap();
    assert!(reachable(&gateway).await);
}

#[tokio::test]
async fn a_write_on_trial_closes_the_circuit_after_its_caller_has_left() {
    let address = closed();
    let gateway = Gateway::before(&format!("http://{address}"));
    let mut client = gateway.client().await;
    open_circuit(&mut client).await;
    let held = bytes(200, &[], Password.success().as_bytes());
    let api = Api::start_at(address, Reply::Held(held)).await;
    let cancelled = tokio::spawn(trial(client));
    within(|| api.waiting() == 1).await;
    cancelled.abort();
    gateway.logged("CANCELLED").await;
    assert!(!reachable(&gateway).await);
    api.release();
    gateway.logged("the API can be reached again").await;
    assert!(reachable(&gateway).await);
}

#[tokio::test]
async fn a_connection_that_stays_open_without_a_response_is_a_sign_of_life() {
    let address = closed();
    let gateway = Gateway::with(
        &format!("http://{address}"),
        &["--app-key", KEY, "--timeout", "1s"],
    );
    let mut client = gateway.client().await;
    open_circuit(&mut client).await;
    let api = Api::start_at(address, Reply::Silence).await;
    let status = trial(client.clone()).await.unwrap_err();
    assert_eq!(
        summary(&status),
        "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown"
    );
    assert!(reachable(&gateway).await);
    api.reply(Reply::json(200, Password.success()));
    Password.make(&mut client, Plain).await.unwrap();
}

#[tokio::test]
async fn short_deadlines_do_not_open_it() {
    let full = crate::statuses::FullListener::start().await;
    let gateway = Gateway::before(&full.url());
    for _ in 0..10 {
        let path = "/autoshares.passwordreset.v1.PasswordResetService/UpdatePassword";
        let request = post(path, "application/grpc").header("grpc-timeout", "100m");
        let (_, headers) = send(&gateway, request, Password.framed()).await;
        assert_eq!(
            status_of(&headers),
            "DeadlineExceeded UPSTREAM_TIMEOUT upstream not_sent"
        );
    }
    assert!(reachable(&gateway).await);
    assert_eq!(readiness(&gateway).await.0, 200);
}
