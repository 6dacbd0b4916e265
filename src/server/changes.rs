//! What can be changed while a server runs, and how clients are told.
//!
//! Everything here may be called from any thread and never waits for a client. Must not know who listens.

use std::sync::Arc;

use crate::error::Result;
use crate::handler::{Register, Tool};
use crate::protocol::change::Change;
use crate::server::running::{RunningServer, ServerHandle};

impl ServerHandle {
    /// Adds a tool at the end of the list, and tells the clients that want to know. Its handler captures what it needs; it has no part of the
    /// server's state. One that captures a handle to its own server keeps that server in memory until the tool is removed.
    ///
    /// ```
    /// # use mcp_threads::{Server, Tool};
    /// # let (read, write) = std::io::pipe()?;
    /// let running = Server::new("growing", "1.0.0").serve_pipe(read, std::io::sink())?;
    /// let handle = running.handle();
    /// let loud = Tool::new("shout").handler(|text: serde_json::Value| text.to_string().to_uppercase());
    /// handle.add_tool(loud)?;
    /// assert!(handle.enable_tool("shout", false)); // not listed, not called, not forgotten
    /// assert!(handle.remove_tool("shout"));
    /// # drop(write);
    /// # running.join();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What is an error at the start is one here: an invalid definition, a name that is taken (by a disabled tool, too), a lane that does not exist.
    pub fn add_tool(&self, tool: Tool) -> Result<()> {
        self.engine.add_tool(tool.registration(&Arc::new(())))
    }

    /// Removes a tool, and tells the clients that want to know. Calls of it that have been accepted go on. Says whether there was one of that
    /// name.
    pub fn remove_tool(&self, name: &str) -> bool {
        self.engine.remove_tool(name)
    }

    /// Keeps a tool back or offers it again, and tells the clients that want to know if that is news. One that is kept back is not listed and to call
    /// it is to call an unknown tool; offered again it stands where it stood. Says whether there is a tool of that name.
    pub fn enable_tool(&self, name: &str, enabled: bool) -> bool {
        self.engine.enable_tool(name, enabled)
    }

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
