//! What can be changed while a server runs, and how clients are told.
//!
//! Everything here may be called from any thread and never waits for a client. Must not know who listens.

use crate::handler::change::Change;
use crate::server::running::{RunningServer, ServerHandle};

impl ServerHandle {
    /// Tells the clients that want to know that the list of tools has changed. Never waits.
    pub fn tools_changed(&self) {
        self.engine.publish(Change::Tools);
    }

    /// Tells the clients that want to know that the list of prompts has changed. Never waits.
    pub fn prompts_changed(&self) {
        self.engine.publish(Change::Prompts);
    }

    /// Tells the clients that want to know that the list of resources or of templates has changed. Never waits.
    pub fn resources_changed(&self) {
        self.engine.publish(Change::Resources);
    }

    /// Tells the clients that watch this resource that it holds something else now. Never waits. The URI is compared as it is written.
    ///
    /// A client that reads slowly may miss some; the newest are kept.
    pub fn resource_updated(&self, uri: &str) {
        self.engine.publish(Change::Resource(uri));
    }
}

impl RunningServer {
    /// See [`ServerHandle::tools_changed`].
    pub fn tools_changed(&self) {
        self.engine.publish(Change::Tools);
    }

    /// See [`ServerHandle::prompts_changed`].
    pub fn prompts_changed(&self) {
        self.engine.publish(Change::Prompts);
    }

    /// See [`ServerHandle::resources_changed`].
    pub fn resources_changed(&self) {
        self.engine.publish(Change::Resources);
    }

    /// See [`ServerHandle::resource_updated`].
    pub fn resource_updated(&self, uri: &str) {
        self.engine.publish(Change::Resource(uri));
    }
}
