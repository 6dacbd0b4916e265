//! The resources that one handshake-era session watches.
//!
//! Must not know how the session hears of a change. Specification: `server/resources` ("Subscriptions") of revision 2025-11-25.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

/// A bounded set of URIs, compared as they are written.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<HashSet<Box<str>>>);

impl Watched {
    /// Watches a resource. False when it would be one more than `most`.
    pub(crate) fn add(&self, uri: &str, most: usize) -> bool {
        let mut uris = self.lock();
        if uris.contains(uri) {
            return true;
        }
        let has_room = uris.len() < most;
        if has_room {
            uris.insert(uri.into());
        }
        has_room
    }

    /// Watches it no more.
    pub(crate) fn remove(&self, uri: &str) {
        self.lock().remove(uri);
    }

    pub(crate) fn contains(&self, uri: &str) -> bool {
        self.lock().contains(uri)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.0
            .lock()
            .expect("no code panics while it holds a session's URIs")
    }
}
