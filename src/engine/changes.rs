//! What changes while a server serves: things come, go, and are kept back.
//!
//! Must not know who hears of it. Specification: `server/tools` ("List Changed Notification") of each revision.

use std::sync::Arc;

use crate::base::error::Error;
use crate::engine::lifecycle::Engine;
use crate::handler::registration::{OfferKind, Registration};
use crate::protocol::change::Change;

impl Engine {
    /// Adds something while serving, at the end of its list.
    pub(crate) fn add(&self, registration: Registration) -> Result<(), Error> {
        let kind = registration.kind;
        self.shared.catalogue.add(registration)?;
        self.announce(kind);
        Ok(())
    }

    /// Offers one in the place of that of its name, if there is one.
    pub(crate) fn replace(&self, registration: Registration) -> Result<(), Error> {
        let kind = registration.kind;
        self.shared.catalogue.replace(registration)?;
        self.announce(kind);
        Ok(())
    }

    fn announce(&self, kind: OfferKind) {
        self.shared.liveness.look_soon();
        self.publish(change_of(kind));
    }

    /// Removes something. False when there is none of that kind and name.
    pub(crate) fn remove(&self, kind: OfferKind, name: &str) -> bool {
        let removed = self.shared.catalogue.offers(kind).remove(name);
        if removed {
            self.publish(change_of(kind));
        }
        removed
    }

    /// Offers something or keeps it back. False when there is none of that kind and name.
    pub(crate) fn enable(&self, kind: OfferKind, name: &str, enabled: bool) -> bool {
        let changed = self.shared.catalogue.offers(kind).enable(name, enabled);
        if changed == Some(true) {
            self.publish(change_of(kind));
        }
        changed.is_some()
    }

    /// The server's state, if it is of this type.
    pub(crate) fn state<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        Arc::clone(&self.shared.state).downcast().ok()
    }
}

/// What changes for clients when something of this kind comes or goes.
fn change_of(kind: OfferKind) -> Change<'static> {
    match kind {
        OfferKind::Tool => Change::Tools,
        OfferKind::Prompt => Change::Prompts,
        OfferKind::Resource | OfferKind::Template => Change::Resources,
    }
}
