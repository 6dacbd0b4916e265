//! How many of something there are at once: each is a value that counts itself off when it is dropped, also when what it stands for panics.
//!
//! Must not know what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One of those that are counted.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// One more, however many there are.
    pub(crate) fn one(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count))
    }

    /// One more, unless there are so many already; nobody waits for one of them to go.
    pub(crate) fn one_of(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let counted = Counted(Arc::clone(count));
        let others = count.fetch_add(1, Ordering::Relaxed);
        (others < most).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
