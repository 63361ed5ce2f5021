//! `--tls-self-signed`: TLS in the sandbox, with certificates that the gateway makes.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use crate::support::{
    certificates::{Authority, KEY_TYPES},
    gateway::{Gateway, program, within},
    tls_client::TlsClient,
};

/// A sandbox with certificates in the directory.
fn sandbox(directory: &Path, options: &[&str]) -> Gateway {
    let mut command = program(&["serve", "--sandbox", "--tls-self-signed"]);
    command.arg(directory).args(options);
    Gateway::start(command)
}

/// The options in the grpcurl commands that are printed.
async fn grpcurl_options(gateway: &Gateway) -> String {
    const COMMANDS: usize = 5;
    within(|| gateway.output().matches("grpcurl ").count() == COMMANDS).await;
    let output = gateway.output();
    let commands = output
        .lines()
        .filter_map(|line| line.strip_prefix("  grpcurl "));
    let mut options = commands.map(|command| command.split_once(" -d ").unwrap().0);
    let first = options.next().unwrap();
    assert!(options.all(|other| other == first), "{output}");
    first.to_owned()
}

#[tokio::test]
async fn clients_get_in_with_the_files_in_the_printed_commands() {
    let folder = tempfile::tempdir().unwrap();
    for (name, listen) in [("ipv4", "127.0.0.2:0"), ("all", "[::]:0")] {
        let gateway = sandbox(&folder.path().join(name), &["--listen", listen]);
        let options = grpcurl_options(&gateway).await;
        let words: Vec<_> = options.split(' ').collect();
        let &["-cacert", ca, "-cert", certificate, "-key", key] = &words[..] else {
            panic!("{words:?}");
        };
        let target: SocketAddr = gateway.address().parse().unwrap();
        for server in ["localhost", "127.0.0.1", "::1", &target.ip().to_string()] {
            let client = TlsClient::from_files(ca, Some((certificate, key))).to(server);
            assert!(client.is_served(gateway.address()).await, "{server}");
        }
        let anonymous = TlsClient::from_files(ca, None);
        assert!(!anonymous.is_served(gateway.address()).await);
        let log = gateway.stopped().await;
        assert!(
            log.contains("\"principal\":\"spiffe://sandbox.example/client\""),
            "{log}"
        );
    }
}

#[tokio::test]
async fn other_options_of_tls_go_with_the_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("certificates");
    let gateway = sandbox(&directory, &["--tls-client-auth", "optional"]);
    let client = TlsClient::from_files(directory.join("ca.pem").to_str().unwrap(), None);
    assert!(client.is_served(gateway.address()).await);
}

#[tokio::test]
async fn the_printed_commands_are_for_the_first_listener() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("socket").display());
    let directory = folder.path().join("certificates");
    let unix_first = sandbox(
        &directory,
        &["--listen", &socket, "--listen", "127.0.0.1:0"],
    );
    assert_eq!(grpcurl_options(&unix_first).await, "-plaintext");

    let with_space = folder.path().join("it's here");
    let gateway = sandbox(&with_space, &[]);
    let quoted = format!(
        "-cacert '{}/it'\\''s here/ca.pem' -cert '",
        folder.path().display()
    );
    let options = grpcurl_options(&gateway).await;
    assert!(options.starts_with(&quoted), "{options}");
}

#[tokio::test]
async fn with_certificates_of_your_own_the_printed_commands_leave_room_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Authority::root("servers").server(KEY_TYPES[0].1);
    let files = [
        ("--tls-cert", &server.pem),
        ("--tls-key", &server.key_pem()),
    ];
    let mut command = program(&["serve", "--sandbox"]);
    for (flag, pem) in files {
        let path = folder.path().join(flag);
        fs::write(&path, pem).unwrap();
        command.arg(flag).arg(path);
    }
    let options = "-cacert THE_CA -cert YOUR_CERTIFICATE -key YOUR_KEY";
    let gateway = Gateway::start(command);
    assert_eq!(grpcurl_options(&gateway).await, options);
}

#[test]
fn a_directory_with_something_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.pem");
    fs::write(&file, "somebody's").unwrap();
    let mut command = program(&["serve", "--sandbox", "--tls-self-signed"]);
    let output = command.arg(folder.path()).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "reset-gateway: --tls-self-signed (RESET_GATEWAY_TLS_SELF_SIGNED) takes a directory that is empty or does not exist yet (directory not empty)\n"
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::read(&file).unwrap(), b"somebody's");
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_certificates() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("certificates");
    for (options, status) in [
        (["--listen", &taken], 1),
        (["--authz-policy", "/no/such/file"], 2),
        (["--audit-key-file", "/no/such/file"], 2),
    ] {
        let mut command = program(&["serve", "--sandbox", "--tls-self-signed"]);
        let output = command.arg(&directory).args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "{options:?}");
    }
    let gateway = sandbox(&directory, &[]);
    grpcurl_options(&gateway).await;
    gateway.stopped().await;
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 5);
}
