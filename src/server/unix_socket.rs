//! The file of a Unix socket, from before the bind to after the end.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// The file of a socket. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    pub(super) path: PathBuf,
    inode: (u64, u64),
}

/// Listens on a socket at that path. The file that a dead process left there is replaced.
///
/// # Errors
///
/// The system's error, or that a live process already listens there.
pub(super) async fn bind(path: &Path, backlog: u32) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path).await?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let listener = socket.listen(backlog)?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: inode(path)?,
    };
    // The peers are in the same pod and share a group.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok((listener, file))
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

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Removes a socket file on which nobody listens.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let not_a_socket = "the path is taken by a file that is not a socket";
    let in_use = "another process listens on it";
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, not_a_socket));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, in_use)),
    }
}
