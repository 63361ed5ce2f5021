//! The text on standard output at the start: the addresses, and what to try next.

use std::io;

use reqwest::Url;

use crate::{address::Address, rpc::Rpc, server::Listeners};

/// The addresses of the gateway and its API; for the sandbox also commands to walk through the flow.
pub(crate) fn gateway(listeners: &Listeners, api: &Url, is_sandbox: bool) -> io::Result<String> {
    let mut text = String::new();
    for listener in &listeners.grpc {
        text += &format!("gRPC on {}\n", listener.address()?);
    }
    if let Some(admin) = &listeners.admin {
        text += &format!("admin on http://{}\n", admin.address()?);
    }
    match listeners.grpc.first().filter(|_| is_sandbox) {
        Some(listener) => Ok(text + &try_next(&listener.address()?, api)),
        None => Ok(text + &format!("API at {api}\n")),
    }
}

/// The address of the stand-in API alone.
pub(crate) fn sandbox(url: &Url) -> String {
    format!("sandbox API on {url}\ncodes are mailed to {url}sandbox/mailbox/robert.zak\n")
}

/// The address of the stand-in API behind the gateway, and commands that walk through the flow.
fn try_next(gateway: &Address, sandbox: &Url) -> String {
    let target = match gateway {
        Address::Tcp(address) => address.to_string(),
        // The form that grpcurl takes from 1.9.2 on.
        Address::Unix(path) => format!("'unix://{}'", path.display()),
    };
    let [reset, question, token, password] =
        Rpc::ALL.map(|rpc| format!("{target} {}", rpc.full_name()));
    format!(
        r#"sandbox API on {sandbox}
try next:
  grpcurl -plaintext -d '{{"user": "robert.zak"}}' {reset}
  grpcurl -plaintext -d '{{"username": "robert.zak"}}' {question}
  grpcurl -plaintext -d '{{"user": "robert.zak", "secret_question_answer": "Peterson"}}' {reset}
  curl {sandbox}sandbox/mailbox/robert.zak
  grpcurl -plaintext -d '{{"code": "THE CODE"}}' {token}
  grpcurl -plaintext -d '{{"token": "THE TOKEN", "password": "a new password"}}' {password}
"#
    )
}
