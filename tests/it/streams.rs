//! Plain JSON or an event stream: an answer is the one until something has to be said before it.

use std::time::Duration;

use mcp_threads::{Limits, LoggingLevel, RequestContext, Server};
use serde_json::{Value, json};

use crate::harness::{
    Event, Gate, Http, Served, call, code, legacy_call, modern, on_every_front, patient, probes,
    text, until, with_meta,
};

fn server(gate: &Gate) -> Server {
    let door = gate.door();
    probes(gate)
        .limits(patient())
        .tool("talk", "", move |cx: &mut RequestContext, _: Value| {
            cx.log(LoggingLevel::Info, "one");
            door.pass("talk");
            cx.progress(2.0);
            cx.log(LoggingLevel::Info, "three");
            "four"
        })
}

#[test]
fn a_silent_call_is_answered_as_plain_json_however_long_it_takes() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize("2025-11-25");
        let asks = [
            http.modern(&call(1, "gate", json!({}))),
            session.post(&legacy_call(1, "gate", json!({}))),
            // Without a level and a token there is nobody to talk to.
            http.modern(&call(1, "talk", json!({}))),
        ];
        for ask in asks {
            let unread = ask.connect();
            gate.began();
            gate.let_go(1);
            let mut reply = unread.reply();
            assert_eq!((reply.status, reply.is_stream()), (200, false));
            assert_eq!(reply.field("Content-Type"), Some("application/json"));
            let body = reply.body();
            assert!(!body.contains('\n'), "on one line: {body}");
        }
        served.stop();
    });
}

#[test]
fn the_first_event_opens_the_stream_and_exactly_one_answer_ends_it() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize("2025-11-25");
        let token = json!({ "progressToken": "t" });
        let asks = [
            http.modern(&with_meta(
                with_meta(call(1, "talk", json!({})), token.clone()),
                json!({ "io.modelcontextprotocol/logLevel": "info" }),
            )),
            session.post(&with_meta(legacy_call(1, "talk", json!({})), token)),
        ];
        for ask in asks {
            let mut reply = ask.field("X-Request-Id", "streamed").send();
            // The head and the first event are here while the handler still runs.
            assert_eq!((reply.status, reply.is_stream()), (200, true));
            assert_eq!(reply.field("X-Accel-Buffering"), Some("no"));
            assert_eq!(reply.field("Cache-Control"), Some("no-cache, no-transform"));
            assert_eq!(reply.request_id(), "streamed");
            let Some(Event::Message(first)) = reply.event() else {
                panic!("the first event is a message");
            };
            assert_eq!(first["params"]["data"], "one");
            assert_eq!(gate.began(), "talk");
            gate.let_go(1);
            let rest = reply.messages();
            let [progress, log, answer] = &rest[..] else {
                panic!("progress, log, answer: {rest:?}");
            };
            assert_eq!(progress["params"]["progress"], 2.0);
            assert_eq!(log["params"]["data"], "three");
            assert_eq!((&answer["id"], text(answer)), (&json!(1), "four"));
        }
        served.stop();
    });
}

#[test]
fn a_long_silence_opens_the_stream_with_a_heartbeat() {
    on_every_front(|front| {
        let gate = Gate::new();
        let server = probes(&gate).limits(patient().stream_after(Duration::from_millis(20)));
        let (served, http) = front.serve(server);
        let session = http.initialize("2025-11-25");
        for ask in [
            http.modern(&call(1, "gate", json!({}))),
            session.post(&legacy_call(1, "gate", json!({}))),
        ] {
            let mut reply = ask.send();
            assert_eq!(gate.began(), "somebody");
            assert!(reply.is_stream());
            assert_eq!(reply.event(), Some(Event::Comment));
            gate.let_go(1);
            let Some(Event::Message(answer)) = reply.event() else {
                panic!("the answer comes next");
            };
            assert_eq!(text(&answer), "somebody");
            assert_eq!(reply.event(), None, "and ends the stream");
        }
        served.stop();
    });
}

/// Errors that come on an open stream stay JSON-RPC errors; the status has been sent.
#[test]
fn a_failure_on_an_open_stream_is_its_last_event() {
    on_every_front(|front| {
        let gate = Gate::new();
        let server = probes(&gate).limits(patient()).tool(
            "fail",
            "",
            |cx: &mut RequestContext, _: Value| -> String {
                cx.progress(1.0);
                panic!("a SECRET text")
            },
        );
        let (served, http) = front.serve(server);
        let mut reply = http
            .modern(&with_meta(
                call(1, "fail", json!({})),
                json!({ "progressToken": 1 }),
            ))
            .send();
        // The worker may be faster than the first event.
        let last = reply.messages().pop().expect("there is an answer");
        assert_eq!(
            (reply.status, &last["error"]["code"]),
            (200, &json!(-32603))
        );
        served.stop();
    });
}

/// Closing the response stream is how a modern client cancels.
#[test]
fn a_modern_client_that_leaves_cancels_its_call() {
    on_every_front(|front| {
        let gate = Gate::new();
        let door = gate.door();
        let server = probes(&gate)
            .limits(
                Limits::default()
                    .stream_after(Duration::from_millis(10))
                    .heartbeat_interval(Duration::from_millis(10)),
            )
            .tool("report", "", move |cx: &mut RequestContext, _: Value| {
                let mut step = 0.0;
                while cx.sleep(Duration::from_millis(1)).is_ok() {
                    step += 1.0;
                    cx.progress(step);
                }
                door.see_cancelled("report");
            });
        let (served, http) = front.serve(server);
        // One that talks, and one that only waits: heartbeats find out, too.
        for (tool, who) in [("report", "report"), ("wait", "somebody")] {
            let ask = http.modern(&with_meta(
                call(1, tool, json!({})),
                json!({ "progressToken": 1 }),
            ));
            let mut reply = ask.send();
            assert!(reply.event().is_some(), "the call is under way");
            drop(reply);
            assert_eq!(gate.cancelled(), who);
        }
        served.until_main("both are counted", |main| {
            main.cancelled == 2 && main.busy == 0
        });
        until("nobody is connected", || served.stats().connections == 0);
        served.stop();
    });
}

/// A legacy client that loses its connection has not cancelled; only `notifications/cancelled` does.
#[test]
fn a_legacy_client_that_leaves_does_not_cancel_its_call() {
    on_every_front(|front| {
        let gate = Gate::new();
        let server = probes(&gate).limits(
            Limits::default()
                .stream_after(Duration::from_millis(10))
                .heartbeat_interval(Duration::from_millis(5)),
        );
        let (served, http) = front.serve(server);
        let session = http.initialize("2025-11-25");
        let mut reply = session.post(&legacy_call(1, "wait", json!({}))).send();
        assert_eq!(reply.event(), Some(Event::Comment));
        assert_eq!(gate.began(), "somebody");
        drop(reply);
        until("the server has noticed", || served.stats().connections == 0);
        assert_eq!(served.main().busy, 1);
        gate.let_go(1);
        served.until_main("the handler finished undisturbed", |main| {
            (main.done, main.cancelled) == (1, 0)
        });
        served.stop();
    });
}

/// Many requests on one connection, one after another and sent ahead.
#[test]
fn a_connection_is_used_again_after_json_and_after_a_stream() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        gate.let_go(10);
        let talk = with_meta(call(2, "talk", json!({})), json!({ "progressToken": "t" }));
        let mut unread = http
            .modern(&call(1, "echo", json!({ "text": "a" })))
            .connect();
        unread.send(&http.modern(&talk));
        unread.send(&http.modern(&call(3, "echo", json!({ "text": "c" }))));
        let mut reply = unread.reply();
        assert_eq!(text(&reply.json()), "a");
        let mut reply = reply.next();
        assert!(reply.is_stream());
        assert_eq!(reply.messages().last().map(text), Some("four"));
        let mut reply = reply.next();
        assert_eq!(text(&reply.json()), "c");
        drop(reply);
        served.stop();
    });
}

/// Proxies such as nginx speak it to servers unless told otherwise.
#[cfg(all(feature = "http", feature = "tiny-http"))]
#[test]
fn a_client_of_http_1_0_reads_its_stream_as_it_is_written() {
    let gate = Gate::new();
    let running = server(&gate).serve_http("127.0.0.1:0");
    let running = running.expect("it can start");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    let served = Served::new(running);
    let meta = json!({ "progressToken": "t", "io.modelcontextprotocol/logLevel": "info" });
    let talk = with_meta(call(1, "talk", json!({})), meta);
    let mut reply = http.modern(&talk).version("HTTP/1.0").send();
    assert_eq!((reply.status, reply.is_stream()), (200, true));
    assert_eq!(reply.field("Transfer-Encoding"), None, "HTTP/1.0 has none");
    let Some(Event::Message(first)) = reply.event() else {
        panic!("the first event is here while the handler still runs");
    };
    assert_eq!(first["params"]["data"], "one");
    assert_eq!(gate.began(), "talk");
    gate.let_go(1);
    assert_eq!(reply.messages().last().map(text), Some("four"));
    let mut plain = http
        .modern(&call(2, "echo", json!({ "text": "a" })))
        .version("HTTP/1.0")
        .send();
    assert_eq!((plain.is_stream(), text(&plain.json())), (false, "a"));
    served.stop();
}

/// What would be streamed to it can only be kept until the end, so it is not even made: not what a call says on the way, which has no bound,
/// and not a stream that never ends.
#[cfg(feature = "tiny-http")]
#[test]
fn law_2_nothing_is_gathered_for_a_client_that_cannot_be_streamed_to() {
    let gate = Gate::new();
    let server = server(&gate);
    let running = server.serve_tiny_http("127.0.0.1:0").expect("it can start");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    let served = Served::new(running);
    let talk = with_meta(
        call(1, "talk", json!({})),
        json!({ "progressToken": "t", "io.modelcontextprotocol/logLevel": "info" }),
    );
    let unread = http.modern(&talk).version("HTTP/1.0").connect();
    gate.began();
    gate.let_go(1);
    let mut reply = unread.reply();
    assert_eq!((reply.status, reply.is_stream()), (200, false));
    assert_eq!(text(&reply.json()), "four");

    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let listen = modern(2, "subscriptions/listen", wanted);
    let mut refused = http.modern(&listen).version("HTTP/1.0").send();
    assert_eq!((refused.status, refused.is_stream()), (400, false));
    let answer = refused.json();
    assert_eq!((code(&answer), &answer["id"]), (-32600, &json!(2)));
    assert!(answer.to_string().contains("HTTP/1.1"), "{answer}");
    assert_eq!(served.stats().subscriptions, 0);
    served.stop();
}
