//! The spans of a call, as a collector receives them.

use std::fs;

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use tonic::{Request, transport::Channel};

use crate::support::{
    api::{Api, Reply, bytes},
    collector::{Collector, attributes},
    gateway::{Call, Gateway, Metadata, Plain, UNLIMITED, get, program, within},
    raw::{post, send},
    status::summary,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const CALLER: Metadata = Metadata(&[
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("tracestate", "vendor=value"),
    ("baggage", "who=canary-baggage"),
]);

/// A gateway that exports to that collector.
fn exporting(api: &Api, collector: &Collector, protocol: &str) -> Gateway {
    exporting_with(api, collector, protocol, &[])
}

/// The same with these arguments too.
fn exporting_with(api: &Api, collector: &Collector, protocol: &str, args: &[&str]) -> Gateway {
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", "canary-key"]);
    command.args(args).env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://{}", collector.address),
    );
    command
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("RUST_LOG", "trace");
    Gateway::start(command)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_kind(spans: &[Span], kind: SpanKind) -> &Span {
    let mut found = spans.iter().filter(|span| span.kind() == kind);
    let span = found
        .next()
        .unwrap_or_else(|| panic!("no {kind:?} span in {spans:?}"));
    assert!(found.next().is_none(), "one {kind:?} span");
    span
}

#[tokio::test]
async fn both_spans_are_in_the_callers_trace_over_either_protocol() {
    for protocol in ["grpc", "http/protobuf"] {
        let api = Api::start(Reply::json(200, Call::Question.success())).await;
        let collector = if protocol == "grpc" {
            Collector::grpc().await
        } else {
            Collector::http().await
        };
        let gateway = exporting(&api, &collector, protocol);
        let address = gateway.address().to_owned();
        Call::Question
            .make(&mut gateway.client().await, CALLER)
            .await
            .unwrap();
        gateway.stopped().await;

        let spans = collector.spans();
        assert_eq!(spans.len(), 2, "{protocol}: {spans:?}");
        let (server, client) = (
            of_kind(&spans, SpanKind::Server),
            of_kind(&spans, SpanKind::Client),
        );
        assert_eq!(
            (hex(&server.trace_id), hex(&server.parent_span_id)),
            (TRACE.to_owned(), PARENT.to_owned())
        );
        assert_eq!(
            (&client.trace_id, &client.parent_span_id),
            (&server.trace_id, &server.span_id)
        );

        let requests = api.requests();
        let sent = format!(
            "\r\ntraceparent: 00-{TRACE}-{}-01\r\ntracestate: vendor=value\r\n",
            hex(&client.span_id)
        );
        assert!(requests[0].contains(&sent), "{sent} {requests:?}");
        assert!(!requests[0].contains("baggage"), "baggage stays inside");

        assert_eq!(
            server.name,
            "autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion"
        );
        let port = address.rsplit(':').next().unwrap();
        let mut seen = attributes(server);
        let peer_port = seen.remove(
            seen.iter()
                .position(|it| it.starts_with("network.peer.port="))
                .unwrap(),
        );
        assert_ne!(peer_port, format!("network.peer.port={port}"));
        assert_eq!(
            seen,
            [
                "network.peer.address=127.0.0.1",
                "network.transport=tcp",
                "rpc.method=autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion",
                "rpc.response.status_code=OK",
                "rpc.system.name=grpc",
                "server.address=127.0.0.1",
                &format!("server.port={port}"),
            ]
        );
        assert_eq!(client.name, "GET /v1.0/users/password/secret-question");
        assert_eq!(
            attributes(client),
            [
                "http.request.method=GET",
                "http.response.status_code=200",
                "network.protocol.version=1.1",
                "server.address=127.0.0.1",
                &format!("server.port={}", api.address.port()),
                &format!(
                    "url.full={}/v1.0/users/password/secret-question?username=REDACTED",
                    api.url()
                ),
                "url.template=/v1.0/users/password/secret-question",
            ]
        );
        for span in [server, client] {
            assert_eq!(
                span.status.clone().unwrap_or_default().code(),
                StatusCode::Unset
            );
            assert!(span.events.is_empty());
        }
        assert_eq!(
            collector.resource("service.name").as_deref(),
            Some("reset-gateway")
        );
    }
}

#[tokio::test]
async fn the_client_span_names_the_path_of_the_release() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let collector = Collector::grpc().await;
    let gateway = exporting_with(&api, &collector, "grpc", &["--upstream-release", "etna"]);
    let mut client = gateway.client().await;
    Call::Token.make(&mut client, Plain).await.unwrap();
    gateway.stopped().await;
    let spans = collector.spans();
    let span = of_kind(&spans, SpanKind::Client);
    let path = "/v1.0/users/identifiers/reset/code";
    assert_eq!(span.name, format!("POST {path}"));
    let attributes = attributes(span);
    assert!(attributes.contains(&format!("url.template={path}")));
    assert!(attributes.contains(&format!("url.full={}{path}", api.url())));
}

#[tokio::test]
async fn only_a_servers_error_is_an_error_of_the_span() {
    let api = Api::start(Reply::Silence).await;
    let collector = Collector::grpc().await;
    let gateway = exporting(&api, &collector, "grpc");
    let mut client = gateway.client().await;
    let mut expected = Vec::new();
    for (http_status, code, is_error) in [
        (200, "OK", false),
        (400, "INVALID_ARGUMENT", false),
        (404, "NOT_FOUND", false),
        (409, "ABORTED", false),
        (429, "RESOURCE_EXHAUSTED", false),
        (403, "PERMISSION_DENIED", false),
        (418, "FAILED_PRECONDITION", false),
        (500, "INTERNAL", true),
        (501, "UNIMPLEMENTED", true),
        (502, "UNKNOWN", true),
        (503, "UNKNOWN", true),
        (504, "DEADLINE_EXCEEDED", true),
    ] {
        let body = if http_status == 200 {
            Call::Token.success()
        } else {
            ""
        };
        api.reply(Reply::json(http_status, body));
        assert_eq!(
            Call::Token.make(&mut client, Plain).await.is_ok(),
            http_status == 200
        );
        expected.push((http_status, code, is_error));
    }
    gateway.stopped().await;
    let spans = collector.spans();
    for (http_status, code, is_error) in expected {
        let has = |span: &&Span, attribute: String| attributes(span).contains(&attribute);
        let client = spans
            .iter()
            .find(|span| has(span, format!("http.response.status_code={http_status}")))
            .unwrap();
        assert_eq!(
            client.status.clone().unwrap_or_default().code() == StatusCode::Error,
            http_status >= 400
        );
        assert_eq!(
            has(&client, format!("error.type={http_status}")),
            http_status >= 400
        );

        let server = spans
            .iter()
            .find(|span| span.span_id == client.parent_span_id)
            .unwrap();
        assert!(
            has(&server, format!("rpc.response.status_code={code}")),
            "{http_status} {server:?}"
        );
        assert_eq!(
            server.status.clone().unwrap_or_default().code() == StatusCode::Error,
            is_error,
            "{code}"
        );
        assert_eq!(
            has(&server, format!("error.type={code}")),
            is_error,
            "{code}"
        );
        for span in [client, server] {
            assert_eq!(span.status.clone().unwrap_or_default().message, "");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_refused_for_overload_is_no_span_error_and_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("gateway.sock").display());
    let (api, collector) = (Api::start(Reply::Silence).await, Collector::grpc().await);
    let mut command = program(&[
        "--upstream-url",
        &api.url(),
        "--app-key",
        "k",
        "--max-in-flight",
        "1",
    ]);
    command.args(["--listen", &address]);
    command.env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://{}", collector.address),
    );
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let gateway = Gateway::start(command);
    let mut client = gateway.client().await;
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { Call::Question.make(&mut other, Plain).await });
    within(|| !api.requests().is_empty()).await;
    Call::Password.make(&mut client, Plain).await.unwrap_err();
    waiting.abort();
    within(|| api.closed() == 1).await;
    gateway.stopped().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:?}");
    let shed = spans
        .iter()
        .find(|span| span.name.ends_with("UpdatePassword"))
        .unwrap();
    assert_eq!(
        attributes(shed),
        [
            "network.transport=unix",
            "reset_gateway.fault=gateway",
            "reset_gateway.outcome=not_sent",
            "reset_gateway.reason=GATEWAY_OVERLOADED",
            "rpc.method=autoshares.passwordreset.v1.PasswordResetService/UpdatePassword",
            "rpc.response.status_code=RESOURCE_EXHAUSTED",
            "rpc.system.name=grpc",
        ]
    );
    assert_eq!(
        shed.status.clone().unwrap_or_default().code(),
        StatusCode::Unset
    );
}

#[tokio::test]
async fn a_call_without_a_key_or_with_an_unknown_method_has_only_a_server_span() {
    let collector = Collector::grpc().await;
    let mut command = program(&["--upstream-url", "http://127.0.0.1:1"]);
    command.env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://{}", collector.address),
    );
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let gateway = Gateway::start(command);
    Call::Token
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap_err();
    send(
        &gateway,
        post("/no.Service/Canary", "application/grpc"),
        Call::Token.framed(),
    )
    .await;
    gateway.stopped().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "{spans:?}");
    for (name, method, code, is_error) in [
        (
            "autoshares.passwordreset.v1.PasswordResetService/GenerateToken",
            "",
            "UNAUTHENTICATED",
            false,
        ),
        ("grpc", "_OTHER", "UNIMPLEMENTED", true),
    ] {
        let span = spans.iter().find(|span| span.name == name).unwrap();
        let method = if method.is_empty() { name } else { method };
        for attribute in [
            format!("rpc.method={method}"),
            format!("rpc.response.status_code={code}"),
        ] {
            assert!(
                attributes(span).contains(&attribute),
                "{attribute} {span:?}"
            );
        }
        assert_eq!(span.kind(), SpanKind::Server);
        assert_eq!(
            span.status.clone().unwrap_or_default().code() == StatusCode::Error,
            is_error,
            "{code}"
        );
    }
    assert!(
        !collector.text().contains("Canary"),
        "a name that does not exist can hold anything"
    );
}

#[tokio::test]
async fn a_failed_request_names_its_error_type() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let api = Api::start(Reply::Silence).await;
    let collector = Collector::grpc().await;
    for (url, reply, kind) in [
        (format!("http://{closed}"), Reply::Silence, "connect"),
        (api.url(), Reply::Silence, "timeout"),
        (api.url(), Reply::Last(Vec::new()), "connection_lost"),
        (
            api.url(),
            Reply::json(200, &"x".repeat(70_000)),
            "response_too_large",
        ),
        // Which comes first.
        (
            api.url(),
            Reply::Last(b"HTTP/1.1 500 Status\r\nContent-Length: 9\r\n\r\n".to_vec()),
            "500",
        ),
    ] {
        api.reply(reply);
        let before = collector.spans().len();
        let mut command = program(&[
            "--upstream-url",
            &url,
            "--app-key",
            "k",
            "--timeout",
            "500ms",
        ]);
        command.env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", collector.address),
        );
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let gateway = Gateway::start(command);
        Call::Token
            .make(&mut gateway.client().await, Plain)
            .await
            .unwrap_err();
        assert!(
            !api.requests()
                .iter()
                .any(|request| request.contains("tracestate")),
            "none came, so none goes on"
        );
        gateway.stopped().await;
        let spans = collector.spans().split_off(before);
        let client = of_kind(&spans, SpanKind::Client);
        let attributes_of_client = attributes(client);
        let errors: Vec<_> = attributes_of_client
            .iter()
            .filter(|it| it.starts_with("error.type="))
            .collect();
        assert_eq!(
            errors,
            [&format!("error.type={kind}")],
            "{kind}: {client:?}"
        );
        assert_eq!(
            client.status.clone().unwrap_or_default().code(),
            StatusCode::Error
        );
        let server = attributes(of_kind(&spans, SpanKind::Server));
        for attribute in [
            "reset_gateway.reason=",
            "reset_gateway.fault=upstream",
            "reset_gateway.outcome=",
        ] {
            assert!(
                server.iter().any(|it| it.starts_with(attribute)),
                "{attribute} {server:?}"
            );
        }
    }
}

#[tokio::test]
async fn without_export_the_callers_trace_still_reaches_the_api() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    for exporter in [None, Some("none")] {
        let mut command = program(&["--upstream-url", &api.url(), "--app-key", "k"]);
        if let Some(exporter) = exporter {
            command
                .env("OTEL_TRACES_EXPORTER", exporter)
                .env("OTEL_METRICS_EXPORTER", exporter);
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
        }
        let gateway = Gateway::start(command);
        let mut client = gateway.client().await;
        Call::Question.make(&mut client, CALLER).await.unwrap();
        assert!(
            api.requests()[0].contains(&format!("\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n"))
        );
        Call::Question.make(&mut client, Plain).await.unwrap();
        assert!(
            !api.requests()[0].contains("trace"),
            "without a trace nothing is invented"
        );
        let log = gateway.stopped().await;
        assert!(
            !log.to_lowercase().contains("otel") && !log.contains("WARN"),
            "nothing complains: {log}"
        );
    }
}

#[tokio::test]
async fn a_disabled_sdk_exports_nothing() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let collector = Collector::grpc().await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", "k"]);
    command
        .env("OTEL_SDK_DISABLED", "true")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    command.env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://{}", collector.address),
    );
    let gateway = Gateway::start(command);
    Call::Question
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    gateway.stopped().await;
    assert!(collector.spans().is_empty() && collector.metric("rpc.server.call.duration").is_none());
}

/// Every value that a caller or the API could hand in, each to be told from all others.
fn canaries() -> Vec<String> {
    let names = [
        "user",
        "answer",
        "username",
        "code",
        "token",
        "password",
        "key",
        "baggage",
        "model",
        "errors",
        "message",
        "fault",
        "exception",
        "stack",
        "header",
        "html",
        "state",
        "location",
        "audit",
    ];
    names.map(|name| format!("canary-{name}")).to_vec()
}

/// Responses of every kind, with a canary in every member.
fn poisoned() -> Vec<Reply> {
    let headers = [
        ("Content-Type", "application/json"),
        ("X-Debug", "canary-header"),
        ("Server", "canary-header"),
    ];
    let mut replies: Vec<_> = [400, 401, 403, 404, 405, 408, 409, 418, 422, 429, 500, 501, 502, 503, 504]
        .into_iter()
        .map(|http_status| {
            let body = r#"{"Message":"canary-message","error":"canary-fault","ExceptionMessage":"canary-exception","StackTrace":"canary-stack","ModelState":{"canary.State":["canary-state"]},"Errors":["canary-errors"],"Model":"canary-model"}"#;
            Reply::with(http_status, &headers, body)
        })
        .collect();
    replies.push(Reply::with(
        200,
        &headers,
        r#"{"Model":"canary-model","Errors":["canary-errors"],"IsSucceed":false}"#,
    ));
    replies.push(Reply::with(
        200,
        &headers,
        r#"{"Model":"canary-model","Errors":[],"IsSucceed":true}"#,
    ));
    replies.push(Reply::with(
        200,
        &[("Content-Type", "text/html")],
        "<html>canary-html</html>",
    ));
    replies.push(Reply::with(
        302,
        &[("Location", "http://canary-location/?canary-location")],
        "canary-html",
    ));
    replies.push(Reply::Last(Vec::new()));
    replies.push(Reply::Last(b"canary-html".to_vec()));
    replies.push(Reply::json(200, &"canary-model".repeat(7000)));
    replies.push(Reply::Silence);
    replies
}

/// Every rpc with a canary in every field, and in what travels beside it.
async fn canary_calls(gateway: &Gateway) -> Vec<Result<(), tonic::Status>> {
    fn with<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in [
            ("baggage", "who=canary-baggage"),
            ("et-app-key", "canary-key"),
            ("x-other", "canary-header"),
        ] {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        request
    }
    let mut client = gateway.client().await;
    let text = |name: &str| format!("canary-{name}");
    let reset = |answer| ResetPasswordRequest {
        request_id: None,
        user: text("user"),
        secret_question_answer: answer,
    };
    let password = |confirmation: &str| UpdatePasswordRequest {
        request_id: None,
        token: text("token"),
        password: text("password"),
        password_confirmation: Some(text(confirmation)),
    };
    vec![
        client.reset_password(with(reset(None))).await.map(drop),
        client
            .reset_password(with(reset(Some(text("answer")))))
            .await
            .map(drop),
        client
            .get_secret_question(with(GetSecretQuestionRequest {
                username: text("username"),
            }))
            .await
            .map(drop),
        client
            .generate_token(with(GenerateTokenRequest {
                request_id: None,
                code: text("code"),
            }))
            .await
            .map(drop),
        client
            .update_password(with(password("password")))
            .await
            .map(drop),
        // Refused before anything is sent.
        client
            .update_password(with(password("code")))
            .await
            .map(drop),
    ]
}

#[tokio::test]
async fn nothing_private_leaves_the_process() {
    // With a key of the gateway's and of the callers', over both protocols, in both forms of the log.
    for (key, protocol, format) in [
        ("--app-key=canary-key", "grpc", "json"),
        ("", "http/protobuf", "text"),
    ] {
        let api = Api::start(Reply::Silence).await;
        let collector = Collector::speaking(protocol).await;
        let audit_key = tempfile::NamedTempFile::new().unwrap();
        fs::write(audit_key.path(), "canary-audit".repeat(3)).unwrap();
        let mut command = program(&[
            "--upstream-url",
            &api.url(),
            "--audit-key-file",
            audit_key.path().to_str().unwrap(),
            "--timeout",
            "300ms",
            "--log-format",
            format,
        ]);
        command
            .args(UNLIMITED)
            .args((!key.is_empty()).then_some(key))
            .env("RUST_LOG", "trace");
        command.env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", collector.address),
        );
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        let gateway = Gateway::start(command);
        let mut statuses = String::new();
        let mut calls = 0;
        for reply in poisoned() {
            api.reply(reply);
            let results = canary_calls(&gateway).await;
            calls += results.len();
            for status in results.into_iter().filter_map(Result::err) {
                statuses += &format!("{} {} {status:?}", summary(&status), status.message());
            }
        }
        let unknown = post("/canary-user/canary-code", "application/grpc")
            .header("user-agent", "canary-header");
        send(&gateway, unknown, Call::Reset.framed()).await;
        let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
        let log = gateway.stopped().await;

        let spans = collector.spans();
        let (refused, unknown) = (calls / 6, 1);
        let repeats = |span: &&Span| {
            attributes(span)
                .iter()
                .any(|it| it.starts_with("http.request.resend_count="))
        };
        let repeated = spans.iter().filter(repeats).count();
        assert_eq!(
            spans.len(),
            2 * calls - refused + unknown + repeated,
            "{protocol}"
        );
        assert!(collector.metric("rpc.server.call.duration").is_some());
        for seen in [&page, &log, &statuses] {
            assert!(
                seen.contains("UPSTREAM_FAILED") && seen.contains("UPSTREAM_TIMEOUT"),
                "there is something to search"
            );
        }
        assert!(
            log.contains("user_hash") && log.contains("token_hash"),
            "{log}"
        );
        for canary in canaries() {
            assert!(
                !collector.text().contains(&canary),
                "{canary} at the collector"
            );
            assert!(!page.contains(&canary), "{canary} on the page");
            assert!(!log.contains(&canary), "{canary} in the log: {log}");
            // The texts in `Errors` and `ModelState` are meant for the caller.
            if !["canary-errors", "canary-state"].contains(&canary.as_str()) {
                assert!(!statuses.contains(&canary), "{canary} in a status");
            }
        }
        assert!(statuses.contains("canary-errors") && statuses.contains("canary-state"));
    }
}

#[tokio::test]
async fn nothing_private_leaves_with_calls_that_are_refused_cancelled_or_cut_off_at_shutdown() {
    let (api, collector) = (Api::start(Reply::Silence).await, Collector::grpc().await);
    let mut command = program(&[
        "--upstream-url",
        &api.url(),
        "--app-key",
        "canary-key",
        "--max-in-flight",
        "1",
    ]);
    command
        .args(["--drain-timeout", "200ms"])
        .env("RUST_LOG", "trace");
    command.env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://{}", collector.address),
    );
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let gateway = Gateway::start(command);
    let mut client = gateway.client().await;
    let pending = |client: &mut PasswordResetServiceClient<Channel>| {
        let (mut client, request) = (
            client.clone(),
            GetSecretQuestionRequest {
                username: "canary-username".to_owned(),
            },
        );
        tokio::spawn(async move { client.get_secret_question(request).await })
    };
    let given_up = pending(&mut client);
    within(|| api.requests().len() == 1).await;
    let shed = canary_calls(&gateway).await;
    given_up.abort();
    gateway.logged("CANCELLED").await;
    let cut_off = pending(&mut client);
    within(|| api.requests().len() == 1).await;
    let log = gateway.stopped().await;
    let mut statuses: Vec<_> = shed.into_iter().map(Result::unwrap_err).collect();
    statuses.push(cut_off.await.unwrap().unwrap_err());
    let told = statuses
        .iter()
        .map(|status| format!("{} {status:?}", summary(status)))
        .collect::<String>();
    for seen in ["GATEWAY_OVERLOADED", "CANCELLED", "UPSTREAM_UNAVAILABLE"] {
        assert!(log.contains(seen), "{seen}: {log}");
    }
    assert_eq!(collector.spans().len(), 6 + 2 * 2);
    for canary in canaries() {
        for text in [&log, &told, &collector.text()] {
            assert!(!text.contains(&canary), "{canary} in {text}");
        }
    }
}

#[tokio::test]
async fn a_cancelled_read_still_has_its_spans() {
    let api = Api::start(Reply::Silence).await;
    let collector = Collector::grpc().await;
    let gateway = exporting(&api, &collector, "grpc");
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { Call::Question.make(&mut client, Plain).await });
    within(|| api.requests().len() == 1).await;
    call.abort();
    within(|| api.closed() == 1).await;
    gateway.stopped().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "{spans:?}");
    for span in &spans {
        assert_eq!(
            span.status.clone().unwrap_or_default().code(),
            StatusCode::Unset,
            "no error: {span:?}"
        );
    }
    let cancelled = "rpc.response.status_code=CANCELLED".to_owned();
    assert!(attributes(of_kind(&spans, SpanKind::Server)).contains(&cancelled));
}

#[tokio::test]
async fn the_span_of_a_write_ends_with_its_rest_call_and_not_with_its_caller() {
    let held = bytes(200, &[], Call::Token.success().as_bytes());
    let api = Api::start(Reply::Held(held)).await;
    let collector = Collector::grpc().await;
    let gateway = exporting(&api, &collector, "grpc");
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { Call::Token.make(&mut client, Plain).await });
    within(|| api.waiting() == 1).await;
    call.abort();
    gateway.logged("CANCELLED").await;
    api.release();
    gateway.stopped().await;
    let spans = collector.spans();
    let (server, request) = (
        of_kind(&spans, SpanKind::Server),
        of_kind(&spans, SpanKind::Client),
    );
    let cancelled = "rpc.response.status_code=CANCELLED".to_owned();
    assert!(attributes(server).contains(&cancelled));
    let answered = "http.response.status_code=200".to_owned();
    assert!(attributes(request).contains(&answered));
    assert_eq!(request.parent_span_id, server.span_id);
    assert!(request.end_time_unix_nano > server.end_time_unix_nano);
}

#[tokio::test]
async fn several_tracestate_fields_are_one_list() {
    const STATES: Metadata = Metadata(&[
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "one=1"),
        ("tracestate", ""),
        ("tracestate", "two=2,three=3"),
    ]);
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    Call::Question.make(&mut client, STATES).await.unwrap();
    let request = &api.requests()[0];
    assert!(
        request.contains("\r\ntracestate: one=1,two=2,three=3\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn two_traceparent_fields_start_a_new_trace() {
    const PARENTS: Metadata = Metadata(&[
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
        ),
        ("tracestate", "vendor=value"),
    ]);
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let collector = Collector::grpc().await;
    let gateway = exporting(&api, &collector, "grpc");
    let mut client = gateway.client().await;
    Call::Question.make(&mut client, PARENTS).await.unwrap();
    gateway.stopped().await;
    let request = &api.requests()[0];
    assert!(
        request.contains("traceparent: 00-") && !request.contains("tracestate"),
        "{request}"
    );
    for span in collector.spans() {
        assert_ne!(hex(&span.trace_id), TRACE);
    }
}
