//! `probe`: asks a running gateway's health service, for containers that have no shell.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
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
    let mut client = HealthClient::new(connect(address).await?);
    let response = client.check(HealthCheckRequest::default()).await;
    let response = response.map_err(|status| status.message().to_owned())?;
    match response.get_ref().status() {
        ServingStatus::Serving => Ok(()),
        status => Err(status.as_str_name().to_owned()),
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
