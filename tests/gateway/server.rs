//! The server around the four rpcs: what it takes for a call, its health, its reflection, its sockets.

use std::os::unix::fs::PermissionsExt;

use http::{Request, StatusCode};
use reset_gateway::proto::{GenerateTokenRequest, UpdatePasswordRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Status, codec::CompressionEncoding};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{
    api::{Api, Reply},
    gateway::{Call, Gateway, KEY, Plain, connect, get, program, run, within},
    raw::{begin, framed, post, send, status_of},
    status::summary,
};

const SERVICE: &str = "autoshares.passwordreset.v1.PasswordResetService";
const RESET: &str = "/autoshares.passwordreset.v1.PasswordResetService/ResetPassword";

#[tokio::test]
async fn what_is_not_grpc_gets_415() {
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let gateway = Gateway::before(&api.url());
    for (request, expected) in [
        (post(RESET, "application/grpc"), StatusCode::OK),
        (post(RESET, "application/grpc+proto"), StatusCode::OK),
        (post(RESET, "application/grpc;v=1"), StatusCode::OK),
        (post(RESET, "Application/GRPC"), StatusCode::OK),
        (
            post(RESET, "application/grpc-web"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            post(RESET, "application/json"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (post("/", "text/html"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (
            Request::post(format!("http://gateway{RESET}")),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            post(RESET, "application/grpc").method("GET"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            post(RESET, "application/grpc").method("PUT"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(
            send(&gateway, request, Call::Reset.framed()).await.0,
            expected,
            "{shown}"
        );
    }
    assert_eq!(api.requests().len(), 4);
}

#[tokio::test]
async fn http_1_gets_415_and_a_hint() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let request = format!(
        "POST {RESET} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 415 "), "{response}");
    assert!(response.contains("this is a gRPC server"), "{response}");
}

#[tokio::test]
async fn a_message_over_64_kib_is_resource_exhausted() {
    let api = Api::start(Reply::json(200, Call::Password.success())).await;
    let gateway = Gateway::before(&api.url());
    let request = UpdatePasswordRequest {
        request_id: None,
        token: "t".to_owned(),
        password: "x".repeat(64 * 1024),
        password_confirmation: None,
    };
    let status = gateway
        .client()
        .await
        .update_password(request)
        .await
        .unwrap_err();
    assert_eq!(
        summary(&status),
        "ResourceExhausted INVALID_REQUEST caller not_sent"
    );
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn a_compressed_request_is_read_and_the_response_is_not_compressed() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let gateway = Gateway::before(&api.url());
    let client = gateway.client().await;
    let mut client = client
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    let code = "7".repeat(1000);
    let response = client
        .generate_token(GenerateTokenRequest {
            request_id: None,
            code,
        })
        .await;
    assert!(response.unwrap().metadata().get("grpc-encoding").is_none());
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn a_decompression_bomb_is_resource_exhausted() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let gateway = Gateway::before(&api.url());
    let client = gateway.client().await;
    let mut client = client.send_compressed(CompressionEncoding::Gzip);
    let code = "7".repeat(16 << 20);
    let status = client
        .generate_token(GenerateTokenRequest {
            request_id: None,
            code,
        })
        .await;
    assert_eq!(
        summary(&status.unwrap_err()),
        "ResourceExhausted INVALID_REQUEST caller not_sent"
    );
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn an_undecodable_message_is_an_invalid_request() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    for message in [framed(&[0xff; 8]), framed(b"\x0a\x02\xff\xfe")] {
        let (_, headers) = send(&gateway, post(RESET, "application/grpc"), message).await;
        assert_eq!(
            status_of(&headers),
            "Internal INVALID_REQUEST caller not_sent"
        );
    }
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    for path in [&format!("/{SERVICE}/Nothing"), "/other.Service/Method"] {
        let (_, headers) = send(
            &gateway,
            post(path, "application/grpc"),
            Call::Reset.framed(),
        )
        .await;
        assert_eq!(
            status_of(&headers),
            "Unimplemented INVALID_REQUEST caller not_sent",
            "{path}"
        );
    }
}

#[tokio::test]
async fn each_cause_of_an_invalid_request_has_its_own_sentence() {
    let gateway = Gateway::with("http://127.0.0.1:1", &["--app-key", KEY]);
    let reset = || post(RESET, "application/grpc");
    let unknown = || post("/no.Service/Method", "application/grpc");
    let message = Call::Reset.framed();
    let compressed = [&[1], &message[1..]].concat();
    for (request, message, expected) in [
        (reset(), framed(&[]), "A field of the request is invalid"),
        (unknown(), message.clone(), "There is no such method"),
        (
            reset().header("grpc-encoding", "br"),
            compressed,
            "The compression of the message is not supported",
        ),
        (reset(), framed(&[0xff]), "The message cannot be read"),
        (
            reset(),
            framed(&[0; 64 * 1024 + 1]),
            "The message is larger than 64 KiB",
        ),
        (
            reset().header("x", "y".repeat(16 * 1024)),
            message,
            "The call has more than 16 KiB of metadata",
        ),
    ] {
        let (_, headers) = send(&gateway, request, message).await;
        let status = Status::from_header_map(&headers).unwrap();
        assert!(summary(&status).contains(" INVALID_REQUEST caller not_sent"));
        assert_eq!(status.message(), format!("{expected}; nothing was sent."));
    }
}

#[tokio::test]
async fn an_expired_deadline_is_deadline_exceeded_and_not_cancelled() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    for timeout in ["0n", "1n", "1500u", "1m"] {
        let request = post(RESET, "application/grpc").header("grpc-timeout", timeout);
        let (_, headers) = send(&gateway, request, Call::Reset.framed()).await;
        assert_eq!(
            status_of(&headers),
            "DeadlineExceeded UPSTREAM_TIMEOUT upstream not_sent",
            "{timeout}"
        );
    }
    // With as little time as there may be, too.
    for timeout in (2..60).map(|milliseconds| format!("{milliseconds}m")) {
        let request = post(RESET, "application/grpc").header("grpc-timeout", &timeout);
        let (_, headers) = send(&gateway, request, Call::Reset.framed()).await;
        assert_eq!(headers["grpc-status"], "4", "{timeout}: {headers:?}");
    }
}

#[tokio::test]
async fn a_caller_that_never_sends_its_message_holds_no_in_flight_permit() {
    let gateway = Gateway::with(
        "http://127.0.0.1:1",
        &["--app-key", KEY, "--timeout", "200ms"],
    );
    let (_, headers) = begin(&gateway, post(RESET, "application/grpc")).await;
    assert_eq!(
        status_of(&headers),
        "DeadlineExceeded UPSTREAM_TIMEOUT upstream not_sent"
    );
}

#[tokio::test]
async fn a_stalled_caller_gets_its_own_deadline_with_details() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    let request = post(RESET, "application/grpc").header("grpc-timeout", "300m");
    let (_, headers) = begin(&gateway, request).await;
    assert_eq!(
        status_of(&headers),
        "DeadlineExceeded UPSTREAM_TIMEOUT upstream not_sent"
    );
}

#[tokio::test]
async fn health_and_readiness_respond_under_every_name() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    let mut health = HealthClient::new(gateway.channel().await);
    for service in ["", SERVICE] {
        let response = health
            .check(HealthCheckRequest {
                service: service.to_owned(),
            })
            .await
            .unwrap();
        assert_eq!(
            response.into_inner().status(),
            ServingStatus::Serving,
            "{service:?}"
        );
    }
    let unknown = health
        .check(HealthCheckRequest {
            service: "no.Service".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let admin = gateway.announced("admin on ");
    assert_eq!(
        get(&format!("{admin}/livez")).await,
        (200, "ok\n".to_owned())
    );
    assert_eq!(
        get(&format!("{admin}/readyz")).await,
        (200, "ready\n".to_owned())
    );
    assert_eq!(
        run(&["probe", "--listen", gateway.address()]).status.code(),
        Some(0)
    );
}

#[tokio::test]
async fn reflection_serves_both_versions_with_options() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    let channel = gateway.channel().await;

    let ask = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1::server_reflection_request::MessageRequest::FileContainingSymbol(SERVICE.to_owned()),
        ),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut responses = client
        .server_reflection_info(tokio_stream::once(ask))
        .await
        .unwrap()
        .into_inner();
    let response = format!("{:?}", responses.message().await.unwrap().unwrap());
    let option = format!("{:?}", "/v1.0/users/passwords/reset/".as_bytes());
    assert!(
        response.contains(option.trim_matches(['[', ']'])),
        "the REST binding is in the descriptor: {response}"
    );

    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut responses = client
        .server_reflection_info(tokio_stream::once(ask))
        .await
        .unwrap()
        .into_inner();
    let response = format!("{:?}", responses.message().await.unwrap().unwrap());
    for service in [
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(response.contains(service), "{service}: {response}");
    }
}

#[tokio::test]
async fn a_unix_socket_serves_beside_tcp_and_is_removed_at_the_end() {
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");
    let address = format!("unix:{}", socket.display());
    let options = [
        "--app-key",
        KEY,
        "--listen",
        "127.0.0.1:0",
        "--listen",
        &address,
    ];
    let gateway = Gateway::with(&api.url(), &options);
    assert_eq!(
        std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o660
    );
    for address in [gateway.address(), &address] {
        let channel = connect(address).await;
        let mut client =
            reset_gateway::proto::password_reset_service_client::PasswordResetServiceClient::new(
                channel,
            );
        Call::Reset.make(&mut client, Plain).await.unwrap();
    }
    assert_eq!(run(&["probe", "--listen", &address]).status.code(), Some(0));
    gateway.stopped().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");
    let address = format!("unix:{}", socket.display());
    let options = ["--app-key", KEY, "--listen", &address];
    let gateway = Gateway::with("http://127.0.0.1:1", &options);

    let second = program(&[
        "--upstream-url",
        "http://127.0.0.1:1",
        "--admin-listen",
        "off",
        "--listen",
        &address,
    ])
    .output()
    .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        String::from_utf8(second.stderr)
            .unwrap()
            .contains("another process listens on it")
    );

    gateway.signal("KILL");
    within(|| std::os::unix::net::UnixStream::connect(&socket).is_err()).await;
    assert!(socket.exists(), "a killed process leaves its socket");
    let gateway = Gateway::with("http://127.0.0.1:1", &options);
    connect(&address).await;
    gateway.stopped().await;

    std::fs::write(&socket, "no socket").unwrap();
    let third = program(&[
        "--upstream-url",
        "http://127.0.0.1:1",
        "--admin-listen",
        "off",
        "--listen",
        &address,
    ])
    .output()
    .unwrap();
    assert!(
        String::from_utf8(third.stderr)
            .unwrap()
            .contains("not a socket")
    );
    assert_eq!(
        std::fs::read(&socket).unwrap(),
        b"no socket",
        "somebody's file is not touched"
    );
}

#[tokio::test]
async fn a_socket_of_another_process_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");
    let address = format!("unix:{}", socket.display());
    let options = ["--app-key", KEY, "--listen", &address];
    let first = Gateway::with("http://127.0.0.1:1", &options);
    std::fs::remove_file(&socket).unwrap();
    let _second = Gateway::with("http://127.0.0.1:1", &options);
    first.stopped().await;
    connect(&address).await;
}

#[tokio::test]
async fn cancelling_a_read_closes_its_rest_connection() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--timeout", "60s"]);
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { Call::Question.make(&mut client, Plain).await });
    within(|| api.requests().len() == 1).await;
    call.abort();
    within(|| api.closed() == 1).await;
}
