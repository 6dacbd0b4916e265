//! What another thread rings when the owner of a connection, which waits for its client, has something to do.
//!
//! A descriptor, so that both can be waited for in one place. A connection has one while it is in use, and none while it is idle. Must not know why it
//! is rung.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::socket::Socket;
use crate::transport::http::exchange::{Heard, Heeds};

/// An eventfd on Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Bell(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?))
    }

    fn ends(&self) -> (&OwnedFd, &OwnedFd) {
        (&self.0, &self.0)
    }
}

/// A pair of connected sockets elsewhere.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug)]
pub(super) struct Bell(OwnedFd, OwnedFd);

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        let (rung, rings) = std::os::unix::net::UnixStream::pair()?;
        rung.set_nonblocking(true)?;
        rings.set_nonblocking(true)?;
        Ok(Bell(rung.into(), rings.into()))
    }

    fn ends(&self) -> (&OwnedFd, &OwnedFd) {
        (&self.0, &self.1)
    }
}

impl Bell {
    /// Wakes the owner, now or when it waits next. Never waits.
    pub(super) fn ring(&self) {
        // The only failure is that it has been rung more often than can be counted.
        let _rung_already = rustix::io::write(self.ends().1, &1_u64.to_ne_bytes());
    }

    /// Waits until it is rung, or until the client does what is heeded. It may also return for no reason, as [`Heard::Bell`].
    pub(super) fn wait(&self, socket: &Socket, heeds: Heeds, until: Option<Instant>) -> Heard {
        let (rung, _) = self.ends();
        let events = match heeds {
            Heeds::Bytes => PollFlags::IN | Socket::END,
            Heeds::End | Heeds::Nothing => Socket::END,
        };
        let mut polled = [
            PollFd::new(rung, PollFlags::IN),
            PollFd::new(socket, events),
        ];
        let count = match heeds {
            Heeds::Bytes | Heeds::End => 2,
            Heeds::Nothing => 1,
        };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut polled[..count], timeout.as_ref()) {
            Ok(0) => return Heard::Silence,
            Ok(_) => {}
            Err(_interrupted) => return Heard::Bell,
        }
        if !polled[0].revents().is_empty() {
            // Nothing is there if it was rung before and heard since.
            let _heard_already = rustix::io::read(rung, &mut [0_u8; 8]);
            return Heard::Bell;
        }
        match socket.says_end(polled[1].revents()) {
            true => Heard::End,
            false => Heard::Bytes,
        }
    }
}
