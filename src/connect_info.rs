//! The peer of a connection: its transport and address.

use std::net::SocketAddr;

/// The two ends of a connection, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ConnectInfo {
    Tcp {
        local: Option<SocketAddr>,
        remote: SocketAddr,
    },
    Unix {
        /// The user that the peer's process runs as.
        uid: Option<u32>,
    },
}

impl ConnectInfo {
    /// The kind of connection, in the conventions' words for `network.transport`.
    pub(crate) const fn transport(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Unix { .. } => "unix",
        }
    }
}
