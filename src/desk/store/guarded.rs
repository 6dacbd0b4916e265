//! A store of somebody's behind a catch: a panic in it is an error of one access.
//!
//! Stores are called by threads that serve clients, by workers and by threads aside, mostly under the lock of a job: a panic there would take the thread
//! from all of them, and the job from everybody. Must not know what is kept.

use crate::base::panics;
use crate::desk::store::{JobStore, StoreError, StoredJob};

/// Calls a store that may panic.
pub(crate) struct Guarded(Box<dyn JobStore>);

impl Guarded {
    pub(crate) fn new(store: Box<dyn JobStore>) -> Self {
        Guarded(store)
    }
}

impl JobStore for Guarded {
    fn insert(&self, job: &StoredJob) -> Result<bool, StoreError> {
        caught(|| self.0.insert(job))
    }
    fn replace(&self, job: &StoredJob) -> Result<bool, StoreError> {
        caught(|| self.0.replace(job))
    }
    fn load(&self, id: &str) -> Result<Option<StoredJob>, StoreError> {
        caught(|| self.0.load(id))
    }
    fn remove(&self, id: &str) -> Result<bool, StoreError> {
        caught(|| self.0.remove(id))
    }
    fn for_each(&self, visit: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        caught(|| self.0.for_each(visit))
    }
}

fn caught<T>(access: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    panics::catch(access).unwrap_or_else(|panic| {
        let trace = panic.backtrace();
        Err(StoreError::new(format!(
            "the store panicked: {panic}{trace}"
        )))
    })
}
