//! Reading and writing one socket with deadlines, at one system call each as long as the peer keeps up.
//!
//! A deadline is an `Instant`; the wait for it is the socket's read timeout, which is set only when it changes much, so that a
//! busy connection never pays for it. Must not know HTTP.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::registry::Link;
use super::socket::Socket;
use crate::base::deadline::after;

/// A read waits this long at a time, then looks at its deadline again. Long enough to cost nothing, and the same for every
/// deadline further away, which is what spares a busy connection a system call for each request.
const TURN: Duration = Duration::from_secs(1);

/// So much later than its deadline may a wait end before it is worth a system call to correct it.
const SLACK: Duration = Duration::from_millis(10);

/// Room for one read of a head: more than nearly every request needs, one page of memory.
pub(super) const READ_BYTES: usize = 4 * 1024;

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    Bytes,
    /// The peer has ended its side, or the connection is broken.
    Ended,
    TimedOut,
}

/// The owner's end of a socket. There is one, in the connection's thread.
#[derive(Debug)]
pub(super) struct Wire {
    link: Arc<Link>,
    /// What the socket's read timeout is set to. Zero before it is first set.
    read_timeout: Duration,
}

impl Wire {
    pub(super) fn new(link: Arc<Link>) -> Wire {
        Wire {
            link,
            read_timeout: Duration::ZERO,
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.link.socket
    }

    /// Reads once into the spare capacity of `into`, waiting for it until `deadline`.
    pub(super) fn fill(&mut self, into: &mut Vec<u8>, deadline: Instant) -> Filled {
        self.read_until(deadline, TURN, |socket| socket.read_spare(into))
    }

    /// Reads once into `into` and says how much, waiting until `deadline` without looking up in between: for long silences.
    pub(super) fn read_idle(&mut self, into: &mut [u8], deadline: Instant) -> (Filled, usize) {
        let mut count = 0;
        let filled = self.read_until(deadline, Duration::MAX, |socket| {
            count = socket.read(into)?;
            Ok(count)
        });
        (filled, count)
    }

    /// Reads once into the spare capacity of `into` if something has arrived already.
    pub(super) fn fill_now(&mut self, into: &mut Vec<u8>) -> Filled {
        if !self.socket().is_readable() {
            return Filled::TimedOut;
        }
        match self.socket().read_spare(into) {
            Ok(0) | Err(_) => Filled::Ended,
            Ok(_) => Filled::Bytes,
        }
    }

    /// Writes all of these, in one call if the kernel has room. `TimedOut` if the whole is not taken in time, however much of it
    /// was: a reader that drips is a reader that does not read.
    pub(super) fn write(
        &mut self,
        mut parts: &mut [IoSlice<'_>],
        timeout: Duration,
    ) -> io::Result<()> {
        let mut deadline = None;
        loop {
            match self.socket().send_now(parts) {
                Ok(sent) => IoSlice::advance_slices(&mut parts, sent),
                Err(error) if is_retry(&error) => {}
                Err(error) => return Err(error),
            }
            if parts.is_empty() {
                return Ok(());
            }
            let left = deadline
                .get_or_insert_with(|| after(timeout))
                .saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.socket().discard_on_close();
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.socket().wait_writable(left)?;
        }
    }

    /// Ends our side and reads what the peer still sends, so that it can read our answer: closing with bytes unread would
    /// send a reset that destroys it. Ends when the peer does, or at the deadline.
    pub(super) fn linger(&mut self, buffer: &mut Vec<u8>, deadline: Instant) {
        self.socket().shutdown(Shutdown::Write);
        loop {
            buffer.clear();
            buffer.reserve(READ_BYTES);
            if self.fill(buffer, deadline) != Filled::Bytes {
                return;
            }
        }
    }

    fn read_until(
        &mut self,
        deadline: Instant,
        turn: Duration,
        mut read: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Filled {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Filled::TimedOut;
            }
            if self.wait_about(left, turn).is_err() {
                return Filled::Ended;
            }
            match read(self.socket()) {
                Ok(0) => return Filled::Ended,
                Ok(_) => return Filled::Bytes,
                Err(error) if is_retry(&error) => {}
                Err(_) => return Filled::Ended,
            }
        }
    }

    /// Has the next read wait for `left`, or one turn if that is shorter, unless what is set will do.
    fn wait_about(&mut self, left: Duration, turn: Duration) -> io::Result<()> {
        let wanted = left.min(turn);
        let too_long = self.read_timeout > left + SLACK;
        let too_short = self.read_timeout < wanted / 2;
        if too_long || too_short {
            let timeout = wanted.max(Duration::from_millis(1)); // zero would mean for ever
            self.socket().set_read_timeout(timeout)?;
            self.read_timeout = timeout;
        }
        Ok(())
    }
}

fn is_retry(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
