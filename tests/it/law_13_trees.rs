//! Law 13: no body makes the library take much more than the body, and a tree that a handler or a schema wants is refused where it would take too
//! much. Looked at from outside: each way in against a process of its own, whose peak the kernel keeps.

use std::io::{Read, Write};
use std::net::TcpStream;

use mcp_threads::{
    Completing, Elicited, Execution, Limits, Prompt, RequestContext, ResourceTemplate, Sampling,
    Server, Tool, ToolError, schemars,
};
use serde_json::{Value, json};

use crate::harness::child::{self, Running};
use crate::harness::talk::{introduce, introduced, introduction, reply_to};
use crate::harness::{
    Event, Gate, Http, PipeClient, Reply, Served, Session, code, is_alone, itself, legacy,
    legacy_call, modern, text, until, until_told, with_meta,
};

const MIB: usize = 1024 * 1024;
/// The largest body that the defaults take, but for what stands around the bulk of it.
const BULK: usize = 4 * MIB - 2048;

/// What bodies may leave behind at most, with glibc's defaults, and nothing told to the allocator, however many arenas there are: 3 to 14 MiB were seen with 256,
/// and 38 where bodies came from them.
const LEFT: usize = 48 * MIB;
/// The same of trees: a block of another thread can lie above a tree and keep it. Mostly 30 MiB are left, and on a busy machine up to 192 were seen.
/// Without trimming more than a gigabyte is left.
const LEFT_BY_TREES: usize = 384 * MIB;
/// What a body may cost at most, and may leave behind.
const LIBRARY: (usize, usize) = ((4 + 16) * MIB, LEFT);
/// The same where a tree is wanted: of as many values as digits fit into a body, and an eighth for the allocator's rounding.
const TREES: (usize, usize) = (2 * MIB * VALUE * 9 / 8 + LIBRARY.0, LEFT_BY_TREES);
/// What a value takes in a tree; with the feature `schema-order` more than twice as much.
const VALUE: usize = size_of::<Value>();
const WORKERS: usize = 16;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Typed {
    n: u8,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Named {
    name: String,
}

/// What asks and keeps, whatever its arguments are.
fn asks(cx: &mut RequestContext) -> Result<String, ToolError> {
    cx.keep("kept", || 7);
    match cx.elicit::<Typed>("typed", "A number?")? {
        Elicited::Accepted(Typed { n }) => Ok(format!("{n}")),
        _ => Ok("nothing".into()),
    }
}

/// How many there are, so that looking at it takes nothing.
fn length(bulk: &Value) -> usize {
    let items = bulk.as_array().map(Vec::len);
    let members = || bulk.as_object().map(serde_json::Map::len);
    items.or_else(members).unwrap_or(1)
}

fn server() -> Server {
    let server = Server::new("it", "1.0.0")
        .workers(WORKERS)
        .tool("typed", "Takes a number.", |args: Typed| u32::from(args.n))
        .tool("asks", "Asks for a number.", asks)
        .register(
            Tool::new("either")
                .execution(Execution::EitherWay)
                .handler(|args: Typed| u32::from(args.n)),
        )
        .tool("tree", "Takes anything.", |args: Value| length(&args["bulk"]))
        .tool("same", "Says it again.", |args: Value| args)
        .register(
            Tool::new("mirrored")
                .input_schema(json!({ "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } }))
                .handler(|| "ok"),
        )
        .register(
            Prompt::new("named")
                .complete("name", |typed: Completing| vec![typed.value.len().to_string()])
                .handler(|args: Named| args.name.len().to_string()),
        )
        .register(
            ResourceTemplate::new("it://{name}", "named")
                .handler(|args: Named| args.name.len().to_string()),
        )
        .job_tools();
    #[cfg(feature = "validate")]
    let server = server.register(
        Tool::new("checked")
            .input_schema(json!({ "type": "object", "properties": { "bulk": { "items": { "type": "object" } } } }))
            .handler(|| "ok"),
    );
    server
}

/// Starts this test's other half, a server. As on a machine with very many cores: each thread has an arena of its own, which may keep something.
fn start(name: &str) -> (Running, Http) {
    start_with_arenas(name, 256)
}

fn start_with_arenas(name: &str, arenas_max: usize) -> (Running, Http) {
    let mut command = itself(name);
    command.env("MALLOC_ARENA_MAX", arenas_max.to_string());
    let (running, http) = child::http(command);
    // What is taken once, such as the threads' stacks, is no news later.
    for _ in 0..16 {
        let warm = modern(
            1,
            "tools/call",
            json!({ "name": "typed", "arguments": { "n": 1 } }),
        );
        assert_eq!(http.modern(&warm).send().status, 200);
    }
    (running, http)
}

/// Is that other half, if this process was started to be it.
fn served_here() -> bool {
    if is_alone() {
        let running = server()
            .serve_http("127.0.0.1:0")
            .expect("loopback has ports");
        let address = running.addr().expect("it listens on TCP");
        eprintln!("listening on http://{address}/mcp");
        running.join();
    }
    is_alone()
}

/// As much of this as a body holds, parted by commas.
fn bulk(item: &str) -> String {
    let count = BULK / (item.len() + 1);
    vec![item; count].join(",")
}

/// Lists, and objects, and texts that hurt a reader that collects, escapes or repeats what it reads.
fn bulks() -> Vec<(&'static str, String)> {
    let members: Vec<String> = (0..BULK / 12).map(|n| format!("\"{n:07}\":0")).collect();
    vec![
        ("maps in maps", format!("[{}]", bulk(r#"{"":{"":0}}"#))),
        ("empty strings", format!("[{}]", bulk(r#""""#))),
        ("empty lists", format!("[{}]", bulk("[]"))),
        ("digits", format!("[{}]", bulk("0"))),
        (
            "deep lists",
            format!(
                "[{}]",
                bulk(&format!("{}{}", "[".repeat(50), "]".repeat(50)))
            ),
        ),
        ("many members", format!("{{{}}}", members.join(","))),
        ("one text", format!("\"{}\"", "\u{7f}".repeat(BULK))),
        (
            "one escaped text",
            format!("\"{}\"", "\\u0001".repeat(BULK / 6)),
        ),
    ]
}

/// The message with its `"BULK"` replaced, unread.
fn with_bulk(message: &Value, bulk: &str) -> String {
    message.to_string().replacen("\"BULK\"", bulk, 1)
}

/// Sends a modern message; what is answered, if anything is.
fn send(http: Http, message: &Value, bulk: &str) -> Value {
    let ask = http.modern(message).body(with_bulk(message, bulk));
    answer(ask.send())
}

/// What is answered, if anything is.
fn answer(reply: Reply) -> Value {
    match reply.status {
        202 => Value::Null,
        _ => reply.message(),
    }
}

/// Sees to it that what `act` does costs the server at most so much, and that afterwards it is back near where it was at first.
#[track_caller]
fn costs_at_most(
    server: &Running,
    first: usize,
    (most, left_most): (usize, usize),
    what: &str,
    act: impl FnOnce(),
) {
    let before = server.reset_peak();
    act();
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown <= most, "{what}: {} MiB", grown / MIB);
    let left = || server.memory("VmRSS").saturating_sub(first);
    until_told(
        "the memory has been given back",
        || left() <= left_most,
        || format!("{what}: {} MiB are left", left() / MIB),
    );
    let mib = |bytes: usize| bytes as f64 / MIB as f64;
    // Shown only when the test fails.
    eprintln!("{what}: {:.1} MiB, {:.1} left", mib(grown), mib(left()));
}

/// Every way for a body into the library, without a handler that wants a tree.
fn ways() -> Vec<(&'static str, Value)> {
    let call = |name: &str, more: Value| {
        let mut params = json!({ "name": name });
        params
            .as_object_mut()
            .expect("it is an object")
            .extend(more.as_object().expect("it is one too").clone());
        modern(1, "tools/call", params)
    };
    let list = |params: Value| modern(1, "tools/list", params);
    vec![
        ("an unknown member", list(json!({ "unknown": "BULK" }))),
        (
            "ref",
            list(json!({ "ref": { "bulk": "BULK", "type": "ref/prompt", "name": "p" } })),
        ),
        ("ref itself", list(json!({ "ref": "BULK" }))),
        (
            "_meta",
            with_meta(list(json!({})), json!({ "unknown": "BULK" })),
        ),
        ("level", list(json!({ "level": "BULK" }))),
        ("cursor", list(json!({ "cursor": "BULK" }))),
        (
            "context",
            list(json!({ "context": { "arguments": "BULK" } })),
        ),
        (
            "trace",
            with_meta(list(json!({})), json!({ "traceparent": "BULK" })),
        ),
        (
            "token",
            with_meta(list(json!({})), json!({ "progressToken": "BULK" })),
        ),
        (
            "capabilities",
            with_meta(
                list(json!({})),
                json!({ "io.modelcontextprotocol/clientCapabilities": "BULK" }),
            ),
        ),
        (
            "client info",
            with_meta(
                list(json!({})),
                json!({ "io.modelcontextprotocol/clientInfo": "BULK" }),
            ),
        ),
        (
            "subscriptions",
            modern(
                1,
                "subscriptions/listen",
                json!({ "notifications": { "resourceSubscriptions": "BULK", "toolsListChanged": "x" } }),
            ),
        ),
        (
            "a flag",
            modern(
                1,
                "subscriptions/listen",
                json!({ "notifications": { "toolsListChanged": "BULK" } }),
            ),
        ),
        (
            "typed arguments",
            call("typed", json!({ "arguments": { "n": "BULK" } })),
        ),
        (
            "more arguments",
            call("typed", json!({ "arguments": { "n": 1, "m": "BULK" } })),
        ),
        (
            "arguments of what may run in the background",
            call("either", json!({ "arguments": "BULK" })),
        ),
        (
            "arguments and a bogus state",
            call(
                "asks",
                json!({ "arguments": { "m": "BULK" }, "requestState": "bogus" }),
            ),
        ),
        (
            "a bogus state",
            call("asks", json!({ "requestState": "BULK" })),
        ),
        (
            "input responses",
            call("asks", json!({ "inputResponses": "BULK" })),
        ),
        (
            "an input response",
            call(
                "asks",
                json!({ "inputResponses": { "typed": { "action": "accept", "content": "BULK" } } }),
            ),
        ),
        ("id", {
            let mut message = list(json!({}));
            message["id"] = json!("BULK");
            message
        }),
        ("method", {
            let mut message = list(json!({}));
            message["method"] = json!("BULK");
            message
        }),
        ("jsonrpc", {
            let mut message = list(json!({}));
            message["jsonrpc"] = json!("BULK");
            message
        }),
        ("params", {
            let mut message = list(json!({}));
            message["params"] = json!("BULK");
            message
        }),
        ("a batch", json!("BULK")),
        (
            "a result",
            json!({ "jsonrpc": "2.0", "id": 1, "result": "BULK" }),
        ),
    ]
}

/// The same of more methods.
fn more_ways() -> impl Iterator<Item = (&'static str, Value)> {
    let tasks = [
        task("tasks/get", json!({ "taskId": "BULK" })),
        task("tasks/cancel", json!({ "taskId": "BULK" })),
        task(
            "tasks/update",
            json!({ "taskId": "none", "inputResponses": "BULK" }),
        ),
    ];
    let both = of_both_eras().map(|(method, params)| (method, modern(1, method, params)));
    both.chain(tasks)
}

/// Of the extension, which a client has to declare.
fn task(method: &'static str, params: Value) -> (&'static str, Value) {
    let extensions = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let capable = json!({ "io.modelcontextprotocol/clientCapabilities": extensions });
    (method, with_meta(modern(1, method, params), capable))
}

/// Methods with what is not common to all of them.
fn of_both_eras() -> impl Iterator<Item = (&'static str, Value)> {
    let reference = json!({ "type": "ref/prompt", "name": "named" });
    let argument = json!({ "name": "name", "value": "x" });
    [
        ("tools/call", json!({ "name": "BULK" })),
        ("prompts/get", json!({ "name": "BULK" })),
        (
            "prompts/get",
            json!({ "name": "named", "arguments": "BULK" }),
        ),
        (
            "prompts/get",
            json!({ "name": "named", "arguments": { "name": "BULK" } }),
        ),
        ("resources/read", json!({ "uri": "BULK" })),
        (
            "completion/complete",
            json!({ "ref": "BULK", "argument": argument }),
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "named", "m": "BULK" }, "argument": argument }),
        ),
        (
            "completion/complete",
            json!({ "ref": reference, "argument": "BULK" }),
        ),
        (
            "completion/complete",
            json!({ "ref": reference, "argument": { "name": "name", "value": "BULK" } }),
        ),
        (
            "completion/complete",
            json!({ "ref": reference, "argument": argument, "context": { "arguments": "BULK" } }),
        ),
    ]
    .into_iter()
}

/// The same for the handshake era, most of which needs a session.
fn handshake_ways() -> Vec<(&'static str, Value)> {
    let told = |method: &'static str, params: Value| {
        let told = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        (method, told)
    };
    let asked = |(method, params)| (method, legacy(1, method, params));
    let hello = |member: &str| {
        let mut hello = introduction(&json!({}));
        hello["params"][member] = json!("BULK");
        ("initialize", hello)
    };
    let mut ways: Vec<_> = [
        ("ping", json!("BULK")),
        ("ping", json!({ "ref": "BULK" })),
        (
            "ping",
            json!({ "ref": { "bulk": "BULK", "type": "ref/prompt", "name": "p" } }),
        ),
        ("logging/setLevel", json!({ "level": "BULK" })),
        ("resources/subscribe", json!({ "uri": "BULK" })),
        ("resources/unsubscribe", json!({ "uri": "BULK" })),
        (
            "tools/call",
            json!({ "name": "typed", "arguments": { "n": 1, "m": "BULK" } }),
        ),
        ("tools/list", json!({ "cursor": "BULK" })),
        ("unknown/method", json!({ "unknown": "BULK" })),
    ]
    .into_iter()
    .chain(of_both_eras())
    .map(asked)
    .collect();
    ways.extend([
        hello("capabilities"),
        hello("clientInfo"),
        hello("protocolVersion"),
        told("notifications/initialized", json!("BULK")),
        told("notifications/cancelled", json!({ "requestId": "BULK" })),
        told(
            "notifications/cancelled",
            json!({ "requestId": 1, "reason": "BULK" }),
        ),
        told(
            "notifications/progress",
            json!({ "progressToken": "BULK", "progress": 1 }),
        ),
        (
            "an error",
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "BULK", "data": "BULK" } }),
        ),
    ]);
    ways
}

#[test]
fn law_13_a_body_costs_little_more_than_itself() {
    if served_here() {
        return;
    }
    let (server, http) = start("law_13_trees::law_13_a_body_costs_little_more_than_itself");
    let first = server.memory("VmRSS");
    for (what, bulk) in bulks() {
        for (way, message) in ways() {
            // Every way meets a tree and a text; where lists are read, all that can stand in them.
            let is_list = matches!(way, "a batch" | "subscriptions" | "input responses" | "ref");
            let is_list = is_list || way.starts_with("arguments of");
            if is_list || matches!(what, "maps in maps" | "one text") {
                let what = format!("{what} as {way}");
                costs_at_most(&server, first, LIBRARY, &what, || {
                    send(http, &message, &bulk);
                });
            }
        }
    }
}

/// As a tree this takes fifty times as much. Shorter than it might be: what is read takes a second for each MiB in a build without optimisation.
fn maps() -> String {
    let maps = r#"{"":{"":0}},"#.repeat(MIB / 2 / 12);
    format!("[{}0]", maps)
}

/// What it may cost, whoever reads it.
const MAPS: (usize, usize) = (MIB / 2 + 16 * MIB, 32 * MIB);

#[test]
fn law_13_a_body_costs_little_more_than_itself_by_every_other_way() {
    if served_here() {
        return;
    }
    let (server, http) =
        start("law_13_trees::law_13_a_body_costs_little_more_than_itself_by_every_other_way");
    let session: Session = introduced(http, &json!({}));
    let first = server.memory("VmRSS");
    let maps = maps();
    for (_, message) in more_ways() {
        costs_at_most(&server, first, MAPS, &message.to_string(), || {
            send(http, &message, &maps);
        });
    }
    for (way, message) in handshake_ways() {
        let mut asks = vec![http.post(""), session.post(&message)];
        // What needs a session is refused without one, by what is common to all.
        match way {
            "ping" => {}
            "initialize" => drop(asks.pop()),
            _ => drop(asks.remove(0)),
        }
        for ask in asks {
            costs_at_most(&server, first, MAPS, &message.to_string(), || {
                answer(ask.body(with_bulk(&message, &maps)).send());
            });
        }
    }
    let mut hello = introduction(&json!({}));
    hello["params"]["capabilities"] = json!("BULK");
    let (_, long) = bulks().swap_remove(0);
    costs_at_most(&server, first, LIBRARY, "long capabilities", || {
        answer(http.post(with_bulk(&hello, &long)).send());
    });
}

#[test]
fn law_13_a_line_costs_little_more_than_itself() {
    if is_alone() {
        let running = server().serve_stdio().expect("it can start");
        running.join();
        // The report of the test would go to the client.
        std::process::exit(0);
    }
    let this = itself("law_13_trees::law_13_a_line_costs_little_more_than_itself");
    let (server, mut client) = child::stdio(this);
    while client.line().is_some_and(|line| line != "running 1 test") {}
    introduce(&mut client, &json!({}));
    for _ in 0..16 {
        client.ask(&legacy_call(0, "typed", json!({ "n": 1 })));
    }
    let first = server.memory("VmRSS");
    let maps = maps();
    let all = ways().into_iter().chain(more_ways());
    for (_, message) in all.chain(handshake_ways()) {
        costs_at_most(&server, first, MAPS, &message.to_string(), || {
            send_line(&mut client, &message, &maps);
        });
    }
}

/// Waits until it has been dealt with.
fn send_line(client: &mut PipeClient, message: &Value, bulk: &str) {
    client.send_line(&with_bulk(message, bulk));
    let pong = client.ask(&legacy("behind it", "ping", json!({})));
    assert_eq!(pong["result"], json!({}), "{pong}");
    let is_answered = !client.sent_so_far().is_empty();
    if message["method"].is_string() && message.get("id").is_some() && !is_answered {
        client.recv();
    }
}

/// With `validate` their schema is checked, which takes a tree.
#[cfg(not(feature = "validate"))]
#[test]
fn law_13_mirrored_arguments_cost_little_more_than_themselves() {
    if served_here() {
        return;
    }
    let (server, http) =
        start("law_13_trees::law_13_mirrored_arguments_cost_little_more_than_themselves");
    let first = server.memory("VmRSS");
    let arguments = json!({ "region": "north", "m": "BULK" });
    let params = json!({ "name": "mirrored", "arguments": arguments });
    let call = modern(1, "tools/call", params);
    for (what, bulk) in bulks() {
        if !matches!(what, "maps in maps" | "one text") {
            continue;
        }
        costs_at_most(&server, first, LIBRARY, what, || {
            let mirrored = http.modern(&call).field("Mcp-Param-Region", "north");
            let answer = mirrored.body(with_bulk(&call, &bulk)).send().message();
            assert_eq!(text(&answer), "ok", "{what}");
        });
    }
}

/// On a connection, and so a thread and an arena, of its own each, all of which stay. A block that is mapped and freed teaches glibc to take the next ones
/// from there.
#[test]
fn law_13_bodies_leave_nothing_on_their_connections() {
    if served_here() {
        return;
    }
    let (server, http) = start("law_13_trees::law_13_bodies_leave_nothing_on_their_connections");
    let first = server.memory("VmRSS");
    let call = json!({ "name": "typed", "arguments": { "n": 1, "m": "BULK" } });
    let call = modern(1, "tools/call", call);
    let post = http
        .modern(&call)
        .body(with_bulk(&call, &format!("[{}]", bulk("0"))));
    let mut open = Vec::new();
    let most = (64 * MIB, 32 * MIB);
    costs_at_most(&server, first, most, "24 connections", || {
        for _ in 0..24 {
            let mut client = TcpStream::connect(http.address()).expect("it listens");
            client.write_all(&post.bytes()).expect("it reads");
            let mut status = [0; 12];
            client.read_exact(&mut status).expect("it answers");
            assert_eq!(&status, b"HTTP/1.1 200");
            open.push(client);
        }
    });
}

/// Under `ulimit -v`, where an allocation that fails ends the process.
#[test]
fn law_13_a_body_for_which_there_is_no_address_space_is_refused_with_503() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    if served_here() {
        return;
    }
    let (mut server, http) = start_with_arenas(
        "law_13_trees::law_13_a_body_for_which_there_is_no_address_space_is_refused_with_503",
        1,
    );
    let call = json!({ "name": "typed", "arguments": { "n": 1, "m": "BULK" } });
    let call = modern(1, "tools/call", call);
    let list = format!("[{}]", bulk("0"));
    // The thread of the connection before may not be free yet, and there is no room for one more.
    let reply_to = |bulk: &str| {
        let ask = http.modern(&call).body(with_bulk(&call, bulk));
        let mut answer = (0, Value::Null);
        until("a thread is free", || {
            let reply = ask.send();
            answer = (reply.status, reply.message());
            let error = answer.1.pointer("/error/message").and_then(Value::as_str);
            error.is_none_or(|error| !error.contains("room for another connection"))
        });
        answer
    };
    let ask = |bulk: &str| {
        let (status, message) = reply_to(bulk);
        (status, text(&message).to_owned())
    };
    assert_eq!(ask(&list).0, 200);
    let left = server.memory("VmSize") + 6 * MIB;
    let bound = Rlimit {
        current: Some(left as u64),
        maximum: None,
    };
    let id = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    prlimit(id, Resource::As, bound).expect("the parent may");
    for _ in 0..5 {
        let (status, error) = reply_to(&list);
        assert_eq!((status, code(&error)), (503, 503), "{error}");
        assert_eq!(ask("[0]"), (200, "1".to_owned()), "short ones are answered");
    }
    assert!(!server.has_ended(), "{}", server.stderr());
}

#[test]
fn law_13_arguments_that_are_sealed_cost_little_more_than_themselves() {
    if served_here() {
        return;
    }
    let (server, http) =
        start("law_13_trees::law_13_arguments_that_are_sealed_cost_little_more_than_themselves");
    let first = server.memory("VmRSS");
    let capable = json!({ "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} } });
    for (what, bulk) in bulks() {
        let params = json!({ "name": "asks", "arguments": { "m": "BULK" } });
        let asked = with_meta(modern(1, "tools/call", params), capable.clone());
        costs_at_most(&server, first, LIBRARY, what, || {
            let answer = send(http, &asked, &bulk);
            let state = &answer["result"]["requestState"];
            assert!(state.is_string(), "{what}: {answer}");
            let mut again = asked.clone();
            again["params"]["requestState"] = state.clone();
            again["params"]["inputResponses"] =
                json!({ "typed": { "action": "accept", "content": { "n": 9 } } });
            let answer = send(http, &again, &bulk);
            assert_eq!(text(&answer), "9", "{what}");
            let other = send(http, &again, "[]").to_string();
            assert!(other.contains("not one that was given out"), "{other}");
        });
    }
}

#[test]
fn law_13_an_answer_to_a_question_costs_little_more_than_itself() {
    if served_here() {
        return;
    }
    let (server, http) =
        start("law_13_trees::law_13_an_answer_to_a_question_costs_little_more_than_itself");
    let session: Session = introduced(http, &json!({ "elicitation": {} }));
    let first = server.memory("VmRSS");
    for (what, bulk) in bulks() {
        for result in [
            json!("BULK"),
            json!({ "action": "accept", "content": "BULK" }),
            json!({ "action": "BULK" }),
        ] {
            let what = format!("{what} in {result}");
            costs_at_most(&server, first, LIBRARY, &what, || {
                let mut reply = session.post(&legacy_call(1, "asks", json!({}))).send();
                let question = loop {
                    match reply.event().expect("a question comes") {
                        Event::Message(message) => break message,
                        Event::Comment => {}
                    }
                };
                let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
                let sent = session.post(&answer).body(with_bulk(&answer, &bulk)).send();
                assert_eq!(sent.status, 202);
                let answer = reply.message();
                assert_eq!(answer["result"]["isError"], true, "{what}: {answer}");
            });
        }
    }
}

#[test]
fn law_13_a_tree_is_refused_above_its_bound() {
    if served_here() {
        return;
    }
    let (server, http) = start("law_13_trees::law_13_a_tree_is_refused_above_its_bound");
    let first = server.memory("VmRSS");
    let tools = match cfg!(feature = "validate") {
        true => &["tree", "checked"][..],
        false => &["tree"],
    };
    for (what, bulk) in bulks() {
        for tool in tools {
            let params = json!({ "name": tool, "arguments": { "bulk": "BULK" } });
            let call = modern(1, "tools/call", params);
            let what = format!("{what} for {tool}");
            costs_at_most(&server, first, TREES, &what, || {
                let answer = send(http, &call, &bulk).to_string();
                let is_large = what.starts_with("maps in maps") || what.starts_with("deep lists");
                assert_eq!(
                    answer.contains("json_tree_bytes_max"),
                    is_large,
                    "{what}: {}",
                    answer.chars().take(300).collect::<String>()
                );
            });
        }
    }
}

/// Small blocks by the million, in the arenas of as many threads as there are workers: what they leave is given back, one
/// after the other. Threads that share an arena at the same moment keep each other's.
#[test]
fn law_13_trees_in_turn_leave_nothing_behind() {
    if served_here() {
        return;
    }
    let (server, http) = start("law_13_trees::law_13_trees_in_turn_leave_nothing_behind");
    let first = server.memory("VmRSS");
    for item in [r#"{"":{"":0}}"#, "0", r#"{"id":1},"text",[{"":{"":0}}]"#] {
        let count = MIB * VALUE / 72 / item.len();
        let list = format!("[{}]", vec![item; count].join(","));
        let params = json!({ "name": "tree", "arguments": { "bulk": "BULK" } });
        let call = modern(1, "tools/call", params);
        costs_at_most(&server, first, (192 * MIB, LEFT_BY_TREES), item, || {
            for _ in 0..WORKERS + 4 {
                let answer = send(http, &call, &list);
                assert!(!text(&answer).is_empty(), "{item}: {answer}");
            }
        });
    }
}

#[test]
fn law_13_a_tree_for_which_there_is_no_memory_is_refused_with_503() {
    let limits = Limits::default().memory_bytes_max(32 * MIB);
    let (served, mut client) = Served::pipe(server().limits(limits));
    let digits = format!("[{}]", bulk("0"));
    let mut tools = vec!["tree"];
    tools.extend(cfg!(feature = "validate").then_some("checked"));
    for tool in tools {
        let call = modern(
            1,
            "tools/call",
            json!({ "name": tool, "arguments": { "bulk": "BULK" } }),
        );
        client.send_line(&with_bulk(&call, &digits));
        let answer = client.recv();
        assert_eq!(code(&answer), 503, "{tool}: {answer}");
        let small = client.ask(&call);
        assert!(!text(&small).is_empty(), "{small}");
    }
    client.close();
    served.stop();
}

/// Two of eight fit: whatever each has taken when memory is short, no more are refused than have to be.
#[test]
fn law_13_not_all_are_refused_for_what_all_have_taken() {
    const CALLS: usize = 8;
    const ITEMS: usize = MIB / 16;
    let tree = ITEMS * 5 * VALUE;
    let gate = Gate::new();
    let door = gate.door();
    let server = Server::new("it", "1.0.0")
        .workers(CALLS)
        .limits(Limits::default().memory_bytes_max(2 * tree + 8 * MIB))
        .tool("holds", "Takes anything.", move |_: Value| {
            door.pass("has its tree");
            "done"
        });
    let (served, mut client) = Served::pipe(server);
    let lists = format!("[{}]", vec!["[0]"; ITEMS].join(","));
    let params = json!({ "name": "holds", "arguments": { "bulk": "BULK" } });
    for id in 0..CALLS {
        client.send_line(&with_bulk(
            &modern(id, "tools/call", params.clone()),
            &lists,
        ));
    }
    for _ in 2..CALLS {
        let refused = client.recv();
        assert_eq!(code(&refused), 503, "{refused:.300}");
    }
    gate.let_go(2);
    for _ in 0..2 {
        let answer = client.recv();
        assert_eq!(text(&answer), "done", "{answer:.300}");
    }
    client.close();
    served.stop();
}

/// What is answered is the tree that the handler returned.
#[test]
fn law_13_an_answer_that_is_a_tree_is_not_copied() {
    if served_here() {
        return;
    }
    let (server, http) = start("law_13_trees::law_13_an_answer_that_is_a_tree_is_not_copied");
    let call = modern(
        1,
        "tools/call",
        json!({ "name": "same", "arguments": { "bulk": "BULK" } }),
    );
    let digits = format!("[{}]", vec!["0"; MIB].join(","));
    let before = server.reset_peak();
    let answer = send(http, &call, &digits);
    let answered = &answer["result"]["structuredContent"]["bulk"];
    assert_eq!(answered.as_array().map(Vec::len), Some(MIB));
    let grown = server.memory("VmHWM").saturating_sub(before);
    let most = MIB * VALUE * 9 / 8 + LIBRARY.0;
    assert!(grown <= most, "{} of {} MiB", grown / MIB, most / MIB);
}

/// A model's answer, which its handler has as a tree, takes the server's memory until the handler returns.
#[test]
fn law_13_an_answer_that_is_a_tree_is_charged_until_the_handler_returns() {
    let gate = Gate::new();
    let door = gate.door();
    let server = server()
        .limits(Limits::default().memory_bytes_max(VALUE * MIB * 7 / 8))
        .tool(
            "samples",
            "Asks a model.",
            move |cx: &mut RequestContext| {
                let _answer = cx.sample("key", Sampling::new(7).user("?"))?;
                door.pass("has its answer");
                Ok::<_, ToolError>("done")
            },
        );
    let (served, mut client) = Served::pipe(server);
    introduce(&mut client, &json!({ "sampling": {} }));
    client.send(&legacy_call(1, "samples", json!({})));
    let question = client.recv();
    let content = json!({ "type": "text", "text": "", "_meta": "BULK" });
    let answer = reply_to(
        &question,
        json!({ "role": "assistant", "content": content }),
    );
    let digits = format!("[{}]", vec!["0"; MIB / 4].join(","));
    client.send_line(&with_bulk(&answer, &digits));
    assert_eq!(gate.began(), "has its answer");
    let call = legacy_call(2, "tree", json!({ "bulk": "BULK" }));
    let longer = format!("[{}]", vec!["0"; MIB * 3 / 4].join(","));
    client.send_line(&with_bulk(&call, &longer));
    let refused = client.recv();
    assert_eq!(code(&refused), 503, "a quarter is taken: {refused}");
    gate.let_go(1);
    assert_eq!(text(&client.answer(1)), "done");
    until("its memory is given back", || {
        client.send_line(&with_bulk(&call, &longer));
        client.recv().get("result").is_some()
    });
    client.close();
    served.stop();
}

#[test]
fn law_13_many_bodies_at_once_cost_as_much_as_themselves() {
    if served_here() {
        return;
    }
    let (server, http) =
        start("law_13_trees::law_13_many_bodies_at_once_cost_as_much_as_themselves");
    let first = server.memory("VmRSS");
    let (_, bulk) = bulks().swap_remove(0);
    let params = json!({ "name": "asks", "arguments": { "m": "BULK" }, "requestState": "bogus" });
    let message = modern(1, "tools/call", params);
    let most = 16 * (2 * 4 + 1) * MIB;
    costs_at_most(&server, first, (most, LEFT_BY_TREES), "16 bogus", || {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| send(http, &message, &bulk));
            }
        });
    });
}
