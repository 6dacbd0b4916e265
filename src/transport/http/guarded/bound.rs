//! A bound listening socket, TCP or Unix-domain: where the front can be reached.
//!
//! Must not know connections, limits or HTTP.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::socket::Socket;

/// A listening socket. Dropping it closes it and removes the path that [`Listener::bind_unix`] made.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// With the file to remove at the end, if it was made here.
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "held, and removed when dropped")] Option<SocketFile>,
    ),
}

/// Where a listener can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalAddr {
    Tcp(SocketAddr),
    /// `None` if the listener that was handed to us has no path.
    Unix(Option<PathBuf>),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Listener {
        Listener::Unix(listener, None)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl Listener {
    /// Makes a socket at `path` with these permissions, such as `0o600` for its owner alone. A socket that a dead server left
    /// there is replaced; a live one, or any other file, is an error. Nobody can connect before the permissions are set.
    pub(crate) fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
        let address = SocketAddrUnix::new(path)?;
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        match rustix::net::bind(&socket, &address) {
            Err(Errno::ADDRINUSE) if is_left_over(path) => {
                fs::remove_file(path)?;
                rustix::net::bind(&socket, &address)?;
            }
            bound => bound?,
        }
        let file = SocketFile::at(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        rustix::net::listen(&socket, 1)?; // the front sets the real backlog when it starts
        Ok(Listener::Unix(UnixListener::from(socket), Some(file)))
    }

    pub(crate) fn local_addr(&self) -> io::Result<LocalAddr> {
        Ok(match self {
            Listener::Tcp(listener) => LocalAddr::Tcp(listener.local_addr()?),
            Listener::Unix(listener, _) => {
                let address = listener.local_addr()?;
                LocalAddr::Unix(address.as_pathname().map(Path::to_path_buf))
            }
        })
    }

    /// Makes `accept` return at once, and lets so many connections wait for it.
    pub(super) fn open(&self, backlog_len: usize) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.set_nonblocking(true)?,
            Listener::Unix(listener, _) => listener.set_nonblocking(true)?,
        }
        let backlog = i32::try_from(backlog_len).unwrap_or(i32::MAX);
        Ok(rustix::net::listen(self, backlog)?)
    }

    /// The next connection that waits, in blocking mode; `WouldBlock` if none does.
    pub(super) fn accept(&self) -> io::Result<Socket> {
        let socket = match self {
            Listener::Tcp(listener) => Socket::Tcp(listener.accept()?.0),
            Listener::Unix(listener, _) => Socket::Unix(listener.accept()?.0),
        };
        // Linux gives it a mode of its own; elsewhere it takes after the listener.
        #[cfg(not(target_os = "linux"))]
        match &socket {
            Socket::Tcp(stream) => stream.set_nonblocking(false)?,
            Socket::Unix(stream) => stream.set_nonblocking(false)?,
        }
        Ok(socket)
    }
}

/// The path of a Unix-domain socket, removed when this is dropped, unless somebody else has put another file there.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<SocketFile> {
        let found = fs::symlink_metadata(path)?;
        Ok(SocketFile {
            path: path.to_path_buf(),
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Ok(found) = fs::symlink_metadata(&self.path) else {
            return;
        };
        if found.dev() == self.device && found.ino() == self.inode {
            // Nothing can be done about a path that will not go; the next server replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether there is a socket at `path` that nobody listens to.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = || match UnixStream::connect(path) {
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    };
    is_socket && refused()
}
