//! The server's own tools: open, list and close workspaces; look at background jobs, fetch their results, cancel them.
//!
//! They are listed last, and run on the thread that took the request: they wait for no worker, handler or client, but for the store of jobs, and for who
//! holds a job while it is stored. A `job_status` that waits runs where its wait ends. Closing a workspace may drop its value, which is its author's code,
//! so that runs on the lane `urgent`. Must not know how a job or a turn works.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::errands::dropping;
use crate::base::life::Span;
use crate::base::owner::Owner;
use crate::desk::record::{JobOutcome, JobRecord, JobStatus};
use crate::desk::wire::timestamp;
use crate::desk::workspaces::{Key, NoWorkspace};
use crate::engine::background::no_workspace;
use crate::engine::shared::Shared;
use crate::handler::{Json, RequestContext, Tool, ToolError};
use crate::pool::table::PoolTable;
use crate::protocol::errors::ErrorObject;
use crate::protocol::raw;

/// The tools that this server has of its own.
pub(super) fn all(shared: &Arc<Shared>) -> Vec<Tool> {
    let mut tools = Vec::new();
    if shared.desk.has_job_tools {
        tools.extend([
            tool("job_status", "How a background job goes: `working`, `input_required`, `completed`, `failed` or `cancelled`. With `wait_seconds` it answers when the job changes, or after that time.")
                .waits_for_job().handler(with(shared, job_status)),
            tool("job_result", "The result of a background job that has ended.").rendered(with(shared, job_result)),
            tool("job_list", "Your background jobs, the newest first: those of your session. Without a session nobody is known again, and a job is found by its id alone.").handler(with(shared, job_list)),
            tool("job_cancel", "Cancels a background job.").handler(with(shared, job_cancel)),
        ]);
    }
    if shared.desk.workspaces.is_some() {
        let idle = shared.limits.workspace_idle_timeout.as_secs_f32();
        let opens = format!(
            "Opens a workspace and returns the name to pass as `workspace`. It is closed by `close_workspace`, with your session, and over HTTP when it has not been used for {idle} seconds."
        );
        tools.extend([
            tool("open_workspace", &opens)
                .handler(with(shared, open_workspace)),
            tool("list_workspaces", "Your workspaces: since when they are open, when they were last used, what they are busy with, how many calls wait, what they hold in the pools.")
                .handler(with(shared, list_workspaces)),
            Tool::new("close_workspace").lane("urgent").open_world(false).handler(with(shared, close_workspace))
                .description("Closes a workspace: calls that wait for it are turned away, what runs in it ends first, and its state is dropped."),
        ]);
    }
    tools
}

fn tool(name: &str, description: &str) -> Tool {
    let tool = Tool::new(name).description(description);
    tool.open_world(false).lane("urgent").inline()
}

/// What runs with what all calls share, as a handler. The catalogue that will hold it is a part of that.
fn with<A, R>(
    shared: &Arc<Shared>,
    run: impl Fn(&Shared, &Owner, A) -> Result<R, ToolError> + Send + Sync + 'static,
) -> impl Fn(&mut RequestContext, A) -> Result<R, ToolError> + Send + Sync + 'static {
    let shared = Arc::downgrade(shared);
    move |cx, arguments| match shared.upgrade() {
        Some(shared) => run(&shared, cx.control().owner(), arguments),
        None => Err(ErrorObject::overloaded("The server has ended").into()),
    }
}

// ---- jobs ----

/// Which background job.
#[derive(Deserialize, JsonSchema)]
struct WhichJob {
    /// The id that was returned when it began.
    job: String,
}

#[derive(Deserialize, JsonSchema)]
struct LookAtJob {
    /// The id that was returned when it began.
    job: String,
    /// How many seconds to wait for it to change, at most 30. The server looks at it before this tool runs.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "waited for before the tool runs; here so that it stands in the schema"
    )]
    wait_seconds: f64,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
struct JobShown {
    job: Arc<str>,
    status: JobStatus,
    message: String,
}

#[derive(Serialize, JsonSchema)]
struct JobLine {
    job: Arc<str>,
    tool: Arc<str>,
    status: JobStatus,
    message: String,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, JsonSchema)]
struct JobList {
    jobs: Vec<JobLine>,
}

fn look<T>(shared: &Shared, job: &str, show: impl FnOnce(&JobRecord) -> T) -> Result<T, String> {
    let jobs = shared.desk.jobs.as_ref();
    let found = jobs.and_then(|jobs| jobs.look(job, show));
    found.ok_or_else(|| "There is no such job, or its result has expired".into())
}

fn shown(record: &JobRecord) -> JobShown {
    JobShown {
        job: Arc::clone(&record.id),
        status: record.status,
        message: record.message.clone().unwrap_or_default(),
    }
}

fn job_status(shared: &Shared, _: &Owner, which: LookAtJob) -> Result<Json<JobShown>, ToolError> {
    Ok(Json(look(shared, &which.job, shown)?))
}

fn job_cancel(shared: &Shared, _: &Owner, which: WhichJob) -> Result<Json<JobShown>, ToolError> {
    let jobs = shared.desk.jobs.as_ref();
    let _unknown_is_said_below = jobs.and_then(|jobs| jobs.cancel(&which.job));
    Ok(Json(look(shared, &which.job, shown)?))
}

fn job_result(shared: &Shared, _: &Owner, which: WhichJob) -> Result<Box<RawValue>, ToolError> {
    look(shared, &which.job, |record| match &record.outcome {
        Some(JobOutcome::Result(result)) => Ok(raw::owned(result)),
        Some(JobOutcome::Error(_, sentence)) => Err(format!("The job failed: {sentence}").into()),
        Some(JobOutcome::Cancelled) => Err("The job was cancelled".into()),
        None => Err(ToolError::new(format!(
            "The job has not ended: it is `{}`. Ask `job_status` again later",
            record.status.as_str()
        ))),
    })?
}

fn job_list(shared: &Shared, owner: &Owner, _: Nothing) -> Result<Json<JobList>, ToolError> {
    let jobs = match (&shared.desk.jobs, owner.key()) {
        (Some(jobs), Some(listed_in)) => jobs.list(&listed_in, job_line),
        _ => Vec::new(),
    };
    Ok(Json(JobList { jobs }))
}

fn job_line(record: &JobRecord) -> JobLine {
    JobLine {
        job: Arc::clone(&record.id),
        tool: Arc::clone(&record.order.tool),
        status: record.status,
        message: record.message.clone().unwrap_or_default(),
        created_at: timestamp(record.created_ms),
        updated_at: timestamp(record.updated_ms),
    }
}

// ---- workspaces ----

#[derive(Deserialize, JsonSchema)]
struct OpenWorkspace {
    /// A name for it; left out, it is "default". A client without an identity gets a name of the server's instead.
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct CloseWorkspace {
    /// Its name, as `open_workspace` returned it.
    workspace: String,
}

#[derive(Serialize, JsonSchema)]
struct Opened {
    workspace: Arc<str>,
}

#[derive(Serialize, JsonSchema)]
struct WorkspaceLine {
    workspace: Arc<str>,
    open_seconds: u64,
    idle_seconds: u64,
    busy_with: Vec<Arc<str>>,
    waiting: usize,
    panics: usize,
    holds: Vec<HeldLine>,
}

/// A resource of a pool that a workspace holds.
#[derive(Serialize, JsonSchema)]
struct HeldLine {
    pool: Arc<str>,
    resource: Arc<str>,
    held_seconds: u64,
}

#[derive(Serialize, JsonSchema)]
struct WorkspaceList {
    workspaces: Vec<WorkspaceLine>,
}

fn open_workspace(
    shared: &Shared,
    owner: &Owner,
    open: OpenWorkspace,
) -> Result<Json<Opened>, ToolError> {
    let (workspaces, _) = shared.desk.workspaces.as_ref().ok_or("There are none")?;
    let key = shared.workspace_key(open.name, owner.key())?;
    let opened = match key.owner {
        None => workspaces.mint(),
        Some(_) => workspaces.find_or_open(&key),
    };
    let opened = opened.map_err(|problem| no_workspace(problem, &key))?;
    Ok(Json(Opened {
        workspace: Arc::clone(&opened.name),
    }))
}

fn list_workspaces(
    shared: &Shared,
    owner: &Owner,
    _: Nothing,
) -> Result<Json<WorkspaceList>, ToolError> {
    let (workspaces, _) = shared.desk.workspaces.as_ref().ok_or("There are none")?;
    let theirs = owner
        .key()
        .map_or_else(Vec::new, |owner| workspaces.of(&owner));
    let line = |workspace: &Arc<_>| {
        let workspace: &crate::desk::workspace::Workspace = workspace;
        let seen = workspace.look();
        WorkspaceLine {
            workspace: Arc::clone(&workspace.name),
            open_seconds: workspace.since.elapsed().as_secs(),
            idle_seconds: seen.idle_for.as_secs(),
            busy_with: seen.busy_with,
            waiting: seen.waiting,
            panics: seen.panics,
            holds: held_by(shared, &seen.span),
        }
    };
    Ok(Json(WorkspaceList {
        workspaces: theirs.iter().map(line).collect(),
    }))
}

/// What is held of the server's pools by what has this life.
fn held_by(shared: &Shared, span: &Span) -> Vec<HeldLine> {
    let of_pool = |pool: &Arc<PoolTable>| {
        let held = pool.held_by(span).into_iter();
        let pool = Arc::clone(&pool.name);
        held.map(move |(resource, held_for)| HeldLine {
            pool: Arc::clone(&pool),
            resource,
            held_seconds: held_for.as_secs(),
        })
    };
    shared.pools.iter().flat_map(of_pool).collect()
}

fn close_workspace(
    shared: &Shared,
    owner: &Owner,
    close: CloseWorkspace,
) -> Result<String, ToolError> {
    let (workspaces, _) = shared.desk.workspaces.as_ref().ok_or("There are none")?;
    let key = Key {
        owner: owner.key(),
        name: close.workspace.into(),
    };
    let closed = workspaces.close(&key);
    let (workspace, value) = closed.ok_or_else(|| no_workspace(NoWorkspace::Unknown, &key))?;
    let busy = workspace.look().busy_with;
    workspaces.waste.run_and_wait([dropping(value)]);
    shared.sweep_pools();
    Ok(match busy.is_empty() {
        true => "Closed".to_owned(),
        false => format!(
            "Closed; it goes when what runs in it has ended: {}",
            busy.join(", ")
        ),
    })
}
