//! What becomes of jobs while time passes: what has expired is forgotten, and what could not be stored when it ended is stored.
//!
//! Must not know how a job ends.

use std::sync::Arc;

use super::{Jobs, now_ms};
use crate::base::log;

impl Jobs {
    /// Forgets what has ended long enough ago.
    pub(crate) fn sweep(&self) {
        let now = now_ms();
        let expired: Vec<Arc<str>> = {
            let table = self.table.lock();
            let expired = table.ended.iter().take_while(|(at, _)| *at <= now);
            expired.map(|(_, id)| Arc::clone(id)).collect()
        };
        for id in expired {
            self.forget(&id);
        }
        self.store_late();
    }

    /// Stores the ends that the store did not take when they came, until it refuses one again.
    fn store_late(&self) {
        let unstored = self.table.lock().unstored.clone();
        for id in unstored {
            if let Some(place) = self.place(&id) {
                let mut state = place.lock();
                let body = serde_json::to_vec(&state.record).expect("a record is JSON");
                if self.replace(&mut state, body).is_err() {
                    return;
                }
                state.record.outcome = None;
                log::warn!("the end of a job that was kept in memory is stored now");
            }
            self.table.lock().unstored.remove(&id);
        }
    }
}
