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
//! The derive of `JsonSchema` needs the name `schemars` in scope, or the compiler says `E0433`, "cannot find `schemars`", for each use of it: import it
//! as above, name it with `#[schemars(crate = "mcp_threads::schemars")]`, as other examples here do, or `cargo add schemars`, which is the same crate.
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
//! All public types are `Debug`, `Send` and `Sync`, as far as what you put into them is. A builder's setters have the name of what they set; the types of
//! the protocol's schema, whose members can be read, have `with_..` instead.
//!
//! # How a call travels
//!
//! ```text
//! bytes ──> transport ──> message ──> engine ──> lane ──> worker: handler(cx, args)
//!              │                                            │           │
//! bytes <──────┼──── a plain answer, what the kernel takes ─┘           │ events: progress, log; the rest of an answer
//! bytes <── transport <──────────────────── outbox <────────────────────┘
//! ```
//!
//! - The *transport* has a thread for each four cores that hears of the connections that rest, between two requests or while a call runs that is no stream yet, and
//!   gives each its turn: it alone reads it then, and writes what a worker did not send at once. Before it waits for one of them (half a request, a slow reader, a
//!   stream, which a call becomes that says something or runs for [`Limits::stream_after`]) another thread takes the others over. A pipe has one thread that
//!   reads and one that writes.
//! - The *engine* answers cheap requests at once, on that thread, and there it also runs tools that never wait: those with
//!   [`Tool::inline`], the server's own among them, which wait for nothing but the store of jobs. Every other call, of a tool, a prompt, a resource or a
//!   completer, goes to the *lane* of what it calls, one in a workspace when its turn has come, a background job to `jobs`. A lane is a name, a fixed number of
//!   worker threads, a bounded queue. A full lane refuses the call at once, by the JSON-RPC error code `503`; over HTTP with that status for modern clients and `200` for legacy
//!   ones ([`Server::overload`]).
//! - A *worker* forks the state, calls the handler, catches its panic, and gives the answer to the *outbox*. It never waits for a socket or a pipe: it
//!   sends what the kernel takes at once, and the rest is for the connection's next turn, or for the thread that writes a pipe.
//!
//! # The map
//!
//! A room of the source may use those that stand before it in this table and none behind it (`lane` does not use `outbox`, and `desk`, `pool` and `legacy` not
//! each other); `tests/it/tidy.rs` keeps it so. Begin with the files named here.
//!
//! | room | what it does | begin with | threads it starts |
//! |---|---|---|---|
//! | `base` | bounds, budgets, cancellation, the clock, panics, what may hang, the log | `limits.rs`, `budget.rs`, `cancel.rs` | `mcp-clock`, `mcp-aside`, `mcp-log`, `mcp-stderr` |
//! | `observe` | what is told of a request at its end | `access.rs` | |
//! | `protocol` | JSON-RPC and MCP as data and pure functions | `jsonrpc.rs`, `version.rs` | |
//! | `outbox` | the bounded way out, and what is dropped when it is full | `producer.rs`, `queue.rs` | |
//! | `lane` | workers, a bounded queue, and the watchdog that replaces a wedged worker | `submit.rs`, `worker.rs` | `mcp-<lane>-<n>` |
//! | `handler` | what you write: tools, prompts, resources, their context and results | `tool.rs`, `context.rs`, `invoke.rs` | `mcp-child-pipes` |
//! | `desk` | background jobs, workspaces, and the stores that keep jobs | `jobs.rs`, `workspace.rs` | |
//! | `pool` | resources that are claimed, waited for and given back | `resource_pool.rs` | |
//! | `legacy` | the handshake era: sessions, questions, streams that can be resumed | `session.rs`, `streams.rs` | |
//! | `engine` | what a message means: from arrival to answer | `mod.rs`, `arrive.rs` | `mcp-on-stalled` |
//! | `transport` | bytes to messages and back: pipes, and HTTP by two fronts | `pipe.rs`, `http/serve.rs`, `http/guarded/mod.rs` | `mcp-accept`, `mcp-conn-<n>`, `mcp-pipe-reader`, `mcp-pipe-writer`, `mcp-stdout`, `mcp-http` |
//! | `server` | the builder, and the ordered end | `builder.rs`, `shared.rs` | `mcp-signals`, `mcp-end` |
//! | `scripts` | a file of scripts into tools, behind its feature; it builds on `handler` and `pool`, and is registered like what anybody writes | `mod.rs` | |
//!
//! Who wakes whom:
//!
//! ```text
//! mcp-accept ── a connection: the reactor's inbox and bell ─────────▶ mcp-conn-<n>, which runs the reactor
//! mcp-conn-<n>, its overseer ── the reactor, of a thread that waits:
//!                             condition variable, or a new thread ──▶ mcp-conn-<n>, a spare one
//! mcp-conn-<n>, mcp-pipe-reader ── a call: the lane's queue ────────▶ mcp-<lane>-<n>
//! mcp-<lane>-<n> ── an event, or what of an answer the kernel did
//!                   not take at once: the outbox ──────────────────▶ mcp-conn-<n>, mcp-pipe-writer
//! mcp-pipe-writer ── room for more answers: the outbox ─────────────▶ mcp-pipe-reader
//! mcp-conn-<n>, mcp-pipe-reader ── a cancellation, an answer to a
//!                                  question: a channel in the call ─▶ mcp-<lane>-<n>, if its handler waits for it
//! mcp-clock ── what is idle, late or silent: cancels it ────────────▶ the thread that waits for it
//! mcp-clock, a shutdown ── what may hang: an errand ────────────────▶ mcp-aside
//! mcp-signals, or the end of a pipe ── stop: a channel ─────────────▶ the thread in `join` or `wait_for_ctrl_c`
//! ```
//!
//! The thread that ends the server (the one in `join`, in `shutdown`, or that drops it; `mcp-end` if that is a worker) drains it in one order, in
//! `server/shared.rs`:
//!
//! 1. No call that needs a lane, no front and no program is let in any more; streams that listen end; fronts stop accepting, and hear what belongs to accepted calls.
//! 2. Background jobs run to their own deadline, if they have one, then all lanes, and the ends of jobs that no worker stores, to the drain's. What is queued
//!    or runs after that is cancelled.
//! 3. Child processes are killed and reaped. A handler that does not return within `cancel_grace` is abandoned, and counted.
//! 4. Fronts write what is left to write, close idle connections at once and half requests after a moment, and join their threads.
//! 5. The log and stderr are written out.
//!
//! One request told from its first byte to the last of its answer, a background job, what a disconnect does, and how to add a method, a front or a metric: [`internals`].
//!
//! # Words
//!
//! | word | means |
//! |---|---|
//! | era | *modern*: a request says all there is to know of its client; *legacy*, the handshake era: a session remembers it |
//! | fork | the copy of the state that one call has to itself ([`Fork`]) |
//! | owner | who a request comes from, as far as it is known: a session, a pipe, or nobody; what is kept for it is found and charged by that; the owner of a connection is the thread that it has its turn on |
//! | answer | the one terminal message to a request: a *response* of JSON-RPC, with a *result* or an error; a *reply* is what a handler has made, before it is written; what a client says to a question of ours is *its* answer |
//! | inline | [`Tool::inline`]: its handler runs on the thread that has read the request, and so never waits. [`Execution::Inline`] says something else: a call is answered with its result, and not with a job |
//! | permit, slot | a permit is the right to be one of so many, such as the calls that a lane holds, given back by its drop; a slot is where one particular thing goes: an answer in an outbox, a resource in a pool, a worker in its lane, an argument in a script's word |
//! | outbox | what waits for one client, in order; what writes to the client holds its receiver |
//! | short way | an answer leaves on its worker, as far as the kernel takes it at once, because nothing waits in the outbox; the *long way* is by the queue and the connection's next turn, or the thread that writes |
//! | firm | of what waits in an outbox, what is never dropped: answers and questions |
//! | tag | in the code, what a log (`request_id=`), an answer (`X-Request-Id`) and [`RequestContext::request_id`] call the request id; the `id` of JSON-RPC, which the client chose, is a `RequestId` |
//! | room | a module of the source; elsewhere space |
//! | seam | the trait `Exchange`, between the rules of MCP over HTTP and the fronts that read bytes |
//! | turn | what a connection does on one thread between two rests; it *rests* when nothing is to be done before its client, its call or the clock says so |
//! | reactor | connections that rest, and what hears of them; one for each four cores, and one thread at a time runs it; to *relieve* is to have another thread run it |
//! | ring | to have the reactor give a connection that rests its turn; it rings the reactor's bell |
//! | heed | what of its client wakes a connection: bytes, its end, or nothing |
//! | bell | what wakes a thread that waits for clients in `poll` or `epoll`: an eventfd on Linux, a pair of sockets elsewhere |
//! | port | where the one answer to a request goes: an outbox, a batch, or a job's record; to take it is the right to answer |
//! | callable | what a call runs: the handler of a tool, a prompt or a resource, as it was registered; the call's *target* is what its client named |
//! | job | a background job; what a lane runs is a *work item*, and so far a call or an attempt of a job |
//! | round | one of the calls that a modern client makes until all questions of a handler are answered; the *seal* is the signature on what it carries between them |
//! | parked | of a legacy stream: its client has left and may come back for the rest |
//! | wedged | of a worker: its handler has given no sign of life, was told so, and has not returned in its grace |
//! | desk | what outlives a call: workspaces, and background jobs with their store |
//! | drain | the time between "nothing new" and the end, in which everything accepted is finished |
//!
//! # The fifteen laws
//!
//! Each has tests that fail when it is broken, in the file of `tests/it/` that is named with it.
//!
//! 1. A worker never waits for a socket or a pipe; a client that reads slowly costs its own connection and a bounded buffer. (`law_01_slow_readers.rs`)
//! 2. Every queue is bounded, and full means a refusal now, under the request's id. (`law_02_full_means_no.rs`)
//! 3. A worker is in use until its handler has really returned, even if its client has left or cancelled meanwhile. (`law_03_capacity.rs`)
//! 4. Each accepted request has exactly one answer, or none if its client cancelled it. (`law_04_one_answer.rs`)
//! 5. Each call has its own fork of the state ([`Fork`]); what is shared is shared because you put it into an `Arc`. (`law_05_state.rs`)
//! 6. Cheap methods never wait for handlers, not even with every worker stuck and every queue full. (`law_06_cheap_methods.rs`)
//! 7. Nothing limits how long a call may run; only its silence can be bounded, and only if you say so. (`law_07_duration.rs`, `law_07_liveness.rs`,
//!    `law_07_processes.rs`)
//! 8. A panic is one failed call; its text goes to the log and never to the client. [`log_backtraces`] adds where it happened. (`law_08_panics.rs`)
//! 9. Bad input gets a clear error and costs nothing; every limit has a name, a unit and a default ([`Limits`]). (`law_09_limits.rs`, `law_09_malformed.rs`,
//!    `law_09_suspended.rs`)
//! 10. From `serve_stdio` on stdout belongs to the protocol, and nothing waits for a stderr that nobody reads. (`law_10_stdout.rs`, `law_10_stderr.rs`)
//! 11. The library does not take over the process: no logger, and, unless you call [`RunningServer::run_until_ctrl_c`], `wait_for_ctrl_c` or [`log_backtraces`], no signal handler
//!     and no panic hook. (`law_11_process.rs`)
//! 12. A shutdown loses nothing that was accepted: refuse what is new, hear what belongs to the rest, finish, then close. (`law_12_drain.rs`, `law_12_dropping.rs`)
//! 13. Every byte that is kept for a client, but for what is short and bounded by number, is on the server's account; what a session keeps, and over HTTP the arguments of its calls, their trees and answers to questions, is on its own as well. (`law_13_memory.rs`, `law_13_questions.rs`, `law_13_trees.rs`)
//! 14. What is written is the most explicit form; every spelling that means the same is read. (`law_14_generous.rs`, `law_14_arguments.rs`)
//! 15. What waits for a person, or for its turn, holds no worker; where a handler must wait itself, half of the workers are left to others. (`asking_sessions.rs`,
//!     `desk_workspaces.rs`, `pools.rs`)
//!
//! # Revisions of the protocol
//!
//! Both eras are served side by side, on the same endpoint or pipe: revision 2026-07-28, which is stateless (*modern*), and the revisions
//! 2025-11-25, 2025-06-18 and 2025-03-26, which begin with a handshake (*legacy*, or the *handshake era*). `Specification:` in these docs names a page
//! of revision 2026-07-28 unless it says otherwise: `server/tools` is <https://modelcontextprotocol.io/specification/2026-07-28/server/tools>.

// Without the guarded front, what only HTTP needs has fewer callers or none; it is too little to be worth gating line by line.
#![cfg_attr(not(all(feature = "http", unix)), allow(dead_code, unused_imports))]

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

// The crates whose types stand in signatures, so that a program can name these types without a dependency of its own.
#[cfg(feature = "tiny-http")]
pub use tiny_http;
pub use {crossbeam_channel, schemars, serde_json};

#[cfg(doc)]
#[doc = include_str!("handler/model_schemas.md")]
pub mod model_schemas {}

#[cfg(doc)]
#[doc = include_str!("internals/worked_example.md")]
#[doc = include_str!("internals/background_job.md")]
#[doc = include_str!("internals/disconnects.md")]
#[doc = include_str!("internals/how_to_add.md")]
pub mod internals {}

/// The code blocks of the README, each compiled as it stands there.
#[cfg(all(doctest, feature = "http", feature = "ctrlc", unix))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doc)]
#[doc = include_str!("server/running_it.md")]
pub mod running_it {}

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
    IntoResourceResult, IntoToolResult, Json, Progress, Prompt, Register, Reporter, RequestContext,
    Resource, ResourceTemplate, Root, Sampled, Sampling, Tool, ToolError,
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
pub use protocol::errors::{ErrorCode, ErrorObject};
pub use protocol::meta::TraceContext;
pub use protocol::results::{
    CacheHint, Completion, GetPromptResult, PromptMessage, ReadResourceResult,
};
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
pub use server::{DrainReport, RunningServer, Server, ServerHandle, TestClient};
