//! `probe`: asks a running gateway's health service, for containers that have no shell.

use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::address::Address;

/// Longest time until the response; the gateway gives it from memory.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks whether the gateway at the address serves.
///
/// # Errors
///
/// The problem, in words.
pub(crate) async fn probe(address: &Address) -> Result<(), String> {
    let checked = tokio::time::timeout(TIMEOUT, check(address)).await;
    match checked.unwrap_or_else(|_| Err("no answer".to_owned())) {
        Ok(ServingStatus::Serving) => Ok(()),
        Ok(status) => Err(format!("{address}: {}", status.as_str_name())),
        Err(why) => Err(format!("{address}: {why}")),
    }
}

async fn check(address: &Address) -> Result<ServingStatus, String> {
    // tonic takes a path after `unix:` as it is. `0.0.0.0` and `[::]` connect to this host.
    let uri = match address {
        Address::Unix(_) => address.to_string(),
        Address::Tcp(address) => format!("http://{address}"),
    };
    let endpoint = Endpoint::from_shared(uri).map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|_| "cannot connect")?;
    let mut client = HealthClient::new(channel);
    match client.check(HealthCheckRequest::default()).await {
        Ok(response) => Ok(response.into_inner().status()),
        Err(status) => Err(status.message().to_owned()),
    }
}
