//! The `probe` command: asks a running gateway whether it serves, for containers that have no shell.

use std::{error::Error, fmt::Display, net::SocketAddr, time::Duration};

use http::StatusCode;
use reqwest::Client;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    address::Address,
    config::{ConfigError, Probe},
    error::chain,
};

/// The longest wait for the response, which the gateway gives from memory.
const TIMEOUT: Duration = Duration::from_secs(2);
const NOT_GRPC: &str =
    "no gRPC response; if the address speaks TLS, set RESET_GATEWAY_TLS_CERT as for serve";

/// Asks the health service, or where that needs TLS the admin listener, whether the gateway serves.
///
/// # Errors
///
/// Why it does not serve, or cannot be asked.
pub(crate) async fn probe(config: &Probe) -> Result<(), String> {
    let is_unix = |address: &&Address| matches!(address, Address::Unix(_));
    let socket = config.listen.iter().find(is_unix);
    if socket.is_none() && config.needs_tls() {
        let admin = config.admin_listen.ok_or_else(admin_is_off)?;
        return within_timeout(&admin, ready(admin)).await;
    }
    let first = || config.listen.first().expect("there is a default");
    let address = socket.unwrap_or_else(first);
    within_timeout(address, check(address)).await
}

fn admin_is_off() -> String {
    let why = "must not be off: where gRPC calls need TLS, the probe asks /readyz there";
    ConfigError::new("--admin-listen", why).to_string()
}

async fn within_timeout(
    address: &impl Display,
    asked: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let asked = tokio::time::timeout(TIMEOUT, asked).await;
    let result = asked.unwrap_or_else(|_| Err("no answer".to_owned()));
    result.map_err(|why| format!("{address}: {why}"))
}

/// Asks `/readyz`.
async fn ready(admin: SocketAddr) -> Result<(), String> {
    // Without certificates, which the system may lack: the admin listener has no TLS.
    let client = Client::builder().no_proxy().tls_certs_only([]).build();
    let client = client.map_err(|error| chain(&error))?;
    let response = client.get(format!("http://{admin}/readyz")).send().await;
    let response = response.map_err(|_| "cannot connect".to_owned())?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    let why = response.text().await.unwrap_or_default();
    Err(format!("{status}: {}", why.trim_end()))
}

async fn check(address: &Address) -> Result<(), String> {
    let mut client = HealthClient::new(connect(address).await?);
    let response = client.check(HealthCheckRequest::default()).await;
    let response = response.map_err(|status| why_failed(&status))?;
    match response.get_ref().status() {
        ServingStatus::Serving => Ok(()),
        status => Err(status.as_str_name().to_owned()),
    }
}

/// Why a check failed. A status that was made here, because none came, has a source.
fn why_failed(status: &Status) -> String {
    match status.source() {
        Some(_) => NOT_GRPC.to_owned(),
        None => status.message().to_owned(),
    }
}

/// Connects to the first socket of the address that takes the connection.
async fn connect(address: &Address) -> Result<Channel, String> {
    // tonic takes a path after `unix:` as it is. `0.0.0.0` and `[::]` connect to this host.
    let uris = match address {
        Address::Unix(_) => vec![address.to_string()],
        _ => address
            .socket_addresses()
            .iter()
            .map(|socket| format!("http://{socket}"))
            .collect(),
    };
    for uri in uris {
        let endpoint = Endpoint::from_shared(uri).map_err(|error| error.to_string())?;
        if let Ok(channel) = endpoint.connect().await {
            return Ok(channel);
        }
    }
    Err("cannot connect".to_owned())
}
