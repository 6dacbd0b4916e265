//! Change notifications: the streams of the modern era, and the subscriptions of handshake-era sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mcp_threads::{RequestContext, Resource, ResourceTemplate, Server, ServerHandle};
use serde_json::{Value, json};

use crate::harness::message::cancel;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{Event, Http, http::Reply, on_every_front};
use crate::harness::{
    Gate, PATIENCE, PipeClient, Served, call, code, legacy, modern, patient, probes, text, until,
};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// A server with tools, a prompt and resources, and tools that say that something has changed.
fn server(gate: &Gate) -> Server {
    probes(gate)
        .limits(patient())
        .prompt("greeting", "Greets.", |_: Value| "Hello!")
        .register(Resource::new("test://one", "one").handler(|| "1"))
        .register(ResourceTemplate::new("test://many/{which}", "many").handler(|_: Value| "many"))
        .tool(
            "touch",
            "Changes it.",
            |cx: &mut RequestContext, args: Value| {
                match args["what"].as_str() {
                    Some("tools") => cx.tools_changed(),
                    Some("prompts") => cx.prompts_changed(),
                    Some("resources") => cx.resources_changed(),
                    other => cx.resource_updated(other.unwrap_or_default()),
                }
                "touched"
            },
        )
}

fn listen(id: impl Into<Value>, wanted: Value) -> Value {
    modern(
        id,
        "subscriptions/listen",
        json!({ "notifications": wanted }),
    )
}

fn everything() -> Value {
    json!({
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourcesListChanged": true,
        "resourceSubscriptions": ["test://many/7", "test://one"],
    })
}

/// One change of each kind, the last one a resource that nobody watches.
fn change_everything(handle: &ServerHandle) {
    handle.tools_changed();
    handle.prompts_changed();
    handle.resources_changed();
    handle.resource_updated("test://one");
    handle.resource_updated("test://many/7");
    handle.resource_updated("test://many/8");
}

fn acknowledged(id: &Value, honoured: &Value) -> Value {
    json!({
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": { "_meta": { SUBSCRIPTION: id }, "notifications": honoured },
    })
}

fn changed(id: &Value, what: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "method": format!("notifications/{what}/list_changed"),
        "params": { "_meta": { SUBSCRIPTION: id } },
    })
}

fn updated(id: &Value, uri: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "method": "notifications/resources/updated",
        "params": { "_meta": { SUBSCRIPTION: id }, "uri": uri },
    })
}

/// What says that a subscription has ended well.
#[track_caller]
fn assert_ended(answer: &Value, id: &Value) {
    let info = &answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(info["name"], "it", "{answer}");
    let meta = json!({ SUBSCRIPTION: id, "io.modelcontextprotocol/serverInfo": info });
    let expected = json!({
        "jsonrpc": "2.0",
        "id": id,
        "result": { "resultType": "complete", "_meta": meta },
    });
    assert_eq!(*answer, expected);
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[track_caller]
fn message(reply: &mut Reply) -> Value {
    loop {
        match reply.event() {
            Some(Event::Message(message)) => return message,
            Some(Event::Comment) => {}
            None => panic!("the stream has ended"),
        }
    }
}

/// Opens a stream and reads its acknowledgement.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[track_caller]
fn open(http: Http, id: impl Into<Value>, wanted: Value) -> Reply {
    let id = id.into();
    let mut reply = http
        .modern(&listen(id.clone(), wanted.clone()))
        .connect()
        .reply();
    assert_eq!((reply.status, reply.is_stream()), (200, true));
    assert_eq!(message(&mut reply), acknowledged(&id, &wanted));
    reply
}

/// Everything the server has sent to a modern pipe, known by an answer that comes behind it.
#[track_caller]
fn sent_so_far(client: &mut PipeClient) -> Vec<Value> {
    client.send(&modern("barrier", "server/discover", json!({})));
    let mut messages = Vec::new();
    loop {
        let message = client.recv();
        if message["id"] == "barrier" {
            return messages;
        }
        messages.push(message);
    }
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn over_http_each_stream_is_acknowledged_first_and_hears_what_it_asked_for() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let mut all = open(http, "all", everything());
        let mut tools = open(http, 7, json!({ "toolsListChanged": true }));
        let mut one = open(http, 7, json!({ "resourceSubscriptions": ["test://one"] }));
        assert_eq!(served.stats().subscriptions, 3);
        change_everything(&served.handle());
        let id = json!("all");
        for expected in [
            changed(&id, "tools"),
            changed(&id, "prompts"),
            changed(&id, "resources"),
            updated(&id, "test://one"),
            updated(&id, "test://many/7"),
        ] {
            assert_eq!(message(&mut all), expected);
        }
        assert_eq!(message(&mut tools), changed(&json!(7), "tools"));
        served.handle().tools_changed();
        assert_eq!(
            message(&mut all),
            changed(&id, "tools"),
            "nothing else came"
        );
        assert_eq!(message(&mut tools), changed(&json!(7), "tools"));
        assert_eq!(message(&mut one), updated(&json!(7), "test://one"));
        for (what, heard) in [
            ("prompts", changed(&id, "prompts")),
            ("test://one", updated(&id, "test://one")),
        ] {
            let answer = http.ask(&call(1, "touch", json!({ "what": what })));
            assert_eq!(text(&answer), "touched");
            assert_eq!(message(&mut all), heard, "a handler has said so");
        }
        drop((all, tools, one));
        served.stop();
    });
}

#[test]
fn on_a_pipe_streams_share_the_channel_and_each_message_names_its_own() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let (all, prompts) = (json!("all"), json!(2));
    client.send(&listen("all", everything()));
    assert_eq!(client.recv(), acknowledged(&all, &everything()));
    let wanted = json!({ "promptsListChanged": true });
    client.send(&listen(2, wanted.clone()));
    assert_eq!(client.recv(), acknowledged(&prompts, &wanted));
    change_everything(&served.handle());
    let expected = [
        changed(&all, "tools"),
        changed(&all, "prompts"),
        changed(&prompts, "prompts"),
        changed(&all, "resources"),
        updated(&all, "test://one"),
        updated(&all, "test://many/7"),
    ];
    assert_eq!(sent_so_far(&mut client), expected);
    client.send(&call(3, "touch", json!({ "what": "tools" })));
    assert_eq!(client.recv(), changed(&all, "tools"));
    assert_eq!(text(&client.recv()), "touched");

    client.send(&listen(2, json!({ "toolsListChanged": true })));
    assert_eq!(code(&client.answer(2)), -32600, "this id is taken");
    client.send(&cancel("all"));
    client.send(&cancel("never opened"));
    assert_eq!(sent_so_far(&mut client), [] as [Value; 0]);
    assert_eq!(served.stats().subscriptions, 1);
    change_everything(&served.handle());
    let rest = [changed(&prompts, "prompts")];
    assert_eq!(sent_so_far(&mut client), rest, "nothing of the other");
    client.close();
    let report = served.take().join();
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (0, 0)
    );
    let ending = client.rest();
    assert_eq!(ending.len(), 1, "{ending:?}");
    assert_ended(&ending[0], &prompts);
}

#[test]
fn only_what_the_server_can_honour_is_acknowledged() {
    let rows = [
        (json!({}), json!({})),
        (json!({ "toolsListChanged": false }), json!({})),
        (
            json!({ "promptsListChanged": true, "fooListChanged": true }),
            json!({ "promptsListChanged": true }),
        ),
        (
            json!({ "resourceSubscriptions": ["test://none", "test://one", "test://many/x", "test://one"] }),
            json!({ "resourceSubscriptions": ["test://many/x", "test://one"] }),
        ),
        (
            json!({ "resourceSubscriptions": ["test://none"] }),
            json!({}),
        ),
    ];
    let gate = Gate::new();
    let (_served, mut client) = Served::pipe(server(&gate));
    for (id, (wanted, honoured)) in (0..).zip(rows) {
        client.send(&listen(id, wanted));
        assert_eq!(client.recv(), acknowledged(&json!(id), &honoured));
    }
    // A server with tools alone, where nobody tells of prompts that are not there.
    let (served, mut client) = Served::pipe(probes(&gate));
    client.send(&listen(1, everything()));
    let honoured = json!({ "toolsListChanged": true });
    assert_eq!(client.recv(), acknowledged(&json!(1), &honoured));
    change_everything(&served.handle());
    assert_eq!(sent_so_far(&mut client), [changed(&json!(1), "tools")]);
}

#[test]
fn law_9_a_wish_that_cannot_be_understood_or_is_too_long_is_refused() {
    let long = "test://many/".to_owned() + &"x".repeat(52);
    let longest = &long[..63];
    let rows = [
        (json!(null), -32602),
        (json!(["toolsListChanged"]), -32602),
        (json!({ "toolsListChanged": "yes" }), -32602),
        (json!({ "resourceSubscriptions": "test://one" }), -32602),
        (
            json!({ "resourceSubscriptions": vec!["test://one"; 4] }),
            -32602,
        ),
        (json!({ "resourceSubscriptions": [long] }), -32602),
    ];
    let gate = Gate::new();
    let limits = patient()
        .subscription_uris_max(3)
        .subscription_uri_bytes_max(63);
    let (served, mut client) = Served::pipe(server(&gate).limits(limits));
    for (wanted, expected) in rows {
        let answer = client.ask(&listen(1, wanted));
        assert_eq!(code(&answer), expected, "{answer}");
    }
    let answer = client.ask(&modern(1, "subscriptions/listen", json!({})));
    assert_eq!(code(&answer), -32602);
    assert_eq!(served.stats().subscriptions, 0);
    let wanted = json!({ "resourceSubscriptions": ["test://many/1", longest, "test://one"] });
    client.send(&listen(1, wanted.clone()));
    let expected = acknowledged(&json!(1), &wanted);
    assert_eq!(client.recv(), expected, "as many and as long as may be");
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_2_over_http_there_are_so_many_streams_and_the_next_is_refused() {
    on_every_front(|front| {
        let gate = Gate::new();
        let limits = patient().streams_max(2);
        let (served, http) = front.serve(server(&gate).limits(limits));
        let wanted = json!({ "promptsListChanged": true });
        let first = open(http, 1, json!({ "toolsListChanged": true }));
        let mut second = open(http, 2, wanted.clone());
        let mut refused = http.modern(&listen(3, wanted.clone())).connect().reply();
        assert_eq!((refused.status, refused.is_stream()), (503, false));
        assert_eq!(refused.field("Retry-After"), Some("1"));
        let answer = refused.json();
        assert_eq!((code(&answer), &answer["id"]), (503, &json!(3)));
        assert_eq!(served.stats().subscriptions, 2);
        assert_eq!(
            text(&http.ask(&call(4, "echo", json!({ "text": "served" })))),
            "served"
        );

        drop(first);
        until("the server has seen it leave", || {
            // tiny_http sees it only by writing.
            served.handle().tools_changed();
            served.stats().subscriptions == 1
        });
        let mut third = None;
        until("there is room again", || {
            let mut reply = http.modern(&listen(3, wanted.clone())).connect().reply();
            let opened = reply.status == 200;
            if opened {
                message(&mut reply);
                third = Some(reply);
            }
            opened
        });
        served.handle().prompts_changed();
        assert_eq!(message(&mut second), changed(&json!(2), "prompts"));
        let mut third = third.expect("it is open");
        assert_eq!(message(&mut third), changed(&json!(3), "prompts"));
        drop((second, third));
        served.stop();
    });
}

#[test]
fn law_2_on_a_pipe_there_are_so_many_streams_and_the_next_is_refused() {
    let gate = Gate::new();
    let limits = patient()
        .subscriptions_max(2)
        // A stream that is open is no answer that waits to be read.
        .outbox_answers_max(1);
    let (_served, mut client) = Served::pipe(server(&gate).limits(limits));
    for id in [1, 2] {
        client.send(&listen(id, json!({})));
        assert_eq!(client.recv(), acknowledged(&json!(id), &json!({})));
    }
    let answer = client.ask(&listen(3, json!({})));
    assert_eq!((code(&answer), &answer["id"]), (503, &json!(3)));
    client.send(&cancel(1));
    client.send(&listen(3, json!({})));
    assert_eq!(client.recv(), acknowledged(&json!(3), &json!({})));
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_12_over_http_a_drain_ends_every_stream_with_its_result() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate).workers(1));
        let streams = [
            (json!("a"), open(http, "a", everything())),
            (json!(2), open(http, 2, json!({}))),
        ];
        served.handle().tools_changed();
        // Nobody waits for them: the deadline is longer than the test may last.
        let report = served.shutdown(PATIENCE * 100);
        assert_eq!(
            (report.abandoned_handlers, report.abandoned_connections),
            (0, 0)
        );
        for (id, mut stream) in streams {
            let mut messages = stream.messages();
            assert_ended(&messages.pop().expect("the result comes"), &id);
            let before: &[Value] = match id.is_string() {
                true => &[changed(&id, "tools")],
                false => &[],
            };
            assert_eq!(messages, before);
        }
    });
}

#[test]
fn law_12_on_a_pipe_a_drain_ends_every_stream_while_calls_go_on() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate).workers(1));
    for id in [1, 2] {
        client.send(&listen(id, everything()));
        client.recv();
    }
    client.send(&call(3, "gate", json!({ "who": "late" })));
    gate.began();
    let handle = served.handle();
    let ending = thread::spawn(move || served.shutdown(PATIENCE));
    for id in [1, 2] {
        assert_ended(&client.recv(), &json!(id));
    }
    assert!(handle.stats().draining);
    change_everything(&handle);
    let answer = client.ask(&listen(4, everything()));
    assert_eq!(code(&answer), 503, "there will be no others");
    gate.let_go(1);
    assert_eq!(text(&client.recv()), "late");
    client.close();
    let report = ending.join().expect("a shutdown does not panic");
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (0, 0)
    );
    assert_eq!(client.rest(), [] as [Value; 0], "nothing behind the result");
}

/// More bytes of changes than any buffer between server and client holds.
const UPDATES: usize = 5_000;

/// What a client finds that reads at last: the acknowledgement, then changes in order, the newest among them.
#[track_caller]
fn assert_newest_were_kept(messages: &[Value], uris: &[String], kept: usize) {
    let (first, rest) = messages.split_first().expect("there are messages");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert!(
        (kept..UPDATES).contains(&rest.len()),
        "some had to be dropped, {} came",
        rest.len()
    );
    let newest = (UPDATES - kept..UPDATES).map(|at| &uris[at % uris.len()]);
    let came = rest[rest.len() - kept..].iter();
    for (message, uri) in came.zip(newest) {
        assert_eq!(message["params"]["uri"], **uri);
    }
}

fn long_uris() -> Vec<String> {
    let long = "x".repeat(4000);
    (0..200)
        .map(|n| format!("test://many/{n}-{long}"))
        .collect()
}

/// Publishes on a thread of its own, so that a publication that waits for a reader fails the test.
#[track_caller]
fn publish_all(handle: ServerHandle, uris: &[String]) {
    let uris = uris.to_vec();
    let publishing = thread::spawn(move || {
        for at in 0..UPDATES {
            handle.resource_updated(&uris[at % uris.len()]);
        }
    });
    until("everything is published", || publishing.is_finished());
    publishing.join().expect("publishing does not panic");
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_1_an_http_client_that_does_not_read_its_changes_costs_no_worker() {
    on_every_front(|front| {
        let gate = Gate::new();
        let limits = patient().outbox_bytes_max(110 * 4200);
        let (served, http) = front.serve(server(&gate).workers(1).limits(limits));
        let uris = long_uris();
        let unread = http
            .modern(&listen(1, json!({ "resourceSubscriptions": uris })))
            .connect();
        until("it is open", || served.stats().subscriptions == 1);
        publish_all(served.handle(), &uris);
        served.until_main("no worker was needed", |main| {
            main.busy == 0 && main.done == 0
        });
        let other = http.ask(&call(2, "touch", json!({ "what": "tools" })));
        assert_eq!(text(&other), "touched", "by the only worker there is");
        // The result comes behind what was kept.
        let ending = thread::spawn(move || served.shutdown(PATIENCE));
        let mut messages = unread.reply().messages();
        assert_ended(&messages.pop().expect("the result comes"), &json!(1));
        assert_newest_were_kept(&messages, &uris, 100);
        ending.join().expect("a shutdown does not panic");
    });
}

#[test]
fn law_1_a_pipe_client_that_does_not_read_its_changes_costs_no_worker() {
    let gate = Gate::new();
    let limits = patient().outbox_bytes_max(110 * 4200);
    let (served, mut client) = Served::pipe(server(&gate).workers(1).limits(limits));
    let uris = long_uris();
    client.send(&listen(1, json!({ "resourceSubscriptions": uris })));
    until("it is open", || served.stats().subscriptions == 1);
    publish_all(served.handle(), &uris);
    client.send(&call(2, "touch", json!({ "what": "tools" })));
    served.until_main("the worker is free", |main| {
        main.busy == 0 && main.done == 1
    });
    client.close();
    let ending = thread::spawn(move || served.shutdown(PATIENCE));
    let mut messages = client.rest();
    ending.join().expect("a shutdown does not panic");
    let end = messages.pop().expect("the result comes");
    assert_ended(&end, &json!(1));
    assert_eq!(text(&messages.pop().expect("the answer comes")), "touched");
    assert_newest_were_kept(&messages, &uris, 100);
}

/// Publishes as fast as it can until dropped.
struct Publisher {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Publisher {
    fn new(handle: ServerHandle) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                handle.tools_changed();
            }
        });
        Publisher {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "publishing does not panic");
    }
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn over_http_nothing_comes_before_the_acknowledgement_while_changes_are_published() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let publisher = Publisher::new(served.handle());
        for round in 0..100 {
            let mut reply = open(http, round, json!({ "toolsListChanged": true }));
            assert_eq!(message(&mut reply), changed(&json!(round), "tools"));
        }
        drop(publisher);
        until("all have left", || {
            served.handle().tools_changed();
            served.stats().subscriptions == 0
        });
        served.stop();
    });
}

#[test]
fn on_a_pipe_nothing_comes_before_the_acknowledgement_or_after_the_end() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let publisher = Publisher::new(served.handle());
    for round in 0..500 {
        let id = json!(round);
        client.send(&listen(round, json!({ "toolsListChanged": true })));
        assert_eq!(
            client.recv()["method"],
            "notifications/subscriptions/acknowledged"
        );
        assert_eq!(client.recv(), changed(&id, "tools"));
        client.send(&cancel(round));
        for late in sent_so_far(&mut client) {
            assert_eq!(late, changed(&id, "tools"), "sent before the end");
        }
    }
    client.send(&listen("last", json!({ "toolsListChanged": true })));
    let ending = thread::spawn(move || served.shutdown(PATIENCE));
    client.close();
    let messages = client.rest();
    ending.join().expect("a shutdown does not panic");
    drop(publisher);
    let last = messages.last().expect("the end comes");
    if last.get("error").is_none() {
        assert_ended(last, &json!("last"));
        assert_eq!(
            messages[0]["method"],
            "notifications/subscriptions/acknowledged"
        );
    }
}

#[test]
fn a_session_on_a_pipe_hears_of_lists_and_of_the_resources_it_watches() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let answer = client.initialize("2025-11-25");
    let capabilities = json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
        "logging": {},
    });
    assert_eq!(answer["result"]["capabilities"], capabilities);
    let list = |what: &str| json!({ "jsonrpc": "2.0", "method": format!("notifications/{what}/list_changed"), "params": {} });
    let lists = [list("tools"), list("prompts"), list("resources")];
    let with = |uri: &str| {
        let mut expected = lists.to_vec();
        expected.push(json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri } }));
        expected
    };
    change_everything(&served.handle());
    assert_eq!(client.sent_so_far(), lists);

    for (uri, heard) in [
        ("test://many/7", with("test://many/7")),
        ("test://none", lists.to_vec()),
    ] {
        let answer = client.ask(&legacy(1, "resources/subscribe", json!({ "uri": uri })));
        if uri == "test://none" {
            assert_eq!(answer["error"]["code"], -32002, "{answer}");
            assert_eq!(answer["error"]["data"], json!({ "uri": uri }));
        } else {
            assert_eq!(answer["result"], json!({}), "{answer}");
            change_everything(&served.handle());
            assert_eq!(client.sent_so_far(), heard);
        }
        let answer = client.ask(&legacy(2, "resources/unsubscribe", json!({ "uri": uri })));
        assert_eq!(answer["result"], json!({}), "{answer}");
        change_everything(&served.handle());
        assert_eq!(client.sent_so_far(), lists);
    }

    // A second handshake replaces the first: what that one watched is forgotten, and nothing comes twice.
    client.ask(&legacy(
        3,
        "resources/subscribe",
        json!({ "uri": "test://one" }),
    ));
    client.send(&legacy(
        4,
        "tools/call",
        json!({ "name": "gate", "arguments": {} }),
    ));
    gate.began();
    client.initialize("2025-06-18");
    change_everything(&served.handle());
    assert_eq!(client.sent_so_far(), lists);
    gate.let_go(1);
    client.answer(4);
    client.close();
    served.stop();
}

#[test]
fn law_9_a_session_watches_so_many_resources() {
    let gate = Gate::new();
    let limits = patient()
        .session_subscriptions_max(2)
        .subscription_uri_bytes_max(20);
    let (_served, mut client) = Served::pipe(server(&gate).limits(limits));
    client.initialize("2025-11-25");
    let mut ask =
        |what: &str, params: Value| client.ask(&legacy(1, &format!("resources/{what}"), params));
    let uri = |uri: &str| json!({ "uri": uri });
    for again in ["test://one", "test://many/2", "test://one"] {
        assert_eq!(ask("subscribe", uri(again))["result"], json!({}));
    }
    let third = uri("test://many/3");
    assert_eq!(code(&ask("subscribe", third.clone())), -32602);
    assert_eq!(ask("unsubscribe", uri("test://one"))["result"], json!({}));
    assert_eq!(ask("subscribe", third)["result"], json!({}));
    assert_eq!(
        ask("unsubscribe", uri("test://many/3"))["result"],
        json!({})
    );
    assert_eq!(
        code(&ask("subscribe", uri("test://many/9-----10-----"))),
        -32602
    );
    for what in ["subscribe", "unsubscribe"] {
        assert_eq!(code(&ask(what, json!({}))), -32602);
    }
    // Of the other era.
    let answer = ask(
        "subscribe",
        modern(1, "", uri("test://one"))["params"].clone(),
    );
    assert_eq!(code(&answer), -32601);
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn a_session_over_http_subscribes_and_unsubscribes() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize("2025-11-25");
        for what in ["resources/subscribe", "resources/unsubscribe"] {
            let answer = session.ask(&legacy(1, what, json!({ "uri": "test://one" })));
            assert_eq!(answer["result"], json!({}));
        }
        let unknown = legacy(2, "resources/subscribe", json!({ "uri": "test://none" }));
        assert_eq!(code(&session.ask(&unknown)), -32002);
        change_everything(&served.handle());
        let other = legacy(3, "subscriptions/listen", json!({ "notifications": {} }));
        assert_eq!(code(&session.ask(&other)), -32601);
        served.stop();
    });
}
