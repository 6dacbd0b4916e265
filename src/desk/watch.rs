//! Those who wait for a change of a job, without a thread: what is to be done when it changes, or when they have waited long enough.
//!
//! Must not know what is done.

use std::sync::Arc;
use std::time::Instant;

use crate::base::lock::Lock;

/// What waits.
struct JobWaiter {
    job: Arc<str>,
    until: Instant,
    done: Box<dyn FnOnce() + Send>,
}

#[derive(Default)]
pub(crate) struct JobWatch {
    waiting: Lock<Vec<JobWaiter>>,
}

impl JobWatch {
    /// Does this when the job changes, or when the time has come; at once when as many wait as may.
    pub(crate) fn park(
        &self,
        job: Arc<str>,
        until: Instant,
        waiting_max: usize,
        done: Box<dyn FnOnce() + Send>,
    ) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < waiting_max {
            return waiting.push(JobWaiter { job, until, done });
        }
        drop(waiting);
        done();
    }

    /// The job has changed.
    pub(crate) fn wake(&self, job: &str) {
        self.take(|waiting| *waiting.job == *job);
    }

    /// Ends the waits whose time has come.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.take(|waiting| waiting.until <= now);
    }

    /// Ends every wait.
    pub(crate) fn end(&self) {
        self.take(|_| true);
    }

    fn take(&self, is_due: impl Fn(&JobWaiter) -> bool) {
        // Done without the lock, because it may come back here.
        let due: Vec<_> = self
            .waiting
            .lock()
            .extract_if(.., |waiting| is_due(waiting))
            .collect();
        due.into_iter().for_each(|waiting| (waiting.done)());
    }
}
