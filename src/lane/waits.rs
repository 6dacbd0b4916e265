//! The places of a lane for handlers that wait for somebody: a client that is asked, the holder of a resource. Those must not take every worker.
//!
//! Must not know what is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many handlers of a lane may wait at once.
#[derive(Debug)]
pub(crate) struct Waits {
    lane: Arc<str>,
    most: usize,
    taken: AtomicUsize,
}

/// One of the places. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Waits>);

impl Waits {
    pub(super) fn new(lane: &Arc<str>, most: usize) -> Arc<Self> {
        Arc::new(Waits {
            lane: Arc::clone(lane),
            most,
            taken: AtomicUsize::new(0),
        })
    }

    pub(crate) fn lane(&self) -> &str {
        &self.lane
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Takes a place. `None` when there is none; nobody waits for one.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Waiting> {
        let place = Waiting(Arc::clone(self));
        let others = self.taken.fetch_add(1, Ordering::Relaxed);
        (others < self.most).then_some(place)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
