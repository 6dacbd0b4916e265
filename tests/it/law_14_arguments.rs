//! Law 14 for arguments: what some clients spell otherwise is taken where the schema wants it, and only there.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{Elicited, Json, Prompt, RequestContext, Server, Tool, ToolError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::{Served, alone, legacy, logs, on_every_wire, text};

/// One field for each type that clients are known to spell otherwise.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Every {
    #[serde(default)]
    count: u32,
    #[serde(default)]
    size: f64,
    #[serde(default)]
    b: bool,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    numbers: Vec<i64>,
    #[serde(default)]
    name: String,
    maybe: Option<i64>,
    inner: Option<Inner>,
    #[serde(default = "seven")]
    seven: u8,
    any: Option<Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "it is shown whole")]
#[schemars(crate = "mcp_threads::schemars")]
struct Big {
    big: u128,
    count: u32,
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
#[serde(deny_unknown_fields)]
struct Inner {
    #[serde(default)]
    n: i64,
    next: Option<Box<Inner>>,
}

fn seven() -> u8 {
    7
}

fn every() -> Server {
    Server::new("it", "1")
        .tool("big", "Says what it got.", |big: Big| format!("{big:?}"))
        .tool("every", "Says what it got.", |every: Every| Json(every))
        .tool("inner", "Knows its fields.", |inner: Inner| Json(inner))
}

/// Spellings, and the member as the handler has it.
fn spellings() -> Vec<(Value, &'static str, Value)> {
    vec![
        (json!({ "count": "5" }), "count", json!(5)),
        (json!({ "count": 30.0 }), "count", json!(30)),
        (json!({ "count": "30.0" }), "count", json!(30)),
        (json!({ "count": null }), "count", json!(0)),
        (json!({ "size": "1.5" }), "size", json!(1.5)),
        (json!({ "size": 30 }), "size", json!(30.0)),
        (json!({ "b": "true" }), "b", json!(true)),
        (json!({ "b": "false" }), "b", json!(false)),
        (json!({ "b": null }), "b", json!(false)),
        (
            json!({ "tags": "[\"a\", \"1\"]" }),
            "tags",
            json!(["a", "1"]),
        ),
        (json!({ "tags": null }), "tags", json!([])),
        (json!({ "numbers": ["1", 2.0] }), "numbers", json!([1, 2])),
        (json!({ "maybe": "5" }), "maybe", json!(5)),
        (json!({ "maybe": null }), "maybe", json!(null)),
        (
            json!({ "inner": "{\"n\": \"3\"}" }),
            "inner",
            json!({ "n": 3, "next": null }),
        ),
        (
            json!({ "inner": { "next": { "n": 3.0 } } }),
            "inner",
            json!({ "n": 0, "next": { "n": 3, "next": null } }),
        ),
        (json!({ "seven": null }), "seven", json!(7)),
        // What fits is what it is.
        (json!({ "name": "5" }), "name", json!("5")),
        (json!({ "any": "5", "count": "5" }), "any", json!("5")),
        (json!({ "unknown": "x" }), "seven", json!(7)),
    ]
}

#[test]
fn law_14_arguments_are_taken_however_they_are_spelled() {
    on_every_wire(every, |wire| {
        for (arguments, member, wanted) in spellings() {
            let answer = wire.call("every", arguments.clone());
            let got = &answer["result"]["structuredContent"];
            assert_eq!(got[member], wanted, "{arguments}: {answer}");
        }
        // All of them in a text; the digits beside what is repaired stay as they are.
        let arguments = "{\"count\": \"5\", \"big\": 18446744073709551617}";
        let params = json!({ "name": "big", "arguments": arguments });
        let answer = wire.ask("tools/call", params);
        let wanted = "Big { big: 18446744073709551617, count: 5 }";
        assert_eq!(text(&answer), wanted, "{answer}");
    });
}

#[test]
fn law_14_what_could_mean_something_else_is_refused_with_its_place() {
    on_every_wire(every, |wire| {
        let rows = [
            ("every", json!({ "count": "five" }), "at `/count`: "),
            ("every", json!({ "count": 5.5 }), "at `/count`: "),
            (
                "every",
                json!({ "count": "-5" }),
                "at `/count`: invalid value: integer `-5`, expected u32",
            ),
            ("every", json!({ "name": 5 }), "at `/name`: "),
            ("every", json!({ "b": "yes" }), "at `/b`: "),
            ("every", json!({ "tags": "a" }), "at `/tags`: "),
            // The model hears of what it can put right, not of what its client has done.
            ("every", json!({ "count": "5", "tags": 7 }), "at `/tags`: "),
            (
                "inner",
                json!({ "m": 1 }),
                "at `/m`: unknown field `m`, expected `n` or `next`",
            ),
            (
                "inner",
                json!({ "n": "1", "next": { "m": 1 } }),
                "at `/next/m`: unknown field `m`",
            ),
        ];
        for (tool, arguments, part) in rows {
            let answer = wire.call(tool, arguments.clone());
            let said = text(&answer);
            assert_eq!(answer["result"]["isError"], true, "{arguments}: {answer}");
            assert!(
                said.starts_with("Invalid arguments: ") && said.contains(part),
                "{arguments}: {said}"
            );
        }
    });
}

#[test]
fn law_14_a_strict_server_takes_what_its_schemas_say() {
    on_every_wire(
        || every().lenient_arguments(false),
        |wire| {
            let strict = |row: &(Value, &str, Value)| {
                let (arguments, member, wanted) = row;
                arguments[*member] == *wanted
                    || arguments.get(*member).is_none()
                    || *arguments == json!({ "size": 30 })
            };
            for row in spellings().iter().filter(|row| !strict(row)) {
                let answer = wire.call("every", row.0.clone());
                assert_eq!(answer["result"]["isError"], true, "{}: {answer}", row.0);
            }
            let all = json!({ "name": "every", "arguments": "{}" });
            assert_eq!(wire.ask("tools/call", all)["error"]["code"], -32602);
        },
    );
}

/// In a process of its own, because the level is the whole process's.
#[test]
fn law_14_each_repair_is_a_debug_line() {
    alone(
        "law_14_arguments::law_14_each_repair_is_a_debug_line",
        || {
            logs::keep();
            let (served, mut client) = Served::pipe(every());
            client.initialize("2025-11-25");
            let mut call = |arguments: Value| {
                let params = json!({ "name": "every", "arguments": arguments });
                client.ask(&legacy(1, "tools/call", params));
            };
            call(json!({ "count": "5" }));
            log::set_max_level(log::LevelFilter::Debug);
            call(json!({ "count": 5, "inner": { "n": 1 } }));
            call(json!({ "seven": "5", "inner": { "next": { "n": "1" } } }));
            client.close();
            served.stop();
            let line = |place: &str| format!("another spelling than its schema has, at `{place}`");
            logs::told(&line("/seven"));
            logs::told(&line("/inner/next/n"));
            for place in ["/count", "/inner/n"] {
                assert!(logs::lines_with(&line(place)).is_empty(), "{place}");
            }
        },
    );
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Topic {
    topic: String,
    #[serde(default)]
    style: String,
}

#[test]
fn law_14_null_is_absent_in_prompts_and_hand_written_schemas() {
    let make = || {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
        let written = Tool::new("written").input_schema(schema);
        Server::new("it", "1")
            .register(
                Prompt::new("write")
                    .handler(|topic: Topic| format!("{}/{}", topic.topic, topic.style)),
            )
            .register(written.handler(|inner: Inner| Json(inner)))
    };
    on_every_wire(make, |wire| {
        let arguments = json!({ "topic": "rust", "style": null });
        let answer = wire.ask(
            "prompts/get",
            json!({ "name": "write", "arguments": arguments }),
        );
        assert_eq!(
            answer["result"]["messages"][0]["content"]["text"], "rust/",
            "{answer}"
        );
        let answer = wire.call("written", json!({ "n": "7" }));
        assert_eq!(answer["result"]["structuredContent"]["n"], 7, "{answer}");
    });
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Form {
    count: u32,
    sure: Option<bool>,
}

#[test]
fn law_14_what_people_fill_in_is_taken_as_arguments_are() {
    fn ask(cx: &mut RequestContext) -> Result<String, ToolError> {
        match cx.elicit::<Form>("form", "How many?")? {
            Elicited::Accepted(form) => Ok(format!("{} {:?}", form.count, form.sure)),
            other => Ok(format!("{other:?}")),
        }
    }
    let (served, mut client) = Served::pipe(Server::new("it", "1").tool("ask", "Asks.", ask));
    let able = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} }, "clientInfo": { "name": "c", "version": "1" } });
    client.ask(&legacy(0, "initialize", able));
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    client.send(&legacy(
        1,
        "tools/call",
        json!({ "name": "ask", "arguments": {} }),
    ));
    let question = client.recv();
    // Members that are null are absent ones, in a response as well, and no client's own id looks like one of ours.
    assert!(question["id"].is_string(), "{question}");
    let content = json!({ "count": 3.0, "sure": "true" });
    let result = json!({ "action": "accept", "content": content });
    client
        .send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": result, "error": null }));
    assert_eq!(text(&client.answer(1)), "3 Some(true)");
    client.close();
    served.stop();
}

/// A type with a bound of each kind, and one that only looks as if it had.
#[cfg(not(feature = "validate"))]
#[test]
fn law_14_a_start_without_the_feature_names_the_tools_whose_bounds_nobody_checks() {
    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema matters")]
    #[schemars(crate = "mcp_threads::schemars")]
    struct Plain {
        numbers: (u8, i8, u16, i16, u32, i64, u128),
        letter: char,
        triple: [f64; 3],
        names: std::collections::HashSet<String>,
        counts: std::collections::HashMap<String, u64>,
        every: Vec<Option<Every>>,
    }
    macro_rules! bounded {
        ($($name:ident($bound:meta) $type:ty,)*) => {
            [$({
                #[derive(Deserialize, JsonSchema)]
                #[expect(dead_code, reason = "only its schema matters")]
                #[schemars(crate = "mcp_threads::schemars")]
                struct Bounded {
                    #[schemars($bound)]
                    field: $type,
                }
                let name = concat!("bounded-", stringify!($name));
                (name, Tool::new(name).handler(|_: Vec2<Bounded>| "ok"))
            },)*]
        };
    }
    /// Below a field, where a look at the top would not find it.
    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema matters")]
    #[schemars(crate = "mcp_threads::schemars")]
    struct Vec2<T> {
        list: Vec<T>,
    }
    logs::keep();
    let bounded = bounded! {
        most(range(max = 3)) u32,
        least(range(min = 1)) u64,
        float(range(min = 0.0)) f64,
        length(length(min = 1)) String,
        items(length(max = 2)) Vec<String>,
        pattern(pattern("^a")) Option<String>,
    };
    let (names, tools): (Vec<_>, Vec<_>) = bounded.into_iter().unzip();
    let server = Server::new("it", "1").tool("plain-type", "", |_: Plain| "ok");
    let server = tools.into_iter().fold(server, Server::register);
    let (served, mut client) = Served::pipe(server);
    for name in names {
        let lines = logs::told(&format!("of tool `{name}` have bounds"));
        assert!(
            lines.len() == 1 && lines[0].text.contains("`validate`"),
            "{lines:?}"
        );
    }
    assert!(logs::lines_with("of tool `plain-type` have").is_empty());
    client.close();
    served.stop();
}
