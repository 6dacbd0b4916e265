//! Pools with a lock between processes: a busy host is waited for and its holder named, and what a dead process has left is taken over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mcp_threads::{ClaimError, ExternalLock, FileLock, RequestContext, ResourcePool, Server};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::message::cancel;
use crate::harness::{
    PipeClient, Place, Served, call, child, is_alone, itself, logs, text, until, with_meta,
};

/// Where the locks of the child's pool are.
const DIRECTORY: &str = "MCP_THREADS_TEST_LOCKS";

fn pool(directory: &Path) -> ResourcePool<&'static str> {
    let lock = FileLock::in_directory(directory).expect("a directory can be made");
    ResourcePool::fixed("hosts", ["alpha"])
        .with_lock(lock)
        .poll_interval(Duration::from_millis(5))
}

/// `hold` claims the host and keeps it until it is cancelled, `take` only says that it has had it.
fn server(pool: &ResourcePool<&'static str>) -> Server {
    let (held, taken) = (pool.clone(), pool.clone());
    let hold = move |cx: &mut RequestContext, _: Value| {
        let host = held.claim(cx)?;
        cx.progress((1.0, 1.0, "held"));
        cx.sleep(Duration::MAX)?;
        Ok::<_, ClaimError>(host.to_string())
    };
    let take = move |cx: &mut RequestContext, args: Value| {
        let wait = args["wait_ms"]
            .as_u64()
            .map_or(Duration::MAX, Duration::from_millis);
        taken.claim_for(cx, wait).map(|host| host.to_string())
    };
    Server::new("locks", "1.0.0")
        .pool(pool)
        .tool("hold", "Holds the host.", hold)
        .tool("take", "Takes the host.", take)
}

/// Not a test: the other process, which serves on its stdin and stdout.
#[test]
fn the_other_half() {
    if !is_alone() {
        return;
    }
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("the test says where"));
    let running = server(&pool(&directory)).serve_stdio();
    running.expect("it can start").join();
}

/// The other process has the host now, until its call of this id is cancelled.
#[track_caller]
fn other_holds(other: &mut PipeClient, id: &str) {
    let hold = call(id, "hold", json!({}));
    other.send(&with_meta(hold, json!({ "progressToken": id })));
    while other.recv()["params"]["message"] != "held" {}
}

#[test]
fn a_host_that_another_process_has_is_waited_for_and_a_dead_process_has_none() {
    logs::keep();
    let place = Place::empty("locks");
    let directory = place.0.join("made");
    let hosts = pool(&directory);
    let (served, mut client) = Served::pipe(server(&hosts));
    let mut command = itself("pools_locks::the_other_half");
    command.env(DIRECTORY, &directory);
    let (mut running, mut other) = child::stdio(command);
    while other.line().is_some_and(|line| line != "running 1 test") {}
    other_holds(&mut other, "first");
    let now = client.ask(&call("now", "take", json!({ "wait_ms": 0 })));
    let holder = format!(
        "alpha is held by process {} (`hold` (request ",
        running.id()
    );
    assert!(text(&now).contains(&holder), "{now}");
    assert!(hosts.list().resources[0].held_elsewhere.is_some());
    let waits = with_meta(
        call("waits", "take", json!({})),
        json!({ "progressToken": 1 }),
    );
    client.send(&waits);
    // The first report may come before the lock has been asked for.
    let mut told = client.recv();
    while told["params"]["message"]
        .as_str()
        .is_some_and(|text| !text.contains(&holder))
    {
        told = client.recv();
    }
    other.send(&cancel("first"));
    let mut answer = client.recv();
    while answer["id"] != "waits" {
        answer = client.recv();
    }
    assert_eq!(text(&answer), "alpha");
    let free = || hosts.list().resources[0].claimed.is_none();
    until("it is given back", free);

    other_holds(&mut other, "second");
    client.send(&call("last", "take", json!({})));
    until("it waits", || hosts.list().waiting.len() == 1);
    running.signal(Signal::KILL);
    assert_eq!(text(&client.recv()), "alpha");
    let pid = running.id();
    logs::told(&format!("is taken over: process {pid} "));
    running.wait();
    // And the living one keeps it from a third.
    let third = FileLock::in_directory(&directory).expect("it is there");
    client.send(&call("hold", "hold", json!({})));
    until("it is held", || hosts.list().resources[0].claimed.is_some());
    until("the lock is ours", || {
        let ours = format!("process {} ", std::process::id());
        third
            .holder("alpha")
            .is_some_and(|holder| holder.starts_with(&ours))
    });
    assert!(
        !third
            .try_lock("alpha", "third")
            .expect("it can be asked for")
    );
    client.send(&cancel("hold"));
    until("it is free", || {
        third
            .try_lock("alpha", "third")
            .expect("it can be asked for")
    });
    client.close();
    served.stop();
}
