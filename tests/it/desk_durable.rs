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
    let name = format!("mcp-threads-jobs-{}", std::process::id());
    let store = Store(std::env::temp_dir().join(name));
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
