//! A lane from its start to its end: it owns its worker threads.
//!
//! An item keeps its worker until it has really returned, even if its client has left or cancelled; only the watchdog gives the slot of a wedged worker to
//! another one. Must not know what an item means.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, at, bounded, select, unbounded};

use crate::base::error::Error;
use crate::base::stats::LaneStats;
use crate::lane::definition::Lane;
use crate::lane::submit::{RunningLane, SENDING};
use crate::lane::waits::Waits;
use crate::lane::worker::{Permits, SharedLane, Slot, WorkItem};

impl<W: WorkItem> RunningLane<W> {
    /// Starts the workers, each a thread named after the lane.
    pub(crate) fn start(lane: Lane) -> Result<Self, Error> {
        // Its bound is the number of permits.
        let (submit, take) = unbounded();
        let (alive, left) = bounded(0);
        let workers = lane.worker_count();
        let slots = (0..workers).map(|_| Slot::new(alive.clone()));
        let shared = Arc::new(SharedLane {
            slots: slots.collect(),
            permits: Permits::new(workers, lane.capacity()),
            waits: Waits::new(&lane.name, lane.waiting_max()),
            lane,
            take,
            living: AtomicUsize::new(workers),
            abandoned: AtomicUsize::new(0),
            replaced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        });
        let running = RunningLane {
            shared,
            submit: RwLock::new(Some(submit)),
            left,
        };
        for index in 0..running.shared.slots.len() {
            // On failure `running` is dropped, which sends the workers that did start home.
            let thread = running.start_worker(index, 0)?;
            running.shared.slots[index].0.lock().thread = Some(thread);
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
        &self.shared.waits
    }

    /// Handles to what the workers run now, without those that have been abandoned.
    pub(crate) fn running(&self) -> Vec<W::Running> {
        self.shared.running()
    }

    /// How many threads have lost their slot to another worker, and have not returned.
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
        if self.left.try_recv() != Err(TryRecvError::Disconnected) {
            return self.running().len().max(1);
        }
        for slot in &self.shared.slots {
            let thread = slot.0.lock().thread.take();
            // It has caught its panic, and said so.
            let _ended = thread.map(JoinHandle::join);
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
