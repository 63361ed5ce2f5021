//! Who calls, as far as the guard against guessing has to tell one from another: by metadata that the operator names, or
//! else by the connection. A hash with a key of this process stands for either, so nothing of it is kept.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
};

use http::HeaderName;
use tonic::metadata::MetadataMap;

use crate::connect_info::ConnectInfo;

/// A caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientId(pub(crate) u64);

/// Tells callers apart.
#[derive(Debug)]
pub(crate) struct ClientIds {
    metadata: Option<HeaderName>,
    key: RandomState,
}

/// What a caller is known by.
#[derive(Hash)]
enum Mark<'a> {
    Metadata(&'a [u8]),
    /// By its address alone; an IPv4 address is one also where it comes in IPv6's clothes.
    Machine(IpAddr),
    /// A process on this machine, by its user.
    User(Option<u32>),
}

/// The address; of IPv6 the first half, of which one machine often has all that belongs to it.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

impl From<ConnectInfo> for Mark<'_> {
    fn from(peer: ConnectInfo) -> Self {
        match peer {
            ConnectInfo::Tcp { remote, .. } => Self::Machine(network(remote.ip().to_canonical())),
            ConnectInfo::Unix { uid } => Self::User(uid),
        }
    }
}

impl ClientIds {
    /// ClientIds that are told apart by that metadata where they have it.
    pub(crate) fn new(metadata: Option<HeaderName>) -> Self {
        Self {
            metadata,
            key: RandomState::new(),
        }
    }

    /// The caller with that metadata at the other end of that connection.
    pub(crate) fn of_call(&self, metadata: &MetadataMap, peer: ConnectInfo) -> ClientId {
        let headers = metadata.as_ref();
        // Of several values the last: a proxy may have put its own after what it was sent.
        let value = self
            .metadata
            .as_ref()
            .and_then(|name| headers.get_all(name).iter().next_back());
        ClientId(
            self.key
                .hash_one(value.map_or(Mark::from(peer), |value| Mark::Metadata(value.as_bytes()))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&'static str, &str)]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for (name, value) in pairs {
            metadata.append(*name, value.parse().unwrap());
        }
        metadata
    }

    #[test]
    fn the_named_metadata_comes_before_the_connection() {
        let callers = ClientIds::new(Some(HeaderName::from_static("x-app")));
        let of = |pairs: &[_], uid| {
            callers.of_call(&metadata(pairs), ConnectInfo::Unix { uid: Some(uid) })
        };
        assert_eq!(of(&[("x-app", "a")], 1), of(&[("x-app", "a")], 2));
        assert_ne!(of(&[("x-app", "a")], 1), of(&[("x-app", "b")], 1));
        assert_eq!(
            of(&[("x-app", "made up"), ("x-app", "a")], 1),
            of(&[("x-app", "a")], 1)
        );
        assert_ne!(of(&[], 1), of(&[], 2));
        assert_eq!(of(&[("x-other", "a")], 1), of(&[("x-other", "b")], 1));
    }

    #[test]
    fn a_machine_is_the_same_from_any_port_and_in_ipv6s_clothes() {
        let callers = ClientIds::new(None);
        let of = |remote: &str| {
            callers.of_call(
                &metadata(&[]),
                ConnectInfo::Tcp {
                    local: None,
                    remote: remote.parse().unwrap(),
                },
            )
        };
        assert_eq!(of("10.0.0.1:1"), of("[::ffff:10.0.0.1]:2"));
        assert_ne!(of("10.0.0.1:1"), of("10.0.0.2:1"));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:2]:1"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
    }

    #[test]
    fn without_a_name_metadata_says_nothing() {
        let callers = ClientIds::new(None);
        let of = |pairs: &[_]| callers.of_call(&metadata(pairs), ConnectInfo::Unix { uid: None });
        assert_eq!(of(&[("x-app", "a")]), of(&[("x-app", "b")]));
    }
}
