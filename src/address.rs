//! The addresses that the gateway can listen on.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// An address to listen on, `IP:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:50051`; port 0: one that the system picks.
    Tcp(SocketAddr),
    /// `unix:/run/reset-gateway.sock`
    Unix(PathBuf),
}

impl Address {
    /// Whether the system picks the port.
    pub(crate) fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

/// The longest path of a Unix socket on Linux, in bytes.
const MAX_PATH: usize = 107;

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let takes = || "takes IP:port or unix:/absolute/path (at most 107 bytes)".to_owned();
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && path.len() <= MAX_PATH => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(takes()),
            None => text.parse().map(Self::Tcp).map_err(|_| takes()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
