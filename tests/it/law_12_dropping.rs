//! Law 12 for a server that is let go of instead of shut down, and for one that serves several clients at once.

use std::io::{self, Read, Write};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use mcp_threads::{RunningServer, Server, ServerHandle};
use serde_json::{Value, json};

use crate::harness::{
    Gate, PATIENCE, PipeClient, Served, call, child, is_alone, itself, legacy, probes, text, until,
};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{Http, Place, on_every_front};

fn on_a_pipe(server: Server) -> (RunningServer, PipeClient) {
    let (served, client) = Served::pipe(server);
    (served.take(), client)
}

/// Starts `drop` on a thread, and sees to it that it waits for the call in flight.
fn assert_drop_drains(running: RunningServer, gate: &Gate) {
    let handle = running.handle();
    let dropping = thread::spawn(move || drop(running));
    until("the drain has begun", || handle.stats().draining);
    assert!(!dropping.is_finished(), "a call is in flight");
    gate.let_go(1);
    dropping.join().expect("dropping does not panic");
}

#[test]
fn law_12_a_server_that_is_dropped_shuts_down_on_a_pipe() {
    let gate = Gate::new();
    let (running, mut client) = on_a_pipe(probes(&gate));
    client.send(&call(1, "gate", json!({ "who": "in flight" })));
    gate.began();
    client.close();
    assert_drop_drains(running, &gate);
    assert_eq!(text(&client.answer(1)), "in flight");
    assert_eq!(client.rest().len(), 0);
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_12_a_server_that_is_dropped_shuts_down_on_every_front() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate));
        let unread = http
            .modern(&call(1, "gate", json!({ "who": "in flight" })))
            .connect();
        gate.began();
        assert_drop_drains(served.take(), &gate);
        assert_eq!(text(&unread.reply().message()), "in flight");
        let again = Server::new("it", "1").serve_http(http.address());
        again.expect("the port is free again").shutdown(PATIENCE);
    });
}

#[cfg(feature = "http")]
#[test]
fn law_12_a_server_that_is_dropped_shuts_down_on_a_unix_socket() {
    let gate = Gate::new();
    let place = Place::empty("dropped");
    let path = place.0.join("socket");
    let running = probes(&gate)
        .serve_unix(&path, 0o600)
        .expect("it can start");
    let call = call(1, "gate", json!({ "who": "in flight" }));
    let mut client = Http::local().modern(&call).connect_unix(&path);
    gate.began();
    assert_drop_drains(running, &gate);
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it is closed");
    assert!(answer.contains("in flight"), "{answer}");
    assert!(!path.exists(), "the path is free again");
}

/// Not a test: a server on stdio that is dropped while a call is in flight, which then lasts until the drain has begun.
#[test]
fn the_half_that_is_dropped() {
    static HANDLE: OnceLock<ServerHandle> = OnceLock::new();
    if !is_alone() {
        return;
    }
    let (say, called) = mpsc::channel();
    let server = Server::new("it", "1").tool("drop", "Has its server dropped.", move || {
        say.send(()).expect("somebody waits");
        let handle = HANDLE.wait();
        until("the drain has begun", || handle.stats().draining);
        "in flight"
    });
    let running = server.serve_stdio().expect("it can start");
    let _set_once = HANDLE.set(running.handle());
    called.recv().expect("it is called");
    drop(running);
    // The report of the test would go to the client.
    std::process::exit(7);
}

#[test]
fn law_12_a_server_that_is_dropped_shuts_down_on_stdio() {
    let (mut running, mut client) =
        child::stdio(itself("law_12_dropping::the_half_that_is_dropped"));
    while client.line().is_some_and(|line| line != "running 1 test") {}
    let answer = client.ask(&call(1, "drop", json!({})));
    assert_eq!(text(&answer), "in flight");
    assert_eq!(running.wait().status.code(), Some(7));
}

/// The watch over signals stays for the life of the process, and keeps nothing of a server that has gone.
#[cfg(feature = "ctrlc")]
#[test]
fn law_12_nothing_keeps_the_engine_of_a_server_that_has_waited_for_signals() {
    for waits in [
        RunningServer::run_until_ctrl_c,
        RunningServer::wait_for_ctrl_c,
    ] {
        let (say, gone) = mpsc::channel::<()>();
        let server = Server::new("it", "1").tool("keeps", "", move || {
            let _says_that_the_engine_has_gone = &say;
            "kept"
        });
        let running = server.start().expect("it can start");
        running.handle().stop();
        waits(&running).expect("it has been stopped");
        drop(running);
        let gone = gone.recv_timeout(PATIENCE);
        assert_eq!(gone, Err(mpsc::RecvTimeoutError::Disconnected));
    }
}

/// A thread cannot wait for itself.
#[test]
fn law_12_a_server_may_be_dropped_by_its_own_handler() {
    let (give, take) = mpsc::channel::<RunningServer>();
    let (say, ended) = mpsc::channel::<()>();
    let take = std::sync::Mutex::new(take);
    let server = Server::new("it", "1").tool("drop", "Drops its server.", move |_: Value| {
        let _says_that_the_engine_has_gone = &say;
        let running = take.lock().expect("not poisoned").recv();
        drop(running.expect("the test gives it"));
        "dropped"
    });
    let (running, mut client) = on_a_pipe(server);
    give.send(running).expect("the tool takes it");
    assert_eq!(text(&client.ask(&call(1, "drop", json!({})))), "dropped");
    client.close();
    assert_eq!(client.rest().len(), 0, "it ends");
    let gone = ended.recv_timeout(PATIENCE);
    assert_eq!(
        gone,
        Err(mpsc::RecvTimeoutError::Disconnected),
        "nothing keeps the engine"
    );
}

#[test]
fn law_12_a_server_that_is_detached_runs_on() {
    let (running, mut client) = on_a_pipe(probes(&Gate::new()));
    let handle = running.handle();
    running.detach();
    let answer = client.ask(&call(1, "echo", json!({ "text": "on" })));
    assert_eq!(text(&answer), "on");
    assert!(!handle.stats().draining);
    client.close();
    assert_eq!(client.rest().len(), 0, "its client can end");
}

/// Until the last accepted call has ended, what belongs to it is heard, and its answer counts.
#[test]
fn law_12_a_draining_pipe_hears_answers_and_cancellations() {
    let gate = Gate::new();
    let server = probes(&gate).tool(
        "ask",
        "Asks for a name.",
        |cx: &mut mcp_threads::RequestContext, _: Value| {
            let roots = cx.roots()?;
            Ok::<_, mcp_threads::ToolError>(format!("{} roots", roots.len()))
        },
    );
    let (served, mut client) = Served::pipe(server);
    let mut hello = crate::harness::message::initialize("initialize", "2025-11-25");
    hello["params"]["capabilities"]["roots"] = json!({});
    client.ask(&hello);
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    client.send(&crate::harness::legacy_call(1, "ask", json!({})));
    let question = client.recv();
    assert_eq!(question["method"], "roots/list");
    client.send(&crate::harness::legacy_call(
        2,
        "wait",
        json!({ "who": "cancelled" }),
    ));
    gate.began();
    let handle = served.handle();
    let ending = thread::spawn(move || served.shutdown(PATIENCE));
    until("the drain has begun", || handle.stats().draining);
    client.send(&crate::harness::message::cancel(2));
    assert_eq!(gate.cancelled(), "cancelled");
    client.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "roots": [] } }));
    assert_eq!(text(&client.answer(1)), "0 roots");
    client.close();
    assert!(client.rest().is_empty());
    let report = ending.join().expect("a shutdown does not panic");
    assert_eq!((report.abandoned_handlers, report.lost_answers), (0, 0));
}

/// Takes one write, which it tells, and then fails for ever.
struct TakesOne(mpsc::Sender<()>, bool);

impl Write for TakesOne {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.1, true) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.send(()).expect("the test listens");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Answers that were due when writing failed are counted, also those that were still to come.
#[test]
fn law_12_answers_that_cannot_be_written_are_counted() {
    let gate = Gate::new();
    let (read, mut client) = io::pipe().expect("a pipe can be made");
    let (says, written) = mpsc::channel();
    let running = probes(&gate)
        .serve_pipe(read, TakesOne(says, false))
        .expect("it can start");
    let mut send = |message: Value| writeln!(client, "{message}").expect("it reads");
    send(call(1, "gate", json!({})));
    gate.began();
    send(call(2, "echo", json!({})));
    // Or both answers could leave in one write.
    let is_written = written.recv_timeout(PATIENCE);
    is_written.expect("the answer is written");
    send(legacy(3, "ping", json!({})));
    let report = running.join();
    drop(client);
    gate.let_go(1);
    assert_eq!(
        (report.lost_answers, report.abandoned_connections),
        (1, 0),
        "the ping's; the call that ran was cancelled: {report:?}"
    );
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn several_fronts_serve_one_server() {
    let gate = Gate::new();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("sockets can be made");
    let write = theirs.try_clone().expect("a socket can be cloned");
    let running = probes(&gate).path("/there").start().expect("it can start");
    // Where there is IPv6.
    let other = match std::net::TcpListener::bind("[::1]:0") {
        Ok(_) => "[::1]:0",
        Err(_) => "127.0.0.1:0",
    };
    assert_eq!((running.addr(), running.url()), (None, None));
    running
        .serve_http("127.0.0.1:0")
        .and_then(|running| running.serve_http(other))
        .and_then(|running| running.serve_pipe(theirs, write))
        .expect("each can be opened");
    let [first, second] = running.addrs()[..] else {
        panic!("two addresses: {:?}", running.addrs());
    };
    assert_eq!(running.addr(), Some(first));
    assert_eq!(running.url(), Some(format!("http://{first}/there")));
    let taken = running.serve_http(first).err();
    assert!(taken.is_some_and(|error| error.is_bind()));
    let mut client = PipeClient::socket(ours);
    let message = call(1, "echo", json!({ "text": "a" }));
    assert_eq!(text(&client.ask(&message)), "a");
    for address in [first, second] {
        let ask = Http::new(address).modern(&message).target("/there");
        assert_eq!(text(&ask.send().message()), "a");
    }
    // A call is counted when it has been answered.
    until("all are counted, for it is one server", || {
        running.stats().lanes[0].done == 3
    });
    // The end of the pipe ends the rest, in order.
    let unread = Http::new(second)
        .modern(&call(2, "gate", json!({ "who": "last" })))
        .target("/there")
        .connect();
    gate.began();
    client.close();
    let handle = running.handle();
    let ending = thread::spawn(move || running.join());
    until("the drain has begun", || handle.stats().draining);
    gate.let_go(1);
    assert_eq!(text(&unread.reply().message()), "last");
    let report = ending.join().expect("a shutdown does not panic");
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (0, 0)
    );
    for address in [first, second] {
        let again = Server::new("it", "1").serve_http(address);
        again.expect("it is free").shutdown(Duration::ZERO);
    }
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn a_url_names_a_host_that_may_call() {
    for (hosts, expected) in [
        (&["mcp.example"][..], "http://mcp.example:"),
        (&["*.example", "fe80::1"], "http://[fe80::1]:"),
        (&["*"], "http://0.0.0.0:"),
    ] {
        let server = Server::new("it", "1").allowed_hosts(hosts.iter().copied());
        let running = server.serve_http("0.0.0.0:0").expect("it can start");
        let url = running.url().expect("it serves HTTP");
        assert!(url.starts_with(expected) && url.ends_with("/mcp"), "{url}");
        running.shutdown(Duration::ZERO);
    }
}

/// Takes a line and never returns from it.
struct Unread(mpsc::Sender<()>);

impl Write for Unread {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        let _listening = self.0.send(());
        loop {
            thread::park();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes its time to close.
struct Slow;

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn law_12_a_client_that_reads_nothing_takes_no_other_front_s_time() {
    let limits = mcp_threads::Limits::default().cancel_grace(Duration::from_secs(3));
    let running = Server::new("it", "1").limits(limits).start();
    let running = running.expect("it can start");
    let (written, writes) = mpsc::channel();
    let line = format!("{}\n", legacy(1, "ping", json!({})));
    let (input, held) = io::pipe().expect("a pipe");
    running
        .serve_pipe(io::Cursor::new(line), Unread(written))
        .and_then(|running| running.serve_pipe(input, Slow))
        .expect("each can be opened");
    writes.recv_timeout(PATIENCE).expect("it is answered");
    let report = running.shutdown(Duration::ZERO);
    assert_eq!(report.abandoned_connections, 1, "{report:?}");
    drop(held);
}

#[cfg(all(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_connections_of_another_front_are_no_exchanges_of_tiny_http() {
    let limits = mcp_threads::Limits::default().exchanges_max(2);
    let running = Server::new("it", "1").limits(limits).start();
    let running = running.expect("it can start");
    running
        .serve_http("127.0.0.1:0")
        .and_then(|running| running.serve_tiny_http("127.0.0.1:0"))
        .expect("each can be opened");
    let [guarded, tiny] = running.addrs()[..] else {
        panic!("two addresses: {:?}", running.addrs());
    };
    let connect = |_| std::net::TcpStream::connect(guarded).expect("it listens");
    let idle: Vec<_> = (0..3).map(connect).collect();
    until("all are open", || running.stats().connections == idle.len());
    let status = Http::new(tiny).bare("GET", "/healthz").send().status;
    assert_eq!(status, 200);
    running.shutdown(PATIENCE);
}

#[cfg(feature = "tiny-http")]
#[test]
fn law_12_a_refused_body_that_does_not_come_holds_no_end_of_tiny_http() {
    let limits = mcp_threads::Limits::default()
        .exchanges_max(1)
        .cancel_grace(Duration::ZERO);
    let gate = Gate::new();
    let running = probes(&gate).limits(limits).serve_tiny_http("127.0.0.1:0");
    let running = running.expect("it can start");
    let address = running.addr().expect("it serves HTTP");
    let connect = |request: &str| {
        let mut stream = std::net::TcpStream::connect(address).expect("it listens");
        let request = request.replace('\n', "\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        stream
    };
    let inside = Http::new(address)
        .modern(&call(1, "wait", json!({})))
        .connect();
    gate.began();
    let half = format!("POST /mcp HTTP/1.1\nHost: {address}\nContent-Length: 100000\n\n{{");
    let _half = connect(&half);
    // As soon as the half body is being refused, which tiny_http does not read before it is taken, nobody else is answered.
    let is_answered = || {
        let mut other = connect(&format!("GET /healthz HTTP/1.1\nHost: {address}\n\n"));
        let patience = Some(Duration::from_millis(500));
        other.set_read_timeout(patience).expect("not zero");
        other.read(&mut [0]).is_ok_and(|count| count == 1)
    };
    until("nobody else is answered", || !is_answered());
    let report = running.shutdown(Duration::ZERO);
    assert_ne!(report.abandoned_connections, 0, "{report:?}");
    drop(inside);
}

#[cfg(feature = "ctrlc")]
#[test]
fn everybody_who_waits_for_the_end_is_told_of_it() {
    let running = Server::new("it", "1").start().expect("it can start");
    running.handle().stop();
    running.wait_for_ctrl_c().expect("it has been stopped");
    running.wait_for_ctrl_c().expect("it is told again");
    running.join();
}
