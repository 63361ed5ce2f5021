//! The status of each response, and of each way in which a call fails without one.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use reset_gateway::proto::{GenerateTokenRequest, GetSecretQuestionRequest};
use tokio::io::AsyncWriteExt;
use tonic::{Request, Status};

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Metadata, Plain},
    raw::{post, send, status_of},
    status::{check, summary},
};

use Call::{Password, Question, Reset, ResetWithAnswer, Token};

const TABLE: &str = include_str!("statuses.txt");

/// A response of the API and the status that it becomes.
pub struct Case {
    pub call: Call,
    pub reply: Reply,
    pub expected: String,
    /// The row of the table, for messages.
    pub row: String,
}

/// The cases of the table, and the one that is too long for it.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut status = "";
    let is_row = |line: &&str| !line.is_empty() && !line.starts_with('#');
    for line in TABLE.lines().filter(is_row) {
        match line.strip_prefix("  ") {
            Some(row) => cases.push(case(row, status)),
            None => status = line,
        }
    }
    let too_long = format!("Token 200 {}", "x".repeat(64 * 1024 + 1));
    let status = "Internal UPSTREAM_RESPONSE_TOO_LARGE upstream unknown";
    cases.push(case(&too_long, status));
    cases
}

fn case(row: &str, status: &str) -> Case {
    let mut words = row.splitn(3, ' ');
    let name = words.next().unwrap();
    let http_status = words.next().unwrap();
    let reply = words.next().unwrap_or_default().replace("\\r\\n", "\r\n");
    let (header, body) = match reply.strip_prefix('(') {
        Some(reply) => reply.split_once(')').unwrap(),
        None => ("Content-Type: application/json; charset=utf-8", &*reply),
    };
    let headers: Vec<_> = header.split_once(": ").into_iter().collect();
    // The HTTP status comes after "CODE REASON fault outcome".
    let end = status.match_indices(' ').nth(3);
    let (fixed, rest) = status.split_at(end.map_or(status.len(), |(end, _)| end));
    let calls = [Reset, ResetWithAnswer, Question, Token, Password];
    Case {
        call: calls
            .into_iter()
            .find(|call| format!("{call:?}") == name)
            .unwrap(),
        reply: Reply::with(
            http_status.parse().unwrap(),
            &headers,
            body.trim_start_matches(' '),
        ),
        expected: format!("{fixed} httpStatus={http_status}{rest}"),
        row: row.chars().take(300).collect(),
    }
}

#[tokio::test]
async fn every_response_becomes_the_status_of_the_table() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::unlimited(&api.url());
    let mut client = gateway.client().await;
    let mut messages = HashMap::new();
    for Case {
        call,
        reply,
        expected,
        row,
    } in cases()
    {
        api.reply(reply);
        let status = call.make(&mut client, Plain).await.expect_err(&row);
        check(&status);
        assert_eq!(summary(&status), expected, "{row}");
        let expected_pushback = expected_pushback(call, &expected);
        assert_eq!(pushback(&status), expected_pushback.as_deref(), "{row}");
        let reason = expected.split(' ').nth(1).unwrap().to_owned();
        let message = messages
            .entry(reason)
            .or_insert_with(|| status.message().to_owned());
        assert_eq!(status.message(), message, "one message per reason: {row}");
        let is_retried = row.starts_with("Question 502") || row.starts_with("Question 504");
        assert_eq!(
            api.requests().len(),
            if is_retried { 3 } else { 1 },
            "{row}"
        );
    }
}

/// The trailer that steers a client's automatic retries.
fn pushback(status: &Status) -> Option<&str> {
    status
        .metadata()
        .get("grpc-retry-pushback-ms")
        .map(|it| it.to_str().unwrap())
}

/// A write with an unknown outcome is not retried; any other status repeats its RetryInfo.
fn expected_pushback(call: Call, status: &str) -> Option<String> {
    if status.split(' ').nth(3) == Some("unknown") && call != Question {
        return Some("-1".to_owned());
    }
    let (_, delay) = status.split_once("retry=")?;
    let (seconds, _) = delay.split_once('s')?;
    let seconds: u64 = seconds.parse().unwrap();
    Some((seconds * 1000).to_string())
}

#[tokio::test]
async fn a_wait_that_exceeds_the_deadline_stops_automatic_retries() {
    let api = Api::start(Reply::with(429, &[("Retry-After", "7")], "")).await;
    let gateway = Gateway::before(&api.url());
    let mut request = Request::new(GenerateTokenRequest {
        request_id: None,
        code: "741175".to_owned(),
    });
    request.set_timeout(Duration::from_secs(5));
    let status = gateway
        .client()
        .await
        .generate_token(request)
        .await
        .unwrap_err();
    assert_eq!(
        summary(&status),
        "ResourceExhausted UPSTREAM_RATE_LIMITED upstream refused httpStatus=429 retry=7s"
    );
    assert_eq!(pushback(&status), Some("-1"));
}

#[tokio::test]
async fn every_documented_success_is_ok() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::unlimited(&api.url());
    let mut client = gateway.client().await;
    let bodies = [
        (Reset, r#"{ "Errors": [], "IsSucceed": true }"#),
        (
            Reset,
            r#"{ "Errors": null, "ErrorsCode": null, "Model": null, "StatusCode": "Continue", "IsSucceed": false }"#,
        ),
        (Reset, r#"{ "isSucceed": false }"#),
        (
            Reset,
            r#"{ "Errors": "", "ErrorsCode": {}, "StatusCode": 100, "IsSucceed": false }"#,
        ),
        (
            Password,
            r#"{ "Model": 1, "model": 2, "Errors": {}, "ErrorsCode": 0, "StatusCode": [], "IsSucceed": true, "\ud83d": 7 }"#,
        ),
        (
            Question,
            r#"{ "Model": "half \ud83d", "Errors": [], "IsSucceed": true, "issues": "\udd11" }"#,
        ),
        (
            Reset,
            r#"{ "Errors": [], "StatusCode": "BadRequest", "IsSucceed": false }"#,
        ),
        (
            Question,
            r#"{ "model": "x", "errors": [], "errorsCode": [], "statusCode": "OK", "isSucceed": true }"#,
        ),
        (
            Question,
            r#"{ "Model": "", "Errors": [], "IsSucceed": true }"#,
        ),
        (Question, r#"{ "Model": null, "IsSucceed": true }"#),
        (Password, "\u{feff}{ \"Errors\": [], \"IsSucceed\": true }"),
        (
            Password,
            r#"{ "Model": {"any": ["thing"]}, "Errors": [], "IsSucceed": true, "More": {"nested": [1]} }"#,
        ),
    ];
    let documented = Call::ALL.map(|call| (call, Reply::json(200, call.success())));
    let bodies = bodies.map(|(call, body)| (call, Reply::json(200, body)));
    let created = [201, 202].map(|status| (Token, Reply::json(status, Token.success())));
    // The API may omit the content type or send a wrong one.
    let types = [
        &[][..],
        &[("Content-Type", "text/json")],
        &[("Content-Type", "text/plain")],
        &[("Content-Type", "TEXT/HTML; charset=utf-8")],
    ];
    let types = types.map(|headers| (Password, Reply::with(200, headers, Password.success())));
    for (call, reply) in documented
        .into_iter()
        .chain(bodies)
        .chain(created)
        .chain(types)
    {
        api.reply(reply.clone());
        let result = call.make(&mut client, Plain).await;
        assert!(result.is_ok(), "{call:?} {reply:?}");
    }
}

#[tokio::test]
async fn a_date_in_retry_after_is_measured_against_the_responses_own_date() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    for (date, expected) in [
        ("Sat, 21 Nov 2015 11:59:51 GMT", "9s"),
        ("Sat, 21 Nov 2015 12:00:01 GMT", "0s"),
        ("yesterday", "0s"),
    ] {
        let headers = [
            ("Retry-After", "Sat, 21 Nov 2015 12:00:00 GMT"),
            ("Date", date),
        ];
        api.reply(Reply::with(429, &headers, ""));
        let status = Token.make(&mut client, Plain).await.unwrap_err();
        let row = "ResourceExhausted UPSTREAM_RATE_LIMITED upstream refused httpStatus=429";
        let expected = format!("{row} retry={expected}");
        assert_eq!(summary(&status), expected, "{date}");
    }
}

#[tokio::test]
async fn a_response_that_is_not_utf8_is_read_as_far_as_it_can_be() {
    // "Нет" in windows-1251.
    const NO: &[u8] = b"\xcd\xe5\xf2";
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY]);
    let mut client = gateway.client().await;
    let reply = |http_status, before: &str, after: &str| {
        let body = [before.as_bytes(), NO, after.as_bytes()].concat();
        let headers = [("Content-Type", "application/json; charset=windows-1251")];
        Reply::Bytes(bytes(http_status, &headers, &body))
    };
    for (call, reply, expected) in [
        (
            Password,
            reply(
                200,
                r#"{"Errors":[""#,
                r#"","No."],"ErrorsCode":["ErrorLocked"],"IsSucceed":false}"#,
            ),
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 upstreamCodes=ErrorLocked \"No.\"",
        ),
        (
            Password,
            reply(
                422,
                r#"{"ModelState":{"x.Token":["is used"],"x."#,
                r#"":["is old"]}}"#,
            ),
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422 [token: is used] [: is old]",
        ),
        (
            Token,
            reply(
                200,
                r#"{"Model":"ba6b8cac-"#,
                r#"","Errors":[],"IsSucceed":true}"#,
            ),
            "Internal UPSTREAM_MALFORMED upstream unknown httpStatus=200",
        ),
    ] {
        api.reply(reply);
        let status = call.make(&mut client, Plain).await.unwrap_err();
        assert_eq!(summary(&status), expected);
    }
    let success = reply(200, r#"{"Model":""#, r#"?","Errors":[],"IsSucceed":true}"#);
    api.reply(success);
    let request = GetSecretQuestionRequest {
        username: "some.trader".to_owned(),
    };
    let answer = client.get_secret_question(request).await.unwrap();
    let question = answer.into_inner().secret_question;
    assert_eq!(question.as_deref(), Some("\u{fffd}\u{fffd}\u{fffd}?"));
}

#[tokio::test]
async fn a_rejected_key_is_the_callers_fault_if_the_caller_sent_it() {
    let api = Api::start(Reply::json(
        403,
        r#"{"error":"Application key is not defined or does not exist"}"#,
    ))
    .await;
    let gateway = Gateway::with(&api.url(), &[]);
    let mut client = gateway.client().await;
    for (http_status, body, expected) in [
        (
            403,
            r#"{"error":"Application key is not defined or does not exist"}"#,
            "Unauthenticated APP_KEY_REJECTED caller refused httpStatus=403",
        ),
        (
            401,
            r#"{"Message":"Authorization has been denied for this request."}"#,
            "Unauthenticated APP_KEY_REJECTED caller refused httpStatus=401",
        ),
    ] {
        api.reply(Reply::json(http_status, body));
        let status = Reset
            .make(&mut client, Metadata(&[("et-app-key", "callers-key")]))
            .await
            .unwrap_err();
        assert_eq!(summary(&status), expected);
        assert!(api.requests()[0].contains("\r\net-app-key: callers-key\r\n"));
    }
}

#[tokio::test]
async fn without_any_key_nothing_is_sent() {
    let api = Api::start(Reply::json(200, Reset.success())).await;
    let gateway = Gateway::with(&api.url(), &[]);
    let mut client = gateway.client().await;
    for metadata in [
        Metadata(&[]),
        Metadata(&[("et-app-key", "")]),
        Metadata(&[("et-app-key", "not a key")]),
    ] {
        let status = Reset.make(&mut client, metadata).await.unwrap_err();
        assert_eq!(
            summary(&status),
            "Unauthenticated APP_KEY_MISSING caller not_sent"
        );
    }
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn an_unreachable_api_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let plain = no_tls().await;
    // A label of a name has at most 63 characters, so no resolver is asked for this one.
    let unresolvable = format!("http://{}.invalid", "x".repeat(64));
    for url in [
        format!("http://{closed}"),
        unresolvable,
        format!("https://{plain}"),
    ] {
        for call in Call::ALL {
            // A new gateway for each call, because the circuit breaker would answer the second one.
            let gateway = Gateway::before(&url);
            let status = call
                .make(&mut gateway.client().await, Plain)
                .await
                .unwrap_err();
            check(&status);
            assert_eq!(
                summary(&status),
                "Unavailable UPSTREAM_UNREACHABLE upstream not_sent",
                "{url} {call:?}"
            );
        }
    }
}

/// The address of a server that does not speak TLS.
async fn no_tls() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream
                .write_all(&bytes(400, &[], b"this is plain HTTP"))
                .await;
        }
    });
    address
}

#[tokio::test]
async fn a_broken_connection_leaves_the_outcome_of_writes_unknown() {
    let api = Api::start(Reply::Last(Vec::new())).await;
    let gateway = Gateway::unlimited(&api.url());
    let mut client = gateway.client().await;
    let half = bytes(200, &[("Content-Length", "100")], b"");
    let half = half[..half.len() - b"Content-Length: 0\r\n\r\n".len()].to_vec();
    let cut_off = [half, b"\r\n{\"Model\":".to_vec()].concat();
    for reply in [Vec::new(), b"not HTTP".to_vec(), cut_off] {
        api.reply(Reply::Last(reply.clone()));
        for call in Call::ALL {
            let status = call.make(&mut client, Plain).await.unwrap_err();
            check(&status);
            let expected = match call {
                Question => "Unavailable UPSTREAM_UNAVAILABLE upstream refused",
                _ => "Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown",
            };
            assert_eq!(
                summary(&status),
                expected,
                "{call:?} {}",
                String::from_utf8_lossy(&reply)
            );
            assert_eq!(
                api.requests().len(),
                if call == Question { 3 } else { 1 },
                "{call:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_deadline_status_says_whether_the_call_was_sent() {
    let silent = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&silent.url());
    for call in Call::ALL {
        let status = within_500_ms(&gateway, call).await;
        assert_eq!(
            status, "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown",
            "{call:?}"
        );
    }
    assert_eq!(silent.requests().len(), Call::ALL.len());

    let (full, mute) = (
        FullListener::start().await,
        Api::start(Reply::Silence).await,
    );
    for url in [full.url(), mute.url().replace("http:", "https:")] {
        let gateway = Gateway::before(&url);
        for call in Call::ALL {
            let status = within_500_ms(&gateway, call).await;
            assert_eq!(
                status, "DeadlineExceeded UPSTREAM_TIMEOUT upstream not_sent",
                "{url} {call:?}"
            );
        }
    }
}

/// The status of a call with a `grpc-timeout` of 500 ms, whose client has no timer of its own.
async fn within_500_ms(gateway: &Gateway, call: Call) -> String {
    let path = format!(
        "/autoshares.passwordreset.v1.PasswordResetService/{}",
        call.rpc()
    );
    let request = post(&path, "application/grpc").header("grpc-timeout", "500m");
    status_of(&send(gateway, request, call.framed()).await.1)
}

#[tokio::test]
async fn the_gateways_timeout_applies_to_calls_without_a_deadline() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", "k", "--timeout", "100ms"]);
    let mut client = gateway.client().await;
    let status = Password.make(&mut client, Plain).await.unwrap_err();
    assert_eq!(
        summary(&status),
        "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown"
    );
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_unreachable() {
    let full = FullListener::start().await;
    for call in Call::ALL {
        let gateway = Gateway::with(
            &full.url(),
            &["--app-key", "k", "--connect-timeout", "100ms"],
        );
        let status = call
            .make(&mut gateway.client().await, Plain)
            .await
            .unwrap_err();
        assert_eq!(
            summary(&status),
            "Unavailable UPSTREAM_UNREACHABLE upstream not_sent",
            "{call:?}"
        );
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", "k", "--max-in-flight", "1"]);
    let mut waiting = gateway.client().await;
    let waiting = tokio::spawn(async move { Reset.make(&mut waiting, Plain).await });
    crate::support::gateway::within(|| !api.requests().is_empty()).await;
    let mut client = gateway.client().await;
    let status = Reset.make(&mut client, Plain).await.unwrap_err();
    assert_eq!(
        summary(&status),
        "ResourceExhausted GATEWAY_OVERLOADED gateway not_sent retry=1s"
    );
    assert!(api.requests().is_empty());
    waiting.abort();
}

#[tokio::test]
async fn texts_fields_and_codes_are_cut_to_size() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let field = |n| {
        format!(
            r#""x.Field{n}{}":["<p>{}"]"#,
            "y".repeat(40),
            "ü".repeat(600)
        )
    };
    let fields = (0..30).map(field).collect::<Vec<_>>().join(",");
    let codes = vec![format!("\"{}\"", "E".repeat(64)); 100].join(",");
    let body = format!(r#"{{"ModelState":{{{fields}}},"ErrorsCode":[{codes}],"Errors":["no"]}}"#);
    api.reply(Reply::json(422, &body));
    let status = Password.make(&mut client, Plain).await.unwrap_err();
    check(&status);
    let text = summary(&status);
    assert_eq!(text.matches('[').count(), 8, "{text}");
    assert_eq!(text.matches(&"E".repeat(64)).count(), 8, "{text}");
    assert_eq!(text.matches('ü').count() * 'ü'.len_utf8(), 512, "{text}");
}

#[tokio::test]
async fn no_code_field_or_text_repeats_a_value_or_the_key() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", "GWKEY-0f3a9"]);
    let mut client = gateway.client().await;
    for (http_status, body, expected) in [
        (
            200,
            r#"{"Errors":["Application GWKEY-0f3a9 is over its quota","Wait."],"ErrorsCode":["GWKEY-0f3a9","a-token","ErrorQuota"]}"#,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 upstreamCodes=ErrorQuota \"Wait.\"",
        ),
        (
            422,
            r#"{"ModelState":{"x.aNewPassword":["no"],"x.GWKEY_0f3a9":["gwkey-0F3A9"],"x.A_TOKEN":["a&#45;token"]}}"#,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422 [: no] [: ] [: ]",
        ),
        (
            422,
            r#"{"ModelState":{"x.Token":["no a-token","is A NEW PASSWORD"]},"Errors":["a%20new%20password"]}"#,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422 [token: ]",
        ),
    ] {
        api.reply(Reply::json(http_status, body));
        let status = Password.make(&mut client, Plain).await.unwrap_err();
        assert_eq!(summary(&status), expected);
    }
}

#[tokio::test]
async fn a_response_without_a_length_is_cut_off_at_the_limit() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let endless = |length: usize| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
        Reply::Last([&head[..], Token.success().as_bytes(), &vec![b' '; length]].concat())
    };
    api.reply(endless(1000));
    Token.make(&mut client, Plain).await.unwrap();
    api.reply(endless(70_000));
    let status = Token.make(&mut client, Plain).await.unwrap_err();
    assert_eq!(
        summary(&status),
        "Internal UPSTREAM_RESPONSE_TOO_LARGE upstream unknown httpStatus=200"
    );
}

/// A listener whose queue is full, so that connections to it are neither made nor refused.
pub struct FullListener {
    listener: tokio::net::TcpListener,
    _queued: Vec<tokio::net::TcpStream>,
}

impl FullListener {
    pub async fn start() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let connect = || {
            tokio::time::timeout(
                Duration::from_millis(100),
                tokio::net::TcpStream::connect(address),
            )
        };
        while let Ok(stream) = connect().await {
            queued.push(stream.unwrap());
        }
        Self {
            listener,
            _queued: queued,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }
}
