//! Those who wait for a change of a job, without a thread: what is to be done when it changes, or when they have waited long enough.
//!
//! Must not know what is done.

use std::sync::Arc;
use std::time::Instant;

use crate::base::awake;
use crate::base::errands::Errand;
use crate::base::lock::Lock;

/// What waits.
struct JobWaiter {
    job: Arc<str>,
    /// In the [time in which the process was awake](awake).
    until: Instant,
    done: Errand,
}

#[derive(Default)]
pub(crate) struct JobWatch(Lock<JobWaiters>);

#[derive(Default)]
struct JobWaiters {
    waiting: Vec<JobWaiter>,
    /// Nobody waits here any more.
    is_over: bool,
}

impl JobWatch {
    /// Does this when the job changes, or when the time has come. When as many wait as may, what has waited longest is done for it, or this at once. `is_news` says whether the job has changed since it was
    /// looked at: asked when the next change of it finds the waiter here already, so that none falls in between.
    pub(crate) fn park(
        &self,
        job: Arc<str>,
        until: Instant,
        waiting_max: usize,
        is_news: impl FnOnce() -> bool,
        done: Errand,
    ) {
        let mut watched = self.0.lock();
        let is_full = watched.waiting.len() >= waiting_max;
        if watched.is_over || (is_full && watched.waiting.is_empty()) {
            drop(watched);
            return done();
        }
        let longest = is_full.then(|| watched.waiting.remove(0).done);
        let waiter = JobWaiter {
            job: Arc::clone(&job),
            until,
            done,
        };
        watched.waiting.push(waiter);
        drop(watched);
        longest.into_iter().for_each(|done| done());
        if is_news() {
            self.wake(&job);
        }
    }

    /// The job has changed.
    pub(crate) fn wake(&self, job: &str) {
        let due = self.take(|waiting| *waiting.job == *job);
        due.into_iter().for_each(|done| done());
    }

    /// Ends the waits whose time has come. What comes back is to be done where that may take time, for it looks at the job.
    pub(crate) fn sweep(&self) -> Vec<Errand> {
        let now = awake::now();
        self.take(|waiting| waiting.until <= now)
    }

    /// Ends every wait, now and later. What comes back is to be done like that of a sweep.
    pub(crate) fn end(&self) -> Vec<Errand> {
        self.0.lock().is_over = true;
        self.take(|_| true)
    }

    fn take(&self, is_due: impl Fn(&JobWaiter) -> bool) -> Vec<Errand> {
        let mut watched = self.0.lock();
        let due = watched.waiting.extract_if(.., |waiting| is_due(waiting));
        // Collected, for what is done may come back here and must not find the lock held.
        due.map(|waiting| waiting.done).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::base::waiting::after;

    #[test]
    fn what_has_changed_before_it_was_waited_for_is_not_waited_for() {
        let (watch, done) = (JobWatch::default(), Arc::new(AtomicUsize::new(0)));
        let park = |job: &str, is_news: bool| {
            let done = Arc::clone(&done);
            let count = Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
            watch.park(job.into(), after(Duration::MAX), 9, || is_news, count);
        };
        let count = || done.load(Ordering::Relaxed);
        park("a", false);
        park("b", false);
        assert_eq!(count(), 0);
        park("b", true);
        assert_eq!(count(), 2, "both who wait for it");
        watch.end().into_iter().for_each(|done| done());
        assert_eq!(count(), 3);
        park("c", false);
        assert_eq!(count(), 4, "nobody waits any more");
    }

    #[test]
    fn what_has_waited_longest_is_done_for_the_next_when_as_many_wait_as_may() {
        let (watch, (tell, told)) = (JobWatch::default(), mpsc::channel());
        let park = |who: &'static str, waiting_max: usize| {
            let tell = tell.clone();
            let say = Box::new(move || tell.send(who).expect("the test listens"));
            watch.park("a".into(), after(Duration::MAX), waiting_max, || false, say);
        };
        let done = || told.try_iter().collect::<Vec<_>>();
        park("a", 2);
        park("b", 2);
        assert!(done().is_empty());
        park("c", 2);
        assert_eq!(done(), ["a"]);
        park("d", 0);
        assert_eq!(done(), ["b"]);
        watch.wake("a");
        assert_eq!(done(), ["c", "d"]);
        park("e", 0);
        assert_eq!(done(), ["e"], "none may wait");
    }
}
