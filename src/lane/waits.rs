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

    /// Takes a permit. Nobody waits for one.
    ///
    /// # Errors
    ///
    /// The lane's name and its maximum, when there is none.
    pub(crate) fn take(&self) -> Result<Counted, (String, usize)> {
        let permit = Counted::one_of(&self.taken, self.most);
        permit.ok_or_else(|| (self.lane.to_string(), self.most))
    }
}
