//! What can be changed while a server runs, and how clients are told.
//!
//! Everything here may be called from any thread and never waits for a client. Must not know who listens.

use std::any::type_name;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::engine::IfTaken;
use crate::handler::{Fork, Prompt, Register, Resource, ResourceTemplate, Tool};
use crate::protocol::offer::{Change, OfferKind};
use crate::server::running::ServerHandle;

/// Adding while the server runs.
///
/// Each `add_..` puts something at the end of its list and notifies the subscribed clients. Clients that connected when the server had no prompt (or no
/// resource) yet may not look for one that comes later: register the first before the start. A handler that captures a handle to its own server
/// keeps that server in memory until what it belongs to is removed.
///
/// # Errors
///
/// Of each `add_..`, the same as when the server starts: an invalid definition, a name that is taken (also by a disabled tool), a lane that does not
/// exist.
impl<S: Fork + Send + Sync + 'static> ServerHandle<S> {
    /// Adds a tool.
    ///
    /// ```
    /// # use mcp_threads::{Server, Tool};
    /// # let (read, write) = std::io::pipe()?;
    /// let running = Server::new("growing", "1.0.0").serve_pipe(read, std::io::sink())?;
    /// let handle = running.handle();
    /// let loud = Tool::new("shout").handler(|text: mcp_threads::serde_json::Value| text.to_string().to_uppercase());
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
    /// The same as when the server starts.
    pub fn add_tool(&self, tool: Tool<S>) -> Result<()> {
        self.add(tool)
    }

    /// Adds a prompt.
    ///
    /// # Errors
    ///
    /// The same as when the server starts.
    pub fn add_prompt(&self, prompt: Prompt<S>) -> Result<()> {
        self.add(prompt)
    }

    /// Adds a resource.
    ///
    /// # Errors
    ///
    /// The same as when the server starts.
    pub fn add_resource(&self, resource: Resource<S>) -> Result<()> {
        self.add(resource)
    }

    /// Adds a resource template, which reads what none before it matches.
    ///
    /// # Errors
    ///
    /// The same as when the server starts.
    pub fn add_resource_template(&self, template: ResourceTemplate<S>) -> Result<()> {
        self.add(template)
    }

    /// Puts a tool, a prompt, a resource or a template in the place of that of its name, in one step: no client finds none meanwhile, and calls that have
    /// been accepted run as they were. One that is not offered just now ([`enable_tool`](Self::enable_tool)) stays so. Without one of that name, as `add_..`.
    ///
    /// # Errors
    ///
    /// The same as when the server starts, but for the name.
    pub fn replace(&self, item: impl Register<S>) -> Result<()> {
        self.put(item, IfTaken::Replace)
    }

    /// Adds a tool, a prompt, a resource or a template.
    pub(crate) fn add(&self, item: impl Register<S>) -> Result<()> {
        self.put(item, IfTaken::Refuse)
    }

    fn put(&self, item: impl Register<S>, if_taken: IfTaken) -> Result<()> {
        for registration in item.registrations(&self.template) {
            let registration = registration.map_err(Error::configuration)?;
            self.engine.put(registration, if_taken)?;
        }
        Ok(())
    }
}

impl<S> ServerHandle<S> {
    /// The same handle for tools, prompts and resources that use the server's state: their calls fork the template that was given to
    /// [`Server::with_state`](crate::Server::with_state).
    ///
    /// ```
    /// # use mcp_threads::{RequestContext, Server, Tool};
    /// # let (read, write) = std::io::pipe()?;
    /// let server = Server::new("motto", "1.0.0").with_state(String::from("carpe diem"));
    /// let running = server.serve_pipe(read, std::io::sink())?;
    /// let handle = running.handle().with_state::<String>()?;
    /// handle.add_tool(Tool::new("motto").handler(|cx: &mut RequestContext<String>| cx.state().clone()))?;
    /// # drop(write);
    /// # running.join();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the server's state is of another type.
    pub fn with_state<T: Fork + Send + Sync + 'static>(&self) -> Result<ServerHandle<T>> {
        let template = self.engine.state::<T>().ok_or_else(|| {
            let wanted = type_name::<T>();
            Error::configuration(format!("the server's state is not a `{wanted}`"))
        })?;
        Ok(ServerHandle {
            engine: Arc::clone(&self.engine),
            template,
            stop: self.stop.clone(),
        })
    }

    /// Removes what has this name, or URI, among those of its kind. Returns whether there was one.
    pub(crate) fn remove(&self, kind: OfferKind, name: &str) -> bool {
        self.engine.remove(kind, name)
    }

    /// Removes a tool and notifies the subscribed clients. Calls that have been accepted still run, and what its handler holds is dropped after the last of
    /// them, on a thread of its own, for which this does not wait. Returns whether there was a tool of this name.
    pub fn remove_tool(&self, name: &str) -> bool {
        self.remove(OfferKind::Tool, name)
    }

    /// Removes a prompt, as [`remove_tool`](Self::remove_tool) does a tool.
    pub fn remove_prompt(&self, name: &str) -> bool {
        self.remove(OfferKind::Prompt, name)
    }

    /// Removes the resource with this URI, as [`remove_tool`](Self::remove_tool) does a tool. Who watches it is told nothing more.
    pub fn remove_resource(&self, uri: &str) -> bool {
        self.remove(OfferKind::Resource, uri)
    }

    /// Removes a resource template, named as it was written, as [`remove_tool`](Self::remove_tool) does a tool.
    pub fn remove_resource_template(&self, uri_template: &str) -> bool {
        self.remove(OfferKind::Template, uri_template)
    }

    /// Disables a tool (`false`) or enables it again (`true`), and notifies the subscribed clients if that is a change. A disabled tool is not
    /// listed, and a call of it is answered as one of an unknown tool; enabled again, it has its old place in the list. Returns whether there is a
    /// tool of this name.
    pub fn enable_tool(&self, name: &str, enabled: bool) -> bool {
        self.engine.enable(OfferKind::Tool, name, enabled)
    }

    /// Notifies the subscribed clients that the list of tools has changed (`notifications/tools/list_changed`). Never waits. Adding, removing and
    /// enabling a tool does this itself. Specification: `server/tools` ("List Changed Notification").
    pub fn tools_changed(&self) {
        self.engine.shared.publish(Change::List(OfferKind::Tool));
    }

    /// Notifies the subscribed clients that the list of prompts has changed (`notifications/prompts/list_changed`). Never waits.
    pub fn prompts_changed(&self) {
        self.engine.shared.publish(Change::List(OfferKind::Prompt));
    }

    /// Notifies the subscribed clients that the list of resources or of templates has changed (`notifications/resources/list_changed`). Never waits.
    pub fn resources_changed(&self) {
        self.engine
            .shared
            .publish(Change::List(OfferKind::Resource));
    }

    /// Notifies the clients subscribed to this resource that its contents have changed (`notifications/resources/updated`). Never waits. URIs are
    /// compared as they are written. Specification: `server/resources` ("Subscriptions").
    ///
    /// A client that reads slowly may miss some notifications; the newest are kept.
    pub fn resource_updated(&self, uri: &str) {
        self.engine.shared.publish(Change::Resource(uri));
    }
}
