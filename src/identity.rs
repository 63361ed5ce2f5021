//! Who the peer of a connection is: the names that a policy is matched against.

/// The identity of a peer. By default it has none: it is connected by TCP without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The names that a policy is matched against, by gRFC A43. One that is empty stands for a peer without a certificate
    /// on a TLS connection. The first one, if it is not empty, stands for the peer in the log and for the limits.
    pub(crate) principals: Vec<String>,
}

impl Identity {
    /// The identity of the process behind a Unix socket, spelt as SPIRE's selectors.
    pub(crate) fn of_unix_peer(uid: u32, gid: u32) -> Self {
        Self {
            principals: vec![format!("unix:uid:{uid}"), format!("unix:gid:{gid}")],
        }
    }

    /// The peer's one name; `None` if it has none.
    pub(crate) fn principal(&self) -> Option<&str> {
        let first = self.principals.first();
        first.map(String::as_str).filter(|name| !name.is_empty())
    }
}
