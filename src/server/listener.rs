//! Where the gateway listens, and the loop that accepts connections.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustix::{io::Errno, net::sockopt};
use tokio::{
    io::{Join, join},
    net::{
        TcpListener, TcpSocket, TcpStream, UnixListener,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::sleep,
};
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    authority_rewriter::AuthorityRewriter,
    connection_limit::{ConnectionLimit, ConnectionPermit},
    monitored_io::WRITE_STALL_TIMEOUT,
    unix_socket::{self, SocketFile},
};
use crate::{
    address::Address,
    connect_info::{ConnectInfo, Transport},
    identity::Identity,
};

/// How many connections may wait to be accepted. tokio's 128 are full at once when all clients reconnect together, and a
/// client that finds them full tries again only after a second.
const BACKLOG: u32 = 4096;
/// How long to wait after a failure that does not pass by itself, such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// An accepted connection.
pub(super) type Stream = Either<TcpStream, Join<AuthorityRewriter<OwnedReadHalf>, OwnedWriteHalf>>;

/// A bound listener.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Binds one of `all` addresses of the gateway; `localhost` takes two listeners. The file that a dead process left at
    /// a socket's path is replaced.
    ///
    /// # Errors
    ///
    /// The system's error, or that a live process already listens on the socket.
    pub(crate) async fn bind(address: &Address, all: &[Address]) -> io::Result<Vec<Self>> {
        let bound = match address {
            Address::Tcp(socket) => vec![bind_tcp(*socket, is_beside_ipv4(socket, all))?],
            Address::Localhost(port) => bind_localhost(*port)?,
            Address::Any(port) => vec![bind_any(*port)?],
            Address::Unix(path) => {
                let (listener, file) = unix_socket::bind(path, BACKLOG).await?;
                return Ok(vec![Self::Unix(listener, file)]);
            }
        };
        Ok(bound.into_iter().map(Self::Tcp).collect())
    }

    /// The address, with the port that the system picked.
    pub(crate) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Self::Unix(_, file) => Ok(Address::Unix(file.path.clone())),
        }
    }

    /// Accepts connections until the drain and serves each in a task of its own. What has connected before the drain is
    /// still served.
    pub(super) async fn accept_all<F>(
        self,
        limit: ConnectionLimit,
        connections: TaskTracker,
        drain: CancellationToken,
        serve: impl Fn(Stream, ConnectInfo, ConnectionPermit) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut is_failing = false;
        loop {
            wait_for_evicted(&limit, &connections).await;
            let accepted = tokio::select! {
                // The system's queue first, so that the drain leaves no connection in it.
                biased;
                accepted = self.accept() => accepted,
                () = drain.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    is_failing = false;
                    // Without a permit the connection closes: all others are busy.
                    if let Some(permit) = limit.acquire(&drain) {
                        connections.spawn(serve(stream, peer, permit));
                    }
                }
                Err(error) if is_connection_error(&error) => {}
                Err(error) => {
                    if !is_failing {
                        warn!(%error, "connections cannot be accepted");
                    }
                    is_failing = true;
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<(Stream, ConnectInfo)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                // Responses are small. If the peer has already gone, the first read fails too.
                let _ = stream.set_nodelay(true);
                let local = stream.local_addr().ok();
                let peer = ConnectInfo {
                    transport: Transport::Tcp { local, remote },
                    identity: Arc::default(),
                };
                Ok((Either::Left(stream), peer))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().ok();
                let identity = user.map(|user| Identity::of_unix_peer(user.uid(), user.gid()));
                let peer = ConnectInfo {
                    transport: Transport::Unix,
                    identity: Arc::new(identity.unwrap_or_default()),
                };
                let (reader, writer) = stream.into_split();
                let stream = join(AuthorityRewriter::new(reader), writer);
                Ok((Either::Right(stream), peer))
            }
        }
    }
}

/// Waits a moment for evicted connections to close, because their sockets still count as open files. A connection that got
/// a call while it was evicted takes longer and is not waited for.
async fn wait_for_evicted(limit: &ConnectionLimit, connections: &TaskTracker) {
    const ATTEMPTS: usize = 10;
    for _ in 0..ATTEMPTS {
        if connections.len() <= limit.max_sockets() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Whether another listener takes IPv4 connections on the same port.
fn is_beside_ipv4(socket: &SocketAddr, all: &[Address]) -> bool {
    let mut others = all.iter().flat_map(Address::socket_addresses);
    others.any(|other| other.is_ipv4() && other.port() == socket.port() && other.port() != 0)
}

/// Binds the loopback addresses, on the same port, of the families that the machine has.
fn bind_localhost(port: u16) -> io::Result<Vec<TcpListener>> {
    let v4 = bind_tcp((Ipv4Addr::LOCALHOST, port).into(), false);
    let address = v4.as_ref().ok().map(TcpListener::local_addr).transpose()?;
    let port = address.map_or(port, |address| address.port());
    let v6 = bind_tcp((Ipv6Addr::LOCALHOST, port).into(), true);
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Ok(vec![v4, v6]),
        (Ok(one), Err(error)) | (Err(error), Ok(one)) if lacks_family(&error) => Ok(vec![one]),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Binds all addresses of both families by one IPv6 socket; those of IPv4 where the machine has no IPv6.
fn bind_any(port: u16) -> io::Result<TcpListener> {
    match bind_tcp((Ipv6Addr::UNSPECIFIED, port).into(), false) {
        Err(error) if lacks_family(&error) => bind_tcp((Ipv4Addr::UNSPECIFIED, port).into(), false),
        bound => bound,
    }
}

/// Whether the machine has no IPv6 (or no IPv4): its system does not know it, or no interface has such an address.
fn lacks_family(error: &io::Error) -> bool {
    let is_unknown = error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error());
    is_unknown || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn bind_tcp(address: SocketAddr, is_v6_only: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() {
        // The default is a setting of the system.
        sockopt::set_ipv6_v6only(&socket, is_v6_only)?;
    }
    // Accepted connections inherit this. It closes a connection whose peer acknowledges nothing while the send buffer still
    // has room, so that writes succeed and the write timeout never applies.
    sockopt::set_tcp_user_timeout(&socket, WRITE_STALL_TIMEOUT.as_millis() as u32)?;
    // The connections of a process that has ended do not keep the next one from the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the connection failed, and not the listener.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
    )
}
