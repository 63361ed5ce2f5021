//! The text on standard output at the start: the addresses, and what to try next.

use std::io;

use reqwest::Url;
use tokio::net::TcpListener;

use crate::{
    address::Address,
    rpc::Rpc,
    server::{Listeners, listener::Listener},
};

/// The addresses of the gateway and its API; for the sandbox also commands to walk through the flow.
pub(crate) fn gateway(listeners: &Listeners, api: &Url, is_sandbox: bool) -> io::Result<String> {
    let addresses = listeners
        .grpc
        .iter()
        .map(Listener::address)
        .collect::<io::Result<Vec<_>>>()?;
    let mut text = String::new();
    for address in &addresses {
        text += &format!("gRPC on {address}\n");
    }
    if let Some(admin) = &listeners.admin {
        text += &format!("admin on http://{}\n", admin.address()?);
    }
    if is_sandbox {
        text += &format!("sandbox API on {api}\n");
        text += &addresses
            .first()
            .map_or_else(String::new, |address| try_next(address, api));
    } else {
        text += &format!("API at {api}\n");
    }
    Ok(text)
}

/// The address of the stand-in API.
pub(crate) fn sandbox(listener: &TcpListener) -> io::Result<String> {
    let url = url_of(listener)?;
    Ok(format!(
        "sandbox API on {url}\ncodes are mailed to {url}sandbox/mailbox/robert.zak\n"
    ))
}

/// The base URL of a listener.
pub(crate) fn url_of(listener: &TcpListener) -> io::Result<Url> {
    let url = format!("http://{}", listener.local_addr()?);
    Ok(Url::parse(&url).expect("an address makes a URL"))
}

/// Commands that walk through the flow, one a line.
fn try_next(address: &Address, sandbox: &Url) -> String {
    let target = match address {
        Address::Tcp(address) => address.to_string(),
        // By default grpcurl sends the path as the authority, which HTTP/2 does not allow.
        Address::Unix(path) => format!("-authority localhost -unix '{}'", path.display()),
    };
    let line = |rpc: Rpc, message: &str| {
        format!(
            "  grpcurl -plaintext -d '{message}' {target} {}\n",
            rpc.full_name()
        )
    };
    [
        "try next:\n".to_owned(),
        line(Rpc::ResetPassword, r#"{"user": "robert.zak"}"#),
        line(Rpc::GetSecretQuestion, r#"{"username": "robert.zak"}"#),
        line(
            Rpc::ResetPassword,
            r#"{"user": "robert.zak", "secret_question_answer": "Peterson"}"#,
        ),
        format!("  curl {sandbox}sandbox/mailbox/robert.zak\n"),
        line(Rpc::GenerateToken, r#"{"code": "THE CODE"}"#),
        line(
            Rpc::UpdatePassword,
            r#"{"token": "THE TOKEN", "password": "a new password"}"#,
        ),
    ]
    .concat()
}
