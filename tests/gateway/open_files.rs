//! The limit of open files, which callers and the API share.

use std::process::{Command, Stdio};

use tokio::{net::TcpStream, task::JoinSet};

use crate::support::{
    api::{Api, Reply, bytes},
    attack::raise_file_limit,
    gateway::{Call, Gateway, KEY, Plain, program, within},
};

/// A gateway that may have so many files open.
pub fn gateway_with_files(files: u32, api: &Api, options: &[&str]) -> Gateway {
    let url = api.url();
    let args = [
        &["serve", "--upstream-url", &url, "--app-key", KEY],
        options,
    ]
    .concat();
    let plain = program(&args);
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
    command
        .args(["-c", &script])
        .arg(plain.get_program())
        .args(plain.get_args());
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Gateway::start(command)
}

#[tokio::test]
async fn a_low_limit_of_open_files_means_fewer_connections_not_a_dead_gateway() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let gateway = gateway_with_files(100, &api, &["--max-in-flight", "10"]);
    gateway.logged("room for fewer connections").await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(gateway.address()).await.unwrap());
    }
    let mut client = gateway.client().await;
    Call::Token.make(&mut client, Plain).await.unwrap();
    assert!(
        !gateway.log().contains("cannot be accepted"),
        "{}",
        gateway.log()
    );
}

#[tokio::test]
async fn with_1024_open_files_400_callers_are_served_at_a_time() {
    const CALLERS: usize = 400;
    assert!(
        raise_file_limit() > 3 * CALLERS as u64,
        "this test needs many open files"
    );
    let json = [("Content-Type", "application/json")];
    let success = Call::Question.success().as_bytes();
    let api = Api::start(Reply::Held(bytes(200, &json, success))).await;
    let gateway = gateway_with_files(1024, &api, &[]);
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        let mut client = gateway.client().await;
        calls.spawn(async move { Call::Question.make(&mut client, Plain).await });
    }
    within(|| api.waiting() == CALLERS || calls.try_join_next().is_some()).await;
    assert_eq!(api.waiting(), CALLERS, "calls at the API at a time");
    api.release();
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
}
