//! What is under way for one client, by the ids the client gave it: a registry of what can be cancelled.
//!
//! On a pipe an id that is in use is taken. In a session over HTTP, where each answer comes on the request's own connection, clients exist that give
//! several requests the same one: all are served, and a cancellation that could mean either cancels none. Must not know what is under way, or what an id is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::life::{Life, Span};
use crate::base::lock::Lock;

/// What a client may cancel by its id.
pub(crate) trait Cancel: Send + Sync {
    /// Ends it, if it has not ended, for this reason of the client's.
    fn cancel(&self, reason: &str);
}

/// The registry of one pipe or one session.
pub(crate) struct InFlight<Id> {
    registry: Lock<Registry<Id>>,
    /// Over when the pipe or session has ended.
    life: Life,
}

struct Registry<Id> {
    /// Never none of an id.
    open: HashMap<Id, Twins>,
    /// Whether several may have the same id.
    takes_twins: bool,
    /// The pipe or session has ended; what is opened now was on its way before, and nobody could cancel it later.
    is_over: bool,
    /// When the last entry ended.
    last_ended: Option<Instant>,
}

/// What has the same id: nearly always one, which costs no list.
#[derive(Default)]
struct Twins {
    one: Option<Arc<dyn Cancel>>,
    others: Vec<Arc<dyn Cancel>>,
}

impl Twins {
    fn push(&mut self, entry: Arc<dyn Cancel>) {
        match self.one {
            None => self.one = Some(entry),
            Some(_) => self.others.push(entry),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<dyn Cancel>> {
        self.one.iter().chain(&self.others)
    }

    /// Takes this one out. Whether others are left.
    fn remove<T>(&mut self, entry: &T) -> bool {
        let is_it = |twin: &Arc<dyn Cancel>| ptr::addr_eq(Arc::as_ptr(twin), entry);
        self.one.take_if(|twin| is_it(twin));
        self.others.retain(|twin| !is_it(twin));
        self.iter().next().is_some()
    }
}

/// Another entry of the same client has this id and has not ended.
#[derive(Debug)]
pub(crate) struct DuplicateId;

const OVER: &str = "the client has gone";

impl<Id> Default for InFlight<Id> {
    fn default() -> Self {
        InFlight {
            registry: Lock::new(Registry {
                open: HashMap::new(),
                takes_twins: false,
                is_over: false,
                last_ended: None,
            }),
            life: Life::default(),
        }
    }
}

impl<Id: Hash + Eq> InFlight<Id> {
    /// A registry in which several entries may have the same id.
    pub(crate) fn with_twins() -> Self {
        let in_flight = Self::default();
        in_flight.registry.lock().takes_twins = true;
        in_flight
    }

    /// Adds an entry. If the pipe or session has ended meanwhile, it is cancelled at once.
    pub(crate) fn add(&self, id: Id, entry: Arc<dyn Cancel>) -> Result<(), DuplicateId> {
        let mut registry = self.registry.lock();
        let (takes_twins, is_over) = (registry.takes_twins, registry.is_over);
        match registry.open.entry(id) {
            Entry::Occupied(_) if !takes_twins => return Err(DuplicateId),
            twins => twins.or_default().push(Arc::clone(&entry)),
        }
        drop(registry);
        if is_over {
            entry.cancel(OVER);
        }
        Ok(())
    }

    /// Takes out an entry that has ended just now.
    pub(crate) fn remove<T>(&self, id: &Id, entry: &T, now: Instant) {
        let mut registry = self.registry.lock();
        registry.last_ended = Some(now);
        let Some((id, mut twins)) = registry.open.remove_entry(id) else {
            return;
        };
        if twins.remove(entry) {
            registry.open.insert(id, twins);
        }
    }

    /// Cancels the entry with this id, if it is still open and the only one.
    pub(crate) fn cancel(&self, id: &Id, reason: &str) {
        let entry = self.registry.lock().open.get(id).and_then(|twins| {
            let mut all = twins.iter();
            all.next().filter(|_| all.next().is_none()).map(Arc::clone)
        });
        if let Some(entry) = entry {
            entry.cancel(reason);
        }
    }

    /// Cancels everything, now and later, because the pipe or session has ended.
    pub(crate) fn cancel_all(&self) {
        let mut registry = self.registry.lock();
        registry.is_over = true;
        self.life.end();
        let entries = registry.open.values().flat_map(Twins::iter);
        let entries: Vec<_> = entries.map(Arc::clone).collect();
        drop(registry);
        for entry in entries {
            entry.cancel(OVER);
        }
    }

    /// How long the pipe or session lives.
    pub(crate) fn span(&self) -> Span {
        self.life.span()
    }

    /// How long before `now` the last entry ended: zero while one is open, `None` when there has been none.
    pub(crate) fn idle_for(&self, now: Instant) -> Option<Duration> {
        let registry = self.registry.lock();
        match registry.open.is_empty() {
            true => registry
                .last_ended
                .map(|ended| now.saturating_duration_since(ended)),
            false => Some(Duration::ZERO),
        }
    }
}
