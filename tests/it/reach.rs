//! The ways in besides an address: a Unix-domain socket, and a program's own tiny_http. And what the guarded front adds to every way: a client that
//! leaves is noticed while nothing is said, also while its call still waits for a worker.

use std::time::Duration;

use mcp_threads::Limits;
use serde_json::json;

use crate::harness::{Gate, Http, PATIENCE, Served, call, probes, text, until};

/// A server behind the guarded front that never writes before the answer, and looks for its client every 10 ms.
#[cfg(feature = "http")]
fn silent(gate: &Gate) -> (Served, Http) {
    let limits = Limits::default()
        .stream_after(Duration::from_secs(600))
        .departure_interval(Duration::from_millis(10));
    let server = probes(gate).workers(1).limits(limits);
    let running = server.serve_http("127.0.0.1:0").expect("it can start");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    (Served::new(running), http)
}

#[cfg(feature = "http")]
#[test]
fn a_client_that_leaves_without_a_word_cancels_its_modern_call() {
    let gate = Gate::new();
    let (served, http) = silent(&gate);
    let waiting = http.modern(&call(1, "wait", json!({}))).connect();
    assert_eq!(gate.began(), "somebody");
    drop(waiting);
    assert_eq!(gate.cancelled(), "somebody");
    served.until_main("the worker is free", |main| {
        (main.busy, main.cancelled) == (0, 1)
    });
    served.stop();
}

#[cfg(feature = "http")]
#[test]
fn a_queued_call_whose_client_has_left_is_dropped_before_it_runs() {
    let gate = Gate::new();
    let (served, http) = silent(&gate);
    let first = http
        .modern(&call(1, "gate", json!({ "who": "first" })))
        .connect();
    assert_eq!(gate.began(), "first");
    let second = http
        .modern(&call(2, "gate", json!({ "who": "second" })))
        .connect();
    served.until_main("the second waits", |main| main.queued == 1);
    drop(second);
    until("its departure has been seen", || {
        served.stats().connections == 1
    });
    gate.let_go(1);
    assert_eq!(first.reply().status, 200);
    served.until_main("both are over", |main| {
        (main.done, main.cancelled) == (1, 1)
    });
    assert!(gate.nobody_came(), "the second never began");
    served.stop();
}

#[cfg(feature = "http")]
#[test]
fn a_call_beyond_the_bound_of_streams_is_answered_as_plain_json() {
    let gate = Gate::new();
    let limits = Limits::default()
        .stream_after(Duration::from_millis(1))
        .streams_max(1);
    let server = probes(&gate).limits(limits);
    let running = server.serve_http("127.0.0.1:0").expect("it can start");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    let mut first = http
        .modern(&call(1, "gate", json!({ "who": "first" })))
        .send();
    assert_eq!((gate.began().as_str(), first.is_stream()), ("first", true));
    let second = http
        .modern(&call(2, "gate", json!({ "who": "second" })))
        .connect();
    assert_eq!(gate.began(), "second");
    // Longer than the silence after which it would have become a stream.
    std::thread::sleep(Duration::from_millis(20));
    gate.let_go(2);
    let mut second = second.reply();
    assert!(!second.is_stream());
    assert_eq!(second.json()["id"], 2);
    assert!(first.messages().iter().any(|message| message["id"] == 1));
    running.shutdown(PATIENCE);
}

#[cfg(feature = "http")]
#[test]
fn a_unix_domain_socket_serves_the_same() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("mcp-threads-{}.sock", std::process::id()));
    let running = probes(&Gate::new())
        .serve_unix(&path, 0o600)
        .expect("it can start");
    assert_eq!(running.addr(), None);
    let mode = std::fs::metadata(&path)
        .expect("the socket is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        probes(&Gate::new())
            .serve_unix(&path, 0o600)
            .is_err_and(|error| error.is_bind())
    );
    let mut client = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    let body = call(1, "echo", json!({ "text": "through a file" })).to_string();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n";
    write!(client, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("it reads");
    let mut answer = String::new();
    client
        .read_to_string(&mut answer)
        .expect("it answers and closes");
    assert!(answer.contains("through a file"), "{answer}");
    running.shutdown(PATIENCE);
    assert!(!path.exists(), "the socket is removed at the end");
}

#[cfg(feature = "tiny-http")]
#[test]
fn a_program_s_own_tiny_http_hands_over_what_is_meant_for_mcp() {
    use std::sync::Arc;
    let mount = Arc::new(probes(&Gate::new()).mount().expect("it can start"));
    let own = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a port is free"));
    let address = own.server_addr().to_ip().expect("it is an IP address");
    let (server, mcp) = (Arc::clone(&own), Arc::clone(&mount));
    let program = std::thread::spawn(move || {
        for request in server.incoming_requests() {
            if mcp.is_for(&request) {
                mcp.handle(request);
            } else {
                let page = tiny_http::Response::from_string("the program's own page");
                request.respond(page).expect("the client is there");
            }
        }
    });
    let http = Http::new(address);
    assert_eq!(
        text(&http.ask(&call(1, "echo", json!({ "text": "mounted" })))),
        "mounted"
    );
    assert_eq!(
        http.bare("GET", "/").send().body(),
        "the program's own page"
    );
    assert_eq!(http.bare("PUT", "/mcp").send().status, 405);
    let report = mount.shutdown(PATIENCE);
    assert_eq!(report.abandoned_handlers, 0);
    let refused = http
        .modern(&call(2, "echo", json!({ "text": "late" })))
        .send();
    assert_eq!(refused.status, 503);
    assert!(mount.stats().draining);
    own.unblock();
    program.join().expect("the program's loop does not panic");
}
