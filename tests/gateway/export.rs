//! The way out for spans and metrics: the standard variables, and collectors that are not as they should be.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::support::{
    api::{Api, Reply},
    collector::Collector,
    gateway::{Call, Gateway, KEY, Metadata, Plain, get, program},
    tls::SelfSigned,
};

/// A gateway with these variables, before an API that always succeeds at step 3.
async fn with(variables: &[(&str, &str)]) -> (Api, Gateway) {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.envs(variables.iter().copied());
    (api, Gateway::start(command))
}

const CALLER: Metadata = Metadata(&[
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("baggage", "a=b"),
]);

#[tokio::test]
async fn headers_compression_and_resource_reach_the_collector_over_either_protocol() {
    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::speaking(protocol).await;
        let (_api, gateway) = with(&[
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &format!("http://{}", collector.address),
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", &protocol.to_uppercase()),
            ("HTTP_PROXY", "http://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_SERVICE_NAME", "resets"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=te%20st,service.name=another",
            ),
        ])
        .await;
        Call::Token
            .make(&mut gateway.client().await, Plain)
            .await
            .unwrap();
        gateway.stopped().await;
        assert_eq!(collector.spans().len(), 2, "{protocol}");
        assert!(
            collector.metric("rpc.server.call.duration").is_some(),
            "{protocol}"
        );
        assert_eq!(
            collector.header("x-tenant").as_deref(),
            Some("a b"),
            "{protocol}"
        );
        let encoding = if protocol == "grpc" {
            "grpc-encoding"
        } else {
            "content-encoding"
        };
        assert_eq!(
            collector.header(encoding).as_deref(),
            Some("gzip"),
            "{protocol}"
        );
        assert_eq!(
            collector.resource("service.name").as_deref(),
            Some("resets")
        );
        assert_eq!(
            collector.resource("deployment.environment.name").as_deref(),
            Some("te st")
        );
    }
}

#[tokio::test]
async fn the_service_name_can_come_from_the_resource_attributes() {
    let collector = Collector::grpc().await;
    let (_api, gateway) = with(&[
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("http://{}", collector.address),
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=another"),
    ])
    .await;
    Call::Token
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    gateway.stopped().await;
    assert_eq!(
        collector.resource("service.name").as_deref(),
        Some("another")
    );
}

#[tokio::test]
async fn each_signal_may_have_its_own_endpoint() {
    let (traces, metrics) = (Collector::http().await, Collector::grpc().await);
    let (_api, gateway) = with(&[
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("http://{}/v1/traces", traces.address),
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            &format!("http://{}", metrics.address),
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
    ])
    .await;
    Call::Token
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    gateway.stopped().await;
    assert_eq!((traces.spans().len(), metrics.spans().len()), (2, 0));
    assert!(traces.metric("rpc.server.call.duration").is_none());
    assert!(metrics.metric("rpc.server.call.duration").is_some());
}

#[tokio::test]
async fn the_collectors_certificate_is_verified_and_the_client_certificate_is_sent() {
    let (server, client) = (SelfSigned::new(), SelfSigned::new());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::speaking_over(protocol, server.acceptor_of(&client)).await;
        let endpoint = format!("https://{}", collector.address);
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            (
                "OTEL_EXPORTER_OTLP_CERTIFICATE",
                &file("ca.pem", &server.certificate),
            ),
            (
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                &file("client.pem", client.certificate.trim_end()),
            ),
            (
                "OTEL_EXPORTER_OTLP_CLIENT_KEY",
                &file("client.key", &client.key),
            ),
        ];
        let (_api, gateway) = with(&variables).await;
        Call::Token
            .make(&mut gateway.client().await, Plain)
            .await
            .unwrap();
        let log = gateway.stopped().await;
        assert_eq!(collector.spans().len(), 2, "{log}");

        let (_api, gateway) = with(&variables[..3]).await;
        Call::Token
            .make(&mut gateway.client().await, Plain)
            .await
            .unwrap();
        assert!(
            gateway
                .stopped()
                .await
                .contains("not all spans and metrics could be sent")
        );
        assert_eq!(
            collector.spans().len(),
            2,
            "without a certificate of its own it is turned away"
        );
    }
}

#[tokio::test]
async fn samplers_propagators_and_the_console_are_as_the_variables_say() {
    let collector = Collector::grpc().await;
    let endpoint = format!("http://{}", collector.address);
    let exporting = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];

    let (api, gateway) =
        with(&[&exporting[..], &[("OTEL_TRACES_SAMPLER", "always_off")]].concat()).await;
    Call::Token
        .make(&mut gateway.client().await, CALLER)
        .await
        .unwrap();
    assert!(
        api.requests()[0].contains("traceparent: 00-0af7651916cd43dd8448eb211c80319c-"),
        "the trace goes on, unsampled"
    );
    gateway.stopped().await;
    assert!(collector.spans().is_empty());

    for (propagators, goes_on) in [
        ("none", false),
        ("none,tracecontext", false),
        ("baggage", false),
        ("baggage,tracecontext", true),
        ("", true),
    ] {
        let before = collector.spans().len();
        let (api, gateway) =
            with(&[&exporting[..], &[("OTEL_PROPAGATORS", propagators)]].concat()).await;
        Call::Token
            .make(&mut gateway.client().await, CALLER)
            .await
            .unwrap();
        let request = &api.requests()[0];
        assert_eq!(request.contains("traceparent"), goes_on, "{propagators:?}");
        assert!(
            !request.contains("baggage"),
            "baggage never goes to the API"
        );
        gateway.stopped().await;
        let joins = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
            span.trace_id.starts_with(&[0x0a, 0xf7, 0x65])
        };
        assert!(
            collector.spans()[before..]
                .iter()
                .all(|span| joins(span) == goes_on),
            "{propagators:?}"
        );
    }

    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.envs([
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_METRICS_EXPORTER", "console"),
    ]);
    let gateway = Gateway::start(command);
    Call::Token
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    let printed = gateway.stopped_with_output().await;
    assert!(
        printed.contains("GenerateToken") && printed.contains("rpc.server.call.duration"),
        "{printed}"
    );
}

#[tokio::test]
async fn a_dead_collector_is_reported_once_and_every_span_counted() {
    const CALLS: usize = 40;
    for protocol in ["grpc", "http/protobuf"] {
        let (_api, gateway) = with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ])
        .await;
        let mut client = gateway.client().await;
        for _ in 0..CALLS {
            Call::Token.make(&mut client, Plain).await.unwrap();
        }
        gateway.logged("spans are dropped").await;
        let log = gateway.stopped().await;
        assert_eq!(
            log.matches("\"spans are dropped\"").count(),
            1,
            "{protocol}: {log}"
        );
        let class = if protocol == "grpc" {
            "Connection refused"
        } else {
            "network error"
        };
        assert!(
            log.contains(class) && !log.contains("127.0.0.1:1/"),
            "{protocol}: {log}"
        );
        let last = log.lines().last().unwrap();
        assert!(
            last.contains(&format!("\"dropped\":{}", 2 * CALLS)),
            "{protocol}: {last}"
        );
    }
}

#[tokio::test]
async fn a_collector_that_does_not_take_metrics_is_reported_once() {
    let (_api, gateway) = with(&[
        (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "http://127.0.0.1:1/v1/metrics",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
    ])
    .await;
    Call::Token
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    gateway.logged("does not take the metrics").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = gateway.stopped().await;
    assert_eq!(log.matches("does not take the metrics").count(), 1, "{log}");
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("not all spans and metrics could be sent") && last.contains("\"dropped\":0"),
        "{log}"
    );
}

#[tokio::test]
async fn an_export_ends_with_the_shortest_timeout_connecting_included() {
    const HOUR: &str = "3600000";
    // It takes connections, and never goes on to TLS.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    for (signal, of_processor, complaint) in [
        ("TRACES", "OTEL_BSP_EXPORT_TIMEOUT", "spans are dropped"),
        (
            "METRICS",
            "OTEL_METRIC_EXPORT_TIMEOUT",
            "does not take the metrics",
        ),
    ] {
        for (protocol, scheme) in [
            ("grpc", "http"),
            ("grpc", "https"),
            ("http/protobuf", "http"),
            ("http/protobuf", "https"),
        ] {
            let of_signal = format!("OTEL_EXPORTER_OTLP_{signal}_TIMEOUT");
            for timeouts in [
                &[("OTEL_EXPORTER_OTLP_TIMEOUT", "50"), (of_processor, HOUR)][..],
                &[
                    ("OTEL_EXPORTER_OTLP_TIMEOUT", HOUR),
                    (&of_signal, "50"),
                    (of_processor, HOUR),
                ],
                &[("OTEL_EXPORTER_OTLP_TIMEOUT", HOUR), (of_processor, "50")],
            ] {
                let endpoint = (
                    &*format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"),
                    &*format!("{scheme}://{address}/v1/x"),
                );
                let variables = [
                    endpoint,
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                    ("OTEL_BSP_SCHEDULE_DELAY", "20"),
                    ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
                ];
                let (_api, gateway) = with(&[&variables[..], timeouts].concat()).await;
                Call::Token
                    .make(&mut gateway.client().await, Plain)
                    .await
                    .unwrap();
                gateway.logged(complaint).await;
            }
        }
    }
}

#[tokio::test]
async fn spans_that_find_the_queue_full_are_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_api, gateway) = with(&[
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://{}", silent.local_addr().unwrap()),
        ),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
    ])
    .await;
    let mut client = gateway.client().await;
    for _ in 0..50 {
        Call::Token.make(&mut client, Plain).await.unwrap();
    }
    let (_, page) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    let lines = page.lines().filter(|line| {
        line.starts_with("otel_sdk_processor_span_processed_total{")
            && line.contains("error_type=\"queue_full\"")
    });
    let counts: Vec<u64> = lines
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    // Of a hundred spans at most ten wait, and at most ten are being sent.
    assert!(matches!(counts[..], [80..=90]), "{page}");
}

#[tokio::test]
async fn each_sampler_samples_the_calls_that_it_should() {
    const SAMPLED: Metadata = CALLER;
    const UNSAMPLED: Metadata = Metadata(&[(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    )]);
    for (sampler, ratio, alone, below_sampled, below_unsampled) in [
        ("always_on", "", true, true, true),
        ("Always_Off", "", false, false, false),
        ("traceidratio", "1", true, true, true),
        ("traceidratio", "0", false, false, false),
        ("parentbased_always_on", "", true, true, false),
        ("parentbased_always_off", "", false, true, false),
        ("parentbased_traceidratio", "1", true, true, false),
        ("parentbased_traceidratio", "0", false, true, false),
        ("", "", true, true, false),
    ] {
        let collector = Collector::http().await;
        let sampling = [
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ];
        let endpoint = format!("http://{}", collector.address);
        let (_api, gateway) = with(
            &[
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())],
                &sampling[..],
            ]
            .concat(),
        )
        .await;
        let mut client = gateway.client().await;
        Call::Token.make(&mut client, Plain).await.unwrap();
        Call::Token.make(&mut client, SAMPLED).await.unwrap();
        Call::Token.make(&mut client, UNSAMPLED).await.unwrap();
        gateway.stopped().await;
        let expected = 2 * [alone, below_sampled, below_unsampled]
            .into_iter()
            .filter(|is| *is)
            .count();
        assert_eq!(collector.spans().len(), expected, "{sampler} {ratio}");
    }
}

#[tokio::test]
async fn a_failed_start_prints_only_its_cause() {
    let (taken, silent) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let address = taken.local_addr().unwrap().to_string();
    let mut command = program(&["--upstream-url", "http://127.0.0.1:1", "--listen", &address]);
    command.env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://{}", silent.local_addr().unwrap()),
    );
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "reset-gateway: cannot listen on {address}: Address already in use (os error 98)\n"
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_neither_calls_nor_shutdown() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_api, gateway) = with(&[
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://{}", silent.local_addr().unwrap()),
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
    ])
    .await;
    let mut client = gateway.client().await;
    for _ in 0..50 {
        Call::Token.make(&mut client, Plain).await.unwrap();
    }
    let asked = Instant::now();
    let log = gateway.stopped().await;
    // Far below the 25 seconds that a drain may take; the exact time is no promise.
    assert!(asked.elapsed() < Duration::from_secs(10));
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("not all spans and metrics could be sent"),
        "{log}"
    );
}
