//! Law 9: every limit, at its edge and one past it.

use std::io::{ErrorKind, Write};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use mcp_threads::{Limits, Server};
use serde_json::{Value, json};

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::talk::introduced;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{Front, alone, logs, on_every_front};
use crate::harness::{
    Gate, Served, call, code, legacy, modern, on_every_wire, probes, text, until,
};

fn limited(limits: Limits) -> Server {
    probes(&Gate::new()).limits(limits)
}

/// A message of exactly this many bytes, by blanks at its end.
fn padded(message: &Value, bytes: usize) -> Vec<u8> {
    let mut padded = message.to_string().into_bytes();
    assert!(padded.len() <= bytes, "the message fits");
    padded.resize(bytes, b' ');
    padded
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_body_bytes_max() {
    on_every_front(|front| {
        for bytes_max in [1000, 200_000] {
            let (served, http) = front.serve(limited(Limits::default().body_bytes_max(bytes_max)));
            let message = call(1, "echo", json!({ "text": "fits" }));
            let fits = http.modern(&message).body(padded(&message, bytes_max));
            let too_long = http.modern(&message).body(padded(&message, bytes_max + 1));
            for (fits, too_long) in [
                (fits.clone(), too_long.clone()),
                (fits.chunked(), too_long.chunked()),
            ] {
                assert_eq!(text(&fits.send().message()), "fits");
                let mut reply = too_long.connect().reply();
                assert_eq!(
                    (reply.status, reply.field("Connection")),
                    (413, Some("close"))
                );
                assert_eq!(code(&reply.json()), -32600);
            }
            assert_eq!(text(&http.ask(&message)), "fits", "and the server goes on");
            served.stop();
        }
    });
}

#[test]
fn law_9_line_bytes_max() {
    let (served, mut client) = Served::pipe(limited(Limits::default().line_bytes_max(1000)));
    let line = |id: u32, bytes| {
        let message = call(id, "echo", json!({ "text": "fits" }));
        String::from_utf8(padded(&message, bytes)).expect("JSON is UTF-8")
    };
    client.send_line(&line(1, 1000));
    assert_eq!(text(&client.answer(1)), "fits");
    for bytes in [1001, 300_000] {
        client.send_line(&line(2, bytes));
        let refused = client.recv();
        assert_eq!((code(&refused), &refused["id"]), (-32600, &json!(2)));
        assert!(
            refused.to_string().contains("1000 bytes"),
            "it names the limit: {refused}"
        );
    }
    client.send_line("");
    client.send_line("  \r");
    client.send_line(&line(3, 1000));
    assert_eq!(
        text(&client.answer(3)),
        "fits",
        "the line after a long one is whole"
    );
    client.close();
    assert_eq!(client.rest().len(), 0, "blank lines are nothing");
    served.stop();
}

#[test]
fn law_9_json_depth_max() {
    let make = || limited(Limits::default().json_depth_max(20));
    // The message, its params and its arguments are three levels.
    let nested = |levels: usize| json!({ "text": "ok", "deep": (0..levels).fold(json!(1), |inner, _| json!([inner])) });
    on_every_wire(make, |wire| {
        assert_eq!(text(&wire.call("echo", nested(17))), "ok");
    });
    let (served, mut client) = Served::pipe(make());
    client.send(&call(1, "echo", nested(18)));
    let refused = client.recv();
    assert_eq!((code(&refused), &refused["id"]), (-32600, &json!(1)));
    client.send_line(&"[".repeat(1_000_000));
    assert_eq!(code(&client.recv()), -32600);
    let brackets = json!({ "text": "[".repeat(1000) });
    assert_eq!(
        text(&client.ask(&call(2, "echo", brackets))),
        "[".repeat(1000),
        "text is not depth"
    );
    client.close();
    served.stop();
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    on_every_front(|front| {
        let (served, http) = front.serve(make());
        let mut reply = http.modern(&call(1, "echo", nested(18))).send();
        assert_eq!((reply.status, code(&reply.json())), (400, -32600));
        served.stop();
    });
}

/// The deepest that can be set fits every stack that reads it, in a build without optimisation: a connection's has 256 KiB.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_the_greatest_json_depth_max_fits_every_stack() {
    on_every_front(|front| {
        let (served, http) = front.serve(limited(Limits::default().json_depth_max(120)));
        // The message and its params are two levels.
        for (open, close) in [("[", "]"), (r#"{"":"#, "}")] {
            let deep = format!("{}1{}", open.repeat(117), close.repeat(117));
            for (method, member) in [
                ("tools/call", "arguments"),
                ("tools/call", "inputResponses"),
                ("tools/call", "requestState"),
                ("completion/complete", "ref"),
                ("completion/complete", "argument"),
                ("completion/complete", "context"),
                ("subscriptions/listen", "notifications"),
                ("tools/list", "_meta"),
                ("tools/list", "cursor"),
                ("tools/list", "unknown"),
            ] {
                let params = match method {
                    "tools/call" => json!({ "name": "echo" }),
                    _ => json!({}),
                };
                let mut message = modern(1, method, params);
                message["params"][member] = json!("DEEP");
                let body = message.to_string().replacen("\"DEEP\"", &deep, 1);
                let reply = http.modern(&message).body(body.clone()).send();
                assert!(reply.status < 500, "{method} with {member}");
                let reply = http.post(body).send();
                assert!(reply.status < 500, "{method} with {member}, in no era");
            }
        }
        assert_eq!(text(&http.ask(&call(1, "look", json!({})))), "looking");
        served.stop();
    });
}

#[test]
fn law_9_json_values_max() {
    let make = || limited(Limits::default().json_values_max(40));
    let listed = |len: usize| json!({ "text": "ok", "list": vec![0; len] });
    on_every_wire(make, |wire| {
        assert_eq!(text(&wire.call("echo", listed(20))), "ok");
        let commas = json!({ "text": ",[{".repeat(100) });
        assert_eq!(text(&wire.call("echo", commas)), ",[{".repeat(100));
    });
    let (served, mut client) = Served::pipe(make());
    client.send(&call(1, "echo", listed(40)));
    let refused = client.recv();
    assert_eq!((code(&refused), &refused["id"]), (-32600, &json!(1)));
    assert!(refused.to_string().contains("40 values"), "{refused}");
    client.close();
    served.stop();
}

#[test]
fn law_9_batch_len_max() {
    let limits = Limits::default().batch_len_max(3);
    let batch = |len: u64| Value::from_iter((1..=len).map(|id| legacy(id, "ping", json!({}))));
    let (served, mut client) = Served::pipe(limited(limits.clone()));
    client.initialize("2025-03-26");
    client.send(&batch(3));
    assert_eq!(client.recv().as_array().map(Vec::len), Some(3));
    for len in [0, 4] {
        client.send(&batch(len));
        let refused = client.recv();
        assert_eq!((code(&refused), refused.get("id")), (-32600, None));
        assert!(refused.to_string().contains("1 to 3"), "{refused}");
    }
    client.close();
    served.stop();
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    on_every_front(|front| {
        let (served, http) = front.serve(limited(limits.clone()));
        let session = http.initialize("2025-03-26");
        assert_eq!(
            session
                .post(&batch(3))
                .send()
                .json()
                .as_array()
                .map(Vec::len),
            Some(3)
        );
        for len in [0, 4] {
            let mut reply = session.post(&batch(len)).send();
            assert_eq!((reply.status, code(&reply.json())), (400, -32600));
        }
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_sessions_max_ends_the_longest_idle_session() {
    on_every_front(|front| {
        let gate = Gate::new();
        let server = probes(&gate).limits(Limits::default().sessions_max(2));
        let (served, http) = front.serve(server);
        let ping = legacy(1, "ping", json!({}));
        let first = http.initialize("2025-11-25");
        let second = http.initialize("2025-11-25");
        assert_eq!(
            first.post(&ping).send().status,
            200,
            "seen more recently than the second"
        );
        let third = http.initialize("2025-11-25");
        assert_eq!(served.stats().sessions, 2);
        let statuses = [&first, &second, &third].map(|session| session.post(&ping).send().status);
        assert_eq!(statuses, [200, 404, 200]);

        // Now both are busy, so neither may end.
        let mut unread = Vec::new();
        for session in [&first, &third] {
            unread.push(
                session
                    .post(&crate::harness::legacy_call(2, "gate", json!({})))
                    .connect(),
            );
            gate.began();
        }
        let mut reply = http
            .post(crate::harness::message::initialize("late", "2025-11-25").to_string())
            .send();
        assert_eq!((reply.status, reply.field("Retry-After")), (200, Some("1")));
        let refused = reply.json();
        assert_eq!((code(&refused), &refused["id"]), (503, &json!("late")));
        gate.let_go(2);
        for unread in unread {
            assert_eq!(text(&unread.reply().message()), "somebody");
        }
        http.initialize("2025-11-25");
        assert_eq!(served.stats().sessions, 2);
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_session_idle_timeout() {
    on_every_front(|front| {
        let gate = Gate::new();
        let timeout = Duration::from_millis(200);
        let server = probes(&gate).limits(Limits::default().session_idle_timeout(timeout));
        let (served, http) = front.serve(server);
        let ping = legacy(1, "ping", json!({}));
        let gated = crate::harness::legacy_call(2, "gate", json!({}));
        // On a slow machine a session may have ended before its call comes.
        let (busy, unread) = loop {
            let busy = introduced(http, &json!({}));
            let unread = busy.post(&gated).connect();
            let outcome = || served.main().busy == 1 || served.stats().sessions == 0;
            until("the call runs, or the session has ended", outcome);
            if served.main().busy == 1 {
                break (busy, unread);
            }
        };
        gate.began();
        let idle = introduced(http, &json!({}));
        until("the idle one has ended by itself", || {
            served.stats().sessions == 1
        });
        let mut reply = idle.post(&ping).send();
        assert_eq!((reply.status, code(&reply.json())), (404, -32600));
        assert_eq!(
            busy.post(&ping).send().status,
            200,
            "a call in flight is no silence"
        );
        gate.let_go(1);
        assert_eq!(text(&unread.reply().message()), "somebody");
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_session_streams_max() {
    on_every_front(|front| {
        let gate = Gate::new();
        // One of the fronts notices that a client has left when it writes.
        let limits = Limits::default()
            .session_streams_max(2)
            .streams_max(4)
            .heartbeat_interval(Duration::from_millis(20));
        let (served, http) = front.serve(probes(&gate).limits(limits));
        let [greedy, modest] = [0, 1].map(|_| http.initialize("2025-11-25"));
        let mut open: Vec<_> = (0..2).map(|_| greedy.get().send()).collect();
        for _ in 0..10 {
            let mut reply = greedy.get().send();
            assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("1")));
            assert!(reply.json().to_string().contains("This session"));
            assert_eq!(greedy.resume("1-0").send().status, 503);
        }
        assert_eq!(modest.get().send().status, 200, "its share is its own");
        drop(open.pop());
        until("a place is free again", || {
            greedy.get().send().status == 200
        });
        drop(open);
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_a_session_that_has_no_stream_gets_one_of_who_has_several() {
    on_every_front(|front| {
        let limits = Limits::default().streams_max(3);
        let (served, http) = front.serve(probes(&Gate::new()).limits(limits));
        let [greedy, first, second, late] = [0; 4].map(|_| http.initialize("2025-11-25"));
        let mut open: Vec<_> = (0..3).map(|_| greedy.get().send()).collect();
        let mut others = Vec::new();
        for (at, modest) in [first, second].iter().enumerate() {
            let reply = modest.get().send();
            assert_eq!(reply.status, 200);
            others.push(reply);
            while open[at].event().is_some() {}
            let places = || served.stats().streams == 3;
            until("the one that was quiet the longest has ended", places);
            for full in [modest, &greedy] {
                assert_eq!(full.get().send().status, 503, "it has one");
            }
        }
        assert_eq!(late.get().send().status, 503, "nobody has several");
        assert!(open[2].event().is_some(), "it listens on");
        served.stop();
    });
}

/// A flood of handshakes ends no session that is used.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_a_flood_of_handshakes_ends_no_session_that_is_used() {
    let name = "law_09_limits::law_9_a_flood_of_handshakes_ends_no_session_that_is_used";
    alone(name, || {
        logs::keep();
        on_every_front(flood_with_handshakes);
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[track_caller]
fn flood_with_handshakes(front: Front) {
    let told = || logs::lines_with("to make room for a new one").len();
    let (before, started) = (told(), Instant::now());
    let limits = Limits::default().sessions_max(8);
    let (served, http) = front.serve(probes(&Gate::new()).limits(limits));
    let honest: Vec<_> = (0..4).map(|_| http.initialize("2025-11-25")).collect();
    let initialize = crate::harness::message::initialize(0, "2025-11-25");
    for _ in 0..50 {
        assert_eq!(http.post(initialize.to_string()).send().status, 200);
    }
    let ping = legacy(1, "ping", json!({}));
    for session in honest {
        assert_eq!(session.post(&ping).send().status, 200);
    }
    served.stop();
    until("it is in the log", || told() > before);
    // Who can write a line as often as it likes can fill a disk.
    let most = started.elapsed().as_secs() as usize + 1;
    assert!(told() - before <= most, "{} lines", told() - before);
}

/// A client that sends and never reads is pushed back on; when it reads at last, nothing has been lost.
#[test]
fn law_9_outbox_answers_max_pushes_back_on_a_client_that_does_not_read() {
    const PINGS: usize = 60_000;
    let gate = Gate::new();
    let (served, mut client) =
        Served::pipe(probes(&gate).limits(Limits::default().outbox_answers_max(4)));
    client.initialize("2025-11-25");
    let mut pings = Vec::new();
    for id in 0..PINGS {
        writeln!(pings, "{}", legacy(id, "ping", json!({}))).expect("memory takes every write");
    }
    let mut writer = client.second_writer();
    writer
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("a socket has a timeout");
    let mut taken = 0;
    loop {
        match writer.write(&pings[taken..]) {
            Ok(size) => taken += size,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("the server has closed its side: {error}"),
        }
        assert!(
            taken < pings.len(),
            "everything was taken from a client that reads nothing"
        );
    }
    assert!(
        taken < pings.len() / 2,
        "{taken} of {} bytes were taken",
        pings.len()
    );
    writer
        .set_write_timeout(None)
        .expect("a socket has a timeout");
    let sending = thread::spawn(move || writer.write_all(&pings[taken..]));
    for id in 0..PINGS {
        assert_eq!(client.recv()["id"], id, "in order, none lost");
    }
    sending
        .join()
        .expect("sending does not panic")
        .expect("everything was taken");
    client.close();
    served.stop();
}

#[test]
fn law_9_page_len_and_cursors() {
    let make = |tools: usize, page_len: usize| {
        let limits = Limits::default().page_len(page_len);
        let server = Server::new("it", "1").limits(limits);
        (0..tools).fold(server, |server, number| {
            server.tool(&format!("tool-{number}"), "", || "ok")
        })
    };
    for (tools, page_len, pages) in [
        (0, 10, 1),
        (9, 10, 1),
        (10, 10, 1),
        (11, 10, 2),
        (30, 10, 3),
        (5, 1, 5),
    ] {
        on_every_wire(
            || make(tools, page_len),
            |wire| {
                let (mut names, mut count, mut cursor) = (Vec::new(), 0, Value::Null);
                loop {
                    let params = if cursor.is_null() {
                        json!({})
                    } else {
                        json!({ "cursor": cursor })
                    };
                    let answer = wire.ask("tools/list", params);
                    let page = answer["result"]["tools"]
                        .as_array()
                        .expect("a page is a list");
                    assert!(page.len() <= page_len);
                    names.extend(
                        page.iter().map(|tool| {
                            tool["name"].as_str().expect("a tool has a name").to_owned()
                        }),
                    );
                    count += 1;
                    cursor = answer["result"]["nextCursor"].clone();
                    if cursor.is_null() {
                        break;
                    }
                }
                let expected: Vec<String> =
                    (0..tools).map(|number| format!("tool-{number}")).collect();
                assert_eq!((names, count), (expected, pages), "{}", wire.name);
            },
        );
    }
    on_every_wire(
        || make(30, 10),
        |wire| {
            let first = wire.ask("tools/list", json!({}))["result"]["nextCursor"].clone();
            let first = first.as_str().expect("there is a second page").to_owned();
            for cursor in [
                json!(""),
                json!("x"),
                json!("2"),
                json!(format!("{first}=")),
                json!(first.to_lowercase()),
                json!(7),
            ] {
                let answer = wire.ask("tools/list", json!({ "cursor": cursor }));
                assert_eq!(code(&answer), -32602, "{}: {cursor}", wire.name);
            }
            assert!(
                wire.ask("tools/list", json!({ "cursor": first }))
                    .get("result")
                    .is_some()
            );
        },
    );
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_x_request_id_has_1_to_64_plain_characters() {
    on_every_front(|front| {
        let (served, http) = front.serve(limited(Limits::default()));
        let ask = |id: &str| {
            let message = modern(1, "server/discover", json!({}));
            http.modern(&message)
                .field("X-Request-Id", id)
                .send()
                .request_id()
        };
        for kept in ["a", "AZaz09._:/+=@-", &"x".repeat(64)] {
            assert_eq!(ask(kept), kept);
        }
        for replaced in ["", "a b", "tab\there", "<script>", "{}", &"x".repeat(65)] {
            let fresh = ask(replaced);
            assert!(
                fresh.len() == 36 && fresh != ask(replaced),
                "{replaced:?} became {fresh}"
            );
        }
        let message = modern(1, "server/discover", json!({}));
        let twice = http
            .modern(&message)
            .and_field("X-Request-Id", "a")
            .and_field("X-Request-Id", "b");
        assert_eq!(twice.send().request_id().len(), 36);
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_exchanges_max_bounds_the_tiny_front() {
    on_every_front(|front| {
        if !front.is_tiny() {
            return;
        }
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate).limits(Limits::default().exchanges_max(2)));
        let mut unread = Vec::new();
        for id in 1..=2 {
            unread.push(http.modern(&call(id, "gate", json!({}))).connect());
            gate.began();
        }
        assert_eq!(served.stats().connections, 2);
        let mut reply = http
            .modern(&call(3, "look", json!({})))
            .field("X-Request-Id", "one-too-many")
            .field("Origin", "http://localhost:5173")
            .send();
        assert_eq!(
            reply.field("Access-Control-Allow-Origin"),
            Some("http://localhost:5173")
        );
        assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("1")));
        assert_eq!(reply.request_id(), "one-too-many");
        assert_eq!(code(&reply.json()), 503);
        gate.let_go(2);
        for unread in unread {
            assert_eq!(text(&unread.reply().message()), "somebody");
        }
        until("both exchanges have ended", || {
            served.stats().connections == 0
        });
        assert_eq!(text(&http.ask(&call(3, "look", json!({})))), "looking");
        served.stop();
    });
}

/// tiny_http makes a buffer for whatever a client promises and does not send, when nobody reads it.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_a_promise_of_a_huge_body_ends_nobody() {
    on_every_front(|front| {
        let (served, http) = front.serve(limited(Limits::default()));
        for method in ["POST", "GET", "PUT"] {
            let head = format!(
                "{method} /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000000\r\n\r\nx"
            );
            let mut stream = TcpStream::connect(http.address()).expect("the server listens");
            let sent = stream.write_all(head.as_bytes());
            sent.expect("there is room for it");
            drop(stream);
        }
        let message = call(1, "echo", json!({ "text": "lives" }));
        assert_eq!(text(&http.ask(&message)), "lives");
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_connections_max_bounds_the_guarded_front() {
    on_every_front(|front| {
        if front.is_tiny() {
            return;
        }
        let gate = Gate::new();
        let (served, http) =
            front.serve(probes(&gate).limits(Limits::default().connections_max(2)));
        let mut unread = Vec::new();
        for id in 1..=2 {
            unread.push(http.modern(&call(id, "gate", json!({}))).connect());
            gate.began();
        }
        assert_eq!(served.stats().connections, 2);
        let mut reply = http.modern(&call(3, "look", json!({}))).send();
        assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("1")));
        assert_eq!(code(&reply.json()), 503);
        gate.let_go(2);
        for unread in unread {
            assert_eq!(text(&unread.reply().message()), "somebody");
        }
        until("both connections have ended", || {
            served.stats().connections == 0
        });
        assert_eq!(text(&http.ask(&call(3, "look", json!({})))), "looking");
        served.stop();
    });
}

/// Its place in a queue is enough; the server's account, which all calls would share, is left alone.
#[test]
fn law_13_a_small_call_is_on_no_account() {
    let limits = Limits::default().memory_bytes_max(1024);
    let (served, mut client) = Served::pipe(probes(&Gate::new()).limits(limits));
    let echo = |bytes: usize| call(1, "echo", json!({ "text": "a", "rest": "x".repeat(bytes) }));
    assert_eq!(text(&client.ask(&echo(2000))), "a");
    assert_eq!(code(&client.ask(&echo(5000))), 503);
    client.close();
    served.stop();
}

/// What has no arguments keeps what it was asked: a URI, and what was typed.
#[test]
fn law_13_the_uris_and_the_typing_of_calls_that_wait_are_charged() {
    use mcp_threads::{Completing, ResourceTemplate};
    let long = "x".repeat(3_000_000);
    let typed = json!({
        "ref": { "type": "ref/resource", "uri": "it://{rest}" },
        "argument": { "name": "rest", "value": long },
    });
    let read = json!({ "uri": format!("it://{long}") });
    for (method, params) in [("completion/complete", typed), ("resources/read", read)] {
        let gate = Gate::new();
        let limits = Limits::default().memory_bytes_max(12 * 1024 * 1024);
        let server = probes(&gate).workers(1).limits(limits).register(
            ResourceTemplate::new("it://{rest}", "rest")
                .complete("rest", |_: Completing| Vec::<String>::new())
                .handler(|_: Value| "read"),
        );
        let (served, mut client) = Served::pipe(server);
        client.send(&call(0, "gate", json!({})));
        gate.began();
        for id in 1..=6 {
            client.send(&modern(id, method, params.clone()));
        }
        assert_eq!(code(&client.answer(6)), 503, "{method}");
        assert!(served.main().queued >= 1, "{method}");
        gate.let_go(1);
        for id in 0..=5 {
            client.answer(id);
        }
        served.stop();
    }
}

/// A call that waits keeps its arguments, which are on the server's account. One whose client has left keeps its place in the queue, and nothing else.
#[cfg(all(feature = "http", unix))]
#[test]
fn law_13_the_arguments_of_calls_that_wait_are_charged() {
    let gate = Gate::new();
    let limits = Limits::default().memory_bytes_max(10 * 1024 * 1024);
    let server = probes(&gate).workers(1).limits(limits);
    let running = server.serve_http("127.0.0.1:0").expect("it can start");
    let http = crate::harness::Http::new(running.addr().expect("it serves HTTP"));
    let served = Served::new(running);
    let running = http.modern(&call(1, "gate", json!({}))).connect();
    gate.began();
    let message = call(
        2,
        "echo",
        json!({ "text": "long" , "rest": "x".repeat(4_000_000) }),
    );
    let long = http.modern(&message);
    let waiting = long.connect();
    served.until_main("it waits", |main| main.queued == 1);
    let mut refused = long.send();
    assert_eq!((refused.status, code(&refused.json())), (503, 503));
    assert_eq!(refused.field("Retry-After"), Some("1"));
    drop(waiting);
    until("its client is missed", || served.stats().connections == 1);
    let waiting = long.connect();
    served.until_main("what it took is free", |main| main.queued == 2);
    assert_eq!(
        text(&http.ask(&call(3, "look", json!({})))),
        "looking",
        "what is short is served"
    );
    gate.let_go(1);
    assert_eq!(text(&running.reply().message()), "somebody");
    assert_eq!(text(&waiting.reply().message()), "long");
    until("its place is free", || long.send().status == 200);
    served.stop();
}
