//! How a handler says that something of the server has changed.
//!
//! Must not know who listens, or how they hear of it. Specification: `server/tools`, `server/prompts`, `server/resources` ("List Changed
//! Notification", "Subscriptions").

use crate::handler::context::RequestContext;
use crate::protocol::change::Change;

impl<S> RequestContext<S> {
    /// Tells the clients that want to know that the list of tools has changed. Never waits. Adding, removing and enabling a tool says so by
    /// itself.
    pub fn tools_changed(&self) {
        self.control().changed(Change::Tools);
    }

    /// Tells the clients that want to know that the list of prompts has changed. Never waits.
    pub fn prompts_changed(&self) {
        self.control().changed(Change::Prompts);
    }

    /// Tells the clients that want to know that the list of resources or of templates has changed. Never waits.
    pub fn resources_changed(&self) {
        self.control().changed(Change::Resources);
    }

    /// Tells the clients that watch this resource that it holds something else now. Never waits. The URI is compared as it is written.
    pub fn resource_updated(&self, uri: &str) {
        self.control().changed(Change::Resource(uri));
    }
}
