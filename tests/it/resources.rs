//! Resources: found by their URI or by a template, read as text or bytes, kept as long as their author allows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{
    AskError, CacheHint, ErrorCode, ErrorObject, Json, ReadResourceResult, RequestContext,
    Resource, ResourceContents, ResourceTemplate, Server, ToolError,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::talk::modern_with;
use crate::harness::wire::Wire;
use crate::harness::{Served, code, on_every_wire};

type Context = RequestContext;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Page {
    book: String,
    page: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Number {
    number: Digits,
}

/// A string that has to be a number.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(crate = "mcp_threads::schemars", with = "String")]
struct Digits(u32);

impl TryFrom<String> for Digits {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Digits)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn library() -> Server {
    let protocol = || ToolError::protocol(ErrorObject::new(-32050, "by hand"));
    Server::new("it", "1.0.0")
        .list_cache(CacheHint::private(3 * MINUTE))
        .register(
            Resource::new("it://text", "text")
                .title("A text")
                .description("Plain")
                .mime_type("text/plain")
                .size(5)
                .cache(CacheHint::public(MINUTE))
                .handler(|| "hello"),
        )
        .register(
            Resource::new("it://bytes", "bytes")
                .mime_type("application/octet-stream")
                .handler(|| vec![0_u8, 255, 16]),
        )
        .register(
            Resource::new("it://many", "many")
                .mime_type("text/plain")
                .handler(|cx: &mut Context| {
                    vec![
                        ResourceContents::text(cx.target(), "one"),
                        ResourceContents::text("it://many/2", "{}")
                            .with_mime_type("application/json"),
                        ResourceContents::blob("it://many/3", "three"),
                    ]
                }),
        )
        .register(Resource::new("it://whole", "whole").handler(|| {
            let own = json!({ "own": 1 }).as_object().cloned().expect("an object");
            ReadResourceResult::from(vec![ResourceContents::text("it://whole", "kept")])
                .with_cache(CacheHint::private(2 * MINUTE))
                .with_meta(own)
        }))
        .resource("it://empty", "empty", ReadResourceResult::default)
        .resource("it://none", "none", || None::<String>)
        .resource("it://some", "some", || Some("thing"))
        .resource("it://json", "json", || Json(json!({ "a": [1] })))
        .resource("it://fails", "fails", || {
            Err::<String, _>("the disk is gone")
        })
        .resource("it://coded", "coded", move || Err::<String, _>(protocol()))
        .resource("it://gone", "gone", || {
            let code = ErrorCode::RESOURCE_NOT_FOUND;
            Err::<String, _>(ToolError::protocol(ErrorObject::new(code, "It is gone")))
        })
        .resource("it://panics", "panics", || -> String {
            panic!("a SECRET text")
        })
        // A fixed resource comes before a template that matches it, whatever the order.
        .register(
            ResourceTemplate::new("it://{anything}", "anything")
                .mime_type("text/x")
                .handler(|cx: &mut Context, args: Value| format!("{} {args}", cx.target())),
        )
        .register(
            ResourceTemplate::new("it://books/{book}/{page}", "pages").handler(|page: Page| {
                (page.book != "lost").then(|| format!("{}: {}", page.book, page.page))
            }),
        )
        .register(
            ResourceTemplate::new("it://numbers/{number}", "numbers")
                .cache(CacheHint::private(MINUTE))
                .handler(|args: Number| (args.number.0 + 1).to_string()),
        )
}

#[track_caller]
fn read(wire: &mut Wire, uri: &str) -> Value {
    wire.ask("resources/read", json!({ "uri": uri }))
}

/// The `contents` of a result, once it is seen that it has what its era wants.
#[track_caller]
fn contents(wire: &Wire, answer: &Value, ttl_ms: u64, scope: &str) -> Value {
    let result = &answer["result"];
    if wire.is_modern {
        assert_eq!(result["resultType"], "complete", "{answer}");
        assert_eq!(
            (&result["ttlMs"], &result["cacheScope"]),
            (&json!(ttl_ms), &json!(scope))
        );
    } else {
        for member in ["resultType", "ttlMs", "cacheScope"] {
            assert_eq!(
                result.get(member),
                None,
                "{member} is of the other era: {answer}"
            );
        }
    }
    result["contents"].clone()
}

/// What a client said in any round is for no cache, though it came with the state alone.
#[test]
fn what_was_answered_in_an_earlier_round_is_not_kept() {
    #[derive(Deserialize, JsonSchema)]
    #[schemars(crate = "mcp_threads::schemars")]
    struct Answer {
        word: String,
    }
    let asked = AtomicBool::new(false);
    let own = Resource::new("it://own", "own").cache(CacheHint::public(MINUTE));
    let own = own.handler(move |cx: &mut Context| {
        let one = cx.elicit::<Answer>("one", "One?")?.accepted();
        if !asked.swap(true, Ordering::Relaxed) {
            cx.elicit::<Answer>("two", "Two?")?;
        }
        Ok::<_, AskError>(one.map(|one| one.word))
    });
    let (served, mut client) = Served::pipe(Server::new("it", "1.0.0").register(own));
    let mut read = |more: Value| {
        let mut params = json!({ "uri": "it://own" });
        for (name, value) in more.as_object().expect("an object") {
            params[name] = value.clone();
        }
        let capabilities = json!({ "elicitation": {} });
        client.ask(&modern_with(1, "resources/read", params, &capabilities))["result"].clone()
    };
    let answer = json!({ "action": "accept", "content": { "word": "mine" } });
    let first = read(json!({ "inputResponses": { "one": answer } }));
    assert_eq!(first["resultType"], "input_required", "{first}");
    let whole = read(json!({ "requestState": first["requestState"] }));
    assert_eq!(whole["contents"][0]["text"], "mine", "{whole}");
    assert_eq!(
        (&whole["ttlMs"], &whole["cacheScope"]),
        (&json!(0), &json!("private"))
    );
    client.close();
    served.stop();
}

#[test]
fn what_a_handler_returns_is_read_at_the_uri_that_was_asked_for() {
    on_every_wire(library, |wire| {
        let text = |uri: &str, text: &str| json!([{ "uri": uri, "text": text }]);
        let rows = [
            (
                "it://text",
                60_000,
                "public",
                json!([{ "uri": "it://text", "mimeType": "text/plain", "text": "hello" }]),
            ),
            (
                "it://bytes",
                0,
                "private",
                json!([{ "uri": "it://bytes", "mimeType": "application/octet-stream", "blob": "AP8Q" }]),
            ),
            (
                "it://many",
                0,
                "private",
                json!([
                    { "uri": "it://many", "mimeType": "text/plain", "text": "one" },
                    { "uri": "it://many/2", "mimeType": "application/json", "text": "{}" },
                    { "uri": "it://many/3", "mimeType": "text/plain", "blob": "dGhyZWU=" }
                ]),
            ),
            ("it://whole", 120_000, "private", text("it://whole", "kept")),
            ("it://empty", 0, "private", json!([])),
            ("it://some", 0, "private", text("it://some", "thing")),
            (
                "it://json",
                0,
                "private",
                json!([{ "uri": "it://json", "mimeType": "application/json", "text": r#"{"a":[1]}"# }]),
            ),
            (
                "it://a%20b",
                0,
                "private",
                json!([{ "uri": "it://a%20b", "mimeType": "text/x", "text": r#"it://a%20b {"anything":"a b"}"# }]),
            ),
            (
                "it://books/a/b",
                0,
                "private",
                text("it://books/a/b", "a: b"),
            ),
            // Decoded only after it was divided.
            (
                "it://books/a%2Fb/%C3%A9",
                0,
                "private",
                text("it://books/a%2Fb/%C3%A9", "a/b: é"),
            ),
            (
                "it://numbers/41",
                60_000,
                "private",
                text("it://numbers/41", "42"),
            ),
        ];
        for (uri, ttl_ms, scope, expected) in rows {
            let answer = read(wire, uri);
            assert_eq!(
                contents(wire, &answer, ttl_ms, scope),
                expected,
                "{uri}: {answer}"
            );
        }
        let answer = read(wire, "it://whole");
        assert_eq!(answer["result"]["_meta"]["own"], 1);
    });
}

#[test]
fn what_is_not_there_is_named() {
    on_every_wire(library, |wire| {
        let nowhere = [
            "nowhere",
            "",
            "it://",
            "it://a/b",
            "it://text/",
            "IT://text",
            "it://books/a",
            "it://books//b",
            "it://books/a/b/c",
            "it://books/a/%",
            "it://books/a/%ff",
            // Found, but the handler knows better.
            "it://none",
            "it://books/lost/b",
            "it://numbers/many",
        ];
        for uri in nowhere {
            let answer = read(wire, uri);
            assert_eq!(
                code(&answer),
                if wire.is_modern { -32602 } else { -32002 },
                "{uri}: {answer}"
            );
            assert_eq!(answer["error"]["data"], json!({ "uri": uri }));
        }
        for unknown in ["nowhere", "it://numbers/"] {
            let answer = read(wire, &format!("{unknown}{}", "x".repeat(4000)));
            let len = answer.to_string().len();
            assert!(
                len < 1000,
                "an error does not repeat all that was asked: {len} bytes"
            );
        }
        // Over HTTP its header field is missed first.
        let missing = if wire.name == "HTTP, modern" {
            -32020
        } else {
            -32602
        };
        for params in [json!({}), json!({ "uri": null })] {
            assert_eq!(code(&wire.ask("resources/read", params)), missing);
        }
    });
}

#[test]
fn a_handler_that_fails_is_an_error_of_the_server() {
    on_every_wire(library, |wire| {
        let answer = read(wire, "it://fails");
        assert_eq!(
            (code(&answer), &answer["error"]["message"]),
            (-32603, &json!("the disk is gone"))
        );
        let answer = read(wire, "it://coded");
        assert_eq!(
            (code(&answer), &answer["error"]["message"]),
            (-32050, &json!("by hand"))
        );
        // A code of the handshake era alone.
        let answer = read(wire, "it://gone");
        assert_eq!(code(&answer), if wire.is_modern { -32602 } else { -32002 });
        let answer = read(wire, "it://panics");
        assert_eq!(code(&answer), -32603);
        assert!(!answer.to_string().contains("SECRET"), "law 8: {answer}");
    });
}

#[test]
fn resources_and_templates_are_listed_in_order() {
    on_every_wire(library, |wire| {
        let answer = wire.ask("resources/list", json!({}));
        let listed = answer["result"]["resources"]
            .as_array()
            .expect("a list")
            .clone();
        let names: Vec<_> = listed.iter().map(|resource| &resource["name"]).collect();
        let expected = [
            "text", "bytes", "many", "whole", "empty", "none", "some", "json", "fails", "coded",
            "gone", "panics",
        ];
        assert_eq!(names, expected);
        assert_eq!(
            listed[0],
            json!({
                "uri": "it://text", "name": "text", "title": "A text", "description": "Plain", "mimeType": "text/plain", "size": 5
            })
        );
        let templates = wire.ask("resources/templates/list", json!({}));
        let listed = &templates["result"]["resourceTemplates"];
        assert_eq!(
            listed[0],
            json!({ "uriTemplate": "it://{anything}", "name": "anything", "mimeType": "text/x" })
        );
        assert_eq!(listed.as_array().map(Vec::len), Some(3));
        for answer in [answer, templates] {
            let result = &answer["result"];
            let hint = (result.get("ttlMs"), result.get("cacheScope"));
            match wire.is_modern {
                true => assert_eq!(hint, (Some(&json!(180_000)), Some(&json!("private")))),
                false => assert_eq!(hint, (None, None)),
            }
        }
    });
}

#[test]
fn what_was_made_of_answers_is_for_no_cache() {
    on_every_wire(library, |wire| {
        if wire.is_modern {
            let retried = json!({ "uri": "it://whole", "inputResponses": { "a": 1 } });
            let answer = wire.ask("resources/read", retried);
            contents(wire, &answer, 0, "private");
        }
    });
}

#[test]
fn what_is_not_offered_is_not_declared() {
    let bare = || Server::new("it", "1");
    on_every_wire(bare, |wire| {
        if wire.is_modern {
            let answer = wire.ask("server/discover", json!({}));
            let declared = &answer["result"]["capabilities"];
            for capability in ["resources", "prompts", "completions"] {
                assert_eq!(declared.get(capability), None, "{answer}");
            }
        }
        let prompt = json!({ "type": "ref/prompt", "name": "any" });
        let argument = json!({ "name": "any", "value": "" });
        let rows = [
            ("resources/list", json!({})),
            ("resources/templates/list", json!({})),
            ("resources/read", json!({ "uri": "it://any" })),
            ("resources/subscribe", json!({ "uri": "it://any" })),
            ("resources/unsubscribe", json!({ "uri": "it://any" })),
            ("prompts/list", json!({})),
            ("prompts/get", json!({ "name": "any" })),
            (
                "completion/complete",
                json!({ "ref": prompt, "argument": argument }),
            ),
        ];
        for (method, params) in rows {
            // In the handshake era a list of nothing is empty; see `eras`.
            let is_list = method.ends_with("/list") || method.starts_with("completion");
            let answer = wire.ask(method, params);
            match is_list && !wire.is_modern {
                true => assert!(answer.get("result").is_some(), "{}: {answer}", wire.name),
                false => assert_eq!(code(&answer), -32601, "{}", wire.name),
            }
        }
        assert_eq!(
            wire.ask("tools/list", json!({}))["result"]["tools"],
            json!([])
        );
    });
    on_every_wire(library, |wire| {
        if wire.is_modern {
            let answer = wire.ask("server/discover", json!({}));
            assert!(
                answer["result"]["capabilities"]["resources"].is_object(),
                "{answer}"
            );
        }
    });
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Numbered {
    #[expect(dead_code, reason = "only its type matters")]
    number: u32,
}

#[test]
fn a_resource_that_cannot_be_read_does_not_start() {
    let server = || Server::new("it", "1.0.0");
    let template = |uri: &str| ResourceTemplate::new(uri, "odd");
    let rows = [
        (
            server().register(template("it://n/{number}").handler(|_: Numbered| "text")),
            "`it://n/{number}`: clients send text, which the field `number` cannot be made of",
        ),
        (
            server().register(template("it://n/{number").handler(|| "text")),
            "`it://n/{number`",
        ),
        (
            server().register(
                template("it://n/{number}")
                    .complete("day", || vec!["monday"])
                    .handler(|| "text"),
            ),
            "completes `day`, which is not one of its variables",
        ),
        (server().register(template("it://n/{number}")), "no handler"),
        (
            server().register(template("n/{number}:a").handler(|| "text")),
            "`n/{number}:a` has no scheme",
        ),
        (
            server().register(Resource::new("7up:a", "odd").handler(|| "text")),
            "resource `7up:a` has no scheme",
        ),
        (
            server()
                .register(Resource::new("it://r", "r").handler(|| "one"))
                .register(Resource::new("it://r", "r").handler(|| "two")),
            "`it://r`",
        ),
    ];
    for (server, words) in rows {
        let Err(error) = server.serve_pipe(std::io::empty(), std::io::sink()) else {
            panic!("this must not start; it should say {words}");
        };
        assert!(error.is_configuration(), "{error}");
        assert!(error.to_string().contains(words), "{error} says {words}");
    }
}
