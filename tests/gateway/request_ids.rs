//! Writes with a `request_id`: however often one is repeated, the API sees it once.

use std::time::Duration;

use futures_util::future::join_all;
use prost::Message;
use reset_gateway::proto::{
    GenerateTokenRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, transport::Channel};

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Plain, within},
    raw::{framed, post, send, status_of},
    status::{check, summary},
};

type Client = PasswordResetServiceClient<Channel>;

const ID: &str = "5b0f8a52-93ae-4cf1-a5a4-6a1f3c0e7d21";
const OTHER_ID: &str = "0d9cf1c8-2f4b-4f0a-9f0e-6c1f6a2f1b77";
const TOKEN_PATH: &str = "/autoshares.passwordreset.v1.PasswordResetService/GenerateToken";
const CODE: &str = "741175";
/// The token of [`Call::success`].
const TOKEN: &str = "ba6b8cac-6738";
const ID_IS_TAKEN: &str = "InvalidArgument INVALID_REQUEST caller not_sent [request_id: must be new: another request of the last ten minutes has this id]";

/// Asks for a token. Returns it, or the summary of the error.
async fn token(client: &mut Client, id: &str, code: &str) -> String {
    let request = GenerateTokenRequest {
        code: code.to_owned(),
        request_id: Some(id.to_owned()),
    };
    told(client.generate_token(request).await, |response| {
        response.token
    })
}

fn told<T>(result: Result<Response<T>, Status>, text: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(response) => text(response.into_inner()),
        Err(status) => {
            check(&status);
            summary(&status)
        }
    }
}

fn spawn_token(client: &Client, id: &'static str) -> JoinHandle<String> {
    let mut client = client.clone();
    tokio::spawn(async move { token(&mut client, id, CODE).await })
}

/// A success that waits until it is released.
fn held() -> Reply {
    let headers = [("Content-Type", "application/json")];
    Reply::Held(bytes(200, &headers, Call::Token.success().as_bytes()))
}

#[tokio::test]
async fn a_repetition_gets_the_same_response_and_is_not_sent() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let request_id = || Some(ID.to_owned());
    for _ in 0..3 {
        // The same id may be used for each rpc.
        api.reply(Reply::json(200, Call::Reset.success()));
        let request = ResetPasswordRequest {
            user: "some.trader".to_owned(),
            secret_question_answer: None,
            request_id: request_id(),
        };
        client.reset_password(request).await.unwrap();

        api.reply(Reply::json(200, Call::Token.success()));
        assert_eq!(token(&mut client, ID, CODE).await, TOKEN);

        api.reply(Reply::json(200, Call::Password.success()));
        let request = UpdatePasswordRequest {
            token: TOKEN.to_owned(),
            password: "a new password".to_owned(),
            password_confirmation: None,
            request_id: request_id(),
        };
        client.update_password(request).await.unwrap();
    }
    let requests = api.requests();
    assert_eq!(requests.len(), 3);
    let has_id = |request: &String| request.contains(ID);
    assert!(!requests.iter().any(has_id), "it stays at the gateway");
    // Without an id, each call is sent.
    for _ in 0..2 {
        Call::Token.make(&mut client, Plain).await.unwrap_err();
    }
    assert_eq!(api.requests().len(), 2);
}

#[tokio::test]
async fn calls_at_the_same_time_wait_for_the_first() {
    let api = Api::start(held()).await;
    let gateway = Gateway::before(&api.url());
    let clients = [gateway.client().await, gateway.client().await];
    let calls: Vec<_> = (0..100).map(|n| spawn_token(&clients[n % 2], ID)).collect();
    within(|| api.waiting() == 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    api.release();
    for call in join_all(calls).await {
        assert_eq!(call.unwrap(), TOKEN);
    }
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn a_repetition_learns_what_became_of_a_call_whose_caller_has_left() {
    let api = Api::start(held()).await;
    let gateway = Gateway::before(&api.url());
    let cut = gateway.client().await;
    let call = spawn_token(&cut, ID);
    within(|| api.waiting() == 1).await;
    // With its caller, its connection goes too.
    call.abort();
    drop(cut);
    gateway.logged("CANCELLED").await;

    let client = gateway.client().await;
    // By raw HTTP/2, because a client with a timer of its own might give up first.
    let request = GenerateTokenRequest {
        code: CODE.to_owned(),
        request_id: Some(ID.to_owned()),
    };
    let head = post(TOKEN_PATH, "application/grpc").header("grpc-timeout", "300m");
    let (_, impatient) = send(&gateway, head, framed(&request.encode_to_vec())).await;
    assert_eq!(
        status_of(&impatient),
        "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown",
        "the first call may succeed"
    );
    let repetition = spawn_token(&client, ID);
    tokio::time::sleep(Duration::from_millis(100)).await;
    api.release();
    assert_eq!(repetition.await.unwrap(), TOKEN);
    assert_eq!(spawn_token(&client, ID).await.unwrap(), TOKEN);
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn a_failure_is_repeated_too() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    for (id, reply, expected) in [
        (
            ID,
            Reply::json(502, ""),
            "Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown httpStatus=502",
        ),
        (
            OTHER_ID,
            Reply::json(200, r#"{"Errors":["No."],"IsSucceed":false}"#),
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 \"No.\"",
        ),
    ] {
        api.reply(reply);
        for _ in 0..2 {
            assert_eq!(token(&mut client, id, CODE).await, expected);
            api.reply(Reply::json(200, Call::Token.success()));
        }
        assert_eq!(api.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_call_that_was_not_sent_leaves_its_id_to_the_next() {
    let api = Api::start(held()).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-in-flight", "1"]);
    let mut client = gateway.client().await;
    let first = spawn_token(&client, ID);
    within(|| api.waiting() == 1).await;
    let refused = token(&mut client, OTHER_ID, CODE).await;
    assert!(refused.contains("GATEWAY_OVERLOADED"), "{refused}");
    api.release();
    assert_eq!(first.await.unwrap(), TOKEN);
    api.reply(Reply::json(200, Call::Token.success()));
    assert_eq!(token(&mut client, OTHER_ID, CODE).await, TOKEN);
    assert_eq!(api.requests().len(), 2);
}

#[tokio::test]
async fn when_the_first_call_leaves_unsent_one_that_waits_is_sent() {
    // All of one token is reserved by the call without an id, so the first with an id waits for it.
    let api = Api::start(held()).await;
    let options = ["--app-key", KEY, "--code-attempts", "1/1h"];
    let gateway = Gateway::with(&api.url(), &options);
    let mut client = gateway.client().await;
    let pending = tokio::spawn({
        let mut client = client.clone();
        async move { Call::Token.make(&mut client, Plain).await }
    });
    within(|| api.waiting() == 1).await;
    let first = spawn_token(&client, ID);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = spawn_token(&client, ID);
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.abort();
    gateway.logged("CANCELLED").await;
    api.reply(Reply::json(200, Call::Token.success()));
    api.release();
    pending.await.unwrap().unwrap();
    assert_eq!(second.await.unwrap(), TOKEN);
    assert_eq!(token(&mut client, ID, CODE).await, TOKEN);
    assert_eq!(api.requests().len(), 2);
}

#[tokio::test]
async fn an_id_belongs_to_one_request_of_one_caller() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let gateway = Gateway::with(&api.url(), &["--caller-metadata", "x-caller"]);
    let client = gateway.client().await;
    let ask = async |code: &str, key: &'static str, caller: &'static str| {
        let mut request = Request::new(GenerateTokenRequest {
            code: code.to_owned(),
            request_id: Some(ID.to_owned()),
        });
        let metadata = request.metadata_mut();
        metadata.insert("et-app-key", key.parse().unwrap());
        metadata.insert("x-caller", caller.parse().unwrap());
        told(client.clone().generate_token(request).await, |it| it.token)
    };
    assert_eq!(ask(CODE, "key", "caller").await, TOKEN);
    assert_eq!(ask("000000", "key", "caller").await, ID_IS_TAKEN);
    assert_eq!(ask(CODE, "other", "caller").await, ID_IS_TAKEN);
    assert_eq!(ask(CODE, "key", "other").await, ID_IS_TAKEN);
    assert_eq!(ask(CODE, "key", "caller").await, TOKEN);
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn an_id_is_a_uuid_in_its_usual_form() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    for id in [
        "",
        "1",
        "00000000-0000-0000-0000-000000000000",
        "5b0f8a5293ae4cf1a5a46a1f3c0e7d21",
        "{5b0f8a52-93ae-4cf1-a5a4-6a1f3c0e7d21}",
        "urn:uuid:5b0f8a52-93ae-4cf1-a5a4-6a1f3c0e7d21",
        " 5b0f8a52-93ae-4cf1-a5a4-6a1f3c0e7d21",
        "5b0f8a52-93ae-4cf1-a5a4-6a1f3c0e7d2g",
    ] {
        let told = token(&mut client, id, CODE).await;
        assert!(told.starts_with("InvalidArgument INVALID_REQUEST caller not_sent [request_id: must be a UUID such as "), "{id:?}: {told}");
    }
    assert_eq!(token(&mut client, ID, CODE).await, TOKEN);
    assert_eq!(token(&mut client, &ID.to_uppercase(), CODE).await, TOKEN);
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn a_rotation_of_the_gateways_key_does_not_change_a_request() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "the-first-key").unwrap();
    let options = ["--app-key-file", file.to_str().unwrap()];
    let gateway = Gateway::with(&api.url(), &options);
    let mut client = gateway.client().await;
    assert_eq!(token(&mut client, ID, CODE).await, TOKEN);
    std::fs::write(&file, "the-second-key").unwrap();
    gateway.signal("HUP");
    gateway.logged("the application key has changed").await;
    assert_eq!(token(&mut client, ID, CODE).await, TOKEN);
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn the_next_process_does_not_know_the_ids() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    for _ in 0..2 {
        let gateway = Gateway::before(&api.url());
        assert_eq!(token(&mut gateway.client().await, ID, CODE).await, TOKEN);
        gateway.stopped().await;
    }
    assert_eq!(api.requests().len(), 2);
}

#[tokio::test]
async fn a_drain_waits_for_a_write_whose_caller_has_left() {
    let api = Api::start(held()).await;
    let mut gateway = Gateway::before(&api.url());
    let call = spawn_token(&gateway.client().await, ID);
    within(|| api.waiting() == 1).await;
    call.abort();
    gateway.logged("CANCELLED").await;
    gateway.signal("TERM");
    gateway.logged("calls in flight are finished").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(gateway.is_running(), "the write is still under way");
    api.release();
    assert!(gateway.ended().await.success());
    assert!(!gateway.log().contains("drain time is over"));
}
