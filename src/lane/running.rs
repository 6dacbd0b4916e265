//! A lane: a name, a fixed number of worker threads, a bounded queue, which is a crossbeam channel. The one concept of concurrency.
//!
//! A lane is a bulkhead: what happens on one cannot use up another. Submitting never waits; a full lane gives the item back at once. An item
//! keeps its worker until it has really returned, even if its client has left or cancelled; only the watchdog gives the place of a wedged worker to another
//! one. Must not know what an item means.

use std::convert::Infallible;
use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, at, bounded, select, unbounded};

use crate::base::error::Error;
use crate::base::log;
use crate::base::stats::LaneStats;
use crate::lane::definition::Lane;
use crate::lane::queue::{LaneRefusal, Places, Queued};
use crate::lane::waits::Waits;
use crate::lane::worker::{SharedLane, Slot, WorkItem};

/// A lane at work. Owns its threads; [`close`](RunningLane::close) ends them.
pub(crate) struct RunningLane<W: WorkItem> {
    pub(super) shared: Arc<SharedLane<W>>,
    /// `None` once closed. An item is sent under the lock, so each one was sent before the close, and is run, or is given back.
    submit: RwLock<Option<Sender<Queued<W>>>>,
    /// The places for handlers that wait.
    waits: Arc<Waits>,
    /// Disconnects once every worker has left its loop.
    left: Receiver<Infallible>,
}

/// The right to hand in one item later that has been accepted now: the lane does not end before it has come, or this is dropped.
pub(crate) struct Ticket<W: WorkItem> {
    resume: Sender<Queued<W>>,
    shared: Arc<SharedLane<W>>,
    /// Whether a place in the queue is promised to it.
    has_place: bool,
}

impl<W: WorkItem> Ticket<W> {
    /// Hands the item in. Never waits, never refused.
    pub(crate) fn submit(mut self, item: W) {
        let had_place = mem::take(&mut self.has_place);
        self.shared.places.resume(had_place);
        // The workers hold the other end for as long as this one lives.
        let _workers_live = self.resume.send(Queued::Resumed(item));
    }
}

impl<W: WorkItem> Drop for Ticket<W> {
    fn drop(&mut self) {
        if self.has_place {
            self.shared.places.break_promise();
        }
    }
}

const SENDING: &str = "no code panics while it hands in an item";

impl<W: WorkItem> RunningLane<W> {
    /// Starts the workers, each a thread named after the lane.
    pub(crate) fn start(lane: Lane) -> Result<Self, Error> {
        // Its bound is the number of places.
        let (submit, take) = unbounded();
        let (alive, left) = bounded(0);
        let workers = lane.worker_count();
        let slots = (0..workers).map(|_| Slot::new(alive.clone()));
        let shared = Arc::new(SharedLane {
            slots: slots.collect(),
            places: Places::new(lane.capacity()),
            lane,
            take,
            living: AtomicUsize::new(workers),
            abandoned: AtomicUsize::new(0),
            replaced: AtomicU64::new(0),
            done: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        });
        let running = RunningLane {
            waits: Waits::new(&shared.lane.name, shared.lane.waiting_max()),
            shared,
            submit: RwLock::new(Some(submit)),
            left,
        };
        for index in 0..running.shared.slots.len() {
            // On failure `running` is dropped, which sends the workers that did start home.
            let thread = running.start_worker(index, 0)?;
            running.shared.slots[index].lock().thread = Some(thread);
        }
        Ok(running)
    }

    /// Starts the worker of this generation for a slot.
    pub(super) fn start_worker(
        &self,
        index: usize,
        generation: u64,
    ) -> Result<JoinHandle<()>, Error> {
        let name = format!("mcp-{}-{index}", self.shared.lane.name);
        let shared = Arc::clone(&self.shared);
        let mut thread = thread::Builder::new().name(name.clone());
        if let Some(bytes) = shared.lane.stack_bytes {
            thread = thread.stack_size(bytes);
        }
        thread
            .spawn(move || shared.work(index, generation))
            .map_err(|source| Error::spawn(&name, source))
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.shared.lane.name
    }

    /// How long its items may be silent that say nothing of it themselves.
    pub(crate) fn liveness(&self) -> Option<Duration> {
        self.shared.lane.liveness
    }

    pub(crate) fn waits(&self) -> &Arc<Waits> {
        &self.waits
    }

    /// Hands an item to a worker, or gives it back at once, so that its owner can answer for it.
    pub(crate) fn try_submit(&self, item: W) -> Result<(), (LaneRefusal, W)> {
        let submit = self.submit.read().expect(SENDING);
        let refused = match &*submit {
            None => (LaneRefusal::Closed, item),
            // One that comes when the last worker has just been found wedged is turned away by the next look.
            Some(_) if self.is_wedged() => (LaneRefusal::Wedged, item),
            Some(_) if !self.shared.places.submit() => (LaneRefusal::Full, item),
            Some(submit) => {
                // The workers' end lives as long as this lane.
                let _workers_live = submit.send(Queued::Submitted(item));
                return Ok(());
            }
        };
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        Err(refused)
    }

    /// The right to hand in an item that is accepted now and waits elsewhere first. `None` when the lane is closed.
    pub(crate) fn ticket(&self) -> Option<Ticket<W>> {
        let submit = self.submit.read().expect(SENDING);
        Some(Ticket {
            resume: submit.as_ref()?.clone(),
            shared: Arc::clone(&self.shared),
            has_place: false,
        })
    }

    /// The same with a place in the queue, if there is one.
    pub(crate) fn reserve(&self) -> Result<Ticket<W>, LaneRefusal> {
        let mut ticket = self.ticket().ok_or(LaneRefusal::Closed)?;
        let refused = if self.is_wedged() {
            LaneRefusal::Wedged
        } else if !self.shared.places.promise() {
            LaneRefusal::Full
        } else {
            ticket.has_place = true;
            return Ok(ticket);
        };
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        Err(refused)
    }

    /// Whether no worker is left that could take an item.
    pub(super) fn is_wedged(&self) -> bool {
        self.shared.living.load(Ordering::Relaxed) == 0
    }

    /// Handles to what the workers run now, without those that have been abandoned.
    pub(crate) fn running(&self) -> Vec<W::Running> {
        self.shared.running()
    }

    /// How many threads have lost their place to another worker, and have not returned.
    pub(crate) fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::Relaxed)
    }

    /// Takes everything out of the queue; none of it will run.
    pub(crate) fn take_queued(&self) -> Vec<W> {
        let taken: Vec<W> = self.shared.waiting().collect();
        let count = u64::try_from(taken.len()).unwrap_or(u64::MAX);
        self.shared.cancelled.fetch_add(count, Ordering::Relaxed);
        taken
    }

    /// Turns away everything that waits, because no worker is left that could take it.
    pub(super) fn turn_away(&self) {
        for item in self.shared.waiting() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            self.shared.guarded(|| item.turn_away(self.name()));
        }
    }

    /// Takes no more items. Never waits; what is queued still runs, and then the workers leave.
    pub(crate) fn refuse_more(&self) {
        *self.submit.write().expect(SENDING) = None;
    }

    /// Takes no more items, lets the queued ones run, and waits until every worker that was not abandoned has left, the deadline has passed, or `hurry` disconnects. Says
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
        for slot in &self.shared.slots {
            let thread = slot.lock().thread.take();
            if thread.is_some_and(|thread| thread.join().is_err()) {
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
        Box::new(move || shared.stats())
    }
}

/// Reads the counters of a lane, whatever its items are.
pub(crate) type Meter = Box<dyn Fn() -> LaneStats + Send + Sync>;

#[cfg(test)]
#[path = "tests.rs"]
pub(super) mod tests;
