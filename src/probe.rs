//! `probe`: asks a running gateway's health service, for containers that have no shell.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

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
/// What is wrong, in words.
pub(crate) async fn probe(address: &Address) -> Result<(), String> {
    let checked = tokio::time::timeout(TIMEOUT, check(address)).await;
    match checked.unwrap_or_else(|_| Err("no answer".to_owned())) {
        Ok(ServingStatus::Serving) => Ok(()),
        Ok(status) => Err(format!("{address}: {}", status.as_str_name())),
        Err(why) => Err(format!("{address}: {why}")),
    }
}

async fn check(address: &Address) -> Result<ServingStatus, String> {
    let endpoint = Endpoint::from_shared(uri(address)).map_err(|error| error.to_string())?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|_| "cannot connect".to_owned())?;
    let mut client = HealthClient::new(channel);
    match client.check(HealthCheckRequest::default()).await {
        Ok(response) => Ok(response.into_inner().status()),
        Err(status) => Err(status.message().to_owned()),
    }
}

/// The URI that connects to what listens at the address. tonic takes a path after `unix:` as it is.
fn uri(address: &Address) -> String {
    match address {
        Address::Unix(_) => address.to_string(),
        Address::Tcp(address) => {
            let mut address = *address;
            match address.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            format!("http://{address}")
        }
    }
}
