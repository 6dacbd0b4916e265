//! What is under way for one client, by the ids the client gave it: a registry of what can be cancelled.
//!
//! Must not know what is under way, or what an id is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What a client may cancel by its id.
pub(crate) trait Cancel: Send + Sync {
    /// Ends it, if it has not ended, for this reason of the client's.
    fn cancel(&self, reason: &str);
}

/// The registry of one pipe or one session.
pub(crate) struct InFlight<Id> {
    registry: Mutex<Registry<Id>>,
}

struct Registry<Id> {
    open: HashMap<Id, Arc<dyn Cancel>>,
    /// The pipe or session has ended; what is opened now was on its way before, and nobody could cancel it later.
    is_over: bool,
    /// When the last entry ended.
    last_ended: Option<Instant>,
}

/// Another entry of the same client has this id and has not ended.
#[derive(Debug)]
pub(crate) struct Taken;

const OVER: &str = "the client has gone";

impl<Id> Default for InFlight<Id> {
    fn default() -> Self {
        InFlight {
            registry: Mutex::new(Registry {
                open: HashMap::new(),
                is_over: false,
                last_ended: None,
            }),
        }
    }
}

impl<Id: Hash + Eq> InFlight<Id> {
    /// Adds an entry. If the pipe or session has ended meanwhile, it is cancelled at once.
    pub(crate) fn add(&self, id: Id, entry: Arc<dyn Cancel>) -> Result<(), Taken> {
        let mut registry = self.lock();
        match registry.open.entry(id) {
            Entry::Occupied(_) => return Err(Taken),
            Entry::Vacant(vacant) => vacant.insert(Arc::clone(&entry)),
        };
        let is_over = registry.is_over;
        drop(registry);
        if is_over {
            entry.cancel(OVER);
        }
        Ok(())
    }

    /// Frees the id of an entry that has ended.
    pub(crate) fn remove(&self, id: &Id) {
        let mut registry = self.lock();
        registry.open.remove(id);
        registry.last_ended = Some(Instant::now());
    }

    /// Cancels the entry with this id, if it is still open.
    pub(crate) fn cancel(&self, id: &Id, reason: &str) {
        let entry = self.lock().open.get(id).map(Arc::clone);
        if let Some(entry) = entry {
            entry.cancel(reason);
        }
    }

    /// Cancels everything, now and later, because the pipe or session has ended.
    pub(crate) fn cancel_all(&self) {
        let mut registry = self.lock();
        registry.is_over = true;
        let entries: Vec<_> = registry.open.values().map(Arc::clone).collect();
        drop(registry);
        for entry in entries {
            entry.cancel(OVER);
        }
    }

    /// How long ago the last entry ended: zero while one is open, `None` when there has been none.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        let registry = self.lock();
        match registry.open.is_empty() {
            true => registry.last_ended.map(|ended| ended.elapsed()),
            false => Some(Duration::ZERO),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry<Id>> {
        self.registry
            .lock()
            .expect("no code panics while it holds the registry")
    }
}
