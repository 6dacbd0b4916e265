//! Law 12: drain loses nothing that was accepted.

use std::thread;
use std::time::{Duration, Instant};

#[cfg(any(feature = "http", feature = "tiny-http"))]
use mcp_threads::{AskError, LoggingLevel, RequestContext};
use mcp_threads::{Lane, Limits, Server, Tool};
use serde_json::{Value, json};

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::asking::{Person, accept};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::message::cancel;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::talk::{everything, introduced, reply_to};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{Event, on_every_front};
use crate::harness::{
    Gate, PATIENCE, PipeClient, Place, Served, alone, call, code, legacy_call, library_threads,
    probes, text, until,
};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{Http, Session};

/// What a client hears of a shutdown.
#[track_caller]
fn assert_shutting_down(answer: &Value, id: impl Into<Value>) {
    assert_eq!((code(answer), &answer["id"]), (503, &id.into()), "{answer}");
    let message = answer["error"]["message"].as_str().expect("it says why");
    assert!(message.contains("shutting down"), "{message}");
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[track_caller]
fn assert_refused_while_draining(http: Http, session: &Session) {
    for (ask, status) in [
        (http.modern(&call(3, "echo", json!({}))), 503),
        (session.post(&legacy_call(3, "echo", json!({}))), 200),
        (http.modern(&call(3, "look", json!({}))), 503),
    ] {
        // Without `Connection: close` of its own, so that the answer's is the server's wish.
        let mut reply = ask.connect().reply();
        assert_eq!(reply.status, status);
        assert_eq!(reply.field("Retry-After"), Some("1"));
        assert_eq!(reply.field("Connection"), Some("close"));
        assert_shutting_down(&reply.json(), 3);
    }
    // Refusals that never become a call close their connection, too.
    let reply = http.bare("GET", "/nowhere").connect().reply();
    assert_eq!(
        (reply.status, reply.field("Connection")),
        (404, Some("close"))
    );
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_12_over_http_a_drain_answers_what_is_in_flight_and_refuses_what_is_new() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate).workers(1));
        let session = http.initialize("2025-11-25");
        let running = http
            .modern(&call(1, "gate", json!({ "who": "running" })))
            .connect();
        gate.began();
        let queued = session
            .post(&legacy_call(2, "gate", json!({ "who": "queued" })))
            .connect();
        served.until_main("one waits", |main| main.queued == 1);
        let handle = served.handle();
        let ending = thread::spawn(move || served.shutdown(PATIENCE));
        until("the drain has begun", || handle.stats().draining);

        assert_refused_while_draining(http, &session);
        let refused: Vec<_> = handle
            .stats()
            .lanes
            .iter()
            .map(|lane| lane.refused)
            .collect();
        assert_eq!(refused, [2, 1], "each lane counts what it refused");
        assert!(!ending.is_finished(), "it waits for what is in flight");
        gate.let_go(2);
        for (unread, who) in [(running, "running"), (queued, "queued")] {
            let reply = unread.reply();
            assert_eq!(reply.field("Connection"), Some("close"));
            assert_eq!(text(&reply.message()), who);
        }
        let report = ending.join().expect("a shutdown does not panic");
        assert_eq!(
            (report.abandoned_handlers, report.abandoned_connections),
            (0, 0)
        );
        let again = Server::new("it", "1").serve_http(http.address());
        again.expect("the port is free again").shutdown(PATIENCE);
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_12_over_http_what_outlives_the_deadline_is_cancelled_and_its_client_told() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate).workers(2));
        let mut unread = Vec::new();
        for id in 1..=3 {
            unread.push(
                http.modern(&call(id, "wait", json!({ "who": "late" })))
                    .connect(),
            );
            match id {
                1 | 2 => assert_eq!(gate.began(), "late"),
                _ => served.until_main("one waits", |main| main.queued == 1),
            }
        }
        let report = served.shutdown(Duration::from_millis(20));
        assert_eq!(gate.cancelled(), "late");
        assert_eq!(gate.cancelled(), "late");
        assert!(gate.nobody_came(), "the queued one never ran");
        for (id, unread) in (1..).zip(unread) {
            let mut reply = unread.reply();
            assert_eq!(reply.status, 503);
            assert_shutting_down(&reply.json(), id);
        }
        assert_eq!(
            (report.abandoned_handlers, report.abandoned_connections),
            (0, 0),
            "everyone has left"
        );
    });
}

#[test]
fn law_12_on_a_pipe_what_outlives_the_deadline_is_cancelled_and_its_client_told() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1));
    client.send(&call(1, "wait", json!({ "who": "late" })));
    assert_eq!(gate.began(), "late");
    client.send(&call(2, "wait", json!({})));
    served.until_main("one waits", |main| main.queued == 1);
    client.close();
    let report = served.shutdown(Duration::from_millis(20));
    assert_eq!(gate.cancelled(), "late");
    assert_shutting_down(&client.answer(1), 1);
    assert_shutting_down(&client.answer(2), 2);
    assert_eq!(client.rest().len(), 0);
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (0, 0),
        "everyone has left"
    );
}

#[test]
fn law_12_a_handler_that_ignores_its_cancellation_is_given_up_and_counted() {
    let gate = Gate::new();
    let server = probes(&gate)
        .workers(3)
        .limits(Limits::default().cancel_grace(Duration::from_secs(3)));
    let (served, mut client) = Served::pipe(server);
    client.send(&call(1, "gate", json!({})));
    client.send(&call(2, "wait", json!({})));
    gate.began();
    gate.began();
    client.close();
    let report = served.shutdown(Duration::from_millis(20));
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (1, 0)
    );
    assert_shutting_down(&client.answer(1), 1);
    assert_shutting_down(&client.answer(2), 2);
    assert_eq!(client.rest().len(), 0);
    gate.let_go(1);
}

#[test]
fn law_12_a_pipe_that_ends_lets_its_calls_finish() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1));
    client.send(&call(1, "gate", json!({ "who": "running" })));
    client.send(&call(2, "gate", json!({ "who": "queued" })));
    gate.began();
    client.close();
    let running = served.take();
    let ending = thread::spawn(move || running.join());
    gate.let_go(2);
    assert_eq!(text(&client.answer(1)), "running");
    assert_eq!(text(&client.answer(2)), "queued");
    assert_eq!(client.rest().len(), 0);
    let report = ending.join().expect("a shutdown does not panic");
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (0, 0)
    );
}

/// The end of the pipe starts the drain, whatever is still in flight.
#[test]
fn law_12_a_pipe_that_ends_cancels_what_outlives_the_deadline() {
    let gate = Gate::new();
    let (served, mut client) =
        Served::pipe(probes(&gate).drain_deadline(Duration::from_millis(20)));
    client.send(&call(1, "wait", json!({ "who": "late" })));
    assert_eq!(gate.began(), "late");
    client.close();
    let running = served.take();
    let ending = thread::spawn(move || running.join());
    assert_eq!(gate.cancelled(), "late");
    assert_shutting_down(&client.answer(1), 1);
    let report = ending.join().expect("a shutdown does not panic");
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (0, 0)
    );
}

#[test]
fn law_12_a_handle_stops_the_server_from_another_thread() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate));
    let handle = served.handle();
    let running = served.take();
    let ending = thread::spawn(move || running.join());
    // The drain lasts as long as this call.
    client.send(&call(1, "gate", json!({})));
    assert_eq!(gate.began(), "somebody");
    handle.stop();
    handle.stop();
    until("the drain has begun", || handle.stats().draining);
    assert_shutting_down(&client.ask(&call(2, "echo", json!({}))), 2);
    gate.let_go(1);
    assert!(client.answer(1)["result"].is_object());
    client.close();
    assert_eq!(client.rest().len(), 0);
    assert_eq!(
        ending
            .join()
            .expect("a shutdown does not panic")
            .abandoned_connections,
        0
    );
}

/// A shutdown in the middle of a burst, again and again: whatever was read is answered, with a result or a refusal.
#[test]
fn law_12_a_call_that_races_with_the_shutdown_is_answered_too() {
    const CALLS: u32 = 100;
    for round in 0..150_u32 {
        let gate = Gate::new();
        let (served, mut client) = Served::pipe(probes(&gate).workers(1 + round as usize % 3));
        let handle = served.handle();
        let ending = thread::spawn(move || {
            until("the burst is under way", || {
                handle.stats().lanes[0].done >= u64::from(round % 40)
            });
            served.shutdown(PATIENCE)
        });
        // Once the shutdown is through, nobody reads any more.
        let sent = (0..CALLS)
            .take_while(|id| client.try_send(&call(*id, "echo", json!({ "text": id.to_string() }))))
            .count();
        client.close();
        let mut answers = client.rest();
        assert!(answers.len() <= sent, "round {round}: one answer each");
        answers.sort_by_key(|answer| answer["id"].as_u64());
        for (id, answer) in (0..).zip(&answers) {
            match answer.get("error") {
                Some(_) => assert_shutting_down(answer, id),
                None => assert_eq!(
                    (&answer["id"], text(answer)),
                    (&json!(id), id.to_string().as_str())
                ),
            }
        }
        let report = ending.join().expect("a shutdown does not panic");
        assert_eq!(
            (report.abandoned_handlers, report.abandoned_connections),
            (0, 0)
        );
    }
}

#[test]
fn law_12_every_thread_is_joined() {
    alone("law_12_drain::law_12_every_thread_is_joined", || {
        assert_eq!(library_threads(), [] as [String; 0]);
        let gate = Gate::new();
        let talk = |client: &mut PipeClient| {
            assert_eq!(
                text(&client.ask(&call(1, "echo", json!({ "text": "a" })))),
                "a"
            );
            client.ask(&call(2, "panic", json!({})));
        };
        let (on_pipe, mut client) = Served::pipe(probes(&gate).lane(Lane::new("own").workers(3)));
        talk(&mut client);
        // A thread names itself when it first runs.
        for part in [
            "mcp-main-",
            "mcp-urgent-",
            "mcp-own-",
            "mcp-pipe-reader",
            "mcp-pipe-writer",
        ] {
            let is_part = |name: &String| name.starts_with(part);
            until(part, || library_threads().iter().any(is_part));
        }
        client.close();
        on_pipe.stop();
        until("all have left", || library_threads().is_empty());
        #[cfg(any(feature = "http", feature = "tiny-http"))]
        on_every_front(|front| {
            let (over_http, http) = front.serve(probes(&gate));
            // One connection stays open, idle.
            let idle = http.modern(&call(1, "echo", json!({}))).connect();
            for id in 0..20 {
                http.ask(&call(id, "echo", json!({ "text": "a" })));
            }
            over_http.stop();
            drop(idle);
            until("all have left", || library_threads().is_empty());
        });
    });
}

/// Until the last accepted call has ended its client can say what belongs to it, on connections made meanwhile: answer its question, cancel it, come
/// back for its stream, end the session.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_12_over_http_what_belongs_to_accepted_calls_is_heard_while_draining() {
    on_every_front(|front| {
        let gate = Gate::new();
        let talker = gate.door();
        let server = probes(&gate)
            .workers(4)
            .tool("person", "Asks.", |cx: &mut RequestContext, _: Value| {
                let person = cx.elicit::<Person>("who", "Who?")?.accepted();
                Ok::<_, AskError>(person.map_or_else(String::new, |person| person.name))
            })
            .tool(
                "talk",
                "Says a word, then waits.",
                move |cx: &mut RequestContext, _: Value| {
                    cx.log(LoggingLevel::Info, "a word");
                    talker.pass("talk");
                    "talked"
                },
            );
        let (served, http) = front.serve(server);
        let session = introduced(http, &everything());
        let other = http.initialize("2025-11-25");
        let mut asking = session.post(&legacy_call(1, "person", json!({}))).send();
        let Some(Event::Message(question)) = asking.event() else {
            panic!("the stream begins with the question");
        };
        let cancelled = session
            .post(&legacy_call(2, "wait", json!({ "who": "w" })))
            .connect();
        assert_eq!(gate.began(), "w");
        let mut talking = session.post(&legacy_call(3, "talk", json!({}))).send();
        let at = talking.fields_of_event().and_then(|fields| fields.id);
        let at = at.expect("it says where to come back");
        assert_eq!(gate.began(), "talk");
        drop(talking);
        let handle = served.handle();
        let ending = thread::spawn(move || served.shutdown(PATIENCE));
        until("the drain has begun", || handle.stats().draining);

        assert_eq!(session.post(&cancel(2)).send().status, 202);
        assert_eq!(gate.cancelled(), "w");
        drop(cancelled);
        let answer = reply_to(&question, accept(json!({ "name": "Ada" })));
        assert_eq!(session.post(&answer).send().status, 202);
        assert_eq!(text(&asking.message()), "Ada");
        let resumed = session.resume(&at).send();
        assert_eq!((resumed.status, resumed.is_stream()), (200, true));
        assert_eq!(other.delete(), 204);
        assert!(!ending.is_finished(), "it waits for the last one");
        gate.let_go(1);
        assert_eq!(text(&resumed.message()), "talked");
        let report = ending.join().expect("a shutdown does not panic");
        assert_eq!(
            (report.abandoned_handlers, report.abandoned_connections),
            (0, 0)
        );
    });
}

/// Half a second is what it may take; the rest is for a slow machine.
const SOON: Duration = Duration::from_secs(5);

/// What has not arrived whole was never accepted: it does not hold the end, and its client is told.
#[cfg(all(feature = "http", unix))]
#[test]
fn law_12_half_a_request_holds_no_drain() {
    // Nobody can see whether what was sent has been read when the drain begins; what has not is closed without a word.
    let mut told = Default::default();
    let are_told = (0..100).any(|_| {
        told = drained_with_two_halves();
        told.iter().all(|told| {
            told.starts_with("HTTP/1.1 503 ") && told.contains("\r\nConnection: close\r\n")
        })
    });
    assert!(are_told, "{told:?}");
}

/// What a client with half a head and one with half a body are told by a server that ends.
#[cfg(all(feature = "http", unix))]
fn drained_with_two_halves() -> [String; 2] {
    use std::io::{Read, Write};
    let running = Server::new("it", "1").serve_http("127.0.0.1:0");
    let running = running.expect("it can start");
    let address = running.addr().expect("it serves HTTP");
    let head = format!("POST /mcp HTTP/1.1\r\nHost: {address}\r\n");
    let fields = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let halves = [head.clone(), head + fields];
    let clients = halves.map(|half| {
        let mut client = std::net::TcpStream::connect(address).expect("it listens");
        client.write_all(half.as_bytes()).expect("it reads");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client
    });
    until("both are there", || running.stats().connections == 2);
    // Another one is answered, so what they sent has been read by now, as a rule.
    Http::new(address).bare("GET", "/healthz").send();
    let begun = Instant::now();
    let report = running.shutdown(PATIENCE);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(report.abandoned_connections, 0);
    clients.map(|mut client| {
        let mut told = String::new();
        // What has not been read is answered with a reset.
        let _reset = client.read_to_string(&mut told);
        told
    })
}

/// The same on the other front, which hands a request on before its body is there; its client may be told nothing.
#[cfg(feature = "tiny-http")]
#[test]
fn law_12_half_a_body_holds_no_drain_of_tiny_http() {
    use std::io::Write;
    let rows = [
        ("Content-Length: 100000", "{"),
        ("Transfer-Encoding: chunked", "5\r\n{"),
        ("Content-Length: 100\r\nExpect: 100-continue", ""),
    ];
    for (field, body) in rows {
        let running = Server::new("it", "1").serve_tiny_http("127.0.0.1:0");
        let running = running.expect("it can start");
        let address = running.addr().expect("it serves HTTP");
        let mut client = std::net::TcpStream::connect(address).expect("it listens");
        let head =
            format!("POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json");
        write!(client, "{head}\r\n{field}\r\n\r\n{body}").expect("it reads");
        until("it is there", || running.stats().connections == 1);
        let begun = Instant::now();
        let report = running.shutdown(PATIENCE);
        assert!(begun.elapsed() < SOON, "{field}: {:?}", begun.elapsed());
        assert_eq!(report.abandoned_connections, 0, "{field}");
    }
}

/// Half a head it has not handed on at all, and its client is told nothing.
#[cfg(feature = "tiny-http")]
#[test]
fn law_12_half_a_head_holds_no_drain_of_tiny_http() {
    use std::io::Write;
    let running = Server::new("it", "1").serve_tiny_http("127.0.0.1:0");
    let running = running.expect("it can start");
    let address = running.addr().expect("it serves HTTP");
    let mut client = std::net::TcpStream::connect(address).expect("it listens");
    write!(client, "POST /mcp HTTP/1.1\r\nHost: {address}\r\n").expect("it reads");
    // What comes later has been answered.
    let status = Http::new(address).bare("GET", "/healthz").send().status;
    assert_eq!(status, 200);
    let begun = Instant::now();
    let report = running.shutdown(PATIENCE);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(report.abandoned_connections, 0);
}

/// The same order on a Unix-domain socket.
#[cfg(all(feature = "http", unix))]
#[test]
fn law_12_on_a_unix_socket_new_calls_are_refused_until_the_last_has_ended() {
    use std::io::Read;
    let gate = Gate::new();
    let place = Place::empty("drain");
    let path = place.0.join("socket");
    let served = Served::new(
        probes(&gate)
            .serve_unix(&path, 0o600)
            .expect("it can start"),
    );
    let connect = |tool: &str| {
        let ask = Http::local().modern(&call(1, tool, json!({})));
        ask.connect_unix(&path)
    };
    let mut running = connect("gate");
    gate.began();
    let handle = served.handle();
    let ending = thread::spawn(move || served.shutdown(PATIENCE));
    until("the drain has begun", || handle.stats().draining);
    let mut told = String::new();
    let mut refused = connect("echo");
    refused.read_to_string(&mut told).expect("the end");
    assert!(
        told.starts_with("HTTP/1.1 503 ") && told.contains("\r\nConnection: close\r\n"),
        "{told}"
    );
    gate.let_go(1);
    told.clear();
    running.read_to_string(&mut told).expect("the end");
    assert!(
        told.starts_with("HTTP/1.1 200 ") && told.contains("somebody"),
        "{told}"
    );
    let report = ending.join().expect("a shutdown does not panic");
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (0, 0)
    );
    assert!(!path.exists());
}

/// However much has to be waited for, it is waited for together.
#[test]
fn law_12_the_whole_end_has_one_deadline() {
    const LANES: usize = 40;
    let gate = Gate::new();
    let limits = Limits::default().cancel_grace(Duration::from_millis(50));
    let mut server = Server::new("it", "1").limits(limits);
    for lane in 0..LANES {
        let (name, door) = (format!("deaf-{lane}"), gate.door());
        let tool = Tool::new(&name).lane(&name);
        server = server
            .lane(Lane::new(&name).workers(1))
            .register(tool.handler(move |_: Value| door.pass(&name)));
    }
    let (served, mut client) = Served::pipe(server);
    for lane in 0..LANES {
        client.send(&call(lane, &format!("deaf-{lane}"), json!({})));
        gate.began();
    }
    let began = Instant::now();
    let report = served.take().shutdown(Duration::from_millis(50));
    let took = began.elapsed();
    assert_eq!(report.abandoned_handlers, LANES);
    // Half a second for each lane would be twenty.
    assert!(took < Duration::from_secs(12), "it took {took:?}");
}
