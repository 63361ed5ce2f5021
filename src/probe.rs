//! `probe`: asks a running gateway's health service, for containers that have no shell.

use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::address::Address;

/// The longest wait for the response, which the gateway gives from memory.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks whether the gateway at the address serves.
///
/// # Errors
///
/// Why it does not serve, or cannot be asked.
pub(crate) async fn probe(address: &Address) -> Result<(), String> {
    let checked = tokio::time::timeout(TIMEOUT, check(address)).await;
    let result = checked.unwrap_or_else(|_| Err("no answer".to_owned()));
    result.map_err(|why| format!("{address}: {why}"))
}

async fn check(address: &Address) -> Result<(), String> {
    // tonic takes a path after `unix:` as it is. `0.0.0.0` and `[::]` connect to this host.
    let uri = match address {
        Address::Unix(_) => address.to_string(),
        Address::Tcp(address) => format!("http://{address}"),
    };
    let endpoint = Endpoint::from_shared(uri).map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|_| "cannot connect")?;
    let mut client = HealthClient::new(channel);
    let response = client.check(HealthCheckRequest::default()).await;
    let response = response.map_err(|status| status.message().to_owned())?;
    match response.get_ref().status() {
        ServingStatus::Serving => Ok(()),
        status => Err(status.as_str_name().to_owned()),
    }
}
