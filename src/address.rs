//! The addresses that the gateway can listen on.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// An address to listen on, `IP:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:50051`. With port 0 the system picks a port.
    Tcp(SocketAddr),
    /// `unix:/run/reset-gateway.sock`
    Unix(PathBuf),
}

/// The longest path of a Unix socket on Linux, in bytes.
const MAX_PATH: usize = 107;

impl FromStr for Address {
    type Err = &'static str;

    /// Reads `IP:port`, `unix:/path` or `unix:///path`. In `unix://run/x.sock`, which looks like an
    /// absolute path, gRPC libraries see an authority or a relative path, so it is an error.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = match text.strip_prefix("unix:") {
            Some(rest) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                let is_file =
                    path.starts_with('/') && !path.starts_with("//") && !path.ends_with('/');
                (is_file && path.len() <= MAX_PATH).then(|| Self::Unix(path.into()))
            }
            None => text.parse().map(Self::Tcp).ok(),
        };
        address.ok_or("takes IP:port or unix:/absolute/path (at most 107 bytes)")
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
