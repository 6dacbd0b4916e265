//! What a connection's owner and the rest of the front share: the socket, and how far the connection has got.
//!
//! ```text
//!             first byte            whole request            answered
//!   IDLE ───────────────▶ READING ───────────────▶ BUSY ───────────────▶ IDLE …
//!     │                      │                                             or LINGERING ─▶ closed
//!     └─────── shut ─────────┴──▶ SHUT ─▶ closed (what was half there gets its 503)
//! ```
//!
//! A request that has come whole, as nearly all do, goes from `IDLE` to `BUSY` in one step. The owner makes every step but those to `SHUT`, and except that a worker which has sent the answer makes the step to `IDLE`. Those to `SHUT` leave only
//! `IDLE` and `READING`: a request that is whole is never cut to make room, nor by a front that stops. Must not know HTTP.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::net::Shutdown;

use super::socket::Socket;

pub(super) struct Link {
    pub(super) socket: Socket,
    phase: AtomicU64,
    opened: Instant,
    /// When it was last idle, began to read or had read another `body_bytes_per_second_min`, in milliseconds after it was opened.
    since: AtomicU64,
    /// A whole request has come at least once.
    known: AtomicBool,
}

const IDLE: u64 = 0;
const READING: u64 = 1;
/// Its reading side has been shut: to make room, or because the front stops.
const SHUT: u64 = 2;
/// Everything has been said; the client may still be reading it.
const LINGERING: u64 = 3;
/// A request is whole, and not answered.
const BUSY: u64 = 4;

/// A client that has been served before may be this slow with its next request without being the first to make room.
const SLOW: Duration = Duration::from_secs(1);

impl Link {
    pub(super) fn new(socket: Socket) -> Link {
        Link {
            socket,
            phase: AtomicU64::new(IDLE),
            opened: Instant::now(),
            since: AtomicU64::new(0),
            known: AtomicBool::new(false),
        }
    }

    /// The connection waits for a request. The caller must look at `Connections::is_stopping` afterwards: either it sees that the front stops,
    /// or the front sees that it is idle.
    pub(super) fn begin_idle(&self) {
        self.stamp();
        let step = |phase| (phase != SHUT).then_some(IDLE);
        let _was_shut = self
            .phase
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
    }

    /// A worker's answer has left. The connection goes on to no other request before that is known, but it may have shut or cut the connection by then.
    pub(super) fn answered(&self) {
        self.stamp();
        let relaxed = Ordering::Relaxed;
        let _is_another = self
            .phase
            .compare_exchange(BUSY, IDLE, Ordering::SeqCst, relaxed);
    }

    /// A request has begun to arrive, and is not whole yet. False if the reading side was shut at the same moment; what has arrived may still be answered, but
    /// the end of the stream says nothing about the client any more.
    pub(super) fn begin_reading(&self) -> bool {
        self.stamp();
        self.phase.swap(READING, Ordering::SeqCst) != SHUT
    }

    /// The request is whole. False as for [`begin_reading`](Self::begin_reading).
    pub(super) fn begin_busy(&self) -> bool {
        self.known.store(true, Ordering::Relaxed);
        self.phase.swap(BUSY, Ordering::SeqCst) != SHUT
    }

    pub(super) fn now_lingering(&self) {
        self.phase.store(LINGERING, Ordering::SeqCst);
    }

    /// Whether the front has shut the reading side, which looks like the client's end otherwise.
    pub(super) fn is_shut(&self) -> bool {
        self.phase() == SHUT
    }

    /// Closes the reading side of a connection between two requests.
    pub(super) fn close_if_idle(&self) {
        self.shut_from(IDLE);
    }

    /// Ends what has not arrived whole, and what has nothing more to say.
    pub(super) fn close_unless_busy(&self) {
        match self.phase() {
            LINGERING => self.socket.shutdown(Shutdown::Both),
            phase @ (IDLE | READING) => self.shut_from(phase),
            _ => {}
        }
    }

    /// Whether it can make room for another, and which goes first: the smallest. One that has never sent a whole request, then one that
    /// has been answered and is being closed, then the longest idle, then one that is slow with its next request.
    pub(super) fn eviction_rank(&self) -> Option<(u8, Instant)> {
        let since = self.opened + Duration::from_millis(self.since.load(Ordering::Relaxed));
        match self.phase() {
            IDLE | READING if !self.known.load(Ordering::Relaxed) => Some((0, self.opened)),
            LINGERING => Some((1, since)),
            IDLE => Some((2, since)),
            _ => Some((3, self.dawdles_since()?)),
        }
    }

    /// Since when a request has been arriving that is slow, so that it may make room for one that is not.
    pub(super) fn dawdles_since(&self) -> Option<Instant> {
        let since = self.opened + Duration::from_millis(self.since.load(Ordering::Relaxed));
        (self.phase() == READING && since.elapsed() >= SLOW).then_some(since)
    }

    /// Ends the connection whatever it is doing. True if an answer was lost by it.
    pub(super) fn cut(&self) -> bool {
        self.socket.shutdown(Shutdown::Both);
        self.phase() == BUSY
    }

    fn shut_from(&self, phase: u64) {
        let was = self
            .phase
            .compare_exchange(phase, SHUT, Ordering::SeqCst, Ordering::SeqCst);
        if was.is_ok() {
            self.socket.shutdown(Shutdown::Read);
        }
    }

    fn phase(&self) -> u64 {
        self.phase.load(Ordering::SeqCst)
    }

    /// It is idle, or not slow.
    pub(super) fn stamp(&self) {
        let millis = self.opened.elapsed().as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.since.store(millis, Ordering::Relaxed);
    }

    /// A request is being read or answered.
    #[cfg(test)]
    pub(super) fn is_at_work(&self) -> bool {
        matches!(self.phase(), READING | BUSY)
    }

    /// What [`close_if_idle`](Self::close_if_idle) does, with something else happening between its two steps.
    #[cfg(test)]
    pub(super) fn close_while(&self, between: impl FnOnce()) {
        assert_eq!(self.phase.swap(SHUT, Ordering::SeqCst), IDLE);
        between();
        self.socket.shutdown(Shutdown::Read);
    }
}
