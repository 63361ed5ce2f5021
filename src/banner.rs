//! The text on standard output at the start: the addresses, and what to try next.

use std::{io, path::Path};

use reqwest::Url;

use crate::{address::Address, config::Serve, rpc::Rpc, server::Listeners};

/// The addresses of the gateway and its API; for the sandbox also commands to walk through the flow.
pub(crate) fn gateway(listeners: &Listeners, api: &Url, config: &Serve) -> io::Result<String> {
    let mut text = String::new();
    for listener in &listeners.grpc {
        text += &format!("gRPC on {}\n", listener.address()?);
    }
    if let Some(admin) = &listeners.admin {
        text += &format!("admin on http://{}\n", admin.address()?);
    }
    match listeners.grpc.first().filter(|_| config.sandbox) {
        Some(listener) => Ok(text + &try_next(&listener.address()?, api, config)),
        None => Ok(text + &format!("API at {api}\n")),
    }
}

/// The address of the stand-in API alone.
pub(crate) fn sandbox(url: &Url) -> String {
    format!("sandbox API on {url}\ncodes are mailed to {url}sandbox/mailbox/robert.zak\n")
}

/// The address of the stand-in API behind the gateway, and commands that walk through the flow.
fn try_next(gateway: &Address, sandbox: &Url, config: &Serve) -> String {
    let (target, options) = match gateway {
        // grpcurl's form since 1.9.2.
        Address::Unix(path) => (format!("'unix://{}'", path.display()), PLAINTEXT.to_owned()),
        _ => (gateway.to_string(), tcp_options(config)),
    };
    let [reset, question, token, password] =
        Rpc::ALL.map(|rpc| format!("{target} {}", rpc.full_name()));
    format!(
        r#"sandbox API on {sandbox}
try next:
  grpcurl {options} -d '{{"user": "robert.zak"}}' {reset}
  grpcurl {options} -d '{{"username": "robert.zak"}}' {question}
  grpcurl {options} -d '{{"user": "robert.zak", "secret_question_answer": "Peterson"}}' {reset}
  curl {sandbox}sandbox/mailbox/robert.zak
  grpcurl {options} -d '{{"code": "THE CODE"}}' {token}
  grpcurl {options} -d '{{"token": "THE TOKEN", "password": "a new password"}}' {password}
"#
    )
}

/// grpcurl's option for connections without TLS.
const PLAINTEXT: &str = "-plaintext";

/// grpcurl's options to connect over TCP.
fn tcp_options(config: &Serve) -> String {
    match (&config.tls.tls_client_ca, &config.self_signed.client) {
        (Some(ca), Some((certificate, key))) => {
            let [ca, certificate, key] = [ca, certificate, key].map(|path| quoted(path));
            format!("-cacert {ca} -cert {certificate} -key {key}")
        }
        _ if config.tls.tls_cert.is_some() => {
            "-cacert THE_CA -cert YOUR_CERTIFICATE -key YOUR_KEY".to_owned()
        }
        _ => PLAINTEXT.to_owned(),
    }
}

/// The path as one word of a shell.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    match path.bytes().all(is_plain) {
        true => path.into_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}
