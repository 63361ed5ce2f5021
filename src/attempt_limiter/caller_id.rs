//! Tells callers apart for the limits on guessing: by metadata that the operator names, or else by
//! the connection's identity, or else by its address. Callers are kept as hashes with a key of this process, never as text.

use std::{
    hash::BuildHasher,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use http::HeaderName;
use tonic::metadata::MetadataMap;

use super::AttemptLimiter;
use crate::connect_info::{ConnectInfo, Transport};

/// Stands for one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallerId(pub(super) u64);

impl AttemptLimiter {
    /// The caller that sent this metadata over this connection.
    pub(crate) fn caller_id(&self, metadata: &MetadataMap, connection: &ConnectInfo) -> CallerId {
        let name = self.caller_metadata.as_ref();
        let value = name.and_then(|name| last_element(metadata, name));
        let principal = connection.identity.principal();
        CallerId(match (value, principal, connection.transport) {
            (Some(value), ..) => self.hasher.hash_one(("metadata", value)),
            (None, Some(principal), _) => self.hasher.hash_one(("principal", principal)),
            (None, None, Transport::Tcp { remote, .. }) => {
                self.hasher.hash_one(("network", network(remote.ip())))
            }
            (None, None, Transport::Unix) => self.hasher.hash_one("unix"),
        })
    }
}

/// The last element of a list in one field or several. The nearest proxy wrote it: proxies append to what
/// they received, with a comma or as a field of its own.
fn last_element<'a>(metadata: &'a MetadataMap, name: &HeaderName) -> Option<&'a [u8]> {
    let field = metadata.as_ref().get_all(name).iter().next_back()?;
    let element = field.as_bytes().rsplit(|byte| *byte == b',').next();
    element.map(<[u8]>::trim_ascii)
}

/// An IPv4 address, even if it is mapped into IPv6; or the first half of an IPv6 address, because
/// one machine often has that whole network. This machine's loopback addresses are one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{attempt_limiter::tests::limiter, identity::Identity};

    fn unix(uid: u32) -> ConnectInfo {
        ConnectInfo {
            transport: Transport::Unix,
            identity: Arc::new(Identity::of_unix_peer(uid, 1)),
        }
    }

    fn metadata(pairs: &[(&'static str, &str)]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for (name, value) in pairs {
            metadata.append(*name, value.parse().unwrap());
        }
        metadata
    }

    #[test]
    fn the_named_metadata_comes_before_the_connection() {
        let limiter = limiter(Some(HeaderName::from_static("x-app")));
        let of = |pairs: &[_], uid| limiter.caller_id(&metadata(pairs), &unix(uid));
        assert_eq!(of(&[("x-app", "a")], 1), of(&[("x-app", "a")], 2));
        assert_ne!(of(&[("x-app", "a")], 1), of(&[("x-app", "b")], 1));
        assert_eq!(
            of(&[("x-app", "made up"), ("x-app", "a")], 1),
            of(&[("x-app", "a")], 1)
        );
        for list in [
            &[("x-app", "made up,a")][..],
            &[("x-app", "made up , also, a ")],
            &[("x-app", "made up"), ("x-app", "also, a")],
        ] {
            assert_eq!(of(list, 1), of(&[("x-app", "a")], 1), "{list:?}");
        }
        assert_ne!(of(&[], 1), of(&[], 2));
        assert_eq!(of(&[("x-other", "a")], 1), of(&[("x-other", "b")], 1));
    }

    #[test]
    fn an_address_is_one_caller_from_any_port_and_mapped_into_ipv6() {
        let limiter = limiter(None);
        let of = |remote: &str| {
            limiter.caller_id(
                &metadata(&[]),
                &ConnectInfo {
                    transport: Transport::Tcp {
                        local: None,
                        remote: remote.parse().unwrap(),
                    },
                    identity: Arc::default(),
                },
            )
        };
        assert_eq!(of("10.0.0.1:1"), of("[::ffff:10.0.0.1]:2"));
        assert_ne!(of("10.0.0.1:1"), of("10.0.0.2:1"));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:2]:1"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        // A local program can choose any of them, and a client of `localhost` takes either family.
        for loopback in ["127.0.0.2:1", "[::1]:1", "[::ffff:127.9.9.9]:1"] {
            assert_eq!(of("127.0.0.1:1"), of(loopback), "{loopback}");
        }
    }

    #[test]
    fn metadata_is_ignored_unless_it_is_configured() {
        let limiter = limiter(None);
        let of = |pairs: &[_]| limiter.caller_id(&metadata(pairs), &unix(1));
        assert_eq!(of(&[("x-app", "a")]), of(&[("x-app", "b")]));
    }
}
