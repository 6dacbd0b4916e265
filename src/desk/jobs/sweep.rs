//! What becomes of jobs while time passes: what has expired is forgotten, and what could not be stored when it ended is stored.
//!
//! Must not know how a job ends.

use std::sync::Arc;

use super::{Jobs, now_ms};
use crate::base::log;

impl Jobs {
    /// Whether there is something to sweep. Waits for no store.
    pub(crate) fn has_to_be_swept(&self) -> bool {
        let table = self.table.lock();
        let expires = table
            .all
            .ended
            .first()
            .is_some_and(|(at, _)| *at <= now_ms());
        expires || !table.unstored.is_empty()
    }

    /// Forgets what has ended long enough ago. Waits for the store.
    pub(crate) fn sweep(&self) {
        let now = now_ms();
        let expired: Vec<Arc<str>> = {
            let table = self.table.lock();
            let expired = table.all.ended.iter().take_while(|(at, _)| *at <= now);
            expired.map(|(_, id)| Arc::clone(id)).collect()
        };
        for id in expired {
            self.forget(&id);
        }
        self.store_late();
    }

    /// Stores the ends that the store did not take when they came, until it refuses one again. They are told then, and kept as long as any. What is refused is
    /// tried after all others the next time: a long one for which there is no room keeps no short one back, and a sweep costs one failed write.
    fn store_late(&self) {
        let unstored = self.table.lock().unstored.clone();
        for id in unstored {
            let Some(entry) = self.entry(&id) else {
                continue;
            };
            let mut state = entry.lock();
            let Some(mut ended) = state.ending.clone() else {
                continue;
            };
            ended.expire_after(now_ms(), self.keep_ms());
            let body = serde_json::to_vec(&ended).expect("a record is JSON");
            let len = ended.status.kept_bytes(body.len());
            match self.replace(&mut state, &ended, body) {
                Ok(is_ours) => {
                    // It was charged as what lives until now.
                    let charged = state.charge.bytes();
                    state.charge.shrink(charged.saturating_sub(len));
                    match is_ours {
                        true => {
                            log::warn!("the end of a job that waited in memory is stored now");
                            self.show_end(state, ended);
                        }
                        false => self.lose(state),
                    }
                }
                Err(_) => {
                    let mut table = self.table.lock();
                    let refused = table.unstored.pop_front();
                    table.unstored.extend(refused);
                    return;
                }
            }
        }
    }
}
