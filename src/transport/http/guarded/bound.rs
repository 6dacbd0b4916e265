//! A bound listening socket, TCP or Unix-domain: where the front can be reached.
//!
//! Must not know connections, limits or HTTP.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use uuid::Uuid;

use super::listener::Accept;
use super::socket::Socket;
use crate::base::waiting::after;

/// Connections that may wait in the kernel to be accepted; it may allow fewer. As many as are served, for a crowd that comes at once.
const BACKLOG_LEN: i32 = 1024;

/// A listening socket. Dropping it closes it and removes the path that [`Listener::bind_unix`] made.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// What to remove at the end, if it was made here.
        _file: Option<SocketFile>,
    },
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Listener {
        let _file = None;
        Listener::Unix { listener, _file }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix { listener, .. } => listener.as_fd(),
        }
    }
}

impl Listener {
    /// Makes a socket at `path` with these permissions, such as `0o600` for its owner alone. A socket that a dead server left there is
    /// replaced; a live one, or any other file, is an error. Never waits for a peer.
    ///
    /// It listens under a name of its own before it takes `path`, so that nobody can connect before the permissions are set, nobody finds
    /// a socket there that does not listen yet, and `path` is never without one while it is replaced. Of servers that start together one
    /// gets `path`, because they take turns by a lock.
    pub(crate) fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
        // Nobody could connect to a longer path than an address holds.
        SocketAddrUnix::new(path)?;
        let _turn = PathLock::take(path)?;
        if !is_free(path)? {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // Short, because a socket's path has about a hundred bytes, and like no other's in this directory.
        let made = path.with_file_name(format!(".{:08x}", Uuid::new_v4().as_fields().0));
        let socket = unix_socket()?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&made)?)?;
        let mut file = SocketFile::at(&made)?;
        fs::set_permissions(&made, fs::Permissions::from_mode(mode))?;
        rustix::net::listen(&socket, BACKLOG_LEN)?;
        fs::rename(&made, path)?;
        file.path = path.to_path_buf();
        Ok(Listener::Unix {
            listener: socket.into(),
            _file: Some(file),
        })
    }

    /// Where it listens, if that is an IP address.
    pub(crate) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Some),
            Listener::Unix { .. } => Ok(None),
        }
    }

    /// Makes `accept` return at once, and lets many connections wait for it.
    pub(super) fn open(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.set_nonblocking(true)?,
            Listener::Unix { listener, .. } => listener.set_nonblocking(true)?,
        }
        Ok(rustix::net::listen(self, BACKLOG_LEN)?)
    }
}

impl Accept for Listener {
    /// In blocking mode.
    fn accept(&self) -> io::Result<Socket> {
        let (fd, peer) = match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                (stream.into(), Some(peer))
            }
            Listener::Unix { listener, .. } => (listener.accept()?.0.into(), None),
        };
        // Linux gives it a mode of its own; elsewhere it takes after the listener.
        #[cfg(not(target_os = "linux"))]
        ioctl_fionbio(&fd, false)?;
        Ok(Socket { fd, peer })
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

/// Whether a server may take `path`: nothing is there, or a socket that nobody listens to.
fn is_free(path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Ok(false);
    }
    // A live server whose backlog is full would make a blocking `connect` wait for ever.
    let probe = unix_socket()?;
    ioctl_fionbio(&probe, true)?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(true),
        _ => Ok(false),
    }
}

/// One server's turn to look at a path and to take it. The kernel ends it with the process, however that ends.
struct PathLock {
    path: PathBuf,
    /// Locked.
    file: File,
}

/// A turn takes a few system calls, so one that lasts this long is not going to end.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

impl PathLock {
    fn take(socket: &Path) -> io::Result<PathLock> {
        let mut name = OsString::from(".");
        name.push(socket.file_name().unwrap_or_default());
        name.push(".lock");
        let path = socket.with_file_name(name);
        let deadline = after(TURN_PATIENCE);
        loop {
            let mut options = File::options();
            // In a directory that others may write to: no link is followed, and no pipe waits for a reader.
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            let options = options.write(true).create(true).mode(0o600);
            let file = options.custom_flags(flags).open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Its holder has removed it meanwhile, and a third may have made another.
                Ok(()) if !is_at(&file, &path) && Instant::now() < deadline => {}
                Ok(()) if !is_at(&file, &path) => return Err(io::ErrorKind::AddrInUse.into()),
                Ok(()) => return Ok(PathLock { path, file }),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {}
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                Err(error) => return Err(error.into()),
            }
            std::thread::sleep(Duration::from_millis(1)); // the lock has no wait with a deadline
        }
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // Removed before the lock is given up: only its holder may remove it.
        let _ = fs::remove_file(&self.path);
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(found)) => (file.dev(), file.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Born so that no child of another thread inherits it.
#[cfg(not(target_vendor = "apple"))]
fn unix_socket() -> io::Result<OwnedFd> {
    use rustix::net::{SocketFlags, socket_with};
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

/// Without such a way, a child that is started just now may inherit it.
#[cfg(target_vendor = "apple")]
fn unix_socket() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}
