//! Where the gateway listens: TCP and Unix sockets.

use std::{
    fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};
use tokio_util::either::Either;

use super::socket::PATIENCE;
use crate::{address::Address, connect_info::ConnectInfo};

/// How many connections may wait to be accepted. The library's 128 are full at once when all clients come back together, and
/// who finds them full tries again only after a second.
const BACKLOG: u32 = 4096;

/// An accepted connection.
pub(super) type Stream = Either<TcpStream, UnixStream>;

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
    /// The system's, or that a live process already listens on the socket.
    pub(crate) async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => Ok(Self::Tcp(listen(*address)?)),
            Address::Unix(path) => {
                remove_stale(path).await?;
                let socket = UnixSocket::new_stream()?;
                socket.bind(path)?;
                let listener = socket.listen(BACKLOG)?;
                let file = SocketFile::new(path)?;
                // The peers are in the same pod and share a group.
                fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// The system's: the connection's, or that there can be no more.
    pub(super) async fn accept(&self) -> io::Result<(Stream, ConnectInfo)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                // Answers are small and awaited. Where the peer is gone already, the first read tells.
                let _ = stream.set_nodelay(true);
                let peer = ConnectInfo::Tcp {
                    local: stream.local_addr().ok(),
                    remote,
                };
                Ok((Either::Left(stream), peer))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Either::Right(stream), ConnectInfo::Unix { uid }))
            }
        }
    }

    /// Where it listens, with the port that the system picked.
    pub(crate) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Self::Unix(_, file) => Ok(Address::Unix(file.path.clone())),
        }
    }
}

/// The file of a Unix socket, which is removed when this is dropped, with its listener.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            inode: inode(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // By now another process may have put its own socket there.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the socket file could not be removed");
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Accepted connections inherit it. It ends those whose peers take nothing while the system has room for all that is sent
    // to them, where no write ever waits.
    sockopt::set_tcp_user_timeout(&socket, PATIENCE.as_millis() as u32)?;
    // Connections of a process that has ended do not keep the next one from the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Removes a socket file on which nobody listens any more.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "the path is taken by a file that is not a socket",
            ));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            ErrorKind::AddrInUse,
            "another process listens on it",
        )),
    }
}
