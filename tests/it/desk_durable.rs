//! Background jobs through the sudden death of their server: what was announced is there afterwards, and no job is in two states.
//!
//! The server is the reference server in a process of its own, killed at moments that differ from round to round. `MCP_THREADS_DEATHS=500 cargo test
//! --all-features sudden_death` has it die as often as that.

use std::collections::HashMap;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::asking::accept;
use crate::harness::talk::modern_with;
use crate::harness::{Dice, PipeClient, Place, child, until};

fn start(store: &Path) -> (child::Running, PipeClient) {
    let mut command = child::example("everything");
    command.arg("--stdio").arg("--jobs").arg(store);
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
    let place = Place::empty("jobs");
    let store = place.0.join("store");
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

/// A server whose disk has no room any more, and jobs of it: some ended before, some after.
#[cfg(target_os = "linux")]
struct FullDisk {
    running: child::Running,
    client: PipeClient,
    jobs: Vec<String>,
}

#[cfg(target_os = "linux")]
impl FullDisk {
    fn of(store: &Path) -> Self {
        // A write beyond the limit fails, and nobody is killed for it.
        let mut command = std::process::Command::new("sh");
        let everything = child::example("everything");
        command
            .args(["-c", r#"trap "" XFSZ; exec "$0" --stdio --jobs "$1""#])
            .arg(everything.get_program())
            .arg(store)
            .env("RUST_LOG", "warn");
        let (running, mut client) = child::stdio(command);
        let early = order(&mut client, "job_echo", json!({ "text": "early" }));
        until_status(&mut client, &early, "completed");
        let late = json!({ "text": "late", "ms": 5_000 });
        let late = order(&mut client, "job_echo", late);
        let size = std::fs::metadata(store).expect("it is there").len();
        allow_files_of(&running, Some(size));
        let mut jobs = vec![early, late];
        let call = json!({ "name": "job_echo", "arguments": { "text": "x".repeat(300_000) } });
        let refused = loop {
            let made = client.ask(&request("big", "tools/call", call.clone()));
            match made["result"]["taskId"].as_str() {
                Some(id) => jobs.push(id.to_owned()),
                None => break made,
            }
        };
        assert_eq!(refused["error"]["code"], -32603, "{refused}");
        FullDisk {
            running,
            client,
            jobs,
        }
    }

    /// What the client is told of each job once all have ended: completed, or that this cannot be stored.
    fn told(&mut self) -> Vec<Value> {
        let waits = |told: &Value| {
            let message = told["statusMessage"].as_str().unwrap_or_default();
            told["status"] == "working" && message.contains("cannot be stored")
        };
        let client = &mut self.client;
        let mut told_of = |id: &String| {
            let mut told = Value::Null;
            until("the job has ended", || {
                told = get(client, id);
                told["status"] == "completed" || waits(&told)
            });
            told
        };
        let told: Vec<_> = self.jobs.iter().map(&mut told_of).collect();
        assert!(told.iter().any(waits), "{told:?}");
        told
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_was_full_for_a_while_costs_nothing_that_was_announced() {
    let place = Place::empty("full");
    let store = place.0.join("store");
    let mut full = FullDisk::of(&store);
    full.told();
    allow_files_of(&full.running, None);
    let after = order(&mut full.client, "job_echo", json!({ "text": "after" }));
    full.jobs.push(after);
    for id in &full.jobs {
        until_status(&mut full.client, id, "completed");
    }
    full.running.signal(Signal::KILL);
    full.running.wait();
    let (mut running, mut client) = start(&store);
    for id in &full.jobs {
        let found = get(&mut client, id);
        assert_eq!(found["status"], "completed", "{found}");
    }
    client.close();
    running.exits_well();
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_told_on_a_full_disk_is_true_after_a_sudden_death() {
    let place = Place::empty("full-death");
    let store = place.0.join("store");
    let mut full = FullDisk::of(&store);
    let told = full.told();
    full.running.signal(Signal::KILL);
    full.running.wait();
    let (mut running, mut client) = start(&store);
    for (id, told) in full.jobs.iter().zip(told) {
        let found = get(&mut client, id);
        let expected = match told["status"] == "completed" {
            true => "completed",
            false => "failed",
        };
        assert_eq!(found["status"], expected, "{told} became {found}");
    }
    client.close();
    running.exits_well();
}
