//! The builder, [`Server`]: the one place where everything is put together.
//!
//! It freezes what was registered, checks it, starts the lanes and a front. Must not know parsing or what a request means.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::limits::Limits;
use crate::base::setters::setters;
use crate::engine::{Engine, EnginePlan};
use crate::handler::{
    Fork, Handler, IntoPromptResult, IntoResourceResult, IntoToolResult, Prompt, Register,
    Resource, Tool,
};
use crate::lane::Lane;
use crate::legacy::Sessions;
use crate::observe::stalled::StalledCall;
use crate::protocol::results::CacheHint;
use crate::protocol::types::{Icon, Implementation};
use crate::server::running::RunningServer;
use crate::server::shared::{Serving, SharedServer};
use schemars::JsonSchema;

/// How long clients may keep lists unless it is said otherwise: they rarely change, and a client that cares is told when they do.
const LIST_TTL: Duration = Duration::from_secs(300);

/// A shorter key could be guessed.
const SEAL_KEY_BYTES_MIN: usize = 32;

/// Declares methods of the builder that start the server and open the front of the same name.
macro_rules! starters {
    ($(
        $(#[$doc:meta])*
        $name:ident($($argument:ident: $type:ty),*);
    )+) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// Those of both.
        pub fn $name(self $(, $argument: $type)*) -> Result<RunningServer> {
            let running = self.start()?;
            running.$name($($argument),*)?;
            Ok(running)
        }
    )+};
}

pub(super) use starters;

/// Builds an MCP server: its name, its tools, prompts and resources, its lanes and limits. A `serve_..` method starts it.
///
/// What is wrong with the configuration is reported by that method, as an [`Error`] whose
/// [`is_configuration`](Error::is_configuration) is true.
///
/// ```
/// use mcp_threads::{RequestContext, Server};
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Clone, Default)]
/// struct State {
///     scratch: Vec<String>,            // each call has its own
///     visits: Arc<Mutex<u32>>,         // all calls share it, because it is in an Arc
/// }
///
/// #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
/// #[schemars(crate = "mcp_threads::schemars")]
/// struct Visit { who: String }
///
/// let server = Server::new("guestbook", "1.0.0")
///     .with_state(State::default())
///     .tool("visit", "Says hello.", |cx: &mut RequestContext<State>, visit: Visit| {
///         cx.state_mut().scratch.push(visit.who);
///         *cx.state().visits.lock().unwrap() += 1;
///         format!("scratch {}, visits {}", cx.state().scratch.len(), cx.state().visits.lock().unwrap())
///     });
///
/// # #[cfg(feature = "http")] {
/// let running = server.serve_http("127.0.0.1:0")?;
/// # let mut said = Vec::new();
/// # for id in 1..=2 {
/// #     use std::io::{Read, Write};
/// #     let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"visit","arguments":{{"who":"a"}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#);
/// #     let mut stream = std::net::TcpStream::connect(running.addr().unwrap()).unwrap();
/// #     write!(stream, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: visit\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
/// #     let mut answer = String::new();
/// #     stream.read_to_string(&mut answer).unwrap();
/// #     said.push(answer);
/// # }
/// # assert!(said[0].contains("scratch 1, visits 1"), "{}", said[0]);
/// # assert!(said[1].contains("scratch 1, visits 2"), "{}", said[1]);
/// // Two calls answer "scratch 1, visits 1" and "scratch 1, visits 2".
/// running.shutdown(std::time::Duration::from_secs(5));
/// # }
/// # Ok::<(), mcp_threads::Error>(())
/// ```
pub struct Server<S = ()> {
    template: Arc<S>,
    pub(super) plan: EnginePlan,
    pub(super) serving: Serving,
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("implementation", &self.plan.implementation)
            .field("lanes", &self.plan.lanes)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server with this name and version, without state.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        let (name, version) = (name.into(), version.into());
        let plan = EnginePlan {
            implementation: Implementation {
                name,
                version,
                ..Implementation::default()
            },
            list_cache: CacheHint::public(LIST_TTL),
            lenient_arguments: true,
            lanes: vec![Lane::main(), Lane::urgent()],
            ..EnginePlan::default()
        };
        Server {
            template: Arc::new(()),
            plan,
            serving: Serving::default(),
        }
    }

    /// Gives the server a state. Every call gets its own copy, made by [`Fork`] (a clone, for most types); put into an `Arc` what calls share.
    ///
    /// Call it before registering the handlers that take a [`RequestContext<S>`](crate::RequestContext): what was registered earlier has no state.
    #[must_use]
    pub fn with_state<S: Fork + Send + Sync + 'static>(self, template: S) -> Server<S> {
        Server {
            template: Arc::new(template),
            plan: self.plan,
            serving: self.serving,
        }
    }
}

impl<S: Fork + Send + Sync + 'static> Server<S> {
    /// Registers a tool in one line; see [`Handler`] for the functions that can be one. For lanes, schemas and hints, use
    /// [`register`](Self::register) with a [`Tool`].
    #[must_use]
    pub fn tool<Shape: 'static, H: Handler<S, Shape>>(
        self,
        name: &str,
        description: &str,
        handler: H,
    ) -> Self
    where
        H::Arguments: JsonSchema,
        H::Output: IntoToolResult,
    {
        self.register(Tool::new(name).description(description).handler(handler))
    }

    /// Registers a prompt in one line; see [`Prompt`].
    #[must_use]
    pub fn prompt<Shape: 'static, H: Handler<S, Shape>>(
        self,
        name: &str,
        description: &str,
        handler: H,
    ) -> Self
    where
        H::Arguments: JsonSchema,
        H::Output: IntoPromptResult,
    {
        self.register(Prompt::new(name).description(description).handler(handler))
    }

    /// Registers a resource at a fixed URI in one line; see [`Resource`], and [`ResourceTemplate`](crate::ResourceTemplate) for a family of them.
    #[must_use]
    pub fn resource<Shape: 'static, H: Handler<S, Shape>>(
        self,
        uri: &str,
        name: &str,
        handler: H,
    ) -> Self
    where
        H::Output: IntoResourceResult,
    {
        self.register(Resource::new(uri, name).handler(handler))
    }

    /// Registers a [`Tool`], a [`Prompt`], a [`Resource`] or a [`ResourceTemplate`](crate::ResourceTemplate) with everything set. Clients
    /// see each kind in the order of registration. A mistake, such as a name used twice, is reported when the server starts.
    #[must_use]
    pub fn register(mut self, item: impl Register<S>) -> Self {
        let lanes = item.lanes();
        let registrations = item.registrations(&self.template);
        self.plan.registrations.extend(registrations);
        lanes.into_iter().fold(self, Server::lane)
    }

    setters! {
        /// How long clients may cache the lists of tools, prompts, resources and templates. Default 5 minutes, public. Clients of revision 2026-07-28
        /// only. Specification: `server/utilities/caching`.
        list_cache(hint: CacheHint) => plan.list_cache = hint;

    /// Lets handlers see this header field of their HTTP request, by [`RequestContext::header`](crate::RequestContext::header). Default none, so that nothing is
    /// copied that nobody looks at.
    ///
    /// A header is untrusted input: any client can send it. Trust it only behind a proxy that sets it.
        request_header(name: &str) => plan.request_headers.push(name.into());

        /// What becomes of the sessions of handshake-era clients over HTTP. Default [`Sessions::Kept`]. Take [`Sessions::Stateless`] for several instances
        /// behind one address, [`Sessions::Adopt`] for one that restarts under clients that never begin anew. A pipe has its session in any case.
        legacy_sessions(sessions: Sessions) => plan.legacy_sessions = sessions;

        /// Whether arguments that do not fit are tried once more in the spelling that some clients have: `"5"` or `5.0` for 5, `"true"` for true,
        /// `"[\"a\"]"` for a list, `null` for what has a default. Default true, because it is the client that spells so, and its model cannot put it right.
        ///
        /// Only what the schema does not take as it is, and takes otherwise, is changed: a text stays one where it may be one. Each change is a line of
        /// the log at level debug. The same goes for what people fill in; see [`RequestContext::elicit`](crate::RequestContext::elicit).
        lenient_arguments(yes: bool) => plan.lenient_arguments = yes;

        /// The key that signs the request state, which a client keeps between the rounds of a call (revision 2026-07-28): at least 32 bytes, secret and
        /// random. Default: a random one for this process. Set the same key in all instances behind one address, so that each accepts the
        /// others' state.
        seal_key(key: impl Into<Vec<u8>>) => plan.seal_key = Some(key.into());
    }

    /// Adds a lane, or changes the size of an existing one, such as `main` or `urgent`.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        let mut known = self.plan.lanes.iter_mut();
        match known.find(|known| known.name == lane.name) {
            Some(known) => known.change(lane),
            None => self.plan.lanes.push(lane),
        }
        self
    }

    /// How many calls may run at once on the `main` lane. Default 32, or four for each core if that is more.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        self.lane(Lane::new("main").workers(workers))
    }

    /// How many calls may wait for a worker of the `main` lane. Default 256.
    #[must_use]
    pub fn queue(self, queue_len_max: usize) -> Self {
        self.lane(Lane::new("main").queue(queue_len_max))
    }

    setters! {
        /// Sets the limits. Default [`Limits::default`].
        limits(limits: Limits) => plan.limits = Arc::new(limits);

        /// How long [`RunningServer::join`], [`RunningServer::run_until_ctrl_c`] and dropping the server let calls finish before cancelling them. Default
        /// 8 s: with what comes after it, that is within the ten seconds after which containers are killed.
        drain_deadline(deadline: Duration) => serving.drain_deadline = Some(deadline);

        /// Whether the first SIGINT ends a server on stdio, too, for programs that are not started by the client they serve. Default false; see
        /// [`RunningServer::run_until_ctrl_c`].
        interrupt_ends_stdio(ends: bool) => serving.interrupt_ends_stdio = ends;

        /// Instructions for the model: how to use the server well. Default none.
        instructions(instructions: impl Into<String>) => plan.instructions = Some(instructions.into());

        /// The server's name as shown to people. Default: none, clients show the name given to [`new`](Server::new).
        title(title: impl Into<String>) => plan.implementation.title = Some(title.into());

        /// A sentence about the server.
        description(description: impl Into<String>) => plan.implementation.description = Some(description.into());

        /// Where to read more about it.
        website_url(url: impl Into<String>) => plan.implementation.website_url = Some(url.into());

        /// How long any call may give no sign of life, unless its tool or its lane says otherwise. Default none: nothing is watched. See [`Tool::liveness`](crate::Tool::liveness).
        liveness(longest_silence: Duration) => plan.liveness = Some(longest_silence);

        /// What is called when a call has given no sign of life for as long as it may, and when one is given up by
        /// [`CancellationToken::give_up`](crate::CancellationToken::give_up): to drop what it hangs in and make it anew, which may bring the handler back. On
        /// a thread of its own, one call after another. A hook that cannot keep up is told of 64; a panic in it is logged.
        ///
        /// ```
        /// # use std::time::Duration;
        /// # use mcp_threads::Server;
        /// let server = Server::new("engine", "1.0.0")
        ///     .liveness(Duration::from_secs(60))
        ///     .on_stalled(|call| eprintln!("{} hangs: {call}", call.name));
        /// ```
        on_stalled(hook: impl Fn(&StalledCall) + Send + Sync + 'static) => plan.on_stalled = Some(Box::new(hook));

        /// Adds an icon of the server.
        icon(icon: Icon) => plan.implementation.icons.push(icon);
    }

    /// Starts a server that serves nothing yet: the `serve_..` methods of [`RunningServer`] open what it serves, several at once if you like.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, and when the configuration is wrong.
    pub fn start(self) -> Result<RunningServer> {
        if let Some(problem) = problem(&self.plan) {
            return Err(Error::configuration(problem));
        }
        #[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
        self.serving
            .http
            .rules(crate::transport::http::endpoint::Reach::ThisMachine)?;
        let engine = Engine::start(self.plan, self.template)?;
        let shared = Arc::new(SharedServer::new(engine, self.serving));
        Ok(RunningServer { shared })
    }

    starters! {
        /// [Starts](Self::start) the server on the process's stdin and stdout; see [`RunningServer::serve_stdio`].
        serve_stdio();

        /// [Starts](Self::start) the server on a pair of byte streams; see [`RunningServer::serve_pipe`].
        serve_pipe(read: impl Read + Send + 'static, write: impl Write + Send + 'static);
    }
}

/// What is wrong with the settings, in a sentence.
fn problem(plan: &EnginePlan) -> Option<String> {
    if let Some(problem) = plan.lanes.iter().find_map(Lane::problem) {
        return Some(problem);
    }
    if plan.liveness.is_some_and(|liveness| liveness.is_zero()) {
        return Some("a liveness of zero is one that no handler could keep".to_owned());
    }
    let key_bytes = plan.seal_key.as_ref().map_or(SEAL_KEY_BYTES_MIN, Vec::len);
    let short =
        || format!("the seal key has {key_bytes} bytes; it needs at least {SEAL_KEY_BYTES_MIN}");
    let limits = plan.limits.problem();
    limits.or_else(|| (key_bytes < SEAL_KEY_BYTES_MIN).then(short))
}
