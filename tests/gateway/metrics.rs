//! The metrics, at `/metrics` and as a collector receives them.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    time::Duration,
};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rcgen::PKCS_ECDSA_P256_SHA256;
use tokio::time::sleep;

use crate::support::{
    api::{Api, Reply},
    collector::{Collector, points},
    gateway::{Call, Gateway, KEY, Plain, UNLIMITED, get, program, within},
    raw::{post, send},
    tls_gateway::TlsGateway,
};

const PACKAGE: &str = "autoshares.passwordreset.v1.PasswordResetService";

/// The page, each sample by its name and labels, the scope left out.
async fn page(gateway: &Gateway) -> HashMap<String, f64> {
    let (status, text) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    assert_eq!(status, 200);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.replace(",otel_scope_name=\"reset-gateway\"", "");
            (
                name.replace("{otel_scope_name=\"reset-gateway\"}", ""),
                value.parse().unwrap(),
            )
        })
        .collect()
}

/// The sum of all samples of that name that have all those labels.
fn sum(page: &HashMap<String, f64>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &str, (label, value): &(&str, &str)| {
        sample.contains(&format!("{label}=\"{value}\""))
    };
    let of_name = |sample: &str| sample == name || sample.starts_with(&format!("{name}{{"));
    page.iter()
        .filter(|(it, _)| of_name(it) && labels.iter().all(|label| has(it, label)))
        .map(|(_, value)| value)
        .sum()
}

#[tokio::test]
async fn each_call_makes_one_span_one_measurement_and_one_line_over_either_protocol() {
    const ROUNDS: usize = 25;
    for protocol in ["grpc", "http/protobuf"] {
        let api = Api::start(Reply::Silence).await;
        let collector = Collector::speaking(protocol).await;
        let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
        command.args(UNLIMITED);
        command.env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", collector.address),
        );
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        let gateway = Gateway::start(command);
        let mut client = gateway.client().await;
        let mut calls = 0;
        for (http_status, body) in [
            (200, Call::Token.success()),
            (404, ""),
            (500, ""),
            (200, "<html>"),
        ] {
            api.reply(Reply::json(http_status, body));
            for _ in 0..ROUNDS {
                let (mut first, mut second) = (client.clone(), client.clone());
                let both = tokio::join!(
                    Call::Token.make(&mut first, Plain),
                    Call::Password.make(&mut second, Plain)
                );
                assert_eq!(both.0.is_ok(), body == Call::Token.success());
                calls += 2;
            }
        }
        // These are refused before anything is sent.
        for _ in 0..ROUNDS {
            client
                .generate_token(reset_gateway::proto::GenerateTokenRequest::default())
                .await
                .unwrap_err();
        }
        let (sent, calls) = (calls, calls + ROUNDS);
        let page = page(&gateway).await;
        gateway.stopped().await;
        let failed = [
            ("rpc_response_status_code", "INTERNAL"),
            ("error_type", "INTERNAL"),
        ];
        assert_eq!(
            sum(&page, "rpc_server_call_duration_seconds_count", &failed),
            4.0 * ROUNDS as f64
        );
        assert_eq!(
            sum(
                &page,
                "rpc_server_call_duration_seconds_count",
                &failed[1..]
            ),
            4.0 * ROUNDS as f64,
            "a caller's mistake is no error"
        );

        let spans = collector.spans();
        let servers: HashMap<_, _> = spans
            .iter()
            .filter(|span| span.kind() == SpanKind::Server)
            .map(|span| (span.span_id.clone(), span.trace_id.clone()))
            .collect();
        let clients: Vec<_> = spans
            .iter()
            .filter(|span| span.kind() == SpanKind::Client)
            .collect();
        assert_eq!(
            (servers.len(), clients.len(), spans.len()),
            (calls, sent, calls + sent),
            "{protocol}"
        );
        for client in clients {
            assert_eq!(
                servers.get(&client.parent_span_id),
                Some(&client.trace_id),
                "{protocol}"
            );
        }
        for (name, on_page, expected) in [
            (
                "rpc.server.call.duration",
                "rpc_server_call_duration_seconds_count",
                calls,
            ),
            (
                "reset_gateway.answers",
                "reset_gateway_answers_total",
                calls,
            ),
            (
                "http.client.request.duration",
                "http_client_request_duration_seconds_count",
                sent,
            ),
        ] {
            let metric = collector
                .metric(name)
                .unwrap_or_else(|| panic!("no {name}"));
            let pushed: u64 = points(&metric).iter().map(|(_, count)| count).sum();
            assert_eq!(pushed, expected as u64, "{protocol} {name}");
            assert_eq!(
                sum(&page, on_page, &[]),
                expected as f64,
                "{protocol} {on_page}"
            );
        }
        for (code, reason, expected) in [
            ("OK", "", 2 * ROUNDS),
            ("NOT_FOUND", "UPSTREAM_NOT_FOUND", 2 * ROUNDS),
            ("INTERNAL", "UPSTREAM_FAILED", 2 * ROUNDS),
            ("INTERNAL", "UPSTREAM_MALFORMED", 2 * ROUNDS),
            ("INVALID_ARGUMENT", "INVALID_REQUEST", ROUNDS),
        ] {
            let mut labels = vec![("rpc_response_status_code", code)];
            labels.extend((!reason.is_empty()).then_some(("reason", reason)));
            assert_eq!(
                sum(&page, "reset_gateway_answers_total", &labels),
                expected as f64,
                "{protocol} {code} {reason}"
            );
        }
    }
}

#[tokio::test]
async fn the_page_has_the_conventions_names_with_help_unit_and_buckets() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::before(&api.url());
    Call::Question
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    let (_, text) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    for name in [
        "rpc_server_call_duration_seconds",
        "http_client_request_duration_seconds",
    ] {
        for line in [
            format!("# UNIT {name} seconds\n"),
            format!("# HELP {name} Duration of the "),
            format!("# TYPE {name} histogram\n"),
        ] {
            assert!(text.contains(&line), "{line}");
        }
        for bound in [
            "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5",
            "5", "7.5", "10", "+Inf",
        ] {
            assert!(text.contains(&format!("le=\"{bound}\"")), "{bound}");
        }
    }
    let samples = page(&gateway).await;
    let server = format!(
        "rpc_server_call_duration_seconds_count{{rpc_method=\"{PACKAGE}/GetSecretQuestion\",rpc_response_status_code=\"OK\",rpc_system_name=\"grpc\"}}"
    );
    assert_eq!(samples[&server], 1.0);
    let port = api.address.port();
    let client = format!(
        "http_client_request_duration_seconds_count{{http_request_method=\"GET\",http_response_status_code=\"200\",network_protocol_version=\"1.1\",server_address=\"127.0.0.1\",server_port=\"{port}\",url_template=\"/v1.0/users/password/secret-question\"}}"
    );
    assert_eq!(samples[&client], 1.0);
    assert_eq!(
        samples[&format!(
            "reset_gateway_build_info{{version=\"{}\"}}",
            env!("CARGO_PKG_VERSION")
        )],
        1.0
    );
    assert_eq!(
        (
            samples["reset_gateway_ready"],
            samples["reset_gateway_calls_limit"]
        ),
        (1.0, 1024.0)
    );
}

#[tokio::test]
async fn unknown_methods_share_one_series() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    for number in 0..100 {
        let path = format!("/{PACKAGE}/Canary{number}");
        let (_, headers) = send(
            &gateway,
            post(&path, "application/grpc"),
            Call::Reset.framed(),
        )
        .await;
        assert_eq!(headers["grpc-status"], "12");
    }
    let page = page(&gateway).await;
    assert_eq!(
        sum(
            &page,
            "reset_gateway_answers_total",
            &[("rpc_method", "_OTHER")]
        ),
        100.0
    );
    let methods = page
        .keys()
        .filter(|name| name.starts_with("reset_gateway_answers_total"))
        .count();
    assert_eq!(methods, 1, "{page:?}");
    assert!(!page.keys().any(|name| name.contains("Canary")) && !gateway.log().contains("Canary"));
}

#[tokio::test]
async fn health_and_reflection_are_not_counted() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    assert!(
        crate::support::gateway::run(&["probe", "--listen", gateway.address()])
            .status
            .success()
    );
    assert_eq!(
        sum(
            &page(&gateway).await,
            "rpc_server_call_duration_seconds_count",
            &[]
        ),
        0.0
    );
}

#[tokio::test]
async fn rejected_keys_and_breaches_of_the_contract_are_counted() {
    let api = Api::start(Reply::json(401, "")).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    Call::Reset.make(&mut client, Plain).await.unwrap_err();
    let rejected = page(&gateway).await;
    assert_eq!(
        sum(
            &rejected,
            "reset_gateway_app_key_rejected_total",
            &[("key_owner", "gateway")]
        ),
        1.0
    );
    assert_eq!(rejected["reset_gateway_ready"], 0.0);

    for (reply, reason) in [
        (Reply::json(200, "<html>"), "UPSTREAM_MALFORMED"),
        (
            Reply::json(200, &"x".repeat(70_000)),
            "UPSTREAM_RESPONSE_TOO_LARGE",
        ),
        (
            Reply::with(302, &[("Location", "/")], ""),
            "UPSTREAM_REDIRECTED",
        ),
        (Reply::json(405, ""), "UPSTREAM_ENDPOINT_MISSING"),
        (
            Reply::json(200, r#"{"Errors":[],"IsSucceed":false}"#),
            "UPSTREAM_UNEXPLAINED",
        ),
    ] {
        api.reply(reply);
        Call::Token.make(&mut client, Plain).await.unwrap_err();
        let labels = [
            ("reason", reason),
            (
                "rpc_method",
                "autoshares.passwordreset.v1.PasswordResetService/GenerateToken",
            ),
        ];
        assert_eq!(
            sum(
                &page(&gateway).await,
                "reset_gateway_contract_broken_total",
                &labels
            ),
            1.0,
            "{reason}"
        );
    }
    assert_eq!(page(&gateway).await["reset_gateway_ready"], 1.0);
}

#[tokio::test]
async fn calls_in_flight_refused_and_cancelled_are_counted() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-in-flight", "1"]);
    let mut client = gateway.client().await;
    let mut waiting = client.clone();
    let waiting = tokio::spawn(async move { Call::Question.make(&mut waiting, Plain).await });
    within(|| !api.requests().is_empty()).await;
    Call::Token.make(&mut client, Plain).await.unwrap_err();
    let busy = page(&gateway).await;
    assert_eq!(
        (
            busy["reset_gateway_calls_in_flight"],
            busy["reset_gateway_calls_limit"]
        ),
        (1.0, 1.0)
    );
    assert_eq!(sum(&busy, "reset_gateway_calls_shed_total", &[]), 1.0);

    waiting.abort();
    gateway.logged("CANCELLED").await;
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("CANCELLED")).unwrap();
    assert!(line.contains("\"outcome\":\"unknown\""), "{line}");
    let idle = page(&gateway).await;
    assert_eq!(idle["reset_gateway_calls_in_flight"], 0.0);
    let cancelled = [("rpc_response_status_code", "CANCELLED")];
    assert_eq!(
        sum(&idle, "rpc_server_call_duration_seconds_count", &cancelled),
        1.0
    );
    assert_eq!(
        sum(&idle, "http_client_request_duration_seconds_count", &[]),
        1.0,
        "also a request that was given up"
    );
}

#[tokio::test]
async fn a_disabled_sdk_measures_nothing() {
    let mut command = program(&["--upstream-url", "http://127.0.0.1:1", "--app-key", KEY]);
    command.env("OTEL_SDK_DISABLED", "true");
    let gateway = Gateway::start(command);
    let metrics = format!("{}/metrics", gateway.announced("admin on "));
    assert_eq!(
        get(&metrics).await,
        (404, "OTEL_SDK_DISABLED is set\n".to_owned())
    );
}

#[tokio::test]
async fn the_page_has_exactly_the_metrics_that_alerts_and_dashboard_are_made_for() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let collector = Collector::http().await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://{}", collector.address),
    );
    let gateway = Gateway::start(command);
    Call::Question
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    // Only with TLS and a policy are there those of both.
    let policy = tempfile::NamedTempFile::new().unwrap();
    let rules = r#"{"name": "all", "allow_rules": [{"name": "all"}]}"#;
    fs::write(policy.path(), rules).unwrap();
    let options = ["--authz-policy", policy.path().to_str().unwrap()];
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &options).await;
    let mut on_pages = BTreeSet::new();
    for gateway in [&gateway, &tls.gateway] {
        let (_, text) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        on_pages.extend(types.filter_map(|line| Some(line.split(' ').next()?.to_owned())));
    }
    let listed = include_str!("../../deploy/observability/metrics.txt").lines();
    let listed: BTreeSet<_> = listed.map(str::to_owned).collect();
    assert_eq!(on_pages, listed);
}

#[tokio::test]
async fn successes_of_all_kinds_are_counted_in_their_own_series() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY]);
    let mut client = gateway.client().await;
    let body = Call::Question.success();
    let kinds = [("1.1", "200"), ("1.0", "200"), ("1.1", "201")];
    for _ in 0..2 {
        for (version, status) in kinds {
            let head = format!("HTTP/{version} {status} Status\r\nContent-Type: application/json");
            let length = body.len();
            let response = format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}");
            api.reply(Reply::Last(response.into_bytes()));
            Call::Question.make(&mut client, Plain).await.unwrap();
        }
    }
    let ok = [("rpc_response_status_code", "OK")];
    let mut samples = page(&gateway).await;
    // The last call is recorded just after its response.
    for _ in 0..100 {
        if sum(&samples, "rpc_server_call_duration_seconds_count", &ok) == 6.0 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
        samples = page(&gateway).await;
    }
    for (version, status) in kinds {
        let labels = [
            ("network_protocol_version", version),
            ("http_response_status_code", status),
        ];
        let count = sum(
            &samples,
            "http_client_request_duration_seconds_count",
            &labels,
        );
        assert_eq!(count, 2.0, "{labels:?}");
    }
    assert_eq!(sum(&samples, "reset_gateway_answers_total", &ok), 6.0);
    assert_eq!(
        sum(&samples, "rpc_server_call_duration_seconds_count", &ok),
        6.0
    );
}
