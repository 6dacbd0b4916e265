//! A lane: a name, a fixed number of worker threads, a bounded queue. The one concept of concurrency.
//!
//! A lane is a bulkhead: what happens on one cannot use up another. Submitting never waits; a full lane gives the job back at once. A job
//! keeps its worker until it has really returned, whoever has stopped caring about it. Must not know what a job means.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{
    Receiver, Sender, TryRecvError, TrySendError, at, bounded, select, unbounded,
};

use crate::base::error::Error;
use crate::base::log;
use crate::base::stats::LaneStats;
use crate::lane::definition::Lane;
use crate::lane::waits::Waits;
use crate::lane::worker::{HELD, Job, Shared};

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
    submit: RwLock<Option<Intake<J>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The places for handlers that wait.
    waits: Arc<Waits>,
    /// Disconnects once every worker has left its loop.
    left: Receiver<Infallible>,
}

/// The ways in.
struct Intake<J> {
    submit: Sender<J>,
    resume: Option<Sender<J>>,
}

/// The right to hand in one job later that has been accepted now: the lane does not end before it has come, or this is dropped.
pub(crate) struct Ticket<J: Job> {
    resume: Sender<J>,
    /// Whether a place in the queue is promised to it.
    place: Option<Arc<Shared<J>>>,
}

impl<J: Job> Ticket<J> {
    /// Hands the job in. Never waits, never refused.
    pub(crate) fn submit(self, job: J) {
        // The workers hold the other end for as long as this one lives.
        let _workers_live = self.resume.send(job);
    }
}

impl<J: Job> Drop for Ticket<J> {
    fn drop(&mut self) {
        if let Some(shared) = &self.place {
            shared.promised.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Why there is no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTicket {
    Full,
    Closed,
}

const SENDING: &str = "no code panics while it hands in a job";

impl<J: Job> RunningLane<J> {
    /// Starts the workers, each a thread named after the lane. `resumes` says whether it gives out tickets.
    pub(crate) fn start(lane: Lane, resumes: bool) -> Result<Self, Error> {
        let (submit, take) = bounded(lane.capacity());
        let (resume, resumed) = resumes.then(unbounded).unzip();
        let shared = Arc::new(Shared {
            running: (0..lane.worker_count()).map(|_| Mutex::new(None)).collect(),
            lane,
            take,
            resumed,
            promised: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        });
        let (alive, left) = bounded(0);
        let running = RunningLane {
            waits: Waits::new(&shared.lane.name, shared.lane.waiting_max()),
            shared,
            submit: RwLock::new(Some(Intake { submit, resume })),
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

    pub(crate) fn waits(&self) -> &Arc<Waits> {
        &self.waits
    }

    /// Hands a job to a worker, or gives it back at once.
    pub(crate) fn try_submit(&self, job: J) -> Result<(), Refused<J>> {
        let submit = self.submit.read().expect(SENDING);
        let sent = match &*submit {
            Some(Intake { submit, .. }) => submit.try_send(job),
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

    /// The right to hand in a job that is accepted now and waits elsewhere first. `None` when the lane is closed.
    pub(crate) fn ticket(&self) -> Option<Ticket<J>> {
        let intake = self.submit.read().expect(SENDING);
        let resume = intake.as_ref()?.resume.clone()?;
        Some(Ticket {
            resume,
            place: None,
        })
    }

    /// The same with a place in the queue, if there is one.
    pub(crate) fn reserve(&self) -> Result<Ticket<J>, NoTicket> {
        let mut ticket = self.ticket().ok_or(NoTicket::Closed)?;
        let shared = &self.shared;
        let waiting = shared.resumed.as_ref().map_or(0, Receiver::len);
        let promised = shared.promised.fetch_add(1, Ordering::Relaxed);
        ticket.place = Some(Arc::clone(shared));
        if waiting + promised >= shared.lane.capacity().max(1) {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NoTicket::Full);
        }
        Ok(ticket)
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
        let resumed = self.shared.resumed.iter().flat_map(Receiver::try_iter);
        let taken: Vec<J> = self.shared.take.try_iter().chain(resumed).collect();
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

    /// What can be read of it from anywhere.
    pub(crate) fn meter(&self) -> Meter {
        let shared = Arc::clone(&self.shared);
        Meter(Box::new(move || shared.stats()))
    }
}

/// The counters of a lane, whatever its jobs are.
pub(crate) struct Meter(Box<dyn Fn() -> LaneStats + Send + Sync>);

impl Meter {
    pub(crate) fn stats(&self) -> LaneStats {
        (self.0)()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
