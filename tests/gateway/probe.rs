//! `probe` where the gateway's TCP listeners speak TLS.

use std::process::Output;

use crate::support::{
    api::{Api, Reply},
    gateway::{Call, Gateway, KEY, Plain, program},
};

/// An address at which nobody listens.
const CLOSED: &str = "127.0.0.1:1";

/// Probes as a container's health check does: with nothing but the environment.
fn probe(variables: &[(&str, &str)]) -> Output {
    let mut command = program(&["probe"]);
    for (name, value) in variables {
        command.env(format!("RESET_GATEWAY_{name}"), value);
    }
    command.output().unwrap()
}

fn assert_fails(output: &Output, message: &str) {
    let expected = format!("reset-gateway: {message}\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn where_calls_need_tls_the_probe_asks_the_admin_listener() {
    let api = Api::start(Reply::json(401, "")).await;
    let gateway = Gateway::before(&api.url());
    let admin = gateway.announced("admin on http://");
    for setting in ["TLS_CERT", "TLS_SELF_SIGNED"] {
        let asked = probe(&[
            ("LISTEN", CLOSED),
            ("ADMIN_LISTEN", admin),
            (setting, "/certificates/server.pem"),
        ]);
        assert!(asked.status.success(), "{setting}: {asked:?}");
    }
    let mut client = gateway.client().await;
    Call::Reset.make(&mut client, Plain).await.unwrap_err();
    let variables = [
        ("LISTEN", CLOSED),
        ("ADMIN_LISTEN", admin),
        ("TLS_CERT", "/certificates/server.pem"),
    ];
    let why = "503 Service Unavailable: not ready: application key rejected";
    assert_fails(&probe(&variables), &format!("{admin}: {why}"));
    gateway.stopped().await;
}

#[tokio::test]
async fn the_probe_needs_no_certificate_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let command = program(&["serve", "--sandbox", "--tls-self-signed", directory]);
    let gateway = Gateway::start(command);
    let asked = probe(&[
        ("LISTEN", gateway.address()),
        ("ADMIN_LISTEN", gateway.announced("admin on http://")),
        ("TLS_SELF_SIGNED", directory),
    ]);
    assert!(asked.status.success(), "{asked:?}");
}

#[tokio::test]
async fn a_probe_that_is_not_told_of_tls_says_how_to_tell_it() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let command = program(&["serve", "--sandbox", "--tls-self-signed", directory]);
    let gateway = Gateway::start(command);
    let address = gateway.address();
    let why =
        "no gRPC response; if the address speaks TLS, set RESET_GATEWAY_TLS_CERT as for serve";
    assert_fails(&probe(&[("LISTEN", address)]), &format!("{address}: {why}"));
}

#[test]
fn the_options_of_the_probe_say_what_the_probe_does_with_them() {
    let help = program(&["probe", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(!help.contains("made at the start"), "{help}");
    assert_eq!(help.matches("gRPC calls over TCP need TLS").count(), 2);
}

#[tokio::test]
async fn the_probe_takes_no_proxy_and_needs_no_certificates() {
    let gateway = Gateway::before("http://127.0.0.1:9");
    let mut command = program(&["probe", "--listen", CLOSED, "--tls-cert", "server.pem"]);
    command.args(["--admin-listen", gateway.announced("admin on http://")]);
    command.env("http_proxy", format!("http://{CLOSED}"));
    command
        .env("SSL_CERT_FILE", "/none")
        .env("SSL_CERT_DIR", "/none");
    let asked = command.output().unwrap();
    assert!(asked.status.success(), "{asked:?}");
}

#[tokio::test]
async fn a_unix_socket_is_asked_before_any_other_address() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("socket").display());
    let url = "http://127.0.0.1:9";
    let _gateway = Gateway::with(url, &["--listen", &socket, "--app-key", KEY]);
    let listen = format!("{CLOSED},{socket}");
    for tls in [None, Some(("TLS_CERT", "server.pem"))] {
        let variables = [("LISTEN", listen.as_str()), ("ADMIN_LISTEN", "off")];
        let variables: Vec<_> = variables.into_iter().chain(tls).collect();
        let asked = probe(&variables);
        assert!(asked.status.success(), "{tls:?}: {asked:?}");
    }
}

#[test]
fn where_calls_need_tls_and_the_admin_listener_is_off_the_probe_says_so() {
    let asked = probe(&[
        ("LISTEN", CLOSED),
        ("ADMIN_LISTEN", "off"),
        ("TLS_CERT", "server.pem"),
    ]);
    assert_fails(
        &asked,
        "--admin-listen (RESET_GATEWAY_ADMIN_LISTEN) must not be off: where gRPC calls need TLS, the probe asks /readyz there",
    );
}

#[test]
fn a_gateway_that_does_not_run_fails_the_probe() {
    for tls in [None, Some(("TLS_CERT", "server.pem"))] {
        let variables = [("LISTEN", CLOSED), ("ADMIN_LISTEN", CLOSED)];
        let variables: Vec<_> = variables.into_iter().chain(tls).collect();
        assert_fails(&probe(&variables), &format!("{CLOSED}: cannot connect"));
    }
}
