//! Numbers to look at: [`Stats`], a snapshot of everything that runs or waits.
//!
//! Taking one looks once at each worker, job, workspace and call that waits for a job. It never waits for a handler or a store.

use serde::Serialize;

/// A snapshot of a server. Counters grow from the start of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[non_exhaustive]
pub struct Stats {
    /// Every lane, `main` and `urgent` first.
    pub lanes: Vec<LaneStats>,
    /// Open HTTP connections; for the tiny_http front, exchanges under way.
    pub connections: usize,
    /// Open event streams over HTTP: answers that have become one, and streams that only listen.
    pub streams: usize,
    /// Legacy sessions over HTTP, those included that have been idle too long and end when they are next looked at.
    pub sessions: usize,
    /// Calls that wait for their client to answer a question. Handshake era only; each holds its worker.
    pub asks: usize,
    /// Open streams of change notifications (`subscriptions/listen`).
    pub subscriptions: usize,
    /// Background jobs that are kept, by how far they are.
    pub jobs: JobCounts,
    /// Calls of `job_status` that wait for their job to change. They hold no worker.
    pub waiting_for_jobs: usize,
    /// Open workspaces.
    pub workspaces: usize,
    /// Calls that wait for their turn in a workspace, those of background jobs included. They hold no worker.
    pub waiting_for_workspaces: usize,
    /// Whether the server is shutting down.
    pub draining: bool,
}

/// How many background jobs there are in each state; a part of [`Stats`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[non_exhaustive]
pub struct JobCounts {
    /// Wait for a worker, or run.
    pub working: usize,
    /// Wait for an answer, and hold no worker.
    pub input_required: usize,
    /// Have a result.
    pub completed: usize,
    /// Ended with an error.
    pub failed: usize,
    /// Were cancelled.
    pub cancelled: usize,
}

/// One lane's part of [`Stats`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[non_exhaustive]
pub struct LaneStats {
    /// The lane's name.
    pub name: String,
    /// Its living worker threads: those that take calls, or will when their handler has returned. A worker that is wedged is none of them.
    pub workers: usize,
    /// Workers that run a call now, cancelled ones included until their handler returns, and without those that have been abandoned.
    pub busy: usize,
    /// Calls that wait for a worker.
    pub queued: usize,
    /// Calls that may wait at most.
    pub capacity: usize,
    /// Calls whose handler has returned.
    pub done: u64,
    /// Calls refused because the lane was full or closed, or had no worker left: every one was wedged.
    pub refused: u64,
    /// Calls whose handler panicked.
    pub panicked: u64,
    /// Calls cancelled, before they ran or while they did, or given up.
    pub cancelled: u64,
    /// Threads whose handler has been given up and has not returned; each has been replaced by another worker. See
    /// [`Tool::liveness`](crate::Tool::liveness).
    pub abandoned: usize,
    /// Workers that have been replaced since the start.
    pub replaced: u64,
}
