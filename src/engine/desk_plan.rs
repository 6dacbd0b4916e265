//! The desk from a server's settings to what its engine has: the store is opened, the lane for jobs is there, the bounds are known.
//!
//! Must not know what a job is.

use std::sync::Arc;
use std::time::Duration;

use crate::base::budget::Budget;
use crate::base::error::Error;
use crate::base::limits::Limits;
use crate::desk::Desk;
use crate::desk::jobs::{JobRules, Jobs};
use crate::desk::store::JobStore;
use crate::desk::store::memory::MemoryStore;
use crate::desk::workspaces::{WorkspaceRules, Workspaces};
use crate::engine::background::JOBS_LANE;
use crate::handler::registration::{Execution, Registration};
use crate::handler::workspace::Maker;
use crate::lane::Lane;
use crate::pool::table::PoolTable;

/// What a server has been told of its desk.
#[derive(Default)]
pub(crate) struct DeskPlan {
    /// `None`: in memory.
    pub(crate) store: Option<Box<dyn JobStore>>,
    pub(crate) has_job_tools: bool,
    pub(crate) drain_deadline: Option<Duration>,
    pub(crate) maker: Option<Maker>,
    pub(crate) closes_broken: bool,
    /// The pools that the server looks after.
    pub(crate) pools: Vec<Arc<PoolTable>>,
}

/// A desk before there is an engine for it.
pub(super) struct OpenedDesk {
    pub(super) desk: Desk,
    pub(super) pools: Vec<Arc<PoolTable>>,
    pub(super) memory: Arc<Budget>,
    pub(super) jobs_lane: usize,
    /// Jobs to be run again.
    pub(super) interrupted: Vec<Arc<str>>,
}

impl OpenedDesk {
    /// Opens the store, if there is anything to keep in it, and adds the lane that jobs need.
    pub(super) fn open(
        plan: DeskPlan,
        registrations: &[Result<Registration, String>],
        lanes: &mut Vec<Lane>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let memory = Budget::whole(limits.memory_bytes_max);
        let DeskPlan {
            store,
            has_job_tools,
            drain_deadline,
            maker,
            closes_broken,
            pools,
        } = plan;
        pools.iter().for_each(|pool| pool.is_swept());
        let mut tools = registrations.iter().flatten();
        check_workspaces(tools.clone(), maker.as_ref())?;
        let has_jobs = tools.any(|tool| tool.callable.desk.execution != Execution::Inline);
        let (jobs, interrupted) = match has_jobs {
            true => open_jobs(store, limits, &memory).map(|(jobs, again)| (Some(jobs), again))?,
            false => (None, Vec::new()),
        };
        let desk = Desk {
            jobs,
            has_job_tools: has_job_tools && has_jobs,
            drain_deadline: drain_deadline.filter(|_| has_jobs),
            workspaces: maker.map(|maker| (workspaces(limits, closes_broken), Arc::new(maker))),
            ..Desk::default()
        };
        let position = lanes.iter().position(|lane| &*lane.name == JOBS_LANE);
        let jobs_lane = position.unwrap_or_else(|| {
            if has_jobs {
                lanes.push(Lane::new(JOBS_LANE).queue(256));
            }
            lanes.len() - 1
        });
        Ok(OpenedDesk {
            desk,
            pools,
            memory,
            jobs_lane,
            interrupted,
        })
    }
}

/// The table of jobs, and those of its store that are to be run again.
fn open_jobs(
    store: Option<Box<dyn JobStore>>,
    limits: &Limits,
    memory: &Arc<Budget>,
) -> Result<(Arc<Jobs>, Vec<Arc<str>>), Error> {
    // In memory it is the server's, elsewhere it has a bound of its own.
    let bytes = match store {
        None => memory.of_peer(limits.job_bytes_max),
        Some(_) => Budget::whole(limits.job_bytes_max),
    };
    let rules = JobRules {
        keep: limits.job_ttl,
        jobs_max: limits.jobs_max,
        jobs_of_one_max: limits.jobs_of_one_max,
    };
    let store = store.unwrap_or_else(|| Box::new(MemoryStore::new()));
    let (jobs, again) = Jobs::open(rules, store, bytes)
        .map_err(|error| Error::configuration(format!("the job store: {error}")))?;
    Ok((Arc::new(jobs), again))
}

fn workspaces(limits: &Limits, closes_broken: bool) -> Workspaces {
    Workspaces::new(WorkspaceRules {
        workspaces_max: limits.workspaces_max,
        workspaces_of_one_max: limits.workspaces_of_one_max,
        queue_len_max: limits.workspace_queue_len_max,
        idle_timeout: limits.workspace_idle_timeout,
        closes_broken,
    })
}

/// Sees to it that each tool gets the workspace that it wants.
fn check_workspaces<'a>(
    tools: impl Iterator<Item = &'a Registration>,
    maker: Option<&Maker>,
) -> Result<(), Error> {
    for tool in tools {
        let work = tool.callable.desk;
        let problem = match (maker, work.access, work.wanted) {
            (None, Some(_), _) => {
                Some("it is in a workspace; say what that is with `Server::workspaces`".into())
            }
            (Some(maker), _, Some(wanted)) => maker.problem(&wanted),
            _ => None,
        };
        if let Some(problem) = problem {
            let name = &tool.callable.name;
            return Err(Error::configuration(format!("tool `{name}`: {problem}")));
        }
    }
    Ok(())
}
