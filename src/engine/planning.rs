//! How a call of a tool that is no plain one is carried out: in a workspace, as a background job, or inline, on the thread that has read it.
//!
//! Takes the server's own arguments out of the call's. Must not know how it is carried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;

use crate::base::awake;
use crate::base::owner::Owner;
use crate::desk::arguments;
use crate::desk::record::{Carried, Order};
use crate::desk::wire::EXTENSION;
use crate::desk::workspaces::{Key, NAME_BYTES_MAX};
use crate::engine::background::NewJob;
use crate::engine::shared::Shared;
use crate::handler::registration::{Callable, Execution};
use crate::handler::workspace::AccessMode;
use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::meta::{Meta, Params};
use crate::protocol::raw;
use crate::protocol::version::Era;

/// How a call is carried out.
pub(super) enum Plan {
    /// On the lane of its callable.
    Lane,
    /// The same, when its turn in a workspace has come.
    Workspace(Key, AccessMode),
    /// By a background job.
    Job(Box<NewJob>),
    /// On this thread: it is inline, and so must not wait.
    Here,
    /// On the thread that changes the job, which had changed so often; on one aside when the time has come or a drain begins; on that of another that may
    /// not wait beside it; on this one when it has changed already.
    WhenChanged(Arc<str>, u64, Instant),
}

/// Why it is not.
pub(super) enum Unplanned {
    /// For the client's program.
    Error(ErrorObject),
    /// For the model.
    Problem(String),
    /// There is nothing to run: an argument that nothing completes.
    Nothing,
}

impl From<ErrorObject> for Unplanned {
    fn from(error: ErrorObject) -> Self {
        Unplanned::Error(error)
    }
}

/// The workspace of a call that names none.
const DEFAULT: &str = "default";

/// The longest that a client may wait for a job to change.
const WAIT_MAX: Duration = Duration::from_secs(30);

impl Shared {
    /// Says how a tool is called that the desk has to do with, and takes out of its arguments what its handler does not see.
    pub(super) fn plan(
        &self,
        callable: &Callable,
        arguments: &mut Option<Box<RawValue>>,
        params: &Params<'_>,
        owner: &Owner,
        era: Era,
    ) -> Result<Plan, Unplanned> {
        let work = callable.desk;
        let follows_tasks = era == Era::Modern && declares_tasks(params);
        let can_follow = follows_tasks || self.desk.has_job_tools;
        // A modern client that follows no tasks must be told so; an earlier one has only the tools.
        let gets_a_job = follows_tasks || (can_follow && era == Era::Legacy);
        if work.execution == Execution::Background && !gets_a_job {
            return Err(tasks_required().into());
        }
        let taken = arguments::take(arguments.as_deref(), self.lenient_arguments);
        let taken = taken.map_err(Unplanned::Problem)?;
        *arguments = taken.rest;
        let key = work.access.map(|access| {
            let key = self.workspace_key(taken.workspace, owner.key());
            key.map(|key| (key, access)).map_err(Unplanned::Problem)
        });
        let key = key.transpose()?;
        let wants_a_job =
            follows_tasks || taken.background || work.execution == Execution::Background;
        if work.execution == Execution::Inline || !wants_a_job {
            return Ok(key.map_or(Plan::Lane, |(key, access)| Plan::Workspace(key, access)));
        }
        if !can_follow {
            let problem =
                "This server has no way to follow a background job: call it without `background`";
            return Err(Unplanned::Problem(problem.into()));
        }
        // Only a client that follows tasks can answer what a job asks.
        let meta = params.meta.as_ref().filter(|_| follows_tasks);
        let order = Order {
            workspace: key.map(|(key, _)| (key.owner, key.name)),
            ..order(callable, arguments.as_deref(), meta, owner, era)
        };
        Ok(Plan::Job(Box::new(NewJob {
            order,
            carried: Carried::default(),
            as_task: follows_tasks,
        })))
    }

    /// The workspace of this name, if it may have one.
    ///
    /// # Errors
    ///
    /// A sentence for the model.
    pub(super) fn workspace_key(
        &self,
        named: Option<String>,
        owner: Option<Arc<str>>,
    ) -> Result<Key, String> {
        let name = named.unwrap_or_else(|| DEFAULT.into());
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(format!(
                "The name of a workspace has 1 to {NAME_BYTES_MAX} bytes"
            ));
        }
        Ok(Key {
            owner,
            name: name.into(),
        })
    }

    /// A tool of the server's own that looks at a job may wait for it to change, without a thread.
    pub(super) fn at_once(&self, callable: &Callable, arguments: Option<&RawValue>) -> Plan {
        let waits = || {
            let arguments = arguments.filter(|_| callable.desk.waits_for_job)?;
            let seconds = raw::member(arguments, "wait_seconds")?.get();
            let seconds = match serde_json::from_str::<String>(seconds) {
                Ok(text) if self.lenient_arguments => text.trim().parse().ok()?,
                _ => serde_json::from_str::<f64>(seconds).ok()?,
            };
            let job: String = serde_json::from_str(raw::member(arguments, "job")?.get()).ok()?;
            let changes = self.desk.jobs.as_ref()?.changes(&job)?;
            let wait = Duration::try_from_secs_f64(seconds).ok()?.min(WAIT_MAX);
            (!wait.is_zero()).then(|| Plan::WhenChanged(job.into(), changes, awake::after(wait)))
        };
        waits().unwrap_or(Plan::Here)
    }
}

/// What a background job of this call is to do, outside of any workspace.
fn order(
    callable: &Callable,
    arguments: Option<&RawValue>,
    meta: Option<&Meta<'_>>,
    owner: &Owner,
    era: Era,
) -> Order {
    let owned = |raw: Option<&RawValue>| raw.map(|raw| raw::owned(raw).into());
    Order {
        tool: Arc::clone(&callable.name),
        listed_in: owner.key(),
        arguments: owned(arguments),
        workspace: None,
        capabilities: owned(meta.and_then(|meta| meta.client_capabilities)),
        client_info: owned(meta.and_then(|meta| meta.client_info)),
        is_legacy: era == Era::Legacy,
        restartable: callable.desk.restartable,
    }
}

/// Whether this request says that its client follows tasks. What it said before counts for nothing.
pub(super) fn declares_tasks(params: &Params<'_>) -> bool {
    let meta = params.meta.as_ref();
    let declared = meta
        .and_then(|meta| meta.client_capabilities)
        .and_then(|capabilities| raw::member(capabilities, "extensions"))
        .and_then(|extensions| raw::member(extensions, EXTENSION));
    declared.is_some_and(|settings| settings.get().starts_with('{'))
}

/// What a client hears that would have to follow tasks.
pub(super) fn tasks_required() -> ErrorObject {
    let message =
        format!("The client has to declare the extension `{EXTENSION}` with this request");
    ErrorObject::new(ErrorCode::MISSING_CLIENT_CAPABILITY, message)
        .with_data(json!({ "requiredCapabilities": { "extensions": { EXTENSION: {} } } }))
}
