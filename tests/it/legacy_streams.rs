//! The handshake era's streams: events with ids, clients that come back for the rest, and streams that only listen.

use std::thread;
use std::time::Duration;

use mcp_threads::{Limits, LoggingLevel, RequestContext, Server};
use serde_json::{Value, json};

#[cfg(feature = "http")]
use crate::harness::Http;
use crate::harness::http::Fields;
use crate::harness::message::cancel;
use crate::harness::{
    Event, Gate, PATIENCE, Reply, Served, Session, legacy, legacy_call, on_every_front, probes,
    text, until,
};

const VERSION: &str = "2025-11-25";

/// Says nothing on its own account, and soon finds out who has left.
fn quiet() -> Limits {
    Limits::default()
        .stream_after(Duration::from_secs(3600))
        .heartbeat_interval(Duration::from_millis(20))
        .retry_hint(Duration::from_millis(20))
}

/// `talk` says its first word, waits, says its second and answers with its third. `part` ends its stream instead of saying the first.
fn server(gate: &Gate) -> Server {
    let (talker, parter) = (gate.door(), gate.door());
    let words = |args: &Value| {
        let who = args["who"].as_str().unwrap_or("somebody").to_owned();
        [format!("{who} 1"), format!("{who} 2"), format!("{who} 3")]
    };
    probes(gate)
        .workers(8)
        .limits(quiet())
        .tool("talk", "", move |cx: &mut RequestContext, args: Value| {
            let [one, two, three] = words(&args);
            cx.log(LoggingLevel::Info, one);
            talker.pass_or_leave(cx, "talk").map(|()| {
                cx.log(LoggingLevel::Info, two);
                three
            })
        })
        .tool("part", "", move |cx: &mut RequestContext, args: Value| {
            let [_, two, three] = words(&args);
            cx.close_stream();
            parter.pass_or_leave(cx, "part").map(|()| {
                cx.log(LoggingLevel::Info, two);
                three
            })
        })
}

/// The next event that is not a heartbeat.
#[track_caller]
fn next(reply: &mut Reply) -> Option<Fields> {
    loop {
        let fields = reply.fields_of_event()?;
        if !fields.is_comment {
            return Some(fields);
        }
    }
}

/// Reads the event that only says where to come back; its id.
#[track_caller]
fn primed(reply: &mut Reply) -> String {
    assert_eq!((reply.status, reply.is_stream()), (200, true));
    let first = next(reply).expect("the stream begins with an event");
    assert_eq!(first.retry.as_deref(), Some("20"), "{first:?}");
    assert_eq!(first.data.as_deref(), Some(""), "{first:?}");
    first.id.expect("it has an id")
}

/// What is said in the events up to the end, each with its id: log messages and the answer's text.
#[track_caller]
fn said(reply: &mut Reply) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while let Some(one) = said_next(reply) {
        all.push(one);
    }
    all
}

#[track_caller]
fn said_next(reply: &mut Reply) -> Option<(String, String)> {
    let event = next(reply)?;
    let id = event.id.expect("every event of this era has an id");
    let message: Value = serde_json::from_str(&event.data.expect("it has data")).expect("JSON");
    let said = match message["params"]["data"].as_str() {
        Some(said) => said,
        None => text(&message),
    };
    Some((id, said.to_owned()))
}

#[track_caller]
fn words(said: &[(String, String)]) -> Vec<&str> {
    said.iter().map(|(_, word)| word.as_str()).collect()
}

fn talk(id: u64, who: &str) -> Value {
    legacy_call(id, "talk", json!({ "who": who }))
}

fn part(id: u64, who: &str) -> Value {
    legacy_call(id, "part", json!({ "who": who }))
}

/// Sends a call that ends its stream early, and reads that end; the id to come back with.
#[track_caller]
fn parted(session: &Session, gate: &Gate, id: u64) -> String {
    let mut reply = session.post(&part(id, &format!("call {id}"))).send();
    let start = primed(&mut reply);
    assert_eq!(next(&mut reply), None, "it ends before the answer");
    assert_eq!(gate.began(), "part");
    start
}

#[test]
fn a_stream_begins_with_an_id_and_every_event_has_the_next() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        gate.let_go(2);
        let mut ids = Vec::new();
        for call in 1..=2 {
            let mut reply = session.post(&talk(call, "a")).send();
            ids.push(primed(&mut reply));
            let said = said(&mut reply);
            assert_eq!(words(&said), ["a 1", "a 2", "a 3"]);
            ids.extend(said.into_iter().map(|(id, _)| id));
        }
        let expected = [
            "1-0", "1-1", "1-2", "1-3", // and the other call's, all different
            "2-0", "2-1", "2-2", "2-3",
        ];
        assert_eq!(ids, expected);
        served.stop();
    });
}

#[test]
fn a_client_that_broke_off_comes_back_for_the_rest() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        // Once at once, so that the server learns of the departure from the return; once after it has noticed.
        for (call, patiently) in [(1, false), (2, true)] {
            let mut reply = session.post(&talk(call, "a")).send();
            primed(&mut reply);
            let (id, word) = said_next(&mut reply).expect("it goes on");
            assert_eq!(word, "a 1");
            gate.began();
            drop(reply);
            if patiently {
                until("the server has noticed", || served.stats().connections == 0);
            }
            let mut again = session.resume(&id).send();
            assert_eq!(primed(&mut again), id, "where the client stands");
            gate.let_go(1);
            assert_eq!(words(&said(&mut again)), ["a 2", "a 3"]);
        }
        served.until_main("nothing was cancelled", |main| {
            (main.done, main.cancelled) == (2, 0)
        });
        served.stop();
    });
}

#[test]
fn what_was_said_while_nobody_listened_is_heard_by_the_one_who_comes_back() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        let start = parted(&session, &gate, 1);
        gate.let_go(1);
        served.until_main("it has answered", |main| main.done == 1);
        let mut again = session.resume(&start).send();
        assert_eq!(primed(&mut again), start);
        assert_eq!(words(&said(&mut again)), ["call 1 2", "call 1 3"]);
        served.stop();
    });
}

/// A write into a dead connection succeeds, so an answer that was sent may not have been heard.
#[test]
fn an_answer_that_was_sent_can_be_fetched_again() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        gate.let_go(1);
        let mut reply = session.post(&talk(1, "a")).send();
        let start = primed(&mut reply);
        let all = said(&mut reply);
        for _ in 0..2 {
            let mut again = session.resume(&start).send();
            assert_eq!(primed(&mut again), start);
            assert_eq!(said(&mut again), all);
        }
        let mut again = session.resume(&all[1].0).send();
        primed(&mut again);
        assert_eq!(said(&mut again), all[2..], "only what came after");
        let status = session.resume(&all[2].0).send().status;
        assert_eq!(status, 400, "nothing comes after the answer");
        served.stop();
    });
}

#[test]
fn a_stream_is_resumed_without_what_was_said_on_others() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        let starts = ["a", "b"].map(|who| {
            let mut reply = session.post(&talk(1 + u64::from(who == "b"), who)).send();
            let start = primed(&mut reply);
            assert_eq!(
                said_next(&mut reply).expect("it goes on").1,
                format!("{who} 1")
            );
            gate.began();
            (start, who)
        });
        let mut again = starts.map(|(start, who)| {
            let mut reply = session.resume(&start).send();
            primed(&mut reply);
            (reply, who)
        });
        gate.let_go(2);
        for (reply, who) in &mut again {
            let expected = [1, 2, 3].map(|number| format!("{who} {number}"));
            assert_eq!(words(&said(reply)), expected);
        }
        served.stop();
    });
}

/// A client knows before the server that it has lost a connection, and is not told to wait until the server knows, too.
#[test]
fn a_stream_moves_to_the_connection_that_asks_for_it() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        let mut first = session.post(&talk(1, "a")).send();
        let start = primed(&mut first);
        let mut second = session.resume(&start).send();
        primed(&mut second);
        assert_eq!(words(&said(&mut first)), ["a 1"], "the first ends here");
        gate.let_go(1);
        assert_eq!(words(&said(&mut second)), ["a 1", "a 2", "a 3"]);
        served.stop();
    });
}

#[test]
fn what_nobody_can_come_back_for_is_refused() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        let other = http.initialize(VERSION);
        let start = parted(&session, &gate, 1);
        assert_eq!(start, "1-0");
        let forged = [
            "1-1",
            "2-0",
            "1",
            "1-",
            "-0",
            "01-0",
            "+1-0",
            "1-0-0",
            "1-0x",
            "x",
            "*",
            "99999999999999999999-0",
        ];
        for id in forged {
            let mut reply = session.resume(id).send();
            assert_eq!(reply.status, 400, "{id}");
            assert_eq!(reply.json()["error"]["code"], -32600);
        }
        assert_eq!(other.resume(&start).send().status, 400, "not its own");
        let twice = session.resume(&start).and_field("Last-Event-ID", &start);
        assert_eq!(twice.send().status, 400);
        // None of this has harmed the stream.
        let mut again = session.resume(&start).send();
        gate.let_go(1);
        primed(&mut again);
        assert_eq!(words(&said(&mut again)), ["call 1 2", "call 1 3"]);
        served.stop();
    });
}

#[test]
fn law_9_the_oldest_stream_that_nobody_comes_back_for_is_forgotten() {
    on_every_front(|front| {
        let gate = Gate::new();
        let server = server(&gate).limits(quiet().parked_streams_max(2));
        let (served, http) = front.serve(server);
        let session = http.initialize(VERSION);
        let starts = [1, 2, 3].map(|call| parted(&session, &gate, call));
        assert_eq!(session.resume(&starts[0]).send().status, 400);
        gate.let_go(3);
        served.until_main("its call goes on", |main| {
            (main.done, main.cancelled) == (3, 0)
        });
        for (start, call) in starts.iter().zip(1..).skip(1) {
            let mut again = session.resume(start).send();
            primed(&mut again);
            let expected = [2, 3].map(|number| format!("call {call} {number}"));
            assert_eq!(words(&said(&mut again)), expected);
        }
        served.stop();
    });
}

#[test]
fn law_9_an_answer_too_long_to_be_kept_is_sent_once() {
    on_every_front(|front| {
        let gate = Gate::new();
        let server = server(&gate).limits(quiet().replay_bytes_max(1000));
        let (served, http) = front.serve(server);
        let session = http.initialize(VERSION);
        let long = "long ".repeat(1000);
        let mut reply = session.post(&part(1, &long)).send();
        let start = primed(&mut reply);
        assert_eq!(next(&mut reply), None);
        gate.let_go(1);
        served.until_main("it has answered", |main| main.done == 1);
        let mut again = session.resume(&start).send();
        primed(&mut again);
        let said = said(&mut again);
        assert_eq!(
            words(&said),
            [format!("{long} 2").as_str(), &format!("{long} 3")]
        );
        until("it is forgotten", || {
            session.resume(&start).send().status == 400
        });
        served.stop();
    });
}

#[test]
fn a_cancelled_call_leaves_nothing_to_come_back_for() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        let start = parted(&session, &gate, 1);
        assert_eq!(session.post(&cancel(1)).send().status, 202);
        served.until_main("it has ended", |main| main.cancelled == 1);
        let mut again = session.resume(&start).send();
        primed(&mut again);
        assert_eq!(next(&mut again), None);
        until("it is forgotten", || {
            session.resume(&start).send().status == 400
        });
        served.stop();
    });
}

#[test]
fn what_is_parked_ends_with_its_session() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        let start = parted(&session, &gate, 1);
        assert_eq!(session.delete(), 204);
        served.until_main("its call, too", |main| main.cancelled == 1);
        assert_eq!(session.resume(&start).send().status, 404);
        served.stop();
    });
}

/// Their clients do not know that a stream may end early, and may take an event without a message for a broken one.
#[test]
fn older_revisions_have_ids_and_no_early_end() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        for version in ["2025-06-18", "2025-03-26"] {
            let session = http.initialize(version);
            let mut reply = session.post(&talk(1, "a")).send();
            let (id, word) = said_next(&mut reply).expect("no priming event");
            assert_eq!((id.as_str(), word.as_str()), ("1-1", "a 1"));
            gate.began();
            drop(reply);
            let mut again = session.resume(&id).send();
            gate.let_go(1);
            assert_eq!(words(&said(&mut again)), ["a 2", "a 3"], "nor here");
            gate.let_go(1);
            let mut whole = session.post(&part(2, "b")).send();
            assert_eq!(words(&said(&mut whole)), ["b 2", "b 3"]);
            gate.began();
        }
        served.stop();
    });
}

#[test]
fn on_a_pipe_no_stream_ends_early() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    client.initialize(VERSION);
    gate.let_go(1);
    client.send(&part(1, "a"));
    let log = client.recv();
    assert_eq!(log["params"]["data"], "a 2");
    assert_eq!(text(&client.recv()), "a 3");
    client.close();
    served.stop();
}

#[test]
fn a_get_is_refused_with_what_is_wrong_with_it() {
    on_every_front(|front| {
        let (served, http) = front.serve(server(&Gate::new()));
        let session = http.initialize(VERSION);
        let get = session.get();
        let rows = [
            (get.clone().without("Mcp-Session-Id"), 405),
            (get.clone().and_field("Mcp-Session-Id", &session.id), 400),
            (get.clone().field("Mcp-Session-Id", "never-issued"), 404),
            (get.clone().field("Accept", "application/json"), 406),
            (get.clone().field("MCP-Protocol-Version", "2026-07-28"), 405),
            (get.clone().field("MCP-Protocol-Version", "tomorrow"), 400),
            (get.clone().target("/elsewhere"), 404),
            (get.clone().field("Host", "evil.example"), 403),
            (get.clone().field("Origin", "https://evil.example"), 403),
        ];
        for (number, (ask, status)) in (0..).zip(rows) {
            let mut reply = ask.send();
            assert_eq!(reply.status, status, "row {number}");
            let allow = (status == 405).then_some("GET, POST, DELETE, OPTIONS");
            assert_eq!(reply.field("Allow"), allow, "row {number}");
            assert_eq!(reply.json()["error"]["code"], -32600);
        }
        for ask in [
            get.clone(),
            get.clone().without("MCP-Protocol-Version"),
            get.without("Accept"),
            session.resume(""),
        ] {
            let mut reply = ask.send();
            assert_eq!((reply.status, reply.is_stream()), (200, true));
            assert_eq!(reply.field("Cache-Control"), Some("no-cache, no-transform"));
            assert_eq!(reply.event(), Some(Event::Comment), "at once");
        }
        served.stop();
    });
}

#[test]
fn a_stream_that_listens_lives_until_its_session_ends() {
    on_every_front(|front| {
        let (served, http) = front.serve(server(&Gate::new()));
        let (session, other) = (http.initialize(VERSION), http.initialize(VERSION));
        let mut streams = [&session, &session, &other].map(|session| session.get().send());
        for reply in &mut streams {
            for _ in 0..3 {
                assert_eq!(reply.event(), Some(Event::Comment), "a heartbeat");
            }
        }
        assert_eq!(
            session.ask(&legacy(1, "ping", json!({})))["result"],
            json!({})
        );
        assert_eq!(session.delete(), 204);
        let [mut one, mut two, mut lives] = streams;
        while one.event().is_some() {}
        while two.event().is_some() {}
        for _ in 0..3 {
            assert_eq!(lives.event(), Some(Event::Comment));
        }
        served.stop();
    });
}

/// That it has left is only looked for from time to time, but always before something is said to it that would be lost.
#[cfg(feature = "http")]
#[test]
fn what_is_said_to_a_listener_that_has_left_waits_for_the_next() {
    let seldom = quiet().heartbeat_interval(Duration::from_secs(3600));
    let server = server(&Gate::new()).limits(seldom);
    let running = server.serve_http("127.0.0.1:0").expect("it can start");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    let served = Served::new(running);
    let session = http.initialize(VERSION);
    let mut first = session.get().send();
    assert_eq!(first.event(), Some(Event::Comment), "it listens");
    drop(first);
    served.handle().tools_changed();
    let mut second = session.get().send();
    let heard = next(&mut second).and_then(|event| event.data);
    let heard = heard.expect("a message");
    assert!(heard.contains("tools/list_changed"), "{heard}");
    assert_eq!(session.delete(), 204);
    assert_eq!(next(&mut second), None, "it is said once");
    served.stop();
}

#[test]
fn law_12_a_drain_ends_the_streams_that_listen_and_waits_for_those_that_answer() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize(VERSION);
        let mut listening = session.get().send();
        assert_eq!(listening.event(), Some(Event::Comment));
        let start = parted(&session, &gate, 1);
        let mut resumed = session.resume(&start).send();
        primed(&mut resumed);
        // Nobody comes back for this one any more.
        parted(&session, &gate, 2);
        let ending = thread::spawn(move || served.shutdown(PATIENCE));
        while listening.event().is_some() {}
        assert!(!ending.is_finished(), "calls are in flight");
        if front.is_tiny() {
            let reply = session.get().send();
            assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("1")));
        }
        gate.let_go(2);
        assert_eq!(words(&said(&mut resumed)), ["call 1 2", "call 1 3"]);
        let report = ending.join().expect("a shutdown does not panic");
        assert_eq!(
            (report.abandoned_handlers, report.abandoned_connections),
            (0, 0)
        );
    });
}

#[test]
fn law_9_as_many_streams_listen_as_may_and_places_are_given_back() {
    on_every_front(|front| {
        let gate = Gate::new();
        let server = server(&gate).limits(quiet().streams_max(1));
        let (served, http) = front.serve(server);
        let session = http.initialize(VERSION);
        let start = parted(&session, &gate, 1);
        let mut place = None;
        until("the stream that ended has given its place back", || {
            place = Some(session.get().send()).filter(|reply| reply.status == 200);
            place.is_some()
        });
        let listening = place.expect("it listens");
        for ask in [session.get(), session.resume(&start)] {
            let reply = ask.send();
            assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("1")));
        }
        drop(listening);
        // Being refused has harmed nothing, and a client that leaves is noticed.
        let mut again = None;
        until("there is room again", || {
            again = Some(session.resume(&start).send()).filter(|reply| reply.status == 200);
            again.is_some()
        });
        gate.let_go(1);
        let mut again = again.expect("it has been resumed");
        primed(&mut again);
        assert_eq!(words(&said(&mut again)), ["call 1 2", "call 1 3"]);
        served.stop();
    });
}
