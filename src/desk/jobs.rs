//! Every background job of a server: made, moved, looked at, forgotten.
//!
//! Each job has a lock of its own, and a change is in the store before anybody can see it: a move is one compare-and-set, and the loser of a race
//! between end, cancellation, answer and expiry does nothing. No lock is held while somebody is told of a change. Must not know how a job is run, or
//! how it is written on the wire.

use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::base::budget::Budget;
use crate::base::life::Span;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::log_rate::LogRate;
use crate::base::stats::JobCounts;
use crate::base::waiting::millis;
use crate::desk::job_table::{JobEntry, JobTable, Seen, Stop};
use crate::desk::record::{
    AnswerEffect, Carried, JobOutcome, JobRecord, JobStatus, Order, Question,
};
use crate::desk::store::guarded::Guarded;
use crate::desk::store::{JobStore, StoreError, StoredJob};
use crate::protocol::errors::{ErrorCode, ErrorObject};

/// The jobs of one server.
pub(crate) struct Jobs {
    limits: Arc<Limits>,
    store: Guarded,
    /// This run of the server; what another one has left running will not go on.
    boot: String,
    bytes: Arc<Budget>,
    table: Lock<JobTable>,
    on_change: OnceLock<Box<OnChange>>,
    /// Those that made room.
    displaced: Lock<LogRate>,
}

type OnChange = dyn Fn(&JobRecord) + Send + Sync;

/// Who looks at a job all the time: while it lives, what waits for an answer makes no room.
pub(crate) struct Watching {
    jobs: Arc<Jobs>,
    seen: Arc<Seen>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.jobs.table.lock().look(&self.seen, now_ms());
    }
}

/// For what a record needs room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    IfThereIs,
    /// For what is owed, such as a result that was worked for: stored over the bound, too, when nothing else is left to forget, so that there is at most
    /// one that is not charged.
    Owed,
}

/// Why a job, or what it was given, is not kept.
#[derive(Debug)]
pub(crate) enum NotKept {
    /// There is no room for it, and nothing may go that makes enough.
    Full,
    Store(StoreError),
}

impl From<StoreError> for NotKept {
    fn from(error: StoreError) -> Self {
        NotKept::Store(error)
    }
}

impl Jobs {
    /// Takes over what the store has: what has ended can be looked at, what waits for an answer goes on waiting, and what ran when another server
    /// ended has failed, or, if its tool allows it, is to be run again: these are returned.
    pub(crate) fn open(
        limits: Arc<Limits>,
        store: Guarded,
        bytes: Arc<Budget>,
    ) -> Result<(Self, Vec<Arc<str>>), StoreError> {
        let jobs = Jobs {
            limits,
            store,
            boot: Uuid::new_v4().to_string(),
            bytes,
            table: Lock::default(),
            on_change: OnceLock::new(),
            displaced: Lock::default(),
        };
        let mut found = Vec::new();
        jobs.store.for_each(&mut |stored| found.push(stored))?;
        let again = found
            .into_iter()
            .filter_map(|stored| jobs.adopt(stored).transpose())
            .collect::<Result<_, _>>()?;
        Ok((jobs, again))
    }

    /// Who is told of every change, with the record as it is then.
    pub(crate) fn on_change(&self, tell: impl Fn(&JobRecord) + Send + Sync + 'static) {
        // There is one engine, which says it once.
        let _said_before = self.on_change.set(Box::new(tell));
    }

    fn adopt(&self, stored: StoredJob) -> Result<Option<Arc<str>>, StoreError> {
        let Ok(mut record) = serde_json::from_slice::<JobRecord>(&stored.body) else {
            log::error!(
                "a stored job cannot be read and is left alone: {}",
                stored.id
            );
            return Ok(None);
        };
        let is_lost = record.status == JobStatus::Working;
        let runs_again = is_lost && record.order.restartable;
        if is_lost && !runs_again {
            let lost = "The server ended while this ran; start it again";
            let error = ErrorObject::new(ErrorCode::INTERNAL_ERROR, lost);
            record.end(failed(&error), now_ms(), self.keep_ms());
        }
        // Over the bound it is kept all the same: it was promised.
        let bytes = record.status.kept_bytes(stored.body.len());
        let charge = self.bytes.try_charge(bytes);
        let charge = charge.or_else(|_| self.bytes.try_charge(0));
        let Ok(charge) = charge else { return Ok(None) };
        let id = Arc::clone(&record.id);
        let entry = Arc::new(JobEntry::new(record, stored.revision, charge));
        let mut state = entry.lock();
        if is_lost {
            let record = state.record.clone();
            match self.write(&mut state, &record, Room::Owed) {
                Err(NotKept::Store(error)) => return Err(error),
                Ok(false) => return Ok(None),
                Ok(true) | Err(NotKept::Full) => {}
            }
        }
        let (expires, charged) = (state.record.expires_ms, state.charge.bytes());
        state.record.outcome = None;
        drop(state);
        let mut table = self.table.lock();
        table.reserve(&entry.seen.owner);
        table.look(&entry.seen, now_ms());
        if let Some(at) = expires {
            table.add_ended(&entry.seen.owner, (at, Arc::clone(&id)), charged);
        }
        table.by_id.insert(Arc::clone(&id), entry);
        Ok(runs_again.then_some(id))
    }

    /// Makes a job and keeps it, with what was asked and kept before there was one. When it comes back it can be looked at, and nothing of it runs yet.
    pub(crate) fn create(&self, order: Order, carried: Carried) -> Result<Arc<str>, NotKept> {
        let record = JobRecord::new(order, carried, now_ms());
        let id = Arc::clone(&record.id);
        let body = serde_json::to_vec(&record).expect("a record is JSON");
        let owner = record.order.listed_in.clone();
        let charge = self.reserve(&owner, record.status.kept_bytes(body.len()))?;
        let stored = StoredJob::new(&*id, &*self.boot, record.status, body);
        let inserted = match self.store.insert(&stored) {
            Ok(false) => Err(StoreError::new("the id is taken")),
            // It may be kept all the same, and its client is told that there is none.
            Err(error) => {
                let _as_well_as_it_can = self.store.remove(&id);
                Err(error)
            }
            inserted => inserted,
        };
        if let Err(error) = inserted {
            self.table.lock().release(&owner);
            return Err(error.into());
        }
        let entry = Arc::new(JobEntry::new(record, 1, charge));
        self.table.lock().by_id.insert(Arc::clone(&id), entry);
        Ok(id)
    }

    /// Shows a job to somebody who knows its id. Unknown and expired are the same.
    pub(crate) fn look<T>(&self, id: &str, show: impl FnOnce(&JobRecord) -> T) -> Option<T> {
        let entry = self.entry(id)?;
        let state = entry.lock();
        if state.record.expires_ms.is_some_and(|at| at <= now_ms()) {
            return None;
        }
        if !state.record.status.is_final() || state.record.outcome.is_some() {
            return Some(show(&state.record));
        }
        let changes = state.record.changes;
        drop(state);
        let stored = self.store.load(id);
        let stored = stored.inspect_err(|error| log::error!("a job cannot be loaded: {error}"));
        let record: JobRecord = serde_json::from_slice(&stored.ok()??.body).ok()?;
        Some(show(&JobRecord { changes, ..record }))
    }

    /// Whether it has ended, told or not, or is not there.
    pub(crate) fn has_ended(&self, id: &str) -> bool {
        let entry = self.entry(id);
        entry.is_none_or(|entry| entry.lock().has_ended())
    }

    /// How often it has changed. `None` when it has ended, or is not there.
    pub(crate) fn changes(&self, id: &str) -> Option<u64> {
        let (status, changes) = self.entry(id)?.seen();
        (!status.is_final()).then_some(changes)
    }

    /// Whether it has not changed since it was like this. Each change is told by who made it, after it and without a lock, so that it may be told after
    /// its successor. Waits for no store.
    pub(crate) fn is_newest(&self, record: &JobRecord) -> bool {
        let entry = self.entry(&record.id);
        entry.is_none_or(|entry| entry.seen().1 == record.changes)
    }

    /// How long it lives: until it ends.
    pub(crate) fn span(&self, id: &str) -> Option<Span> {
        Some(self.entry(id)?.lock().life.span())
    }

    /// Begins an attempt, with what it was made from and what earlier ones left, unless the job has ended or there is nothing to do. `stop` is called if the job is cancelled before the attempt has ended.
    pub(crate) fn begin(&self, id: &str, stop: Stop) -> Option<(Order, Carried)> {
        let entry = self.entry(id)?;
        let mut state = entry.lock();
        if state.has_ended() || state.record.status != JobStatus::Working || state.stop.is_some() {
            return None;
        }
        state.stop = Some(stop);
        let carried = Carried::clone(&state.record.carried);
        Some((state.record.order.clone(), carried))
    }

    /// Says how it goes; what is then to be announced. Not stored: after a crash nobody asks.
    pub(crate) fn say(&self, id: &str, message: String) -> Option<JobRecord> {
        let entry = self.entry(id)?;
        let mut state = entry.lock();
        let is_said = !state.has_ended() && state.say(|record| record.tell(message, now_ms()));
        is_said.then(|| state.record.clone())
    }

    /// What is charged for it, until it has ended.
    pub(crate) fn charged(&self, id: &str) -> usize {
        let entry = self.entry(id);
        entry.map_or(0, |entry| entry.lock().charge.bytes())
    }

    /// Ends an attempt that is to begin anew.
    pub(crate) fn pause(&self, id: &str) {
        if let Some(entry) = self.entry(id) {
            entry.lock().stop = None;
        }
    }

    /// Ends an attempt that asked something. `false` when the job has ended meanwhile. If its questions cannot be stored, nobody can answer them, and it
    /// has failed.
    pub(crate) fn ask(
        &self,
        id: &str,
        questions: impl IntoIterator<Item = Question>,
        carried: Carried,
    ) -> bool {
        let Some(entry) = self.entry(id) else {
            return false;
        };
        let mut state = entry.lock();
        state.stop = None;
        match self.change(&mut state, Room::Owed, |record| {
            record.ask(questions, carried, now_ms())
        }) {
            Ok(is_asked) => is_asked && self.publish(state),
            Err(why) => {
                log::error!("what job {id} asks could not be stored: {why:?}");
                let message = "The server could not store what this job asked; start it again";
                let error = ErrorObject::new(ErrorCode::INTERNAL_ERROR, message);
                self.finish(state, failed(&error))
            }
        }
    }

    /// Takes answers by their keys, all of them or none. `None` for a job that is not there. After [`AnswerEffect::All`] it is to be run again.
    pub(crate) fn take_answers(
        &self,
        id: &str,
        take: impl FnMut(&str) -> Option<Box<RawValue>>,
    ) -> Option<Result<AnswerEffect, NotKept>> {
        let entry = self.entry(id)?;
        let mut state = entry.lock();
        let mut answered = AnswerEffect::Nothing;
        let changed = self.change(&mut state, Room::IfThereIs, |record| {
            answered = record.take_answers(take, now_ms());
            answered != AnswerEffect::Nothing
        });
        if matches!(changed, Ok(true)) {
            self.publish(state);
        }
        Some(changed.map(|_| answered))
    }

    /// Ends a job. `false` when it had ended already: then nothing has changed.
    pub(crate) fn end(&self, id: &str, outcome: JobOutcome) -> bool {
        let Some(entry) = self.entry(id) else {
            return false;
        };
        let mut state = entry.lock();
        state.stop = None;
        self.finish(state, outcome)
    }

    /// Cancels: the job has ended so, and what runs of it is told, and keeps its worker until its handler returns. `None` for a job that
    /// is not there; one that has ended stays as it is.
    pub(crate) fn cancel(&self, id: &str) -> Option<()> {
        let entry = self.entry(id)?;
        let mut state = entry.lock();
        let stop = state.stop.take();
        if self.finish(state, JobOutcome::Cancelled)
            && let Some(stop) = stop
        {
            stop();
        }
        Some(())
    }

    /// What stands in the list of a session or a pipe, the newest first.
    pub(crate) fn list<T>(&self, listed_in: &str, show: impl Fn(&JobRecord) -> T) -> Vec<T> {
        let entries: Vec<_> = self.table.lock().by_id.values().map(Arc::clone).collect();
        let mut listed: Vec<_> = entries
            .iter()
            // Before any is locked: who changes another's may wait for the store.
            .filter(|entry| entry.seen.owner.as_deref() == Some(listed_in))
            .map(|entry| {
                let state = entry.lock();
                let record = &state.record;
                let order = (Reverse(record.created_ms), Arc::clone(&record.id));
                (order, show(record))
            })
            .collect();
        listed.sort_by(|(a, _), (b, _)| a.cmp(b));
        listed.into_iter().map(|(_, shown)| shown).collect()
    }

    /// How many jobs there are in each state. Never waits for the store.
    pub(crate) fn counts(&self) -> JobCounts {
        let entries: Vec<_> = self.table.lock().by_id.values().map(Arc::clone).collect();
        let mut counts = JobCounts::default();
        for entry in entries {
            let count = match entry.seen().0 {
                JobStatus::Working => &mut counts.working,
                JobStatus::InputRequired => &mut counts.input_required,
                JobStatus::Completed => &mut counts.completed,
                JobStatus::Failed => &mut counts.failed,
                JobStatus::Cancelled => &mut counts.cancelled,
            };
            *count += 1;
        }
        counts
    }

    /// Counts as a look at it until it is dropped.
    pub(crate) fn watch(self: &Arc<Self>, id: &str) -> Option<Watching> {
        let seen = Arc::clone(&self.entry(id)?.seen);
        let jobs = Arc::clone(self);
        Some(Watching { jobs, seen })
    }

    /// Looks at a job.
    fn entry(&self, id: &str) -> Option<Arc<JobEntry>> {
        let mut table = self.table.lock();
        let entry = Arc::clone(table.by_id.get(id)?);
        table.look(&entry.seen, now_ms());
        Some(entry)
    }

    fn keep_ms(&self) -> u64 {
        millis(self.limits.job_ttl)
    }
}

/// The end of a job whose call would have been answered with this error.
pub(crate) fn failed(error: &ErrorObject) -> JobOutcome {
    let raw: Box<RawValue> = to_raw_value(error).expect("an error is JSON");
    JobOutcome::Error(raw.into(), error.message.clone().into_owned())
}

pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, millis)
}

mod changes;
mod room;
mod sweep;
#[cfg(test)]
mod tests;
