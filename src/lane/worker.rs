//! A worker of a lane: takes a job, runs it, counts how it ended, takes the next.
//!
//! Must not know what a job means.

use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, select};

use crate::base::log;
use crate::base::panics;
use crate::base::stats::LaneStats;
use crate::lane::definition::Lane;

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

/// What the workers of one lane share.
pub(super) struct Shared<J: Job> {
    pub(super) lane: Lane,
    /// Disconnects when the lane is closed and everything queued has been taken, which is what sends a worker home.
    pub(super) take: Receiver<J>,
    /// What was accepted before and goes on: a call whose turn has come, a background job. Bounded where it waited. Disconnects when the lane is closed
    /// and nothing that waits may come back. `None` for a lane that nothing comes back to, whose workers have one channel less to look at.
    pub(super) resumed: Option<Receiver<J>>,
    /// Places promised to what will be resumed.
    pub(super) promised: AtomicUsize,
    /// One for each worker: what it runs now. Only that worker writes it, so the lock is never waited for.
    pub(super) running: Box<[Mutex<Option<J::Running>>]>,
    pub(super) busy: AtomicUsize,
    pub(super) done: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) panicked: AtomicU64,
    pub(super) cancelled: AtomicU64,
}

pub(super) const HELD: &str = "no code panics while it holds a worker's slot";

impl<J: Job> Shared<J> {
    pub(super) fn stats(&self) -> LaneStats {
        LaneStats {
            name: self.lane.name.to_string(),
            workers: self.lane.worker_count(),
            busy: self.busy.load(Ordering::Relaxed),
            queued: self.take.len() + self.resumed.as_ref().map_or(0, Receiver::len),
            capacity: self.lane.capacity(),
            done: self.done.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
            cancelled: self.cancelled.load(Ordering::Relaxed),
        }
    }

    /// The next job, of either kind. `None` when there will be none.
    fn next(&self) -> Option<J> {
        let Some(resumed) = &self.resumed else {
            return self.take.recv().ok();
        };
        select! {
            recv(self.take) -> job => job.ok().or_else(|| resumed.recv().ok()),
            recv(resumed) -> job => job.ok().or_else(|| self.take.recv().ok()),
        }
    }

    pub(super) fn work(&self, index: usize) {
        while let Some(job) = self.next() {
            if job.is_stale() {
                self.cancelled.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.busy.fetch_add(1, Ordering::Relaxed);
            *self.running[index].lock().expect(HELD) = Some(job.running());
            // The job catches its handler's panic itself; this is for everything around it, so that the worker lives on.
            let ended = panics::catch(|| job.run()).unwrap_or_else(|panic| {
                log::error!(
                    detail: &panic.way().to_string(),
                    "a job panicked outside of its handler: {panic}"
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
