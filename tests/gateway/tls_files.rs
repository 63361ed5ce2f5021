//! The files of TLS: what is wrong with them is said at the start, and they are followed without a call that fails.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use reset_gateway::proto::password_reset_service_client::PasswordResetServiceClient;
use tokio::time::sleep;

use crate::support::{
    api::{Api, Reply},
    certificates::{Authority, Leaf, VALIDITY},
    gateway::{Call, Gateway, KEY, Plain, program, run, within},
    tls_client::TlsClient,
    tls_gateway::TlsGateway,
};

/// Keys that no certificate can be used with, made by OpenSSL, and one that is encrypted.
const ENCRYPTED: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
const ENCRYPTED_BY_OPENSSL_1: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
    DEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";

/// Good files, each of which a test may replace by a bad one.
struct Files {
    cert: String,
    key: String,
    ca: String,
    crl: String,
}

impl Files {
    fn good() -> (Self, Authority) {
        let (servers, clients) = (Authority::root("servers"), Authority::root("clients"));
        let server = servers.server(&PKCS_ECDSA_P256_SHA256);
        let files = Self {
            cert: server.pem.clone(),
            key: server.key_pem(),
            ca: clients.pem(),
            crl: clients.crl(&[], Duration::ZERO),
        };
        (files, clients)
    }

    /// Starts the program with the files, on an address that no listener can have.
    fn start(&self) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let option = |flag: &str, name: &str, pem: &str| {
            let path = folder.path().join(name);
            fs::write(&path, pem).unwrap();
            format!("{flag}={}", path.display())
        };
        run(&[
            "serve",
            "--sandbox",
            "--listen=192.0.2.1:1",
            &option("--tls-cert", "cert", &self.cert),
            &option("--tls-key", "key", &self.key),
            &option("--tls-client-ca", "ca", &self.ca),
            &option("--tls-client-crl", "crl", &self.crl),
        ])
    }
}

fn expired_server(authority: &Authority) -> Leaf {
    authority.client_with(|server| {
        server.not_before = (SystemTime::now() - VALIDITY).into();
        server.not_after = (SystemTime::now() - Duration::from_secs(60)).into();
    })
}

#[test]
fn a_bad_file_is_said_at_the_start_with_what_would_be_right() {
    let cert = "--tls-cert (RESET_GATEWAY_TLS_CERT) takes a PEM file of the server's certificate and its intermediates";
    let key = "--tls-key (RESET_GATEWAY_TLS_KEY) takes a PEM file of the private key that belongs to --tls-cert";
    let ca = "--tls-client-ca (RESET_GATEWAY_TLS_CLIENT_CA) takes a PEM file of the authorities that clients' certificates come from";
    let crl = "--tls-client-crl (RESET_GATEWAY_TLS_CLIENT_CRL) takes a PEM file of certificate revocation lists";
    let (_, clients) = Files::good();
    let other = clients.server(&PKCS_ED25519);
    let expired = expired_server(&clients);
    let future = clients.client_with(|server| {
        server.not_before = (SystemTime::now() + Duration::from_secs(60)).into();
    });
    let (purpose, ended) = (clients.client(), Authority::expired_root("ended"));
    let cut_off = |pem: &str| pem[..pem.len() - 40].to_owned();
    type Change = Box<dyn Fn(&mut Files)>;
    let cases: Vec<(Change, String)> = vec![
        (
            Box::new(|f| f.cert.clear()),
            format!("{cert} (no certificate in it)"),
        ),
        (
            Box::new(|f| f.cert = f.key.clone()),
            format!("{cert} (no certificate in it)"),
        ),
        (
            Box::new(move |f| f.cert = cut_off(&f.cert)),
            format!("{cert} (it is cut off: an END line is missing)"),
        ),
        (
            Box::new(move |f| (f.cert, f.key) = (expired.pem.clone(), expired.key_pem())),
            format!("{cert} (the certificate expired at "),
        ),
        (
            Box::new(move |f| (f.cert, f.key) = (future.pem.clone(), future.key_pem())),
            format!("{cert} (the certificate is not valid before "),
        ),
        (
            Box::new(move |f| (f.cert, f.key) = (purpose.pem.clone(), purpose.key_pem())),
            format!("{cert} (clients will refuse it: its extended key usage lacks serverAuth)"),
        ),
        (
            Box::new(|f| f.key.clear()),
            format!("{key} (no private key in it)"),
        ),
        (
            Box::new(|f| f.key = ENCRYPTED.to_owned()),
            format!("{key} (the key is encrypted; openssl pkey writes one that is not)"),
        ),
        (
            Box::new(|f| f.key = ENCRYPTED_BY_OPENSSL_1.to_owned()),
            format!("{key} (the key is encrypted; openssl pkey writes one that is not)"),
        ),
        (
            Box::new(move |f| f.key = other.key_pem()),
            format!("{key} (the key belongs to another certificate)"),
        ),
        (
            Box::new(|f| f.ca.clear()),
            format!("{ca} (no certificate in it)"),
        ),
        (
            Box::new(|f| f.ca += &f.cert),
            format!("{ca} (CN=server is not an authority's certificate: it lacks CA:TRUE)"),
        ),
        (
            Box::new(move |f| f.ca += &ended.pem()),
            format!("{ca} (the certificate of CN=ended expired at "),
        ),
        (
            Box::new(|f| f.crl.clear()),
            format!("{crl} (no certificate revocation list in it)"),
        ),
        (
            Box::new(|f| f.crl = "not PEM".to_owned()),
            format!("{crl} (no certificate revocation list in it)"),
        ),
        (
            Box::new(move |f| f.crl = clients.crl(&[], VALIDITY + Duration::from_secs(1))),
            format!("{crl} (the list of CN=clients is out of date: its next update was due at "),
        ),
    ];
    for (change, expected) in cases {
        let (mut files, _) = Files::good();
        change(&mut files);
        let output = files.start();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.starts_with(&format!("reset-gateway: {expected}")),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let (good, _) = Files::good();
    let stderr = String::from_utf8(good.start().stderr).unwrap();
    assert!(stderr.contains("cannot listen on 192.0.2.1:1"), "{stderr}");
}

#[test]
fn options_of_tls_that_lack_another_one_are_refused() {
    for (options, expected) in [
        (
            &["--tls-cert=x"][..],
            "--tls-cert (RESET_GATEWAY_TLS_CERT) goes with --tls-key",
        ),
        (
            &["--tls-key=x"],
            "--tls-key (RESET_GATEWAY_TLS_KEY) goes with --tls-cert",
        ),
        (
            &["--tls-client-ca=x"],
            "--tls-client-ca (RESET_GATEWAY_TLS_CLIENT_CA) goes with --tls-cert",
        ),
        (
            &["--tls-cert=x", "--tls-key=x", "--tls-client-crl=x"],
            "--tls-client-crl (RESET_GATEWAY_TLS_CLIENT_CRL) goes with --tls-client-ca",
        ),
        (
            &["--tls-cert=x", "--tls-key=x", "--tls-client-auth=optional"],
            "--tls-client-auth (RESET_GATEWAY_TLS_CLIENT_AUTH) goes with --tls-client-ca",
        ),
        (
            &["--tls-min-version=1.2"],
            "--tls-min-version (RESET_GATEWAY_TLS_MIN_VERSION) goes with --tls-cert",
        ),
        (
            &["--tls-min-version=1.1"],
            "--tls-min-version (RESET_GATEWAY_TLS_MIN_VERSION) takes 1.2 or 1.3",
        ),
        (
            &["--tls-client-auth=no"],
            "--tls-client-auth (RESET_GATEWAY_TLS_CLIENT_AUTH) takes required or optional",
        ),
    ] {
        let output = run(&[&["serve", "--sandbox"], options].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert_eq!(stderr, format!("reset-gateway: {expected}\n"));
    }
}

#[tokio::test]
async fn a_bad_file_is_warned_of_later_and_the_old_ones_go_on() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let certificate = tls.clients.root().client();
    let client = tls.client(Some(&certificate));
    let other = tls.authority.server(&PKCS_ED25519);
    let expired = expired_server(&tls.authority);
    let read = |name| fs::read_to_string(tls.path(name)).unwrap();
    let good = ["server.pem", "server-key.pem", "ca.pem", "crl.pem"].map(|name| (name, read(name)));
    for (changes, expected) in [
        (
            vec![("server-key.pem", other.key_pem())],
            "the key belongs to another certificate",
        ),
        (
            vec![("crl.pem", String::new())],
            "no certificate revocation list in it",
        ),
        (vec![("ca.pem", other.pem.clone())], "it lacks CA:TRUE"),
        (
            vec![("server-key.pem", ENCRYPTED.to_owned())],
            "the key is encrypted",
        ),
        (
            vec![
                ("server.pem", expired.pem.clone()),
                ("server-key.pem", expired.key_pem()),
            ],
            "the certificate expired at",
        ),
    ] {
        for (name, pem) in changes {
            tls.write(name, &pem);
        }
        tls.gateway.logged(expected).await;
        assert!(tls.serves(&client).await, "{expected}");
        for (name, pem) in &good {
            tls.write(name, pem);
        }
    }
    let log = tls.gateway.log();
    for (name, expected) in [
        ("the certificate of the listeners", 3),
        ("the trust in clients", 2),
    ] {
        let warning = format!("{name} cannot be read again; the last one stays");
        assert_eq!(log.matches(&warning).count(), expected, "{log}");
    }
    assert!(!log.contains("PRIVATE KEY"), "{log}");
    let (ok, failed) = (tls.reloads("ok").await, tls.reloads("failed").await);
    assert_eq!((ok, failed), (0, 5));
}

#[tokio::test]
async fn a_renewed_server_certificate_is_used_while_a_revocation_list_is_unusable() {
    let tls = TlsGateway::start(&PKCS_ECDSA_P256_SHA256, &[]).await;
    let certificate = tls.clients.root().client();
    let client = tls.client(Some(&certificate));
    tls.write("crl.pem", "no list");
    tls.gateway
        .logged("no certificate revocation list in it")
        .await;
    let server = tls.authority.server(&PKCS_ED25519);
    tls.write("server.pem", &server.pem);
    tls.write("server-key.pem", &server.key_pem());
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let stream = client.connect(tls.gateway.address()).await.unwrap();
        if stream.get_ref().1.peer_certificates().unwrap()[0] == server.chain[0] {
            break;
        }
        assert!(Instant::now() < deadline, "{}", tls.gateway.log());
        sleep(Duration::from_millis(100)).await;
    }
}

/// A folder of files as Kubernetes mounts it: they are links through `..data`, a link that is swapped.
fn swap(folder: &Path, nth: usize, server: &Leaf) {
    let version = format!("..{nth}");
    fs::create_dir(folder.join(&version)).unwrap();
    fs::write(folder.join(&version).join("tls.crt"), &server.pem).unwrap();
    fs::write(folder.join(&version).join("tls.key"), server.key_pem()).unwrap();
    symlink(&version, folder.join("..tmp")).unwrap();
    fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn twenty_swaps_of_the_certificate_fail_no_call_and_new_connections_get_the_new_one() {
    let authority = Authority::root("servers");
    let folder = tempfile::tempdir().unwrap();
    swap(folder.path(), 0, &authority.server(&PKCS_ECDSA_P256_SHA256));
    let option = |flag: &str, name: &str| {
        let path = folder.path().join(name);
        symlink(Path::new("..data").join(name), &path).unwrap();
        format!("{flag}={}", path.display())
    };
    let (cert, key) = (
        option("--tls-cert", "tls.crt"),
        option("--tls-key", "tls.key"),
    );
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, &cert, &key]);
    let client = TlsClient::new(&authority, None);

    let (stop, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let channel = client.channel(gateway.address()).await.unwrap();
    let (stopped, count) = (Arc::clone(&stop), Arc::clone(&calls));
    let load = tokio::spawn(async move {
        let mut client = PasswordResetServiceClient::new(channel);
        while !stopped.load(Ordering::Relaxed) {
            Call::Question.make(&mut client, Plain).await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    for nth in 1..=20 {
        let server = authority.server(&PKCS_ECDSA_P256_SHA256);
        swap(folder.path(), nth, &server);
        gateway.signal("HUP");
        within(|| {
            gateway
                .log()
                .matches("the certificate of the listeners has changed")
                .count()
                == nth
        })
        .await;
        let stream = client.connect(gateway.address()).await.unwrap();
        let sent = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        assert_eq!(sent, server.chain[0], "swap {nth}");
        sleep(Duration::from_millis(20)).await;
    }
    let made = calls.load(Ordering::Relaxed);
    within(|| calls.load(Ordering::Relaxed) > made || load.is_finished()).await;
    stop.store(true, Ordering::Relaxed);
    load.await.expect("no call has failed");
    println!("{} calls on one connection", calls.load(Ordering::Relaxed));
}

#[tokio::test]
async fn certificates_for_unix_sockets_alone_are_warned_of() {
    const WARNING: &str = "--tls-cert has no effect: --listen names Unix sockets alone";
    let folder = tempfile::tempdir().unwrap();
    let certificates = folder.path().join("certificates").display().to_string();
    let socket = format!("unix:{}", folder.path().join("gateway.sock").display());
    let start = |listen: &str| {
        let options = [
            "serve",
            "--sandbox",
            "--tls-self-signed",
            &certificates,
            "--listen",
            listen,
        ];
        Gateway::start(program(&options))
    };
    start(&socket).logged(WARNING).await;
    fs::remove_dir_all(&certificates).unwrap();
    let both = start(&format!("{socket},127.0.0.1:0"));
    assert!(!both.stopped().await.contains(WARNING));
}
