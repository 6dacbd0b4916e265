//! The places of background jobs: which there are, whose they are, which may be forgotten first.
//!
//! Two kinds of locks, never both at once: one for the table, which is held for a look-up, and one for each job, which is held while it changes.
//! Must not know stores or what a change means.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, MutexGuard};

use crate::base::budget::Charge;
use crate::base::life::Life;
use crate::base::lock::Lock;
use crate::desk::record::JobRecord;

/// Stops the attempt that runs.
pub(crate) type Stop = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(crate) struct JobTable {
    pub(crate) by_id: HashMap<Arc<str>, Arc<JobEntry>>,
    /// Places taken, whether or not their job stands in the table yet: all of them, and each owner's.
    pub(crate) reserved: usize,
    pub(crate) by_owner: HashMap<Option<Arc<str>>, usize>,
    /// What has ended, by when it may be forgotten.
    pub(crate) ended: BTreeSet<(u64, Arc<str>)>,
    /// What has ended and could not be stored yet.
    pub(crate) unstored: BTreeSet<Arc<str>>,
}

/// One job.
pub(crate) struct JobEntry {
    /// Immutable: whose it is, for the bound.
    pub(crate) owner: Option<Arc<str>>,
    state: Lock<JobState>,
}

pub(crate) struct JobState {
    /// Whole while it lives; without its outcome, which the store has, once it has ended.
    pub(crate) record: JobRecord,
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
        JobEntry {
            owner: record.order.owner(),
            state: Lock::new(JobState {
                record,
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

    pub(crate) fn oldest_of(&self, owner: &Option<Arc<str>>) -> Option<(u64, Arc<str>)> {
        let is_theirs = |id: &Arc<str>| {
            self.by_id
                .get(id)
                .is_some_and(|place| place.owner == *owner)
        };
        self.ended.iter().find(|(_, id)| is_theirs(id)).cloned()
    }
}
