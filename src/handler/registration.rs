//! What a server is built from: tools, prompts, resources and templates as they are handed in.
//!
//! Every kind becomes one [`Registration`]: what clients are shown, and the [`Callable`] that is run. Must not know the engine that takes them.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::base::log;
use crate::base::panics;
use crate::handler::control::CallControl;
use crate::handler::execution::DeskNeeds;
use crate::handler::invoke::BoundHandler;
use crate::handler::reply::Reply;
use crate::handler::shown::Shown;
use crate::lane::Lane;
use crate::protocol::errors::ErrorObject;
use crate::protocol::param_headers::ParamHeaders;
use crate::protocol::uri_template::UriTemplate;

/// Something that can be registered with a server: a [`Tool`](crate::Tool), a [`Prompt`](crate::Prompt), a [`Resource`](crate::Resource) or a
/// [`ResourceTemplate`](crate::ResourceTemplate). The trait is sealed: nobody but the library implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be registered with a `Server<{S}>`",
    note = "register a `Tool`, a `Prompt`, a `Resource` or a `ResourceTemplate` of the server's state; a function becomes a tool by `.tool(name, description, function)`"
)]
pub trait Register<S>: sealed::Sealed {
    /// Joins what it consists of with the server's state; a sentence for each that is not defined well.
    #[doc(hidden)]
    fn registrations(self, template: &Arc<S>) -> Vec<Result<Registration, String>>;

    /// The lanes that it needs, if any.
    #[doc(hidden)]
    fn lanes(&self) -> Vec<Lane> {
        Vec::new()
    }
}

pub(crate) mod sealed {
    /// Keeps the kinds of registration the library's own.
    pub trait Sealed {}
}

/// One thing to register, whatever its kind.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registration {
    pub(crate) kind: OfferKind,
    pub(crate) shown: Shown,
    /// The name of the lane that runs it.
    pub(crate) lane: Arc<str>,
    pub(crate) callable: Callable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfferKind {
    Tool,
    Prompt,
    Resource,
    Template,
}

/// What a call runs, and where.
pub(crate) struct Callable {
    /// The name, the URI or the URI template, as it was registered: never a client's text.
    pub(crate) name: Arc<str>,
    /// The index of its lane in the engine, which finds it when the registration arrives.
    pub(crate) lane: usize,
    pub(crate) handler: BoundHandler,
    /// How long a call of it may be silent, if it says so itself.
    pub(crate) liveness: Option<Duration>,
    /// The parameters of a tool that HTTP header fields mirror.
    pub(crate) mirrors: Option<ParamHeaders>,
    /// Jobs and workspaces.
    pub(crate) desk: DeskNeeds,
    /// What runs before a background job is made of a call.
    pub(crate) before_job: Option<Arc<Callable>>,
    /// The URIs that a resource template stands for.
    pub(crate) template: Option<UriTemplate>,
    /// What completes each of its arguments or variables.
    pub(crate) completers: BTreeMap<String, Arc<Callable>>,
}

impl Callable {
    pub(crate) fn new(name: Arc<str>, handler: BoundHandler) -> Self {
        let handler = DropsQuietly(Some(handler));
        Callable {
            name,
            lane: 0,
            handler: Box::new(move |call, arguments| handler.call(call, arguments)),
            liveness: None,
            mirrors: None,
            desk: DeskNeeds::default(),
            before_job: None,
            template: None,
            completers: BTreeMap::new(),
        }
    }

    /// Runs it, and its completers, on the lane with this index.
    pub(crate) fn on_lane(mut self, lane: usize) -> Self {
        self.lane = lane;
        for completer in self.completers.values_mut() {
            if let Some(completer) = Arc::get_mut(completer) {
                completer.lane = lane;
            }
        }
        self
    }
}

/// A handler whose captures may panic when they are dropped, and then panic nobody: the last who holds it may be any thread, a connection's, a
/// worker's or the clock's.
struct DropsQuietly(Option<BoundHandler>);

impl DropsQuietly {
    fn call(&self, call: Arc<dyn CallControl>, arguments: &RawValue) -> Result<Reply, ErrorObject> {
        let handler = self.0.as_ref().expect("it is there until it is dropped");
        handler(call, arguments)
    }
}

impl Drop for DropsQuietly {
    fn drop(&mut self) {
        let handler = self.0.take();
        if let Err(panic) = panics::catch(|| drop(handler)) {
            log::error!(detail: &panic.backtrace().to_string(), "a handler panicked when it was dropped: {panic}");
            mem::forget(panic);
        }
    }
}

impl std::fmt::Debug for Callable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl OfferKind {
    /// As a sentence calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            OfferKind::Tool => "tool",
            OfferKind::Prompt => "prompt",
            OfferKind::Resource => "resource",
            OfferKind::Template => "resource template",
        }
    }

    /// The member of a list's result that holds its items.
    pub(crate) fn member(self) -> &'static str {
        match self {
            OfferKind::Tool => "tools",
            OfferKind::Prompt => "prompts",
            OfferKind::Resource => "resources",
            OfferKind::Template => "resourceTemplates",
        }
    }
}
