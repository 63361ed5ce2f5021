//! The peer of a connection: its transport, its address, and who it is.

use std::{net::SocketAddr, sync::Arc};

use crate::identity::Identity;

/// The transport and the peer of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectInfo {
    pub(crate) transport: Transport,
    pub(crate) identity: Arc<Identity>,
}

/// How the peer is connected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    Tcp {
        local: Option<SocketAddr>,
        remote: SocketAddr,
    },
    Unix,
}

impl Transport {
    /// The conventions' words for `network.transport`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Unix => "unix",
        }
    }
}
