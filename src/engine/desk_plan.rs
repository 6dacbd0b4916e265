//! The desk from a server's settings to what its engine has: the store is opened, the lane for jobs is there, the bounds are known.
//!
//! Must not know what a job is.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::base::budget::Budget;
use crate::base::errands::Errands;
use crate::base::error::Error;
use crate::base::limits::Limits;
use crate::desk::Desk;
use crate::desk::jobs::Jobs;
use crate::desk::store::JobStore;
use crate::desk::store::guarded::Guarded;
use crate::desk::watch::JobWatch;
use crate::desk::workspaces::Workspaces;
use crate::engine::background::JOBS_LANE;
use crate::handler::registration::{Execution, Registration};
use crate::handler::workspace::Maker;
use crate::lane::Lane;

/// What a server has been told of its desk.
#[derive(Default)]
pub(crate) struct DeskPlan {
    /// `None`: in memory.
    pub(crate) store: Option<Box<dyn JobStore>>,
    pub(crate) has_job_tools: bool,
    pub(crate) drain_deadline: Option<Duration>,
    pub(crate) maker: Option<Maker>,
    pub(crate) closes_broken: bool,
}

/// A desk, and the jobs of its store that are to be run again.
pub(super) type OpenedDesk = (Desk, Vec<Arc<str>>);

impl DeskPlan {
    /// Opens the store, if there is anything to keep in it, and adds the lane that jobs need.
    pub(super) fn open(
        self,
        registrations: &[Result<Registration, String>],
        lanes: &mut Vec<Lane>,
        limits: &Arc<Limits>,
        memory: &Arc<Budget>,
    ) -> Result<OpenedDesk, Error> {
        let mut tools = registrations.iter().flatten();
        for tool in tools.clone() {
            check_workspace(tool, self.maker.as_ref())?;
        }
        let has_jobs = tools.any(|tool| tool.callable.desk.execution != Execution::Inline);
        let (jobs, interrupted) = match has_jobs {
            true => {
                open_jobs(self.store, limits, memory).map(|(jobs, again)| (Some(jobs), again))?
            }
            false => (None, Vec::new()),
        };
        let position = lanes.iter().position(|lane| &*lane.name == JOBS_LANE);
        let jobs_lane = position.unwrap_or_else(|| {
            if has_jobs {
                lanes.push(Lane::new(JOBS_LANE).queue(256));
            }
            lanes.len() - 1
        });
        let desk = Desk {
            jobs,
            jobs_lane,
            has_job_tools: self.has_job_tools && has_jobs,
            drain_deadline: self.drain_deadline.filter(|_| has_jobs),
            workspaces: self.maker.map(|maker| {
                let workspaces = Workspaces::new(Arc::clone(limits), self.closes_broken);
                (workspaces, Arc::new(maker))
            }),
            is_over: AtomicBool::new(false),
            watch: JobWatch::default(),
            errands: Errands::new("what waits for a job store"),
        };
        Ok((desk, interrupted))
    }
}

/// The table of jobs, and those of its store that are to be run again.
fn open_jobs(
    store: Option<Box<dyn JobStore>>,
    limits: &Arc<Limits>,
    memory: &Arc<Budget>,
) -> Result<(Arc<Jobs>, Vec<Arc<str>>), Error> {
    // In memory it is the server's, elsewhere it has a bound of its own.
    let bytes = match store {
        None => memory.of_peer(limits.job_bytes_max),
        Some(_) => Budget::whole(usize::MAX).of_peer(limits.job_bytes_max),
    };
    let store = store.map_or_else(Guarded::in_memory, Guarded::new);
    let (jobs, again) = Jobs::open(Arc::clone(limits), store, bytes)
        .map_err(|error| Error::configuration(format!("the job store: {error}")))?;
    Ok((Arc::new(jobs), again))
}

/// Sees to it that a tool which is added while serving finds at the desk what it needs.
pub(super) fn check_added(tool: &Registration, desk: &Desk) -> Result<(), Error> {
    if tool.callable.desk.execution != Execution::Inline && desk.jobs.is_none() {
        let problem = "it may run in the background, and no tool could when the server was started; have one that may at the start, or start the server anew";
        return Err(unmet(tool, problem));
    }
    let maker = desk.workspaces.as_ref().map(|(_, maker)| &**maker);
    check_workspace(tool, maker)
}

/// Sees to it that a tool gets the workspace that it wants.
fn check_workspace(tool: &Registration, maker: Option<&Maker>) -> Result<(), Error> {
    let work = tool.callable.desk;
    match (maker, work.access, work.wanted) {
        (None, Some(_), _) => {
            let problem = "it is in a workspace; say what that is with `Server::workspaces`";
            Err(unmet(tool, problem))
        }
        (Some(maker), _, Some(wanted)) => match maker.problem(&wanted) {
            Some(problem) => Err(unmet(tool, &problem)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn unmet(tool: &Registration, problem: &str) -> Error {
    let name = &tool.callable.name;
    Error::configuration(format!("tool `{name}`: {problem}"))
}
