//! A store of somebody's behind a catch: a panic in it is an error of one access.
//!
//! Stores are called by threads that serve clients, by workers and by threads aside, mostly under the lock of a job: a panic there would take the thread
//! from all of them, and the job from everybody. And before one that may wait, a thread that others depend on is relieved. Must not know what is kept.

use crate::base::panics;
use crate::base::waiting::about_to_wait;
use crate::desk::store::memory::MemoryStore;
use crate::desk::store::{JobStore, StoreError, StoredJob};

/// Calls a store that may panic.
pub(crate) struct Guarded {
    store: Box<dyn JobStore>,
    /// It is in memory.
    never_waits: bool,
}

impl Guarded {
    pub(crate) fn new(store: Box<dyn JobStore>) -> Self {
        Guarded {
            store,
            never_waits: false,
        }
    }

    pub(crate) fn in_memory() -> Self {
        Guarded {
            store: Box::new(MemoryStore::new()),
            never_waits: true,
        }
    }

    fn access<T>(
        &self,
        access: impl FnOnce(&dyn JobStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Where there is no other thread, they wait as well.
        let _is_relieved = self.never_waits || about_to_wait();
        panics::catch(|| access(&*self.store)).unwrap_or_else(|panic| {
            let trace = panic.backtrace();
            Err(StoreError::new(format!(
                "the store panicked: {panic}{trace}"
            )))
        })
    }
}

impl JobStore for Guarded {
    fn insert(&self, job: &StoredJob) -> Result<bool, StoreError> {
        self.access(|store| store.insert(job))
    }
    fn replace(&self, job: &StoredJob) -> Result<bool, StoreError> {
        self.access(|store| store.replace(job))
    }
    fn load(&self, id: &str) -> Result<Option<StoredJob>, StoreError> {
        self.access(|store| store.load(id))
    }
    fn remove(&self, id: &str) -> Result<bool, StoreError> {
        self.access(|store| store.remove(id))
    }
    fn for_each(&self, visit: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        self.access(|store| store.for_each(visit))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::base::waiting::relieve_with;

    #[test]
    fn law_06_a_thread_is_relieved_before_it_asks_a_store_that_may_wait() {
        let reliefs = Rc::new(Cell::new(0));
        let counted = Rc::clone(&reliefs);
        relieve_with(Some(Box::new(move || {
            counted.set(counted.get() + 1);
            true
        })));
        let may_wait = Guarded::new(Box::new(MemoryStore::new()));
        for (store, expected) in [(Guarded::in_memory(), 0), (may_wait, 1)] {
            assert!(matches!(store.load("none"), Ok(None)));
            assert_eq!(reliefs.get(), expected);
        }
        relieve_with(None);
    }
}
