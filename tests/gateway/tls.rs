//! TLS on the listeners of gRPC calls: who gets in, and what the gateway says of the others.

use rcgen::{ExtendedKeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::rustls::{
    HandshakeKind, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use crate::support::{
    certificates::{Authority, BadClient, CLIENT, KEY_TYPES},
    tls_client::TlsClient,
    tls_gateway::TlsGateway,
};

const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

#[tokio::test]
async fn clients_with_a_good_certificate_get_in_with_keys_of_all_types() {
    for (server, algorithm) in KEY_TYPES {
        let tls = TlsGateway::start(algorithm, &["--tls-min-version", "1.2"]).await;
        for (client, algorithm) in KEY_TYPES {
            let certificate = tls.clients.root().client_for(algorithm);
            for versions in VERSIONS {
                let client_settings =
                    TlsClient::with_versions(&tls.authority, Some(&certificate), versions);
                let what = format!("server {server}, client {client}, {versions:?}");
                assert!(tls.serves(&client_settings).await, "{what}");
            }
        }
        assert_eq!(tls.handshakes("ok").await, 6);
        let log = tls.gateway.stopped().await;
        let named = format!("\"principal\":\"{CLIENT}\"");
        assert_eq!(log.matches(&named).count(), 6, "{log}");
    }
}

#[tokio::test]
async fn a_client_sends_the_intermediates_of_its_certificate() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let certificate = tls.clients.by_intermediate("client.example.com");
    assert!(tls.serves(&tls.client(Some(&certificate))).await);
    let log = tls.gateway.stopped().await;
    assert!(
        log.contains("\"principal\":\"client.example.com\""),
        "{log}"
    );
}

#[tokio::test]
async fn clients_with_a_bad_certificate_are_refused_and_the_log_and_the_metric_say_why() {
    for auth in ["required", "optional"] {
        let options = ["--tls-min-version", "1.2", "--tls-client-auth", auth];
        let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &options).await;
        for kind in BadClient::ALL {
            let certificate = tls.clients.bad(kind);
            for versions in VERSIONS {
                let what = format!("{kind:?}, {auth}, {versions:?}");
                let client =
                    TlsClient::with_versions(&tls.authority, certificate.as_ref(), versions);
                let (before, count) = (tls.gateway.log(), tls.handshakes(kind.result()).await);
                if kind == BadClient::NoCertificate && auth == "optional" {
                    assert!(tls.serves(&client).await, "{what}");
                    continue;
                }
                assert!(!tls.serves(&client).await, "{what}");
                tls.assert_failed(&what, kind.result(), &before).await;
                assert_eq!(tls.handshakes(kind.result()).await, count + 1, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn an_older_version_is_refused_by_default() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let certificate = tls.clients.root().client();
    let client = TlsClient::with_versions(&tls.authority, Some(&certificate), &[&TLS12]);
    let before = tls.gateway.log();
    assert!(client.connect(tls.gateway.address()).await.is_err());
    tls.assert_failed("TLS 1.2", "old_version", &before).await;
    assert!(tls.serves(&tls.client(Some(&certificate))).await);
}

#[tokio::test]
async fn clients_that_do_not_negotiate_http_2_are_refused() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let certificate = tls.clients.root().client();
    let client = tls.client(Some(&certificate));
    for protocols in [&[][..], &["http/1.1"]] {
        let before = tls.gateway.log();
        let client = client.with_alpn(protocols);
        assert!(!tls.serves(&client).await, "{protocols:?}");
        let what = format!("{protocols:?}");
        tls.assert_failed(&what, "no_alpn", &before).await;
    }
    assert!(tls.serves(&client.with_alpn(&["http/1.1", "h2"])).await);
}

#[tokio::test]
async fn a_client_without_tls_is_refused() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let before = tls.gateway.log();
    let mut stream = TcpStream::connect(tls.gateway.address()).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut response = Vec::new();
    // It may be closed by a reset.
    let _ = stream.read_to_end(&mut response).await;
    tls.assert_failed("HTTP/2 in clear", "not_tls", &before)
        .await;
}

#[tokio::test]
async fn a_session_is_never_resumed() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &["--tls-min-version", "1.2"]).await;
    let certificate = tls.clients.root().client();
    for versions in VERSIONS {
        // Clients of one configuration share their sessions.
        let client = TlsClient::with_versions(&tls.authority, Some(&certificate), versions);
        for _ in 0..3 {
            assert!(tls.serves(&client).await);
            let stream = client.connect(tls.gateway.address()).await.unwrap();
            let kind = stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Full), "{versions:?}");
        }
    }
}

#[tokio::test]
async fn a_handshake_that_has_to_make_room_is_told_of() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &["--max-connections", "2"]).await;
    let before = tls.gateway.log();
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(tls.gateway.address()).await.unwrap());
    }
    tls.assert_failed("three silent ones", "evicted", &before)
        .await;
    assert_eq!(tls.handshakes("evicted").await, 1);
}

#[tokio::test]
async fn what_a_stranger_can_write_into_the_log_is_short() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let stranger = Authority::root("strangers").client_with(|client| {
        let other = |i| ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, i]);
        client.extended_key_usages = (0..1000).map(other).collect();
    });
    let before = tls.gateway.log();
    assert!(!tls.serves(&tls.client(Some(&stranger))).await);
    tls.assert_failed("a thousand purposes", "wrong_purpose", &before)
        .await;
    let line = tls.gateway.log().split_off(before.len());
    assert!(line.len() < 600, "{line}");
}
