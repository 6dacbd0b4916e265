//! [`Execution`]: whether a call of a tool is answered with its result, or with a background job.
//!
//! Data only; must not know how a job is kept or run.

use crate::handler::workspace::{AccessMode, WorkspaceParam};

/// How calls of a tool are executed.
///
/// A background job is answered at once, with an id, and goes on without its request: after its client has left, and, with a durable store, after
/// its server has been restarted. Clients with the extension `io.modelcontextprotocol/tasks` get a task; others ask for a job with the argument
/// `background`, and look after it with the tools of [`Server::job_tools`](crate::Server::job_tools).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Execution {
    /// Each call is answered with its result. The default.
    #[default]
    Foreground,
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
    /// It runs on the thread that has read the request, because it never waits.
    pub(crate) is_inline: bool,
    /// Its argument `wait_seconds` says how long it may wait for the job it names to change, before it runs.
    pub(crate) waits_for_job: bool,
}

impl DeskNeeds {
    /// What is wrong with it, in a sentence.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.is_inline && (self.access.is_some() || self.execution != Execution::Foreground) {
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
