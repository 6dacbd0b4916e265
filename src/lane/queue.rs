//! The queue of a lane: what goes through its crossbeam channel, and the places that bound it.
//!
//! Two kinds of item come in the order in which they were handed in. The channel itself has no bound, for what was accepted before must never be refused:
//! a place is taken before an item is sent, and given back when it is taken out. Two counters, no lock. Must not know what an item is.

use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// Why a lane takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneRefusal {
    Full,
    Closed,
    /// Every worker is wedged.
    Wedged,
}

/// An item in the queue.
pub(super) enum Queued<W> {
    Submitted(W),
    /// Accepted before, and goes on: a call whose turn has come, a background job. Bounded where it waited.
    Resumed(W),
}

/// How much may wait in the queue of a lane. Two counters, no lock.
pub(super) struct Places {
    capacity: usize,
    /// What may yet be submitted. Without a queue, as much as there are idle workers for which nothing waits, so it may be below zero.
    free: AtomicIsize,
    /// What has a place promised to it, or waits after it was resumed.
    resuming: AtomicUsize,
}

impl Places {
    pub(super) fn new(capacity: usize) -> Self {
        Places {
            capacity,
            free: AtomicIsize::new(isize::try_from(capacity).unwrap_or(isize::MAX)),
            resuming: AtomicUsize::new(0),
        }
    }

    /// Takes a place for what is submitted, if there is one.
    pub(super) fn submit(&self) -> bool {
        let take = |free: isize| (free > 0).then(|| free - 1);
        let taken = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }

    /// Promises a place to what will be resumed, if there is one.
    pub(super) fn promise(&self) -> bool {
        let take = |resuming: usize| (resuming < self.capacity.max(1)).then(|| resuming + 1);
        let taken = self
            .resuming
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }

    pub(super) fn break_promise(&self) {
        self.resuming.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that something is resumed.
    pub(super) fn resume(&self, had_place: bool) {
        if !had_place {
            self.resuming.fetch_add(1, Ordering::Relaxed);
        }
        if self.capacity == 0 {
            self.free.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn worker_is_idle(&self) {
        if self.capacity == 0 {
            self.free.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives back the place of what a worker has taken. Without a queue it is the worker's, who gives it back when it is idle again.
    pub(super) fn taken<W>(&self, queued: Queued<W>) -> W {
        match queued {
            Queued::Submitted(item) => {
                if self.capacity > 0 {
                    self.free.fetch_add(1, Ordering::Relaxed);
                }
                item
            }
            Queued::Resumed(item) => {
                self.resuming.fetch_sub(1, Ordering::Relaxed);
                item
            }
        }
    }

    /// The same for what others have taken out.
    pub(super) fn taken_out<W>(&self, queued: Queued<W>) -> W {
        self.worker_is_idle();
        self.taken(queued)
    }
}
