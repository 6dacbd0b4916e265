//! What a handler returns and what a client of each era reads: content, structured content, failures, and what they look like in the list.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{
    Annotations, CallToolResult, ContentBlock, ErrorObject, Icon, Json, LoggingLevel,
    RequestContext, ResourceContents, ResourceLink, Role, Server, Tool, ToolError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::harness::{code, on_every_wire, text};

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Point {
    x: i64,
    label: Option<String>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

fn blocks() -> Vec<ContentBlock> {
    let annotations = Annotations::default()
        .with_audience([Role::User, Role::Assistant])
        .with_priority(1.0)
        .with_last_modified("2026-01-01T00:00:00Z");
    let link = ResourceLink::new("file:///a", "a")
        .with_mime_type("text/plain")
        .with_size(3);
    vec![
        ContentBlock::text("one\ntwo \u{2028} \u{1F980} \"\\"),
        ContentBlock::image(*b"\x00\xff\x10", "image/png"),
        ContentBlock::audio(*b"abc", "audio/wav"),
        ContentBlock::resource_link(link),
        ContentBlock::resource(
            ResourceContents::text("test://t", "x").with_mime_type("text/plain"),
        ),
        ContentBlock::resource(ResourceContents::blob("test://b", *b"abc")),
        ContentBlock::text("noted")
            .with_annotations(annotations)
            .with_meta(object(json!({ "k": [1] }))),
    ]
}

#[test]
fn every_kind_of_content_reaches_every_client() {
    let expected = json!([
        { "type": "text", "text": "one\ntwo \u{2028} \u{1F980} \"\\" },
        { "type": "image", "data": "AP8Q", "mimeType": "image/png" },
        { "type": "audio", "data": "YWJj", "mimeType": "audio/wav" },
        { "type": "resource_link", "uri": "file:///a", "name": "a", "mimeType": "text/plain", "size": 3 },
        { "type": "resource", "resource": { "uri": "test://t", "mimeType": "text/plain", "text": "x" } },
        { "type": "resource", "resource": { "uri": "test://b", "blob": "YWJj" } },
        {
            "type": "text", "text": "noted", "_meta": { "k": [1] },
            "annotations": { "audience": ["user", "assistant"], "priority": 1.0, "lastModified": "2026-01-01T00:00:00Z" },
        },
    ]);
    on_every_wire(
        || {
            Server::new("it", "1")
                .tool("all", "", |_: Value| blocks())
                .tool("one", "", |_: Value| ContentBlock::text("one"))
                .tool("none", "", |_: Value| ())
                .tool("number", "", |_: Value| 3.5)
        },
        |wire| {
            assert_eq!(
                wire.call("all", json!({}))["result"]["content"],
                expected,
                "{}",
                wire.name
            );
            assert_eq!(
                wire.call("one", json!({}))["result"]["content"],
                json!([{ "type": "text", "text": "one" }])
            );
            assert_eq!(wire.call("none", json!({}))["result"]["content"], json!([]));
            assert_eq!(text(&wire.call("number", json!({}))), "3.5");
            let plain = wire.call("one", json!({}));
            for absent in ["isError", "structuredContent"] {
                assert_eq!(plain["result"].get(absent), None, "{}", wire.name);
            }
        },
    );
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
#[serde(untagged)]
enum Found {
    Point(Point),
    Count(u32),
}

#[derive(Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Tree {
    branches: Vec<Tree>,
}

/// A client of either era holds a result to the schema that it was shown, and one of the handshake era knows objects alone.
#[test]
fn a_result_has_the_structured_content_that_its_tool_promises_in_each_era() {
    on_every_wire(
        || {
            let point = || Point { x: 7, label: None };
            Server::new("it", "1")
                .tool("point", "", move || Json(point()))
                .tool("fallible", "", move || Ok::<_, String>(Json(point())))
                .tool("some", "", move || Json(Some(point())))
                .tool("none", "", || Json(None::<Point>))
                .tool("found", "", move || Json(Found::Point(point())))
                .tool("counted", "", || Json(Found::Count(3)))
                .tool("list", "", || Json(vec![1, 2]))
                .tool("number", "", || Json(3_u32))
                .tool("unit", "", || Json(()))
                .tool("map", "", || {
                    Json(std::collections::BTreeMap::from([("a", 1)]))
                })
                .tool("tree", "", || {
                    Json(Tree {
                        branches: Vec::new(),
                    })
                })
        },
        |wire| {
            let listed = wire.ask("tools/list", json!({}));
            let tools = listed["result"]["tools"].as_array().expect("a list");
            for tool in tools {
                let name = tool["name"].as_str().expect("a name");
                let answer = wire.call(name, json!({}));
                let content = answer["result"].get("structuredContent");
                let promised = tool.get("outputSchema");
                let story = format!("{} `{name}`: {promised:?}, {answer}", wire.name);
                if wire.is_modern {
                    assert!(promised.is_some() && content.is_some(), "{story}");
                } else {
                    let is_object = promised.is_some_and(|schema| schema["type"] == "object");
                    assert_eq!(is_object, promised.is_some(), "{story}");
                    assert!(
                        !is_object || content.is_some_and(Value::is_object),
                        "{story}"
                    );
                    assert!(content.is_none_or(Value::is_object), "{story}");
                }
                let always = ["point", "fallible", "map"].contains(&name);
                assert!(!always || promised.is_some(), "{story}");
            }
        },
    );
}

#[test]
fn structured_content_is_any_value_in_the_modern_era_and_an_object_before() {
    on_every_wire(
        || {
            Server::new("it", "1")
                .tool("object", "", |_: Value| Json(Point { x: 7, label: None }))
                .tool("list", "", |_: Value| Json(vec![1, 2]))
                .register(
                    Tool::new("null").handler(|_: Value| CallToolResult::structured(Value::Null)),
                )
        },
        |wire| {
            let answer = wire.call("object", json!({}));
            assert_eq!(
                answer["result"]["structuredContent"],
                json!({ "x": 7, "label": null })
            );
            let mirrored: Value =
                serde_json::from_str(text(&answer)).expect("mirrored as JSON text");
            assert_eq!(mirrored, json!({ "x": 7, "label": null }));
            for (tool, value) in [("list", json!([1, 2])), ("null", Value::Null)] {
                let answer = wire.call(tool, json!({}));
                let expected = wire.is_modern.then_some(value.clone());
                assert_eq!(
                    answer["result"].get("structuredContent"),
                    expected.as_ref(),
                    "{}",
                    wire.name
                );
                assert_eq!(text(&answer), value.to_string(), "everybody reads the text");
            }
            let listed = wire.ask("tools/list", json!({}));
            let tools = listed["result"]["tools"]
                .as_array()
                .expect("a list")
                .clone();
            assert_eq!(
                tools[0]["outputSchema"]["properties"]["x"]["type"],
                "integer"
            );
            assert_eq!(
                tools[1].get("outputSchema").is_some(),
                wire.is_modern,
                "{}",
                wire.name
            );
        },
    );
}

#[test]
fn a_failure_is_for_the_model_or_for_the_program() {
    on_every_wire(
        || {
            Server::new("it", "1")
                .tool("prose", "", |_: Value| {
                    Err::<(), _>(ToolError::new("try another file"))
                })
                .tool("io", "", |_: Value| -> Result<String, ToolError> {
                    Ok(std::fs::read_to_string("/does/not/exist")?)
                })
                .tool("string", "", |_: Value| Err::<&str, _>("why".to_owned()))
                .tool("own", "", |_: Value| {
                    CallToolResult::error("said by itself")
                })
                .tool("protocol", "", |_: Value| {
                    let error =
                        ErrorObject::new(-31_999, "for the program").with_data(json!({ "k": 1 }));
                    Err::<(), _>(ToolError::protocol(error))
                })
        },
        |wire| {
            for (tool, words) in [
                ("prose", "try another file"),
                ("io", "No such file"),
                ("string", "why"),
                ("own", "said by itself"),
            ] {
                let answer = wire.call(tool, json!({}));
                assert_eq!(answer["result"]["isError"], true, "{}: {answer}", wire.name);
                assert!(text(&answer).contains(words), "{}: {answer}", wire.name);
            }
            let answer = wire.call("protocol", json!({}));
            let expected =
                json!({ "code": -31_999, "message": "for the program", "data": { "k": 1 } });
            assert_eq!(
                (answer.get("result"), &answer["error"]),
                (None, &expected),
                "{}",
                wire.name
            );
        },
    );
}

#[test]
fn arguments_that_do_not_fit_are_named_to_the_model() {
    #[derive(Deserialize, JsonSchema)]
    #[schemars(crate = "mcp_threads::schemars")]
    struct Move {
        /// How far.
        steps: u8,
        #[serde(default)]
        backwards: bool,
    }
    on_every_wire(
        || {
            Server::new("it", "1").tool("move", "", |args: Move| {
                if args.backwards {
                    -i64::from(args.steps)
                } else {
                    i64::from(args.steps)
                }
            })
        },
        |wire| {
            assert_eq!(
                text(&wire.call("move", json!({ "steps": 3, "backwards": true }))),
                "-3"
            );
            assert_eq!(
                text(&wire.call("move", json!({ "steps": 3, "more": 1 }))),
                "3"
            );
            for (args, word) in [
                (json!({}), "`steps`"),
                (
                    json!({ "steps": "three" }),
                    "at `/steps`: invalid type: string \"three\"",
                ),
                (json!({ "steps": 300 }), "300"),
                (json!({ "steps": -1 }), "-1"),
                (json!({ "steps": 1, "backwards": 7 }), "boolean"),
            ] {
                let answer = wire.call("move", args);
                assert_eq!(answer["result"]["isError"], true, "{}: {answer}", wire.name);
                let said = text(&answer);
                assert!(
                    said.starts_with("Invalid arguments") && said.contains(word),
                    "{said} names {word}"
                );
            }
            let absent = wire.ask("tools/call", json!({ "name": "move" }));
            assert!(
                text(&absent).contains("`steps`"),
                "no arguments are no fields: {absent}"
            );
            let listed = wire.ask("tools/list", json!({}));
            let schema = &listed["result"]["tools"][0]["inputSchema"];
            assert_eq!(
                (&schema["type"], &schema["required"]),
                (&json!("object"), &json!(["steps"]))
            );
            assert_eq!(schema["properties"]["steps"]["description"], "How far.");
            assert_eq!(schema.get("$schema"), None);
        },
    );
}

#[test]
fn a_definition_reaches_the_list_as_it_was_written_and_in_its_place() {
    let schema = json!({
        "type": "object",
        "$defs": { "a": { "$anchor": "x", "type": "string" } },
        "properties": { "a": { "$ref": "#/$defs/a" } },
        "allOf": [{ "anyOf": [{ "required": ["a"] }] }],
        "x-mine": [1, { "deep": true }],
        "additionalProperties": false,
    });
    let make = || {
        let mut icon = Icon::new("data:image/png;base64,AA==");
        icon.sizes = vec!["48x48".into()];
        Server::new("it", "1")
            .tool("zebra", "Comes first.", || "z")
            .register(
                Tool::new("full.name-1_B")
                    .title("Full")
                    .description("Has everything.")
                    .icon(icon)
                    .input_schema(schema.clone())
                    .output_schema(json!({ "type": "object", "required": ["x"] }))
                    .read_only(true)
                    .destructive(false)
                    .idempotent(true)
                    .open_world(false)
                    .meta(object(json!({ "example.com/k": 1 })))
                    .handler(|_: Value| {
                        let mut result = CallToolResult::structured(json!({ "x": 1 }));
                        result.meta = Some(object(json!({ "own": 2 })));
                        result
                    }),
            )
            .tool("aardvark", "Comes last.", |_: Value| "a")
    };
    on_every_wire(make, |wire| {
        let listed = wire.ask("tools/list", json!({}));
        let expected = json!({
            "name": "full.name-1_B",
            "title": "Full",
            "description": "Has everything.",
            "icons": [{ "src": "data:image/png;base64,AA==", "sizes": ["48x48"] }],
            "inputSchema": schema,
            "outputSchema": { "type": "object", "required": ["x"] },
            "annotations": { "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false },
            "_meta": { "example.com/k": 1 },
        });
        let tools = listed["result"]["tools"].as_array().expect("a list");
        let names: Vec<_> = tools.iter().map(|tool| &tool["name"]).collect();
        assert_eq!(names, ["zebra", "full.name-1_B", "aardvark"]);
        assert_eq!(tools[1], expected, "{}", wire.name);
        assert_eq!(
            tools[0]["inputSchema"],
            json!({ "type": "object", "properties": {}, "additionalProperties": false })
        );
        let again = wire.ask("tools/list", json!({}));
        assert_eq!(again["result"], listed["result"], "every time the same");
        let mut meta = json!({ "own": 2 });
        if wire.is_modern {
            meta["io.modelcontextprotocol/serverInfo"] = json!({ "name": "it", "version": "1" });
        }
        assert_eq!(
            wire.call("full.name-1_B", json!({ "a": "x" }))["result"]["_meta"],
            meta,
            "{}",
            wire.name
        );
    });
}

#[test]
fn a_handler_knows_the_trace_it_is_part_of() {
    let make = || {
        Server::new("it", "1").tool("trace", "", |cx: &mut RequestContext, _: Value| {
            let trace = cx.trace();
            json!([trace.traceparent, trace.tracestate, trace.baggage])
        })
    };
    on_every_wire(make, |wire| {
        let mut traced = |meta: Value| {
            let params = json!({ "name": "trace", "arguments": {}, "_meta": meta });
            let answer = wire.ask("tools/call", params);
            serde_json::from_str::<Value>(text(&answer)).expect("the tool says JSON")
        };
        let parent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let whole = json!({ "traceparent": parent, "tracestate": "a=1,b=2", "baggage": "k=v" });
        assert_eq!(traced(whole), json!([parent, "a=1,b=2", "k=v"]));
        assert_eq!(traced(json!({})), json!([null, null, null]));
        // What is not a string, or too long, is ignored and no reason to refuse.
        let odd = json!({ "traceparent": 7, "tracestate": ["a"], "baggage": "k=v" });
        assert_eq!(traced(odd), json!([null, null, "k=v"]));
        let long = json!({ "traceparent": parent, "baggage": "x".repeat(8 * 1024) });
        assert_eq!(traced(long), json!([null, null, null]));
    });
}

#[test]
fn logs_reach_whoever_asked_from_their_level_on() {
    use LoggingLevel::{Alert, Critical, Debug, Emergency, Error, Info, Notice, Warning};
    let make = || {
        Server::new("it", "1").tool("shout", "", |cx: &mut RequestContext, _: Value| {
            for level in [
                Debug, Info, Notice, Warning, Error, Critical, Alert, Emergency,
            ] {
                cx.log(level, json!({ "at": level }));
            }
            "shouted"
        })
    };
    const NAMES: [&str; 8] = [
        "debug",
        "info",
        "notice",
        "warning",
        "error",
        "critical",
        "alert",
        "emergency",
    ];
    let shout = |meta: Value| json!({ "name": "shout", "arguments": {}, "_meta": meta });
    on_every_wire(make, |wire| {
        for (number, name) in NAMES.iter().enumerate() {
            let meta = if wire.is_modern {
                json!({ "io.modelcontextprotocol/logLevel": name })
            } else {
                assert_eq!(
                    wire.ask("logging/setLevel", json!({ "level": name }))["result"],
                    json!({})
                );
                json!({})
            };
            let (events, answer) = wire.ask_with_events("tools/call", shout(meta));
            assert_eq!(text(&answer), "shouted");
            let got: Vec<_> = events
                .iter()
                .map(|event| {
                    assert_eq!(event["method"], "notifications/message", "{event}");
                    assert_eq!(event["params"]["data"]["at"], event["params"]["level"]);
                    event["params"]["level"]
                        .as_str()
                        .expect("a level is a word")
                        .to_owned()
                })
                .collect();
            assert_eq!(got, NAMES[number..], "{}", wire.name);
        }
    });
    on_every_wire(make, |wire| {
        let (events, _) = wire.ask_with_events("tools/call", shout(json!({})));
        let expected = if wire.is_modern { 0 } else { 7 };
        assert_eq!(
            events.len(),
            expected,
            "{}: unasked, a modern client hears nothing and a legacy one from info on",
            wire.name
        );
        for level in [json!("loud"), json!(3), Value::Null] {
            let answer = if wire.is_modern {
                wire.ask(
                    "tools/call",
                    shout(json!({ "io.modelcontextprotocol/logLevel": level })),
                )
            } else {
                wire.ask("logging/setLevel", json!({ "level": level }))
            };
            if level.is_null() && wire.is_modern {
                assert_eq!(text(&answer), "shouted", "null is none");
            } else {
                assert_eq!(code(&answer), -32602, "{}: {level}", wire.name);
            }
        }
    });
}

#[test]
fn progress_goes_only_to_those_who_gave_a_token_and_only_grows() {
    let make = || {
        Server::new("it", "1").tool("work", "", |cx: &mut RequestContext, _: Value| {
            cx.progress(1.0);
            cx.progress((0.5, 2.0));
            cx.progress((1.0, 2.0, "the same"));
            cx.progress((1.5, 2.0, "more"));
            cx.progress(f64::NAN);
            cx.progress((2.0, 2.0));
            "done"
        })
    };
    on_every_wire(make, |wire| {
        assert_eq!(text(&wire.call("work", json!({}))), "done");
        for token in [json!("t"), json!(7), json!(0), json!("")] {
            let params = json!({ "name": "work", "_meta": { "progressToken": token } });
            let (events, answer) = wire.ask_with_events("tools/call", params);
            assert_eq!(text(&answer), "done");
            let of = |params: Value| json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
            let expected = [
                of(json!({ "progressToken": token, "progress": 1 })),
                of(
                    json!({ "progressToken": token, "progress": 1.5, "total": 2, "message": "more" }),
                ),
                of(json!({ "progressToken": token, "progress": 2, "total": 2 })),
            ];
            assert_eq!(events, expected, "{}", wire.name);
        }
    });
}

#[test]
fn a_handler_knows_who_asks() {
    let make = || {
        Server::new("it", "1").tool("who", "", |cx: &mut RequestContext, _: Value| {
            let client = cx.client();
            let info = client.info().map(|info| info.name);
            format!(
                "{info:?} {} {} {}",
                client.protocol_version(),
                client.capabilities(),
                cx.request_id().len()
            )
        })
    };
    on_every_wire(make, |wire| {
        let version = if wire.is_modern {
            "2026-07-28"
        } else {
            "2025-11-25"
        };
        assert_eq!(
            text(&wire.call("who", json!({}))),
            format!("Some(\"it\") {version} {{}} 36"),
            "{}",
            wire.name
        );
    });
}
