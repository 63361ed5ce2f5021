//! The end: what is told to stop finishes its calls, within bounds.

use std::time::Duration;

use tokio::net::TcpStream;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    statuses::FullListener,
    support::{
        api::{Api, Reply, bytes},
        gateway::{Call, Gateway, Plain, get, within},
        status::summary,
    },
};

#[tokio::test]
async fn calls_in_flight_survive_every_stop_signal() {
    for signal in ["TERM", "INT", "QUIT"] {
        let late = bytes(
            200,
            &[("Content-Type", "application/json")],
            Call::Password.success().as_bytes(),
        );
        let api = Api::start(Reply::Late(Duration::from_millis(500), late)).await;
        let mut gateway = Gateway::before(&api.url());
        let mut client = gateway.client().await;
        let call = tokio::spawn(async move { Call::Password.make(&mut client, Plain).await });
        within(|| api.requests().len() == 1).await;
        gateway.signal(signal);
        gateway.logged("stopping").await;
        within(|| std::net::TcpStream::connect(gateway.address()).is_err()).await;
        assert!(!call.is_finished(), "the call outlives the listener");
        assert!(call.await.unwrap().is_ok(), "{signal}");
        assert_eq!(gateway.ended().await.code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn health_says_not_serving_during_the_drain() {
    let api = Api::start(Reply::Silence).await;
    let mut gateway = Gateway::before(&api.url());
    let channel = gateway.channel().await;
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut watch = HealthClient::new(channel)
        .watch(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    gateway.signal("TERM");
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(
        !gateway.log().contains("drain time is over"),
        "an open watch is no call: {}",
        gateway.log()
    );
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_learns_its_outcome() {
    let silent = Api::start(Reply::Silence).await;
    let full = FullListener::start().await;
    for (url, call, expected) in [
        (
            silent.url(),
            Call::Password,
            "Unknown UPSTREAM_OUTCOME_UNKNOWN gateway unknown",
        ),
        (
            silent.url(),
            Call::Question,
            "Unavailable UPSTREAM_UNAVAILABLE gateway refused",
        ),
        (
            full.url(),
            Call::Password,
            "Unavailable GATEWAY_SHUTTING_DOWN gateway not_sent",
        ),
    ] {
        let options = [
            "--app-key",
            "k",
            "--drain-timeout",
            "200ms",
            "--connect-timeout",
            "10s",
        ];
        let mut gateway = Gateway::with(&url, &options);
        let mut client = gateway.client().await;
        let pending = tokio::spawn(async move { call.make(&mut client, Plain).await });
        if url == full.url() {
            // Nothing tells from outside that it connects; if it has not begun to, the answer is the same.
            tokio::time::sleep(Duration::from_millis(200)).await;
        } else {
            within(|| !silent.requests().is_empty()).await;
        }
        gateway.signal("TERM");
        let status = pending.await.unwrap().unwrap_err();
        assert_eq!(summary(&status), expected, "{call:?}");
        assert_eq!(gateway.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_exit() {
    let mut gateway = Gateway::before("http://127.0.0.1:1");
    let _grpc = gateway.channel().await;
    let _silent = TcpStream::connect(gateway.address()).await.unwrap();
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_drain_takes_no_permits_from_calls() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", "k", "--drain-timeout", "2s"]);
    let mut client = gateway.client().await;
    let waiting = tokio::spawn(async move { Call::Token.make(&mut client, Plain).await });
    within(|| !api.requests().is_empty()).await;
    gateway.signal("TERM");
    gateway.logged("stopping").await;
    let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    assert!(
        page.contains("reset_gateway_calls_in_flight{otel_scope_name=\"reset-gateway\"} 1\n"),
        "{page}"
    );
    assert!(waiting.await.unwrap().is_err());
}
