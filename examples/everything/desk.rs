//! The shared desk: tools that become background jobs, tools that work in a workspace.
//!
//! What is called a task here is one for clients with the extension `io.modelcontextprotocol/tasks`; the others have `job_status` and its kin.

use std::time::Duration;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{
    AskError, Cancelled, Claim, ClaimError, ErrorObject, Execution, Json, RequestContext, Scope,
    Server, Tool, ToolError,
};
use serde::{Deserialize, Serialize};

use super::fleet::{Host, Hosts};
use super::probes::Counter;

type Context = RequestContext<Counter>;

/// What a workspace keeps.
pub(crate) struct Desk {
    name: String,
    sum: i64,
    /// They go back when the workspace is closed, for this is dropped then.
    hosts: Vec<Claim<Host>>,
}

/// Adds them.
pub(crate) fn register(server: Server<Counter>, hosts: Hosts) -> Server<Counter> {
    let tool = |name: &str, what: &str| Tool::new(name).description(what);
    server
        .job_tools()
        .workspaces(|name, _owner| {
            Ok::<_, String>(Desk {
                name: name.into(),
                sum: 0,
                hosts: Vec::new(),
            })
        })
        .register(
            tool(
                "slow_compute",
                "Computes for a while; a task for those who can follow one.",
            )
            .execution(Execution::EitherWay)
            .handler(slow_compute),
        )
        .register(
            tool("failing_job", "A task that ends with a tool error.")
                .execution(Execution::Background)
                .handler(failing_job),
        )
        .register(
            tool(
                "protocol_error_job",
                "A task that ends with a protocol error.",
            )
            .execution(Execution::Background)
            .handler(protocol_error_job),
        )
        .register(
            tool("confirm_delete", "A task that asks before it deletes.")
                .execution(Execution::Background)
                .handler(confirm_delete),
        )
        .register(
            tool("multi_input", "A task that asks two things at once.")
                .execution(Execution::Background)
                .handler(multi_input),
        )
        .register(
            tool(
                "test_tool_with_task",
                "Asks for a name, and then becomes a task.",
            )
            .execution(Execution::Background)
            .before_job(|cx: &mut Context, _: Nothing| user_name(cx).map(drop))
            .handler(|cx: &mut Context, _: Nothing| user_name(cx)),
        )
        .register(
            tool(
                "job_echo",
                "Says what it is told after a while; in the background if asked to.",
            )
            .execution(Execution::EitherWay)
            .handler(job_echo),
        )
        .register(
            tool("desk_add", "Adds to the workspace's sum.")
                .in_workspace()
                .handler(desk_add),
        )
        .register(
            tool("desk_work", "Is busy in the workspace.")
                .in_workspace()
                .handler(desk_work),
        )
        .register(
            tool("desk_crash", "Panics in the workspace.")
                .in_workspace()
                .handler(desk_crash),
        )
        .register(
            tool(
                "desk_claim",
                "Claims a host for the workspace, until that is closed.",
            )
            .in_workspace()
            .handler(move |cx: &mut Context, desk: &mut Desk, _: Nothing| {
                desk_claim(cx, desk, &hosts)
            }),
        )
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Compute {
    /// How long to compute, in seconds.
    #[serde(default)]
    seconds: f64,
    /// What to call the result.
    #[serde(default)]
    label: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct File {
    /// The file to delete. Nothing is really deleted.
    #[serde(default)]
    filename: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Confirm {
    confirm: bool,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Name {
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Echo {
    /// What to say.
    text: String,
    /// How long to wait before, in milliseconds.
    #[serde(default)]
    ms: u64,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Add {
    /// What to add.
    n: i64,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Work {
    /// How long, in milliseconds.
    ms: u64,
}

/// What a workspace shows of itself.
#[derive(Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Sum {
    workspace: String,
    sum: i64,
}

/// What a workspace has claimed.
#[derive(Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Claimed {
    workspace: String,
    host: String,
}

fn slow_compute(cx: &mut Context, args: Compute) -> Result<String, Cancelled> {
    let time = Duration::try_from_secs_f64(args.seconds).unwrap_or_default();
    cx.progress((0.0, 1.0, "computing"));
    cx.sleep(time)?;
    Ok(format!("{}: computed for {} s", args.label, args.seconds))
}

fn failing_job(cx: &mut Context, _: Nothing) -> Result<String, ToolError> {
    cx.sleep(Duration::from_secs(1))?;
    Err(ToolError::new("the job has failed, as it should"))
}

fn protocol_error_job(cx: &mut Context, _: Nothing) -> Result<String, ErrorObject> {
    // A client that cancels it hears of that, and not of this.
    let _cancelled = cx.sleep(Duration::from_millis(200));
    Err(ErrorObject::new(-1000, "a protocol error, as it should be"))
}

fn confirm_delete(cx: &mut Context, args: File) -> Result<String, AskError> {
    let question = format!("Delete {}?", args.filename);
    let confirm = cx.elicit::<Confirm>("confirm", &question)?;
    Ok(match confirm.accepted() {
        Some(Confirm { confirm: true }) => format!("{} would be gone now", args.filename),
        _ => format!("{} stays", args.filename),
    })
}

fn multi_input(cx: &mut Context, _: Nothing) -> Result<String, AskError> {
    let first = cx.elicit::<Name>("first", "What is your first name?");
    let last = cx.elicit::<Name>("last", "What is your last name?");
    let name = |name: Option<Name>| name.map_or("somebody".into(), |name| name.name);
    let (first, last) = (first?, last?);
    Ok(format!(
        "{} {}",
        name(first.accepted()),
        name(last.accepted())
    ))
}

fn user_name(cx: &mut Context) -> Result<String, AskError> {
    let name = cx.elicit::<Name>("user_name", "What is your name?")?;
    let name = name
        .accepted()
        .map_or("whoever you are".into(), |name| name.name);
    Ok(format!("Hello, {name}!"))
}

fn job_echo(cx: &mut Context, args: Echo) -> Result<String, Cancelled> {
    cx.sleep(Duration::from_millis(args.ms))?;
    Ok(args.text)
}

fn desk_add(_: &mut Context, desk: &mut Desk, args: Add) -> Json<Sum> {
    desk.sum += args.n;
    Json(Sum {
        workspace: desk.name.clone(),
        sum: desk.sum,
    })
}

fn desk_work(cx: &mut Context, desk: &mut Desk, args: Work) -> Result<String, Cancelled> {
    cx.sleep(Duration::from_millis(args.ms))?;
    Ok(format!("worked {} ms in {}", args.ms, desk.name))
}

fn desk_crash(_: &mut Context, desk: &mut Desk, _: Nothing) -> String {
    panic!("on purpose, in {}", desk.name)
}

fn desk_claim(
    cx: &mut Context,
    desk: &mut Desk,
    hosts: &Hosts,
) -> Result<Json<Claimed>, ClaimError> {
    let mut host = hosts.claim_for(cx, Duration::ZERO)?;
    host.keep_for(cx, Scope::Workspace)?;
    let claimed = Claimed {
        workspace: desk.name.clone(),
        host: host.to_string(),
    };
    desk.hosts.push(host);
    Ok(Json(claimed))
}
