//! Where the gateway listens, and the loop that accepts connections.

use std::{io, net::SocketAddr, time::Duration};

use rustix::net::sockopt;
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
use crate::{address::Address, connect_info::ConnectInfo};

/// How many connections may wait to be accepted. tokio's 128 are full at once when all clients reconnect together, and a
/// client that finds them full tries again only after a second.
pub(super) const BACKLOG: u32 = 4096;
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
    /// Binds the address. The file that a dead process left at a socket's path is replaced.
    ///
    /// # Errors
    ///
    /// The system's error, or that a live process already listens on the socket.
    pub(crate) async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            Address::Unix(path) => {
                let (listener, file) = unix_socket::bind(path).await?;
                Ok(Self::Unix(listener, file))
            }
        }
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
                Ok((stream, client)) => {
                    is_failing = false;
                    // Without a permit the connection closes: all others are busy.
                    if let Some(permit) = limit.acquire(&drain) {
                        connections.spawn(serve(stream, client, permit));
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
                Ok((Either::Left(stream), ConnectInfo::Tcp { local, remote }))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                let (reader, writer) = stream.into_split();
                let stream = join(AuthorityRewriter::new(reader), writer);
                Ok((Either::Right(stream), ConnectInfo::Unix { uid }))
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

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
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
