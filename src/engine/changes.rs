//! What changes while a server serves, and who hears of it: the streams of the modern era, and the sessions of the handshake era.
//!
//! Publishing never waits: each client has its own bounded outbox, and one that reads slowly loses its oldest events. Must not know what a
//! change means to a client. Specification: `server/resources` ("List Changed Notification", "Subscriptions") of each revision.

use crate::base::error::Error;
use crate::engine::Engine;
use crate::engine::catalogue::tool;
use crate::engine::reply::{Asked, over_budget};
use crate::engine::subscriptions::{URI_BYTES, notification};
use crate::engine::target::Rules;
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

    /// Adds a tool while serving, at the end of the list.
    pub(crate) fn add_tool(&self, registration: Registration) -> Result<(), Error> {
        let Registration(Kind::Tool { definition, draft }) = registration else {
            return Err(Error::configuration(
                "only tools can be added to a running server",
            ));
        };
        self.with_rules(|rules| {
            let tool = tool(definition, draft, rules)?;
            self.catalogue.tools().add(tool, rules)
        })
        .map_err(Error::configuration)?;
        self.publish(Change::Tools);
        Ok(())
    }

    /// Removes a tool. False when there is none of that name.
    pub(crate) fn remove_tool(&self, name: &str) -> bool {
        let removed = self.with_rules(|rules| self.catalogue.tools().remove(name, rules));
        if removed {
            self.publish(Change::Tools);
        }
        removed
    }

    /// Offers a tool or keeps it back. False when there is none of that name.
    pub(crate) fn enable_tool(&self, name: &str, enabled: bool) -> bool {
        let changed = self.with_rules(|rules| self.catalogue.tools().enable(name, enabled, rules));
        if changed == Some(true) {
            self.publish(Change::Tools);
        }
        changed.is_some()
    }

    /// The rules that a tool is held to at the start hold later, too.
    fn with_rules<T>(&self, act: impl FnOnce(&Rules<'_>) -> T) -> T {
        act(&Rules {
            lane: &|name| self.lanes.iter().position(|lane| **lane.name() == *name),
            page_len: self.limits.page_len,
            list_cache: self.list_cache,
            server_info: &self.identity.server_info,
        })
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
