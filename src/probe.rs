//! `probe`: asks a running gateway's health service, for containers that have no shell.

use std::{net::Ipv4Addr, net::Ipv6Addr, time::Duration};

use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::address::Address;

/// The most that the answer may take; the gateway gives it from memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks whether the gateway that listens there serves.
///
/// # Errors
///
/// What is wrong, in words.
pub(crate) async fn probe(address: &Address) -> Result<(), String> {
    let asked = tokio::time::timeout(PATIENCE, ask(address)).await;
    let status = asked
        .map_err(|_| "no answer".to_owned())
        .flatten()
        .map_err(|why| format!("{address}: {why}"))?;
    if status == ServingStatus::Serving {
        Ok(())
    } else {
        Err(format!("{address}: {}", status.as_str_name()))
    }
}

async fn ask(address: &Address) -> Result<ServingStatus, String> {
    let endpoint = Endpoint::from_shared(uri(address)).map_err(|error| error.to_string())?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|_| "cannot connect".to_owned())?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await;
    answer
        .map(|answer| answer.into_inner().status())
        .map_err(|status| status.message().to_owned())
}

/// Where to connect to reach what listens at the address.
fn uri(address: &Address) -> String {
    match address {
        Address::Unix(path) => format!("unix:{}", path.display()),
        Address::Tcp(address) => {
            let mut address = *address;
            match address.ip() {
                ip if !ip.is_unspecified() => {}
                ip if ip.is_ipv4() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                _ => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            }
            format!("http://{address}")
        }
    }
}
