//! Completion: values for what a person is typing.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{Completing, Prompt, Resource, ResourceTemplate, Server};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::wire::Wire;
use crate::harness::{code, on_every_wire};

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Trip {
    country: String,
    city: Option<String>,
    when: Option<String>,
}

fn trips() -> Server {
    Server::new("it", "1.0.0")
        .register(
            Prompt::new("trip")
                .complete("country", |typed: Completing| {
                    let known = ["France", "Finland", "Ghana"].into_iter();
                    known
                        .filter(|name| name.starts_with(&typed.value))
                        .collect::<Vec<_>>()
                })
                .complete("city", |typed: Completing| {
                    vec![format!("{:?} and {:?}", typed.value, typed.arguments)]
                })
                .handler(|trip: Trip| {
                    let rest = [trip.city, trip.when].map(Option::unwrap_or_default);
                    format!("{} {}", trip.country, rest.join(" "))
                }),
        )
        .register(
            ResourceTemplate::new("it://{number}", "numbers")
                .complete("number", |typed: Completing| {
                    let count: usize = typed.value.parse().unwrap_or_default();
                    (0..count)
                        .map(|number| number.to_string())
                        .collect::<Vec<_>>()
                })
                .handler(|_: Value| "number"),
        )
        .register(
            ResourceTemplate::new("it://panics/{number}", "panics")
                .complete("number", |_: Completing| -> Vec<String> {
                    panic!("a SECRET text")
                })
                .handler(|_: Value| "number"),
        )
        .register(Resource::new("it://fixed", "fixed").handler(|| "fixed"))
}

fn trip() -> Value {
    json!({ "type": "ref/prompt", "name": "trip" })
}

fn numbers() -> Value {
    json!({ "type": "ref/resource", "uri": "it://{number}" })
}

#[track_caller]
fn complete(wire: &mut Wire, reference: Value, argument: &str, value: &str) -> Value {
    let argument = json!({ "name": argument, "value": value });
    wire.ask(
        "completion/complete",
        json!({ "ref": reference, "argument": argument }),
    )
}

#[test]
fn an_argument_and_a_variable_are_completed() {
    on_every_wire(trips, |wire| {
        let rows = [
            (
                trip(),
                "country",
                "F",
                json!({ "values": ["France", "Finland"], "total": 2, "hasMore": false }),
            ),
            (
                trip(),
                "country",
                "",
                json!({ "values": ["France", "Finland", "Ghana"], "total": 3, "hasMore": false }),
            ),
            (
                trip(),
                "country",
                "X",
                json!({ "values": [], "total": 0, "hasMore": false }),
            ),
            (
                json!({ "type": "ref/resource", "uri": "it://17" }),
                "number",
                "2",
                json!({ "values": ["0", "1"], "total": 2, "hasMore": false }),
            ),
            (
                numbers(),
                "number",
                "2",
                json!({ "values": ["0", "1"], "total": 2, "hasMore": false }),
            ),
        ];
        for (reference, argument, value, expected) in rows {
            let answer = complete(wire, reference, argument, value);
            assert_eq!(answer["result"]["completion"], expected, "{answer}");
            let kind = wire.is_modern.then_some(&json!("complete")).cloned();
            assert_eq!(answer["result"].get("resultType").cloned(), kind);
        }
    });
}

#[test]
fn a_completer_knows_what_else_was_typed() {
    on_every_wire(trips, |wire| {
        let contexts = [
            (
                json!({ "arguments": { "country": "France" } }),
                r#""P" and {"country": "France"}"#,
            ),
            (json!({ "arguments": {} }), r#""P" and {}"#),
            (json!({}), r#""P" and {}"#),
        ];
        for (context, expected) in contexts {
            let params = json!({ "ref": trip(), "argument": { "name": "city", "value": "P" }, "context": context });
            let answer = wire.ask("completion/complete", params);
            assert_eq!(
                answer["result"]["completion"]["values"],
                json!([expected]),
                "{answer}"
            );
        }
        let answer = complete(wire, trip(), "city", "");
        assert_eq!(
            answer["result"]["completion"]["values"],
            json!([r#""" and {}"#])
        );
    });
}

#[test]
fn of_many_values_a_hundred_are_sent() {
    on_every_wire(trips, |wire| {
        for (count, sent, has_more) in [
            (100, 100, Some(false)),
            (101, 100, Some(true)),
            (5000, 100, Some(true)),
        ] {
            let answer = complete(wire, numbers(), "number", &count.to_string());
            let completion = &answer["result"]["completion"];
            let values = completion["values"].as_array().expect("a list");
            assert_eq!((values.len(), &values[99]), (sent, &json!("99")));
            assert_eq!(completion["total"], count);
            assert_eq!(completion.get("hasMore").and_then(Value::as_bool), has_more);
        }
    });
}

#[test]
fn what_nothing_completes_has_no_values() {
    on_every_wire(trips, |wire| {
        let fixed = json!({ "type": "ref/resource", "uri": "it://fixed" });
        for (reference, argument) in [
            (trip(), "when"),
            (trip(), "unknown"),
            (numbers(), "unknown"),
            (fixed, "x"),
        ] {
            let answer = complete(wire, reference.clone(), argument, "x");
            assert_eq!(
                answer["result"]["completion"]["values"],
                json!([]),
                "{reference} {argument}"
            );
        }
    });
}

#[test]
fn what_cannot_be_completed_is_refused() {
    on_every_wire(trips, |wire| {
        let argument = json!({ "name": "country", "value": "F" });
        let rows = [
            (
                json!({ "ref": { "type": "ref/prompt", "name": "none" }, "argument": argument }),
                "Unknown prompt: none",
            ),
            (
                json!({ "ref": { "type": "ref/resource", "uri": "it://{none}" }, "argument": argument }),
                "Unknown resource template",
            ),
            (
                json!({ "ref": { "type": "ref/tool", "name": "trip" }, "argument": argument }),
                "ref/tool",
            ),
            (
                json!({ "ref": { "type": "ref/prompt" }, "argument": argument }),
                "name",
            ),
            (
                json!({ "ref": { "name": "trip" }, "argument": argument }),
                "type",
            ),
            (json!({ "argument": argument }), "`ref` is missing"),
            (json!({ "ref": trip() }), "`argument` is missing"),
            (
                json!({ "ref": trip(), "argument": { "name": "country" } }),
                "value",
            ),
            (
                json!({ "ref": trip(), "argument": { "name": "country", "value": 7 } }),
                "string",
            ),
            (
                json!({ "ref": trip(), "argument": argument, "context": { "arguments": { "city": 7 } } }),
                "string",
            ),
            (
                json!({ "ref": trip(), "argument": argument, "context": { "arguments": [] } }),
                "map",
            ),
        ];
        for (params, why) in rows {
            let answer = wire.ask("completion/complete", params.clone());
            assert_eq!(code(&answer), -32602, "{params}: {answer}");
            let message = answer["error"]["message"].as_str().expect("it says why");
            assert!(message.contains(why), "{params}: {message}");
        }
        let panics = json!({ "type": "ref/resource", "uri": "it://panics/{number}" });
        let answer = complete(wire, panics, "number", "");
        assert_eq!(code(&answer), -32603);
        assert!(!answer.to_string().contains("SECRET"), "law 8: {answer}");
    });
}
