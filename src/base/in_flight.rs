//! What is under way for one client, by the ids the client gave it: a registry of what can be cancelled.
//!
//! On a pipe an id that is in use is taken. In a session over HTTP, where each answer comes on the request's own connection, clients exist that give
//! several requests the same one: all are served, and a cancellation that could mean either cancels none. Must not know what is under way, or what an id is.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::mem;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::awake;
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
    /// Over when the pipe or session has ended; what is opened then was on its way before, and nobody could cancel it later. Ended under the lock.
    life: Life,
}

struct Registry<Id> {
    /// Never none of an id.
    open: HashMap<Id, Twins, BuildHasherDefault<Folded>>,
    /// Whether several may have the same id.
    takes_twins: bool,
    /// When the last entry ended. Of a pipe nobody asks.
    last_ended: Option<Instant>,
    /// Whether one thread adds all entries, and goes on adding.
    keeps_ended: bool,
    /// Entries that have ended, for the thread that adds to drop: memory is freed without waiting for the lock of its arena where it was allocated.
    ended: VecDeque<Arc<dyn Cancel>>,
}

/// *Folded multiply*, a fraction of what the hash of `std` takes. For keys that no client can make collide for others: its own ids, of which there are only as
/// many as it has calls in flight, and the names that a server has registered.
#[derive(Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(word ^ self.0) * u128::from(GOLDEN);
        self.0 = (product ^ (product >> 64)) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// So many ended entries wait at most for the thread that adds; the others are dropped where they end.
const ENDED_MAX: usize = 64;

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

    /// Takes this one out.
    fn remove<T>(&mut self, entry: &T) -> Option<Arc<dyn Cancel>> {
        let is_it = |twin: &Arc<dyn Cancel>| ptr::addr_eq(Arc::as_ptr(twin), entry);
        let among = self.others.iter().position(is_it);
        let removed = self.one.take_if(|twin| is_it(twin));
        removed.or_else(|| among.map(|at| self.others.swap_remove(at)))
    }
}

/// Another entry of the same client has this id and has not ended.
pub(crate) struct DuplicateId;

const OVER: &str = "the client has gone";

impl<Id> Default for InFlight<Id> {
    fn default() -> Self {
        InFlight {
            registry: Lock::new(Registry {
                open: HashMap::default(),
                takes_twins: false,
                last_ended: None,
                keeps_ended: false,
                ended: VecDeque::new(),
            }),
            life: Life::default(),
        }
    }
}

impl<Id> Registry<Id> {
    /// Keeps an entry that has ended for the thread that adds; what comes back is dropped here.
    fn keep_ended(&mut self, entry: Option<Arc<dyn Cancel>>) -> Option<Arc<dyn Cancel>> {
        if !self.keeps_ended || self.ended.len() == ENDED_MAX {
            return entry;
        }
        self.ended.extend(entry);
        None
    }

    /// An entry that has ended, and that nobody else holds any more.
    fn take_ended(&mut self) -> Option<Arc<dyn Cancel>> {
        let first = self.ended.pop_front()?;
        if Arc::strong_count(&first) == 1 {
            return Some(first);
        }
        // One that was cancelled may be held for long.
        self.ended.push_back(first);
        None
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
        let (takes_twins, is_over) = (registry.takes_twins, self.life.is_over());
        match registry.open.entry(id) {
            Entry::Occupied(_) if !takes_twins => return Err(DuplicateId),
            twins => twins.or_default().push(Arc::clone(&entry)),
        }
        // Two, so that it is never long.
        let ended = [registry.take_ended(), registry.take_ended()];
        drop(registry);
        drop(ended);
        if is_over {
            entry.cancel(OVER);
        }
        Ok(())
    }

    /// Takes out an entry that has ended just now.
    pub(crate) fn remove<T>(&self, id: &Id, entry: &T) {
        let mut registry = self.registry.lock();
        if !registry.keeps_ended {
            registry.last_ended = Some(awake::now());
        }
        let Some((id, mut twins)) = registry.open.remove_entry(id) else {
            return;
        };
        let removed = twins.remove(entry);
        if twins.iter().next().is_some() {
            registry.open.insert(id, twins);
        }
        let left = registry.keep_ended(removed);
        drop(registry);
        drop(left);
    }

    /// Lets the thread that adds drop what has ended, or nobody any more, because nothing will be added.
    pub(crate) fn keep_ended(&self, keeps: bool) {
        let mut registry = self.registry.lock();
        registry.keeps_ended = keeps;
        let ended = mem::take(&mut registry.ended);
        drop(registry);
        drop(ended);
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
        let registry = self.registry.lock();
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry;

    impl Cancel for Entry {
        fn cancel(&self, _: &str) {}
    }

    /// Adds an entry, and ends it while somebody holds it.
    fn ended(calls: &InFlight<usize>, id: usize) -> Arc<Entry> {
        let entry = Arc::new(Entry);
        let added: Arc<dyn Cancel> = Arc::<Entry>::clone(&entry);
        assert!(calls.add(id, added).is_ok());
        calls.remove(&id, &*entry);
        entry
    }

    #[test]
    fn what_has_ended_is_dropped_by_who_adds_and_is_bounded() {
        let calls = InFlight::default();
        assert_eq!(Arc::strong_count(&ended(&calls, 0)), 1, "nobody adds more");
        calls.keep_ended(true);
        let held = ended(&calls, 0);
        assert_eq!(Arc::strong_count(&held), 2);
        let next = Arc::downgrade(&ended(&calls, 1));
        assert_eq!(next.strong_count(), 1);
        // The first is still held, and stands in nobody's way.
        let third = ended(&calls, 2);
        assert_eq!(next.strong_count(), 0);
        assert_eq!(Arc::strong_count(&held), 2);
        let all: Vec<_> = (0..2 * ENDED_MAX).map(|id| ended(&calls, id)).collect();
        let kept = |entry: &&Arc<Entry>| Arc::strong_count(entry) == 2;
        assert_eq!(all.iter().filter(kept).count(), ENDED_MAX - 2);
        calls.keep_ended(false);
        assert_eq!(all.iter().chain([&held, &third]).filter(kept).count(), 0);
    }
}
