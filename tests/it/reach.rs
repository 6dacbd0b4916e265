//! The ways in besides an address: a Unix-domain socket, and a program's own tiny_http. And what the guarded front adds to every way: a client that
//! leaves is noticed while nothing is said, also while its call still waits for a worker.

use std::time::Duration;

use mcp_threads::Limits;
use serde_json::json;

use crate::harness::{Gate, Http, PATIENCE, Place, Served, call, probes, text, until};

/// A server behind the guarded front that never writes before the answer.
#[cfg(feature = "http")]
fn silent(gate: &Gate) -> (Served, Http) {
    let limits = Limits::default().stream_after(Duration::from_secs(600));
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
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    let place = Place::empty("socket");
    let path = place.0.join("socket");
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
    let ask = Http::local().modern(&call(1, "echo", json!({ "text": "through a file" })));
    let mut client = ask.field("Connection", "close").connect_unix(&path);
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

/// What systemd does: the socket is descriptor 3, and two variables say so. The process stays the same, so that its number is right.
#[cfg(feature = "http")]
const PASS_AS_3: &str = r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=${COUNT:-1}; export LISTEN_PID LISTEN_FDS; exec "$@""#;

/// This test alone, in a process that was started with this socket: as descriptor 3, or as stdin.
#[cfg(feature = "http")]
fn activated(socket: std::os::fd::OwnedFd, name: &str, as_stdin: bool) -> std::process::Command {
    let this = crate::harness::itself(name);
    let mut command = match as_stdin {
        true => std::process::Command::new(this.get_program()),
        false => {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", PASS_AS_3, "sh"]).arg(this.get_program());
            shell
        }
    };
    command.args(this.get_args()).stdin(socket);
    for (name, value) in this.get_envs() {
        command.env(name, value.expect("only set"));
    }
    command
}

/// Serves what it was started with until somebody calls `quit`.
#[cfg(feature = "http")]
fn serve_inherited() {
    let (quit, asked) = std::sync::mpsc::channel();
    let server = probes(&Gate::new()).tool("quit", "Ends the server.", move || {
        quit.send(()).expect("it waits");
        "good bye"
    });
    let running = server.serve_inherited().expect("there is a socket");
    asked.recv().expect("somebody quits");
    running.shutdown(PATIENCE);
}

#[cfg(feature = "http")]
#[test]
fn a_socket_that_the_process_was_started_with_is_served() {
    use crate::harness::{child, is_alone};
    const NAME: &str = "reach::a_socket_that_the_process_was_started_with_is_served";
    if is_alone() {
        return serve_inherited();
    }
    for as_stdin in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let http = Http::new(listener.local_addr().expect("it has an address"));
        // Connected before anybody serves: it waits in the socket.
        let early = http
            .modern(&call(1, "echo", json!({ "text": "early" })))
            .connect();
        let mut child = child::start(activated(listener.into(), NAME, as_stdin));
        assert_eq!(text(&early.reply().message()), "early");
        assert_eq!(text(&http.ask(&call(2, "quit", json!({})))), "good bye");
        let finished = child.wait();
        assert!(finished.status.success(), "{finished:?}");
    }
}

#[cfg(feature = "http")]
#[test]
fn a_unix_domain_socket_that_the_process_was_started_with_is_served() {
    use crate::harness::{child, is_alone};
    use std::io::Read;
    const NAME: &str = "reach::a_unix_domain_socket_that_the_process_was_started_with_is_served";
    if is_alone() {
        return serve_inherited();
    }
    let place = Place::empty("activated");
    let path = place.0.join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("the path is free");
    let mut child = child::start(activated(listener.into(), NAME, false));
    let quit = Http::local().modern(&call(1, "quit", json!({})));
    let mut client = quit.field("Connection", "close").connect_unix(&path);
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains("good bye"), "{answer}");
    let finished = child.wait();
    assert!(finished.status.success(), "{finished:?}");
    assert!(path.exists(), "it belongs to the process that made it");
}

#[cfg(feature = "http")]
#[test]
fn a_process_without_a_socket_of_its_own_says_what_is_missing() {
    use crate::harness::{child, is_alone};
    const NAME: &str = "reach::a_process_without_a_socket_of_its_own_says_what_is_missing";
    if is_alone() {
        let Err(error) = probes(&Gate::new()).serve_inherited() else {
            panic!("there is nothing to serve");
        };
        assert!(error.is_configuration(), "{error}");
        eprintln!("said: {error}");
        return;
    }
    let null = || {
        std::fs::File::open("/dev/null")
            .expect("there is one")
            .into()
    };
    let mut two = activated(null(), NAME, false);
    two.env("COUNT", "2");
    // For another process: as if the variables had been inherited from a service that started this one.
    let mut stale = activated(null(), NAME, true);
    stale.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let connected = std::os::unix::net::UnixStream::pair().expect("descriptors");
    let connected = activated(connected.0.into(), NAME, true);
    for (command, said) in [
        (connected, "without a listening socket"),
        (activated(null(), NAME, true), "without a listening socket"),
        (activated(null(), NAME, false), "without a listening socket"),
        (two, "2 sockets were passed"),
        (stale, "without a listening socket"),
    ] {
        let finished = child::start(command).wait();
        assert!(finished.status.success(), "{finished:?}");
        assert!(finished.stderr.contains(said), "{said}: {finished:?}");
    }
}
