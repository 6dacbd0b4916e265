//! The connections that are open: how many, whose thread, and how they end.
//!
//! Every thread that is started here is joined here. A thread that ends joins the one that ended before it, so that at any time
//! at most one has ended without having been joined, and nobody needs to go round and collect them. Must not know HTTP.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::socket::Socket;
use crate::base::limits::Limits;

/// What a connection and the rest of the front share: the socket, and whether it may be closed without asking.
///
/// The phases go `IDLE` → `BUSY` → `IDLE` …; only the owner leaves `BUSY`, and only [`Link::close_if_idle`] moves `IDLE` to `SHUT`,
/// so a request that has begun to arrive is never cut by the front.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: Socket,
    phase: AtomicU8,
}

/// No byte of a request has been read since the last answer.
const IDLE: u8 = 0;
/// A request is being read or answered.
const BUSY: u8 = 1;
/// Was idle when the front stopped; its reading side has been shut.
const SHUT: u8 = 2;
/// Everything has been said; the client may still be reading it.
const LINGERING: u8 = 3;

impl Link {
    fn new(socket: Socket) -> Link {
        Link {
            socket,
            phase: AtomicU8::new(IDLE),
        }
    }

    /// The owner waits for a request. The caller must look at [`Connections::is_stopping`] afterwards: either it sees that the
    /// front stops, or the front sees that it is idle.
    pub(super) fn now_idle(&self) {
        self.phase.store(IDLE, Ordering::SeqCst);
    }

    /// A request has begun to arrive. False if the front shut the reading side at the same moment; what has arrived may still
    /// be answered, but the end of the stream no longer says anything about the client.
    pub(super) fn now_busy(&self) -> bool {
        self.phase.swap(BUSY, Ordering::SeqCst) != SHUT
    }

    pub(super) fn now_lingering(&self) {
        self.phase.store(LINGERING, Ordering::SeqCst);
    }

    fn close_if_idle(&self) {
        let was = self
            .phase
            .compare_exchange(IDLE, SHUT, Ordering::SeqCst, Ordering::SeqCst);
        if was.is_ok() {
            self.socket.shutdown(Shutdown::Read);
        }
    }

    /// Ends the connection whatever it is doing. True if something was lost by it.
    fn cut(&self) -> bool {
        self.socket.shutdown(Shutdown::Both);
        self.phase.load(Ordering::SeqCst) == BUSY
    }
}

/// Why a connection was not admitted; its socket comes back.
#[derive(Debug)]
pub(super) enum NotAdmitted {
    Full(Socket),
    NoThread(Socket, io::Error),
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    stopping: AtomicBool,
    /// How many are open, for whoever wants to know without the lock.
    count: Arc<AtomicUsize>,
    table: Mutex<Table>,
    /// Signalled whenever a connection has left the table.
    left: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Open>,
    admitted: u64,
    /// The thread that ended last, which nobody has joined yet.
    ended: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Open {
    link: Arc<Link>,
    thread: JoinHandle<()>,
}

impl Connections {
    /// Keeps `count` at the number of open connections.
    pub(super) fn counted_in(count: Arc<AtomicUsize>) -> Connections {
        Connections {
            count,
            ..Connections::default()
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Starts a thread that owns this connection and runs `live`.
    pub(super) fn admit(
        self: &Arc<Self>,
        socket: Socket,
        limits: &Limits,
        live: impl FnOnce(Arc<Link>) + Send + 'static,
    ) -> Result<(), NotAdmitted> {
        // Held until the thread is in the table, so that a thread that ends at once finds itself there.
        let mut table = self.lock();
        if table.open.len() >= limits.connections_max {
            return Err(NotAdmitted::Full(socket));
        }
        let id = table.admitted;
        let link = Arc::new(Link::new(socket));
        let connections = Arc::clone(self);
        let owned = Arc::clone(&link);
        let spawned = thread::Builder::new()
            .name(format!("mcp-conn-{id}"))
            .stack_size(limits.connection_stack_bytes)
            .spawn(move || {
                let _leave = Leave { connections, id }; // dropped last, even if `live` panics
                live(owned);
            });
        match spawned {
            Ok(thread) => {
                table.admitted += 1;
                table.open.insert(id, Open { link, thread });
                self.count.store(table.open.len(), Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                let link = Arc::into_inner(link).expect("the closure was dropped unrun");
                Err(NotAdmitted::NoThread(link.socket, error))
            }
        }
    }

    /// From now on connections close when they have answered; those that wait for a request close at once.
    pub(super) fn stop(&self) {
        self.announce_stop();
        for open in self.lock().open.values() {
            open.link.close_if_idle();
        }
    }

    pub(super) fn announce_stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Ends every connection whatever it is doing. The number of those that were still at work.
    pub(super) fn cut(&self) -> usize {
        let table = self.lock();
        table.open.values().filter(|open| open.link.cut()).count()
    }

    /// Waits for every connection to end, cuts those that have not by `deadline`, and joins every thread. The number that was
    /// cut at work. A thread that is inside `Serve::serve` is waited for without bound: it is the server's to end.
    pub(super) fn join(&self, deadline: Instant) -> usize {
        let mut table = self.lock();
        while !table.open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.left.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(table);
        let cut = self.cut();
        let mut table = self.lock();
        while !table.open.is_empty() {
            let waited = self.left.wait(table);
            table = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let last = table.ended.take();
        drop(table);
        if let Some(last) = last {
            let _ = last.join(); // it has joined all others; a panic was reported where it happened
        }
        cut
    }

    /// Connections whose request is being read or answered.
    #[cfg(test)]
    pub(super) fn busy(&self) -> usize {
        let table = self.lock();
        let phases = table.open.values().map(|open| &open.link.phase);
        phases
            .filter(|phase| phase.load(Ordering::SeqCst) == BUSY)
            .count()
    }

    /// What [`stop`](Self::stop) does to the idle, but with something else happening between its two steps.
    #[cfg(test)]
    pub(super) fn close_idle_while(&self, between: impl FnOnce()) {
        for open in self.lock().open.values() {
            let was = open.link.phase.swap(SHUT, Ordering::SeqCst);
            assert_eq!(was, IDLE);
        }
        between();
        for open in self.lock().open.values() {
            open.link.socket.shutdown(Shutdown::Read);
        }
    }

    /// A panic cannot leave the table half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a connection's thread.
struct Leave {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        let Some(Open { link, thread }) = table.open.remove(&self.id) else {
            return;
        };
        let before = table.ended.replace(thread);
        let connections = &self.connections;
        connections.count.store(table.open.len(), Ordering::Relaxed);
        drop(table);
        drop(link); // closes the socket, now that its place is free
        if let Some(before) = before {
            let _ = before.join(); // it is at most here; a panic was reported where it happened
        }
        self.connections.left.notify_all();
    }
}
