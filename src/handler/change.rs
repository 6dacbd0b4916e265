//! How a handler says that something of the server has changed.
//!
//! Must not know who listens, or how they hear of it. Specification: `server/tools`, `server/prompts`, `server/resources` ("List Changed
//! Notification", "Subscriptions").

use crate::handler::context::RequestContext;
use crate::protocol::change::Change;

impl<S> RequestContext<S> {
    /// Notifies the subscribed clients that the list of tools has changed (`notifications/tools/list_changed`). Never waits.
    /// [`ServerHandle::add_tool`](crate::ServerHandle::add_tool), `remove_tool` and `enable_tool` do this themselves.
    pub fn tools_changed(&self) {
        self.control().changed(Change::Tools);
    }

    /// Notifies the subscribed clients that the list of prompts has changed (`notifications/prompts/list_changed`). Never waits.
    pub fn prompts_changed(&self) {
        self.control().changed(Change::Prompts);
    }

    /// Notifies the subscribed clients that the list of resources or of templates has changed (`notifications/resources/list_changed`). Never waits.
    pub fn resources_changed(&self) {
        self.control().changed(Change::Resources);
    }

    /// Notifies the clients subscribed to this resource that its contents have changed (`notifications/resources/updated`). Never waits. URIs are
    /// compared as they are written.
    pub fn resource_updated(&self, uri: &str) {
        self.control().changed(Change::Resource(uri));
    }
}
