//! The table of background jobs: which there are, whose they are, which make room first.
//!
//! Two kinds of locks: one for the table, which is held for a look-up, and one for each job, which is held while it changes and is stored. The table's may
//! be taken under a job's, never the other way round, and a job that has ended may be locked under one that lives.
//! Must not know stores or what a change means.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};

use crate::base::budget::Charge;
use crate::base::life::Life;
use crate::base::lock::Lock;
use crate::base::waiting::about_to_wait;
use crate::desk::record::{JobRecord, JobStatus};

/// Stops the attempt that runs.
pub(crate) type Stop = Arc<dyn Fn() + Send + Sync>;

/// Whose a job is, for the bound.
pub(crate) type Whose = Option<Arc<str>>;

#[derive(Default)]
pub(crate) struct JobTable {
    pub(crate) by_id: HashMap<Arc<str>, Arc<JobEntry>>,
    pub(crate) all: Share,
    pub(crate) by_owner: HashMap<Whose, Share>,
    /// What is charged for all that has ended.
    pub(crate) ended_bytes: usize,
    /// What has ended and could not be stored yet, by when that is tried again.
    pub(crate) unstored: VecDeque<Arc<str>>,
}

/// What all jobs take of the table, or those of one owner.
#[derive(Default)]
pub(crate) struct Share {
    /// Entries reserved, whether or not their job stands in the table yet.
    pub(crate) reserved: usize,
    /// What has ended, by when it may be forgotten.
    pub(crate) ended: BTreeSet<(u64, Arc<str>)>,
    /// What waits for an answer, by when it was last looked at.
    pub(crate) waiting: BTreeSet<(u64, Arc<str>)>,
}

/// One job.
pub(crate) struct JobEntry {
    pub(crate) seen: Arc<Seen>,
    state: Lock<JobState>,
}

/// What can be seen of a job beside its record, because who holds that may wait for the store.
pub(crate) struct Seen {
    id: Arc<str>,
    pub(crate) owner: Whose,
    /// Its status, and how often it has changed, as its record says.
    state: Lock<(JobStatus, u64)>,
    /// When it was last looked at. Changed under the table's lock.
    looked_ms: AtomicU64,
    /// Whether it waits for memory. The same.
    pub(super) is_short: AtomicBool,
}

pub(crate) struct JobState {
    /// As it is shown. Whole while it lives; without its outcome, which the store has, once it has ended.
    pub(crate) record: JobRecord,
    /// Follows the record.
    pub(crate) seen: Arc<Seen>,
    /// How it has ended, while the store does not take that. Nobody has been told, and nothing else happens to the job any more.
    pub(crate) ending: Option<JobRecord>,
    pub(crate) revision: u64,
    /// What is charged for it.
    pub(crate) charge: Charge,
    /// There while an attempt of it runs.
    pub(crate) stop: Option<Stop>,
    /// Ends when the job does.
    pub(crate) life: Life,
}

impl JobEntry {
    /// Nothing of it runs yet.
    pub(crate) fn new(record: JobRecord, revision: u64, charge: Charge) -> Self {
        let seen = Arc::new(Seen {
            id: Arc::clone(&record.id),
            owner: record.order.listed_in.clone(),
            state: Lock::new((record.status, record.changes)),
            looked_ms: AtomicU64::default(),
            is_short: AtomicBool::default(),
        });
        JobEntry {
            seen: Arc::clone(&seen),
            state: Lock::new(JobState {
                record,
                seen,
                ending: None,
                revision,
                charge,
                stop: None,
                life: Life::default(),
            }),
        }
    }

    /// Waits for who changes it, who may be waiting for its store.
    pub(crate) fn lock(&self) -> MutexGuard<'_, JobState> {
        self.state.try_lock().unwrap_or_else(|| {
            let _is_relieved = about_to_wait();
            self.state.lock()
        })
    }

    /// How far it is, and how often it has changed, without waiting for who changes it.
    pub(crate) fn seen(&self) -> (JobStatus, u64) {
        *self.seen.state.lock()
    }

    /// Whether somebody looks at it all the time: besides itself and its record.
    pub(crate) fn is_watched(&self) -> bool {
        Arc::strong_count(&self.seen) > 2
    }
}

impl JobState {
    /// Shows this record from now on.
    pub(crate) fn show(&mut self, record: JobRecord) {
        self.say(|shown| *shown = record);
    }

    /// Changes what is shown of it, in a way that need not be stored.
    pub(crate) fn say<T>(&mut self, change: impl FnOnce(&mut JobRecord) -> T) -> T {
        let changed = change(&mut self.record);
        *self.seen.state.lock() = (self.record.status, self.record.changes);
        changed
    }

    /// Whether it has ended, told or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.is_some() || self.record.status.is_final()
    }
}

impl JobTable {
    pub(crate) fn reserve(&mut self, owner: &Whose) {
        self.change(owner, |share| share.reserved += 1);
    }

    pub(crate) fn release(&mut self, owner: &Whose) {
        self.change(owner, |share| share.reserved -= 1);
    }

    /// From now on it may be forgotten, for which so much is charged.
    pub(crate) fn add_ended(&mut self, owner: &Whose, ends: (u64, Arc<str>), charged: usize) {
        if !self.all.ended.contains(&ends) {
            self.change(owner, |share| _ = share.ended.insert(ends.clone()));
            self.ended_bytes += charged;
        }
    }

    pub(crate) fn remove_ended(&mut self, owner: &Whose, ends: &(u64, Arc<str>), charged: usize) {
        if self.all.ended.contains(ends) {
            self.change(owner, |share| _ = share.ended.remove(ends));
            self.ended_bytes -= charged;
        }
    }

    /// Somebody looks at it, or it has changed: if it waits for an answer, it is the last of those to make room.
    pub(crate) fn look(&mut self, seen: &Seen, now_ms: u64) {
        let before = seen.looked_ms.swap(now_ms, Ordering::Relaxed);
        let before = (before, Arc::clone(&seen.id));
        let waits = seen.state.lock().0 == JobStatus::InputRequired;
        if waits || self.all.waiting.contains(&before) {
            let now = waits.then(|| (now_ms, Arc::clone(&seen.id)));
            self.change(&seen.owner, |share| {
                share.waiting.remove(&before);
                share.waiting.extend(now.clone());
            });
        }
    }

    /// That of this owner, or of all.
    pub(crate) fn share(&self, owner: Option<&Whose>) -> Option<&Share> {
        owner.map_or(Some(&self.all), |owner| self.by_owner.get(owner))
    }

    fn change(&mut self, owner: &Whose, change: impl Fn(&mut Share)) {
        change(&mut self.all);
        let theirs = self.by_owner.entry(owner.clone()).or_default();
        change(theirs);
        if theirs.reserved == 0 {
            self.by_owner.remove(owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::base::budget::Budget;
    use crate::base::waiting::relieve_with;
    use crate::desk::record::Carried;
    use crate::desk::record::tests::order;

    #[test]
    fn law_06_a_thread_is_relieved_before_it_waits_for_a_job_that_is_being_stored() {
        let charge = Budget::whole(1).charge(1).expect("there is room");
        let record = JobRecord::new(order(), Carried::default(), 0);
        let entry = JobEntry::new(record, 1, charge);
        let storing = entry.lock();
        let (relieved, relief) = bounded(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                relieve_with(Some(Box::new(move || relieved.send(()).is_ok())));
                drop(entry.lock());
            });
            let told = relief.recv_timeout(Duration::from_secs(20));
            drop(storing);
            told.expect("others do not wait for it");
        });
    }
}
