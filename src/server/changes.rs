//! What can be changed while a server runs, and how clients are told.
//!
//! Everything here may be called from any thread and never waits for a client. Must not know who listens.

use std::sync::Arc;

use crate::base::error::Result;
use crate::handler::{Register, Tool};
use crate::protocol::change::Change;
use crate::server::running::ServerHandle;

impl ServerHandle {
    /// Adds a tool at the end of the list and notifies the subscribed clients. Its handler has no access to the server's state: the type is
    /// `Tool<()>`, so let the closure capture what it needs, such as a clone of an `Arc`. A handler that captures a handle to its own server keeps
    /// that server in memory until the tool is removed.
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
    /// The same as when the server starts: an invalid definition, a name that is taken (also by a disabled tool), a lane that does not exist.
    pub fn add_tool(&self, tool: Tool) -> Result<()> {
        self.engine.add_tool(tool.registration(&Arc::new(())))
    }

    /// Removes a tool and notifies the subscribed clients. Calls that have been accepted still run. Returns whether there was a tool of this name.
    pub fn remove_tool(&self, name: &str) -> bool {
        self.engine.remove_tool(name)
    }

    /// Disables a tool (`false`) or enables it again (`true`), and notifies the subscribed clients if that is a change. A disabled tool is not
    /// listed, and a call of it is answered as one of an unknown tool; enabled again, it has its old place in the list. Returns whether there is a
    /// tool of this name.
    pub fn enable_tool(&self, name: &str, enabled: bool) -> bool {
        self.engine.enable_tool(name, enabled)
    }

    /// Notifies the subscribed clients that the list of tools has changed (`notifications/tools/list_changed`). Never waits. Adding, removing and
    /// enabling a tool does this itself. Specification: `server/tools` ("List Changed Notification").
    pub fn tools_changed(&self) {
        self.engine.publish(Change::Tools);
    }

    /// Notifies the subscribed clients that the list of prompts has changed (`notifications/prompts/list_changed`). Never waits.
    pub fn prompts_changed(&self) {
        self.engine.publish(Change::Prompts);
    }

    /// Notifies the subscribed clients that the list of resources or of templates has changed (`notifications/resources/list_changed`). Never waits.
    pub fn resources_changed(&self) {
        self.engine.publish(Change::Resources);
    }

    /// Notifies the clients subscribed to this resource that its contents have changed (`notifications/resources/updated`). Never waits. URIs are
    /// compared as they are written. Specification: `server/resources` ("Subscriptions").
    ///
    /// A client that reads slowly may miss some notifications; the newest are kept.
    pub fn resource_updated(&self, uri: &str) {
        self.engine.publish(Change::Resource(uri));
    }
}
