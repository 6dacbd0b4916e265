//! A worker of a lane: takes an item, runs it, counts how it ended, takes the next. And its slot, which another worker may have got meanwhile.
//!
//! The crossbeam channel itself has no bound, for what was accepted before must never be refused: a permit is taken before an item is sent, and given back
//! when it has run. Must not know what an item means.

use std::cell::Cell;
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::base::kernel::ThreadId;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::panics;
use crate::base::pulse::Pulse;
use crate::base::stats::LaneStats;
use crate::base::waiting::look_and_yield;
use crate::lane::definition::Lane;
use crate::lane::waits::Waits;

/// A piece of work that a lane runs once. A small one, for a queue of large items is written once through all of the cache.
pub(crate) trait WorkItem: Sized + Send + 'static {
    /// What others may hold of an item while it runs.
    type Running: Running;
    /// Whether nobody wants it any more, so that it is dropped instead of run.
    fn is_stale(&self) -> bool;
    /// Begins it on the worker's thread: a handle to it, and what runs it and says how it ended. That calls what it is given when the handler has returned and
    /// can no longer be given up: another item may have the permit from then on, before anybody can read the answer.
    fn begin(self) -> (Self::Running, impl FnOnce(&dyn Fn()) -> WorkEnd);
    /// It will not run, because no worker of its lane is left: ends it.
    fn turn_away(self, lane: &str);
}

/// An item while it runs, as the watchdog has it. Nothing here waits, and nothing runs its author's code.
pub(crate) trait Running: Clone + Send {
    /// Its signs of life.
    fn pulse(&self) -> &Pulse;
    /// Why somebody who knows has given it up, if so.
    fn given_up(&self) -> Option<&str>;
    /// It has been silent for too long: tells its handler to leave.
    fn stall(self, silence: &Silence<'_>);
    /// Its handler is given up, and may yet return: ends it, once.
    fn abandon(self, silence: &Silence<'_>);
}

/// What the watchdog has found of an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence<'a> {
    pub(crate) lane: &'a str,
    pub(crate) silent_for: Duration,
    pub(crate) thread: ThreadId,
}

/// How an item ended, for the lane's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkEnd {
    Done,
    Cancelled,
    Panicked,
    /// The watchdog has ended it before, and counted it.
    GivenUp,
    /// It has done nothing, and comes back.
    Postponed,
}

/// How much a lane takes: one item for each idle worker, and so many more as its queue may hold. One counter, no lock. *False sharing*: what is only read
/// must not stand beside what every call writes.
#[repr(align(128))]
pub(super) struct Permits {
    /// Below zero where what was accepted before has come back beyond the bound.
    free: AtomicIsize,
}

impl Permits {
    /// Those of a lane whose workers are all idle.
    pub(super) fn new(workers: usize, queue_len_max: usize) -> Self {
        let free = isize::try_from(workers + queue_len_max).unwrap_or(isize::MAX);
        Permits {
            free: AtomicIsize::new(free),
        }
    }

    /// Takes a permit, if there is one. A worker that runs what has it does not give it back before its handler has returned.
    pub(super) fn take(&self) -> bool {
        let take = |free: isize| (free > 0).then(|| free - 1);
        let taken = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }

    /// Takes a permit for what was accepted before, and must never be refused.
    pub(super) fn take_anyway(&self) {
        self.free.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self) {
        self.free.fetch_add(1, Ordering::Relaxed);
    }
}

/// The slot of one worker in its lane. The worker whose generation it is writes it, and the watchdog gives it to the next one; neither waits for the
/// other longer than it takes to read it. *False sharing*: on cache lines of its own, because each worker writes its slot for each item.
#[repr(align(128))]
pub(super) struct Slot<R>(pub(super) Lock<SlotState<R>>);

pub(super) struct SlotState<R> {
    /// What its worker runs now.
    pub(super) running: Option<R>,
    /// The number of that item, by which the watchdog knows it again.
    pub(super) item: u64,
    /// How many items its workers have done.
    done: u64,
    /// How many workers have had it before. One that finds another number has been abandoned.
    pub(super) generation: u64,
    /// Whether what it runs has been given up, and there was no room for another worker.
    pub(super) is_wedged: bool,
    pub(super) thread_id: ThreadId,
    /// `None` until its first worker has been started.
    pub(super) thread: Option<JoinHandle<()>>,
    /// `None` when its worker has left. That of the last one tells who waits for the end of the lane.
    pub(super) alive: Option<Sender<Infallible>>,
}

impl<R> Slot<R> {
    pub(super) fn new(alive: Sender<Infallible>) -> Self {
        Slot(Lock::new(SlotState {
            running: None,
            item: 0,
            done: 0,
            generation: 0,
            is_wedged: false,
            thread_id: ThreadId::default(),
            thread: None,
            alive: Some(alive),
        }))
    }
}

/// What the workers of one lane share.
pub(super) struct SharedLane<W: WorkItem> {
    pub(super) lane: Lane,
    /// What waits. Disconnects when the lane is closed, nothing may come back to it and everything has been taken, which sends the workers home.
    pub(super) take: Receiver<W>,
    /// How much may wait.
    pub(super) permits: Permits,
    /// The permits for handlers that wait, and what stands in line for one.
    pub(super) waits: Arc<Waits>,
    /// One for each worker.
    pub(super) slots: Box<[Slot<W::Running>]>,
    /// Workers that can take an item now or later: those that have not left, without those that are wedged.
    pub(super) living: AtomicUsize,
    /// Workers that have lost their slot to another one, and whose handler has not returned.
    pub(super) abandoned: AtomicUsize,
    pub(super) replaced: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) panicked: AtomicU64,
    pub(super) cancelled: AtomicU64,
}

impl<W: WorkItem> SharedLane<W> {
    pub(super) fn stats(&self) -> LaneStats {
        LaneStats {
            name: self.lane.name.to_string(),
            workers: self.living.load(Ordering::Relaxed),
            busy: self.running().len(),
            queued: self.take.len() + self.waits.lined_up(),
            capacity: self.lane.capacity(),
            done: self.slots.iter().map(|slot| slot.0.lock().done).sum(),
            refused: self.refused.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
            cancelled: self.cancelled.load(Ordering::Relaxed),
            abandoned: self.abandoned.load(Ordering::Relaxed),
            replaced: self.replaced.load(Ordering::Relaxed),
        }
    }

    /// Handles to what the workers run now, without those that have been abandoned.
    pub(super) fn running(&self) -> Vec<W::Running> {
        let running = self.slots.iter().map(|slot| slot.0.lock().running.clone());
        running.flatten().collect()
    }

    /// What waits, to be taken out by others than workers.
    pub(super) fn waiting(&self) -> impl Iterator<Item = W> {
        self.waits.end_line();
        self.take.try_iter().inspect(|_| self.permits.give_back())
    }

    /// The next item. `None` when there will be none.
    fn next(&self) -> Option<W> {
        let item = look_and_yield(|| self.take.try_recv().ok());
        item.or_else(|| self.take.recv().ok())
    }

    /// What the thread of a worker does, until there is nothing more to take or it has been abandoned.
    pub(super) fn work(&self, index: usize, generation: u64) {
        // Counted whichever way it leaves.
        let _logged = self.guarded(|| self.work_off(index, generation));
        let mut held = self.slots[index].0.lock();
        if held.generation != generation {
            self.abandoned.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let alive = held.alive.take();
        if !held.is_wedged {
            self.living.fetch_sub(1, Ordering::Relaxed);
        }
        drop(held);
        drop(alive);
    }

    fn work_off(&self, index: usize, generation: u64) {
        let slot = &self.slots[index];
        slot.0.lock().thread_id = ThreadId::current();
        while let Some(item) = self.next() {
            // Its permit is given back once, and not for what has been given up: another worker may have got it.
            let is_free = Cell::new(false);
            let free = || {
                if !is_free.replace(true) {
                    self.permits.give_back();
                }
            };
            if item.is_stale() {
                // Unwind safety: it may be the last that holds a handler's captures, which may panic when they are dropped.
                let _logged = self.guarded(|| drop(item));
                free();
                self.cancelled.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let (running, run) = item.begin();
            {
                let mut held = slot.0.lock();
                held.running = Some(running);
                held.item += 1;
            }
            // The item catches its handler's panic itself; this is for everything around it, so that the worker lives on.
            let ended = self.guarded(|| run(&free));
            let ended = ended.unwrap_or(WorkEnd::Panicked);
            let mut held = slot.0.lock();
            if held.generation != generation {
                return;
            }
            free();
            let running = held.running.take();
            if mem::take(&mut held.is_wedged) {
                self.living.fetch_add(1, Ordering::Relaxed);
            }
            held.done += u64::from(ended == WorkEnd::Done);
            drop(held);
            match ended {
                WorkEnd::Done | WorkEnd::GivenUp | WorkEnd::Postponed => 0,
                WorkEnd::Cancelled => self.cancelled.fetch_add(1, Ordering::Relaxed),
                WorkEnd::Panicked => self.panicked.fetch_add(1, Ordering::Relaxed),
            };
            drop(running);
        }
    }

    /// Runs what belongs to an item. `None` if it panicked, which has been logged then.
    pub(super) fn guarded<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        let caught = panics::catch(run);
        caught
            .map_err(|panic| {
                log::error!(
                    detail: panic.backtrace(),
                    "an item of lane `{}` panicked outside of its handler: {panic}",
                    self.lane.name
                );
            })
            .ok()
    }
}
