//! Law 13: every byte kept for a peer is in a budget. The rows of the README's table "What a client can make the server hold", each filled against a
//! server in a process of its own whose memory is read.
//!
//! The bound of a row is what the table says, with a third for the allocator's rounding and a little for the process. The allocator is told to give
//! back what is freed, because what it keeps for the next one is not what the server holds.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Condvar, Mutex};

use mcp_threads::{
    CallToolResult, ContentBlock, Execution, Limits, LoggingLevel, RequestContext,
    ResourceTemplate, RunningServer, Server, Tool,
};
use serde_json::{Value, json};

use crate::harness::child::{self, Running};
use crate::harness::http::Unread;
use crate::harness::message::initialize;
use crate::harness::talk::{introduced, introduction};
use crate::harness::{
    Http, Session, code, is_alone, itself, legacy, legacy_call, modern, text, until, until_told,
    with_meta,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const VERSION: &str = "2025-11-25";

const WORKERS: usize = 32;

/// What a process grows by whatever it keeps: stacks, arenas, the counters of the allocator.
const PROCESS: usize = 8 * MIB;

/// A server in a process of its own. The test `name` is that process, when it is started alone.
fn with_server(name: &str, limits: Limits, test: impl FnOnce(&Row)) {
    with_server_on(
        name,
        limits,
        |server| server.serve_http("127.0.0.1:0"),
        test,
    );
}

#[cfg(feature = "tiny-http")]
fn serve_tiny_http(server: Server) -> mcp_threads::Result<RunningServer> {
    server.serve_tiny_http("127.0.0.1:0")
}

/// The same on a front of this kind.
fn with_server_on(
    name: &str,
    limits: Limits,
    serve_on: fn(Server) -> mcp_threads::Result<RunningServer>,
    test: impl FnOnce(&Row),
) {
    if is_alone() {
        serve(limits, serve_on);
    }
    let mut command = itself(&format!("law_13_memory::{name}"));
    command
        .env("MALLOC_ARENA_MAX", "2")
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .env("MALLOC_TRIM_THRESHOLD_", "65536");
    let (running, http) = child::http(command);
    // Whatever is made at the first use has been made.
    http.initialize(VERSION).delete();
    http.ask(&call(0, "big", json!({ "bytes": MIB })));
    let mut row = Row {
        running,
        http,
        before: 0,
    };
    // What that took is given back a moment after its answer, and would count as there before.
    row.until("nothing runs", |stats| {
        stats["busy"] == 0 && stats["connections"].as_u64() <= Some(1)
    });
    row.before = row.running.resident();
    test(&row);
}

/// One row of the table.
struct Row {
    running: Running,
    http: Http,
    before: usize,
}

impl Row {
    /// Reads what the server has grown by, which must be in the bound.
    #[track_caller]
    fn holds_at_most(&self, bytes: usize) {
        self.has_grown_at_most(self.before, bytes);
    }

    /// The same since it took `before`.
    #[track_caller]
    fn has_grown_at_most(&self, before: usize, bytes: usize) {
        let grown = self.running.resident().saturating_sub(before);
        eprintln!("holds {} KiB, {} KiB allowed", grown / KIB, bytes / KIB);
        assert!(
            grown <= bytes + bytes / 3 + PROCESS,
            "grown by {} MiB, {} MiB are allowed",
            grown / MIB,
            bytes / MIB
        );
    }

    /// Waits until the server has grown by this much.
    #[track_caller]
    fn until_it_holds(&self, bytes: usize) {
        let grown = || self.running.resident().saturating_sub(self.before);
        until_told(
            "the server has grown",
            || grown() >= bytes,
            || format!("{} of {} KiB", grown() / KIB, bytes / KIB),
        );
    }

    fn stats(&self) -> Value {
        let answer = self.http.ask(&call("stats", "stats", json!({})));
        serde_json::from_str(text(&answer)).expect("it is JSON")
    }

    /// Has so many calls say log messages to clients that read nothing, and waits until all is said.
    fn says_unread(&self, calls: u64, arguments: Value) -> Vec<Unread> {
        let say = with_meta(
            call(0, "say", arguments),
            json!({ "io.modelcontextprotocol/logLevel": "debug" }),
        );
        let unread = (0..calls).map(|_| self.http.modern(&say).connect());
        let unread = unread.collect();
        self.until("all is said", |stats| stats["done"] == calls + 1);
        unread
    }

    /// The calls of one may take half of the memory.
    fn two_sessions(&self) -> [Session; 2] {
        [(); 2].map(|()| self.http.initialize(VERSION))
    }

    /// Connects to it as to a pipe, and sends these messages.
    fn pipe(&self, messages: &[Value]) -> TcpStream {
        let line = self.running.said("pipes on ");
        let (_, address) = line.rsplit_once(' ').expect("it ends with an address");
        let mut pipe = TcpStream::connect(address).expect("it listens");
        for message in messages {
            writeln!(pipe, "{message}").expect("it reads");
        }
        pipe
    }

    fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        until_told(
            what,
            || holds(&self.stats()),
            || format!("{}", self.stats()),
        );
    }
}

fn serve(limits: Limits, serve_on: fn(Server) -> mcp_threads::Result<RunningServer>) -> ! {
    let server = Server::new("kept", "1.0.0")
        .workers(WORKERS) // else a machine with more cores has more
        .limits(limits.write_timeout(crate::harness::PATIENCE * 4)) // nobody is cut for reading nothing while a row is filled
        .job_tools()
        .tool("big", "", |args: Value| filler(&args["bytes"]))
        .tool("nuls", "", |args: Value| {
            let nuls = filler(&args["bytes"]).replace('x', "\0");
            let mut result = CallToolResult::default();
            match args["structured"] == true {
                true => result.structured_content = Some(json!({ "nuls": nuls })),
                false => result.content.push(ContentBlock::text(nuls)),
            }
            result
        })
        .tool("part", "", |cx: &mut RequestContext, args: Value| {
            cx.close_stream();
            filler(&args["bytes"])
        })
        .tool("late_part", "", |cx: &mut RequestContext, args: Value| {
            cx.close_stream();
            let (passes, changed) = &PASSES;
            let passes = passes.lock().expect("nothing panics here");
            let held = changed.wait_while(passes, |passes| *passes == 0);
            *held.expect("nothing panics here") -= 1;
            filler(&args["bytes"])
        })
        .register(Tool::new("let_go").lane("urgent").handler(|_: Value| {
            *PASSES.0.lock().expect("nothing panics here") += 1;
            PASSES.1.notify_one();
        }))
        .tool("say", "", |cx: &mut RequestContext, args: Value| {
            for _ in 0..args["times"].as_u64().unwrap_or(0) {
                cx.log(LoggingLevel::Info, filler(&args["bytes"]));
            }
        })
        .tool("sleep", "", |cx: &mut RequestContext, _: Value| {
            cx.sleep(crate::harness::PATIENCE * 4)
        })
        .tool("ask", "", |cx: &mut RequestContext| {
            cx.roots().map(|roots| roots.len())
        })
        .tool("change", "", |cx: &mut RequestContext, args: Value| {
            cx.resource_updated(args["uri"].as_str().unwrap_or_default());
        })
        .register(
            Tool::new("job")
                .execution(Execution::Background)
                .handler(|cx: &mut RequestContext, args: Value| {
                    match args["bytes"].as_u64() {
                        Some(1..) => Ok(filler(&args["bytes"])),
                        _ => cx.sleep(crate::harness::PATIENCE * 4).map(|()| String::new()),
                    }
                }),
        )
        .workspaces(|_name, _owner| Ok::<(), String>(()))
        .register(Tool::new("turn").in_workspace().handler(
            |cx: &mut RequestContext, _: &mut (), _: Value| {
                cx.sleep(crate::harness::PATIENCE * 4)
            },
        ))
        .register(Tool::new("stats").lane("urgent").handler(
            |cx: &mut RequestContext, _: Value| {
                let stats = cx.stats();
                let main = &stats.lanes[0];
                json!({ "sessions": stats.sessions, "asks": stats.asks, "busy": main.busy,
                        "here": main.busy + main.queued, "jobs": stats.jobs.completed,
                        "turns": stats.waiting_for_workspaces + main.busy,
                        "connections": stats.connections, "subscriptions": stats.subscriptions,
                        "done": main.done, "jobs_done": stats.lanes.iter().find(|lane| lane.name == "jobs").map(|lane| lane.done) })
                .to_string()
            },
        ))
        .register(ResourceTemplate::new("kept:{name}", "kept").handler(|_: Value| "kept"));
    let running = serve_on(server).expect("it can start");
    let address = running.addr().expect("it serves HTTP");
    let pipes = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let pipes_address = pipes.local_addr().expect("it is bound");
    eprintln!("pipes on {pipes_address}");
    eprintln!("listening on http://{address}/mcp");
    // Until the test ends this process.
    for pipe in pipes.incoming() {
        let write = pipe.expect("it can be accepted");
        let read = write.try_clone().expect("a socket can be cloned");
        running.serve_pipe(read, write).expect("it runs");
    }
    unreachable!("a listener does not end")
}

/// How many of those that wait for it may go on.
static PASSES: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

fn filler(bytes: &Value) -> String {
    "x".repeat(bytes.as_u64().unwrap_or(0) as usize)
}

fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    crate::harness::call(id, tool, arguments)
}

/// A URI of about 4 KiB that the server has a template for.
fn uri(number: usize) -> String {
    format!("kept:{number:06}{}", "x".repeat(4 * KIB - 16))
}

/// Subscribes to so many resources, as far as the server takes them.
fn subscribe(session: &Session, count: usize) -> usize {
    let mut connection = session.http.connect();
    let taken = |number: &usize| {
        let subscribe = legacy(
            *number,
            "resources/subscribe",
            json!({ "uri": uri(*number) }),
        );
        let mut reply = connection.ask(&session.post(&subscribe));
        reply.json().get("result").is_some()
    };
    (0..count).filter(taken).count()
}

#[test]
fn law_13_sessions_that_say_much_about_themselves() {
    with_server(
        "law_13_sessions_that_say_much_about_themselves",
        Limits::default(),
        |row| {
            // As many members as 64 KiB have room for, which is what costs the most if it is kept as a tree.
            let members = (0..5_800).map(|number| (format!("{number:05}"), json!({})));
            let capabilities = Value::Object(members.collect());
            let hello = introduction(&capabilities).to_string();
            assert!(
                (60 * KIB..64 * KIB).contains(&hello.len()),
                "{}",
                hello.len()
            );
            for _ in 0..1024 {
                assert_eq!(row.http.post(hello.clone()).send().status, 200);
            }
            assert_eq!(row.stats()["sessions"], 1024);
            row.holds_at_most(1024 * 66 * KIB);
        },
    );
}

/// So many sessions that keeping each URI twice would show.
#[test]
fn law_13_watched_resources() {
    with_server("law_13_watched_resources", Limits::default(), |row| {
        let sessions: Vec<_> = (0..4).map(|_| row.http.initialize(VERSION)).collect();
        for session in &sessions {
            assert_eq!(subscribe(session, 1030), 1024);
        }
        row.holds_at_most(4 * (4 * MIB + 100 * KIB));
    });
}

/// What a session watches and the answer that waits for its client are on one account; another session has its own.
#[test]
fn law_13_one_session_in_all() {
    with_server("law_13_one_session_in_all", Limits::default(), |row| {
        let part = |session: &Session, id: u32, bytes: usize| {
            let done = row.stats()["done"].as_u64();
            let part = legacy_call(id, "part", json!({ "bytes": bytes }));
            let mut reply = session.post(&part).send();
            let start = reply.fields_of_event().and_then(|start| start.id);
            while reply.fields_of_event().is_some() {}
            row.until("it has answered", |stats| stats["done"].as_u64() > done);
            start.expect("it says where to come back")
        };
        let session = row.http.initialize(VERSION);
        assert_eq!(subscribe(&session, 1000), 1000);
        let fits = part(&session, 1, 3 * MIB);
        row.holds_at_most(8 * MIB);
        let kept = session.resume(&fits).send().message();
        assert_eq!(text(&kept).len(), 3 * MIB);
        let too_long = part(&session, 2, 24 * MIB);
        row.holds_at_most(8 * MIB);
        let refused = session.resume(&too_long).send().message();
        assert_eq!(code(&refused), 503, "{refused:.300}");
        let other = row.http.initialize(VERSION);
        let fits = part(&other, 1, 6 * MIB);
        let kept = other.resume(&fits).send().message();
        assert_eq!(text(&kept).len(), 6 * MIB, "it watches nothing");
    });
}

/// All sessions together keep half of the server's memory, and the rest is served.
#[test]
fn law_13_what_all_sessions_keep() {
    let limits = Limits::default().memory_bytes_max(32 * MIB);
    with_server("law_13_what_all_sessions_keep", limits, |row| {
        // Each watches 2 MiB and listens, so that none is idle.
        let mut open = Vec::new();
        let mut taken = 0;
        for _ in 0..8 {
            let session = row.http.initialize(VERSION);
            let listening = session.get().send();
            assert_eq!(listening.status, 200);
            taken += subscribe(&session, 512);
            open.push((session, listening));
        }
        assert!((3_800..=4_096).contains(&taken), "16 MiB of 4 KiB: {taken}");
        row.holds_at_most(16 * MIB);
        let echo = row.http.ask(&call(1, "big", json!({ "bytes": MIB })));
        assert_eq!(text(&echo).len(), MIB, "the other half is there");
        let refused = row
            .http
            .post(initialize(1, VERSION).to_string())
            .send()
            .json();
        assert_eq!(code(&refused), 503);
        // Those that are left make room for others.
        drop(open);
        until("an idle session makes room", || {
            let introduced = row.http.post(initialize(1, VERSION).to_string()).send();
            introduced.status == 200
        });
    });
}

/// What is parked is looked at when it arrives, not only when a stream is parked: all are parked here before the first answer comes.
#[test]
fn law_13_answers_that_arrive_at_parked_streams() {
    let name = "law_13_answers_that_arrive_at_parked_streams";
    with_server(name, Limits::default(), |row| {
        let session = row.http.initialize(VERSION);
        let mut starts = Vec::new();
        for id in 0..16 {
            let part = legacy_call(id, "late_part", json!({ "bytes": 512 * KIB }));
            let mut reply = session.post(&part).send();
            let start = reply.fields_of_event().expect("it says where to come back");
            starts.push(start.id.expect("it has an id"));
            while reply.fields_of_event().is_some() {}
        }
        for answered in 1..=16 {
            row.http.ask(&call(0, "let_go", json!({})));
            // One after the other, so that one is the last.
            row.until("it has answered", |stats| stats["done"] == answered + 1);
        }
        let kept = |start: &String| session.resume(start).send().status == 200;
        let kept: Vec<_> = starts.into_iter().filter(kept).collect();
        assert_eq!(
            kept.len(),
            1,
            "two and what stands around them are too much"
        );
        let part = legacy_call(16, "part", json!({ "bytes": 4 * MIB }));
        let mut reply = session.post(&part).send();
        let start = reply.fields_of_event().and_then(|start| start.id);
        while reply.fields_of_event().is_some() {}
        row.until("it has answered", |stats| stats["done"] == 18);
        row.holds_at_most(5 * MIB);
        let start = start.expect("it says where to come back");
        let last = session.resume(&start).send().message();
        assert_eq!(text(&last).len(), 4 * MIB, "one alone may be longer");
    });
}

/// In all sessions together, too: what has waited the longest goes.
#[test]
fn law_13_parked_streams_of_all_sessions() {
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    with_server("law_13_parked_streams_of_all_sessions", limits, |row| {
        for _ in 0..30 {
            let session = row.http.initialize(VERSION);
            let part = legacy_call(1, "part", json!({ "bytes": 4 * MIB }));
            let mut reply = session.post(&part).send();
            while reply.fields_of_event().is_some() {}
        }
        row.until("all have answered", |stats| stats["done"] == 31);
        row.holds_at_most(32 * MIB);
    });
}

#[test]
fn law_13_announcements_and_replay() {
    with_server(
        "law_13_announcements_and_replay",
        Limits::default(),
        |row| {
            let sessions: Vec<_> = (0..100).map(|_| row.http.initialize(VERSION)).collect();
            for session in &sessions {
                assert_eq!(subscribe(session, 64), 64);
                let say = with_meta(
                    legacy_call(1, "say", json!({ "times": 100, "bytes": 4000 })),
                    json!({}),
                );
                session.post(&say).send().messages();
            }
            // What it watches, and what may have to be sent again.
            row.holds_at_most(100 * (64 * 4 * KIB + 64 * KIB + 10 * KIB));
            let before = row.running.resident();
            for number in 0..64 {
                row.http
                    .ask(&call(1, "change", json!({ "uri": uri(number) })));
            }
            // What waits until it listens.
            row.has_grown_at_most(before, 100 * 64 * KIB);
        },
    );
}

#[test]
fn law_13_subscriptions() {
    let limits = Limits::default().memory_bytes_max(32 * MIB);
    with_server("law_13_subscriptions", limits, |row| {
        let uris: Vec<_> = (0..250).map(uri).collect();
        let listen = modern(
            1,
            "subscriptions/listen",
            json!({ "notifications": { "resourceSubscriptions": uris } }),
        );
        let mut open = Vec::new();
        let mut one_more = || {
            let mut reply = row.http.modern(&listen).send();
            let said = match reply.is_stream() {
                // A refusal that is late comes as an event, too.
                true => loop {
                    let fields = reply.fields_of_event().expect("something is said");
                    if let Some(data) = fields.data {
                        break data;
                    }
                },
                false => reply.body(),
            };
            match said.contains("/acknowledged") {
                true => open.push(reply),
                false => assert!(said.contains("503"), "{said}"),
            }
            open.len()
        };
        // An acknowledgement takes as much until it has left, so that there may be no room for a moment.
        until("they are open", || one_more() >= 14);
        for _ in 0..15 {
            assert!(one_more() <= 16, "of a MiB each");
        }
        // With the acknowledgements that are still on their way.
        row.holds_at_most(16 * MIB);
    });
}

/// What clients do not read comes and goes: for that no session ends, which keeps less than is wanted and would free next to nothing.
#[test]
fn law_13_no_session_ends_for_answers_that_nobody_reads() {
    let name = "law_13_no_session_ends_for_answers_that_nobody_reads";
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    with_server(name, limits, |row| {
        let session = row.http.initialize(VERSION);
        let big = call(1, "big", json!({ "bytes": 8 * MIB }));
        let _unread: Vec<_> = (0..12).map(|_| row.http.modern(&big).connect()).collect();
        row.until("all are answered", |stats| stats["done"] == 13);
        let ping = legacy(2, "ping", json!({}));
        assert_eq!(session.post(&ping).send().status, 200);
        assert_eq!(row.stats()["sessions"], 1);
    });
}

/// They are on one share, so that sessions which nobody asks for make room for a subscription as they do for a session.
#[test]
fn law_13_idle_sessions_make_room_for_a_subscription() {
    let name = "law_13_idle_sessions_make_room_for_a_subscription";
    let limits = Limits::default().memory_bytes_max(32 * MIB);
    with_server(name, limits, |row| {
        for _ in 0..7 {
            let session = row.http.initialize(VERSION);
            assert_eq!(subscribe(&session, 512), 512);
        }
        assert_eq!(row.stats()["sessions"], 7);
        let uris: Vec<_> = (0..250).map(uri).collect();
        let wanted = json!({ "notifications": { "resourceSubscriptions": uris } });
        let listening = row
            .http
            .modern(&modern(1, "subscriptions/listen", wanted))
            .send();
        assert_eq!(listening.status, 200);
        assert_eq!(row.stats()["sessions"], 6);
    });
}

#[test]
fn law_13_questions_without_an_answer() {
    with_server(
        "law_13_questions_without_an_answer",
        Limits::default(),
        |row| {
            let session = introduced(row.http, &json!({ "roots": {} }));
            let mut open = Vec::new();
            let ballast = "x".repeat(2 * MIB);
            for id in 0..WORKERS {
                let ask = legacy_call(id, "ask", json!({ "ballast": ballast }));
                open.push(session.post(&ask).connect());
            }
            // Those that are not let wait are answered.
            row.until("all ask, or have been told that they may not", |stats| {
                let done = stats["done"].as_u64().expect("it is a number") as usize - 1;
                stats["here"] == stats["asks"] && stats["asks"] == WORKERS - done
            });
            row.holds_at_most(WORKERS / 2 * 2 * MIB);
            assert_eq!(row.stats()["asks"], WORKERS / 2);
        },
    );
}

/// Ids and tokens up to 1 KiB are kept for calls that wait; longer ones are refused, and so keep nothing.
#[test]
fn law_13_ids_and_progress_tokens() {
    with_server("law_13_ids_and_progress_tokens", plainly(), |row| {
        let session = row.http.initialize(VERSION);
        let wait = |number: usize, id_bytes: usize, token_bytes: usize| {
            let filled = |bytes| format!("{number:03}{}", "x".repeat(bytes - 3));
            let wait = legacy_call(filled(id_bytes), "sleep", json!({}));
            let token = json!({ "progressToken": filled(token_bytes) });
            session.post(&with_meta(wait, token)).connect()
        };
        let short: Vec<_> = (0..140).map(|number| wait(number, KIB, KIB)).collect();
        row.until("all wait", |stats| stats["here"] == 140);
        let long = |number| match number % 2 {
            0 => wait(number, 512 * KIB, 3),
            _ => wait(number, 3, 512 * KIB),
        };
        let long: Vec<_> = (140..280).map(long).collect();
        let answered = || long.iter().filter(|one| one.is_answered()).count();
        row.until("each waits or is answered", |stats| {
            stats["here"] == 280 - answered()
        });
        // With the connections of those that wait.
        row.holds_at_most(140 * (2 * KIB + 64 * KIB));
        assert!(!short.iter().any(Unread::is_answered));
        for refused in long {
            let refused = refused.reply().message();
            assert!(refused["error"]["code"].is_number(), "{refused:.300}");
        }
    });
}

/// The defaults, but what waits is answered only once and not with a stream before.
fn plainly() -> Limits {
    Limits::default().stream_after(crate::harness::PATIENCE * 4)
}

/// Trees are on the server's account as long as their handlers run: one for which there is no room is refused.
#[test]
fn law_13_trees_at_once() {
    let limits = plainly().memory_bytes_max(64 * MIB);
    with_server("law_13_trees_at_once", limits, |row| {
        let sessions = row.two_sessions();
        let digits = vec![0; 8 * MIB / size_of::<Value>()];
        let wait = |id: u32| {
            sessions[id as usize % 2].post(&legacy_call(id, "sleep", json!({ "digits": digits })))
        };
        let calls: Vec<_> = (0..20).map(|id| wait(id).connect()).collect();
        let answered = || calls.iter().filter(|call| call.is_answered()).count();
        row.until("each waits or is answered", |stats| {
            stats["here"] == 20 - answered()
        });
        row.holds_at_most(64 * MIB);
        let waiting = 20 - answered();
        assert!((5..=8).contains(&waiting), "{waiting} of 8 MiB in 64");
        for session in sessions {
            assert_eq!(session.delete(), 204);
        }
        let answers = calls.into_iter().map(|call| call.reply().body());
        let refused = answers.filter(|answer| answer.contains("503")).count();
        assert!(refused >= 20 - waiting, "{refused} of 20");
        let again = row.http.initialize(VERSION);
        let small = legacy_call(1, "big", json!({ "bytes": 1, "digits": digits }));
        until("there is room again", || {
            again.ask(&small).get("result").is_some()
        });
    });
}

/// Bodies that never become whole: they have half of the server's memory, one that stalls makes room for one that comes at once, and what is short is served.
#[test]
fn law_13_bodies_in_flight() {
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    with_server("law_13_bodies_in_flight", limits, |row| {
        let mut held = hold_half_bodies(row);
        let more = || row.http.post(vec![b' '; 128 * KIB]).send().status;
        until("one stalls and makes room", || more() == 400);
        for _ in 0..10 {
            assert_eq!(more(), 400, "none is refused for bodies that do not come");
        }
        row.holds_at_most(32 * MIB);
        let mut is_told = |held: &mut TcpStream| {
            let mut answer = [0; 12];
            held.set_nonblocking(true).expect("it is open");
            held.read_exact(&mut answer).is_ok() && &answer == b"HTTP/1.1 503"
        };
        until("the one that made room is told", || {
            held.iter_mut().any(&mut is_told)
        });
    });
}

fn hold_half_bodies(row: &Row) -> Vec<TcpStream> {
    let whole = row.http.post(vec![b' '; 4 * MIB]).bytes();
    let hold = |_| {
        let mut stream = TcpStream::connect(row.http.address()).expect("it listens");
        let but_one = &whole[..whole.len() - 1];
        stream.write_all(but_one).expect("there is room for it");
        stream
    };
    let held: Vec<_> = (0..8).map(hold).collect();
    row.until_it_holds(32 * MIB - MIB);
    held
}

/// A further one is refused while it arrives: tiny_http can end none.
#[cfg(feature = "tiny-http")]
#[test]
fn law_13_bodies_in_flight_on_tiny_http() {
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    let name = "law_13_bodies_in_flight_on_tiny_http";
    with_server_on(name, limits, serve_tiny_http, bodies_in_flight);
}

#[cfg(feature = "tiny-http")]
fn bodies_in_flight(row: &Row) {
    let held = hold_half_bodies(row);
    let more = || row.http.post(vec![b' '; 128 * KIB]).send().status;
    until("the last of it has come", || more() == 503);
    for _ in 0..50 {
        assert_eq!(more(), 503);
    }
    row.holds_at_most(32 * MIB);
    let big = call(1, "big", json!({ "bytes": MIB }));
    assert_eq!(
        text(&row.http.ask(&big)).len(),
        MIB,
        "a short one is served"
    );
    drop(held);
    let ballast = call(
        2,
        "big",
        json!({ "bytes": 1, "ballast": "x".repeat(3 * MIB) }),
    );
    until("there is room again", || {
        row.http.modern(&ballast).send().status == 200
    });
}

/// Calls that wait for a worker keep their arguments, on the server's account whoever sent them.
#[test]
fn law_13_calls_that_wait() {
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    with_server("law_13_calls_that_wait", limits, |row| {
        let sessions = row.two_sessions();
        let ballast = "x".repeat(3 * MIB);
        let wait = |id: u32| {
            sessions[id as usize % 2].post(&legacy_call(id, "sleep", json!({ "ballast": ballast })))
        };
        let calls: Vec<_> = (0..40).map(|id| wait(id).connect()).collect();
        row.until("as many run as there is memory for", |stats| {
            stats["busy"].as_u64().is_some_and(|busy| busy >= 10)
        });
        until("one is refused", || calls.iter().any(Unread::is_answered));
        row.holds_at_most(64 * MIB);
        for session in sessions {
            assert_eq!(session.delete(), 204);
        }
        let answers = calls.into_iter().map(|call| call.reply().body());
        let (ran, refused): (Vec<_>, Vec<_>) =
            answers.partition(|answer| !answer.contains("error"));
        assert!(
            (10..=21).contains(&ran.len()),
            "{} of 3 MiB in 64",
            ran.len()
        );
        let refused = refused.iter().filter(|answer| answer.contains("try again"));
        assert!(refused.count() > 0, "more is refused");
    });
}

/// What background jobs keep, arguments and results, whoever ordered them: what has ended makes room, and what cannot is refused.
#[test]
fn law_13_background_jobs() {
    let limits = Limits::default().job_bytes_max(16 * MIB);
    with_server("law_13_background_jobs", limits, |row| {
        let session = row.http.initialize(VERSION);
        let order = |id: u64, bytes: usize, ballast: usize| {
            let arguments = json!({ "bytes": bytes, "ballast": "x".repeat(ballast) });
            session.ask(&legacy_call(id, "job", arguments))
        };
        for id in 0..40 {
            let ordered = order(id, MIB, 100);
            assert!(ordered.get("result").is_some(), "{ordered}");
            row.until("it has ended", |stats| stats["jobs_done"] == id + 1);
        }
        let kept = session.ask(&legacy_call(100, "job_list", json!({})));
        let kept = kept["result"]["structuredContent"]["jobs"]
            .as_array()
            .map(Vec::len);
        assert_eq!(kept, Some(15), "of a MiB and a little each");
        row.holds_at_most(16 * MIB);
        // Those that wait for a worker of the lane make no room.
        let refused = (40..80).filter(|id| order(*id, 0, MIB)["error"]["code"] == 503);
        assert_eq!(refused.count(), 35, "5 of a MiB, kept three times");
        row.holds_at_most(16 * MIB);
    });
}

/// As many as may be kept of one session, and in all; each has ended, so that the next one takes the place of the first. The bounds are a tenth of the
/// defaults, and what is kept is as much for each.
#[test]
fn law_13_as_many_background_jobs_as_may_be() {
    let limits = Limits::default().jobs_of_one_max(1000).jobs_max(2000);
    let name = "law_13_as_many_background_jobs_as_may_be";
    with_server(name, limits, |row| {
        for in_all in [1000, 2000, 2000, 2000] {
            let session = row.http.initialize(VERSION);
            let job = session.post(&legacy_call(1, "job", json!({ "bytes": 12 * KIB })));
            let mut connection = row.http.connect();
            for _ in 0..1200 {
                // Which is full when none has ended for a while.
                until("there is a place in the queue", || {
                    connection.ask(&job).json().get("result").is_some()
                });
            }
            row.until("they have ended", |stats| stats["jobs"] == in_all);
            let list = session.ask(&legacy_call(1, "job_list", json!({})));
            let jobs = &list["result"]["structuredContent"]["jobs"];
            assert_eq!(jobs.as_array().map(Vec::len), Some(1000));
        }
        row.holds_at_most(2000 * 13 * KIB);
    });
}

/// The calls that wait for their turn in a workspace keep what other calls keep, and are few; the workspaces themselves hold what their author puts there.
#[test]
fn law_13_workspaces() {
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    with_server("law_13_workspaces", limits, |row| {
        let sessions = row.two_sessions();
        let ballast = "x".repeat(MIB);
        let turn = |id: usize| {
            let arguments = json!({ "workspace": format!("w{}", id / 50), "ballast": ballast });
            sessions[id % 2].post(&legacy_call(id as u64, "turn", arguments))
        };
        // One after the other: many that arrive together each hold what the others lack.
        let mut calls = Vec::new();
        let mut waiting = 0;
        for id in 0..150 {
            let call = turn(id).connect();
            until("it waits, or is refused for want of room", || {
                let is_let_in = row.stats()["turns"].as_u64() > Some(waiting);
                waiting += u64::from(is_let_in);
                is_let_in || call.is_answered()
            });
            calls.push(call);
        }
        row.holds_at_most(64 * MIB);
        for session in sessions {
            assert_eq!(session.delete(), 204);
        }
        let answers = calls.into_iter().map(|call| call.reply().body());
        let refused = answers.filter(|answer| answer.contains("503")).count();
        assert!((150 - 64..=120).contains(&refused), "{refused} of 150");
    });
}

/// Clients that read nothing: what waits for them is a quarter of the server's memory, however many they are.
#[test]
fn law_13_events_that_nobody_reads() {
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    with_server("law_13_events_that_nobody_reads", limits, |row| {
        let _unread = row.says_unread(8, json!({ "times": 100_000, "bytes": 40 }));
        row.holds_at_most(16 * MIB + 8 * MIB);
        let other = row.http.ask(&call(1, "big", json!({ "bytes": MIB })));
        assert_eq!(text(&other).len(), MIB);
    });
}

/// Of which one stream, or one pipe, may have an eighth. It is the messages that are counted there: each has room around it, which may be twice as much.
#[test]
fn law_13_events_of_one_stream_that_nobody_reads() {
    let name = "law_13_events_of_one_stream_that_nobody_reads";
    with_server(name, Limits::default(), |row| {
        let _long = row.says_unread(1, json!({ "times": 24_000, "bytes": 4200 }));
        row.holds_at_most(3 * 16 * MIB);
    });
}

#[test]
fn law_13_events_of_one_pipe_that_nobody_reads() {
    let name = "law_13_events_of_one_pipe_that_nobody_reads";
    with_server(name, Limits::default(), |row| {
        let say = legacy_call(1, "say", json!({ "times": 400_000, "bytes": 40 }));
        let _unread = row.pipe(&[initialize(0, VERSION), say]);
        row.until("all is said", |stats| stats["done"] == 2);
        row.holds_at_most(3 * 16 * MIB);
    });
}

/// Whatever room was made for more of it while it was written.
#[test]
fn law_13_events_of_any_length_that_nobody_reads() {
    let name = "law_13_events_of_any_length_that_nobody_reads";
    let limits = Limits::default().memory_bytes_max(256 * MIB);
    with_server(name, limits, |row| {
        let _unread = row.says_unread(8, json!({ "times": 15_000, "bytes": 700 }));
        row.holds_at_most(64 * MIB);
    });
}

/// One that is long and half written counts as much as those that wait.
#[test]
fn law_13_long_events_that_nobody_reads() {
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    with_server("law_13_long_events_that_nobody_reads", limits, |row| {
        let _unread = row.says_unread(16, json!({ "times": 8, "bytes": 2 * MIB }));
        row.holds_at_most(16 * MIB);
    });
}

/// A byte that is escaped takes six on the wire: an answer for which there is no room is refused before it is written.
#[test]
fn law_13_answers_of_escapes() {
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    with_server("law_13_answers_of_escapes", limits, |row| {
        let before = row.running.memory("VmHWM");
        for structured in [false, true] {
            let arguments = json!({ "bytes": 16 * MIB, "structured": structured });
            let answer = row.http.ask(&call(1, "nuls", arguments));
            assert_eq!(code(&answer), 503);
        }
        let grown = row.running.memory("VmHWM") - before;
        assert!(grown <= 2 * 16 * MIB + PROCESS, "{} MiB", grown / MIB);
        let arguments = json!({ "bytes": MIB });
        let answer = row.http.ask(&call(2, "nuls", arguments));
        assert_eq!(text(&answer).len(), MIB);
    });
}

/// Answers that nobody reads are on the server's account: one for which there is no room becomes a refusal under its id.
#[test]
fn law_13_answers_that_nobody_reads() {
    let limits = Limits::default().memory_bytes_max(64 * MIB);
    with_server("law_13_answers_that_nobody_reads", limits, |row| {
        let big = |id| {
            row.http
                .modern(&call(id, "big", json!({ "bytes": 8 * MIB })))
        };
        let unread: Vec<_> = (0..12).map(|id| big(id).connect()).collect();
        row.until("all are answered", |stats| stats["done"] == 13);
        row.holds_at_most(64 * MIB);
        let mut refused = 0;
        for (id, unread) in unread.into_iter().enumerate() {
            let answer = unread.reply().message();
            assert_eq!(answer["id"], id);
            match answer.get("error") {
                Some(_) => {
                    assert_eq!(code(&answer), 503);
                    refused += 1;
                }
                None => assert_eq!(text(&answer).len(), 8 * MIB),
            }
        }
        assert!((4..=6).contains(&refused), "{refused} of twelve");
        assert_eq!(text(&big(99).send().message()).len(), 8 * MIB);
    });
}
