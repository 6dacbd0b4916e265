//! The short way: an answer that its worker sends itself wakes no thread to write it, and is still one answer, whole and in its place.
//!
//! The connections here are kept alive, for an answer that ends its connection goes the long way. `the_laws_hold_on_the_long_way_too` runs the tests
//! of the laws once more without the short way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mcp_threads::{Limits, RequestContext, Server};
use serde_json::{Value, json};

use crate::harness::child::{self, example};
use crate::harness::message::cancel;
use crate::harness::{
    Dice, Gate, Http, PATIENCE, PipeClient, Served, alone, call, is_alone, legacy_call, patient,
    probes, text, until,
};

/// One kept connection, on which requests are written and answers read byte by byte as HTTP wants it.
struct Kept {
    http: Http,
    write: TcpStream,
    read: BufReader<TcpStream>,
}

impl Kept {
    fn open(http: Http) -> Self {
        Kept::on(
            http,
            TcpStream::connect(http.address()).expect("it listens"),
        )
    }

    fn on(http: Http, write: TcpStream) -> Self {
        write.set_nodelay(true).expect("a TCP option");
        write.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let read = write.try_clone().expect("a socket can be cloned");
        Kept {
            http,
            write,
            read: BufReader::new(read),
        }
    }

    fn send(&mut self, messages: &[Value]) {
        let bytes: Vec<u8> = messages
            .iter()
            .flat_map(|message| self.http.modern(message).bytes())
            .collect();
        self.write.write_all(&bytes).expect("the server reads");
    }

    /// The next answer on this connection.
    fn answer(&mut self) -> Value {
        self.answer_with_head().1
    }

    /// The same behind its header fields, with names in lower case.
    fn answer_with_head(&mut self) -> (String, Value) {
        let mut length = 0;
        let mut head = String::new();
        loop {
            let start = head.len();
            self.read.read_line(&mut head).expect("an answer is due");
            let line = head[start..].to_lowercase();
            head.replace_range(start.., &line);
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length is a number");
            }
            match line.as_str() {
                "\r\n" => break,
                "" => panic!("the connection ended instead of an answer"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.read.read_exact(&mut body).expect("a whole answer");
        let answer = serde_json::from_slice(&body).expect("an answer is JSON");
        (head, answer)
    }

    fn ask(&mut self, message: &Value) -> Value {
        self.send(std::slice::from_ref(message));
        self.answer()
    }
}

/// `repeat` answers with so many bytes, after so many microseconds.
fn server(gate: &Gate) -> Server {
    probes(gate).workers(4).tool(
        "repeat",
        "Says one letter again and again.",
        |cx: &mut RequestContext, args: Value| {
            let number = |name: &str| args[name].as_u64().unwrap_or(0);
            let _cancelled = cx.sleep(Duration::from_micros(number("us")));
            "x".repeat(usize::try_from(number("bytes")).expect("a small number"))
        },
    )
}

fn guarded(server: Server) -> (Served, Http) {
    let running = server.serve_http("127.0.0.1:0").expect("it can start");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    (Served::new(running), http)
}

/// Every call that was accepted has ended, each once, and no connection is left.
#[track_caller]
fn assert_all_ended(served: &Served) {
    until("the connections to be gone", || {
        served.stats().connections == 0
    });
    served.until_main("the calls to have ended", |lane| {
        lane.busy == 0 && lane.queued == 0
    });
}

/// How often the threads that look after connections have slept so far.
#[cfg(target_os = "linux")]
fn sleeps_of_connection() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists threads");
    let status = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("status")).ok()
    };
    let all = tasks.filter_map(status);
    let sleeps = all.filter(|status| status.starts_with("Name:\tmcp-conn-"));
    let sleeps = sleeps.map(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let count = line.expect("Linux counts them").trim().parse::<u64>();
        count.expect("a number")
    });
    sleeps.sum()
}

/// The thread that a connection has its turns on sleeps once for each call, from one request to the next, and not a second time for the answer.
#[cfg(target_os = "linux")]
#[test]
fn an_answer_costs_one_wake_up() {
    const CALLS: u64 = 300;
    alone("short_way::an_answer_costs_one_wake_up", || {
        let (served, http) = guarded(server(&Gate::new()));
        let mut client = Kept::open(http);
        client.ask(&call(0, "echo", json!({ "text": "first" })));
        let before = sleeps_of_connection();
        for id in 1..=CALLS {
            // Long enough that the thread sleeps before the answer is there.
            let answer = client.ask(&call(id, "repeat", json!({ "bytes": 9, "us": 500 })));
            assert_eq!(answer["id"], id);
            // A client that is quicker than its worker's last step makes the thread wait for that.
            served.until_main("the worker to have ended", |lane| lane.done > id);
        }
        let slept = sleeps_of_connection() - before;
        assert!(slept < CALLS * 3 / 2, "{slept} sleeps for {CALLS} calls");
        served.stop();
    });
}

/// A logger that panics once, when it has been asked so often whether it wants a line.
struct Panicking(AtomicI64);

impl log::Log for Panicking {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        let left = self.0.fetch_sub(1, Ordering::SeqCst);
        assert_ne!(left, 1, "the logger panics");
        true
    }

    fn log(&self, _: &log::Record<'_>) {}

    fn flush(&self) {}
}

/// It is asked on the threads that read, on workers, and between an answer that has left and the word that it has.
#[test]
fn law_08_a_logger_that_panics_spoils_no_answer_and_ends_no_reader() {
    const TEST: &str = "short_way::law_08_a_logger_that_panics_spoils_no_answer_and_ends_no_reader";
    alone(TEST, || {
        static LOGGER: Panicking = Panicking(AtomicI64::new(0));
        log::set_logger(&LOGGER).expect("the test has no other logger");
        log::set_max_level(log::LevelFilter::Info);
        let (served, http) = guarded(server(&Gate::new()));
        let mut kept = Kept::open(http);
        let (piped, mut pipe) = Served::pipe(server(&Gate::new()));
        for asked in 1..=12_u64 {
            let arm = || LOGGER.0.store(asked.cast_signed(), Ordering::SeqCst);
            // Long enough that the worker sends the answer.
            let arguments = json!({ "bytes": 9, "us": 2000 });
            arm();
            for id in [2 * asked, 2 * asked + 1] {
                let answer = kept.ask(&call(id, "repeat", arguments.clone()));
                assert_eq!(
                    (&answer["id"], text(&answer)),
                    (&json!(id), "xxxxxxxxx"),
                    "at {asked}"
                );
            }
            arm();
            for message in [
                call(1, "repeat", arguments),
                legacy_call(2, "repeat", json!({})),
            ] {
                assert_eq!(pipe.ask(&message)["id"], message["id"], "at {asked}");
            }
        }
        pipe.close();
        piped.stop();
        served.stop();
    });
}

/// A connection keeps its short way from one exchange to the next, and no page's origin with it.
#[test]
fn an_answer_goes_to_the_page_that_asked_on_a_connection_that_many_use() {
    let (served, http) = guarded(server(&Gate::new()));
    let mut client = Kept::open(http);
    let pages = [
        None,
        Some("http://localhost:1"),
        None,
        Some("http://localhost:2"),
        Some("http://localhost:1"),
        None,
    ];
    for (id, origin) in (0..).zip(pages.into_iter().cycle().take(24)) {
        // Long enough that the worker sends it, or so short that the other thread may.
        let us = if id % 4 < 3 { 500 } else { 0 };
        let ask = http.modern(&call(id, "repeat", json!({ "bytes": 9, "us": us })));
        let ask = match origin {
            Some(origin) => ask.field("Origin", origin),
            None => ask,
        };
        let bytes: Vec<u8> = ask.bytes().into_iter().collect();
        client.write.write_all(&bytes).expect("the server reads");
        let (head, answer) = client.answer_with_head();
        assert_eq!(answer["id"], id);
        let allowed = head
            .lines()
            .find_map(|line| line.strip_prefix("access-control-allow-origin: "));
        assert_eq!(allowed, origin, "{head}");
    }
    served.stop();
}

/// Requests that are sent ahead in bursts are answered once each, in order, on many connections at once.
#[test]
fn law_04_requests_sent_ahead_are_answered_once_and_in_order() {
    let (served, http) = guarded(server(&Gate::new()).queue(1024));
    thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || {
                let mut dice = Dice::new(seed);
                let mut client = Kept::open(http);
                let mut id = 0;
                for _ in 0..60 {
                    let burst: Vec<Value> = (0..=dice.roll(4))
                        .map(|_| {
                            id += 1;
                            let arguments = json!({ "bytes": id, "us": dice.roll(150) });
                            call(id, "repeat", arguments)
                        })
                        .collect();
                    client.send(&burst);
                    for asked in &burst {
                        let answer = client.answer();
                        assert_eq!(answer["id"], asked["id"]);
                        let bytes = asked["params"]["arguments"]["bytes"].as_u64();
                        assert_eq!(Some(text(&answer).len() as u64), bytes);
                    }
                }
            });
        }
    });
    assert_all_ended(&served);
    assert_eq!(served.main().cancelled, 0);
    served.stop();
}

/// Clients with next to no room for an answer get it in pieces, of which the worker sends at most the first.
#[test]
fn law_01_a_long_answer_reaches_a_client_with_little_room_whole() {
    const BYTES: usize = 3_000_000;
    let (served, http) = guarded(server(&Gate::new()));
    thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let mut dice = Dice::new(seed);
                let socket = TcpStream::connect(http.address()).expect("it listens");
                rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 64 * 1024)
                    .expect("a socket option");
                let mut client = Kept::on(http, socket);
                for id in 1..=6 {
                    let bytes = BYTES + usize::try_from(dice.roll(5000)).expect("small");
                    client.send(&[
                        call(id, "repeat", json!({ "bytes": bytes })),
                        call(100 + id, "echo", json!({ "text": "behind" })),
                    ]);
                    let answer = client.answer();
                    assert_eq!(answer["id"], id);
                    assert_eq!(text(&answer).len(), bytes);
                    assert!(text(&answer).bytes().all(|byte| byte == b'x'));
                    assert_eq!(text(&client.answer()), "behind");
                }
            });
        }
    });
    assert_all_ended(&served);
    served.stop();
}

/// The next request comes while the worker is sending: the connection reads it without waiting for the worker, and what the worker has not sent
/// still leaves first, also where the rest of that request waits for it.
#[test]
fn law_04_a_request_that_meets_an_answer_on_its_way_is_answered_behind_it() {
    let (served, http) = guarded(server(&Gate::new()));
    thread::scope(|scope| {
        for seed in 0..2 {
            scope.spawn(move || {
                let mut dice = Dice::new(seed);
                let socket = TcpStream::connect(http.address()).expect("it listens");
                rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 256 * 1024)
                    .expect("a socket option");
                let mut client = Kept::on(http, socket);
                for id in 1..=20 {
                    let next = http.modern(&call(100 + id, "echo", json!({ "text": "behind" })));
                    let next = match dice.roll(6) {
                        0 => next.field("Origin", "http://localhost:1"),
                        1 => next
                            .field("Mcp-Session-Id", "a")
                            .field("Mcp-Session-Id", "b"),
                        2 | 3 => http.bare("POST", "/nowhere"),
                        _ => next,
                    };
                    let next = next.bytes();
                    let (first, second) = match dice.roll(4) {
                        0 => next.split_at(40),
                        1 => next.split_at(next.len() - 9),
                        _ => next.split_at(next.len()),
                    };
                    // Around what the kernel takes at once.
                    let bytes = usize::try_from(1 + dice.roll(9_000_000)).expect("small");
                    client.send(&[call(id, "repeat", json!({ "bytes": bytes }))]);
                    client.read.fill_buf().expect("an answer is due");
                    client.write.write_all(first).expect("the server reads");
                    let answer = client.answer();
                    assert_eq!(answer["id"], id);
                    assert_eq!(text(&answer).len(), bytes);
                    client.write.write_all(second).expect("the server reads");
                    let (head, answer) = client.answer_with_head();
                    match head.starts_with("http/1.1 200") {
                        true => assert_eq!(text(&answer), "behind"),
                        false => assert!(head.starts_with("http/1.1 40"), "{head}"),
                    }
                }
            });
        }
    });
    assert_all_ended(&served);
    served.stop();
}

/// A client that takes nothing of its answer holds no worker: the only one serves others meanwhile.
#[test]
fn law_01_a_worker_sends_what_is_taken_at_once_and_waits_for_nobody() {
    let (served, http) = guarded(server(&Gate::new()).workers(1));
    let mut deaf = Kept::open(http);
    deaf.send(&[call(1, "repeat", json!({ "bytes": 60_000_000 }))]);
    served.until_main("the long answer to be computed", |lane| lane.done == 1);
    let mut other = Kept::open(http);
    for id in 1..=20 {
        let answer = other.ask(&call(id, "echo", json!({ "text": "served" })));
        assert_eq!(text(&answer), "served");
    }
    drop(deaf);
    served.stop();
}

/// Clients leave at any moment: before, while and after they are answered. Each call ends, and so does each connection.
#[test]
fn law_04_clients_that_leave_at_any_moment_leave_nothing_behind() {
    let (served, http) = guarded(server(&Gate::new()).queue(1024));
    thread::scope(|scope| {
        for seed in 0..6 {
            scope.spawn(move || {
                let mut dice = Dice::new(seed);
                for id in 0..80 {
                    let mut client = Kept::open(http);
                    client.ask(&call(id, "echo", json!({ "text": "kept" })));
                    let bytes = dice.roll(2) * 400_000;
                    client.send(&[call(id, "repeat", json!({ "bytes": bytes, "us": 100 }))]);
                    thread::sleep(Duration::from_micros(dice.roll(300)));
                    let _ended_already = match dice.roll(3) {
                        0 => client.write.shutdown(Shutdown::Both),
                        1 => client.write.shutdown(Shutdown::Write),
                        _ => Ok(()),
                    };
                }
            });
        }
    });
    assert_all_ended(&served);
    let mut client = Kept::open(http);
    assert_eq!(
        text(&client.ask(&call(1, "echo", json!({ "text": "alive" })))),
        "alive"
    );
    drop(client);
    served.stop();
}

/// A drain at any moment: every request that was accepted is answered whole, and every connection ends.
#[test]
fn law_12_a_drain_meets_answers_on_their_way() {
    for round in 0..12 {
        let (served, http) = guarded(server(&Gate::new()));
        let answered_once = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..6)
            .map(|seed| {
                let answered_once = Arc::clone(&answered_once);
                thread::spawn(move || {
                    let mut dice = Dice::new(seed + round * 10);
                    let mut client = Kept::open(http);
                    for id in 1.. {
                        let us = dice.roll(400);
                        let ask =
                            http.modern(&call(id, "repeat", json!({ "bytes": 50, "us": us })));
                        if client.write.write_all(&ask.bytes()).is_err() {
                            break;
                        }
                        // Either a whole answer, or none at all because the connection ended before the request had come.
                        match client.read.fill_buf() {
                            Ok([]) | Err(_) => break,
                            Ok(_) => assert_eq!(client.answer()["id"], id),
                        }
                        if id == 1 {
                            answered_once.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        until("some calls of everybody", || {
            answered_once.load(Ordering::Relaxed) == 6 && served.main().done > 20 + round
        });
        let report = served.shutdown(PATIENCE);
        assert_eq!(
            report.abandoned_connections + report.lost_answers,
            0,
            "{report:?}"
        );
        for client in clients {
            client.join().expect("the client does not panic");
        }
    }
}

/// Calls of modern clients are cancelled by leaving, which is heard at once although the server never looks: nothing is due for an hour.
#[test]
fn a_client_that_leaves_is_heard_while_its_call_runs() {
    let gate = Gate::new();
    let (served, http) = guarded(server(&gate).limits(patient()));
    for id in 0..20 {
        let mut client = Kept::open(http);
        client.ask(&call(id, "echo", json!({ "text": "kept" })));
        client.send(&[call(id, "wait", json!({ "who": "left" }))]);
        assert_eq!(gate.began(), "left");
        drop(client);
        assert_eq!(gate.cancelled(), "left");
    }
    assert_all_ended(&served);
    assert_eq!(served.main().cancelled, 20);
    served.stop();
}

/// An idle connection that was answered by the short way is as idle as any: it gives its place up, and ends with the server.
#[test]
fn an_idle_connection_makes_room_whichever_way_it_was_answered() {
    let limits = Limits::default().connections_max(3);
    let (served, http) = guarded(server(&Gate::new()).limits(limits));
    for round in 0..10 {
        let kept: Vec<Kept> = (0..5)
            .map(|id| {
                let mut client = Kept::open(http);
                let answer = client.ask(&call(id, "echo", json!({ "text": round.to_string() })));
                assert_eq!(text(&answer), round.to_string());
                client
            })
            .collect();
        assert!(served.stats().connections <= 3);
        drop(kept);
    }
    served.stop();
}

fn everything() -> Command {
    let mut command = example("everything");
    command.args(["--stdio", "--queue", "1024"]);
    command
}

/// On stdio each line is whole and each id is answered once, however short and long answers, events and cancellations mix.
fn assert_lines_are_whole(mut client: PipeClient) {
    const CALLS: u64 = 600;
    let mut dice = Dice::new(7);
    client.initialize("2025-11-25");
    let mut open = 0;
    let mut answered = vec![0; CALLS as usize + 1];
    let mut cancelled = vec![false; CALLS as usize + 1];
    let mut take = |client: &mut PipeClient, cancelled: &[bool]| {
        let message = client.recv();
        if let Some(id) = message["id"].as_u64() {
            answered[id as usize] += 1;
            if !cancelled[id as usize] && message.get("error").is_none() {
                assert!(text(&message).starts_with("echo"), "{message}");
            }
            return true;
        }
        false
    };
    for id in 1..=CALLS {
        let text = format!("echo{}", "e".repeat(dice.roll(3) as usize * 2500));
        client.send(&legacy_call(id, "echo", json!({ "text": text })));
        open += 1;
        if dice.roll(20) == 0 {
            cancelled[id as usize] = true;
            client.send(&cancel(id));
        }
        while open > dice.roll(40) {
            match take(&mut client, &cancelled) {
                true => open -= 1,
                false => continue,
            }
            if cancelled.iter().any(|cancelled| *cancelled) && open <= 40 {
                break;
            }
        }
    }
    client.close();
    for message in client.rest() {
        if let Some(id) = message["id"].as_u64() {
            answered[id as usize] += 1;
        }
    }
    for (id, count) in answered.iter().enumerate().skip(1) {
        match cancelled[id] {
            true => assert!(*count <= 1, "{id} was answered {count} times"),
            false => assert_eq!(*count, 1, "{id}"),
        }
    }
}

#[test]
fn law_04_lines_are_whole_on_stdio_over_pipes() {
    let (mut running, client) = child::stdio(everything());
    assert_lines_are_whole(client);
    running.exits_well();
}

#[test]
fn law_04_lines_are_whole_on_stdio_over_sockets() {
    let (mut running, client) = child::stdio_sockets(everything());
    assert_lines_are_whole(client);
    running.exits_well();
}

/// What holds on the short way holds on the long one: the tests of the laws that concern an answer's way, in a process that knows only the long one.
#[test]
fn the_laws_hold_on_the_long_way_too() {
    if is_alone() || std::env::var_os("MCP_THREADS_LONG_WAY").is_some() {
        return;
    }
    let this = std::env::current_exe().expect("a test binary knows where it is");
    let finished = Command::new(this)
        .args(["law_01", "law_02", "law_03", "law_04", "law_06", "law_12"])
        .env("MCP_THREADS_LONG_WAY", "1")
        .output()
        .expect("it can be started");
    assert!(finished.status.success(), "{finished:#?}");
}
