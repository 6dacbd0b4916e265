//! What becomes of handshake-era sessions over HTTP: kept, none at all, or adopted when they are unknown.

use mcp_threads::{AskError, Limits, RequestContext, Resource, Server, Sessions};
use serde_json::{Value, json};

use crate::harness::http::Session;
use crate::harness::message::{cancel, initialize};
use crate::harness::{
    Gate, Http, call, code, legacy, legacy_call, on_every_front, patient, probes, text, until,
    with_meta,
};

fn server(gate: &Gate, sessions: Sessions) -> Server {
    probes(gate)
        .legacy_sessions(sessions)
        .register(Resource::new("it://one", "one").handler(|_: Value| "one"))
        .tool("steps", "", |cx: &mut RequestContext, _: Value| {
            cx.progress(1.0);
            cx.log(mcp_threads::LoggingLevel::Info, "not wanted");
            cx.progress(2.0);
            match cx.roots() {
                Err(AskError::Unsupported { .. }) => "nobody to ask",
                _ => "asked",
            }
        })
}

/// A client that knows a session's id from somewhere.
fn knows(http: Http, id: &str) -> Session {
    Session {
        http,
        id: id.into(),
        version: "2025-11-25".into(),
    }
}

fn echo(id: u32) -> Value {
    legacy_call(id, "echo", json!({ "text": "served" }))
}

#[test]
fn without_sessions_every_request_stands_alone() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate, Sessions::Stateless));
        let mut hello = http.post(initialize(0, "2025-06-18").to_string()).send();
        assert_eq!((hello.status, hello.field("Mcp-Session-Id")), (200, None));
        let result = hello.json()["result"].clone();
        assert_eq!(result["protocolVersion"], "2025-06-18");
        let declared = json!({ "tools": {}, "resources": {} });
        assert_eq!(
            result["capabilities"], declared,
            "nothing that needs a session"
        );

        // With a version, as later revisions have it; without, as the first; with an id from an earlier life.
        for ask in [
            http.post(echo(1).to_string())
                .field("MCP-Protocol-Version", "2025-06-18"),
            http.post(echo(1).to_string()),
            knows(http, "from-an-earlier-life").post(&echo(1)),
        ] {
            assert_eq!(text(&ask.send().message()), "served");
        }
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(http.post(initialized.to_string()).send().status, 202);
        let steps = with_meta(
            legacy_call(2, "steps", json!({})),
            json!({ "progressToken": 7 }),
        );
        let messages = http.post(steps.to_string()).send().messages();
        let methods: Vec<_> = messages.iter().map(|message| &message["method"]).collect();
        assert_eq!(
            methods,
            [
                &json!("notifications/progress"),
                &json!("notifications/progress"),
                &Value::Null
            ]
        );
        assert_eq!(text(&messages[2]), "nobody to ask");
        for (method, params) in [
            ("logging/setLevel", json!({ "level": "debug" })),
            ("resources/subscribe", json!({ "uri": "it://one" })),
        ] {
            let refused = http
                .post(legacy(3, method, params).to_string())
                .send()
                .json();
            assert_eq!(code(&refused), -32601, "{method}");
        }
        let batch = json!([legacy(4, "ping", json!({})), echo(5)]);
        assert_eq!(
            http.post(batch.to_string())
                .send()
                .json()
                .as_array()
                .map(Vec::len),
            Some(2)
        );

        // No stream to listen on, nothing to end, and a cancellation that means nothing.
        let any = knows(http, "any");
        let get = any.get().send();
        assert_eq!(get.status, 405);
        assert!(!get.field("Allow").is_none_or(str::is_empty));
        assert_eq!(any.delete(), 405);
        let waits = legacy_call(6, "wait", json!({}));
        let unread = http.post(waits.to_string()).connect();
        gate.began();
        assert_eq!(http.post(cancel(6).to_string()).send().status, 202);
        gate.let_go(1);
        assert_eq!(text(&unread.reply().message()), "somebody");
        assert_eq!(served.stats().sessions, 0);

        // The other era is as it was.
        assert_eq!(
            text(&http.ask(&call(7, "echo", json!({ "text": "a" })))),
            "a"
        );
        served.stop();
    });
}

/// A server that begins anew, or another instance, knows nobody; its clients go on all the same.
#[test]
fn an_unknown_session_is_adopted() {
    on_every_front(|front| {
        let gate = Gate::new();
        let [(first, here), (second, there)] =
            [(); 2].map(|()| front.serve(server(&gate, Sessions::Adopt)));
        let session = here.initialize("2025-11-25");
        first.stop();
        let session = knows(there, &session.id);
        assert_eq!(text(&session.ask(&echo(1))), "served");
        assert_eq!(second.stats().sessions, 1);
        let steps = with_meta(
            legacy_call(2, "steps", json!({})),
            json!({ "progressToken": 7 }),
        );
        let messages = session.post(&steps).send().messages();
        let answer = messages.last().expect("there is an answer");
        assert_eq!(text(answer), "nobody to ask", "what it can do is unknown");
        let subscribe = legacy(3, "resources/subscribe", json!({ "uri": "it://one" }));
        assert_eq!(
            session.ask(&subscribe)["result"],
            json!({}),
            "it is a session"
        );
        assert_eq!(session.get().send().status, 200);
        assert_eq!(knows(there, "another").get().send().status, 200);
        assert_eq!(second.stats().sessions, 2);

        assert_eq!(session.delete(), 204);
        assert_eq!(session.post(&echo(4)).send().status, 404, "it was ended");
        assert_eq!(session.get().send().status, 404);
        let never_here = knows(there, "never-here");
        assert_eq!(never_here.delete(), 404);
        assert_eq!(
            never_here.post(&echo(5)).send().status,
            404,
            "ended elsewhere"
        );
        second.stop();
    });
}

#[test]
fn law_9_adopted_sessions_take_no_place_of_one_that_is_used() {
    on_every_front(|front| {
        let limits: Limits = patient().sessions_max(3);
        let server = server(&Gate::new(), Sessions::Adopt).limits(limits);
        let (served, http) = front.serve(server);
        let honest = [(); 2].map(|()| http.initialize("2025-11-25"));
        for number in 0..20 {
            let adopted = knows(http, &format!("flood-{number}"));
            assert_eq!(adopted.post(&echo(1)).send().status, 200);
        }
        assert_eq!(served.stats().sessions, 3);
        let third = http.initialize("2025-11-25");
        assert_eq!(knows(http, "one-more").post(&echo(1)).send().status, 404);
        for session in honest.iter().chain([&third]) {
            assert_eq!(text(&session.ask(&echo(1))), "served");
        }
        served.stop();
    });
}

#[test]
fn an_unknown_session_is_refused_where_sessions_are_kept() {
    on_every_front(|front| {
        let (served, http) = front.serve(server(&Gate::new(), Sessions::default()));
        assert_eq!(knows(http, "unknown").post(&echo(1)).send().status, 404);
        assert_eq!(knows(http, "unknown").get().send().status, 404);
        assert_eq!(served.stats().sessions, 0);
        served.stop();
    });
}

/// What waits on behalf of one session, and what runs, leaves half of the server's memory to all others.
#[cfg(target_os = "linux")]
#[test]
fn law_13_the_calls_of_one_session_leave_memory_to_others() {
    on_every_front(|front| {
        let gate = Gate::new();
        let limits = patient().memory_bytes_max(16 * 1024 * 1024);
        let server = probes(&gate).workers(1).queue(400).limits(limits);
        let (served, http) = front.serve(server);
        let [greedy, other] = [(); 2].map(|()| http.initialize("2025-11-25"));
        let long = json!({ "who": "x".repeat(100 * 1024) });
        let open = || served.main().busy + served.main().queued;
        let mut waiting = Vec::new();
        let refused = loop {
            let call = legacy_call(waiting.len(), "gate", long.clone());
            let call = greedy.post(&call).field("Connection", "close").connect();
            until("it waits, or is refused", || {
                open() > waiting.len() || call.is_answered()
            });
            if call.is_answered() {
                break call.reply().message();
            }
            waiting.push(call);
        };
        assert_eq!(code(&refused), 503);
        assert!((40..=82).contains(&waiting.len()), "{}", waiting.len());
        for call in [
            other.post(&legacy_call("other", "gate", long.clone())),
            http.modern(&call("modern", "gate", long.clone())),
        ] {
            waiting.push(call.field("Connection", "close").connect());
        }
        gate.let_go(waiting.len());
        for call in waiting {
            assert_eq!(text(&call.reply().message()).len(), 100 * 1024);
        }
        served.stop();
    });
}
