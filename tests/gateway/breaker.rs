//! An API that cannot be reached is found out, and left alone until it can be again.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reset_gateway::proto::password_reset_service_client::PasswordResetServiceClient;
use tokio::net::TcpListener;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Plain, get, run, within},
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
async fn open(client: &mut PasswordResetServiceClient<Channel>) {
    for _ in 0..5 {
        let status = Token.make(client, Plain).await.unwrap_err();
        assert_eq!(told_to_wait(&status), None);
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
async fn after_five_failures_calls_fail_at_once_until_a_probe_is_answered() {
    let address = closed();
    let gateway = Gateway::before(&format!("http://{address}"));
    let mut client = gateway.client().await;
    assert!(reachable(&gateway).await);
    open(&mut client).await;
    let opened = Instant::now();

    // The API is back, but nobody knows it yet: whatever arrives was tried. The probe's answer takes its time.
    let api = Api::start_at(address, Reply::json(200, Password.success())).await;
    api.first([Reply::Late(Duration::from_secs(1), bytes(404, &[], b""))]);
    for call in Call::ALL {
        let status = call.make(&mut client, Plain).await.unwrap_err();
        let wait = told_to_wait(&status).unwrap();
        assert!(
            (Duration::from_millis(100)..=Duration::from_millis(750)).contains(&wait),
            "{call:?} {wait:?}"
        );
    }
    assert!(!reachable(&gateway).await);

    gateway.logged("the API can be reached again").await;
    assert!(
        opened.elapsed() >= Duration::from_secs(1),
        "{:?}",
        opened.elapsed()
    );
    let requests = api.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(
        requests[0].starts_with("HEAD / HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert!(
        !requests[0].contains("et-app-key") && !requests[0].contains(KEY),
        "{requests:?}"
    );
    assert!(reachable(&gateway).await);
    Password.make(&mut client, Plain).await.unwrap();
    assert_eq!(api.requests().len(), 1);

    let log = gateway.stopped().await;
    let of = |text: &str| {
        log.lines()
            .filter(|line| line.contains(text))
            .collect::<Vec<_>>()
    };
    let (opened, closed) = (
        of("the API cannot be reached"),
        of("the API can be reached again"),
    );
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
async fn any_answer_and_any_connection_that_was_made_begin_the_count_anew() {
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
    // Three attempts and two: the third of the second call is not made any more.
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
async fn probes_come_alone_with_growing_pauses_and_readiness_waits_for_the_second() {
    let address = closed();
    let gateway = Gateway::before(&format!("http://{address}"));
    let mut client = gateway.client().await;
    open(&mut client).await;
    let opened = Instant::now();

    // Whoever connects is sent away without an answer.
    let listener = TcpListener::bind(address).await.unwrap();
    let accepted: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let accepting = Arc::clone(&accepted);
    let listener = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepting.lock().unwrap().push(Instant::now());
            drop(stream);
        }
    });
    let count = || accepted.lock().unwrap().len();
    let mut calling = client.clone();
    let callers = tokio::spawn(async move {
        loop {
            told_to_wait(&Password.make(&mut calling, Plain).await.unwrap_err()).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    within(|| count() >= 1).await;
    let ready = readiness(&gateway).await.0 == 200;
    assert!(ready || count() > 1, "once is nothing");
    within(|| count() >= 2).await;
    let mut answer = readiness(&gateway).await;
    for _ in 0..50 {
        if answer.0 == 503 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = readiness(&gateway).await;
    }
    assert_eq!(answer, (503, "not ready: API unreachable\n".to_owned()));
    assert_eq!(
        run(&["probe", "--listen", gateway.address()]).status.code(),
        Some(1)
    );
    assert_eq!(
        get(&format!("{}/livez", gateway.announced("admin on ")))
            .await
            .0,
        200,
        "it lives"
    );
    assert!(!reachable(&gateway).await);
    within(|| count() >= 3).await;
    assert!(!callers.is_finished(), "all were told to wait");
    callers.abort();
    listener.abort();
    let _ = listener.await;

    let mut times = vec![opened];
    times.extend(accepted.lock().unwrap().iter());
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([250, 500, 1000]) {
        // `opened` is a moment late.
        assert!(*pause >= Duration::from_millis(least * 4 / 5), "{pauses:?}");
    }
    assert!(pauses.len() <= 4, "nobody else connected: {pauses:?}");

    let _api = Api::start_at(address, Reply::json(200, Password.success())).await;
    gateway.logged("the API can be reached again").await;
    assert_eq!(readiness(&gateway).await, (200, "ready\n".to_owned()));
    assert_eq!(
        run(&["probe", "--listen", gateway.address()]).status.code(),
        Some(0)
    );
    Password.make(&mut client, Plain).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_kept_open_without_an_answer_is_a_sign_of_life() {
    let address = closed();
    let gateway = Gateway::with(
        &format!("http://{address}"),
        &["--app-key", KEY, "--connect-timeout", "200ms"],
    );
    let mut client = gateway.client().await;
    open(&mut client).await;
    let api = Api::start_at(address, Reply::Silence).await;
    gateway.logged("the API can be reached again").await;
    assert!(
        api.requests()
            .iter()
            .all(|request| request.starts_with("HEAD / "))
    );
    api.reply(Reply::json(200, Password.success()));
    Password.make(&mut client, Plain).await.unwrap();
}

#[tokio::test]
async fn an_outage_does_not_hold_up_the_end() {
    let gateway = Gateway::before(&format!("http://{}", closed()));
    open(&mut gateway.client().await).await;
    let begin = Instant::now();
    gateway.stopped().await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
}
