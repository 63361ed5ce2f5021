//! TLS to the API: the gateway's own certificate, the versions, and files that change while it runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Plain, run, within},
    status::summary,
    tls::SelfSigned,
};

const CHANGED: &str = "TLS to the API has changed";
const KEPT: &str = "TLS to the API cannot be read again; the last one stays";

/// A key of a kind that no gateway supports: P-521.
const UNSUPPORTED_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIB83THjwL5+zxI3DkM
q7w4AbgRzUhgStGCkTQgjNldqa3yk33r9d29Hlf6gUv8TSD1NyUR/gdN36h2zj9Z
3kvI01WhgYkDgYYABAHdZw5gnNo5KEeIPHMybsl8AoOh/dhEVEQ1QYz6NSzZ33Ry
Dpx892aIW6sWI47gtPSCmqQ1oGzOsw/jeLHeBGEqiQG5pMBnyhvXgM9tcXLuMThx
pvxdaBwoknbTfZN5vKvCWe9znrCtBf/hPrpj1UTdkQ0HFPcewfhdLrwPWqiJdUVW
ig==
-----END PRIVATE KEY-----
";

/// The files of a gateway's TLS to the API.
struct Files(TempDir);

impl Files {
    /// Trusts the server and shows the client's certificate.
    fn new(server: &SelfSigned, client: &SelfSigned) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("ca", &server.certificate);
        files.write("cert", &client.certificate);
        files.write("key", &client.key);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A gateway with these of the files.
    fn gateway(&self, url: &str, names: &[&str]) -> Gateway {
        let mut options = vec!["--app-key".to_owned(), KEY.to_owned()];
        for name in names {
            let path = self.path(name).to_str().unwrap().to_owned();
            options.extend([format!("--upstream-{name}"), path]);
        }
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        Gateway::with(url, &options)
    }
}

fn success() -> Reply {
    Reply::json(200, Call::Reset.success())
}

async fn reset(gateway: &Gateway) -> Result<(), String> {
    let mut client = gateway.client().await;
    let call = Call::Reset.make(&mut client, Plain);
    call.await.map_err(|status| summary(&status))
}

const UNREACHABLE: &str = "Unavailable UPSTREAM_UNREACHABLE upstream not_sent";

#[tokio::test]
async fn an_api_that_asks_for_a_certificate_is_reached_with_it_and_not_without() {
    let (server, client, other) = (SelfSigned::new(), SelfSigned::new(), SelfSigned::new());
    let api = Api::start_tls(success(), server.acceptor_of(&client)).await;
    let url = format!("https://{}", api.address);
    let files = Files::new(&server, &client);
    let gateway = files.gateway(&url, &["ca", "cert", "key"]);
    assert_eq!(reset(&gateway).await, Ok(()));
    assert_eq!(api.certificates(), [client.der.to_vec()]);
    assert_eq!(api.requests().len(), 1);

    let without = files.gateway(&url, &["ca"]);
    assert!(reset(&without).await.is_err());
    let files = Files::new(&server, &other);
    let unknown = files.gateway(&url, &["ca", "cert", "key"]);
    assert!(reset(&unknown).await.is_err());
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn a_certificate_and_its_key_may_be_in_one_file_with_others() {
    let (server, client) = (SelfSigned::new(), SelfSigned::new());
    let api = Api::start_tls(success(), server.acceptor_of(&client)).await;
    let files = Files::new(&server, &client);
    let other = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let both = format!("Attributes\n{}{other}{}", client.key, client.certificate);
    files.write("cert", &both);
    files.write("key", &both);
    let url = format!("https://{}", api.address);
    let gateway = files.gateway(&url, &["ca", "cert", "key"]);
    assert_eq!(reset(&gateway).await, Ok(()));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_no_call_in_flight_fails() {
    let [server, old, new] = [(); 3].map(|()| SelfSigned::new());
    let json = [("Content-Type", "application/json")];
    let held = Reply::Held(bytes(200, &json, Call::Password.success().as_bytes()));
    let api = Api::start_tls(held, server.acceptor_of_any(&[&old, &new])).await;
    let files = Files::new(&server, &old);
    let url = format!("https://{}", api.address);
    let gateway = files.gateway(&url, &["ca", "cert", "key"]);
    let call = async |client: &mut _| Call::Password.make(client, Plain).await;
    let mut client = gateway.client().await;
    let before = tokio::spawn(async move { call(&mut client).await });
    within(|| api.waiting() == 1).await;

    files.write("cert", &new.certificate);
    files.write("key", &new.key);
    gateway.signal("HUP");
    gateway.logged(CHANGED).await;
    let mut client = gateway.client().await;
    let after = tokio::spawn(async move { call(&mut client).await });
    within(|| api.waiting() == 2).await;
    assert_eq!(api.certificates(), [old.der.to_vec(), new.der.to_vec()]);
    api.release();
    before.await.unwrap().unwrap();
    after.await.unwrap().unwrap();
    let log = gateway.stopped().await;
    assert!(
        !log.contains("WARN") && !log.contains("PRIVATE KEY"),
        "{log}"
    );
}

#[tokio::test]
async fn a_new_authority_is_trusted_and_one_that_cannot_be_read_changes_nothing() {
    let (server, other) = (SelfSigned::new(), SelfSigned::new());
    let api = Api::start_tls(success(), server.acceptor()).await;
    let files = Files::new(&other, &other);
    let gateway = files.gateway(&format!("https://{}", api.address), &["ca"]);
    assert_eq!(reset(&gateway).await, Err(UNREACHABLE.to_owned()));

    files.write("ca", &server.certificate);
    gateway.logged(CHANGED).await;
    assert_eq!(reset(&gateway).await, Ok(()));

    files.write("ca", "nothing");
    gateway.logged(KEPT).await;
    assert!(
        gateway
            .log()
            .contains("takes a PEM file of certificates (no certificate in it)")
    );
    assert_eq!(reset(&gateway).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_whose_key_does_not_follow_changes_nothing_and_is_warned_of() {
    let [server, client, new] = [(); 3].map(|()| SelfSigned::new());
    let api = Api::start_tls(success(), server.acceptor_of(&client)).await;
    let files = Files::new(&server, &client);
    let url = format!("https://{}", api.address);
    let gateway = files.gateway(&url, &["ca", "cert", "key"]);
    files.write("cert", &new.certificate);
    gateway.logged(KEPT).await;
    let why = "(the key belongs to another certificate)";
    assert!(gateway.log().contains(why), "{}", gateway.log());
    assert_eq!(reset(&gateway).await, Ok(()));
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older_is_offered() {
    let server = SelfSigned::new();
    let api = Api::start_tls(success(), server.acceptor_of_tls_1_2()).await;
    let files = Files::new(&server, &server);
    let gateway = files.gateway(&format!("https://{}", api.address), &["ca"]);
    assert_eq!(reset(&gateway).await, Ok(()));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let gateway = files.gateway(&url, &["ca"]);
    let call = tokio::spawn(async move { reset(&gateway).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = vec![0; 5];
    stream.read_exact(&mut hello).await.unwrap();
    hello.resize(5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])), 0);
    stream.read_exact(&mut hello[5..]).await.unwrap();
    // The extension supported_versions: its number, its length, the length of the list, the list.
    let versions = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    assert!(
        hello
            .windows(versions.len())
            .any(|window| window == versions)
    );

    // A server that chooses TLS 1.1 all the same is left.
    let random = [0; 32];
    let chosen = [&[2, 0, 0, 38, 3, 2][..], &random, &[0, 0xc0, 0x13, 0]].concat();
    let record = [&[22, 3, 2, 0, 42][..], &chosen].concat();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &record)
        .await
        .unwrap();
    assert_eq!(call.await.unwrap(), Err(UNREACHABLE.to_owned()));
}

/// Runs the program with a certificate and a key; `at` is the API.
fn start(at: &str, certificate: Option<&Path>, key: Option<&Path>) -> Output {
    let mut arguments = vec!["--upstream-url", at];
    for (option, path) in [("--upstream-cert", certificate), ("--upstream-key", key)] {
        arguments.extend(
            path.into_iter()
                .flat_map(|it| [option, it.to_str().unwrap()]),
        );
    }
    run(&arguments)
}

#[track_caller]
fn assert_misconfigured(output: &Output, expected: &str) {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(error, format!("reset-gateway: {expected}\n"));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_certificate_or_a_key_that_cannot_be_used_is_named_with_the_reason() {
    const CERT: &str = "--upstream-cert (RESET_GATEWAY_UPSTREAM_CERT)";
    const PRIVATE_KEY: &str = "--upstream-key (RESET_GATEWAY_UPSTREAM_KEY)";
    let (client, other) = (SelfSigned::new(), SelfSigned::new());
    let files = Files::new(&client, &client);
    let (cert, key) = (files.path("cert"), files.path("key"));
    let https = "https://127.0.0.1:1";
    for (output, expected) in [
        (
            start(https, Some(&cert), None),
            format!("{CERT} goes with --upstream-key"),
        ),
        (
            start(https, None, Some(&key)),
            format!("{PRIVATE_KEY} goes with --upstream-cert"),
        ),
        (
            start("http://127.0.0.1:1", Some(&cert), Some(&key)),
            format!("{CERT} goes with an https --upstream-url"),
        ),
    ] {
        assert_misconfigured(&output, &expected);
    }

    let undecodable = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, why) in [
        ("", "no certificate in it"),
        (client.key.as_str(), "no certificate in it"),
        (undecodable, "it is not PEM"),
        (no_certificate, "its first certificate cannot be used"),
    ] {
        files.write("wrong", content);
        let output = start(https, Some(&files.path("wrong")), Some(&key));
        assert_misconfigured(
            &output,
            &format!("{CERT} takes a PEM file of certificates ({why})"),
        );
    }

    let encrypted = client.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let old_way = client.key.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n", 1);
    let undecodable = "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n";
    let unsupported = "the key is of a kind that is not supported; a key can be ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";
    for (content, why) in [
        ("", "no private key in it"),
        (&client.certificate, "no private key in it"),
        (&client.key.repeat(2), "more than one private key in it"),
        (
            &encrypted,
            "the key is encrypted; openssl pkey writes one that is not",
        ),
        (
            &old_way,
            "the key is encrypted; openssl pkey writes one that is not",
        ),
        (undecodable, "it is not PEM"),
        (UNSUPPORTED_KEY, unsupported),
        (&other.key, "the key belongs to another certificate"),
    ] {
        files.write("wrong", content);
        let output = start(https, Some(&cert), Some(&files.path("wrong")));
        let expected = "takes a PEM file of the private key that belongs to --upstream-cert";
        assert_misconfigured(&output, &format!("{PRIVATE_KEY} {expected} ({why})"));
    }
    let output = start(https, Some(&cert), Some(Path::new("/no/such/file")));
    let expected = "takes a PEM file of the private key that belongs to --upstream-cert (No such file or directory (os error 2))";
    assert_misconfigured(&output, &format!("{PRIVATE_KEY} {expected}"));
}
