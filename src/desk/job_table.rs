//! The table of background jobs: which there are, whose they are, which may be forgotten first.
//!
//! Two kinds of locks: one for the table, which is held for a look-up, and one for each job, which is held while it changes and is stored. The table's may
//! be taken under a job's, never the other way round, and a job that has ended may be locked under one that lives.
//! Must not know stores or what a change means.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, MutexGuard};

use crate::base::budget::Charge;
use crate::base::life::Life;
use crate::base::lock::Lock;
use crate::desk::record::{JobRecord, JobStatus};

/// Stops the attempt that runs.
pub(crate) type Stop = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(crate) struct JobTable {
    pub(crate) by_id: HashMap<Arc<str>, Arc<JobEntry>>,
    /// Entries reserved, whether or not their job stands in the table yet: all of them, and each owner's.
    pub(crate) reserved: usize,
    pub(crate) by_owner: HashMap<Option<Arc<str>>, usize>,
    /// What has ended, by when it may be forgotten.
    pub(crate) ended: BTreeSet<(u64, Arc<str>)>,
    /// What is charged for all of that.
    pub(crate) ended_bytes: usize,
    /// What has ended and could not be stored yet, by when that is tried again.
    pub(crate) unstored: VecDeque<Arc<str>>,
}

/// One job.
pub(crate) struct JobEntry {
    /// Immutable: whose it is, for the bound.
    pub(crate) owner: Option<Arc<str>>,
    /// Its status, and how often it has changed, as its record says. Beside that, because who holds the record may wait for the store.
    seen: Arc<Lock<(JobStatus, u64)>>,
    state: Lock<JobState>,
}

pub(crate) struct JobState {
    /// As it is shown. Whole while it lives; without its outcome, which the store has, once it has ended.
    pub(crate) record: JobRecord,
    /// Follows the record.
    seen: Arc<Lock<(JobStatus, u64)>>,
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
        let seen = Arc::new(Lock::new((record.status, record.changes)));
        JobEntry {
            owner: record.order.listed_in.clone(),
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

    pub(crate) fn lock(&self) -> MutexGuard<'_, JobState> {
        self.state.lock()
    }

    /// How far it is, and how often it has changed, without waiting for who changes it.
    pub(crate) fn seen(&self) -> (JobStatus, u64) {
        *self.seen.lock()
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
        *self.seen.lock() = (self.record.status, self.record.changes);
        changed
    }

    /// Whether it has ended, told or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.is_some() || self.record.status.is_final()
    }
}

impl JobTable {
    pub(crate) fn reserve(&mut self, owner: Option<Arc<str>>) {
        self.reserved += 1;
        *self.by_owner.entry(owner).or_default() += 1;
    }

    pub(crate) fn release(&mut self, owner: &Option<Arc<str>>) {
        self.reserved -= 1;
        if let Some(count) = self.by_owner.get_mut(owner) {
            *count -= 1;
            if *count == 0 {
                self.by_owner.remove(owner);
            }
        }
    }

    /// From now on it may be forgotten, for which so much is charged.
    pub(crate) fn add_ended(&mut self, ends: (u64, Arc<str>), charged: usize) {
        if self.ended.insert(ends) {
            self.ended_bytes += charged;
        }
    }

    pub(crate) fn remove_ended(&mut self, ends: &(u64, Arc<str>), charged: usize) {
        if self.ended.remove(ends) {
            self.ended_bytes -= charged;
        }
    }

    pub(crate) fn oldest_of(&self, owner: &Option<Arc<str>>) -> Option<(u64, Arc<str>)> {
        let is_theirs = |id: &Arc<str>| {
            self.by_id
                .get(id)
                .is_some_and(|place| place.owner == *owner)
        };
        self.ended.iter().find(|(_, id)| is_theirs(id)).cloned()
    }
}
