//! What a server is built from: tools, prompts, resources and templates as they are handed in, and what a call of one runs and returns.
//!
//! Every kind becomes one [`Registration`]: what clients are shown, and the [`Callable`], whose [`BoundHandler`] makes a [`Reply`]. Must not know the engine
//! that takes them, nor how a result is written or a job kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::base::log;
use crate::base::panics;
use crate::handler::control::CallControl;
use crate::handler::shown::Shown;
use crate::handler::workspace::{AccessMode, WorkspaceParam};
use crate::lane::Lane;
use crate::protocol::errors::ErrorObject;
use crate::protocol::offer::OfferKind;
use crate::protocol::param_headers::ParamHeaders;
use crate::protocol::raw;
use crate::protocol::results::{Completion, GetPromptResult, ReadResourceResult};
use crate::protocol::types::{CallToolResult, ContentBlock};
use crate::protocol::uri_template::UriTemplate;

/// Something that can be registered with a server: a [`Tool`](crate::Tool), a [`Prompt`](crate::Prompt), a [`Resource`](crate::Resource) or a
/// [`ResourceTemplate`](crate::ResourceTemplate). The trait is sealed: nobody but the library implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be registered with a `Server<{S}>`",
    note = "register a `Tool`, a `Prompt`, a `Resource` or a `ResourceTemplate` of the server's state; a function becomes a tool by `.tool(name, description, function)`"
)]
pub trait Register<S> {
    /// Joins what it consists of with the server's state; a sentence for each that is not defined well. Seals the trait: what it gives has no name elsewhere.
    #[doc(hidden)]
    fn registrations(self, template: &Arc<S>) -> Vec<Result<Registration, String>>;

    /// The lanes that it needs, if any.
    #[doc(hidden)]
    fn lanes(&self) -> Vec<Lane> {
        Vec::new()
    }
}

/// One thing to register, whatever its kind.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "nobody can name it")]
pub struct Registration {
    pub(crate) kind: OfferKind,
    pub(crate) shown: Shown,
    /// The name of the lane that runs it.
    pub(crate) lane: Arc<str>,
    pub(crate) callable: Callable,
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
        Callable {
            name,
            lane: 0,
            handler,
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

/// A handler with everything but the call filled in: what the engine stores and runs.
///
/// Its captures may panic when they are dropped, and then panic nobody: at the end of a server the last who holds it may be any thread.
pub(crate) struct BoundHandler(Option<Box<RunHandler>>);

type RunHandler =
    dyn Fn(Arc<dyn CallControl>, &RawValue) -> Result<Reply, ErrorObject> + Send + Sync;

impl BoundHandler {
    pub(crate) fn new(
        run: impl Fn(Arc<dyn CallControl>, &RawValue) -> Result<Reply, ErrorObject>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        BoundHandler(Some(Box::new(run)))
    }

    /// Runs it on this thread. Panics when the handler, or the fork of the state for it, does.
    pub(crate) fn call(
        &self,
        call: Arc<dyn CallControl>,
        arguments: &RawValue,
    ) -> Result<Reply, ErrorObject> {
        let run = self.0.as_ref().expect("it is there until it is dropped");
        run(call, arguments)
    }
}

impl Drop for BoundHandler {
    fn drop(&mut self) {
        let run = self.0.take();
        if let Err(panic) = panics::catch(|| drop(run)) {
            log::error!(detail: panic.backtrace(), "a handler panicked when it was dropped: {panic}");
        }
    }
}

/// The result of a call.
pub(crate) enum Reply {
    Tool(CallToolResult),
    Prompt(GetPromptResult),
    Resource(ReadResourceResult),
    Completion(Completion),
    /// The result of a tool that was rendered before, for the modern era, by a background job.
    Rendered(Box<RawValue>),
}

impl Reply {
    /// Says links to resources in words, for clients that know no links.
    pub(crate) fn links_as_text(&mut self) {
        match self {
            Reply::Tool(result) => result
                .content
                .iter_mut()
                .for_each(ContentBlock::link_as_text),
            Reply::Prompt(result) => {
                let messages = result.messages.iter_mut();
                messages.for_each(|message| message.content.link_as_text());
            }
            Reply::Rendered(result) if result.get().contains("\"resource_link\"") => {
                if let Some(told) = rendered_links_as_text(result) {
                    *result = told;
                }
            }
            Reply::Resource(_) | Reply::Completion(_) | Reply::Rendered(_) => {}
        }
    }
}

/// The same in a tool's result that is written already.
fn rendered_links_as_text(result: &RawValue) -> Option<Box<RawValue>> {
    let content = raw::member(result, "content")?;
    let (mut told, mut rest) = (String::with_capacity(result.get().len()), result.get());
    for block in raw::items(content.get(), usize::MAX) {
        let (before, after) = rest.split_once(block.get())?;
        let link = link_in_words(block);
        told.extend([before, link.as_deref().unwrap_or(block.get())]);
        rest = after;
    }
    RawValue::from_string(told + rest).ok()
}

fn link_in_words(block: &RawValue) -> Option<String> {
    let said = |name| serde_json::from_str::<String>(raw::member(block, name)?.get()).ok();
    if said("type")? != "resource_link" {
        return None;
    }
    let mut link: Map<String, Value> = serde_json::from_str(block.get()).ok()?;
    let text = format!("{}: {}", said("name")?, said("uri")?);
    link.retain(|name, _| matches!(&**name, "annotations" | "_meta"));
    link.extend([("type", "text"), ("text", &text)].map(|(name, said)| (name.into(), said.into())));
    serde_json::to_string(&link).ok()
}

/// How calls of a tool are executed.
///
/// A background job is answered at once, with an id, and goes on without its request: after its client has left, and, with a durable store, after
/// its server has been restarted. Clients with the extension `io.modelcontextprotocol/tasks` get a task; others ask for a job with the argument
/// `background`, and look after it with the tools of [`Server::job_tools`](crate::Server::job_tools).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Execution {
    /// Each call is answered with its result. The default. Where the handler runs is another matter: on its lane, unless the tool is
    /// [`inline`](crate::Tool::inline).
    #[default]
    Inline,
    /// A job for clients that can follow one, and for those that ask for one; a result for the others.
    EitherWay,
    /// Always a job. A client of revision 2026-07-28 without the extension is told so (`-32021`), and so is an earlier one without the job tools.
    Background,
}

/// The arguments that name a workspace and ask for a job.
pub(crate) const WORKSPACE: &str = "workspace";
pub(crate) const BACKGROUND: &str = "background";

/// What a tool wants of the desk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeskNeeds {
    pub(crate) execution: Execution,
    /// Whether a job that a restart has interrupted is run again.
    pub(crate) restartable: bool,
    /// How it uses a workspace, if it is in one.
    pub(crate) access: Option<AccessMode>,
    /// The value its function takes.
    pub(crate) wanted: Option<WorkspaceParam>,
    /// It runs on the thread that has read the request, because it never waits: [`Tool::inline`](crate::Tool::inline).
    pub(crate) runs_here: bool,
    /// Its argument `wait_seconds` says how long it may wait for the job it names to change, before it runs.
    pub(crate) waits_for_job: bool,
}

impl DeskNeeds {
    /// Whether its lane is all that a call of it needs: no workspace, and never a background job.
    pub(crate) fn needs_only_lane(&self) -> bool {
        !self.runs_here && self.access.is_none() && self.execution == Execution::Inline
    }

    /// What is wrong with it, in a sentence.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.runs_here && (self.access.is_some() || self.execution != Execution::Inline) {
            return Some("it runs inline, and so neither in a workspace nor as a background job");
        }
        match (self.access, self.wanted.map(|wanted| wanted.access)) {
            (None, Some(AccessMode::Change)) => {
                Some("its handler takes a workspace; add `.in_workspace()`")
            }
            (None, Some(AccessMode::Read)) => {
                Some("its handler reads a workspace; add `.reads_workspace()`")
            }
            (Some(AccessMode::Read), Some(AccessMode::Change)) => {
                Some("its handler changes the workspace; use `.in_workspace()`")
            }
            _ => None,
        }
    }
}
