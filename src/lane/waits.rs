//! The permits of a lane for handlers that wait for somebody: a client that is asked, the holder of a resource. Those must not take every worker.
//!
//! What can be begun again stands in line for one, without a worker. Must not know what is waited for.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::lock::Lock;

/// So many handlers of a lane may wait at once.
pub(crate) struct Waits {
    lane: Arc<str>,
    most: usize,
    state: Lock<WaitState>,
}

#[derive(Default)]
struct WaitState {
    taken: usize,
    /// Empty while a permit is left.
    line: VecDeque<Begin>,
}

/// Begins with the permit, or without one when the line ends. It waits for nothing.
type Begin = Box<dyn FnOnce(Option<Permit>) + Send>;

/// The right of one handler to wait. Dropped, it goes to the first in line.
pub(crate) struct Permit(Arc<Waits>);

impl Waits {
    pub(super) fn new(lane: &Arc<str>, most: usize) -> Arc<Self> {
        Arc::new(Waits {
            lane: Arc::clone(lane),
            most,
            state: Lock::default(),
        })
    }

    /// Takes a permit. Nobody waits for one here.
    ///
    /// # Errors
    ///
    /// The lane's name and its maximum, when there is none.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Permit, (String, usize)> {
        let mut state = self.state.lock();
        if state.taken == self.most {
            return Err((self.lane.to_string(), self.most));
        }
        state.taken += 1;
        Ok(Permit(Arc::clone(self)))
    }

    /// Begins this with a permit, now or when one is given back and has come to it.
    pub(crate) fn line_up(self: &Arc<Self>, begin: Begin) {
        let mut state = self.state.lock();
        if state.taken == self.most {
            return state.line.push_back(begin);
        }
        state.taken += 1;
        drop(state);
        begin(Some(Permit(Arc::clone(self))));
    }

    /// How many stand in line.
    pub(super) fn lined_up(&self) -> usize {
        self.state.lock().line.len()
    }

    /// Ends the line: what stood in it begins without a permit.
    pub(super) fn end_line(&self) {
        let line = std::mem::take(&mut self.state.lock().line);
        line.into_iter().for_each(|begin| begin(None));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        match state.line.pop_front() {
            Some(next) => {
                drop(state);
                next(Some(Permit(Arc::clone(&self.0))));
            }
            None => state.taken -= 1,
        }
    }
}
