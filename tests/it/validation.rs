//! The feature `validate`: arguments are held to a hand-written schema before the handler runs, results to their tool's schema in debug builds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{AskError, CallToolResult, Json, RequestContext, Server, Tool};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asking::accept;
use crate::harness::talk::on_every_talk;
use crate::harness::{logs, on_every_wire, text, until};

const DRAFT_07: &str = "http://json-schema.org/draft-07/schema#";

fn order_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "count": { "type": "integer", "minimum": 1, "x-unit": "pieces" },
            "lines": { "type": "array", "items": { "$ref": "#/$defs/line" } }
        },
        "required": ["count"],
        "additionalProperties": false,
        "x-anything": { "goes": true },
        "$defs": { "line": { "enum": ["red", "blue"] } }
    })
}

fn order(calls: &Arc<AtomicUsize>) -> Server {
    let calls = Arc::clone(calls);
    let tool = Tool::new("order")
        .input_schema(order_schema())
        .handler(move |_: Value| {
            calls.fetch_add(1, Ordering::Relaxed);
            "ordered"
        });
    Server::new("it", "1").register(tool)
}

#[test]
fn a_form_that_was_written_by_hand_is_held_to_its_schema() {
    let make = || {
        let ask = |cx: &mut RequestContext, _: Value| {
            let schema = json!({
                "type": "object",
                "properties": { "colour": { "type": "string", "enum": ["red", "blue"] } },
                "required": ["colour"]
            });
            let asked = cx.elicit_with::<Value>("colour", "Which?", schema)?;
            Ok::<_, AskError>(format!("{:?}", asked.accepted()))
        };
        Server::new("it", "1").tool("ask", "Asks.", ask)
    };
    on_every_talk(make, &json!({ "elicitation": {} }), |talk| {
        for (content, why) in [
            (json!({ "colour": "green" }), "not one of"),
            (json!({}), "required"),
            (json!({ "colour": 7 }), "colour"),
        ] {
            let got = talk.call("ask", json!({}), |_, _| accept(content.clone()));
            assert_eq!(got["result"]["isError"], true, "{content}: {got}");
            assert!(text(&got).contains(why), "{content}: {got}");
        }
        let got = talk.call("ask", json!({}), |_, _| accept(json!({ "colour": "red" })));
        assert!(text(&got).contains("red"), "{got}");
    });
}

#[test]
fn a_form_to_which_no_answer_could_be_held_is_not_asked() {
    let make = || {
        let ask = |cx: &mut RequestContext, _: Value| {
            let asked = cx.elicit_with::<Value>("odd", "Which?", json!({ "type": "nonsense" }))?;
            Ok::<_, AskError>(format!("{:?}", asked.accepted()))
        };
        Server::new("it", "1").tool("ask", "Asks.", ask)
    };
    on_every_talk(make, &json!({ "elicitation": {} }), |talk| {
        let got = talk.call("ask", json!({}), |_, _| panic!("nobody is asked"));
        assert!(text(&got).contains("invalid schema"), "{got}");
    });
}

#[test]
fn arguments_that_do_not_match_never_reach_the_handler() {
    let calls = Arc::new(AtomicUsize::new(0));
    on_every_wire(
        || order(&calls),
        |wire| {
            calls.store(0, Ordering::Relaxed);
            let rows = [
                (json!({}), "at the root: \"count\" is a required property"),
                (
                    json!({ "count": "seven" }),
                    "at `/count`: the value is not of type \"integer\"",
                ),
                (json!({ "count": 0 }), "at `/count`: the value is less than"),
                (
                    json!({ "count": 1, "lines": ["red", "green"] }),
                    "at `/lines/1`: the value is not one of",
                ),
                (
                    json!({ "count": 1, "extra": 1 }),
                    "at the root: Additional properties",
                ),
            ];
            for (arguments, part) in rows {
                let answer = wire.call("order", arguments.clone());
                let said = text(&answer);
                assert_eq!(answer["result"]["isError"], true, "{arguments}: {answer}");
                assert!(
                    said.starts_with("Invalid arguments: ") && said.contains(part),
                    "{arguments}: {said}"
                );
            }
            let bare = wire.ask("tools/call", json!({ "name": "order" }));
            assert!(text(&bare).contains("required"), "no arguments are `{{}}`");
            assert_eq!(calls.load(Ordering::Relaxed), 0, "the handler has not run");
            let answer = wire.call("order", json!({ "count": 1, "lines": ["blue"] }));
            assert_eq!(text(&answer), "ordered");
            assert_eq!(calls.load(Ordering::Relaxed), 1);
        },
    );
}

#[test]
fn the_schema_reaches_clients_as_it_was_written() {
    on_every_wire(
        || order(&Arc::default()),
        |wire| {
            let listed = wire.ask("tools/list", json!({}));
            assert_eq!(listed["result"]["tools"][0]["inputSchema"], order_schema());
        },
    );
}

#[test]
fn a_schema_is_read_in_the_dialect_it_names() {
    let with = |dialect: Option<&str>| {
        let mut schema = json!({
            "type": "object",
            "properties": { "pair": { "prefixItems": [{ "type": "integer" }] } }
        });
        if let Some(dialect) = dialect {
            schema["$schema"] = json!(dialect);
        }
        Server::new("it", "1").register(
            Tool::new("pair")
                .input_schema(schema)
                .handler(|_: Value| "ok"),
        )
    };
    // `prefixItems` came with 2020-12; before it is a word like any other.
    for (dialect, checked) in [(None, true), (Some(DRAFT_07), false)] {
        on_every_wire(
            || with(dialect),
            |wire| {
                let answer = wire.call("pair", json!({ "pair": ["x"] }));
                assert_eq!(answer["result"]["isError"] == true, checked, "{answer}");
            },
        );
    }
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Small {
    /// Its schema says at most 3; its type does not.
    #[schemars(range(max = 3))]
    size: u32,
}

/// What a type says by its own nature, and nothing more.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Plain {
    #[serde(alias = "old")]
    size: u8,
}

/// Each kind of bound, and one in a place that is not at hand.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only what it takes matters")]
#[schemars(crate = "mcp_threads::schemars")]
struct Bounded {
    #[schemars(length(min = 2, max = 3))]
    name: Option<String>,
    #[schemars(pattern(r"^[a-z]+$"))]
    word: Option<String>,
    #[schemars(length(equal = 2))]
    pair: Option<Vec<i64>>,
    #[schemars(range(min = 0.5, max = 1.5))]
    factor: Option<f64>,
    small: Option<Vec<Small>>,
    either: Option<Either>,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only what it takes matters")]
#[schemars(crate = "mcp_threads::schemars")]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Either {
    Small(Small),
    Other,
}

#[test]
fn what_a_schema_made_from_a_type_promises_is_held() {
    let handler = |args: Small| args.size;
    let written =
        json!({ "type": "object", "properties": { "size": { "type": "integer", "maximum": 3 } } });
    let make = || {
        let typed = Tool::new("typed").handler(handler);
        let as_is = Tool::new("as-is").schema_as_is().handler(handler);
        let both = Tool::new("both").handler(handler);
        Server::new("it", "1")
            .register(typed)
            .register(as_is)
            .register(both.input_schema(written.clone()))
            .tool("bounded", "", |_: Bounded| "ok")
            .tool("plain", "", |plain: Plain| plain.size)
    };
    on_every_wire(make, |wire| {
        for tool in ["typed", "as-is", "both"] {
            let refused = wire.call(tool, json!({ "size": 7 }));
            assert!(
                text(&refused).contains("at `/size`: the value is greater than the maximum of 3"),
                "{refused}"
            );
            assert_eq!(text(&wire.call(tool, json!({ "size": 3 }))), "3");
            assert_eq!(text(&wire.call(tool, json!({ "size": "3" }))), "3");
            assert_eq!(text(&wire.call(tool, json!({ "size": 3.0 }))), "3");
            let refused = wire.call(tool, json!({ "size": "7" }));
            assert!(text(&refused).contains("the maximum of 3"), "{refused}");
        }
        for (fits, arguments) in [
            (true, json!({})),
            (true, json!({ "name": null, "small": null, "either": null })),
            (
                true,
                json!({ "name": "ab", "word": "abc", "pair": [1, 2], "factor": 1.5 }),
            ),
            (
                true,
                json!({ "small": [{ "size": 3 }], "either": { "kind": "small", "size": 3 } }),
            ),
            (false, json!({ "name": "a" })),
            (false, json!({ "name": "abcd" })),
            (false, json!({ "word": "ABC" })),
            (false, json!({ "pair": [1] })),
            (false, json!({ "factor": 2 })),
            (false, json!({ "small": [{ "size": 3 }, { "size": 4 }] })),
            (false, json!({ "either": { "kind": "small", "size": 4 } })),
        ] {
            let answer = wire.call("bounded", arguments.clone());
            assert_eq!(
                answer["result"]["isError"] != true,
                fits,
                "{arguments}: {answer}"
            );
        }
        // Where the type says everything, reading it is the check.
        assert_eq!(text(&wire.call("plain", json!({ "old": 255 }))), "255");
    });
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Reading {
    #[schemars(range(max = 100))]
    percent: u32,
}

fn liar() -> Server {
    let schema = json!({ "type": "object", "required": ["x"] });
    Server::new("it", "1")
        .register(Tool::new("typed").handler(|args: Value| {
            Json(Reading {
                percent: args["percent"].as_u64().unwrap_or_default() as u32,
            })
        }))
        .register(
            Tool::new("written")
                .output_schema(schema)
                .handler(|args: Value| match args["how"].as_str() {
                    Some("fail") => CallToolResult::error("it failed"),
                    Some("text") => CallToolResult::text("only text"),
                    _ => CallToolResult::structured(args),
                }),
        )
}

#[cfg(debug_assertions)]
#[test]
fn a_result_that_breaks_its_tool_s_schema_is_found_in_debug_builds() {
    logs::keep();
    on_every_wire(liar, |wire| {
        for (tool, arguments, part) in [
            ("typed", json!({ "percent": 101 }), "at `/percent`: "),
            ("written", json!({ "y": 1 }), "\"x\" is a required property"),
            ("written", json!({ "how": "text" }), "no structured content"),
        ] {
            let answer = wire.call(tool, arguments.clone());
            let said = text(&answer);
            assert_eq!(answer["result"]["isError"], true, "{arguments}: {answer}");
            assert!(answer["result"].get("structuredContent").is_none());
            assert!(
                said.starts_with("The tool's result does not match its output schema: ")
                    && said.contains(part),
                "{arguments}: {said}"
            );
            until(&format!("{part} is logged"), || {
                let logged =
                    logs::lines_with(&format!("tool `{tool}` breaks its own output schema"));
                logged.iter().any(|line| line.text.contains(part))
            });
        }
        let fine = wire.call("typed", json!({ "percent": 100 }));
        assert_eq!(
            fine["result"]["structuredContent"],
            json!({ "percent": 100 })
        );
        let fine = wire.call("written", json!({ "x": 1 }));
        assert_eq!(fine["result"]["structuredContent"]["x"], 1, "{fine}");
        assert_eq!(
            text(&wire.call("written", json!({ "how": "fail" }))),
            "it failed"
        );
    });
}

#[cfg(not(debug_assertions))]
#[test]
fn a_result_is_not_checked_in_release_builds() {
    on_every_wire(liar, |wire| {
        let answer = wire.call("typed", json!({ "percent": 101 }));
        assert_eq!(
            answer["result"]["structuredContent"],
            json!({ "percent": 101 })
        );
    });
}

#[test]
fn a_schema_that_does_not_compile_is_refused_at_the_start() {
    let remote = |url: &str| json!({ "type": "object", "properties": { "a": { "$ref": url } } });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    listener
        .set_nonblocking(true)
        .expect("a listener can be asked without waiting");
    let address = listener.local_addr().expect("it is bound");
    let rows = [
        remote(&format!("http://{address}/schema")),
        remote(&format!("https://{address}/schema")),
        remote("#/$defs/nowhere"),
        json!({ "type": "object", "properties": { "a": { "type": "no such" } } }),
        json!({ "type": "object", "properties": { "a": { "pattern": "(" } } }),
    ];
    for schema in rows {
        let tool = || Tool::new("odd").handler(|_: Value| "ok");
        for (what, tool) in [
            ("input", tool().input_schema(schema.clone())),
            ("output", tool().output_schema(schema.clone())),
        ] {
            let server = Server::new("it", "1").register(tool);
            let Err(error) = server.serve_pipe(std::io::empty(), std::io::sink()) else {
                panic!("this must not start: {what} {schema}");
            };
            assert!(error.is_configuration(), "{error}");
            let said = error.to_string();
            let expected = format!("tool `odd`: its {what} schema: invalid schema");
            assert!(said.contains(&expected), "{said}");
        }
    }
    let nobody = listener.accept().expect_err("nothing was fetched");
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}
