//! The shared desk: background jobs, the store that keeps them, and workspaces.
//!
//! Used by the engine, which runs jobs, gives calls their turns and answers for both. Must not know transports, or how a handler is run.
//!
//! - `record`: one job as data, and its moves; `wire`: how the tasks extension shows it;
//! - `job_table`: which jobs there are; `jobs`: every job, with how one is stored and told (`jobs/changes`), what is forgotten for room (`jobs/room`) and
//!   what time does (`jobs/sweep`);
//! - `store`: where jobs are kept; `watch`: who waits for a change of one;
//! - `arguments`: what the server takes out of a call's arguments;
//! - `workspace`, `workspaces`: one, with its turns; and all of them.

pub(crate) mod arguments;
pub(crate) mod job_table;
pub(crate) mod jobs;
pub(crate) mod record;
pub(crate) mod store;
pub(crate) mod watch;
pub(crate) mod wire;
pub(crate) mod workspace;
pub(crate) mod workspaces;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use self::jobs::Jobs;
use self::watch::JobWatch;
use self::workspaces::Workspaces;
use crate::base::errands::Errands;
use crate::handler::workspace::Maker;

/// What a server has of all this.
pub(crate) struct Desk {
    /// There when something may run in the background.
    pub(crate) jobs: Option<Arc<Jobs>>,
    /// The number of the lane that runs them.
    pub(crate) jobs_lane: usize,
    /// Whether clients without the tasks extension can look after jobs.
    pub(crate) has_job_tools: bool,
    /// There when tools may be in a workspace, with how its value is made.
    pub(crate) workspaces: Option<(Workspaces, Arc<Maker>)>,
    /// How long a drain lets jobs go on; `None`: as long as everything else.
    pub(crate) drain_deadline: Option<Duration>,
    /// Whether a drain has waited for as long: no job begins any more.
    pub(crate) is_over: AtomicBool,
    pub(crate) watch: JobWatch,
    /// What answers those who waited for a job, and ends jobs, where no worker does: both may wait for the store. A job keeps its place until it has ended,
    /// and while as many errands are left as calls may wait, no more do.
    pub(crate) errands: Arc<Errands>,
}
