//! The permits of a lane for handlers that wait for somebody: a client that is asked, the holder of a resource. Those must not take every worker.
//!
//! Must not know what is waited for.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::base::counted::Counted;

/// So many handlers of a lane may wait at once.
#[derive(Debug)]
pub(crate) struct Waits {
    lane: Arc<str>,
    most: usize,
    taken: Arc<AtomicUsize>,
}

impl Waits {
    pub(super) fn new(lane: &Arc<str>, most: usize) -> Arc<Self> {
        Arc::new(Waits {
            lane: Arc::clone(lane),
            most,
            taken: Arc::default(),
        })
    }

    pub(crate) fn lane(&self) -> &str {
        &self.lane
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Takes a permit. `None` when there is none; nobody waits for one.
    pub(crate) fn take(&self) -> Option<Counted> {
        Counted::one_of(&self.taken, self.most)
    }
}
