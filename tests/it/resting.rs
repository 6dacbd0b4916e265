//! Connections that rest: between two requests, and while a call of theirs runs, they hold no thread, and what holds one of them up holds up no other.

use std::io::{Read, Write};
use std::net::TcpStream;

use mcp_threads::{Limits, Server, Tool};
use serde_json::{Value, json};

use crate::harness::{Gate, Http, PATIENCE, Served, call, probes, text};
#[cfg(target_os = "linux")]
use crate::harness::{alone, patient, until};

fn guarded(server: Server) -> (Served, Http) {
    let running = server.serve_http("127.0.0.1:0").expect("it can start");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    (Served::new(running), http)
}

fn connect(http: Http) -> TcpStream {
    let stream = TcpStream::connect(http.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// So many threads hear of connections, each of its own.
fn reactors() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    cores.div_ceil(4)
}

/// The threads that look after connections.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists threads");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("mcp-conn")).count()
}

/// However many they are, one thread for four cores hears of them all, and another looks whether it is held up.
#[cfg(target_os = "linux")]
#[test]
fn connections_that_rest_hold_no_thread() {
    const EACH: usize = 40;
    alone("resting::connections_that_rest_hold_no_thread", || {
        let gate = Gate::new();
        let (served, http) = guarded(probes(&gate).workers(2).queue(EACH).limits(patient()));
        let mut idle: Vec<_> = (0..EACH).map(|_| connect(http)).collect();
        let mut calling: Vec<_> = (0..EACH).map(|_| connect(http)).collect();
        for stream in &mut idle {
            let ping = http.modern(&call(0, "look", json!({}))).bytes();
            stream.write_all(&ping).expect("the server reads");
            let count = stream.read(&mut [0; 4096]).expect("an answer");
            assert!(count > 0);
        }
        for stream in &mut calling {
            let call = http
                .modern(&call(1, "gate", json!({ "who": "it" })))
                .bytes();
            stream.write_all(&call).expect("the server reads");
        }
        served.until_main("all calls to be there", |lane| {
            lane.busy + lane.queued == EACH
        });
        assert_eq!(served.stats().connections, 2 * EACH);
        // A thread that was needed for a moment is spare for a while.
        until("a thread for four cores to be left", || {
            threads() == reactors() + 1
        });
        gate.let_go(EACH);
        for stream in calling {
            let mut answer = String::new();
            let mut read = std::io::BufReader::new(stream);
            until("its answer", || {
                let mut bytes = [0; 1024];
                let count = read.read(&mut bytes).expect("an answer");
                answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
                answer.contains(r#""text":"it""#)
            });
        }
        served.stop();
    });
}

/// It waits where it must not, and the connections beside it are given to another thread, the new ones and those that rest.
#[test]
fn law_06_an_inline_tool_that_waits_holds_up_its_own_connection_alone() {
    let gate = Gate::new();
    let doors = [gate.door(), gate.door()];
    let [waits, waits_too] = doors.map(|door| {
        move |args: Value| {
            door.pass(args["who"].as_str().unwrap_or_default());
            "waited"
        }
    });
    let server = probes(&gate)
        .register(Tool::new("waits").inline().handler(waits))
        .register(Tool::new("waits_too").inline().handler(waits_too))
        .limits(Limits::default());
    let (served, http) = guarded(server);
    let mut stuck = Vec::new();
    for tool in ["waits", "waits_too"] {
        let mut stream = connect(http);
        let asked = http.modern(&call(1, tool, json!({ "who": tool }))).bytes();
        stream.write_all(&asked).expect("the server reads");
        assert_eq!(gate.began(), tool);
        stuck.push(stream);
        // On connections of all threads that hear of them.
        for _ in 0..reactors() {
            let answer = http.ask(&call(7, "echo", json!({ "text": "heard" })));
            assert_eq!(text(&answer), "heard");
        }
    }
    gate.let_go(2);
    for mut stream in stuck {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).expect("an answer");
        assert!(String::from_utf8_lossy(&bytes[..count]).contains("waited"));
    }
    served.stop();
}
