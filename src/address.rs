//! The addresses that the gateway can listen on.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:50051`. With port 0 the system picks a port.
    Tcp(SocketAddr),
    /// `localhost:50051`: the loopback addresses of IPv4 and IPv6.
    Localhost(u16),
    /// `:50051`: all addresses of IPv4 and IPv6.
    Any(u16),
    /// `unix:/run/reset-gateway.sock`
    Unix(PathBuf),
}

/// The longest path of a Unix socket on Linux, in bytes.
const MAX_PATH: usize = 107;

impl Address {
    /// The IP addresses and ports that the address stands for; none for a Unix socket.
    pub(crate) fn socket_addresses(&self) -> Vec<SocketAddr> {
        match *self {
            Self::Tcp(socket) => vec![socket],
            Self::Localhost(port) => vec![
                (Ipv4Addr::LOCALHOST, port).into(),
                (Ipv6Addr::LOCALHOST, port).into(),
            ],
            Self::Any(port) => vec![
                (Ipv6Addr::UNSPECIFIED, port).into(),
                (Ipv4Addr::UNSPECIFIED, port).into(),
            ],
            Self::Unix(_) => Vec::new(),
        }
    }

    /// Whether two listeners cannot have these addresses. Port 0 is a different port each time.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let others = other.socket_addresses();
        let is_taken = |socket: &SocketAddr| socket.port() != 0 && others.contains(socket);
        match self {
            Self::Unix(_) => self == other,
            _ => self.socket_addresses().iter().any(is_taken),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    /// Reads one of the forms above; a Unix socket also as `unix:///path`. In `unix://run/x.sock`, which looks like an
    /// absolute path, gRPC libraries see an authority or a relative path, so it is an error.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // In a comma-separated list there may be a blank after the comma.
        let text = text.trim();
        let address = if let Some(rest) = text.strip_prefix("unix:") {
            unix_path(rest).map(Self::Unix)
        } else if let Some(port) = text.strip_prefix("localhost:") {
            parse_port(port).map(Self::Localhost)
        } else if let Some(port) = text.strip_prefix(':') {
            parse_port(port).map(Self::Any)
        } else {
            text.parse().map(Self::Tcp).ok()
        };
        address.ok_or(
            "takes IP:port, localhost:port, :port or unix:/absolute/path (at most 107 bytes)",
        )
    }
}

/// The path after `unix:`.
fn unix_path(rest: &str) -> Option<PathBuf> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let is_file = path.starts_with('/') && !path.starts_with("//") && !path.ends_with('/');
    (is_file && path.len() <= MAX_PATH).then(|| path.into())
}

/// A port, by the rules of [`SocketAddr`]: without a sign.
fn parse_port(text: &str) -> Option<u16> {
    let socket: SocketAddr = format!("0.0.0.0:{text}").parse().ok()?;
    Some(socket.port())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(socket) => socket.fmt(f),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Any(port) => write!(f, ":{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
