//! The mirrored header fields of revision 2026-07-28: the nearest mistake is named first, with its code and its status.

use mcp_threads::{RequestContext, ResourceTemplate, Server, Tool};
use serde_json::{Value, json};

use crate::harness::{Gate, call, code, modern, on_every_front, probes, text};
#[cfg(feature = "http")]
use crate::harness::{Http, Served};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

type Fields<'a> = &'a [(&'a str, Option<&'a str>)];

/// A `tools/call` of `echo` with this metadata, and fields changed or left out.
fn rows() -> Vec<(Value, Fields<'static>, u16, i64)> {
    let ok = json!({ VERSION: "2026-07-28", CAPABILITIES: {} });
    let unknown = json!({ VERSION: "v999.0.0", CAPABILITIES: {} });
    vec![
        // Metadata comes first.
        (Value::Null, &[], 400, -32602),
        (json!({}), &[], 400, -32602),
        (json!({ VERSION: "2026-07-28" }), &[], 400, -32602),
        (json!({ CAPABILITIES: {} }), &[], 400, -32602),
        (
            json!({ VERSION: "2026-07-28", CAPABILITIES: [] }),
            &[],
            400,
            -32602,
        ),
        (json!({ VERSION: 7, CAPABILITIES: {} }), &[], 400, -32602),
        (
            json!({ VERSION: "2026-07-28" }),
            &[("MCP-Protocol-Version", None)],
            400,
            -32602,
        ),
        // Then the header against it, even when its version is unknown.
        (ok.clone(), &[("MCP-Protocol-Version", None)], 400, -32020),
        (
            ok.clone(),
            &[("MCP-Protocol-Version", Some("2025-11-25"))],
            400,
            -32020,
        ),
        (unknown.clone(), &[], 400, -32020),
        // Then the version.
        (
            unknown.clone(),
            &[("MCP-Protocol-Version", Some("v999.0.0"))],
            400,
            -32022,
        ),
        (
            unknown,
            &[
                ("MCP-Protocol-Version", Some("v999.0.0")),
                ("Mcp-Method", None),
            ],
            400,
            -32022,
        ),
        // Then the method, which is compared with its case.
        (ok.clone(), &[("Mcp-Method", None)], 400, -32020),
        (
            ok.clone(),
            &[("Mcp-Method", Some("tools/list"))],
            400,
            -32020,
        ),
        (
            ok.clone(),
            &[("Mcp-Method", Some("TOOLS/CALL"))],
            400,
            -32020,
        ),
        // Then the name.
        (ok.clone(), &[("Mcp-Name", None)], 400, -32020),
        (ok.clone(), &[("Mcp-Name", Some("other"))], 400, -32020),
        (ok.clone(), &[("Mcp-Name", Some("Echo"))], 400, -32020),
        (
            ok.clone(),
            &[("Mcp-Name", Some("=?base64?ZWNobw?="))],
            400,
            -32020,
        ),
        (
            ok.clone(),
            &[("Mcp-Name", Some("=?base64?____?="))],
            400,
            -32020,
        ),
        // What fits.
        (ok.clone(), &[], 200, 0),
        (ok.clone(), &[("Mcp-Name", Some("  echo "))], 200, 0),
        (ok, &[("Mcp-Name", Some("=?base64?ZWNobw==?="))], 200, 0),
    ]
}

#[test]
fn mirrored_fields_must_match_and_the_nearest_mistake_is_named_first() {
    on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        for (meta, fields, status, expected) in rows() {
            let mut message = call("row", "echo", json!({ "text": "ok" }));
            message["params"]["_meta"] = meta;
            if message["params"]["_meta"].is_null() {
                message["params"]
                    .as_object_mut()
                    .expect("an object")
                    .remove("_meta");
            }
            let ask = fields
                .iter()
                .fold(http.modern(&message), |ask, (name, value)| match value {
                    Some(value) => ask.field(name, value),
                    None => ask.without(name),
                });
            let mut reply = ask.send();
            let answer = reply.json();
            let row = format!("{message} {fields:?} became {} {answer}", reply.status);
            assert_eq!(reply.status, status, "{row}");
            assert_eq!(answer["id"], "row", "{row}");
            if expected == 0 {
                assert_eq!(text(&answer), "ok", "{row}");
            } else {
                assert_eq!(code(&answer), expected, "{row}");
            }
            if expected == -32022 {
                let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]);
                assert_eq!(
                    answer["error"]["data"],
                    json!({ "supported": supported, "requested": "v999.0.0" })
                );
            }
        }
        served.stop();
    });
}

/// What the message needs of the head is looked at with its body there.
#[test]
fn law_14_what_the_head_lacks_is_refused_under_the_id_of_the_body() {
    on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        let ask = || http.modern(&call("mine", "echo", json!({ "text": "hi" })));
        let rows = [
            (ask().field("Accept", "application/json"), 406),
            (ask().field("Content-Type", "text/plain"), 415),
            (ask().without("Content-Type"), 415),
            (
                ask()
                    .field("Mcp-Session-Id", "a")
                    .and_field("Mcp-Session-Id", "b"),
                400,
            ),
        ];
        for (ask, status) in rows {
            let mut reply = ask.send();
            let answer = reply.json();
            assert_eq!((reply.status, code(&answer)), (status, -32600), "{answer}");
            assert_eq!(answer["id"], "mine", "{answer}");
        }
        // Of what is compressed nothing can be read.
        let mut reply = ask().field("Content-Encoding", "gzip").send();
        assert_eq!((reply.status, reply.json().get("id")), (415, None));
        let mut reply = http.post("no JSON").field("Accept", "text/plain").send();
        assert_eq!((reply.status, reply.json().get("id")), (406, None));
        served.stop();
    });
}

/// tiny_http hangs up. NUL, and what ends a line, no front reads on behind.
#[cfg(feature = "http")]
#[test]
fn a_mirrored_field_with_control_characters_is_a_mismatch() {
    let running = probes(&Gate::new())
        .serve_http("127.0.0.1:0")
        .expect("it starts");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    let served = Served::new(running);
    for (name, bad, others) in [
        ("Mcp-Name", "ec\u{1}ho", 0),
        ("Mcp-Name", "echo\u{7f}", 20),
        ("mcp-method", "tools/\u{1b}call", 0),
        ("MCP-Protocol-Version", "2026-07-28\u{2}", 20),
    ] {
        let message = call("mine", "echo", json!({ "text": "hi" }));
        let mut ask = http.modern(&message).field(name, bad);
        for other in 0..others {
            ask = ask.field(&format!("X-{other}"), "x");
        }
        let mut reply = ask.send();
        let answer = reply.json();
        assert_eq!(
            (reply.status, code(&answer)),
            (400, -32020),
            "{bad:?}: {answer}"
        );
        assert_eq!(answer["id"], "mine", "{answer}");
    }
    for (name, bad) in [("Mcp-Name", "ec\0ho"), ("X-Other", "\u{1}")] {
        let message = call("mine", "echo", json!({ "text": "hi" }));
        let mut reply = http.modern(&message).field(name, bad).send();
        assert_eq!(
            (reply.status, reply.json().get("id")),
            (400, None),
            "{bad:?}"
        );
    }
    served.stop();
}

/// tiny_http hangs up here, too.
#[cfg(feature = "http")]
#[test]
fn a_mirrored_field_that_is_not_utf_8_is_a_mismatch_and_any_other_is_opaque() {
    let echo = |cx: &mut RequestContext, args: Value| {
        let user = cx.header("X-User").unwrap_or_default();
        format!("{} {user}", args["text"].as_str().unwrap_or_default())
    };
    let schema = json!({ "type": "object", "properties": { "text": { "type": "string", "x-mcp-header": "Text" } } });
    let echo = Tool::new("echo").input_schema(schema).handler(echo);
    let server = Server::new("it", "1").request_header("X-User");
    let running = server.register(echo).serve_http("127.0.0.1:0");
    let running = running.expect("it starts");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    let served = Served::new(running);
    let message = call("mine", "echo", json!({ "text": "hi" }));
    let ask = || http.modern(&message).field("Mcp-Param-Text", "hi");
    let rows: [(&str, &[u8]); 8] = [
        ("Mcp-Name", b"ech\xe9"),
        ("Mcp-Name", b"echo\xa0"),
        ("Mcp-Name", b"echo\x85"),
        ("Mcp-Name", b"\xffecho\x01"),
        ("mcp-method", b"tools/c\xe4ll"),
        ("MCP-Protocol-Version", b"2026-07-28\xc3"),
        ("Mcp-Param-Text", b"h\xef"),
        ("Mcp-Param-Text", b"=?base64?aGk=?=\x80"),
    ];
    for (name, bad) in rows {
        for others in [0, 20] {
            let others = (0..others).map(|other| format!("X-{other}"));
            let ask = others.fold(ask().field(name, bad), |ask, other| ask.field(&other, "x"));
            let mut reply = ask.send();
            let (status, answer) = (reply.status, reply.json());
            let seen = (status, code(&answer), &answer["id"]);
            assert_eq!(seen, (400, -32020, &json!("mine")), "{name}: {answer}");
        }
    }
    let rows: [(&str, &[u8], &str); 5] = [
        ("X-User", b"Ren\xe9", "hi Ren\u{e9}"),
        (
            "X-User",
            "Ren\u{e9} \u{20ac}".as_bytes(),
            "hi Ren\u{e9} \u{20ac}",
        ),
        ("X-User", b"\xe2\x82\xac\xe2\x82", "hi \u{20ac}\u{e2}\u{82}"),
        ("X-Other", b"\xff\xfe", "hi "),
        (
            "Accept",
            b"application/json, text/event-stream;a=\"\xe9\"",
            "hi ",
        ),
    ];
    for (name, odd, expected) in rows {
        let answer = ask().field(name, odd).send().message();
        assert_eq!(text(&answer), expected, "{name}: {answer}");
    }
    for (name, bad) in [("Host", b"localhost\xe9"), ("X-\u{e9}", b"localhostX")] {
        assert_eq!(ask().field(name, bad).send().status, 400, "{name}");
    }
    served.stop();
}

#[test]
fn modern_errors_have_their_status() {
    on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        let rows = [
            (modern(1, "no/such", json!({})), 404, -32601),
            (
                modern(1, "initialize", json!({ "protocolVersion": "2025-11-25" })),
                404,
                -32601,
            ),
            (modern(1, "ping", json!({})), 404, -32601),
            (
                modern(1, "logging/setLevel", json!({ "level": "info" })),
                404,
                -32601,
            ),
            (
                modern(1, "resources/subscribe", json!({ "uri": "a:b" })),
                404,
                -32601,
            ),
            (call(1, "unknown", json!({})), 200, -32602),
            (
                modern(1, "tools/list", json!({ "cursor": "x" })),
                200,
                -32602,
            ),
            (call(1, "panic", json!({})), 200, -32603),
            (
                modern(1, "tools/call", json!({ "name": "echo", "arguments": [] })),
                200,
                -32602,
            ),
            // A parameter of the wrong type is the method's matter, metadata are the envelope's.
            (modern(1, "tools/list", json!({ "cursor": 7 })), 200, -32602),
            (
                crate::harness::with_meta(
                    modern(1, "tools/list", json!({})),
                    json!({ "progressToken": [] }),
                ),
                400,
                -32602,
            ),
            (modern(1, "completion/complete", json!({})), 404, -32601),
        ];
        for (message, status, expected) in rows {
            let mut reply = http.modern(&message).send();
            assert_eq!(
                reply.field("Mcp-Session-Id"),
                None,
                "nothing modern opens a session"
            );
            let answer = reply.json();
            assert_eq!(
                (reply.status, code(&answer), &answer["id"]),
                (status, expected, &json!(1)),
                "{message}"
            );
        }
        assert_eq!(served.stats().sessions, 0);
        // A field that may stand only once.
        for name in ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"] {
            let ask = http
                .modern(&call(1, "echo", json!({})))
                .and_field(name, "twice");
            let mut reply = ask.send();
            assert_eq!(reply.status, 400, "{name} stands twice");
            let answer = reply.json();
            assert_eq!(
                (code(&answer), &answer["id"]),
                (-32020, &json!(1)),
                "{name}"
            );
        }
        // Names of fields have no case.
        let lower = http.modern(&call(1, "echo", json!({ "text": "a" })));
        let lower = lower
            .without("Mcp-Method")
            .field("mcp-method", "tools/call")
            .without("Mcp-Name")
            .field("MCP-NAME", "echo");
        assert_eq!(text(&lower.send().message()), "a");
        served.stop();
    });
}

/// What a header field cannot have as it is must come in Base64, even if both halves of the request say the same.
#[test]
fn a_name_beyond_ascii_is_mirrored_in_base64() {
    on_every_front(|front| {
        let template = ResourceTemplate::new("it://{name}", "names").handler(|_: Value| "found");
        let (served, http) = front.serve(Server::new("it", "1").register(template));
        let ask = http.modern(&modern(1, "resources/read", json!({ "uri": "it://café" })));
        let encoded = ask.clone().field("Mcp-Name", "=?base64?aXQ6Ly9jYWbDqQ==?=");
        assert_eq!(encoded.send().status, 200);
        // tiny_http itself hangs up on such a head.
        if !front.is_tiny() {
            let mut plain = ask.send();
            let answer = plain.json();
            assert_eq!(
                (plain.status, code(&answer), &answer["id"]),
                (400, -32020, &json!(1))
            );
        }
        served.stop();
    });
}

/// A server that is asked in the legacy era answers a method's errors on 200, because those clients lose the error otherwise.
#[test]
fn legacy_errors_ride_on_200() {
    on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        let session = http.initialize("2025-11-25");
        let legacy = crate::harness::legacy;
        let rows = [
            (legacy(1, "no/such", json!({})), -32601),
            (
                legacy(1, "tools/call", json!({ "name": "unknown" })),
                -32602,
            ),
            (legacy(1, "tools/list", json!({ "cursor": "x" })), -32602),
            (legacy(1, "logging/setLevel", json!({})), -32602),
            (legacy(1, "tools/call", json!({ "name": "panic" })), -32603),
        ];
        for (message, expected) in rows {
            let mut reply = session.post(&message).send();
            assert_eq!(reply.status, 200, "{message}");
            assert_eq!(code(&reply.json()), expected, "{message}");
        }
        served.stop();
    });
}
