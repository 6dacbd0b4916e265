//! How room is made for jobs: what has ended is forgotten, the oldest first, and nothing of it for what would not fit all the same.
//!
//! Must not know for what the room is.

use std::sync::Arc;

use crate::base::budget::{Charge, OverBudget};
use crate::base::log;
use crate::desk::job_table::JobTable;
use crate::desk::jobs::{Jobs, NotKept, Room};
use crate::desk::store::JobStore;

impl Jobs {
    /// Reserves an entry, for which the oldest of what has ended makes room.
    pub(super) fn reserve(&self, owner: Option<Arc<str>>, bytes: usize) -> Result<Charge, NotKept> {
        loop {
            // Before the table is locked, for what may be dropped to make room for it is.
            let charged = self.bytes.charge(bytes);
            let mut table = self.table.lock();
            let own = table.by_owner.get(&owner).copied().unwrap_or_default();
            let oldest = match own >= self.limits.jobs_of_one_max {
                true => table.oldest_of(&owner),
                false => table.ended.first().cloned(),
            };
            let has_room =
                own < self.limits.jobs_of_one_max && table.reserved < self.limits.jobs_max;
            match charged {
                Ok(charge) if has_room => {
                    table.reserve(owner);
                    return Ok(charge);
                }
                // It is not jobs that take the memory of the server: results do not go for that.
                Err(OverBudget::Whole | OverBudget::Process) => return Err(NotKept::Full),
                Err(OverBudget::Own) if !self.can_make_room(&table, bytes) => {
                    return Err(NotKept::Full);
                }
                Ok(_) | Err(OverBudget::Own) => {}
            }
            drop(table);
            let Some((_, oldest)) = oldest else {
                return Err(NotKept::Full);
            };
            self.forget(&oldest);
        }
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
            table.remove_ended(&ends, charged);
            table.unstored.retain(|id| *id != ends.1);
            table.release(&entry.owner);
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
                table.ended.first().filter(|_| can_help).cloned()
            };
            let (OverBudget::Own, Some((_, oldest))) = (short, oldest) else {
                return false;
            };
            self.forget(&oldest);
        }
        true
    }

    /// Whether so many bytes would fit if all that has ended were forgotten. What lives may take so much that they would not: then no result goes in vain.
    fn can_make_room(&self, table: &JobTable, bytes: usize) -> bool {
        self.bytes.would_fit(bytes, table.ended_bytes)
    }
}
