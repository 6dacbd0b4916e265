//! Model Context Protocol servers in plain, blocking Rust.
//!
//! A handler is an ordinary function. It may sleep, lock, run programs or burn CPU, and the server stays responsive while it does: calls run on
//! a fixed pool of threads behind a bounded queue, and cheap requests never wait for them. There is no async runtime.
//!
//! ```no_run
//! use mcp_threads::Server;
//! use mcp_threads::schemars::{self, JsonSchema};
//!
//! #[derive(serde::Deserialize, JsonSchema)]
//! struct Add {
//!     a: i64,
//!     b: i64,
//! }
//!
//! # #[cfg(all(feature = "http", feature = "ctrlc"))]
//! fn main() -> mcp_threads::Result<()> {
//!     Server::new("calculator", "1.0.0")
//!         .tool("add", "Adds two integers.", |args: Add| args.a + args.b)
//!         .serve_http("127.0.0.1:8080")?
//!         .run_until_ctrl_c()
//! }
//! # #[cfg(not(all(feature = "http", feature = "ctrlc")))]
//! # fn main() {}
//! ```
//!
//! The derive of `JsonSchema` needs the name `schemars`: import it as above, or name it with `#[schemars(crate = "mcp_threads::schemars")]`, as other
//! examples here do.
//!
//! # Where to look
//!
//! - [`Server`] to build and start a server, [`RunningServer`] and [`ServerHandle`] for what can be done while it runs.
//! - [`Tool`], [`Prompt`], [`Resource`], [`ResourceTemplate`] for what it offers, and [`Handler`] for the functions behind them.
//! - [`RequestContext`] for what a handler can do: state, progress, log messages, cancellation, and asking the client
//!   ([`elicit`](RequestContext::elicit), [`sample`](RequestContext::sample), [`roots`](RequestContext::roots)).
//! - [`ToolError`] for a failure that the model reads, [`ErrorObject`] for one that the client program reads, [`Error`] for one of the server itself.
//! - [`Lane`] for workers and queues, [`Limits`] for everything else that is bounded.
//!
//! # How a call travels
//!
//! ```text
//! bytes ──> transport ──> message ──> engine ──> lane ──> worker: handler(cx, args)
//!              │                                                        │ events: progress, log, answer
//! bytes <── transport <──────────────────── outbox <────────────────────┘
//! ```
//!
//! - The *transport* has one thread for each connection, which alone reads and writes it; a pipe has one that reads and one that writes.
//! - The *engine* answers cheap requests at once, on that thread. A tool call goes to its tool's *lane*: a name, a fixed number of worker
//!   threads, a bounded queue. A full lane refuses the call at once: status `503` over HTTP, and the JSON-RPC error code `503` everywhere.
//! - A *worker* forks the state, calls the handler, catches its panic, and gives the answer to the *outbox*. It never waits for a socket or a pipe: it
//!   sends what the kernel takes at once, and the rest is for the thread that owns the connection.
//!
//! # What you can rely on
//!
//! - Each call has its own fork of the state ([`Fork`]); what is shared is shared because you put it into an `Arc`.
//! - Each accepted request has exactly one answer, or none if its client cancelled it.
//! - A panic is one failed call; its text goes to the log and never to the client. [`log_backtraces`] adds where it happened.
//! - A client that disconnects or reads slowly never blocks a worker. A worker is free again when its handler has returned, not before.
//! - Nothing limits how long a call may run. A handler can see that its call is cancelled ([`RequestContext::check`]) and decides when to return.
//! - The library installs no logger and, unless you call [`RunningServer::run_until_ctrl_c`] or [`log_backtraces`], no signal handler and no panic hook.
//!
//! # Revisions of the protocol
//!
//! Both eras are served side by side, on the same endpoint or pipe: revision 2026-07-28, which is stateless (*modern*), and the revisions
//! 2025-11-25, 2025-06-18 and 2025-03-26, which begin with a handshake (*legacy*, or the *handshake era*). `Specification:` in these docs names a page
//! of revision 2026-07-28 unless it says otherwise: `server/tools` is <https://modelcontextprotocol.io/specification/2026-07-28/server/tools>.

// Without the guarded front, what only HTTP needs has fewer callers or none; it is too little to be worth gating line by line.
#![cfg_attr(not(all(feature = "http", unix)), allow(dead_code))]

mod base;

mod observe;

mod protocol;

mod outbox;

mod lane;

mod handler;

mod desk;

mod pool;

mod legacy;

mod engine;

mod transport;

mod server;

#[cfg(all(feature = "scripts", unix))]
mod scripts;

pub use schemars;

#[cfg(doc)]
#[doc = include_str!("handler/model_schemas.md")]
pub mod model_schemas {}

/// The code blocks of the README, each compiled as it stands there.
#[cfg(all(doctest, feature = "http", feature = "ctrlc", unix))]
#[doc = include_str!("../README.md")]
struct Readme;

pub use base::cancel::CancellationToken;
pub use base::error::{Error, Result};
pub use base::limits::Limits;
pub use base::panics::log_backtraces;
pub use base::stats::{JobCounts, LaneStats, Stats};
pub use base::stderr::log_lossy;
pub use desk::record::JobStatus;
pub use desk::store::contract::check_job_store;
#[cfg(feature = "durable")]
pub use desk::store::durable::DurableStore;
pub use desk::store::memory::MemoryStore;
pub use desk::store::{JobStore, StoreError, StoredJob};
pub use handler::{
    AskError, Cancelled, Client, Completing, Elicited, Execution, Fork, Handler, IntoPromptResult,
    IntoResourceResult, IntoToolResult, Json, Progress, Prompt, Register, RequestContext, Resource,
    ResourceTemplate, Root, Sampled, Sampling, Tool, ToolError,
};
#[cfg(unix)]
pub use handler::{CommandError, CommandOutput, RunCommand};
pub use lane::Lane;
pub use legacy::Sessions;
pub use observe::stalled::StalledCall;
#[cfg(unix)]
pub use pool::FileLock;
pub use pool::{
    Claim, ClaimError, Claimed, ExternalLock, Holder, PoolReport, PoolWaiter, PooledResource,
    ResourcePool, Scope, Snapshot,
};
pub use protocol::jsonrpc::{ErrorCode, ErrorObject};
pub use protocol::results::{
    CacheHint, Completion, GetPromptResult, PromptMessage, ReadResourceResult,
};
pub use protocol::trace::TraceContext;
pub use protocol::types::{
    Annotations, CallToolResult, ContentBlock, Icon, Implementation, LoggingLevel,
    ResourceContents, ResourceLink, Role,
};
pub use protocol::version::{Era, ProtocolVersion};
#[cfg(all(feature = "scripts", unix))]
pub use scripts::{Mistake, Mistakes, ScriptTool, Scripts};
#[cfg(feature = "tiny-http")]
pub use server::Mount;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
pub use server::OverloadStatus;
pub use server::{DrainReport, RunningServer, Server, ServerHandle};
