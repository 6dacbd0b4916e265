//! How a job changes: in the store first, charged for its new length, then for everybody to see.
//!
//! Must not know why it changes.

use std::sync::{Arc, MutexGuard};

use crate::base::budget::Charge;
use crate::base::log;
use crate::desk::jobs::{Jobs, NotKept, now_ms};
use crate::desk::places::JobState;
use crate::desk::record::{JobOutcome, JobRecord};
use crate::desk::store::{StoreError, StoredJob};

impl Jobs {
    /// Ends a job. `false` if it has ended before.
    pub(super) fn finish(&self, mut state: MutexGuard<'_, JobState>, outcome: JobOutcome) -> bool {
        let keep = self.keep_ms();
        if !state.record.end(outcome, now_ms(), keep) {
            return false;
        }
        state.life.end();
        let written = self.write(&mut state, true);
        let record = state.record.clone();
        match written {
            // The store has it.
            Ok(()) => state.record.outcome = None,
            Err(why) => {
                log::error!("the end of a job could not be stored and is kept in memory: {why:?}");
            }
        }
        let is_unstored = state.record.outcome.is_some();
        drop(state);
        let expires = record.expires_ms.unwrap_or_default();
        let mut table = self.table.lock();
        table.ended.insert((expires, Arc::clone(&record.id)));
        if is_unstored {
            table.unstored.insert(Arc::clone(&record.id));
        }
        drop(table);
        if let Some(tell) = self.on_change.get() {
            tell(&record);
        }
        true
    }

    /// Makes a move and stores it, or neither. `false` if there is none to make.
    pub(super) fn change(
        &self,
        state: &mut JobState,
        is_owed: bool,
        make: impl FnOnce(&mut JobRecord) -> bool,
    ) -> Result<bool, NotKept> {
        let before = state.record.clone();
        if !make(&mut state.record) {
            return Ok(false);
        }
        let written = self.write(state, is_owed);
        if written.is_err() {
            state.record = before;
        }
        written.map(|()| true)
    }

    /// Stores the record as it is now, and charges its new length, for which what has ended makes room. What is owed, such as a result that was worked
    /// for, is stored over the bound, too, when nothing else is left to forget; so there is at most one that is not charged.
    pub(super) fn write(&self, state: &mut JobState, is_owed: bool) -> Result<(), NotKept> {
        let record = &state.record;
        let body = serde_json::to_vec(record).expect("a record is JSON");
        let (len, charged) = (record.status.kept_bytes(body.len()), state.charge.bytes());
        if !self.grow(&mut state.charge, len.saturating_sub(charged)) && !is_owed {
            return Err(NotKept::Full);
        }
        self.replace(state, body)?;
        state.charge.shrink(charged.saturating_sub(len));
        Ok(())
    }

    /// Stores this body of the record.
    pub(super) fn replace(&self, state: &mut JobState, body: Vec<u8>) -> Result<(), StoreError> {
        let record = &state.record;
        let stored = StoredJob {
            revision: state.revision + 1,
            expires_ms: record.expires_ms,
            ..StoredJob::new(&*record.id, &*self.boot, record.status, body)
        };
        if !self.store.replace(&stored)? {
            return Err(StoreError::new("another server has changed it"));
        }
        state.revision += 1;
        Ok(())
    }

    /// Charges so many bytes more; the oldest of what has ended makes room.
    fn grow(&self, charge: &mut Charge, more: usize) -> bool {
        while charge.grow(more).is_err() {
            let oldest = self.table.lock().ended.first().cloned();
            let Some((_, oldest)) = oldest else {
                return false;
            };
            self.forget(&oldest);
        }
        true
    }

    /// Tells of a change, without the lock.
    pub(super) fn publish(&self, state: MutexGuard<'_, JobState>) -> bool {
        if let Some(tell) = self.on_change.get() {
            let record = state.record.clone();
            drop(state);
            tell(&record);
        }
        true
    }
}
