//! How room is made for jobs: what has ended is forgotten, the oldest first, and nothing of it for what would not fit all the same. For a new one a job
//! goes as well that waits for an answer and has been left alone.
//!
//! Must not know for what the room is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::budget::{Charge, OverBudget};
use crate::base::log;
use crate::base::waiting::millis;
use crate::desk::job_table::{JobEntry, JobTable, Whose};
use crate::desk::jobs::{Jobs, NotKept, Room, failed, now_ms};
use crate::desk::record::JobStatus;
use crate::desk::store::JobStore;
use crate::protocol::errors::ErrorObject;

/// What is always kept for those who look at jobs, and such.
const OTHERS_BYTES: usize = 1024 * 1024;

/// Of the jobs that have been left alone the longest, how many are tried: some may turn out to be watched.
const TRIED_MAX: usize = 64;

impl Jobs {
    /// Reserves an entry, for which others make room: a result that has been there for a while, a job that nobody looks at, any result.
    pub(super) fn reserve(&self, owner: &Whose, bytes: usize) -> Result<Charge, NotKept> {
        loop {
            // Before the table is locked, for what may be dropped to make room for it is.
            let charged = self.bytes.charge(bytes);
            let mut table = self.table.lock();
            let own = table.by_owner.get(owner).map_or(0, |own| own.reserved);
            let of = (own >= self.limits.jobs_of_one_max).then_some(owner);
            let has_entry = of.is_none() && table.all.reserved < self.limits.jobs_max;
            let may_forget = match charged {
                Ok(charge) if has_entry => {
                    table.reserve(owner);
                    return Ok(charge);
                }
                // It is not jobs that take the memory of the server: results do not go for that.
                Err(OverBudget::Whole | OverBudget::Process) => return Err(NotKept::Full),
                Err(OverBudget::Own) => self.can_make_room(&table, bytes),
                Ok(_) => true,
            };
            let share = table.share(of).filter(|_| may_forget);
            let oldest = share.and_then(|share| share.ended.first()).cloned();
            drop(table);
            // Else, where jobs that are left alone take nearly everything, no result would outlive the next job.
            let is_old = |ends: u64| {
                let unwatched_min = millis(self.limits.job_unwatched_min);
                ends.saturating_add(unwatched_min) <= now_ms().saturating_add(self.keep_ms())
            };
            match oldest {
                Some((ends, id)) if is_old(ends) => self.forget(&id),
                oldest => match (self.displace(of), oldest) {
                    (Some(displaced), _) if !has_entry => self.forget(&displaced),
                    (Some(_), _) => {}
                    (None, Some((_, id))) => self.forget(&id),
                    (None, None) => return Err(NotKept::Full),
                },
            }
        }
    }

    /// Ends the job that waits for an answer and has been left alone the longest, if that is long enough: one of this owner, or of all.
    fn displace(&self, of: Option<&Whose>) -> Option<Arc<str>> {
        for _ in 0..TRIED_MAX {
            let mut table = self.table.lock();
            let left_alone = table.share(of)?.waiting.first().cloned()?;
            let (since, id) = &left_alone;
            let idle_ms = now_ms().saturating_sub(*since);
            if idle_ms < millis(self.limits.job_unwatched_min) {
                return None;
            }
            let entry = Arc::clone(table.by_id.get(id)?);
            drop(table);
            let state = entry.lock();
            table = self.table.lock();
            let is_still = table.all.waiting.contains(&left_alone);
            // The last of them from now on, if it does not end: somebody watches it, or its end waits for the store.
            table.look(&entry.seen, now_ms());
            let is_left_alone = is_still && !entry.is_watched();
            drop(table);
            let why = "It waited for an answer, nobody looked at it for long, and its room was needed; start it again";
            if is_left_alone && self.finish(state, failed(&ErrorObject::overloaded(why))) {
                let count = self.displaced.lock().again();
                if let Some(count) = count {
                    log::info!(
                        "{count} job(s) made room, the last {id}, at which nobody had looked for {} s",
                        idle_ms / 1000
                    );
                }
                return entry.seen().0.is_final().then(|| Arc::clone(id));
            }
        }
        None
    }

    pub(super) fn forget(&self, id: &str) {
        let entry = self.table.lock().by_id.remove(id);
        if let Some(entry) = entry {
            let (ends, charged) = {
                let mut state = entry.lock();
                let charged = state.charge.bytes();
                // Now, though somebody may still look at it: the thread that makes room would go on to the next.
                state.charge.shrink(usize::MAX);
                let expires = state.record.expires_ms.unwrap_or_default();
                ((expires, Arc::clone(&state.record.id)), charged)
            };
            let mut table = self.table.lock();
            table.remove_ended(&entry.seen.owner, &ends, charged);
            table.unstored.retain(|id| *id != ends.1);
            table.release(&entry.seen.owner);
        }
        if let Err(error) = self.store.remove(id) {
            log::error!("a job that has expired could not be removed from the store: {error}");
        }
    }

    /// Charges so many bytes more; the oldest of what has ended makes room, unless it is not jobs that take the memory of the server.
    pub(super) fn grow(&self, charge: &mut Charge, more: usize, room: Room) -> bool {
        while let Err(short) = charge.grow(more) {
            let oldest = {
                let table = self.table.lock();
                // What is owed is stored all the same, and is the only one over the bound only if nothing else is left.
                let can_help = room == Room::Owed || self.can_make_room(&table, more);
                table.all.ended.first().filter(|_| can_help).cloned()
            };
            let (OverBudget::Own, Some((_, oldest))) = (short, oldest) else {
                return false;
            };
            self.forget(&oldest);
        }
        true
    }

    /// Whether a job waits in vain for memory, of which so much is used but for what stays: when nothing but jobs has any, and all that live wait for each
    /// other's. It does not wait any more then, so that the others get what it kept.
    pub(crate) fn waits_in_vain(&self, id: &str, used: usize) -> bool {
        let table = self.table.lock();
        let Some(own) = table.by_id.get(id) else {
            return true;
        };
        own.seen.is_short.store(true, Ordering::Relaxed);
        if used > self.bytes.used() + OTHERS_BYTES {
            return false;
        }
        let lives = |entry: &&Arc<JobEntry>| entry.seen().0 == JobStatus::Working;
        let mut living = table.by_id.values().filter(lives);
        let are_many = living.clone().nth(1).is_some();
        let in_vain = are_many && living.all(|entry| entry.seen.is_short.load(Ordering::Relaxed));
        own.seen.is_short.store(!in_vain, Ordering::Relaxed);
        in_vain
    }

    /// It waits for no memory now.
    pub(crate) fn has_room(&self, id: &str) {
        if let Some(own) = self.table.lock().by_id.get(id) {
            own.seen.is_short.store(false, Ordering::Relaxed);
        }
    }

    /// Whether so many bytes would fit if all that has ended were forgotten. What lives may take so much that they would not: then no result goes in vain.
    fn can_make_room(&self, table: &JobTable, bytes: usize) -> bool {
        self.bytes.would_fit(bytes, table.ended_bytes)
    }
}
