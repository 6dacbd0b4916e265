//! What changes while a server serves, and who hears of it: the streams of the modern era, and the sessions of the handshake era.
//!
//! Publishing never waits: each client has its own bounded outbox, and one that reads slowly loses its oldest events. Must not know what a
//! change means to a client. Specification: `server/resources` ("List Changed Notification", "Subscriptions") of each revision.

use std::sync::Arc;

use crate::base::error::Error;
use crate::engine::Engine;
use crate::engine::reply::{Asked, over_budget};
use crate::engine::subscriptions::{URI_BYTES, notification};
use crate::handler::registration::{Kind, Registration};
use crate::legacy::Session;
use crate::protocol::change::Change;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::method::Method;

impl Engine {
    /// Tells everybody who wants to know.
    pub(crate) fn publish(&self, change: Change<'_>) {
        if !self.announces(change) {
            return;
        }
        self.subscriptions.publish(change);
        for session in self.sessions.all() {
            let wants = match change {
                Change::Resource(uri) => session.watched.contains(uri),
                Change::Tools | Change::Prompts | Change::Resources => true,
            };
            if wants {
                session.announce(notification(change, None));
            }
        }
    }

    /// Whether the server has said that it tells of such changes.
    pub(super) fn announces(&self, change: Change<'_>) -> bool {
        match change {
            Change::Tools => true,
            Change::Prompts => self.catalogue.has_prompts(),
            Change::Resources | Change::Resource(_) => self.catalogue.has_resources(),
        }
    }

    /// Adds something while serving, at the end of its list.
    pub(crate) fn add(&self, registration: Registration) -> Result<(), Error> {
        let kind = registration.kind;
        self.catalogue.add(registration)?;
        self.publish(change_of(kind));
        Ok(())
    }

    /// Removes something. False when there is none of that kind and name.
    pub(crate) fn remove(&self, kind: Kind, name: &str) -> bool {
        let removed = self.catalogue.offers(kind).remove(name);
        if removed {
            self.publish(change_of(kind));
        }
        removed
    }

    /// Offers something or keeps it back. False when there is none of that kind and name.
    pub(crate) fn enable(&self, kind: Kind, name: &str, enabled: bool) -> bool {
        let changed = self.catalogue.offers(kind).enable(name, enabled);
        if changed == Some(true) {
            self.publish(change_of(kind));
        }
        changed.is_some()
    }

    /// The server's state, if it is of this type.
    pub(crate) fn state<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        Arc::clone(&self.state).downcast().ok()
    }

    /// `resources/subscribe` of the handshake era.
    pub(super) fn subscribe(&self, asked: Asked<'_>, session: &Session) {
        let method = Method::Subscribe;
        match self.watch(&asked, session) {
            Ok(()) => asked.answer(method, b"{}"),
            Err(error) => asked.fail(method.name(), &error),
        }
    }

    fn watch(&self, asked: &Asked<'_>, session: &Session) -> Result<(), ErrorObject> {
        let uri = watched_uri(asked)?;
        self.check_watchable(uri)?;
        if !self.catalogue.covers(uri) {
            return Err(ErrorObject::no_resource(uri));
        }
        let charge = session.memory.charge(uri.len() + URI_BYTES);
        let most = self.limits.session_subscriptions_max;
        match session.watched.add(uri, charge.map_err(over_budget)?, most) {
            true => Ok(()),
            false => Err(ErrorObject::invalid_params(format!(
                "This session watches {most} resources, which is the most; unsubscribe from some"
            ))),
        }
    }

    /// `resources/unsubscribe` of the handshake era. To stop watching what was never watched is no mistake.
    pub(super) fn unsubscribe(&self, asked: Asked<'_>, session: &Session) {
        let method = Method::Unsubscribe;
        match watched_uri(&asked).map(|uri| session.watched.remove(uri)) {
            Ok(()) => asked.answer(method, b"{}"),
            Err(error) => asked.fail(method.name(), &error),
        }
    }

    /// What is watched is kept, so it must not be long.
    pub(super) fn check_watchable(&self, uri: &str) -> Result<(), ErrorObject> {
        let most = self.limits.subscription_uri_bytes_max;
        match uri.len() <= most {
            true => Ok(()),
            false => Err(ErrorObject::invalid_params(format!(
                "A resource that is watched has a URI of at most {most} bytes"
            ))),
        }
    }
}

fn watched_uri<'a>(asked: &'a Asked<'_>) -> Result<&'a str, ErrorObject> {
    let uri = asked.params.uri.as_ref().map(|uri| &*uri.0);
    uri.ok_or_else(|| ErrorObject::invalid_params("`uri` is missing"))
}

/// What changes for clients when something of this kind comes or goes.
fn change_of(kind: Kind) -> Change<'static> {
    match kind {
        Kind::Tool => Change::Tools,
        Kind::Prompt => Change::Prompts,
        Kind::Resource | Kind::Template => Change::Resources,
    }
}
