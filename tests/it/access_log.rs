//! The access log: one line for each request, and its id on the answer, whatever became of it.

use mcp_threads::{RequestContext, Server};
use serde_json::{Value, json};

use crate::harness::message::{cancel, initialize};
use crate::harness::{
    Gate, Served, call, legacy, legacy_call, logs, on_every_wire, probes, text, until,
};

fn server(gate: &Gate) -> Server {
    probes(gate)
        .workers(1)
        .queue(1)
        .tool("fail", "", |_: Value| Err::<(), _>("no".to_owned()))
        .tool("id", "", |cx: &mut RequestContext, _: Value| {
            cx.request_id().to_owned()
        })
}

/// Asserts on the line: method, tool, status, outcome, lane; and that it has the two times, who asked, a reason if it is a refusal, and nothing else.
#[track_caller]
fn assert_line(request_id: &str, expected: [&str; 5]) {
    let mut fields = logs::access_of(request_id);
    let reason = fields.pop_if(|(name, _)| name == "reason");
    let is_refusal = matches!(expected[3], "refused" | "error");
    assert_eq!(reason.is_some(), is_refusal, "{fields:?} {reason:?}");
    assert!(reason.is_none_or(|(_, reason)| reason.len() > 10));
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = [
        "method",
        "tool",
        "status",
        "outcome",
        "lane",
        "queued_us",
        "running_us",
        "peer",
        "era",
        "client",
        "request_id",
    ];
    assert_eq!(names, wanted, "{fields:?}");
    let values: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values[..5], expected, "{fields:?}");
    for time in &values[5..7] {
        assert!(time.parse::<u64>().is_ok(), "microseconds: {fields:?}");
    }
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn every_http_request_has_one_line_and_its_id_on_the_answer() {
    use crate::harness::http::Ask;
    use crate::harness::on_every_front;
    logs::keep();
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize("2025-11-25");
        let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let malformed = json!({ "jsonrpc": "1.0", "id": 1, "method": "ping" });
        type Row = (&'static str, Ask, u16, [&'static str; 4]);
        let rows: Vec<Row> = vec![
            (
                "ok",
                http.modern(&call(1, "echo", json!({}))),
                200,
                ["tools/call", "echo", "ok", "main"],
            ),
            (
                "legacy",
                session.post(&legacy_call(1, "echo", json!({}))),
                200,
                ["tools/call", "echo", "ok", "main"],
            ),
            (
                "urgent",
                http.modern(&call(1, "look", json!({}))),
                200,
                ["tools/call", "look", "ok", "urgent"],
            ),
            (
                "fail",
                http.modern(&call(1, "fail", json!({}))),
                200,
                ["tools/call", "fail", "tool_error", "main"],
            ),
            (
                "panic",
                http.modern(&call(1, "panic", json!({}))),
                200,
                ["tools/call", "panic", "panicked", "main"],
            ),
            (
                "unknown",
                http.modern(&call(1, "nowhere", json!({}))),
                200,
                ["tools/call", "-", "error", "-"],
            ),
            (
                "list",
                session.post(&legacy(1, "tools/list", json!({}))),
                200,
                ["tools/list", "-", "ok", "-"],
            ),
            (
                "ping",
                session.post(&legacy(1, "ping", json!({}))),
                200,
                ["ping", "-", "ok", "-"],
            ),
            (
                "handshake",
                http.post(initialize(1, "2025-06-18").to_string()),
                200,
                ["initialize", "-", "ok", "-"],
            ),
            (
                "notified",
                session.post(&notification),
                202,
                ["notification", "-", "ok", "-"],
            ),
            (
                "method",
                http.modern(&crate::harness::modern(1, "no/such", json!({}))),
                404,
                ["?", "-", "error", "-"],
            ),
            (
                "header",
                http.modern(&call(1, "echo", json!({})))
                    .without("Mcp-Method"),
                400,
                ["tools/call", "-", "error", "-"],
            ),
            (
                "malformed",
                http.post(malformed.to_string()),
                400,
                ["-", "-", "error", "-"],
            ),
            (
                "session",
                session
                    .post(&legacy(1, "ping", json!({})))
                    .field("Mcp-Session-Id", "x"),
                404,
                ["ping", "-", "error", "-"],
            ),
            (
                "media",
                http.post("{}").field("Content-Type", "text/plain"),
                415,
                ["-", "-", "refused", "-"],
            ),
            (
                "host",
                http.post("{}").field("Host", "evil.example"),
                403,
                ["-", "-", "refused", "-"],
            ),
            (
                "path",
                http.bare("GET", "/favicon.ico"),
                404,
                ["-", "-", "refused", "-"],
            ),
            (
                "verb",
                http.bare("PUT", "/mcp"),
                405,
                ["-", "-", "refused", "-"],
            ),
            (
                "delete",
                http.bare("DELETE", "/mcp")
                    .field("Mcp-Session-Id", &session.id),
                204,
                ["DELETE", "-", "ok", "-"],
            ),
            (
                "deleted",
                http.bare("DELETE", "/mcp")
                    .field("Mcp-Session-Id", &session.id),
                404,
                ["-", "-", "refused", "-"],
            ),
        ];
        for (name, ask, status, [method, tool, outcome, lane]) in rows {
            let id = format!("{}-{name}", front.name);
            let reply = ask.field("X-Request-Id", &id).send();
            assert_eq!(
                (reply.status, reply.request_id()),
                (status, id.clone()),
                "{name}"
            );
            assert_line(&id, [method, tool, &status.to_string(), outcome, lane]);
        }
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn refused_cancelled_and_streamed_calls_have_their_line_too() {
    use crate::harness::{on_every_front, with_meta};
    logs::keep();
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(server(&gate));
        let session = http.initialize("2025-11-25");
        let id = |name: &str| format!("{}-{name}", front.name);
        let running = session
            .post(&legacy_call(1, "wait", json!({})))
            .field("X-Request-Id", id("cancelled"))
            .connect();
        gate.began();
        let queued = http
            .modern(&call(2, "echo", json!({})))
            .field("X-Request-Id", id("queued"))
            .connect();
        served.until_main("one waits", |main| main.queued == 1);
        let reply = http
            .modern(&call(3, "echo", json!({})))
            .field("X-Request-Id", id("refused"))
            .send();
        assert_eq!(reply.request_id(), id("refused"));
        assert_line(
            &id("refused"),
            ["tools/call", "echo", "503", "refused", "main"],
        );
        assert_eq!(session.post(&cancel(1)).send().status, 202);
        assert_eq!(running.reply().request_id(), id("cancelled"));
        assert_line(
            &id("cancelled"),
            ["tools/call", "wait", "200", "cancelled", "main"],
        );
        assert_eq!(queued.reply().request_id(), id("queued"));
        assert_line(&id("queued"), ["tools/call", "echo", "200", "ok", "main"]);
        let queued = logs::access_of(&id("queued"));
        let queued_us: u64 = queued[5].1.parse().expect("a number");
        assert!(queued_us > 0, "it has waited: {queued:?}");
        let talk = with_meta(call(4, "id", json!({})), json!({ "progressToken": 1 }));
        let reply = http.modern(&talk).field("X-Request-Id", id("known")).send();
        assert_eq!(text(&reply.message()), id("known"), "the handler knows it");
        served.stop();
    });
}

#[test]
fn every_request_on_a_pipe_has_one_line() {
    logs::keep();
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(server(&gate));
    let mut ids = Vec::new();
    for number in 0..3 {
        let answer = client.ask(&call(number, "id", json!({})));
        let id = text(&answer).to_owned();
        assert_line(&id, ["tools/call", "id", "-", "ok", "main"]);
        assert!(!ids.contains(&id), "each has its own");
        ids.push(id);
    }
    let panicked = client.ask(&call("p", "panic", json!({})));
    let id = panicked["error"]["data"]["requestId"]
        .as_str()
        .expect("it leads to the log");
    assert_line(id, ["tools/call", "panic", "-", "panicked", "main"]);
    client.close();
    served.stop();
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

/// The trace that a request is part of stands at the end of its line, if it is one: it is the client's text, too.
#[test]
fn a_line_names_the_trace_if_it_is_well_formed() {
    logs::keep();
    on_every_wire(
        || server(&Gate::new()),
        |wire| {
            let traced = |trace: &Value| json!({ "traceparent": trace, "tracestate": "a=b" });
            let forged = format!("{TRACE} outcome=forged");
            let upper = TRACE.to_uppercase();
            for (trace, expected) in [
                (json!(TRACE), Some(TRACE)),
                (json!(upper), None),
                (json!(forged), None),
                (json!(format!("{TRACE}\n")), None),
                (json!(""), None),
                (json!(7), None),
                (json!({ "a": TRACE }), None),
                (Value::Null, None),
            ] {
                let params = json!({ "name": "id", "arguments": {}, "_meta": traced(&trace) });
                let answer = wire.ask("tools/call", params);
                let fields = logs::access_of(text(&answer));
                let last = fields.last().expect("a line has fields");
                match expected {
                    Some(expected) => {
                        assert_eq!((&*last.0, &*last.1), ("traceparent", expected));
                    }
                    None => assert_eq!(last.0, "request_id", "{trace}: {fields:?}"),
                }
            }
        },
    );
    assert_eq!(logs::lines_with("outcome=forged").len(), 0);
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn what_no_handler_answers_names_its_trace_too() {
    use crate::harness::{modern, on_every_front, with_meta};
    logs::keep();
    on_every_front(|front| {
        let (served, http) = front.serve(server(&Gate::new()));
        for (name, message) in [
            ("trace-list", modern(1, "tools/list", json!({}))),
            ("trace-unknown", call(1, "nowhere", json!({}))),
            ("trace-panic", call(1, "panic", json!({}))),
        ] {
            let id = format!("{}-{name}", front.name);
            let message = with_meta(message, json!({ "traceparent": TRACE }));
            let ask = http.modern(&message).field("X-Request-Id", &id);
            assert_eq!(ask.send().request_id(), id);
            let fields = logs::access_of(&id);
            let last = fields.last().expect("a line has fields");
            assert_eq!((&*last.0, &*last.1), ("traceparent", TRACE), "{name}");
        }
        served.stop();
    });
}

/// A method's name is the client's text. It must not be able to write lines or fields of its own into the log.
#[test]
fn a_method_s_name_forges_no_log() {
    logs::keep();
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    client.initialize("2025-11-25");
    for method in [
        "forged\nmethod=tools/call outcome=ok request_id=forged-1",
        "forged tool=x outcome=ok\u{1b}[2J\u{2028}",
    ] {
        client.ask(&legacy(1, method, json!({})));
    }
    client.close();
    served.stop();
    let lines = || logs::lines_with("forged");
    until("both are told", || lines().len() >= 2);
    let lines = lines();
    assert_eq!(lines.len(), 2, "their reasons quote them");
    for line in lines {
        assert!(!line.text.contains(char::is_control), "{line:?}");
        assert!(!line.text.contains('\u{2028}'), "{line:?}");
        let fields = logs::fields_of(&line.text);
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        let (first, last) = (names[0], names[names.len() - 1]);
        assert_eq!(
            (first, last, names.len()),
            ("method", "reason", 12),
            "{line:?}"
        );
        let outcomes = names.iter().filter(|name| **name == "outcome");
        assert_eq!(outcomes.count(), 1, "{line:?}");
    }
}

/// What never gets as far as the endpoint: a bad head, one that does not come, one that a page has sent.
#[cfg(feature = "http")]
#[test]
fn what_the_front_itself_refuses_has_its_line_and_the_fields_of_a_page_too() {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    logs::keep();
    let limits = mcp_threads::Limits::default().head_timeout(std::time::Duration::from_secs(1));
    let served = server(&Gate::new()).limits(limits);
    let served = served
        .serve_http("127.0.0.1:0")
        .expect("loopback has ports");
    let address = served.addr().expect("it serves HTTP");
    let served = Served::new(served);
    let long = format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(17 * 1024)
    );
    let head = |fields: &str| format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
    let page = "Origin: http://localhost:5173\r\nX-Request-Id: from-a-page";
    let rows = [
        (
            head(&format!("Content-Length: 1\r\nContent-Length: 2\r\n{page}")),
            "400",
            true,
        ),
        (
            head(&format!("Expect: a miracle\r\n{page}-too")),
            "417",
            true,
        ),
        (long, "431", false),
        (
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\n".into(),
            "408",
            false,
        ),
    ];
    for (sent, status, is_page) in rows {
        let mut client = TcpStream::connect(address).expect("it listens");
        client.write_all(sent.as_bytes()).expect("a head is taken");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("it is answered");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert_eq!(
            answer.contains("Access-Control-Allow-Origin: http://localhost:5173\r\n"),
            is_page,
            "{answer}"
        );
        let id = answer
            .split_once("X-Request-Id: ")
            .and_then(|(_, rest)| rest.lines().next());
        let id = id.expect("it has an id");
        assert_eq!(id.starts_with("from-a-page"), is_page, "{answer}");
        assert_line(id, ["-", "-", status, "refused", "-"]);
    }
    served.stop();
}

/// A person who reads the log sees who was served and who was not, and why.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn a_line_says_who_asked_and_why_it_was_refused() {
    use crate::harness::{modern, on_every_front, with_meta};
    logs::keep();
    on_every_front(|front| {
        let (served, http) = front.serve(server(&Gate::new()));
        let session = http.initialize("2025-11-25");
        let named = |name: &str| {
            let info = json!({ "name": name, "version": "1" });
            let meta = json!({ "io.modelcontextprotocol/clientInfo": info });
            http.modern(&with_meta(call(1, "echo", json!({})), meta))
        };
        let forged = "Claude Desktop\n\u{202e}\" era=legacy request_id=x";
        let long = "x".repeat(100);
        let rows = [
            ("modern", named("it-client"), ["modern", "it-client"], ""),
            (
                "dishonest",
                named(forged),
                ["modern", "Claude_Desktop____era_legacy_request_id_x"],
                "",
            ),
            ("long", named(&long), ["modern", &long[..64]], ""),
            (
                "legacy",
                session.post(&legacy_call(1, "echo", json!({}))),
                ["legacy", "it"],
                "",
            ),
            ("listens", session.get(), ["legacy", "it"], ""),
            (
                "behind",
                session.resume("7-7"),
                ["legacy", "it"],
                "Last-Event-ID",
            ),
            (
                "handshake",
                http.post(initialize(1, "2025-06-18").to_string()),
                ["legacy", "it"],
                "",
            ),
            (
                "session",
                session
                    .post(&legacy(1, "ping", json!({})))
                    .field("Mcp-Session-Id", "x"),
                ["legacy", "-"],
                "No such session",
            ),
            (
                "tool",
                http.modern(&call(1, "nowhere", json!({}))),
                ["modern", "it"],
                "nowhere",
            ),
            (
                "cursor",
                http.modern(&modern(1, "tools/list", json!({ "cursor": "\"x" }))),
                ["modern", "it"],
                "cursor",
            ),
            (
                "mirror",
                http.modern(&call(1, "echo", json!({})))
                    .field("Mcp-Name", "other"),
                ["modern", "it"],
                "'other'",
            ),
            (
                "host",
                http.post("{}").field("Host", "evil.example"),
                ["-", "-"],
                "`evil.example`",
            ),
            (
                "origin",
                http.post("{}").field("Origin", "http://evil.example"),
                ["-", "-"],
                "`allowed_origins`",
            ),
            ("path", http.bare("GET", "/favicon.ico"), ["-", "-"], "/mcp"),
            (
                "ends",
                http.bare("DELETE", "/mcp")
                    .field("Mcp-Session-Id", &session.id),
                ["legacy", "it"],
                "",
            ),
        ];
        for (name, ask, [era, client], reason) in rows {
            let id = format!("{}-who-{name}", front.name);
            let reply = ask.field("X-Request-Id", &id).send();
            assert_eq!(reply.request_id(), id);
            let fields = logs::access_of(&id);
            let said = |wanted: &str| {
                let mut named = fields.iter().filter(|(name, _)| name == wanted);
                let value = named.next().map(|(_, value)| value.clone());
                assert_eq!(named.next(), None, "{fields:?}");
                value
            };
            let peer = said("peer").expect("every line has it");
            assert!(peer.starts_with("127.0.0.1:"), "{fields:?}");
            assert_eq!(said("era").as_deref(), Some(era), "{name}: {fields:?}");
            assert_eq!(
                said("client").as_deref(),
                Some(client),
                "{name}: {fields:?}"
            );
            match said("reason") {
                Some(said) => assert!(!reason.is_empty() && said.contains(reason), "{fields:?}"),
                None => assert_eq!(reason, "", "{fields:?}"),
            }
        }
        served.stop();
    });
}
