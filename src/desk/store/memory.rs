//! The store in memory: as fast as a map, and gone with the process.

use std::collections::HashMap;

use crate::base::lock::Lock;
use crate::desk::store::{JobStore, StoreError, StoredJob};

/// Keeps background jobs in memory. The default.
#[derive(Debug, Default)]
pub struct MemoryStore {
    jobs: Lock<HashMap<String, StoredJob>>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        MemoryStore::default()
    }
}

impl JobStore for MemoryStore {
    fn insert(&self, job: &StoredJob) -> Result<bool, StoreError> {
        let mut jobs = self.jobs.lock();
        let is_new = !jobs.contains_key(&job.id);
        if is_new {
            jobs.insert(job.id.clone(), job.clone());
        }
        Ok(is_new)
    }

    fn replace(&self, job: &StoredJob) -> Result<bool, StoreError> {
        Ok(match self.jobs.lock().get_mut(&job.id) {
            Some(kept) if kept.revision + 1 == job.revision => {
                kept.clone_from(job);
                true
            }
            _ => false,
        })
    }

    fn load(&self, id: &str) -> Result<Option<StoredJob>, StoreError> {
        Ok(self.jobs.lock().get(id).cloned())
    }

    fn remove(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.jobs.lock().remove(id).is_some())
    }

    fn for_each(&self, visit: &mut dyn FnMut(StoredJob)) -> Result<(), StoreError> {
        let jobs: Vec<StoredJob> = self.jobs.lock().values().cloned().collect();
        jobs.into_iter().for_each(visit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::store::contract::check_job_store;

    #[test]
    fn it_keeps_the_contract() {
        check_job_store(MemoryStore::new);
    }
}
