//! What a start prints on standard output: where it listens, and what to try next.

use std::io;

use reqwest::Url;
use tokio::net::TcpListener;

use crate::{
    address::Address,
    rpc::Rpc,
    server::{Listeners, listener::Listener},
};

/// Tells where the gateway listens and where its API is; for the sandbox also how to walk through the flow.
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
            .map(|address| next_lines(address, api))
            .unwrap_or_default();
    } else {
        text += &format!("API at {api}\n");
    }
    Ok(text)
}

/// Tells where the stand-in API listens.
pub(crate) fn sandbox(listener: &TcpListener) -> io::Result<String> {
    let url = url_of(listener)?;
    Ok(format!(
        "sandbox API on {url}\ncodes are mailed to {url}sandbox/mailbox/robert.zak\n"
    ))
}

/// The base URL of what listens there.
pub(crate) fn url_of(listener: &TcpListener) -> io::Result<Url> {
    let url = format!("http://{}", listener.local_addr()?);
    Ok(Url::parse(&url).expect("an address makes a URL"))
}

/// The flow by hand, one line a step.
fn next_lines(address: &Address, sandbox: &Url) -> String {
    let target = match address {
        Address::Tcp(address) => address.to_string(),
        // Without a name of its own the target's path would be sent as the authority, which HTTP/2 does not allow.
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
