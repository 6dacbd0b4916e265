//! Workspaces: one call at a time in each, in order, and none of those who wait holds a worker; nobody sees another's.

use mcp_threads::{Cancelled, Limits, RequestContext, Server, Tool};
use serde_json::{Value, json};

use crate::harness::message::cancel;
use crate::harness::{Gate, Served, call, code, text};

type Context = RequestContext;

/// A workspace that says when it is dropped.
struct Desk {
    name: String,
    log: Vec<String>,
    dropped: std::sync::mpsc::Sender<String>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _the_test_may_have_ended = self.dropped.send(self.name.clone());
    }
}

struct Bench {
    gate: Gate,
    dropped: std::sync::mpsc::Receiver<String>,
    server: Server,
}

fn bench() -> Bench {
    let gate = Gate::new();
    let (sender, dropped) = std::sync::mpsc::channel();
    let (door, reads) = (gate.door(), gate.door());
    let sender = std::sync::Mutex::new(sender);
    let who = |args: &Value| args["who"].as_str().unwrap_or("somebody").to_owned();
    let server = Server::new("it", "1.0.0")
        .workers(2)
        .workspaces(move |name, _owner| {
            if name == "cursed" {
                return Err("it is cursed");
            }
            Ok(Desk {
                name: name.into(),
                log: Vec::new(),
                dropped: sender.lock().expect("not poisoned").clone(),
            })
        })
        .register(Tool::new("work").in_workspace().handler(
            move |cx: &mut Context, desk: &mut Desk, args: Value| {
                desk.log.push(who(&args));
                door.pass_or_leave(cx, &who(&args))?;
                Ok::<_, Cancelled>(format!("{}: {:?}", desk.name, desk.log))
            },
        ))
        .register(Tool::new("read").reads_workspace().handler(
            move |cx: &mut Context, desk: &Desk, args: Value| {
                reads.pass_or_leave(cx, &who(&args))?;
                Ok::<_, Cancelled>(desk.log.len())
            },
        ))
        .register(Tool::new("crash").in_workspace().handler(
            |_: &mut Context, desk: &mut Desk, _: Value| -> String {
                desk.log.push("crash".into());
                panic!("on purpose")
            },
        ))
        .tool("plain", "Needs no workspace.", |_: Value| "plain");
    Bench {
        gate,
        dropped,
        server,
    }
}

fn work(id: &str, workspace: &str) -> Value {
    call(id, "work", json!({ "who": id, "workspace": workspace }))
}

#[test]
fn law_15_calls_that_wait_for_their_turn_hold_no_worker_and_run_in_order() {
    let Bench { gate, server, .. } = bench();
    let (served, mut client) = Served::pipe(server);
    for id in ["0", "1", "2", "3", "4"] {
        client.send(&work(id, "a"));
    }
    assert_eq!(gate.began(), "0");
    // One of two workers is busy; the others wait before the lane, so another workspace and another tool run.
    client.send(&work("other", "b"));
    assert_eq!(gate.began(), "other");
    assert_eq!(served.main().queued, 0, "{:?}", served.stats());
    gate.let_go(1000);
    let answers: Vec<Value> = (0..6).map(|_| client.recv()).collect();
    let last = answers
        .iter()
        .find(|answer| answer["id"] == "4")
        .expect("it is answered");
    assert_eq!(text(last), r#"a: ["0", "1", "2", "3", "4"]"#);
    let other = answers
        .iter()
        .find(|answer| answer["id"] == "other")
        .expect("it is answered");
    assert_eq!(text(other), r#"b: ["other"]"#);
    client.close();
    served.stop();
}

#[test]
fn law_2_the_queue_of_a_workspace_is_bounded_and_a_cancelled_call_leaves_it() {
    let Bench { gate, server, .. } = bench();
    let limits = Limits::default().workspace_queue_len_max(1);
    let (served, mut client) = Served::pipe(server.limits(limits));
    client.send(&work("runs", "a"));
    assert_eq!(gate.began(), "runs");
    client.send(&work("waits", "a"));
    let full = client.ask(&work("full", "a"));
    assert_eq!(code(&full), 503, "{full}");
    assert_eq!(served.stats().waiting_for_workspaces, 1);
    client.send(&cancel("waits"));
    client.send(&work("next", "a"));
    let listed = client.ask(&call("list", "list_workspaces", json!({})));
    let seen = &listed["result"]["structuredContent"]["workspaces"][0];
    assert_eq!(
        (&seen["workspace"], &seen["waiting"], &seen["busy_with"]),
        (&json!("a"), &json!(1), &json!(["work"])),
        "{listed}"
    );
    gate.let_go(1000);
    let mut ended: Vec<Value> = (0..2).map(|_| client.recv()["id"].clone()).collect();
    ended.sort_by_key(ToString::to_string);
    assert_eq!(ended, ["next", "runs"]);
    client.close();
    served.stop();
}

#[test]
fn reads_run_beside_each_other_and_not_beside_a_change() {
    let Bench { gate, server, .. } = bench();
    let (served, mut client) = Served::pipe(server);
    let read = |id: &str| call(id, "read", json!({ "who": id }));
    client.send(&read("one"));
    client.send(&read("two"));
    let mut inside = [gate.began(), gate.began()];
    inside.sort();
    assert_eq!(inside, ["one", "two"], "both at once");
    client.send(&call("change", "work", json!({ "who": "change" })));
    client.send(&read("late"));
    gate.let_go(1000);
    let mut order = Vec::new();
    for _ in 0..4 {
        let answer = client.recv();
        order.push((
            answer["id"].as_str().expect("a string").to_owned(),
            text(&answer).to_owned(),
        ));
    }
    assert_eq!(order[2].0, "change", "{order:?}");
    assert_eq!(order[3], ("late".to_owned(), "1".to_owned()), "{order:?}");
    client.close();
    served.stop();
}

#[test]
fn a_panic_leaves_no_half_broken_workspace() {
    let Bench {
        gate,
        server,
        dropped,
    } = bench();
    gate.let_go(1000);
    let (served, mut client) = Served::pipe(server);
    assert_eq!(text(&client.ask(&work("before", "a"))), r#"a: ["before"]"#);
    assert_eq!(
        code(&client.ask(&call("crash", "crash", json!({ "workspace": "a" })))),
        -32603
    );
    assert_eq!(dropped.recv().as_deref(), Ok("a"));
    assert_eq!(text(&client.ask(&work("after", "a"))), r#"a: ["after"]"#);
    let listed = client.ask(&call("list", "list_workspaces", json!({})));
    assert_eq!(
        listed["result"]["structuredContent"]["workspaces"][0]["panics"], 1,
        "{listed}"
    );
    client.close();
    served.stop();
}

#[test]
fn a_closed_workspace_turns_away_who_waits_and_is_dropped_when_nobody_is_inside() {
    let Bench {
        gate,
        server,
        dropped,
    } = bench();
    let (served, mut client) = Served::pipe(server);
    client.send(&work("inside", "a"));
    assert_eq!(gate.began(), "inside");
    client.send(&work("waits", "a"));
    client.send(&call(
        "close",
        "close_workspace",
        json!({ "workspace": "a" }),
    ));
    let (one, two) = (client.recv(), client.recv());
    let (waits, close) = if one["id"] == "waits" {
        (one, two)
    } else {
        (two, one)
    };
    assert!(text(&waits).contains("was closed"), "{waits}");
    assert!(text(&close).contains("work"), "{close}");
    assert!(dropped.try_recv().is_err(), "a call is inside");
    gate.let_go(1000);
    assert_eq!(client.recv()["id"], "inside");
    assert_eq!(dropped.recv().as_deref(), Ok("a"));
    let again = client.ask(&call(
        "again",
        "close_workspace",
        json!({ "workspace": "a" }),
    ));
    assert_eq!(again["result"]["isError"], true, "{again}");
    client.close();
    served.stop();
}

#[test]
fn a_workspace_that_cannot_be_made_is_a_tool_error() {
    let Bench { gate, server, .. } = bench();
    gate.let_go(1000);
    let (served, mut client) = Served::pipe(server);
    let answer = client.ask(&work("1", "cursed"));
    assert!(text(&answer).contains("it is cursed"), "{answer}");
    client.close();
    served.stop();
}

#[test]
fn a_workspace_that_is_closed_when_it_breaks_turns_away_what_waits() {
    let Bench {
        gate,
        server,
        dropped,
    } = bench();
    let (served, mut client) = Served::pipe(server.close_broken_workspaces(true));
    client.send(&work("holds", "a"));
    assert_eq!(gate.began(), "holds");
    client.send(&call("crash", "crash", json!({ "workspace": "a" })));
    client.send(&work("waits", "a"));
    // Behind them, so that they wait in it.
    client.send(&call("list", "list_workspaces", json!({})));
    client.answer("list");
    gate.let_go(1000);
    assert_eq!(text(&client.answer("holds")), r#"a: ["holds"]"#);
    assert_eq!(code(&client.answer("crash")), -32603);
    let turned_away = client.answer("waits");
    assert!(turned_away.to_string().contains("closed"), "{turned_away}");
    assert_eq!(dropped.recv().as_deref(), Ok("a"));
    assert_eq!(text(&client.ask(&work("after", "a"))), r#"a: ["after"]"#);
    client.close();
    served.stop();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn nobody_sees_anothers_workspace_and_one_without_identity_gets_a_handle() {
    use crate::harness::talk::introduced;
    use crate::harness::{legacy_call, modern, on_every_front};

    on_every_front(|front| {
        let Bench {
            gate,
            server,
            dropped,
        } = bench();
        gate.let_go(1000);
        let (served, http) = front.serve(server);
        let ask = |message: &Value| http.modern(message).send().message();
        for name in [json!({}), json!({ "workspace": "a" })] {
            let answer = ask(&call(1, "work", name));
            assert!(text(&answer).contains("open_workspace"), "{answer}");
        }
        let unknown = ask(&call(1, "close_workspace", json!({ "workspace": "none" })));
        assert!(
            text(&unknown).contains("call `open_workspace`"),
            "{unknown}"
        );
        let listed = ask(&modern(1, "tools/list", json!({}))).to_string();
        assert!(
            listed.contains("not been used for 1800 seconds"),
            "{listed}"
        );
        let opened = ask(&call(1, "open_workspace", json!({ "name": "mine" })));
        let handle = opened["result"]["structuredContent"]["workspace"].clone();
        assert!(
            handle.as_str().is_some_and(|handle| handle.len() > 30),
            "{opened}"
        );
        let add = |who: &str| call(1, "work", json!({ "who": who, "workspace": handle }));
        ask(&add("one"));
        assert!(text(&ask(&add("two"))).ends_with(r#"["one", "two"]"#));
        assert_eq!(
            ask(&call(1, "list_workspaces", json!({})))["result"]["structuredContent"]["workspaces"],
            json!([])
        );

        let session = introduced(http, &json!({}));
        let stranger = session
            .post(&legacy_call(
                1,
                "work",
                json!({ "who": "s", "workspace": handle }),
            ))
            .send();
        assert!(
            text(&stranger.message()).ends_with(r#"["s"]"#),
            "the same name is another workspace"
        );
        session.delete();
        let gone = dropped.recv_timeout(crate::harness::PATIENCE);
        assert_eq!(
            gone.map(Value::from).as_ref(),
            Ok(&handle),
            "the session's own goes with it"
        );
        assert!(
            text(&ask(&add("three"))).contains("two"),
            "the other one is still there"
        );
        served.stop();
    });
}

/// Who has a name for a workspace opens it by using it, also in the moment in which the one of this name is closed because nobody used it.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn a_call_that_meets_a_workspace_which_is_just_closed_for_idleness_opens_the_next() {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::harness::talk::introduced;
    use crate::harness::{legacy_call, on_every_front};

    on_every_front(|front| {
        let Bench { gate, server, .. } = bench();
        gate.let_go(100_000);
        let idle_at_once = Limits::default().workspace_idle_timeout(std::time::Duration::ZERO);
        let (served, http) = front.serve(server.limits(idle_at_once));
        let session = introduced(http, &json!({}));
        let works = AtomicBool::new(true);
        let refused = std::thread::scope(|scope| {
            scope.spawn(|| {
                // Each has the server look for workspaces that are to be closed, and ends no session.
                let look = http.bare("DELETE", "/mcp").field("Mcp-Session-Id", "none");
                while works.load(Ordering::Relaxed) {
                    assert_eq!(look.send().status, 404);
                }
            });
            let work = legacy_call("work", "work", json!({ "who": "x", "workspace": "w" }));
            let answers = (0..1000).map(|_| session.ask(&work));
            let refused: Vec<Value> = answers
                .filter(|answer| answer["result"]["isError"] == true)
                .collect();
            works.store(false, Ordering::Relaxed);
            refused
        });
        assert_eq!(refused, Vec::<Value>::new());
        served.stop();
    });
}

/// A workspace whose destructor hangs until the test ends.
struct Stuck(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Drop for Stuck {
    fn drop(&mut self) {
        let _released = self.0.lock().expect("not poisoned").recv();
    }
}

#[test]
fn law_6_destructors_that_hang_keep_neither_the_urgent_lane_nor_the_end() {
    let gate = Gate::new();
    let door = gate.door();
    let releases = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = std::sync::Arc::clone(&releases);
    let server = Server::new("it", "1.0.0")
        .workspaces(move |_, _| {
            let (release, released) = std::sync::mpsc::channel();
            kept.lock().expect("not poisoned").push(release);
            Ok::<_, String>(Stuck(released.into()))
        })
        .register(
            Tool::new("use")
                .in_workspace()
                .handler(|_: &mut Context, _: &mut Stuck, _: Value| "used"),
        )
        .tool("wait", "Waits.", move |cx: &mut Context, _: Value| {
            door.pass_or_leave(cx, "waits")
        });
    let (served, mut client) = Served::pipe(server);
    for workspace in ["a", "b", "c", "d"] {
        let used = client.ask(&call(workspace, "use", json!({ "workspace": workspace })));
        assert_eq!(text(&used), "used");
    }
    // More than the lane `urgent` has workers.
    for workspace in ["a", "b", "c"] {
        let close = json!({ "workspace": workspace });
        let closed = client.ask(&call(workspace, "close_workspace", close));
        assert_eq!(text(&closed), "Closed");
    }
    client.send(&call("wait", "wait", json!({})));
    assert_eq!(gate.began(), "waits");
    // What outlives the drain deadline closes every workspace.
    served.shutdown(std::time::Duration::from_millis(1));
    assert_eq!(code(&client.answer("wait")), 503);
    releases.lock().expect("not poisoned").clear();
}

/// What was the last of a workspace goes with the call inside, whose worker answers others afterwards.
fn leaves_a_stuck_value(breaks: bool) {
    let gate = Gate::new();
    let door = gate.door();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let only = std::sync::Mutex::new(Some(released));
    let server = Server::new("it", "1.0.0")
        .lane(mcp_threads::Lane::new("main").workers(1))
        .workspaces(move |_, _| {
            let released = only.lock().expect("not poisoned").take();
            Ok::<_, String>(Stuck(released.expect("it is made once").into()))
        })
        .register(Tool::new("inside").in_workspace().handler(
            move |_: &mut Context, _: &mut Stuck, _: Value| {
                door.pass("inside");
                assert!(!breaks, "on purpose");
                "was inside"
            },
        ))
        .tool("plain", "Needs a worker.", |_: Value| "plain");
    let (served, mut client) = Served::pipe(server);
    client.send(&call("inside", "inside", json!({ "workspace": "a" })));
    assert_eq!(gate.began(), "inside");
    if !breaks {
        let closed = client.ask(&call("1", "close_workspace", json!({ "workspace": "a" })));
        assert!(text(&closed).contains("inside"), "{closed}");
    }
    gate.let_go(1);
    let answer = client.answer("inside");
    assert_eq!(answer["error"].is_object(), breaks, "{answer}");
    assert_eq!(text(&client.ask(&call("2", "plain", json!({})))), "plain");
    drop(release);
    client.close();
    served.stop();
}

#[test]
fn law_3_a_destructor_that_hangs_behind_a_closed_workspace_keeps_no_worker() {
    leaves_a_stuck_value(false);
}

#[test]
fn law_3_a_destructor_that_hangs_behind_a_panic_keeps_no_worker() {
    leaves_a_stuck_value(true);
}
