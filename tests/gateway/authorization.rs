//! The policy: who may call what.

use std::{fs, path::PathBuf, time::Duration};

use reset_gateway::proto::{
    GenerateTokenRequest, password_reset_service_client::PasswordResetServiceClient,
};
use rustix::process::{getgid, getuid};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use tonic::{Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::support::{
    api::{Api, Reply, bytes},
    collector::{Collector, attributes},
    frames::{
        DATA, END_HEADERS, END_STREAM, HEADERS, NO_SETTINGS, PING, RST_STREAM, call_to, frame,
        frames, greet,
    },
    gateway::{Call, Gateway, KEY, Metadata, Plain, connect, get, program, run, within},
    raw::{begin, framed, post, send, status_of},
    status::summary,
};

const REFUSED: &str = "PermissionDenied CALLER_NOT_ALLOWED caller not_sent";
const SERVICE: &str = "autoshares.passwordreset.v1.PasswordResetService";
const RESET: &str = "/autoshares.passwordreset.v1.PasswordResetService/ResetPassword";
const TOKEN: &str = "/autoshares.passwordreset.v1.PasswordResetService/GenerateToken";
/// The flag of a PING that answers another.
const ACK: u8 = 1;
const WEB: Metadata = Metadata(&[("x-team", "web")]);

/// A gateway with a policy, on TCP and on a Unix socket.
struct Setup {
    api: Api,
    gateway: Gateway,
    policy: PathBuf,
    folder: TempDir,
}

impl Setup {
    async fn start(policy: &Value, options: &[&str]) -> Self {
        let api = Api::start(Reply::json(200, Call::Token.success())).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        fs::write(&path, policy.to_string()).unwrap();
        let socket = format!("unix:{}", folder.path().join("gateway.sock").display());
        let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
        command.args(["--listen", "127.0.0.1:0", "--listen", &socket]);
        command.args(["--authz-policy", path.to_str().unwrap()]);
        command.args(options);
        Self {
            api,
            gateway: Gateway::start(command),
            policy: path,
            folder,
        }
    }

    async fn tcp(&self) -> PasswordResetServiceClient<Channel> {
        self.gateway.client().await
    }

    async fn unix(&self) -> PasswordResetServiceClient<Channel> {
        let socket = self.folder.path().join("gateway.sock");
        PasswordResetServiceClient::new(connect(&format!("unix:{}", socket.display())).await)
    }

    /// The metric of decisions, its series without the scope.
    async fn decisions(&self) -> Vec<String> {
        let (_, page) = get(&format!("{}/metrics", self.gateway.announced("admin on "))).await;
        let series = page
            .lines()
            .filter_map(|line| line.strip_prefix("reset_gateway_authz_decisions_total"));
        let scope = ",otel_scope_name=\"reset-gateway\"";
        let mut series: Vec<_> = series.map(|line| line.replace(scope, "")).collect();
        series.sort_unstable();
        series
    }

    /// The lines of calls, when the gateway has ended.
    async fn lines(self) -> Vec<Value> {
        let log = self.gateway.stopped().await;
        let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line["message"] == "call")
            .collect()
    }
}

/// A policy of one allow rule.
fn allow(rule: &Value) -> Value {
    json!({"name": "test", "allow_rules": [rule]})
}

/// Allows only calls with the metadata of [`WEB`].
fn allow_web() -> Value {
    allow(&json!({
        "name": "web",
        "request": {"headers": [{"key": "x-team", "values": ["web"]}]},
    }))
}

#[track_caller]
fn assert_refused<T>(result: Result<T, Status>) {
    let status = result.map(drop).unwrap_err();
    assert_eq!(summary(&status), REFUSED);
}

async fn check_health(client: &mut HealthClient<Channel>) -> Result<(), Status> {
    client.check(HealthCheckRequest::default()).await.map(drop)
}

async fn list_services(client: &mut ServerReflectionClient<Channel>) -> Result<(), Status> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let stream = client.server_reflection_info(tokio_stream::iter([request]));
    let mut responses = stream.await?.into_inner();
    responses.message().await.map(drop)
}

#[tokio::test]
async fn the_user_and_the_group_of_a_unix_peer_are_its_names() {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    for (principal, is_allowed) in [
        (format!("unix:uid:{uid}"), true),
        (format!("unix:gid:{gid}"), true),
        ("*".to_owned(), true),
        (format!("unix:uid:{}", uid + 1), false),
        (String::new(), false),
    ] {
        let policy = allow(&json!({"name": "r", "source": {"principals": [principal]}}));
        let setup = Setup::start(&policy, &[]).await;
        let result = Call::Token.make(&mut setup.unix().await, Plain).await;
        assert_eq!(result.is_ok(), is_allowed, "{principal:?}: {result:?}");
        // Without TLS a TCP peer has no name, and so not even "*" or the empty name.
        assert_refused(Call::Token.make(&mut setup.tcp().await, Plain).await);
        assert_eq!(setup.api.requests().len(), usize::from(is_allowed));
    }
}

#[tokio::test]
async fn a_refused_call_reaches_nobody_and_is_observed_like_any_other() {
    let collector = Collector::grpc().await;
    let policy = json!({
        "name": "test",
        "allow_rules": [{"name": "all but tokens"}],
        "deny_rules": [{"name": "no tokens", "request": {"paths": ["*/GenerateToken"]}}],
    });
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), policy.to_string()).unwrap();
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.args(["--authz-policy", file.path().to_str().unwrap()]);
    let endpoint = format!("http://{}", collector.address);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let gateway = Gateway::start(command);
    let mut client = gateway.client().await;
    assert_refused(Call::Token.make(&mut client, Plain).await);
    Call::Reset.make(&mut client, Plain).await.unwrap();
    assert_eq!(api.requests().len(), 1);

    let log = gateway.stopped().await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["message"] == "call")
        .collect();
    assert_eq!(lines.len(), 2, "{log}");
    for (key, value) in [
        ("level", json!("WARN")),
        ("event", json!("authz_fail")),
        ("rpc", json!(&TOKEN[1..])),
        ("code", json!("PERMISSION_DENIED")),
        ("reason", json!("CALLER_NOT_ALLOWED")),
        ("fault", json!("caller")),
        ("outcome", json!("not_sent")),
        ("policy", json!("test")),
        ("rule", json!("no tokens")),
        ("authorized", json!(false)),
        ("error", json!("the policy does not allow the call")),
    ] {
        assert_eq!(lines[0][key], value, "{key}: {}", lines[0]);
    }
    let allowed = &lines[1];
    assert_eq!(allowed["level"], "INFO");
    for key in ["event", "policy", "rule", "authorized"] {
        assert_eq!(allowed[key], Value::Null, "{key}: {allowed}");
    }
    let spans = collector.spans();
    let refused = spans.iter().filter(|span| span.name == TOKEN[1..]);
    let refused: Vec<_> = refused.map(attributes).collect();
    assert_eq!(refused.len(), 1);
    let reason = "reset_gateway.reason=CALLER_NOT_ALLOWED";
    assert!(refused[0].iter().any(|it| it == reason), "{refused:?}");
    let calls = collector.metric("rpc.server.call.duration").unwrap();
    assert!(format!("{calls:?}").contains("PERMISSION_DENIED"));
}

#[tokio::test]
async fn decisions_are_counted_by_rpc_and_rule() {
    let policy = json!({
        "name": "test",
        "allow_rules": [{"name": "web", "request": {"headers": [{"key": "x-team", "values": ["web"]}]}}],
        "deny_rules": [{"name": "no tokens", "request": {"paths": [TOKEN]}}],
    });
    let setup = Setup::start(&policy, &[]).await;
    // Prometheus would see no increase in a series that begins with the first refusal.
    let at_start = setup.decisions().await;
    assert_eq!(at_start.len(), 8, "{at_start:?}");
    for series in at_start {
        assert!(
            series.contains("denied") && series.ends_with(" 0"),
            "{series}"
        );
    }
    let mut client = setup.tcp().await;
    assert_refused(Call::Token.make(&mut client, WEB).await);
    assert_refused(Call::Token.make(&mut client, WEB).await);
    assert_refused(Call::Password.make(&mut client, Plain).await);
    Call::Password.make(&mut client, WEB).await.unwrap();
    let channel = setup.gateway.channel().await;
    assert_refused(check_health(&mut HealthClient::new(channel.clone())).await);
    assert_refused(list_services(&mut ServerReflectionClient::new(channel)).await);
    for path in ["/no.Service/Method", "/grpc.health.v1.HealthX/Check"] {
        let request = post(path, "application/grpc");
        let (_, headers) = send(&setup.gateway, request, framed(b"")).await;
        assert_eq!(status_of(&headers), REFUSED, "{path}");
    }
    let token = &TOKEN[1..];
    let expected = [
        r#"{decision="allowed",rpc="PASSWORD",rule="web"} 1"#,
        r#"{decision="denied",rpc="_OTHER"} 2"#,
        r#"{decision="denied",rpc="PASSWORD"} 1"#,
        r#"{decision="denied",rpc="TOKEN",rule="no tokens"} 2"#,
        r#"{decision="denied",rpc="grpc.health.v1.Health"} 1"#,
        r#"{decision="denied",rpc="grpc.reflection.v1.ServerReflection"} 1"#,
    ];
    let mut expected = expected.map(|line| {
        let password = format!("{SERVICE}/UpdatePassword");
        line.replace("PASSWORD", &password).replace("TOKEN", token)
    });
    expected.sort_unstable();
    let mut decisions = setup.decisions().await;
    decisions.retain(|series| !series.ends_with(" 0"));
    assert_eq!(decisions, expected);
}

#[tokio::test]
async fn unknown_methods_health_and_reflection_are_subject_to_it() {
    let policy = allow(&json!({"name": "resets", "request": {"paths": [RESET]}}));
    let setup = Setup::start(&policy, &[]).await;
    let channel = setup.gateway.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let mut reflection = ServerReflectionClient::new(channel);
    assert_refused(check_health(&mut health).await);
    assert_refused(list_services(&mut reflection).await);
    let request = || post("/no.Service/Method", "application/grpc");
    let (_, headers) = send(&setup.gateway, request(), framed(b"")).await;
    assert_eq!(status_of(&headers), REFUSED);
    let probe = run(&["probe", "--listen", setup.gateway.address()]);
    assert_eq!(probe.status.code(), Some(1));

    let lines = setup.lines().await;
    let rpcs: Vec<_> = lines.iter().map(|line| line["rpc"].clone()).collect();
    let health_service = "grpc.health.v1.Health";
    let reflection_service = "grpc.reflection.v1.ServerReflection";
    assert_eq!(
        rpcs,
        [health_service, reflection_service, "_OTHER", health_service]
    );
    for line in &lines {
        let of = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let told = ["level", "code", "reason", "event", "policy", "peer"].map(of);
        let expected = ["WARN", "PERMISSION_DENIED", "CALLER_NOT_ALLOWED"];
        assert_eq!(told[..3], expected, "{line}");
        assert_eq!(told[3..], ["authz_fail", "test", "tcp"], "{line}");
    }

    // What is allowed goes on as without a policy.
    let setup = Setup::start(&allow(&json!({"name": "all"})), &[]).await;
    let channel = setup.gateway.channel().await;
    check_health(&mut HealthClient::new(channel.clone()))
        .await
        .unwrap();
    list_services(&mut ServerReflectionClient::new(channel))
        .await
        .unwrap();
    let (_, headers) = send(&setup.gateway, request(), framed(b"")).await;
    let unknown = "Unimplemented INVALID_REQUEST caller not_sent";
    assert_eq!(status_of(&headers), unknown);
    assert_eq!(setup.lines().await.len(), 1, "health has no line");
}

#[tokio::test]
async fn in_audit_mode_a_call_that_is_not_allowed_is_served_logged_and_counted() {
    for condition in ["ON_DENY", "NONE"] {
        let mut policy = allow_web();
        policy["audit_logging_options"] = json!({"audit_condition": condition});
        let setup = Setup::start(&policy, &["--authz-mode", "audit"]).await;
        let mut client = setup.tcp().await;
        Call::Token.make(&mut client, Plain).await.unwrap();
        Call::Token.make(&mut client, WEB).await.unwrap();
        let mut health = HealthClient::new(setup.gateway.channel().await);
        check_health(&mut health).await.unwrap();
        assert_eq!(setup.api.requests().len(), 2);
        let token = &TOKEN[1..];
        let mut decisions = setup.decisions().await;
        decisions.retain(|series| !series.ends_with(" 0"));
        assert_eq!(
            decisions,
            [
                format!(r#"{{decision="allowed",rpc="{token}",rule="web"}} 1"#),
                format!(r#"{{decision="would_deny",rpc="{token}"}} 1"#),
                r#"{decision="would_deny",rpc="grpc.health.v1.Health"} 1"#.to_owned(),
            ]
        );
        let lines = setup.lines().await;
        let told = |line: &Value| {
            ["level", "code", "event", "policy", "authorized"].map(|key| line[key].clone())
        };
        let would_deny = |code: Value| {
            [
                json!("INFO"),
                code,
                json!(null),
                json!("test"),
                json!(false),
            ]
        };
        let mut told: Vec<_> = lines.iter().map(told).collect();
        told.sort_by_key(|line| line[3].is_null());
        assert_eq!(told.len(), 3);
        assert!(told[..2].contains(&would_deny(json!("OK"))), "{told:?}");
        assert!(told[..2].contains(&would_deny(json!(null))), "{told:?}");
        assert_eq!(told[2][4], Value::Null, "{told:?}");
    }
}

#[tokio::test]
async fn the_audit_condition_says_which_lines_name_the_policy() {
    for (condition, refused, allowed) in [
        ("NONE", json!(null), json!(null)),
        ("ON_DENY", json!(false), json!(null)),
        ("ON_ALLOW", json!(null), json!(true)),
        ("ON_DENY_AND_ALLOW", json!(false), json!(true)),
    ] {
        let mut policy = allow_web();
        policy["audit_logging_options"] = json!({"audit_condition": condition});
        let setup = Setup::start(&policy, &[]).await;
        let mut client = setup.tcp().await;
        assert_refused(Call::Token.make(&mut client, Plain).await);
        Call::Token.make(&mut client, WEB).await.unwrap();
        let lines = setup.lines().await;
        let told: Vec<_> = lines
            .iter()
            .map(|line| line["authorized"].clone())
            .collect();
        assert_eq!(told, [refused, allowed.clone()], "{condition}");
        assert_eq!(lines[0]["event"], "authz_fail", "{condition}");
        let rule = allowed.is_boolean().then_some("web");
        assert_eq!(lines[1]["rule"].as_str(), rule, "{condition}");
    }
}

#[tokio::test]
async fn a_refused_call_costs_no_attempt_and_needs_no_permit() {
    let options = ["--code-attempts-total", "1/24h", "--max-in-flight", "1"];
    let setup = Setup::start(&allow_web(), &options).await;
    let success = Call::Token.success().as_bytes();
    let json = [("Content-Type", "application/json")];
    setup.api.reply(Reply::Held(bytes(200, &json, success)));
    let mut client = setup.tcp().await;
    let mut other = client.clone();
    let held = tokio::spawn(async move { Call::Token.make(&mut other, WEB).await });
    within(|| setup.api.waiting() == 1).await;
    // The only permit and the only attempt are taken: what needed one would be refused as overloaded, or would wait.
    for call in Call::ALL {
        assert_refused(call.make(&mut client, Plain).await);
    }
    setup.api.release();
    held.await.unwrap().unwrap();
    assert_eq!(setup.api.requests().len(), 1);
}

#[tokio::test]
async fn a_write_survives_a_thousand_refused_calls_on_its_connection() {
    let setup = Setup::start(&allow_web(), &[]).await;
    let success = Call::Password.success().as_bytes();
    let json = [("Content-Type", "application/json")];
    setup.api.reply(Reply::Held(bytes(200, &json, success)));
    let client = setup.tcp().await;
    let mut other = client.clone();
    let held = tokio::spawn(async move { Call::Password.make(&mut other, WEB).await });
    within(|| setup.api.waiting() == 1).await;
    let code = "7".repeat(60_000);
    for _ in 0..20 {
        let calls = (0..50).map(|_| {
            let (mut client, code) = (client.clone(), code.clone());
            tokio::spawn(async move {
                let request = GenerateTokenRequest {
                    code,
                    request_id: None,
                };
                client.generate_token(request).await
            })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_refused(call.await.unwrap());
        }
    }
    setup.api.release();
    held.await.unwrap().unwrap();
    assert_eq!(setup.api.requests().len(), 1);
}

#[tokio::test]
async fn the_message_of_a_refused_call_is_read_and_its_stream_is_not_reset() {
    let setup = Setup::start(&allow_web(), &[]).await;
    for path in [TOKEN, "/no.Service/Method", "/grpc.health.v1.Health/Check"] {
        let mut stream = greet(&setup.gateway, NO_SETTINGS).await;
        let headers = frame(HEADERS, END_HEADERS, 1, &call_to(path, &[]));
        stream.write_all(&headers).await.unwrap();
        sleep(Duration::from_millis(200)).await;
        let message = frame(DATA, END_STREAM, 1, &framed(b""));
        let ping = frame(PING, 0, 0, b"that was");
        stream.write_all(&[message, ping].concat()).await.unwrap();
        let mut received = Vec::new();
        let has = |received: &[u8], kind, flag| {
            let frames = frames(received);
            frames.iter().any(|it| it.0 == kind && it.1 & flag == flag)
        };
        while !has(&received, HEADERS, END_STREAM) || !has(&received, PING, ACK) {
            assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "{path}");
        }
        assert!(!has(&received, RST_STREAM, 0), "{path}");
    }
}

#[tokio::test]
async fn a_refused_caller_that_never_sends_its_message_gets_its_status() {
    let setup = Setup::start(&allow_web(), &[]).await;
    for path in [TOKEN, "/grpc.health.v1.Health/Check"] {
        let (_, headers) = begin(&setup.gateway, post(path, "application/grpc")).await;
        assert_eq!(status_of(&headers), REFUSED, "{path}");
    }
}

#[tokio::test]
async fn a_changed_policy_takes_effect_and_an_invalid_one_does_not() {
    let setup = Setup::start(&allow_web(), &[]).await;
    let mut client = setup.tcp().await;
    assert_refused(Call::Token.make(&mut client, Plain).await);
    fs::write(&setup.policy, allow(&json!({"name": "all"})).to_string()).unwrap();
    setup.gateway.signal("HUP");
    setup.gateway.logged("the policy has changed").await;
    // On the same connection.
    Call::Token.make(&mut client, Plain).await.unwrap();

    let invalid = allow(&json!({"name": "web", "request": {"paths": ["*a*"]}}));
    fs::write(&setup.policy, invalid.to_string()).unwrap();
    let warning = "the policy cannot be read again; the last one stays";
    setup.gateway.logged(warning).await;
    let rule = r#"the rule \"web\" of allow_rules: a pattern is"#;
    setup.gateway.logged(rule).await;
    Call::Token.make(&mut client, Plain).await.unwrap();
    fs::remove_file(&setup.policy).unwrap();
    within(|| setup.gateway.log().matches(warning).count() == 2).await;
    Call::Token.make(&mut client, Plain).await.unwrap();

    fs::write(&setup.policy, allow_web().to_string()).unwrap();
    within(|| {
        setup
            .gateway
            .log()
            .matches("the policy has changed")
            .count()
            == 2
    })
    .await;
    assert_refused(Call::Token.make(&mut client, Plain).await);
}

#[derive(Deserialize)]
struct Invalid {
    policy: Box<RawValue>,
    error: String,
}

#[test]
fn an_invalid_policy_is_exit_status_2_and_one_line() {
    let table = include_str!("../../src/policy/invalid.json");
    let mut table: Vec<Invalid> = serde_json::from_str(table).unwrap();
    table.push(Invalid {
        policy: RawValue::from_string("1".to_owned()).unwrap(),
        error: "expected a JSON object".to_owned(),
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let url = "http://127.0.0.1:1";
    for Invalid { policy, error } in table {
        fs::write(path, policy.get()).unwrap();
        let serve = run(&["--upstream-url", url, "--authz-policy", path]);
        let authz = run(&["authz", "--policy", path, "--path", TOKEN]);
        for (output, setting) in [
            (serve, "--authz-policy (RESET_GATEWAY_AUTHZ_POLICY)"),
            (authz, "--policy (RESET_GATEWAY_POLICY)"),
        ] {
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{policy}: {stderr}");
            let takes = "takes a file with a policy in the format of gRFC A43";
            let expected = format!("reset-gateway: {setting} {takes} ({error}");
            assert!(stderr.starts_with(&expected), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(!stderr.contains("secret"), "{stderr}");
        }
    }
    let output = run(&["--upstream-url", url, "--authz-policy", "/no/such/file"]);
    assert_eq!(output.status.code(), Some(2));
}

/// What `authz` prints, and its exit status.
fn decided(policy: &Value, args: &[&str]) -> (Value, Option<i32>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), policy.to_string()).unwrap();
    let policy = file.path().to_str().unwrap();
    let output = run(&[&["authz", "--policy", policy], args].concat());
    let decision = serde_json::from_slice(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    (
        decision.unwrap_or_else(|_| panic!("{args:?}: {stderr}")),
        output.status.code(),
    )
}

#[test]
fn authz_prints_the_decision_and_its_rule() {
    let policy = json!({
        "name": "test",
        "allow_rules": [
            {"name": "web", "source": {"principals": ["spiffe://example.org/web"]}},
            {"name": "group", "source": {"principals": ["unix:gid:7"]}},
            {"name": "anonymous", "source": {"principals": [""]}, "request": {"paths": [RESET]}},
            {"name": "team", "request": {"headers": [{"key": "x-team", "values": ["a=b,c"]}]}},
        ],
        "deny_rules": [{"name": "no health", "request": {"paths": ["/grpc.health.*"]}}],
    });
    let web = ["--principal", "spiffe://example.org/web"];
    for (args, rule, is_allowed) in [
        (&["--path", TOKEN, web[0], web[1]][..], Some("web"), true),
        (
            &["--path", "/grpc.health.v1.Health/Check", web[0], web[1]],
            Some("no health"),
            false,
        ),
        (&["--path", TOKEN], None, false),
        (
            &["--path", &format!("{RESET}?x"), "--principal", ""],
            Some("anonymous"),
            true,
        ),
        (&["--path", TOKEN, "--principal", "x"], None, false),
        (
            &[
                "--path",
                TOKEN,
                "--principal",
                "unix:uid:1",
                "--principal",
                "unix:gid:7",
            ],
            Some("group"),
            true,
        ),
        (
            &["--path", RESET, "--principal", ""],
            Some("anonymous"),
            true,
        ),
        (&["--path", TOKEN, "--principal="], None, false),
        (
            &[
                "--path",
                TOKEN,
                "--header",
                "X-Team=a=b",
                "--header",
                "x-team=c",
            ],
            Some("team"),
            true,
        ),
    ] {
        let expected = json!({"authorized": is_allowed, "policy": "test", "rule": rule});
        let status = Some(i32::from(!is_allowed));
        assert_eq!(decided(&policy, args), (expected, status), "{args:?}");
    }
}

#[tokio::test]
async fn without_a_policy_every_caller_may_make_every_call() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    for call in Call::ALL {
        // The API's one reply is no success of some rpcs.
        if let Err(status) = call.make(&mut client, Plain).await {
            assert!(!summary(&status).starts_with(REFUSED), "{call:?}");
        }
    }
    let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    assert!(!page.contains("authz"), "{page}");
}
