//! The addresses that the gateway listens on, and that the probe asks.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Command, Output},
};

use crate::support::gateway::{Gateway, program, run};

/// A port that is free in both families.
fn free_port() -> u16 {
    let listener = TcpListener::bind("[::]:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A gateway's command with these addresses in the variable.
fn listening(addresses: &str) -> Command {
    let mut command = program(&[
        "--upstream-url",
        "http://127.0.0.1:1",
        "--admin-listen",
        "off",
    ]);
    command.env("RESET_GATEWAY_LISTEN", addresses);
    command
}

/// Which of the hosts take a connection at the port.
fn reachable(hosts: &[&'static str], port: u16) -> Vec<&'static str> {
    let takes = |host: &&str| TcpStream::connect(format!("{host}:{port}")).is_ok();
    hosts.iter().copied().filter(takes).collect()
}

/// `127.0.0.2` is not the address of `localhost`.
const HOSTS: [&str; 3] = ["127.0.0.1", "127.0.0.2", "[::1]"];

fn probe(address: &str) -> Output {
    run(&["probe", "--listen", address])
}

#[tokio::test]
async fn localhost_is_the_loopback_address_of_both_families() {
    let port = free_port();
    let address = format!("localhost:{port}");
    let _gateway = Gateway::spawn(listening(&address));
    assert_eq!(reachable(&HOSTS, port), ["127.0.0.1", "[::1]"]);
    assert!(probe(&address).status.success());
}

#[tokio::test]
async fn localhost_with_port_0_has_one_port_in_both_families() {
    let gateway = Gateway::spawn(listening("localhost:0"));
    let port: u16 = gateway.announced("gRPC on 127.0.0.1:").parse().unwrap();
    assert_eq!(gateway.announced("gRPC on [::1]:"), port.to_string());
    assert_eq!(reachable(&HOSTS, port), ["127.0.0.1", "[::1]"]);
}

#[tokio::test]
async fn a_port_alone_is_all_addresses_of_both_families() {
    let port = free_port();
    let address = format!(":{port}");
    let _gateway = Gateway::spawn(listening(&address));
    assert_eq!(reachable(&HOSTS, port), HOSTS);
    assert!(probe(&address).status.success());
}

#[tokio::test]
async fn a_family_that_the_machine_lacks_is_left_out() {
    for (lacking, call, form, expected) in [
        ("AF_INET6", "socket", "localhost", &["127.0.0.1"][..]),
        ("AF_INET6", "bind", "localhost", &["127.0.0.1"]),
        ("AF_INET", "socket", "localhost", &["[::1]"]),
        ("AF_INET6", "socket", "", &["127.0.0.1", "127.0.0.2"]),
    ] {
        let what = format!("{call} without {lacking} for {form:?}");
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let address = format!("{form}:{port}");
        let mut command = listening(&address);
        command.env("LD_PRELOAD", without_family(&folder, lacking, call));
        let gateway = Gateway::spawn(command);
        assert_eq!(reachable(&HOSTS, port), expected, "{what}");
        assert!(probe(&address).status.success(), "{what}");
        gateway.stopped().await;
    }
}

#[test]
fn a_machine_without_any_of_the_families_is_exit_status_1() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = listening("localhost:0");
    command.env("LD_PRELOAD", without_family(&folder, "family", "socket"));
    let output = command.output().unwrap();
    let expected = "reset-gateway: cannot listen on localhost:0: Address family not supported by protocol (os error 97)\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert_eq!(output.status.code(), Some(1));
}

/// A library that lets a process see a machine without the family: its system does not know the family (`socket`), or
/// no interface has such an address (`bind`).
fn without_family(folder: &tempfile::TempDir, lacking: &str, call: &str) -> String {
    const SOURCE: &str = r#"
        #include <errno.h>
        #include <sys/socket.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        #ifdef LACKS_socket
        int socket(int family, int type, int protocol) {
            if (family != AF_UNIX && family == LACKING) { errno = EAFNOSUPPORT; return -1; }
            return syscall(SYS_socket, family, type, protocol);
        }
        #else
        int bind(int socket, const struct sockaddr *address, socklen_t length) {
            if (address->sa_family == LACKING) { errno = EADDRNOTAVAIL; return -1; }
            return syscall(SYS_bind, socket, address, length);
        }
        #endif
    "#;
    let source = folder.path().join("lacking.c");
    let library = folder.path().join("lacking.so");
    fs::write(&source, SOURCE).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .args([format!("-DLACKING={lacking}"), format!("-DLACKS_{call}")])
        .status();
    assert!(compiled.unwrap().success());
    library.into_os_string().into_string().unwrap()
}

#[tokio::test]
async fn a_list_may_have_blanks_after_its_commas() {
    let (first, second) = (free_port(), free_port());
    let addresses = format!("127.0.0.1:{first}, [::1]:{second},  localhost:0");
    let gateway = Gateway::spawn(listening(&addresses));
    assert_eq!(reachable(&HOSTS, first), ["127.0.0.1"]);
    assert_eq!(reachable(&HOSTS, second), ["[::1]"]);
    gateway.stopped().await;
}

#[tokio::test]
async fn an_ipv6_listener_leaves_ipv4_to_an_ipv4_listener_on_its_port() {
    for addresses in ["0.0.0.0:PORT,[::]:PORT", "[::]:PORT,0.0.0.0:PORT"] {
        let port = free_port();
        let addresses = addresses.replace("PORT", &port.to_string());
        let gateway = Gateway::spawn(listening(&addresses));
        assert_eq!(reachable(&HOSTS, port), HOSTS, "{addresses}");
        gateway.stopped().await;
    }
    let port = free_port();
    let gateway = Gateway::spawn(listening(&format!("[::]:{port},127.0.0.1:{port}")));
    assert_eq!(reachable(&HOSTS, port), ["127.0.0.1", "[::1]"]);
    gateway.stopped().await;
}

#[tokio::test]
async fn an_ipv6_listener_alone_on_its_port_takes_ipv4_too() {
    let (port, other) = (free_port(), free_port());
    let addresses = format!("[::]:{port},0.0.0.0:{other},0.0.0.0:0,[::]:0");
    let gateway = Gateway::spawn(listening(&addresses));
    assert_eq!(reachable(&HOSTS, port), HOSTS);
    let any: u16 = gateway
        .announced_all("gRPC on [::]:")
        .last()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(reachable(&HOSTS, any), HOSTS);
}

#[test]
fn two_forms_of_one_address_are_one_address() {
    let expected = "reset-gateway: --listen (RESET_GATEWAY_LISTEN) takes an address that no other listener has\n";
    for addresses in [
        "localhost:50051,127.0.0.1:50051",
        "[::1]:50051,localhost:50051",
        ":50051,[::]:50051",
        "0.0.0.0:50051,:50051",
        "unix:/x,unix:///x",
    ] {
        let output = listening(addresses).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
        assert_eq!(output.status.code(), Some(2), "{addresses}");
    }
}

#[test]
fn a_port_is_a_number_from_0_to_65535() {
    for port in ["", "+1", "-1", "65536", " 1", "1:1", "http"] {
        for address in [format!("localhost:{port}"), format!(":{port}")] {
            assert_eq!(probe(&address).status.code(), Some(2), "{address}");
        }
    }
    assert_eq!(probe("localhost").status.code(), Some(2));
    assert_eq!(probe("example.com:1").status.code(), Some(2));
}
