//! A lane: a name, a fixed number of worker threads, a bounded queue. The one concept of concurrency.
//!
//! A lane is a bulkhead: what happens on one cannot use up another. Submitting never waits; a full lane gives the job back at once. A job
//! keeps its worker until it has really returned, whoever has stopped caring about it. Must not know what a job means.

use std::convert::Infallible;
use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, at, bounded, select};

use crate::base::error::Error;
use crate::base::panics;
use crate::base::stats::LaneStats;

/// A lane: a name, a fixed number of worker threads, and a bounded queue in front of them. Add it with [`Server::lane`](crate::Server::lane), and
/// name it in [`Tool::lane`](crate::Tool::lane).
///
/// Two lanes always exist: `main` (32 workers, or four per core if that is more, and a queue of 256) and `urgent` (2 workers, queue 64) for
/// diagnostics that must answer when `main` is full. A `Lane` with one of these names changes what it sets and leaves the rest.
///
/// When all workers are busy and the queue is full, a call is refused at once: HTTP status `503` and JSON-RPC error code `503`, to be tried again.
///
/// Tool calls mostly wait (for a disk, a child, another server), so the number of workers is how many calls may wait at once, not
/// how many may compute. An idle worker costs one parked thread: no CPU, its stack's touched pages (about 10 KiB), and address space.
#[derive(Clone, Debug)]
pub struct Lane {
    pub(crate) name: Arc<str>,
    workers: Option<usize>,
    queue_len_max: Option<usize>,
}

/// A queue longer than this is a mistake: its places are allocated when the server starts.
const QUEUE_LEN_MAX: usize = 1 << 20;

impl Lane {
    /// A lane of this name with 4 workers and a queue of 64.
    pub fn new(name: &str) -> Self {
        Lane {
            name: name.into(),
            workers: None,
            queue_len_max: None,
        }
    }

    /// How many calls may run at once. Default 4; at least 1.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// How many calls may wait for a worker. Default 64, at most 1,048,576. With 0 a call is taken only when a worker is idle. A call that is
    /// cancelled while it waits keeps its place until a worker takes it, and is then dropped without being run.
    #[must_use]
    pub fn queue(mut self, queue_len_max: usize) -> Self {
        self.queue_len_max = Some(queue_len_max);
        self
    }

    pub(crate) fn main() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Lane::new("main").workers(32.max(4 * cores)).queue(256)
    }

    pub(crate) fn urgent() -> Self {
        Lane::new("urgent").workers(2)
    }

    /// Takes over what `other` sets.
    pub(crate) fn change(&mut self, other: Lane) {
        self.workers = other.workers.or(self.workers);
        self.queue_len_max = other.queue_len_max.or(self.queue_len_max);
    }

    /// What is wrong with it, in a sentence.
    pub(crate) fn problem(&self) -> Option<String> {
        let name = &self.name;
        if name.is_empty() {
            return Some("a lane needs a name".into());
        }
        if self.worker_count() == 0 {
            return Some(format!(
                "lane `{name}` has no workers; it needs at least one"
            ));
        }
        if self.capacity() > QUEUE_LEN_MAX {
            return Some(format!(
                "lane `{name}`: a queue may hold at most {QUEUE_LEN_MAX} calls"
            ));
        }
        None
    }

    fn worker_count(&self) -> usize {
        self.workers.unwrap_or(4)
    }

    fn capacity(&self) -> usize {
        self.queue_len_max.unwrap_or(64)
    }
}

/// A piece of work that a lane runs once.
pub(crate) trait Job: Send + 'static {
    /// What others may hold of a job while it runs.
    type Running: Clone + Send;
    /// Whether nobody wants it any more, so that it is dropped instead of run.
    fn is_stale(&self) -> bool;
    /// A handle to it.
    fn running(&self) -> Self::Running;
    /// Runs it on the worker's thread and says how it ended.
    fn run(self) -> Ended;
}

/// How a job ended, for the lane's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Cancelled,
    Panicked,
}

/// Why a job was not taken. It comes back, so that its owner can answer for it.
#[derive(Debug)]
pub(crate) enum Refused<J> {
    Full(J),
    Closed(J),
}

/// A lane at work. Owns its threads; [`close`](RunningLane::close) ends them.
pub(crate) struct RunningLane<J: Job> {
    shared: Arc<Shared<J>>,
    /// `None` once closed. A job is sent under the lock, so each one was sent before the close, and is run, or is given back.
    submit: RwLock<Option<Sender<J>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Disconnects once every worker has left its loop.
    left: Receiver<Infallible>,
}

struct Shared<J: Job> {
    lane: Lane,
    /// Disconnects when the lane is closed and everything queued has been taken, which is what sends a worker home.
    take: Receiver<J>,
    /// One for each worker: what it runs now. Only that worker writes it, so the lock is never waited for.
    running: Box<[Mutex<Option<J::Running>>]>,
    busy: AtomicUsize,
    done: AtomicU64,
    refused: AtomicU64,
    panicked: AtomicU64,
    cancelled: AtomicU64,
}

const HELD: &str = "no code panics while it holds a worker's slot";
const SENDING: &str = "no code panics while it hands in a job";

impl<J: Job> RunningLane<J> {
    /// Starts the workers, each a thread named after the lane.
    pub(crate) fn start(lane: Lane) -> Result<Self, Error> {
        let (submit, take) = bounded(lane.capacity());
        let shared = Arc::new(Shared {
            running: (0..lane.worker_count()).map(|_| Mutex::new(None)).collect(),
            lane,
            take,
            busy: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        });
        let (alive, left) = bounded(0);
        let running = RunningLane {
            shared,
            submit: RwLock::new(Some(submit)),
            threads: Mutex::default(),
            left,
        };
        for index in 0..running.shared.lane.worker_count() {
            // On failure `running` is dropped, which sends the workers that did start home.
            let thread = running.spawn(index, alive.clone())?;
            running.threads.lock().expect(HELD).push(thread);
        }
        Ok(running)
    }

    fn spawn(&self, index: usize, alive: Sender<Infallible>) -> Result<JoinHandle<()>, Error> {
        let name = format!("mcp-{}-{index}", self.shared.lane.name);
        let shared = Arc::clone(&self.shared);
        let work = move || {
            shared.work(index);
            drop(alive);
        };
        thread::Builder::new()
            .name(name.clone())
            .spawn(work)
            .map_err(|source| Error::spawn(&name, source))
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.shared.lane.name
    }

    /// Hands a job to a worker, or gives it back at once.
    pub(crate) fn try_submit(&self, job: J) -> Result<(), Refused<J>> {
        let submit = self.submit.read().expect(SENDING);
        let sent = match &*submit {
            Some(submit) => submit.try_send(job),
            None => Err(TrySendError::Disconnected(job)),
        };
        let refused = match sent {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(job)) => Refused::Full(job),
            Err(TrySendError::Disconnected(job)) => Refused::Closed(job),
        };
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        Err(refused)
    }

    /// Handles to what the workers run now.
    pub(crate) fn running(&self) -> Vec<J::Running> {
        self.shared
            .running
            .iter()
            .filter_map(|slot| slot.lock().expect(HELD).clone())
            .collect()
    }

    /// Takes everything out of the queue; none of it will run.
    pub(crate) fn take_queued(&self) -> Vec<J> {
        let taken: Vec<J> = self.shared.take.try_iter().collect();
        let count = u64::try_from(taken.len()).unwrap_or(u64::MAX);
        self.shared.cancelled.fetch_add(count, Ordering::Relaxed);
        taken
    }

    /// Takes no more jobs. Never waits; what is queued still runs, and then the workers leave.
    pub(crate) fn refuse_more(&self) {
        *self.submit.write().expect(SENDING) = None;
    }

    /// Takes no more jobs, lets the queued ones run, and waits until every worker has left, the deadline has passed, or `hurry` disconnects. Says
    /// how many workers had not left by then.
    pub(crate) fn close(&self, deadline: Instant, hurry: &Receiver<Infallible>) -> usize {
        self.refuse_more();
        select! {
            recv(self.left) -> _ => {}
            recv(hurry) -> _ => {}
            recv(at(deadline)) -> _ => {}
        }
        // Several of them may have happened.
        let everyone_left = self.left.try_recv() == Err(TryRecvError::Disconnected);
        if everyone_left {
            self.join()
        } else {
            self.running().len().max(1)
        }
    }

    fn join(&self) -> usize {
        for thread in self.threads.lock().expect(HELD).drain(..) {
            if thread.join().is_err() {
                log::error!(
                    "a worker of lane `{}` ended by panicking",
                    self.shared.lane.name
                );
            }
        }
        0
    }

    pub(crate) fn stats(&self) -> LaneStats {
        let shared = &self.shared;
        LaneStats {
            name: shared.lane.name.to_string(),
            workers: shared.lane.worker_count(),
            busy: shared.busy.load(Ordering::Relaxed),
            queued: shared.take.len(),
            capacity: shared.lane.capacity(),
            done: shared.done.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            panicked: shared.panicked.load(Ordering::Relaxed),
            cancelled: shared.cancelled.load(Ordering::Relaxed),
        }
    }
}

impl<J: Job> Shared<J> {
    fn work(&self, index: usize) {
        while let Ok(job) = self.take.recv() {
            if job.is_stale() {
                self.cancelled.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.busy.fetch_add(1, Ordering::Relaxed);
            *self.running[index].lock().expect(HELD) = Some(job.running());
            // The job catches its handler's panic itself; this is for everything around it, so that the worker lives on.
            let ended = panics::catch(|| job.run()).unwrap_or_else(|panic| {
                log::error!(
                    "a job panicked outside of its handler: {panic}{}",
                    panic.way()
                );
                // What was thrown may panic again when it is dropped, and nobody is left to catch that.
                mem::forget(panic);
                Ended::Panicked
            });
            *self.running[index].lock().expect(HELD) = None;
            self.busy.fetch_sub(1, Ordering::Relaxed);
            match ended {
                Ended::Done => self.done.fetch_add(1, Ordering::Relaxed),
                Ended::Cancelled => self.cancelled.fetch_add(1, Ordering::Relaxed),
                Ended::Panicked => self.panicked.fetch_add(1, Ordering::Relaxed),
            };
        }
    }
}

#[cfg(test)]
mod tests;
