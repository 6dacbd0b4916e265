//! Several people, or agents, look after one fleet of machines at once, and nobody tears down what another has set up.
//!
//! - Everybody has a *workspace*, with the hosts that it has taken: two updates advance at once, one a workspace.
//! - Hosts come from a *pool*. Who wants a busy one waits, and is told for which, and who has it. A workspace that is closed gives its hosts back.
//! - An update takes minutes, so it runs as a *job*: it goes on when its client has left, its progress can be looked at, and with `--jobs FILE` (and
//!   `--features durable`) the result is there after the server has been killed.
//! - `fleet` shows it all and waits for nobody: it runs on the lane `urgent`, and reads what was published last.
//!
//! ```sh
//! cargo run --features durable --example operations -- --http 127.0.0.1:8080 --jobs jobs.redb
//! ```
//!
//! The fleet is only simulated; a step of an update lasts a second, or `--step-ms N`. Try, with one client: `take_host`, `update_host` with
//! `"background": true`, `job_status`; with another meanwhile: `fleet`, and `take_host` with the same `like`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_threads::schemars::{self, JsonSchema};
use mcp_threads::{
    ClaimError, Execution, Json, RequestContext, ResourcePool, Result, Scope, Server, Snapshot,
    Tool, ToolError,
};
use serde::{Deserialize, Serialize};

/// What all calls share.
#[derive(Clone)]
struct Fleet {
    hosts: ResourcePool<&'static str>,
    /// What is installed where, and what is being installed.
    versions: Arc<Mutex<Versions>>,
    shown: Arc<Snapshot<Versions>>,
    step: Duration,
}

type Versions = BTreeMap<&'static str, Installed>;

#[derive(Clone, Default)]
struct Installed {
    version: String,
    updating: bool,
}

/// What a workspace keeps: nothing of its own, for what it has taken is in the pool.
struct Desk;

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Take {
    /// How the name of the host begins; any host if it is left out.
    #[serde(default)]
    like: String,
    /// How many seconds to wait for a host that is busy.
    #[serde(default)]
    wait_seconds: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Update {
    /// A host that this workspace has taken.
    host: String,
    /// What to install.
    version: String,
}

#[derive(Serialize, JsonSchema)]
struct Shown {
    hosts: Vec<ShownHost>,
}

#[derive(Serialize, JsonSchema)]
struct ShownHost {
    name: String,
    version: String,
    updating: bool,
    /// Who has it; empty when it is free.
    taken_by: String,
}

fn main() -> Result<()> {
    env_logger::Builder::from_default_env()
        .target(env_logger::Target::Pipe(Box::new(mcp_threads::log_lossy())))
        .init();
    let option = |name: &str| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name);
        arguments.nth(1)
    };
    let step = option("--step-ms").and_then(|step| step.parse().ok());
    let mut server = operations(Duration::from_millis(step.unwrap_or(1000)));
    if let Some(path) = option("--jobs") {
        server = keep_jobs(server, &path)?;
    }
    let running = match option("--http") {
        Some(address) => server.serve_http(address)?,
        None => server.serve_stdio()?,
    };
    let mut stderr = mcp_threads::log_lossy();
    let _never_fails = match running.url() {
        Some(url) => writeln!(stderr, "listening on {url}"),
        None => writeln!(
            stderr,
            "serving on stdin and stdout; for HTTP add --http 127.0.0.1:8080"
        ),
    };
    running.run_until_ctrl_c()
}

fn operations(step: Duration) -> Server<Fleet> {
    let names = ["db-1", "web-1", "web-2", "web-3"];
    let first = Installed {
        version: "1.0".into(),
        updating: false,
    };
    let versions = Versions::from(names.map(|name| (name, first.clone())));
    let hosts = ResourcePool::fixed("hosts", names);
    let fleet = Fleet {
        hosts: hosts.clone(),
        shown: Arc::new(Snapshot::new(versions.clone())),
        versions: Arc::new(Mutex::new(versions)),
        step,
    };
    Server::new("operations", "1.0.0")
        .with_state(fleet)
        .pool(&hosts)
        .job_tools()
        .workspaces(|_name, _owner| Ok::<_, String>(Desk))
        .register(
            Tool::new("take_host")
                .description("Takes a free host for the workspace, until that is closed.")
                .in_workspace()
                .handler(take_host),
        )
        .register(
            Tool::new("update_host")
                .description("Installs a version on a host, which takes a while.")
                .execution(Execution::EitherWay)
                .in_workspace()
                .handler(update_host),
        )
        .register(
            Tool::new("fleet")
                .description("Shows every host: what it runs, and who has it.")
                .lane("urgent")
                .handler(fleet_shown),
        )
}

/// Waits for a host if it has to. Its client is told meanwhile for which host and who has it.
fn take_host(
    cx: &mut RequestContext<Fleet>,
    take: Take,
) -> std::result::Result<String, ClaimError> {
    let wait = Duration::from_secs(take.wait_seconds);
    let hosts = cx.state().hosts.clone();
    let mut host = hosts.claim_where(cx, wait, |name| name.starts_with(&take.like))?;
    host.keep_for(cx, Scope::Workspace)?;
    Ok((*host).to_owned())
}

fn update_host(
    cx: &mut RequestContext<Fleet>,
    update: Update,
) -> std::result::Result<String, ToolError> {
    let fleet = cx.state().clone();
    // The workspace's own, or a free one; what another workspace has taken is an error that names it.
    let hosts = fleet.hosts.clone();
    let host = hosts.claim_where(cx, Duration::ZERO, |name| *name == update.host)?;
    fleet.note(&host, |installed| installed.updating = true);
    let steps = ["drain", "download", "install", "restart"];
    for (done, step) in (1..).zip(steps) {
        cx.progress((f64::from(done), 4.0, format!("{}: {step}", *host)));
        if let Err(cancelled) = cx.sleep(fleet.step) {
            fleet.note(&host, |installed| installed.updating = false);
            return Err(cancelled.into());
        }
    }
    fleet.note(&host, |installed| {
        *installed = Installed {
            version: update.version.clone(),
            updating: false,
        };
    });
    Ok(format!("{} runs {}", *host, update.version))
}

/// Reads what was published last, and waits neither for an update nor for a host.
fn fleet_shown(cx: &mut RequestContext<Fleet>, _: Nothing) -> Json<Shown> {
    let versions = cx.state().shown.read();
    let hosts = cx.state().hosts.list().resources.into_iter().map(|host| {
        let installed = versions.get(&*host.name).cloned().unwrap_or_default();
        ShownHost {
            taken_by: host
                .claimed
                .map_or_else(String::new, |claim| claim.holder.to_string()),
            version: installed.version,
            updating: installed.updating,
            name: host.name,
        }
    });
    Json(Shown {
        hosts: hosts.collect(),
    })
}

impl Fleet {
    /// Notes what is going on at a host, and publishes it.
    fn note(&self, host: &'static str, change: impl FnOnce(&mut Installed)) {
        let mut versions = self
            .versions
            .lock()
            .expect("nothing panics while it is held");
        change(versions.entry(host).or_default());
        self.shown.publish(versions.clone());
    }
}

#[cfg(feature = "durable")]
fn keep_jobs(server: Server<Fleet>, path: &str) -> Result<Server<Fleet>> {
    Ok(server.job_store(mcp_threads::DurableStore::open(path)?))
}

#[cfg(not(feature = "durable"))]
fn keep_jobs(_: Server<Fleet>, path: &str) -> Result<Server<Fleet>> {
    eprintln!("no job can be kept in `{path}`: build with `--features durable`");
    std::process::exit(2)
}
