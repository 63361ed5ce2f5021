//! Which requests are repeated and which never are, and what happens when a connection breaks.

use std::{
    fs,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::support::{
    api::{Api, HangUp, Reply},
    collector::{Collector, attributes},
    gateway::{Call, Gateway, KEY, Plain, UNLIMITED, get, program, within},
    raw::{post, send, status_of},
    status::{check, summary},
};

use Call::{Password, Question};

/// Failures that may pass, and the status of a read that meets only them.
fn transient_failures() -> Vec<(Reply, &'static str)> {
    vec![
        (
            Reply::json(502, ""),
            "Unavailable UPSTREAM_UNAVAILABLE upstream refused httpStatus=502",
        ),
        (
            Reply::json(503, ""),
            "Unavailable UPSTREAM_UNAVAILABLE upstream refused httpStatus=503",
        ),
        (
            Reply::json(504, ""),
            "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown httpStatus=504",
        ),
        (
            Reply::Last(Vec::new()),
            "Unavailable UPSTREAM_UNAVAILABLE upstream refused",
        ),
        (
            Reply::Reset,
            "Unavailable UPSTREAM_UNAVAILABLE upstream refused",
        ),
    ]
}

#[tokio::test]
async fn a_read_is_sent_up_to_three_times_and_a_write_once() {
    let api = Api::start(Reply::Silence).await;
    for (reply, expected) in transient_failures() {
        let gateway = Gateway::before(&api.url());
        let mut client = gateway.client().await;
        for call in Call::ALL {
            api.reply(reply.clone());
            let status = call.make(&mut client, Plain).await.unwrap_err();
            check(&status);
            let requests = api.requests();
            assert_eq!(
                requests.len(),
                if call == Question { 3 } else { 1 },
                "{call:?} {reply:?}"
            );
            if call == Question {
                assert_eq!(summary(&status), expected, "{reply:?}");
            }
        }
        for failures in 1..=2 {
            api.reply(Reply::json(200, Question.success()));
            api.first(vec![reply.clone(); failures]);
            Question.make(&mut client, Plain).await.unwrap();
            assert_eq!(api.requests().len(), failures + 1, "{reply:?}");
        }
        let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
        let retries = page
            .lines()
            .find_map(|line| line.strip_prefix("reset_gateway_retries_total"))
            .unwrap();
        assert!(retries.ends_with(" 5"), "{retries}");
    }
}

#[tokio::test]
async fn a_failure_that_would_be_the_same_again_is_not_retried() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    for http_status in [302, 400, 401, 403, 404, 408, 409, 422, 429, 500, 501, 505] {
        api.reply(Reply::json(http_status, ""));
        Question.make(&mut client, Plain).await.unwrap_err();
        assert_eq!(api.requests().len(), 1, "{http_status}");
    }
}

#[tokio::test]
async fn each_try_has_a_span_of_its_own_in_the_trace() {
    let api = Api::start(Reply::json(200, Question.success())).await;
    let collector = Collector::grpc().await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://{}", collector.address),
    );
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let gateway = Gateway::start(command);
    api.first([Reply::json(503, ""), Reply::Last(Vec::new())]);
    Question
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    let requests = api.requests();
    let log = gateway.stopped().await;
    assert!(log.contains("\"upstream_status\":200"), "{log}");

    let spans = collector.spans();
    let server = spans
        .iter()
        .find(|span| span.kind() == SpanKind::Server)
        .unwrap();
    let mut clients: Vec<_> = spans
        .iter()
        .filter(|span| span.kind() == SpanKind::Client)
        .collect();
    clients.sort_by_key(|span| span.start_time_unix_nano);
    assert_eq!((clients.len(), spans.len()), (3, 4));
    let told = |beginning: &str| -> Vec<_> {
        let of = |span| {
            attributes(span)
                .into_iter()
                .find_map(|it| it.strip_prefix(beginning).map(str::to_owned))
        };
        clients.iter().map(|span| of(span)).collect()
    };
    assert_eq!(
        told("http.request.resend_count="),
        [None, Some("1".to_owned()), Some("2".to_owned())]
    );
    assert_eq!(
        told("http.response.status_code="),
        [Some("503".to_owned()), None, Some("200".to_owned())]
    );
    assert_eq!(
        told("error.type="),
        [
            Some("503".to_owned()),
            Some("connection_lost".to_owned()),
            None
        ]
    );
    for (client, request) in clients.into_iter().zip(requests) {
        assert_eq!(
            (&client.parent_span_id, &client.trace_id),
            (&server.span_id, &server.trace_id)
        );
        let id: String = client
            .span_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(request.contains(&format!("-{id}-01\r\n")), "{request}");
    }
    let metric = collector.metric("http.client.request.duration").unwrap();
    let counted: u64 = crate::support::collector::points(&metric)
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(counted, 3);
    assert!(!format!("{metric:?}").contains("resend_count"));
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for_and_a_long_one_passed_on() {
    let api = Api::start(Reply::json(200, Question.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    api.first([Reply::with(503, &[("Retry-After", "1")], "")]);
    let begin = Instant::now();
    Question.make(&mut client, Plain).await.unwrap();
    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(api.requests().len(), 2);

    api.reply(Reply::with(503, &[("Retry-After", "3")], ""));
    let begin = Instant::now();
    let status = Question.make(&mut client, Plain).await.unwrap_err();
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    assert!(
        summary(&status).ends_with("httpStatus=503 retry=3s"),
        "{}",
        summary(&status)
    );
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn the_deadline_and_the_caller_end_the_retries() {
    let api = Api::start(Reply::json(503, "")).await;
    let gateway = Gateway::before(&api.url());
    let path = "/autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion";
    // There is no time for a retry after the shortest pause.
    let request = post(path, "application/grpc").header("grpc-timeout", "70m");
    let status = status_of(&send(&gateway, request, Question.framed()).await.1);
    assert!(api.requests().len() <= 1, "{status}");

    // The first retry gets no response.
    api.first([Reply::json(503, ""), Reply::Silence]);
    let request = post(path, "application/grpc").header("grpc-timeout", "1500m");
    let status = status_of(&send(&gateway, request, Question.framed()).await.1);
    assert_eq!(status, "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown");
    assert_eq!(api.requests().len(), 2);

    let mut client = gateway.client().await;
    api.first([Reply::with(503, &[("Retry-After", "1")], "")]);
    let waiting = tokio::spawn(async move { Question.make(&mut client, Plain).await });
    within(|| api.requests().len() == 1).await;
    waiting.abort();
    gateway.logged("CANCELLED").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(api.requests().is_empty(), "the caller has left");
}

#[tokio::test]
async fn an_outage_is_not_multiplied() {
    const READS: usize = 300;
    let api = Api::start(Reply::json(503, "")).await;
    let gateway = Gateway::before(&api.url());
    let client = gateway.client().await;
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..READS {
        let mut client = client.clone();
        reads.spawn(async move { Question.make(&mut client, Plain).await.unwrap_err() });
    }
    while let Some(status) = reads.join_next().await {
        let status = summary(&status.unwrap());
        assert_eq!(
            status,
            "Unavailable UPSTREAM_UNAVAILABLE upstream refused httpStatus=503"
        );
    }
    let requests = api.requests().len();
    assert!(
        (READS + 10..=READS + READS / 5 + 10).contains(&requests),
        "{requests} requests for {READS} reads"
    );
}

#[tokio::test]
async fn a_retry_that_cannot_connect_does_not_hide_that_the_call_was_sent() {
    let api = Api::start(Reply::json(503, "")).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    api.first([Reply::with(503, &[("Retry-After", "1")], "")]);
    let read = tokio::spawn(async move { Question.make(&mut client, Plain).await });
    within(|| api.requests().len() == 1).await;
    api.stop().await;
    let status = read.await.unwrap().unwrap_err();
    assert_eq!(
        summary(&status),
        "Unavailable UPSTREAM_UNAVAILABLE upstream refused",
        "not: not_sent"
    );
    let log = gateway.stopped().await;
    assert!(
        log.contains("\"outcome\":\"refused\"") && !log.contains("upstream_status"),
        "{log}"
    );
}

/// Whether a socket of this machine is connected to that port and has not received the end of the connection.
fn is_connected_to(port: u16) -> bool {
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!("0100007F:{port:04X} 01 ");
    sockets.lines().any(|socket| socket.contains(&remote))
}

#[tokio::test]
async fn an_idle_connection_that_the_api_closed_causes_no_error() {
    const ROUNDS: usize = 40;
    let api = Api::start(Reply::Silence).await;
    // With several, one worker may send a call while another has yet to see that the connection has ended.
    let one_worker = ["--app-key", KEY, "--worker-threads", "1"];
    let gateway = Gateway::with(&api.url(), &[&one_worker[..], &UNLIMITED].concat());
    let mut client = gateway.client().await;
    for call in Call::ALL {
        api.reply(Reply::json(200, call.success()));
        for round in 0..ROUNDS {
            let how = if round % 2 == 0 {
                HangUp::Finish
            } else {
                HangUp::Reset
            };
            let result = call.make(&mut client, Plain).await;
            assert!(result.is_ok(), "{call:?} {round}: {result:?}");
            assert_eq!(api.requests().len(), 1, "{call:?} {round}");
            assert!(is_connected_to(api.address.port()));
            api.hang_up(how).await;
            // On a busy machine, the kernel may deliver the end of the connection some time later.
            within(|| !is_connected_to(api.address.port())).await;
        }
    }
    let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    let retries = page
        .lines()
        .find_map(|line| line.strip_prefix("reset_gateway_retries_total"))
        .unwrap();
    assert!(retries.ends_with(" 0"), "{retries}");
}

#[tokio::test]
async fn a_write_whose_connection_broke_is_never_repeated() {
    let api = Api::start(Reply::json(200, Password.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    for reply in [Reply::Last(Vec::new()), Reply::Reset] {
        // The connection has been in use before, where HTTP clients like to retry.
        Password.make(&mut client, Plain).await.unwrap();
        assert_eq!(api.requests().len(), 1);
        api.first([reply]);
        let status = Password.make(&mut client, Plain).await.unwrap_err();
        assert_eq!(
            summary(&status),
            "Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown"
        );
        assert_eq!(api.requests().len(), 1);
    }
}
