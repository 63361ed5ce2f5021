//! Security events in the log, and the hashes that join those of one person.

use std::{fs, path::Path};

use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use serde_json::Value;
use tonic::transport::Channel;

use crate::{
    logs::calls,
    support::{
        api::{Api, Reply},
        gateway::{Call, Gateway, KEY, Plain, get, within},
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
