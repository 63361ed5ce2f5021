//! One line a call, and a level that changes while the program runs.

use serde_json::Value;

use crate::support::{
    api::{Api, Reply},
    gateway::{Call, Gateway, KEY, Metadata, Plain, get, http, program},
};

/// The lines of calls, parsed.
fn calls(log: &str) -> Vec<Value> {
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    lines.filter(|line| line["message"] == "call").collect()
}

#[tokio::test]
async fn each_call_has_one_line_with_stable_keys() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let trace = Metadata(&[(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )]);
    Call::Question.make(&mut client, trace).await.unwrap();
    api.reply(Reply::json(404, ""));
    Call::Reset.make(&mut client, Plain).await.unwrap_err();
    api.reply(Reply::Last(Vec::new()));
    Call::Password.make(&mut client, Plain).await.unwrap_err();
    api.reply(Reply::json(401, ""));
    Call::Token.make(&mut client, Plain).await.unwrap_err();
    let lines = calls(&gateway.stopped().await);
    assert_eq!(lines.len(), 4);

    let ok = &lines[0];
    let mut keys: Vec<_> = ok.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "code",
        "duration_ms",
        "level",
        "message",
        "peer",
        "rpc",
        "span_id",
        "target",
        "timestamp",
        "trace_id",
        "upstream_status",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        ok["rpc"],
        "autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion"
    );
    assert_eq!(
        (&ok["code"], &ok["upstream_status"], &ok["peer"]),
        (&"OK".into(), &200.into(), &"tcp".into())
    );
    assert_eq!(ok["trace_id"], "0af7651916cd43dd8448eb211c80319c");

    let told = |line: &Value| {
        ["level", "code", "reason", "fault", "outcome"]
            .map(|key| line[key].as_str().unwrap().to_owned())
    };
    assert_eq!(
        told(&lines[1]),
        [
            "INFO",
            "NOT_FOUND",
            "UPSTREAM_NOT_FOUND",
            "caller",
            "refused"
        ]
    );
    assert_eq!(
        told(&lines[2]),
        [
            "WARN",
            "UNKNOWN",
            "UPSTREAM_OUTCOME_UNKNOWN",
            "upstream",
            "unknown"
        ]
    );
    let chain = lines[2]["error"].as_str().unwrap();
    assert!(
        chain.starts_with("the connection to the API broke: ")
            && chain.contains("connection closed"),
        "{chain}"
    );
    assert_eq!(
        lines[2]["upstream_status"],
        Value::Null,
        "there was no answer"
    );
    assert_eq!(
        told(&lines[3]),
        [
            "ERROR",
            "INTERNAL",
            "APP_KEY_REJECTED",
            "gateway",
            "refused"
        ]
    );
}

#[tokio::test]
async fn a_call_over_a_unix_socket_says_so_and_text_is_for_people() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("gateway.sock").display());
    let gateway = Gateway::with(
        &api.url(),
        &[
            "--app-key",
            KEY,
            "--listen",
            &address,
            "--log-format",
            "text",
        ],
    );
    Call::Question
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    let log = gateway.stopped().await;
    assert!(
        log.contains("call") && log.contains("peer") && log.contains("unix") && !log.contains('{'),
        "{log}"
    );
}

#[tokio::test]
async fn the_level_changes_while_the_program_runs() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let url = format!("{}/log-level", gateway.announced("admin on "));
    let put = async |directives: &'static str| {
        let client = http();
        let response = client.put(&url).body(directives).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get(&url).await, (200, "info\n".to_owned()));
    assert_eq!(
        put("reset_gateway=warn").await,
        (200, "reset_gateway=warn\n".to_owned())
    );
    Call::Question.make(&mut client, Plain).await.unwrap();
    for wrong in ["", "info,", "=info", "[span]=trace"] {
        assert_eq!(put(wrong).await.0, 400, "{wrong:?}");
    }
    let takes = "log level takes a level, or targets such as reset_gateway=debug,info\n";
    assert_eq!(put("a=b=c").await, (400, takes.to_owned()));
    assert_eq!(put("info").await.0, 200);
    Call::Question.make(&mut client, Plain).await.unwrap();
    let log = gateway.stopped().await;
    assert_eq!(calls(&log).len(), 1, "only the second is logged");
    assert!(
        !log.contains("=warn"),
        "what somebody sends is not repeated"
    );
}

#[tokio::test]
async fn the_level_does_not_change_from_elsewhere() {
    // This machine's address on a network, if it is on one: asked of the system, nothing is sent.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let Ok(own) = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr())
    else {
        return;
    };
    let gateway = Gateway::with(
        "http://127.0.0.1:1",
        &["--app-key", KEY, "--admin-listen", "0.0.0.0:0"],
    );
    let port = gateway.announced("admin on ").rsplit(':').next().unwrap();
    let client = http();
    let put = async |host: &str| {
        let response = client
            .put(format!("http://{host}:{port}/log-level"))
            .body("warn")
            .send()
            .await
            .unwrap();
        response.status().as_u16()
    };
    assert_eq!(put(&own.ip().to_string()).await, 403);
    assert_eq!(put("127.0.0.1").await, 200);
}

#[tokio::test]
async fn libraries_write_no_lines_at_any_level() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.env(
        "RUST_LOG",
        "trace,h2=trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace,tonic=trace",
    );
    let gateway = Gateway::start(command);
    Call::Question
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    let log = gateway.stopped().await;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let target = line["target"].as_str().unwrap();
        assert!(target.starts_with("reset_gateway"), "{line}");
    }
}
