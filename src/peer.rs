//! Who is at the other end of a call's connection, as the system tells it.

use std::net::IpAddr;

use http::Extensions;
use tonic::transport::server::{TcpConnectInfo, UdsConnectInfo};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A machine, by its address; an IPv4 address is one also where it comes in IPv6's clothes.
    Machine(IpAddr),
    /// A process on this machine, by the number of its user.
    User(u32),
    /// The system does not tell.
    Unknown,
}

impl Peer {
    /// The peer of a call, by what the connection has left in its request's extensions.
    pub(crate) fn of(request: &Extensions) -> Self {
        let address = request.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        let credentials = request.get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let machine = address.map(|address| Self::Machine(address.ip().to_canonical()));
        machine.or_else(|| credentials.map(|credentials| Self::User(credentials.uid()))).unwrap_or(Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_the_same_from_any_port_and_in_ipv6s_clothes() {
        let peer = |address: &str| {
            let remote_addr = Some(address.parse().unwrap());
            let mut extensions = Extensions::new();
            extensions.insert(TcpConnectInfo { local_addr: None, remote_addr });
            Peer::of(&extensions)
        };
        assert_eq!(peer("10.0.0.1:1"), peer("[::ffff:10.0.0.1]:2"));
        assert_ne!(peer("10.0.0.1:1"), peer("10.0.0.2:1"));
        assert_eq!(Peer::of(&Extensions::new()), Peer::Unknown);
    }
}
