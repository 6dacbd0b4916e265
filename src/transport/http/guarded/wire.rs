//! Reading and writing one socket in the time a peer has, at one system call each as long as it keeps up.
//!
//! The wait is the socket's read timeout, which is set only when it changes much, so that a busy connection never pays for it. Time is judged
//! only after what has arrived has been taken, and time in which this process did not run (a frozen container, a closed laptop) does not
//! count: the peer could do nothing about it. Must not know HTTP.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::Shutdown;

use super::link::Link;
use super::socket::{Socket, Wait};
use crate::base::limits::Limits;
use crate::base::waiting::about_to_wait;

/// A wait is this long at a time, then looks at the time again: so much of a suspension is taken for the peer's time. Long enough to cost
/// nothing, and the same for every read that may take longer, which is what spares a busy connection a system call for each request.
const TURN: Duration = Duration::from_secs(1);

/// So much longer than allowed may a wait be before it is worth a system call to correct it.
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

/// When a peer's time began, and what the process had lost by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    at: Instant,
    lost: Duration,
}

/// The owner's end of a socket. There is one.
pub(super) struct Wire {
    pub(super) link: Arc<Link>,
    pub(super) limits: Arc<Limits>,
    /// What the socket's read timeout is set to. Zero before it is first set.
    read_timeout: Duration,
    /// The time in which the process did not run, as far as it was noticed.
    lost: Duration,
}

impl Wire {
    pub(super) fn new(link: Arc<Link>, limits: Arc<Limits>) -> Wire {
        Wire {
            link,
            limits,
            read_timeout: Duration::ZERO,
            lost: Duration::ZERO,
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.link.socket
    }

    /// The peer's time begins now.
    pub(super) fn begin(&self) -> Begun {
        Begun {
            at: Instant::now(),
            lost: self.lost,
        }
    }

    /// Reads once into the spare capacity of `into`, waiting for it as long as the peer has time.
    pub(super) fn fill(&mut self, into: &mut Vec<u8>, begun: Begun, time: Duration) -> Filled {
        loop {
            let filled = self.fill_now(into);
            let now = Instant::now();
            let left = self.left(begun, time, now);
            if filled != Filled::TimedOut || left.is_zero() {
                return filled;
            }
            if !about_to_wait() || self.wait_about(left).is_err() {
                return Filled::Ended;
            }
            let read = self.socket().read_spare(into, Wait::ForBytes);
            self.note_lost(now, self.read_timeout);
            match filled_by(read) {
                Filled::TimedOut => {}
                filled => return filled,
            }
        }
    }

    /// Reads once into the spare capacity of `into` if something has arrived already.
    pub(super) fn fill_now(&mut self, into: &mut Vec<u8>) -> Filled {
        filled_by(self.socket().read_spare(into, Wait::Never))
    }

    /// Writes all of these, in one call if the kernel has room. A reader has `write_timeout`, and earns one more second for every
    /// `write_bytes_per_second_min` bytes that are taken: `TimedOut` when that is over.
    pub(super) fn write(&mut self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut begun = None; // a reader that keeps up never asks the clock
        let mut taken = 0;
        loop {
            match self.socket().send_now(parts) {
                Ok(sent) => {
                    taken += sent;
                    IoSlice::advance_slices(&mut parts, sent);
                }
                Err(error) if is_retry(&error) => {}
                Err(error) => return Err(error),
            }
            if parts.is_empty() {
                return Ok(());
            }
            let rate = self.limits.write_bytes_per_second_min;
            let time = earned(self.limits.write_timeout, taken, rate);
            let begun = *begun.get_or_insert_with(|| self.begin());
            let now = Instant::now();
            let left = self.left(begun, time, now);
            if left.is_zero() {
                self.socket().discard_on_close();
                return Err(io::ErrorKind::TimedOut.into());
            }
            if !about_to_wait() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            let turn = left.min(TURN);
            self.socket().wait_writable(turn)?;
            self.note_lost(now, turn);
        }
    }

    /// Ends our side and reads what the peer still sends, so that it can read our answer: closing with bytes unread would
    /// send a reset that destroys it. Ends when the peer does, or when the time is over.
    pub(super) fn linger(&mut self, buffer: &mut Vec<u8>, time: Duration) {
        self.socket().shutdown(Shutdown::Write);
        let begun = self.begin();
        loop {
            buffer.clear();
            buffer.reserve(READ_BYTES);
            let is_over = self.left(begun, time, Instant::now()).is_zero();
            if is_over || self.fill(buffer, begun, time) != Filled::Bytes {
                return;
            }
        }
    }

    /// What the peer has left of its time.
    pub(super) fn left(&self, begun: Begun, time: Duration, now: Instant) -> Duration {
        let time = time.saturating_add(self.lost - begun.lost);
        time.saturating_sub(now.saturating_duration_since(begun.at))
    }

    /// A wait that lasts longer than it was asked to is one during which the process did not run.
    fn note_lost(&mut self, asked: Instant, longest: Duration) {
        self.lost += asked.elapsed().saturating_sub(longest);
    }

    /// Has the next read wait for `left`, or one turn if that is shorter, unless what is set will do.
    fn wait_about(&mut self, left: Duration) -> io::Result<()> {
        let wanted = left.min(TURN);
        let too_long = self.read_timeout > left.saturating_add(SLACK);
        let too_short = self.read_timeout < wanted / 2;
        if too_long || too_short {
            let timeout = wanted.max(Duration::from_millis(1)); // zero would mean for ever
            self.socket().set_read_timeout(timeout)?;
            self.read_timeout = timeout;
        }
        Ok(())
    }
}

/// The time a peer has when so many bytes have come or gone.
pub(super) fn earned(time: Duration, bytes: usize, bytes_per_second: usize) -> Duration {
    let seconds = bytes as f64 / bytes_per_second.max(1) as f64;
    time.saturating_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

fn filled_by(read: io::Result<usize>) -> Filled {
    match read {
        Ok(0) => Filled::Ended,
        Ok(_) => Filled::Bytes,
        Err(error) if is_retry(&error) => Filled::TimedOut,
        Err(_) => Filled::Ended,
    }
}

fn is_retry(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
