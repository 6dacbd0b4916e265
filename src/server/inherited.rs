//! A listening socket that the process was started with: socket activation by systemd, or a socket as stdin.
//!
//! Without `unsafe`, a number cannot be made a descriptor. Linux gives out another descriptor of the same socket (`pidfd_getfd` on the process
//! itself); elsewhere only stdin can be taken, which has a safe name. Must not know what is served. `sd_listen_fds(3)`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::net::{AddressFamily, getsockname, listen};

use crate::base::error::{Error, Result};
use crate::transport::http::guarded::Listener;

/// The first descriptor that systemd passes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FIRST: i32 = 3;

/// Takes the socket that the process was started with.
pub(super) fn take() -> Result<Listener> {
    // The variables may have been set for our parent.
    let is_for_us = |pid| pid == std::process::id().to_string();
    let passed = std::env::var("LISTEN_PID").is_ok_and(is_for_us);
    let passed = passed.then(|| std::env::var("LISTEN_FDS").ok()).flatten();
    let socket = match passed.as_deref() {
        Some("1") => first_passed(),
        Some(count) => {
            return Err(Error::configuration(format!(
                "{count} sockets were passed (LISTEN_FDS); a server takes exactly one"
            )));
        }
        None => io::stdin().as_fd().try_clone_to_owned(),
    };
    let unusable = |source| {
        Error::io(
            "cannot take the socket that the process was started with",
            source,
        )
    };
    let socket = socket.map_err(unusable)?;
    // macOS does not answer `SO_ACCEPTCONN`; what listens may be told to once more, and what is connected, or no socket, may not.
    if listen(&socket, i32::MAX).is_err() {
        return Err(Error::configuration(
            "the process was started without a listening socket: neither LISTEN_FDS and LISTEN_PID name one, nor is stdin one",
        ));
    }
    let address = getsockname(&socket).map_err(|errno| unusable(errno.into()))?;
    match address.address_family() {
        AddressFamily::UNIX => Ok(UnixListener::from(socket).into()),
        AddressFamily::INET | AddressFamily::INET6 => Ok(Listener::Tcp(socket.into())),
        _ => Err(Error::configuration(
            "the socket that the process was started with is neither TCP nor a Unix-domain socket",
        )),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn first_passed() -> io::Result<OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let myself = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(myself, FIRST, PidfdGetfdFlags::empty())?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn first_passed() -> io::Result<OwnedFd> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "on this system only a socket that is stdin can be taken",
    ))
}
