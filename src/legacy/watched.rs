//! The resources that one handshake-era session watches.
//!
//! Must not know how the session hears of a change. Specification: `server/resources` ("Subscriptions") of revision 2025-11-25.

use std::collections::HashMap;

use crate::base::budget::Charge;
use crate::base::lock::Lock;

/// A bounded set of URIs, compared as they are written, each with what it costs.
#[derive(Debug, Default)]
pub(crate) struct Watched(Lock<HashMap<Box<str>, Charge>>);

impl Watched {
    /// Watches a resource. False when it would be one more than `most`.
    pub(crate) fn add(&self, uri: &str, charge: Charge, most: usize) -> bool {
        let mut uris = self.0.lock();
        let has_room = uris.len() < most || uris.contains_key(uri);
        if has_room {
            uris.entry(uri.into()).or_insert(charge);
        }
        has_room
    }

    /// Watches it no more.
    pub(crate) fn remove(&self, uri: &str) {
        self.0.lock().remove(uri);
    }

    /// Watches nothing any more.
    pub(crate) fn clear(&self) {
        *self.0.lock() = HashMap::new();
    }

    pub(crate) fn contains(&self, uri: &str) -> bool {
        self.0.lock().contains_key(uri)
    }
}
