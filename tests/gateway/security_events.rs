//! Security events in the log, and the hashes that join those of one person.

use std::{fs, path::Path, time::Duration};

use prost::Message;
use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::{
    logs::calls,
    support::{
        api::{Api, Reply, bytes},
        gateway::{Call, Gateway, KEY, Plain, get, within},
        raw::{framed, post, send},
    },
};

const AUDIT_KEY: &str = "canary-key-0123456789-0123456789";
const TOKEN: &str = "ba6b8cac-6738";

/// A gateway with an audit key in that file.
fn with_audit_key(api: &Api, file: &Path) -> Gateway {
    let file = file.to_str().unwrap();
    Gateway::with(&api.url(), &["--app-key", KEY, "--audit-key-file", file])
}

async fn reset(client: &mut PasswordResetServiceClient<Channel>, user: &str) {
    let request = ResetPasswordRequest {
        user: user.to_owned(),
        ..ResetPasswordRequest::default()
    };
    client.reset_password(request).await.unwrap();
}

async fn ask(client: &mut PasswordResetServiceClient<Channel>, user: &str) {
    let username = user.to_owned();
    let request = GetSecretQuestionRequest { username };
    client.get_secret_question(request).await.unwrap();
}

async fn update(client: &mut PasswordResetServiceClient<Channel>, token: &str) {
    let request = UpdatePasswordRequest {
        token: token.to_owned(),
        password: "canary-password".to_owned(),
        ..UpdatePasswordRequest::default()
    };
    client.update_password(request).await.unwrap();
}

/// Answers every call as the API does when it succeeds.
fn succeed(request: &str) -> Reply {
    let paths = [
        ("reset/code", Call::Token),
        ("secret-question", Call::Question),
        ("passwords/reset/", Call::Password),
        ("password/reset", Call::Reset),
    ];
    let call = paths.into_iter().find(|(path, _)| request.contains(path));
    Reply::json(200, call.unwrap().1.success())
}

/// Waits until that many calls have their line: the next one's could overtake it.
async fn until_logged(gateway: &Gateway, count: usize) {
    within(|| gateway.log().matches("\"message\":\"call\"").count() == count).await;
}

/// The values of a key in the lines of calls; nothing where it is missing.
fn values<'a>(lines: &'a [Value], key: &str) -> Vec<&'a str> {
    let values = lines.iter().map(|line| line[key].as_str());
    values.map(Option::unwrap_or_default).collect()
}

#[tokio::test]
async fn a_changed_password_and_attempts_past_a_limit_are_security_events() {
    const LIMITED: &str = "excess_rate_limit_exceeded";
    let api = Api::start(Reply::By(succeed)).await;
    let options = ["--app-key", KEY, "--resets=1/1h", "--code-attempts=1/1h"];
    let gateway = Gateway::with(&api.url(), &options);
    let mut client = gateway.client().await;
    let first = [
        Call::Question,
        Call::Token,
        Call::Password,
        Call::Reset,
        Call::Reset,
    ];
    for (call, count) in first.into_iter().zip(1..) {
        assert_eq!(call.make(&mut client, Plain).await.is_ok(), count < 5);
        until_logged(&gateway, count).await;
    }
    api.reply(Reply::json(400, ""));
    for (call, count) in [Call::Password, Call::Token, Call::Token]
        .into_iter()
        .zip(6..)
    {
        call.make(&mut client, Plain).await.unwrap_err();
        until_logged(&gateway, count).await;
    }
    let log = gateway.stopped().await;
    let lines = calls(&log);
    let events = [
        "",
        "",
        "authn_password_change",
        "",
        LIMITED,
        "",
        "",
        LIMITED,
    ];
    assert_eq!(values(&lines, "event"), events);
    let levels = [
        "INFO", "INFO", "INFO", "INFO", "WARN", "INFO", "INFO", "WARN",
    ];
    assert_eq!(values(&lines, "level"), levels);
    let reasons = [4, 7].map(|line: usize| values(&lines, "reason")[line]);
    assert_eq!(reasons, ["TOO_MANY_RESETS", "TOO_MANY_ATTEMPTS"]);
    assert!(!log.contains("_hash"), "only with a key: {log}");
}

/// The message of a call's second line.
const LATE: &str = "a write has succeeded after its call ended";

/// The lines with that message.
fn late_lines(log: &str) -> Vec<Value> {
    let late = log.lines().filter(|line| line.contains(LATE));
    late.map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn held(body: &str) -> Reply {
    let headers = [("Content-Type", "application/json")];
    Reply::Held(bytes(200, &headers, body.as_bytes()))
}

/// Changes a password for a caller that waits this long, or hangs up, while the API has the call. The caller has no timer of
/// its own, which might be over first.
async fn left_alone(gateway: &Gateway, api: &Api, time: Option<Duration>) {
    const PATH: &str = "/autoshares.passwordreset.v1.PasswordResetService/UpdatePassword";
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let message = UpdatePasswordRequest {
        token: TOKEN.to_owned(),
        password: "canary-password".to_owned(),
        ..UpdatePasswordRequest::default()
    };
    let mut request = post(PATH, "application/grpc").header("traceparent", TRACE);
    if let Some(time) = time {
        request = request.header("grpc-timeout", format!("{}m", time.as_millis()));
    }
    let call = send(gateway, request, framed(&message.encode_to_vec()));
    let is_at_api = within(|| api.waiting() == 1);
    match time {
        Some(_) => drop(tokio::join!(call, is_at_api)),
        None => tokio::select! {
            _ = call => panic!("the API holds its answer"),
            () = is_at_api => {}
        },
    }
    until_logged(gateway, 1).await;
}

#[tokio::test]
async fn a_password_change_is_an_event_although_its_caller_has_left() {
    for (time, code) in [
        (None, "CANCELLED"),
        (Some(Duration::from_millis(500)), "DEADLINE_EXCEEDED"),
    ] {
        let api = Api::start(held(Call::Password.success())).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), AUDIT_KEY).unwrap();
        let gateway = with_audit_key(&api, file.path());
        left_alone(&gateway, &api, time).await;
        assert!(!gateway.log().contains("authn_password_change"));
        api.release();
        gateway.logged(LATE).await;
        let log = gateway.stopped().await;
        let (lines, late) = (calls(&log), late_lines(&log));
        assert_eq!((lines.len(), late.len()), (1, 1), "{log}");
        let (line, late) = (&lines[0], &late[0]);
        assert_eq!(
            (&line["code"], &line["event"]),
            (&json!(code), &Value::Null)
        );
        for (key, value) in [
            ("level", "INFO"),
            ("code", "OK"),
            ("event", "authn_password_change"),
        ] {
            assert_eq!(late[key], value, "{late}");
        }
        for key in ["rpc", "peer", "token_hash", "trace_id", "span_id"] {
            assert_eq!(late[key], line[key], "{key}: {late}");
        }
        assert!(late["token_hash"].is_string(), "{late}");
        assert_eq!(late["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    }
}

#[tokio::test]
async fn a_refusal_after_the_caller_has_left_is_no_event() {
    let api = Api::start(held(r#"{"IsSucceed":false,"Errors":["No."]}"#)).await;
    let gateway = Gateway::before(&api.url());
    left_alone(&gateway, &api, None).await;
    api.release();
    let log = gateway.stopped().await;
    assert!(!log.contains(LATE) && !log.contains("event"), "{log}");
}

#[tokio::test]
async fn of_calls_with_one_request_id_only_the_one_that_was_sent_is_an_event() {
    let api = Api::start(Reply::By(succeed)).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    for count in 1..=3 {
        let request = UpdatePasswordRequest {
            token: TOKEN.to_owned(),
            password: "canary-password".to_owned(),
            request_id: Some("3f8a2d4e-9d3b-4a7e-8c55-0a6a6f1d2b91".to_owned()),
            ..UpdatePasswordRequest::default()
        };
        client.update_password(request).await.unwrap();
        until_logged(&gateway, count).await;
    }
    let log = gateway.stopped().await;
    let lines = calls(&log);
    assert_eq!(values(&lines, "code"), ["OK"; 3]);
    assert_eq!(values(&lines, "event"), ["authn_password_change", "", ""]);
}

#[tokio::test]
async fn with_an_audit_key_hashes_join_the_events_of_one_person() {
    let api = Api::start(Reply::By(succeed)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), AUDIT_KEY).unwrap();
    let gateway = with_audit_key(&api, file.path());
    let mut client = gateway.client().await;
    reset(&mut client, "canary.user").await;
    until_logged(&gateway, 1).await;
    ask(&mut client, " CANARY.User\u{200b}").await;
    until_logged(&gateway, 2).await;
    ask(&mut client, "other.canary").await;
    until_logged(&gateway, 3).await;
    let code = "canary-code".to_owned();
    let request = GenerateTokenRequest {
        code,
        ..Default::default()
    };
    client.generate_token(request).await.unwrap();
    until_logged(&gateway, 4).await;
    update(&mut client, TOKEN).await;
    until_logged(&gateway, 5).await;
    update(&mut client, "canary-token").await;
    until_logged(&gateway, 6).await;
    api.reply(Reply::json(404, ""));
    Call::Token.make(&mut client, Plain).await.unwrap_err();
    until_logged(&gateway, 7).await;
    let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    let log = gateway.stopped().await;

    let lines = calls(&log);
    let users = values(&lines, "user_hash");
    assert!(users[0] == users[1] && users[0] != users[2], "{users:?}");
    assert_eq!(users[3..], [""; 4], "step 3 and 4 name no user");
    let tokens = values(&lines, "token_hash");
    assert!(
        tokens[3] == tokens[4] && tokens[3] != tokens[5],
        "{tokens:?}"
    );
    assert_eq!(
        (&tokens[..3], tokens[6]),
        (&[""; 3][..], ""),
        "there is no token"
    );
    for hash in [&users[..3], &tokens[3..6]].concat() {
        assert!(
            hash.len() == 32 && hash.bytes().all(|it| it.is_ascii_hexdigit()),
            "{hash}"
        );
        assert!(!page.contains(hash), "{page}");
    }
    for text in [&log, &page] {
        let text = text.to_lowercase();
        let is_private = |it: &&str| text.contains(*it);
        let found = ["canary", TOKEN, KEY].into_iter().find(is_private);
        assert_eq!(found, None, "{text}");
    }
}

#[tokio::test]
async fn another_audit_key_makes_other_hashes_and_is_followed() {
    let api = Api::start(Reply::By(succeed)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), AUDIT_KEY).unwrap();
    let gateway = with_audit_key(&api, file.path());
    let mut client = gateway.client().await;
    ask(&mut client, "canary.user").await;
    until_logged(&gateway, 1).await;
    fs::write(file.path(), format!("{AUDIT_KEY}\r\n")).unwrap();
    gateway.logged("the audit key has changed").await;
    ask(&mut client, "canary.user").await;
    until_logged(&gateway, 2).await;
    fs::write(file.path(), AUDIT_KEY.to_uppercase()).unwrap();
    let changes = || gateway.log().matches("the audit key has changed").count();
    within(|| changes() == 2).await;
    ask(&mut client, "canary.user").await;
    until_logged(&gateway, 3).await;
    fs::write(file.path(), "canary").unwrap();
    gateway.logged("the audit key cannot be read again").await;
    ask(&mut client, "canary.user").await;
    until_logged(&gateway, 4).await;
    let log = gateway.stopped().await;
    let lines = calls(&log);
    let users = values(&lines, "user_hash");
    assert_eq!(
        users[0], users[1],
        "line breaks at the end are not part of it"
    );
    assert_ne!(users[1], users[2]);
    assert_eq!(users[2], users[3], "the last one stays");
    assert!(!log.to_lowercase().contains("canary"), "{log}");
}
