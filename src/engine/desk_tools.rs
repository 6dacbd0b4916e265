//! The server's own tools: open, list and close workspaces; look at background jobs, fetch their results, cancel them.
//!
//! They are listed last, and run on the thread that took the request, for none of them waits; but closing a workspace may drop its value, which is its
//! author's code, so that runs on the lane `urgent`. Must not know how a job or a turn works.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::life::Span;
use crate::desk::record::{JobOutcome, JobRecord, JobStatus};
use crate::desk::wire::timestamp;
use crate::desk::workspaces::Key;
use crate::engine::background::no_workspace;
use crate::engine::shared::Shared;
use crate::handler::arguments::ArgumentRules;
use crate::handler::control::CallControl;
use crate::handler::invoke::NotCalled;
use crate::handler::portable;
use crate::handler::registration::{Callable, DeskNeeds, OfferKind, Registration, Reply};
use crate::handler::shown::{Hints, Shown};
use crate::handler::type_schema;
use crate::pool::table::PoolTable;
use crate::protocol::errors::ErrorObject;
use crate::protocol::types::{CallToolResult, ToolAnnotations};

/// What a tool says: a result, or a problem for the model.
type ToolAnswer = Result<Reply, String>;

/// The tools that this server has of its own.
pub(super) fn all(shared: &Arc<Shared>) -> Vec<Registration> {
    let mut tools = Vec::new();
    if shared.desk.has_job_tools {
        tools.extend([
            tool("job_status", "How a background job goes: `working`, `input_required`, `completed`, `failed` or `cancelled`. With `wait_seconds` it answers when the job changes, or after that time.", shared, job_status).waits().shows::<JobShown>(),
            tool("job_result", "The result of a background job that has ended.", shared, job_result),
            tool("job_list", "Your background jobs, the newest first.", shared, job_list).shows::<JobList>(),
            tool("job_cancel", "Cancels a background job.", shared, job_cancel).shows::<JobShown>(),
        ]);
    }
    if shared.desk.workspaces.is_some() {
        tools.extend([
            tool("open_workspace", "Opens a workspace and returns the name to pass as `workspace`. It is closed by `close_workspace`, or when it has not been used for a while.", shared, open_workspace).shows::<Opened>(),
            tool("list_workspaces", "Your workspaces: since when they are open, when they were last used, what they are busy with, how many calls wait, what they hold in the pools.", shared, list_workspaces).shows::<WorkspaceList>(),
            tool("close_workspace", "Closes a workspace: calls that wait for it are turned away, what runs in it ends first, and its state is dropped.", shared, close_workspace).on_urgent(),
        ]);
    }
    tools.into_iter().map(|tool| tool.0).collect()
}

/// A tool of ours on its way to the catalogue.
struct Own(Registration);

impl Own {
    fn waits(mut self) -> Self {
        self.0.callable.desk.waits_for_job = true;
        self
    }

    fn on_urgent(mut self) -> Self {
        self.0.callable.desk.is_inline = false;
        self
    }

    fn shows<R: JsonSchema>(mut self) -> Self {
        self.0.shown.output_schema = Some(portable::of_result(type_schema::schema_of::<R>()));
        self
    }
}

fn tool<A, F>(name: &str, description: &str, shared: &Arc<Shared>, run: F) -> Own
where
    A: DeserializeOwned + JsonSchema + 'static,
    F: Fn(&Shared, &dyn CallControl, A) -> ToolAnswer + Send + Sync + 'static,
{
    let schema = type_schema::schema_of::<A>();
    let rules = ArgumentRules::read_by(schema.clone());
    // The catalogue that holds this is a part of it.
    let shared = Arc::downgrade(shared);
    let handler = move |call: Arc<dyn CallControl>, arguments: &RawValue| {
        let shared = shared.upgrade();
        let shared = shared.ok_or_else(|| ErrorObject::overloaded("The server has ended"))?;
        let said = match rules.read(arguments.get(), &*call) {
            Ok((arguments, _charged)) => run(&shared, &*call, arguments),
            Err(unread) => Err(NotCalled::from(unread).problem()?),
        };
        Ok(said.unwrap_or_else(|problem| Reply::Tool(CallToolResult::error(problem))))
    };
    let input = portable::one_object(schema);
    let input = input.expect("our own types are plain structs");
    let hints = ToolAnnotations {
        open_world_hint: Some(false),
        ..ToolAnnotations::default()
    };
    Own(Registration {
        kind: OfferKind::Tool,
        shown: Shown {
            name: name.into(),
            description: Some(description.into()),
            input_schema: Some(input),
            annotations: Some(Hints::Tool(hints)),
            ..Shown::default()
        },
        lane: "urgent".into(),
        callable: Callable {
            desk: DeskNeeds {
                is_inline: true,
                ..DeskNeeds::default()
            },
            ..Callable::new(name.into(), Box::new(handler))
        },
    })
}

/// A structured result, and the same as text.
fn structured(value: &impl Serialize) -> ToolAnswer {
    let value = serde_json::to_value(value).expect("what we say is JSON");
    let mut result = CallToolResult::text(value.to_string());
    result.structured_content = Some(value);
    Ok(Reply::Tool(result))
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

fn look<T>(
    shared: &Shared,
    call: &dyn CallControl,
    job: &str,
    show: impl FnOnce(&JobRecord) -> T,
) -> Result<T, String> {
    let jobs = shared.desk.jobs.as_ref();
    let found = jobs.and_then(|jobs| jobs.look(job, call.owner().principal(), show));
    found.ok_or_else(|| "There is no such job, or its result has expired".into())
}

fn shown(record: &JobRecord) -> JobShown {
    JobShown {
        job: Arc::clone(&record.id),
        status: record.status,
        message: record.message.clone().unwrap_or_default(),
    }
}

fn job_status(shared: &Shared, call: &dyn CallControl, which: LookAtJob) -> ToolAnswer {
    structured(&look(shared, call, &which.job, shown)?)
}

fn job_cancel(shared: &Shared, call: &dyn CallControl, which: WhichJob) -> ToolAnswer {
    let jobs = shared.desk.jobs.as_ref();
    let owner = call.owner();
    let _unknown_is_said_below = jobs.and_then(|jobs| jobs.cancel(&which.job, owner.principal()));
    structured(&look(shared, call, &which.job, shown)?)
}

fn job_result(shared: &Shared, call: &dyn CallControl, which: WhichJob) -> ToolAnswer {
    look(shared, call, &which.job, |record| match &record.outcome {
        Some(JobOutcome::Result(result)) => Ok(Reply::Rendered((**result).to_owned())),
        Some(JobOutcome::Error(_, sentence)) => Err(format!("The job failed: {sentence}")),
        Some(JobOutcome::Cancelled) => Err("The job was cancelled".into()),
        None => Err(format!(
            "The job has not ended: it is `{}`. Ask `job_status` again later",
            record.status.as_str()
        )),
    })?
}

fn job_list(shared: &Shared, call: &dyn CallControl, _: Nothing) -> ToolAnswer {
    let listed_in = call.owner().key();
    let jobs = match (&shared.desk.jobs, listed_in) {
        (Some(jobs), Some(listed_in)) => jobs.list(&listed_in, job_line),
        _ => Vec::new(),
    };
    structured(&JobList { jobs })
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

fn open_workspace(shared: &Shared, call: &dyn CallControl, open: OpenWorkspace) -> ToolAnswer {
    let (workspaces, _) = shared.desk.workspaces.as_ref().ok_or("There are none")?;
    let owner = call.owner().key();
    let key = shared.workspace_key(open.name, owner)?;
    let opened = match key.owner {
        None => workspaces.mint(),
        Some(_) => workspaces.find_or_open(&key),
    };
    let opened = opened.map_err(|problem| no_workspace(problem, &key))?;
    structured(&Opened {
        workspace: Arc::clone(&opened.name),
    })
}

fn list_workspaces(shared: &Shared, call: &dyn CallControl, _: Nothing) -> ToolAnswer {
    let (workspaces, _) = shared.desk.workspaces.as_ref().ok_or("There are none")?;
    let owner = call.owner().key();
    let theirs = owner.map_or_else(Vec::new, |owner| workspaces.of(&owner));
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
    structured(&WorkspaceList {
        workspaces: theirs.iter().map(line).collect(),
    })
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

fn close_workspace(shared: &Shared, call: &dyn CallControl, close: CloseWorkspace) -> ToolAnswer {
    let (workspaces, _) = shared.desk.workspaces.as_ref().ok_or("There are none")?;
    let key = Key {
        owner: call.owner().key(),
        name: close.workspace.into(),
    };
    let closed = workspaces.close(&key);
    let closed = closed.ok_or("There is no such workspace, or it has been closed")?;
    let busy = closed.workspace.look().busy_with;
    drop(closed);
    shared.sweep_pools();
    let text = match busy.is_empty() {
        true => "Closed".to_owned(),
        false => format!(
            "Closed; it goes when what runs in it has ended: {}",
            busy.join(", ")
        ),
    };
    Ok(Reply::Tool(CallToolResult::text(text)))
}
