//! The connections that are open: how many, which makes room for another, how they end, and the threads that look after them.
//!
//! Threads are a pool: one that has nothing to do waits a moment for more. A thread that ends joins its predecessor, so every thread that is started here is
//! joined here. Must not know HTTP, nor what the threads do.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::link::Link;
use super::socket::{Bell, Socket};
use crate::base::heap;
use crate::base::lock::{HELD, Lock};
use crate::base::log;
use crate::base::waiting::{about_to_wait, after};
use crate::transport::front::HALF_REQUEST_GRACE;

/// Address space for a thread; only touched pages cost memory. It must hold the parser of a message `json_depth_max` deep.
const STACK_BYTES: usize = 256 * 1024;

/// So long a thread that has nothing to do waits for more. Short enough that a crowd's threads are soon gone.
const SPARE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the threads of connections that were cut may take to end: they only have to notice.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// How long threads that are ending may keep another from being started.
const ENDING_PATIENCE: Duration = Duration::from_secs(1);

/// How long a connection that is to make room may take. It only has to wake and to close.
const EVICTION_PATIENCE: Duration = Duration::from_millis(100);

/// So many connections are asked to make room for a new one. The second is needed when a request of the first arrived at the same moment.
const EVICTIONS_MAX: usize = 3;

/// What a thread does.
pub(super) type ThreadWork = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct Connections {
    stopping: AtomicBool,
    /// The front has stopped: no connection will be admitted any more.
    has_stopped: AtomicBool,
    /// How many are open, with those of other fronts. Readable without the lock.
    count: Arc<AtomicUsize>,
    table: Lock<ConnectionTable>,
    /// Signalled when a connection or a thread has left the table, a thread is spare, or half a body has been dropped.
    left: Condvar,
    /// Signalled when work waits for a spare thread.
    work: Condvar,
    /// Rung when the front stops, and when the last connection ends after that.
    bells: Lock<Vec<Arc<Bell>>>,
}

#[derive(Default)]
struct ConnectionTable {
    open: HashMap<usize, Arc<Link>>,
    /// The numbers below the greatest that are not in use.
    free: Vec<usize>,
    /// ThreadWork on its way to a spare thread; never more than there are of these.
    waiting: VecDeque<ThreadWork>,
    /// Threads that wait for work.
    spare: usize,
    threads: HashMap<u64, JoinHandle<()>>,
    started: u64,
    /// Threads that have not ended. Those that are ending have left `threads` and still count.
    living: usize,
    /// The thread that ended last, which nobody has joined yet.
    ended: Option<JoinHandle<()>>,
}

impl ConnectionTable {
    /// The connection that goes first when there is no room for another.
    fn dispensable(&self) -> Option<&Link> {
        let ranked = self.open.values().filter_map(|link| {
            let rank = link.eviction_rank()?;
            Some((rank, &**link))
        });
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, link)| link)
    }
}

impl Connections {
    /// Adds the number of open connections to `count`, which other fronts add to as well.
    pub(super) fn counted_in(count: Arc<AtomicUsize>) -> Connections {
        Connections {
            count,
            ..Connections::default()
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Whether the front has stopped, and no connection is left.
    pub(super) fn is_over(&self) -> bool {
        self.has_stopped.load(Ordering::SeqCst) && self.table.lock().open.is_empty()
    }

    /// A bell that is rung when that may have come.
    pub(super) fn add_bell(&self) -> io::Result<Arc<Bell>> {
        let bell = Arc::new(Bell::new()?);
        self.bells.lock().push(Arc::clone(&bell));
        Ok(bell)
    }

    /// Opens a connection, until what comes back is dropped. The socket comes back when there is no room.
    pub(super) fn admit(
        self: &Arc<Self>,
        socket: Socket,
        connections_max: usize,
    ) -> Result<(Arc<Link>, Leave), Socket> {
        let mut table = self.make_room(connections_max);
        if table.open.len() >= connections_max {
            return Err(socket);
        }
        let number = table.free.pop().unwrap_or(table.open.len());
        let link = Arc::new(Link::new(socket));
        table.open.insert(number, Arc::clone(&link));
        self.count.fetch_add(1, Ordering::Relaxed);
        let connections = Arc::clone(self);
        Ok((
            link,
            Leave {
                connections,
                number,
            },
        ))
    }

    /// Waits for a place if one is about to be free, or is made free by closing a connection that can be done without.
    fn make_room(&self, connections_max: usize) -> MutexGuard<'_, ConnectionTable> {
        let mut table = self.table.lock();
        for _ in 0..EVICTIONS_MAX {
            if table.open.len() < connections_max {
                break;
            }
            match table.dispensable() {
                Some(link) => link.close_unless_busy(),
                None => break,
            }
            let full = |table: &mut ConnectionTable| table.open.len() >= connections_max;
            let waited = self.left.wait_timeout_while(table, EVICTION_PATIENCE, full);
            table = waited.expect(HELD).0;
        }
        table
    }

    /// Ends the request that has been arriving the longest, if one dawdles, and waits a moment for what it held, until `has_room`. Its client gets `503`.
    pub(super) fn end_slowest_request(&self, has_room: impl Fn() -> bool) {
        let table = self.table.lock();
        let slow = table
            .open
            .values()
            .filter_map(|link| Some((link.dawdles_since()?, link)));
        if let Some((_, link)) = slow.min_by_key(|(since, _)| *since) {
            link.close_unless_busy();
            drop(table);
            if about_to_wait() {
                let has_none = |_: &mut ConnectionTable| !has_room();
                let table = self.table.lock();
                drop(
                    self.left
                        .wait_timeout_while(table, EVICTION_PATIENCE, has_none),
                );
            }
        }
    }

    /// A body that will never be whole has been dropped. Under the lock, or who has just looked for room would miss it: a lost wake-up.
    pub(super) fn gave_memory_back(&self) {
        let _locked = self.table.lock();
        self.left.notify_all();
    }

    /// Has a spare thread do this, or a new one; there are so many at most. At its end the work must say that its [thread is spare](Self::thread_is_spare).
    pub(super) fn run(self: &Arc<Self>, work: ThreadWork, threads_max: usize) -> io::Result<()> {
        let lacks = |table: &ConnectionTable| table.spare <= table.waiting.len();
        let full = |table: &mut ConnectionTable| lacks(table) && table.living >= threads_max;
        // Held until the thread is in the table, so that a thread that ends at once finds itself there.
        let table = self.table.lock();
        let waited = self.left.wait_timeout_while(table, ENDING_PATIENCE, full);
        let mut table = waited.expect(HELD).0;
        if full(&mut table) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        if lacks(&table) {
            self.start_thread(&mut table)?;
        }
        table.waiting.push_back(work);
        self.work.notify_one();
        Ok(())
    }

    /// This thread has done its work, and does what comes next.
    pub(super) fn thread_is_spare(&self) {
        self.table.lock().spare += 1;
        self.left.notify_all();
    }

    fn start_thread(self: &Arc<Self>, table: &mut ConnectionTable) -> io::Result<()> {
        if !heap::has_room_for_thread(STACK_BYTES) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let number = table.started;
        let connections = Arc::clone(self);
        let thread = thread::Builder::new()
            .name(format!("mcp-conn-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _ending = ThreadExit(&connections, number); // dropped last, even if the work panics
                while let Some(work) = connections.next() {
                    work();
                }
            })?;
        table.started += 1;
        table.living += 1;
        // From now on, so that nobody else's work is left to it.
        table.spare += 1;
        table.threads.insert(number, thread);
        Ok(())
    }

    /// What a thread does next. `None` when it is to end.
    fn next(&self) -> Option<ThreadWork> {
        let mut table = self.table.lock();
        let idle = |table: &mut ConnectionTable| table.waiting.is_empty() && !self.is_stopping();
        let waited = self.work.wait_timeout_while(table, SPARE_TIMEOUT, idle);
        table = waited.expect(HELD).0;
        table.spare -= 1;
        table.waiting.pop_front()
    }

    /// From now on connections close when they have answered; those that wait for a request close at once. Nobody may accept any more.
    pub(super) fn stop(&self) {
        self.announce_stop();
        let table = self.table.lock();
        self.work.notify_all();
        for link in table.open.values() {
            link.close_if_idle();
        }
        drop(table);
        self.has_stopped.store(true, Ordering::SeqCst);
        self.ring();
    }

    fn ring(&self) {
        self.bells.lock().iter().for_each(|bell| bell.ring());
    }

    pub(super) fn announce_stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Ends every connection whatever it is doing. The number of those that were still at work.
    pub(super) fn cut(&self) -> usize {
        let table = self.table.lock();
        table.open.values().filter(|link| link.cut()).count()
    }

    /// After [`stop`](Self::stop): waits for every connection to end, cuts those that have not by `deadline`, and joins every thread. The
    /// number that was cut at work. A thread that does not notice is left behind.
    pub(super) fn join(&self, deadline: Instant) -> usize {
        let mut table = self.wait_for_end(after(HALF_REQUEST_GRACE).min(deadline));
        for link in table.open.values() {
            link.close_unless_busy();
        }
        drop(table);
        drop(self.wait_for_end(deadline));
        let cut = self.cut();
        let lives = |table: &mut ConnectionTable| table.living > 0;
        let waited = self
            .left
            .wait_timeout_while(self.table.lock(), CUT_GRACE, lives);
        table = waited.expect(HELD).0;
        if table.living > 0 {
            log::error!(
                "{} threads of connections do not end and are left behind",
                table.living
            );
            return cut;
        }
        let last = table.ended.take();
        drop(table);
        if let Some(last) = last {
            let _ = last.join(); // it has joined all others; a panic was reported where it happened
        }
        cut
    }

    /// Waits until no connection is open, at most until `deadline`.
    fn wait_for_end(&self, deadline: Instant) -> MutexGuard<'_, ConnectionTable> {
        let time = deadline.saturating_duration_since(Instant::now());
        let open = |table: &mut ConnectionTable| !table.open.is_empty();
        let waited = self.left.wait_timeout_while(self.table.lock(), time, open);
        waited.expect(HELD).0
    }

    /// Connections whose request is being read or answered.
    #[cfg(test)]
    pub(super) fn at_work(&self) -> usize {
        let table = self.table.lock();
        table.open.values().filter(|link| link.is_at_work()).count()
    }

    /// The one open connection.
    #[cfg(test)]
    pub(super) fn only(&self) -> Arc<Link> {
        let table = self.table.lock();
        assert_eq!(table.open.len(), 1);
        table.open.values().next().cloned().expect("there is one")
    }
}

/// A connection's place. Dropping it ends the connection.
pub(super) struct Leave {
    connections: Arc<Connections>,
    /// The smaller the fewer connections are open.
    pub(super) number: usize,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let connections = &self.connections;
        let mut table = connections.table.lock();
        let link = table.open.remove(&self.number);
        table.free.push(self.number);
        connections.count.fetch_sub(1, Ordering::Relaxed);
        drop(table);
        drop(link); // closes the socket, now that its place is free
        connections.left.notify_all();
        if connections.is_stopping() {
            connections.ring();
        }
    }
}

/// The end of a thread.
struct ThreadExit<'a>(&'a Connections, u64);

impl Drop for ThreadExit<'_> {
    fn drop(&mut self) {
        let ThreadExit(connections, number) = self;
        let mut table = connections.table.lock();
        let thread = table.threads.remove(number);
        let before = std::mem::replace(&mut table.ended, thread);
        drop(table);
        if let Some(before) = before {
            let _ = before.join(); // it is at most here; a panic was reported where it happened
        }
        connections.table.lock().living -= 1;
        connections.left.notify_all();
    }
}
