//! The resources that one handshake-era session watches.
//!
//! Must not know how the session hears of a change. Specification: `server/resources` ("Subscriptions") of revision 2025-11-25.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::base::budget::Charge;

/// A bounded set of URIs, compared as they are written, each with what it costs.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<HashMap<Box<str>, Charge>>);

impl Watched {
    /// Watches a resource. False when it would be one more than `most`.
    pub(crate) fn add(&self, uri: &str, charge: Charge, most: usize) -> bool {
        let mut uris = self.lock();
        let has_room = uris.len() < most || uris.contains_key(uri);
        if has_room {
            uris.entry(uri.into()).or_insert(charge);
        }
        has_room
    }

    /// Watches it no more.
    pub(crate) fn remove(&self, uri: &str) {
        self.lock().remove(uri);
    }

    /// Watches nothing any more.
    pub(crate) fn clear(&self) {
        *self.lock() = HashMap::new();
    }

    pub(crate) fn contains(&self, uri: &str) -> bool {
        self.lock().contains_key(uri)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Charge>> {
        self.0
            .lock()
            .expect("no code panics while it holds a session's URIs")
    }
}
