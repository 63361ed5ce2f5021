//! Ports of programs that take no port 0, or do not tell what they have made of it.

use std::net::{SocketAddr, TcpListener, TcpStream};

/// An address on which nothing listens.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Whether a connection is accepted there.
pub(crate) fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}
