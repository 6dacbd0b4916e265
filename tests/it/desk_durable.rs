//! Background jobs through the sudden death of their server: what was announced is there afterwards, and no job is in two states.
//!
//! The server is the reference server in a process of its own, killed at moments that differ from round to round. `MCP_THREADS_DEATHS=500 cargo test
//! --all-features sudden_death` has it die as often as that.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::asking::accept;
use crate::harness::talk::modern_with;
use crate::harness::{Dice, PipeClient, child, until};

/// A file of its own, gone at the end.
struct Store(PathBuf);

impl Drop for Store {
    fn drop(&mut self) {
        let _it_may_not_be_there = fs::remove_file(&self.0);
    }
}

impl Store {
    fn new(name: &str) -> Self {
        let name = format!("mcp-threads-{name}-{}", std::process::id());
        Store(std::env::temp_dir().join(name))
    }
}

fn start(store: &Store) -> (child::Running, PipeClient) {
    let mut command = child::example("everything");
    command.arg("--stdio").arg("--jobs").arg(&store.0);
    child::stdio(command)
}

fn request(id: &str, method: &str, params: Value) -> Value {
    let follows =
        json!({ "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } });
    modern_with(id, method, params, &follows)
}

fn order(client: &mut PipeClient, tool: &str, arguments: Value) -> String {
    let call = json!({ "name": tool, "arguments": arguments });
    let made = client.ask(&request("order", "tools/call", call));
    let id = made["result"]["taskId"].as_str();
    id.unwrap_or_else(|| panic!("no task: {made}")).to_owned()
}

fn get(client: &mut PipeClient, id: &str) -> Value {
    let answer = client.ask(&request("get", "tasks/get", json!({ "taskId": id })));
    assert!(answer["result"]["status"].is_string(), "{answer}");
    answer["result"].clone()
}

fn until_status(client: &mut PipeClient, id: &str, status: &str) -> Value {
    let mut seen = Value::Null;
    until(&format!("the job is {status}"), || {
        seen = get(client, id);
        seen["status"] == status
    });
    seen
}

#[test]
fn what_was_announced_survives_every_sudden_death() {
    let deaths = std::env::var("MCP_THREADS_DEATHS").ok();
    let deaths = deaths.map_or(20, |deaths| deaths.parse().expect("it is a number"));
    let store = Store::new("jobs");
    let mut dice = Dice::new(7 + deaths);
    // What each client was told last, by job.
    let mut told: HashMap<String, Value> = HashMap::new();
    let mut waiting: Option<String> = None;
    for _ in 0..deaths {
        let (mut running, mut client) = start(&store);
        for (id, before) in &told {
            let now = get(&mut client, id);
            match before["status"].as_str() {
                Some("working") => assert!(
                    ["completed", "failed"].contains(&now["status"].as_str().unwrap_or("")),
                    "{before} became {now}"
                ),
                Some("input_required") => assert_eq!(now["inputRequests"], before["inputRequests"]),
                _ => assert_eq!(
                    (&now["status"], &now["result"]),
                    (&before["status"], &before["result"])
                ),
            }
        }
        if let Some(id) = waiting.take() {
            let asked = get(&mut client, &id);
            let keys = asked["inputRequests"].as_object().expect("it still asks");
            let yes = accept(json!({ "confirm": true }));
            let answers: serde_json::Map<_, _> =
                keys.keys().map(|key| (key.clone(), yes.clone())).collect();
            let update = json!({ "taskId": id, "inputResponses": answers });
            client.ask(&request("update", "tasks/update", update));
            told.insert(id.clone(), until_status(&mut client, &id, "completed"));
        }
        let asking = order(&mut client, "confirm_delete", json!({ "filename": "a" }));
        told.insert(
            asking.clone(),
            until_status(&mut client, &asking, "input_required"),
        );
        waiting = Some(asking);
        for _ in 0..=dice.roll(4) {
            let ms = dice.roll(20);
            let id = order(&mut client, "job_echo", json!({ "text": "x", "ms": ms }));
            told.insert(id.clone(), get(&mut client, &id));
        }
        // Some of them end before the server does, and their clients hear of it or do not.
        for _ in 0..dice.roll(40) {
            let live = told.iter().filter(|(_, told)| told["status"] == "working");
            let ids: Vec<String> = live.map(|(id, _)| id.clone()).collect();
            for id in ids {
                let now = get(&mut client, &id);
                told.insert(id, now);
            }
        }
        running.signal(Signal::KILL);
        running.wait();
    }
    let ends = |status: &str| {
        told.values()
            .filter(|told| told["status"] == status)
            .count()
    };
    assert!(ends("completed") > 0, "some were seen to end: {told:?}");
}

/// How large a file this process may write.
#[cfg(target_os = "linux")]
fn allow_files_of(running: &child::Running, bytes: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(i32::try_from(running.id()).expect("it is one"));
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).expect("it is our child");
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_was_full_for_a_while_costs_nothing_that_was_announced() {
    let store = Store::new("full");
    // A write beyond the limit fails, and nobody is killed for it.
    let mut command = std::process::Command::new("sh");
    let everything = child::example("everything");
    command
        .args(["-c", r#"trap "" XFSZ; exec "$0" --stdio --jobs "$1""#])
        .arg(everything.get_program())
        .arg(&store.0)
        .env("RUST_LOG", "warn");
    let (mut running, mut client) = child::stdio(command);
    let early = order(&mut client, "job_echo", json!({ "text": "early" }));
    until_status(&mut client, &early, "completed");
    let late = order(
        &mut client,
        "job_echo",
        json!({ "text": "late", "ms": 500 }),
    );
    let size = fs::metadata(&store.0).expect("it is there").len();
    allow_files_of(&running, Some(size));
    let call = json!({ "name": "job_echo", "arguments": { "text": "x".repeat(300_000) } });
    let mut told = Vec::new();
    let refused = loop {
        let made = client.ask(&request("big", "tools/call", call.clone()));
        match made["result"]["taskId"].as_str() {
            Some(id) => told.push(id.to_owned()),
            None => break made,
        }
    };
    assert_eq!(refused["error"]["code"], -32603, "{refused}");
    for id in told.iter().chain([&early, &late]) {
        until_status(&mut client, id, "completed");
    }
    // Its line stands behind those of everything that could not be stored.
    client.ask(&request(
        "mark",
        "tools/call",
        json!({ "name": "panic", "arguments": {} }),
    ));
    running.said("PANIC-SECRET");
    let count = |text: &str| running.stderr().matches(text).count();
    let unstored = count("could not be stored and is kept in memory");
    assert!(unstored > 0, "{}", running.stderr());
    allow_files_of(&running, None);
    let after = order(&mut client, "job_echo", json!({ "text": "after" }));
    until_status(&mut client, &after, "completed");
    until("every end that could not be stored is", || {
        count("is stored now") >= unstored
    });
    running.signal(Signal::KILL);
    running.wait();
    let (mut running, mut client) = start(&store);
    for id in told.iter().chain([&early, &late, &after]) {
        let found = get(&mut client, id);
        assert_eq!(found["status"], "completed", "{found}");
    }
    client.close();
    running.exits_well();
}
