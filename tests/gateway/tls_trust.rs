//! The end of trust in a client: it ends that client's connections, and no other.

use std::time::{Duration, SystemTime};

use rcgen::PKCS_ECDSA_P256_SHA256;
use reset_gateway::proto::password_reset_service_client::PasswordResetServiceClient;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::sleep,
};

use crate::support::{
    api::{Reply, bytes},
    certificates::{Authority, Leaf, VALIDITY},
    frames::{
        DATA, END_HEADERS, END_STREAM, HEADERS, NO_SETTINGS, PREFACE, call_to, frame, reason,
    },
    gateway::{Call, Plain, within},
    tls_gateway::TlsGateway,
};

const CHANGED: &str = "the trust in clients has changed";
const CERTIFICATE_CHANGED: &str = "the certificate of the listeners has changed";

/// An idle connection, which is finished when the gateway has closed it.
async fn connection(tls: &TlsGateway, certificate: &Leaf) -> JoinHandle<()> {
    let client = tls.client(Some(certificate));
    let stream = client.connect(tls.gateway.address()).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(async move {
        // It would end without one.
        let _sender = sender;
        let _ = connection.await;
    });
    // The client's side is there before the gateway has verified its certificate.
    assert!(tls.serves(&client).await);
    connection
}

/// Has the gateway read its files, which have changed `nth` times.
async fn reload(tls: &TlsGateway, nth: usize) {
    reload_until(tls, CHANGED, nth).await;
}

/// Has the gateway read its files, and waits until it has logged that `nth` times.
async fn reload_until(tls: &TlsGateway, message: &str, nth: usize) {
    tls.gateway.signal("HUP");
    within(|| tls.gateway.log().matches(message).count() == nth).await;
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_client() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let end = SystemTime::now() + Duration::from_secs(4);
    let root = tls.clients.root();
    let short = root.client_with(|client| client.not_after = end.into());
    let (short, long) = (
        connection(&tls, &short).await,
        connection(&tls, &root.client()).await,
    );
    within(|| short.is_finished()).await;
    // Certificates end at whole seconds.
    assert!(SystemTime::now() > end - Duration::from_secs(1));
    assert!(!long.is_finished());
    tls.gateway
        .logged("a client's connection ends: its certificate has expired")
        .await;
}

#[tokio::test]
async fn an_authority_that_is_removed_ends_its_clients_connections() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let second = Authority::root("second");
    let lists = tls.clients.revocation_lists() + &second.crl(&[], Duration::ZERO);
    tls.write("crl.pem", &lists);
    reload(&tls, 1).await;
    tls.write("ca.pem", &(tls.clients.authorities() + &second.pem()));
    reload(&tls, 2).await;
    let (stays, goes) = (tls.clients.root().client(), second.client());
    let stays = [
        connection(&tls, &stays).await,
        connection(&tls, &stays).await,
    ];
    let goes = [connection(&tls, &goes).await, connection(&tls, &goes).await];

    tls.write("ca.pem", &tls.clients.authorities());
    reload(&tls, 3).await;
    within(|| goes.iter().all(JoinHandle::is_finished)).await;
    assert!(!stays.iter().any(JoinHandle::is_finished));
    let trusted = "its certificate is no longer trusted";
    assert!(tls.gateway.log().matches(trusted).count() >= goes.len());
    assert!(!tls.serves(&tls.client(Some(&second.client()))).await);
}

#[tokio::test]
async fn a_certificate_that_is_revoked_ends_its_connections() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let root = tls.clients.root();
    let (kept, revoked) = (root.client(), root.client());
    let stays = connection(&tls, &kept).await;
    let goes = connection(&tls, &revoked).await;
    tls.write("crl.pem", &root.crl(&[&revoked], Duration::ZERO));
    reload(&tls, 1).await;
    within(|| goes.is_finished()).await;
    assert!(!stays.is_finished());
}

#[tokio::test]
async fn a_client_can_be_revoked_while_the_servers_certificate_has_expired() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let end = SystemTime::now() + Duration::from_secs(4);
    let server = tls.authority.server_until(end);
    tls.write("server-key.pem", &server.key_pem());
    tls.write("server.pem", &server.pem);
    tls.gateway.signal("HUP");
    let root = tls.clients.root();
    let (kept, revoked) = (root.client(), root.client());
    let stays = connection(&tls, &kept).await;
    let goes = connection(&tls, &revoked).await;
    tls.gateway.logged("the listeners has changed").await;
    within(|| SystemTime::now() > end).await;
    tls.write("crl.pem", &root.crl(&[&revoked], Duration::ZERO));
    within(|| goes.is_finished()).await;
    assert!(!stays.is_finished());
}

#[tokio::test]
async fn an_authority_can_be_removed_while_the_servers_key_belongs_to_another_certificate() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let kept = Authority::root("kept");
    let lists = tls.clients.revocation_lists() + &kept.crl(&[], Duration::ZERO);
    tls.write("ca.pem", &(tls.clients.authorities() + &kept.pem()));
    tls.write("crl.pem", &lists);
    tls.gateway.logged("has changed").await;
    let removed = tls.clients.root().client();
    let goes = connection(&tls, &removed).await;
    let other = tls.authority.server(&PKCS_ECDSA_P256_SHA256);
    tls.write("server-key.pem", &other.key_pem());
    tls.gateway
        .logged("the key belongs to another certificate")
        .await;
    tls.write("ca.pem", &kept.pem());
    within(|| goes.is_finished()).await;
    assert!(!tls.serves(&tls.client(Some(&removed))).await);
    assert!(tls.serves(&tls.client(Some(&kept.client()))).await);
}

#[tokio::test]
async fn an_authority_can_be_removed_while_the_revocation_list_of_another_is_out_of_date() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let removed = Authority::root("removed");
    let list = removed.crl(&[], Duration::ZERO);
    tls.write("crl.pem", &(tls.clients.revocation_lists() + &list));
    reload(&tls, 1).await;
    tls.write("ca.pem", &(tls.clients.authorities() + &removed.pem()));
    reload(&tls, 2).await;
    let old = tls.clients.root().crl(&[], 2 * VALIDITY);
    tls.write("crl.pem", &(old + &list));
    tls.gateway
        .logged("the list of CN=clients is out of date")
        .await;
    let goes = connection(&tls, &removed.client()).await;
    tls.write("ca.pem", &tls.clients.authorities());
    within(|| goes.is_finished()).await;
    assert!(
        !tls.serves(&tls.client(Some(&tls.clients.root().client())))
            .await
    );
}

#[tokio::test]
async fn a_renewed_server_certificate_ends_no_connection() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let stays = connection(&tls, &tls.clients.root().client()).await;
    for nth in 1..=2 {
        let server = tls.authority.server(&PKCS_ECDSA_P256_SHA256);
        tls.write("server-key.pem", &server.key_pem());
        tls.write("server.pem", &server.pem);
        reload_until(&tls, CERTIFICATE_CHANGED, nth).await;
    }
    assert!(
        tls.serves(&tls.client(Some(&tls.clients.root().client())))
            .await
    );
    assert!(!stays.is_finished());
}

#[tokio::test]
async fn a_write_in_flight_is_answered_when_trust_ends() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let success = Call::Password.success();
    let json = [("Content-Type", "application/json")];
    tls.api
        .reply(Reply::Held(bytes(200, &json, success.as_bytes())));
    let certificate = tls.clients.root().client();
    let client = tls.client(Some(&certificate));
    let channel = client.channel(tls.gateway.address()).await.unwrap();
    let mut writer = PasswordResetServiceClient::new(channel);
    let write = tokio::spawn(async move { Call::Password.make(&mut writer, Plain).await });
    within(|| tls.api.waiting() == 1).await;
    tls.write(
        "crl.pem",
        &tls.clients.root().crl(&[&certificate], Duration::ZERO),
    );
    reload(&tls, 1).await;
    tls.gateway
        .logged("its certificate is no longer trusted")
        .await;
    tls.api.release();
    write.await.unwrap().unwrap();
    assert_eq!(tls.api.requests().len(), 1);
    assert!(!tls.serves(&client).await);
}

/// A client whose certificate is revoked while it is connected, and that acknowledges nothing, is soon refused.
async fn is_refused_although_it_acknowledges_nothing(options: &[&str], ends_before: bool) {
    const PASSWORD: &str = "/autoshares.passwordreset.v1.PasswordResetService/UpdatePassword";
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, options).await;
    let certificate = tls.clients.root().client();
    let client = tls.client(Some(&certificate));
    let mut stream = client.connect(tls.gateway.address()).await.unwrap();
    let greeting = [PREFACE, NO_SETTINGS].concat();
    stream.write_all(&greeting).await.unwrap();
    // The gateway's first frame: it has verified the certificate.
    let mut received = vec![stream.read_u8().await.unwrap()];
    if ends_before {
        while reason(&received).is_none() {
            received.push(stream.read_u8().await.unwrap());
        }
    }
    let list = tls.clients.root().crl(&[&certificate], Duration::ZERO);
    tls.write("crl.pem", &list);
    reload(&tls, 1).await;
    tls.gateway
        .logged("its certificate is no longer trusted")
        .await;

    // It acknowledges nothing, so that HTTP/2 still takes its calls.
    let message = Call::Password.framed();
    for id in (1..).step_by(2) {
        let call = [
            frame(HEADERS, END_HEADERS, id, &call_to(PASSWORD, &[])),
            frame(DATA, END_STREAM, id, &message),
        ];
        stream.write_all(&call.concat()).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        if tls.gateway.log().contains("CALLER_NOT_ALLOWED") {
            break;
        }
        assert!(id < 100, "calls are still taken");
    }
    let log = tls.gateway.stopped().await;
    assert!(log.contains("\"outcome\":\"not_sent\""), "{log}");
    assert!(
        log.contains("\"error\":\"the client's certificate is no longer trusted\""),
        "{log}"
    );
}

#[tokio::test]
async fn a_client_that_ignores_the_end_of_trust_makes_no_more_calls() {
    is_refused_although_it_acknowledges_nothing(&[], false).await;
}

#[tokio::test]
async fn trust_ends_too_on_a_connection_that_is_ending_by_its_age() {
    let age = ["--max-connection-age", "100ms"];
    is_refused_although_it_acknowledges_nothing(&age, true).await;
}
