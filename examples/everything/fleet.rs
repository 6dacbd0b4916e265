//! Hosts that calls and workspaces share: a pool of three, to claim one, to wait for one, to see who has which.

use std::time::Duration;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{ClaimError, Json, RequestContext, ResourcePool, Server, Tool};
use serde::{Deserialize, Serialize};

use super::probes::Counter;

type Context = RequestContext<Counter>;

/// A host is nothing but its name.
pub(crate) type Host = &'static str;

pub(crate) type Hosts = ResourcePool<Host>;

/// The pool.
pub(crate) fn hosts() -> Hosts {
    ResourcePool::fixed("hosts", ["alpha", "beta", "gamma"])
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Wanted {
    /// How long to keep the host, in milliseconds.
    ms: u64,
    /// How long to wait for a host, in milliseconds; with 0 not at all.
    wait_ms: u64,
    /// What the name of the host begins with. Any host if it is left out.
    #[serde(default)]
    like: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct HostList {
    hosts: Vec<HostLine>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct HostLine {
    name: String,
    /// Who has it; null when it is free.
    holder: Option<String>,
    /// For how long, in milliseconds.
    held_ms: u64,
    /// How many wait that would take it.
    waiting: usize,
}

/// Adds the tools, and has the server look after the pool.
pub(crate) fn register(server: Server<Counter>, hosts: &Hosts) -> Server<Counter> {
    let (claimed, shown) = (hosts.clone(), hosts.clone());
    server
        .pool(hosts)
        .register(
            Tool::new("claim")
                .description("Claims a host, keeps it for a while, and says which it was.")
                .read_only(true)
                .handler(move |cx: &mut Context, args: Wanted| claim(cx, &claimed, &args)),
        )
        .register(
            Tool::new("hosts")
                .description("Shows who has which host, and how many wait for it.")
                .lane("urgent")
                .read_only(true)
                .handler(move |_: Nothing| list(&shown)),
        )
}

fn claim(cx: &mut Context, hosts: &Hosts, args: &Wanted) -> Result<String, ClaimError> {
    let like = args.like.as_deref().unwrap_or_default();
    let wait = Duration::from_millis(args.wait_ms);
    let host = hosts.claim_where(cx, wait, |name| name.starts_with(like))?;
    cx.sleep(Duration::from_millis(args.ms))?;
    Ok(host.to_string())
}

fn list(hosts: &Hosts) -> Json<HostList> {
    let resources = hosts.list().resources.into_iter();
    let line = |resource: mcp_threads::PooledResource| {
        let claimed = resource.claimed.as_ref();
        HostLine {
            holder: claimed.map(|claimed| claimed.holder.to_string()),
            held_ms: claimed.map_or(0, |claimed| claimed.held_for.as_millis() as u64),
            name: resource.name,
            waiting: resource.waiting,
        }
    };
    Json(HostList {
        hosts: resources.map(line).collect(),
    })
}
