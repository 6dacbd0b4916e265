//! How a job changes: in the store first, charged for its new length, then for everybody to see.
//!
//! Must not know why it changes.

use std::sync::{Arc, MutexGuard};

use crate::base::log;
use crate::desk::job_table::JobState;
use crate::desk::jobs::{Jobs, NotKept, Room, failed, now_ms};
use crate::desk::record::{JobOutcome, JobRecord};
use crate::desk::store::{JobStore, StoreError, StoredJob};
use crate::protocol::errors::{ErrorCode, ErrorObject};

const TAKEN: &str = "its record was changed by somebody else";

impl Jobs {
    /// Ends a job. `false` if it has ended before. Nobody is told of an end that is not in the store: one that the store refuses waits, and the job is
    /// told as it was until then, with a message that says so.
    pub(super) fn finish(&self, mut state: MutexGuard<'_, JobState>, outcome: JobOutcome) -> bool {
        let mut ended = state.record.clone();
        if state.has_ended() || !ended.end(outcome, now_ms(), self.keep_ms()) {
            return false;
        }
        state.life.end();
        match self.write(&mut state, &ended, Room::Owed) {
            Ok(true) => self.show_end(state, ended),
            Ok(false) => self.lose(state),
            Err(why) => self.hold_back(state, ended, &why),
        }
        true
    }

    /// The end is in the store.
    pub(super) fn show_end(&self, mut state: MutexGuard<'_, JobState>, ended: JobRecord) {
        state.show(JobRecord {
            outcome: None,
            ..ended.clone()
        });
        self.tell_end(state, &ended);
    }

    /// Somebody else has changed or removed the record, so that nobody can have what came of it: it has failed, which stays in memory.
    pub(super) fn lose(&self, mut state: MutexGuard<'_, JobState>) {
        log::error!("the end of job {} is dropped: {TAKEN}", state.record.id);
        let lost = self.failing(&state.record, "The record of this job was lost");
        state.show(lost.clone());
        self.tell_end(state, &lost);
    }

    /// It may be seen that it has ended, and it may be forgotten when its time has come.
    fn tell_end(&self, mut state: MutexGuard<'_, JobState>, ended: &JobRecord) {
        state.ending = None;
        let (charged, seen) = (state.charge.bytes(), Arc::clone(&state.seen));
        drop(state);
        let expires = ended.expires_ms.unwrap_or_default();
        let mut table = self.table.lock();
        table.unstored.retain(|id| *id != ended.id);
        table.look(&seen, now_ms());
        table.add_ended(&seen.owner, (expires, Arc::clone(&ended.id)), charged);
        drop(table);
        self.announce(ended);
    }

    /// The store has refused the end, which waits in memory until it is taken. What could not be charged is not kept: then the job has failed.
    fn hold_back(&self, mut state: MutexGuard<'_, JobState>, mut ended: JobRecord, why: &NotKept) {
        log::error!("the end of a job could not be stored and waits in memory: {why:?}");
        let body = serde_json::to_vec(&ended).expect("a record is JSON");
        if ended.status.kept_bytes(body.len()) > state.charge.bytes() {
            let message = "The server had no room for the result of this job; start it again";
            ended = self.failing(&state.record, message);
        }
        state.ending = Some(ended);
        let message = "It has ended, and its end cannot be stored yet";
        state.say(|record| record.say(message.to_owned(), now_ms()));
        let shown = state.record.clone();
        drop(state);
        self.table.lock().unstored.push_back(Arc::clone(&shown.id));
        self.announce(&shown);
    }

    /// The record as it is when the job has failed.
    fn failing(&self, record: &JobRecord, message: &str) -> JobRecord {
        let error = ErrorObject::new(ErrorCode::INTERNAL_ERROR, message.to_owned());
        let mut record = record.clone();
        record.end(failed(&error), now_ms(), self.keep_ms());
        record
    }

    /// Makes a move and stores it, or neither. `false` if there is none to make.
    pub(super) fn change(
        &self,
        state: &mut JobState,
        room: Room,
        make: impl FnOnce(&mut JobRecord) -> bool,
    ) -> Result<bool, NotKept> {
        let mut next = state.record.clone();
        if state.has_ended() || !make(&mut next) {
            return Ok(false);
        }
        if !self.write(state, &next, room)? {
            return Err(StoreError::new(TAKEN).into());
        }
        state.show(next);
        self.table.lock().look(&state.seen, now_ms());
        Ok(true)
    }

    /// Stores what the record becomes, and charges its new length, for which what has ended makes room. `false` if somebody else has the record.
    pub(super) fn write(
        &self,
        state: &mut JobState,
        record: &JobRecord,
        room: Room,
    ) -> Result<bool, NotKept> {
        let body = serde_json::to_vec(record).expect("a record is JSON");
        let (len, charged) = (record.status.kept_bytes(body.len()), state.charge.bytes());
        let has_grown = self.grow(&mut state.charge, len.saturating_sub(charged), room);
        if !has_grown && room == Room::IfThereIs {
            return Err(NotKept::Full);
        }
        let is_ours = self.replace(state, record, body)?;
        state.charge.shrink(charged.saturating_sub(len));
        Ok(is_ours)
    }

    /// Stores this body of the record. `false` if somebody else has it. A store that said it had failed may have kept what it was given all the same; then
    /// the next revision follows on that.
    pub(super) fn replace(
        &self,
        state: &mut JobState,
        record: &JobRecord,
        body: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let mut stored = StoredJob {
            revision: state.revision + 1,
            expires_ms: record.expires_ms,
            ..StoredJob::new(&*record.id, &*self.boot, record.status, body)
        };
        if !self.store.replace(&stored)? {
            let kept = self.store.load(&record.id)?;
            let is_ours =
                |kept: &StoredJob| kept.boot == self.boot && kept.revision > state.revision;
            let Some(kept) = kept.filter(is_ours) else {
                return Ok(false);
            };
            stored.revision = kept.revision + 1;
            if !self.store.replace(&stored)? {
                return Ok(false);
            }
        }
        state.revision = stored.revision;
        Ok(true)
    }

    /// Tells of a change, without the lock.
    pub(super) fn publish(&self, state: MutexGuard<'_, JobState>) -> bool {
        let record = state.record.clone();
        drop(state);
        self.announce(&record);
        true
    }

    /// Tells everybody how it is now, which may be to answer them: under no lock.
    pub(crate) fn announce(&self, record: &JobRecord) {
        if let Some(tell) = self.on_change.get() {
            tell(record);
        }
    }
}
