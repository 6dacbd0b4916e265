//! The pool of the reference server, over HTTP and in a process of its own: what other programs rely on.

use serde_json::{Value, json};

use crate::harness::child;
use crate::harness::message::legacy_call;
use crate::harness::{Http, call, text, until};

fn shown(http: Http) -> Vec<Value> {
    let answer = http.ask(&call("hosts", "hosts", json!({})));
    let hosts = &answer["result"]["structuredContent"]["hosts"];
    hosts.as_array().expect("a list").clone()
}

fn holders(http: Http) -> Vec<Value> {
    let shown = shown(http).into_iter();
    shown.map(|host| host["holder"].clone()).collect()
}

#[test]
fn everything_claims_hosts_and_shows_who_has_them() {
    let mut command = child::example("everything");
    command.args(["--http", "127.0.0.1:0"]);
    let (mut running, http) = child::http(command);
    let names: Vec<Value> = shown(http)
        .iter()
        .map(|host| host["name"].clone())
        .collect();
    assert_eq!(names, ["alpha", "beta", "gamma"]);
    assert_eq!(
        shown(http)[0],
        json!({ "name": "alpha", "holder": null, "held_ms": 0, "waiting": 0 })
    );
    let claim = |id: u32, arguments: Value| http.modern(&call(id, "claim", arguments));
    let short = json!({ "ms": 0, "wait_ms": 0 });
    assert_eq!(text(&claim(1, short).send().message()), "alpha");
    // Connections that leave cancel their calls, which give the hosts back.
    let long = json!({ "ms": 600_000, "wait_ms": 0, "like": "b" });
    let mut beta = claim(2, long.clone()).connect();
    beta.send(&claim(2, long));
    until("beta is held", || holders(http)[1].is_string());
    let refused = claim(3, json!({ "ms": 0, "wait_ms": 0, "like": "beta" })).send();
    let refused = refused.message();
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    assert!(
        text(&refused).contains("beta is held by `claim`"),
        "{refused}"
    );
    let waits = json!({ "ms": 0, "wait_ms": 600_000, "like": "beta" });
    let mut waiting = claim(4, waits.clone()).connect();
    waiting.send(&claim(4, waits));
    until("one waits", || shown(http)[1]["waiting"] == 1);
    assert_eq!(shown(http)[0]["waiting"], 0);
    drop(beta);
    assert_eq!(text(&waiting.reply().message()), "beta");
    until("all are free", || {
        holders(http) == [Value::Null, Value::Null, Value::Null]
    });
    running.signal(rustix::process::Signal::TERM);
    running.exits_well();
}

fn open(http: Http) -> Value {
    let opened = http.ask(&call(1, "open_workspace", json!({})));
    opened["result"]["structuredContent"]["workspace"].clone()
}

fn claim(http: Http, workspace: &Value) -> Value {
    http.ask(&call(1, "desk_claim", json!({ "workspace": workspace })))
}

#[test]
fn a_workspace_of_everything_that_is_idle_gives_its_host_back() {
    let mut command = child::example("everything");
    command.args(["--http", "127.0.0.1:0", "--workspace-idle-ms", "1000"]);
    let (mut running, http) = child::http(command);
    // On a slow machine it may have been closed before the claim comes.
    until("it claims before it is idle", || {
        claim(http, &open(http))["result"]["structuredContent"]["host"] == "alpha"
    });
    until("it gives its host back", || holders(http)[0].is_null());
    running.ends_by(rustix::process::Signal::TERM);
}

#[test]
fn everything_claims_for_workspaces() {
    let mut command = child::example("everything");
    command.args(["--http", "127.0.0.1:0"]);
    let (mut running, http) = child::http(command);
    let handle = open(http);
    let claimed = claim(http, &handle);
    assert_eq!(
        claimed["result"]["structuredContent"],
        json!({ "workspace": handle, "host": "alpha" }),
        "{claimed}"
    );
    let holder = holders(http)[0].as_str().expect("it is held").to_owned();
    let name = handle.as_str().expect("a text");
    assert!(
        holder.starts_with("workspace `ws-") && !holder.contains(name),
        "{holder}"
    );
    http.ask(&call(1, "close_workspace", json!({ "workspace": handle })));
    until("it is given back", || holders(http)[0].is_null());
    let session = http.initialize("2025-11-25");
    let answer = session.ask(&legacy_call(
        1,
        "desk_claim",
        json!({ "workspace": "mine" }),
    ));
    assert_eq!(
        answer["result"]["structuredContent"]["host"], "alpha",
        "{answer}"
    );
    assert_eq!(holders(http)[0], "workspace `mine`");
    let listed = session.ask(&legacy_call(2, "list_workspaces", json!({})));
    let holds = &listed["result"]["structuredContent"]["workspaces"][0]["holds"][0];
    assert_eq!(holds["resource"], "alpha", "{listed}");
    session.delete();
    until("the session's goes with it", || holders(http)[0].is_null());
    running.signal(rustix::process::Signal::TERM);
    running.exits_well();
}
