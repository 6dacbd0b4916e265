//! Prompts: listed with their arguments, filled in by their handlers.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{
    Completing, ContentBlock, ErrorObject, GetPromptResult, Prompt, PromptMessage,
    ResourceContents, ResourceLink, Role, Server, ToolError,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::wire::Wire;
use crate::harness::{code, on_every_wire};

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Review {
    /// The language the code is written in
    language: String,
    /// How strict to be
    #[schemars(title = "Rigour")]
    rigour: Option<String>,
}

fn prompts() -> Server {
    let protocol = || ToolError::protocol(ErrorObject::new(-32050, "by hand"));
    Server::new("it", "1.0.0")
        .register(
            Prompt::new("review")
                .title("Code review")
                .description("Asks for a review.")
                .handler(|args: Review| {
                    format!("{} {}", args.language, args.rigour.unwrap_or("none".into()))
                }),
        )
        .prompt("plain", "Says one thing.", || "one thing")
        .prompt("block", "One block.", || {
            ContentBlock::image([1, 2, 3], "image/png")
        })
        .prompt("all", "Every kind of content.", || {
            vec![
                PromptMessage::user("question"),
                PromptMessage::assistant("answer"),
                PromptMessage::new(Role::User, ContentBlock::audio([0], "audio/wav")),
                PromptMessage::new(
                    Role::User,
                    ContentBlock::resource(ResourceContents::text("it://r", "text")),
                ),
                PromptMessage::new(
                    Role::User,
                    ContentBlock::resource_link(ResourceLink::new("it://l", "link")),
                ),
            ]
        })
        .prompt("whole", "A whole result.", || {
            let own = json!({ "own": 1 }).as_object().cloned().expect("an object");
            GetPromptResult::default()
                .with_description("today's")
                .with_meta(own)
        })
        .prompt("fails", "Fails.", || Err::<String, _>("no template"))
        .prompt("coded", "Fails by hand.", move || {
            Err::<String, _>(protocol())
        })
        .prompt("panics", "Panics.", || -> String {
            panic!("a SECRET text")
        })
}

#[track_caller]
fn get(wire: &mut Wire, name: &str, arguments: Value) -> Value {
    wire.ask(
        "prompts/get",
        json!({ "name": name, "arguments": arguments }),
    )
}

fn user(text: &str) -> Value {
    json!([{ "role": "user", "content": { "type": "text", "text": text } }])
}

#[test]
fn prompts_are_listed_with_their_arguments() {
    on_every_wire(prompts, |wire| {
        let answer = wire.ask("prompts/list", json!({}));
        let listed = &answer["result"]["prompts"];
        let arguments = json!([
            { "name": "language", "description": "The language the code is written in", "required": true },
            { "name": "rigour", "title": "Rigour", "description": "How strict to be" }
        ]);
        assert_eq!(
            listed[0],
            json!({ "name": "review", "title": "Code review", "description": "Asks for a review.", "arguments": arguments })
        );
        assert_eq!(
            listed[1],
            json!({ "name": "plain", "description": "Says one thing." })
        );
        assert_eq!(answer["result"].get("ttlMs").is_some(), wire.is_modern);
    });
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Person {
    #[expect(dead_code, reason = "only its type matters")]
    name: Option<String>,
    #[expect(dead_code, reason = "only its type matters")]
    age: Option<u8>,
}

#[test]
fn a_prompt_that_cannot_work_does_not_start() {
    let server = || Server::new("it", "1.0.0");
    let rows = [
        (
            server().prompt("", "Has no name.", || "text"),
            "needs a name",
        ),
        (
            server().prompt("aged", "Wants a number.", |_: Person| "text"),
            "prompt `aged`: clients send text, which the field `age` cannot be made of",
        ),
        (
            server().register(
                Prompt::new("trip")
                    .complete("city", |_: Completing| vec!["Oslo"])
                    .handler(|| "text"),
            ),
            "prompt `trip`: it completes `city`, which is not one of its arguments",
        ),
        (
            server()
                .prompt("twin", "", || "one")
                .prompt("twin", "", || "two"),
            "`twin`",
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

#[test]
fn arguments_fill_a_prompt_in() {
    on_every_wire(prompts, |wire| {
        let rows = [
            (json!({ "language": "Lua" }), "Lua none"),
            (json!({ "language": "Lua", "rigour": "much" }), "Lua much"),
            (
                json!({ "language": "", "rigour": null, "unknown": "x" }),
                " none",
            ),
        ];
        for (arguments, expected) in rows {
            let answer = get(wire, "review", arguments);
            assert_eq!(answer["result"]["messages"], user(expected), "{answer}");
        }
    });
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    on_every_wire(prompts, |wire| {
        let rows = [
            (json!({ "name": "review" }), "language"),
            (json!({ "name": "review", "arguments": {} }), "language"),
            (
                json!({ "name": "review", "arguments": { "language": 7 } }),
                "string",
            ),
            (
                json!({ "name": "review", "arguments": { "language": null } }),
                "string",
            ),
            (
                json!({ "name": "review", "arguments": ["Lua"] }),
                "`arguments` must be an object",
            ),
            (json!({ "name": "review", "arguments": null }), "language"),
            (json!({ "name": "nothing" }), "Unknown prompt: nothing"),
            (json!({ "name": "" }), "Unknown prompt"),
        ];
        for (params, why) in rows {
            let answer = wire.ask("prompts/get", params.clone());
            assert_eq!(code(&answer), -32602, "{params}");
            let message = answer["error"]["message"].as_str().expect("it says why");
            assert!(message.contains(why), "{params}: {message}");
        }
        // Over HTTP its header field is missed first.
        let missing = if wire.name == "HTTP, modern" {
            -32020
        } else {
            -32602
        };
        assert_eq!(code(&wire.ask("prompts/get", json!({}))), missing);
    });
}

#[test]
fn messages_have_every_kind_of_content() {
    on_every_wire(prompts, |wire| {
        let answer = wire.ask("prompts/get", json!({ "name": "plain" }));
        assert_eq!(answer["result"]["messages"], user("one thing"));
        assert_eq!(
            answer["result"].get("resultType"),
            wire.is_modern.then_some(&json!("complete"))
        );
        let answer = get(wire, "block", json!({}));
        let image = json!({ "type": "image", "data": "AQID", "mimeType": "image/png" });
        assert_eq!(
            answer["result"]["messages"],
            json!([{ "role": "user", "content": image }])
        );
        let answer = get(wire, "all", json!({}));
        let expected = json!([
            { "role": "user", "content": { "type": "text", "text": "question" } },
            { "role": "assistant", "content": { "type": "text", "text": "answer" } },
            { "role": "user", "content": { "type": "audio", "data": "AA==", "mimeType": "audio/wav" } },
            { "role": "user", "content": { "type": "resource", "resource": { "uri": "it://r", "text": "text" } } },
            { "role": "user", "content": { "type": "resource_link", "uri": "it://l", "name": "link" } }
        ]);
        assert_eq!(answer["result"]["messages"], expected);
        let answer = get(wire, "whole", json!({}));
        let result = &answer["result"];
        assert_eq!(
            (&result["description"], &result["messages"]),
            (&json!("today's"), &json!([]))
        );
        assert_eq!(result["_meta"]["own"], 1);
    });
}

#[test]
fn a_prompt_that_fails_is_an_error_of_the_server() {
    on_every_wire(prompts, |wire| {
        let answer = get(wire, "fails", json!({}));
        assert_eq!(
            (code(&answer), &answer["error"]["message"]),
            (-32603, &json!("no template"))
        );
        let answer = get(wire, "coded", json!({}));
        assert_eq!(
            (code(&answer), &answer["error"]["message"]),
            (-32050, &json!("by hand"))
        );
        let answer = get(wire, "panics", json!({}));
        assert_eq!(code(&answer), -32603);
        assert!(!answer.to_string().contains("SECRET"), "law 8: {answer}");
    });
}
