//! The life of connections: how many, how long, and their end in the drain.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Plain, get, within},
    raw::post,
};

const TOKEN: &str = "/autoshares.passwordreset.v1.PasswordResetService/GenerateToken";

/// A connection without a client that would replace it, and what becomes true when it is over.
async fn connection(gateway: &Gateway) -> (SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    (client, tokio::spawn(async move { drop(connection.await) }))
}

/// The `grpc-status` of a call over it, in the trailers or, if it failed, in the headers.
async fn call(client: &mut SendRequest<Bytes>) -> Result<String, h2::Error> {
    let request = post(TOKEN, "application/grpc").body(()).unwrap();
    let (response, mut sender) = client.send_request(request, false)?;
    sender.send_data(Call::Token.framed().into(), true)?;
    let response = response.await?;
    let head = response.headers().clone();
    let mut body = response.into_body();
    while body.data().await.transpose()?.is_some() {}
    let trailers = body.trailers().await?.unwrap_or(head);
    Ok(trailers["grpc-status"].to_str().unwrap().to_owned())
}

fn late(delay: Duration) -> Reply {
    Reply::Late(
        delay,
        bytes(
            200,
            &[("Content-Type", "application/json")],
            Call::Token.success().as_bytes(),
        ),
    )
}

#[tokio::test]
async fn past_the_limit_the_connection_without_calls_is_evicted() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-connections", "2"]);
    let mut silent = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut first, _) = connection(&gateway).await;
    assert_eq!(call(&mut first).await.unwrap(), "0");
    let (mut second, _) = connection(&gateway).await;
    assert_eq!(call(&mut second).await.unwrap(), "0");
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0, "closed");
    assert_eq!(call(&mut first).await.unwrap(), "0", "who calls may stay");
    let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    assert!(
        page.contains("reset_gateway_connections{otel_scope_name=\"reset-gateway\"} 2\n"),
        "{page}"
    );
}

#[tokio::test]
async fn while_all_connections_are_busy_a_new_one_is_closed() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-connections", "1"]);
    let (mut busy, _) = connection(&gateway).await;
    let pending = tokio::spawn(async move { call(&mut busy).await });
    within(|| api.requests().len() == 1).await;
    let mut newcomer = TcpStream::connect(gateway.address()).await.unwrap();
    assert_eq!(newcomer.read(&mut [0]).await.unwrap_or(0), 0, "closed");
    assert!(!pending.is_finished());
}

#[tokio::test]
async fn a_burst_of_max_in_flight_calls_is_served() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    for max_in_flight in ["1024", "2500"] {
        let gateway = Gateway::with(
            &api.url(),
            &["--app-key", KEY, "--max-in-flight", max_in_flight],
        );
        for _ in 0..2 {
            let client = gateway.client().await;
            let calls = (0..max_in_flight.parse().unwrap()).map(|_| {
                let mut client = client.clone();
                async move { Call::Password.make(&mut client, Plain).await }
            });
            let told = futures_util::future::join_all(calls).await;
            assert_eq!(
                told.iter()
                    .find_map(|told| told.as_ref().err())
                    .map(ToString::to_string),
                None
            );
        }
    }
}

#[tokio::test]
async fn an_aged_connection_finishes_its_calls_and_takes_no_new_ones() {
    let api = Api::start(late(Duration::from_millis(800))).await;
    let gateway = Gateway::with(
        &api.url(),
        &["--app-key", KEY, "--max-connection-age", "200ms"],
    );
    let (client, over) = connection(&gateway).await;
    let mut clone = client.clone();
    let pending = tokio::spawn(async move { call(&mut clone).await });
    within(|| api.requests().len() == 1).await;
    // Told to go away, the client's side refuses by itself.
    let mut client = client;
    while client.clone().ready().await.is_ok() && !pending.is_finished() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!pending.is_finished() && call(&mut client).await.is_err());
    assert_eq!(pending.await.unwrap().unwrap(), "0");
    over.await.unwrap();
}

#[tokio::test]
async fn during_the_drain_delay_calls_are_served_and_health_says_not_serving() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let mut gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--drain-delay", "1s"]);
    let mut before = gateway.client().await;
    gateway.signal("TERM");
    gateway.logged("stopping soon").await;
    let ready = format!("{}/readyz", gateway.announced("admin on "));
    assert_eq!(
        get(&ready).await,
        (503, "not ready: not serving\n".to_owned())
    );
    Call::Token.make(&mut before, Plain).await.unwrap();
    Call::Token
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    assert!(!gateway.log().contains("no new connections"));
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(gateway.log().contains("no new connections"));
}

#[tokio::test]
async fn the_drain_delay_is_part_of_the_drain_timeout() {
    let gateway = Gateway::with(
        "http://127.0.0.1:1",
        &[
            "--app-key",
            KEY,
            "--drain-delay",
            "24h",
            "--drain-timeout",
            "200ms",
        ],
    );
    let log = gateway.stopped().await;
    assert!(log.contains("the drain time is over"), "{log}");
}
