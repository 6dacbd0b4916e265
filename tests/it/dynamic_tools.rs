//! Tools that come and go while serving: what is listed, what can be called, and what clients are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use mcp_threads::{
    Claim, Execution, Limits, Prompt, Reporter, RequestContext, Resource, ResourceTemplate,
    RunningServer, Server, ServerHandle, TestClient, Tool,
};
use serde_json::{Value, json};

use crate::harness::gate::Door;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{
    Gate, PipeClient, Served, call, code, legacy, legacy_call, modern, probes, text, until,
};

fn tool(name: &str) -> Tool {
    let own = name.to_owned();
    Tool::new(name).handler(move |_: Value| own.clone())
}

fn server() -> Server {
    let server = Server::new("it", "1").limits(Limits::default().page_len(3));
    server.register(tool("a")).register(tool("b"))
}

/// The names on one page.
#[track_caller]
fn names(answer: &Value) -> Vec<&str> {
    let tools = answer["result"]["tools"].as_array();
    let tools = tools.unwrap_or_else(|| panic!("this is no list: {answer}"));
    let name = |tool: &'_ Value| tool["name"].as_str().map(str::len);
    assert!(tools.iter().all(|tool| name(tool).is_some()));
    let names = tools.iter().filter_map(|tool| tool["name"].as_str());
    names.collect()
}

fn list(cursor: Option<&Value>) -> Value {
    modern("list", "tools/list", json!({ "cursor": cursor }))
}

/// The first page as both eras see it, which is the same; the client has a session.
#[track_caller]
fn listed(client: &mut PipeClient) -> Vec<String> {
    let params = json!({});
    let now = client.ask(&modern("list", "tools/list", params.clone()));
    let before = client.ask(&legacy("list", "tools/list", params));
    assert_eq!(names(&now), names(&before));
    names(&now).into_iter().map(str::to_owned).collect()
}

/// Whether both eras can call it.
#[track_caller]
fn is_callable(client: &mut PipeClient, name: &str) -> bool {
    let answers = [
        client.ask(&call("call", name, json!({}))),
        client.ask(&legacy_call("call", name, json!({}))),
    ];
    let callable = answers
        .each_ref()
        .map(|answer| answer.get("error").is_none());
    assert_eq!(callable[0], callable[1], "{answers:?}");
    for answer in &answers {
        match callable[0] {
            true => assert_eq!(text(answer), name),
            false => {
                assert_eq!(code(answer), -32602);
                let message = format!("Unknown tool: {name}");
                assert_eq!(answer["error"]["message"], message);
            }
        }
    }
    callable[0]
}

/// How often the session has been told that the list has changed since it was last asked.
#[track_caller]
fn told(client: &mut PipeClient) -> usize {
    let messages = client.sent_so_far();
    for message in &messages {
        assert_eq!(message["method"], "notifications/tools/list_changed");
    }
    messages.len()
}

#[test]
fn a_definition_is_made_on_one_thread_and_registered_on_another() {
    fn goes_anywhere<T: Send + Sync + std::fmt::Debug>() {}
    goes_anywhere::<(Tool, Prompt, Resource, ResourceTemplate)>();
    goes_anywhere::<(Server, RunningServer, ServerHandle, TestClient)>();
    goes_anywhere::<(RequestContext, Reporter, Claim<u8>)>();

    let made = thread::spawn(|| tool("far")).join();
    let (served, mut client) = Served::pipe(server());
    client.initialize("2025-11-25");
    let added = served.handle().add_tool(made.expect("it can be made"));
    added.expect("it can be added");
    assert_eq!(listed(&mut client), ["a", "b", "far"]);
    client.close();
    served.stop();
}

#[test]
fn tools_come_and_go_and_both_eras_see_it() {
    let (served, mut client) = Served::pipe(server());
    client.initialize("2025-11-25");
    let handle = served.handle();
    assert_eq!(listed(&mut client), ["a", "b"]);

    handle.add_tool(tool("c")).expect("it can be added");
    assert_eq!(told(&mut client), 1);
    assert_eq!(listed(&mut client), ["a", "b", "c"]);
    assert!(is_callable(&mut client, "c"));

    assert!(handle.enable_tool("b", false));
    assert_eq!(told(&mut client), 1);
    assert_eq!(listed(&mut client), ["a", "c"]);
    assert!(!is_callable(&mut client, "b"));
    handle.replace(tool("b")).expect("it can be replaced");
    assert!(
        !is_callable(&mut client, "b"),
        "another one is as the one before"
    );
    assert_eq!(listed(&mut client), ["a", "c"]);
    while told(&mut client) > 0 {}
    assert!(handle.enable_tool("b", false), "it is there");
    assert!(handle.enable_tool("a", true));
    assert!(!handle.enable_tool("none", true) && !handle.enable_tool("none", false));
    assert!(!handle.remove_tool("none"));
    assert_eq!(told(&mut client), 0, "nothing has changed");

    assert!(handle.enable_tool("b", true));
    assert_eq!(told(&mut client), 1);
    assert_eq!(listed(&mut client), ["a", "b", "c"], "in its place again");
    assert!(is_callable(&mut client, "b"));

    assert!(handle.remove_tool("a"));
    assert!(!handle.remove_tool("a"), "only once");
    assert_eq!(told(&mut client), 1);
    assert_eq!(listed(&mut client), ["b", "c"]);
    assert!(!is_callable(&mut client, "a"));
    handle.add_tool(tool("a")).expect("its name is free again");
    assert_eq!(told(&mut client), 1);
    assert_eq!(listed(&mut client), ["b", "c", "a"], "as the newest");

    for name in ["a", "b", "c"] {
        assert!(handle.remove_tool(name));
        assert_eq!(told(&mut client), 1);
    }
    assert_eq!(listed(&mut client), [] as [&str; 0]);
    client.close();
    served.stop();
}

#[test]
fn a_tool_that_could_not_be_registered_cannot_be_added() {
    let (served, mut client) = Served::pipe(server());
    client.initialize("2025-11-25");
    let handle = served.handle();
    assert!(handle.enable_tool("b", false));
    assert_eq!(told(&mut client), 1);
    let rows = [
        (tool("a"), vec!["`a`", "twice"]),
        (tool("b"), vec!["`b`", "twice"]),
        (tool("two words"), vec!["`two words`", "1 to 128"]),
        (Tool::new("idle"), vec!["`idle`", "no handler"]),
        (tool("lost").lane("nowhere"), vec!["`lost`", "`nowhere`"]),
        (
            tool("odd").input_schema(json!({ "type": "array" })),
            vec!["`odd`", "object"],
        ),
        // What the desk needs is there from the start or not at all.
        (
            tool("job").execution(Execution::EitherWay),
            vec!["`job`", "background"],
        ),
        (
            tool("desk").in_workspace(),
            vec!["`desk`", "Server::workspaces"],
        ),
    ];
    for (tool, words) in rows {
        let error = handle.add_tool(tool).expect_err("it is wrong");
        assert!(error.is_configuration());
        let message = error.to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    assert_eq!(told(&mut client), 0);
    assert_eq!(listed(&mut client), ["a"]);
    let urgent = tool("fast").lane("urgent");
    handle.add_tool(urgent).expect("this lane exists");
    assert!(is_callable(&mut client, "fast"));
}

#[test]
fn a_cursor_leads_nowhere_once_the_list_has_changed() {
    let (served, mut client) = Served::pipe(server());
    let handle = served.handle();
    for name in ["c", "d", "e"] {
        handle.add_tool(tool(name)).expect("it can be added");
    }
    let first = client.ask(&list(None));
    assert_eq!(names(&first), ["a", "b", "c"]);
    let cursor = &first["result"]["nextCursor"];
    assert_eq!(names(&client.ask(&list(Some(cursor)))), ["d", "e"]);
    // The list is as it was, but it was another in between.
    assert!(handle.enable_tool("a", false) && handle.enable_tool("a", true));
    assert_eq!(code(&client.ask(&list(Some(cursor)))), -32602);
    let again = client.ask(&list(None));
    assert_eq!(names(&again), ["a", "b", "c"]);
    let cursor = &again["result"]["nextCursor"];
    assert_eq!(names(&client.ask(&list(Some(cursor)))), ["d", "e"]);
}

#[test]
fn law_4_calls_in_flight_survive_the_removal_of_their_tool() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1));
    for (id, who) in [(1, "running"), (2, "queued")] {
        client.send(&call(id, "gate", json!({ "who": who })));
    }
    assert_eq!(gate.began(), "running");
    served.until_main("one waits", |main| main.queued == 1);
    assert!(served.handle().remove_tool("gate"));
    assert_eq!(code(&client.ask(&call(3, "gate", json!({})))), -32602);
    gate.let_go(2);
    assert_eq!(text(&client.answer(1)), "running");
    assert_eq!(text(&client.answer(2)), "queued");
    client.close();
    served.stop();
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>, ServerHandle);

impl Drop for Dropped {
    fn drop(&mut self) {
        // What an author's destructor does must not meet a lock that is held.
        self.1.tools_changed();
        self.1.enable_tool("a", true);
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_handler_is_dropped_with_its_tool_and_may_look_at_the_tools_then() {
    let (served, mut client) = Served::pipe(server());
    let handle = served.handle();
    for is_enabled in [true, false] {
        let is_dropped = Arc::new(AtomicBool::new(false));
        let dropped = Dropped(Arc::clone(&is_dropped), handle.clone());
        let tool = Tool::new("mortal").handler(move |_: Value| {
            let _held = &dropped;
            "I live"
        });
        handle.add_tool(tool).expect("it can be added");
        assert_eq!(text(&client.ask(&call(1, "mortal", json!({})))), "I live");
        assert!(handle.enable_tool("mortal", is_enabled));
        assert!(!is_dropped.load(Ordering::Relaxed));
        assert!(handle.remove_tool("mortal"));
        // A worker may still be on its way out of the call.
        until("it is gone", || is_dropped.load(Ordering::Relaxed));
    }
    // One that was never taken goes the same way.
    let is_dropped = Arc::new(AtomicBool::new(false));
    let dropped = Dropped(Arc::clone(&is_dropped), handle.clone());
    let twin = Tool::new("a").handler(move |_: Value| {
        let _held = &dropped;
        "twin"
    });
    handle.add_tool(twin).expect_err("the name is taken");
    assert!(is_dropped.load(Ordering::Relaxed));
}

/// Hangs when it is dropped.
struct Hangs(Door);

impl Drop for Hangs {
    fn drop(&mut self) {
        self.0.pass("destructor");
    }
}

#[test]
fn law_6_a_destructor_that_hangs_holds_neither_the_news_nor_the_thread_that_let_go_last() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server());
    client.initialize("2025-11-25");
    let (handle, hangs) = (served.handle(), Hangs(gate.door()));
    let idle = Tool::new("idle").handler(move |_: Value| {
        let _held = &hangs;
        "idle"
    });
    handle.add_tool(idle).expect("it can be added");
    assert_eq!(told(&mut client), 1);
    assert!(handle.remove_tool("idle"), "it waits for no destructor");
    assert_eq!(gate.began(), "destructor");
    assert_eq!(
        told(&mut client),
        1,
        "it is told before anything is dropped"
    );

    let (own, hangs) = (handle.clone(), Hangs(gate.door()));
    let fleeting = Tool::new("fleeting").inline().handler(move |_: Value| {
        let _held = &hangs;
        own.remove_tool("fleeting").to_string()
    });
    handle.add_tool(fleeting).expect("it can be added");
    assert_eq!(told(&mut client), 1);
    let answer = client.ask(&call(1, "fleeting", json!({})));
    assert_eq!(text(&answer), "true");
    assert_eq!(gate.began(), "destructor");
    // On a pipe one thread reads everything, the pings behind this, too.
    assert_eq!(told(&mut client), 1);
    gate.let_go(2);
    client.close();
    served.stop();
}

/// Pages are never mixed and calls never confused while tools change as fast as they can.
#[test]
fn a_list_is_always_one_that_was_offered() {
    let server = (0..5).fold(Server::new("it", "1"), |server, at| {
        server.register(tool(&format!("old-{at}")))
    });
    let server = server.limits(Limits::default().page_len(2));
    let (served, mut client) = Served::pipe(server);
    let handle = served.handle();
    let rounds = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
    let changing = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            handle.add_tool(tool("new")).expect("it is not there");
            assert!(handle.enable_tool("old-0", false));
            assert!(handle.remove_tool("new"));
            assert!(handle.enable_tool("old-0", true));
            counted.fetch_add(1, Ordering::Relaxed);
            // Let some lists be read to their end.
            thread::yield_now();
        }
    });
    let old = ["old-0", "old-1", "old-2", "old-3", "old-4"];
    let with_new = [&old[..], &["new"]].concat();
    let offered: [&[&str]; 4] = [&old, &with_new, &with_new[1..], &old[1..]];
    while rounds.load(Ordering::Relaxed) < 100 {
        let mut seen: Vec<String> = Vec::new();
        let mut cursor = None;
        loop {
            let page = client.ask(&list(cursor.as_ref()));
            if page.get("error").is_some() {
                assert_eq!(code(&page), -32602, "the list has changed meanwhile");
                break;
            }
            seen.extend(names(&page).into_iter().map(str::to_owned));
            match page["result"].get("nextCursor") {
                Some(next) => cursor = Some(next.clone()),
                None => {
                    assert!(offered.iter().any(|list| seen == *list), "{seen:?}");
                    break;
                }
            }
        }
        let answer = client.ask(&call(1, "new", json!({})));
        match answer.get("error") {
            None => assert_eq!(text(&answer), "new"),
            Some(_) => assert_eq!(code(&answer), -32602),
        }
    }
    stop.store(true, Ordering::Relaxed);
    changing.join().expect("changing does not panic");
    client.close();
    served.stop();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn over_http_a_listener_is_told_and_the_new_tool_can_be_called() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate));
        let session = http.initialize("2025-11-25");
        let wanted = json!({ "notifications": { "toolsListChanged": true } });
        let listen = modern(1, "subscriptions/listen", wanted);
        let mut stream = http.modern(&listen).connect().reply();
        stream.event().expect("the acknowledgement");
        let handle = served.handle();
        handle.add_tool(tool("added")).expect("it can be added");
        stream.event().expect("the change");
        assert_eq!(text(&http.ask(&call(2, "added", json!({})))), "added");
        let answer = session.ask(&legacy_call(2, "added", json!({})));
        assert_eq!(text(&answer), "added");
        assert!(handle.remove_tool("added"));
        stream.event().expect("the change");
        assert_eq!(code(&http.ask(&call(3, "added", json!({})))), -32602);
        drop(stream);
        until("it has left", || {
            handle.tools_changed();
            served.stats().subscriptions == 0
        });
        served.stop();
    });
}

/// What is offered beside tools comes and goes as they do, and tells of its own kind alone.
#[test]
fn prompts_resources_and_templates_come_and_go_while_serving() {
    let server =
        server()
            .prompt("first", "", || "first")
            .resource("it://first", "first", || "first");
    let (served, mut client) = Served::pipe(server);
    client.initialize("2025-11-25");
    let handle = served.handle();
    type Act = fn(&ServerHandle) -> bool;
    let rows: [(&str, &str, Value, Act, Act); 3] = [
        (
            "prompts",
            "prompts/list",
            modern("use", "prompts/get", json!({ "name": "late" })),
            |handle| {
                handle
                    .add_prompt(Prompt::new("late").handler(|| "late"))
                    .is_ok()
            },
            |handle| handle.remove_prompt("late"),
        ),
        (
            "resources",
            "resources/list",
            modern("use", "resources/read", json!({ "uri": "it://late" })),
            |handle| {
                let late = Resource::new("it://late", "late").handler(|| "late");
                handle.add_resource(late).is_ok()
            },
            |handle| handle.remove_resource("it://late"),
        ),
        (
            "resources",
            "resources/templates/list",
            modern("use", "resources/read", json!({ "uri": "it://of/late" })),
            |handle| {
                let late =
                    ResourceTemplate::new("it://of/{name}", "late").handler(|_: Value| "late");
                handle.add_resource_template(late).is_ok()
            },
            |handle| handle.remove_resource_template("it://of/{name}"),
        ),
    ];
    for (kind, list, used, add, remove) in rows {
        let mut is_there = |expected: bool| {
            let listed = client.ask(&modern("list", list, json!({})));
            assert_eq!(
                listed.to_string().contains("\"late\""),
                expected,
                "{listed}"
            );
            let answer = client.ask(&used);
            assert_eq!(answer.get("result").is_some(), expected, "{answer}");
        };
        is_there(false);
        assert!(add(&handle));
        assert!(!add(&handle), "its name is taken");
        is_there(true);
        assert!(remove(&handle));
        assert!(!remove(&handle), "it is gone");
        is_there(false);
        let told: Vec<_> = client.sent_so_far();
        let method = format!("notifications/{kind}/list_changed");
        let own = told.iter().filter(|message| message["method"] == *method);
        assert_eq!((own.count(), told.len()), (2, 2), "{told:?}");
    }
    client.close();
    served.stop();
}
