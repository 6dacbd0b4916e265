//! Handlers ask their clients, and cannot tell the eras apart. What is of one era alone stands in `asking_rounds` and `asking_sessions`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{
    AskError, Elicited, Limits, Prompt, RequestContext, Resource, ResourceTemplate, Sampling,
    Server,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::served::CANCEL_GRACE;
use crate::harness::talk::everything;
use crate::harness::{code, on_every_talk, text};

type Context = RequestContext;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
pub(crate) struct Person {
    /// What to call you
    pub(crate) name: String,
    age: Option<u8>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Note {
    day: String,
}

/// A server whose every part asks.
pub(crate) fn asking() -> Server {
    Server::new("it", "1.0.0")
        .limits(Limits::default().cancel_grace(CANCEL_GRACE))
        .tool("person", "Asks a person.", |cx: &mut Context, _: Value| {
            person(cx, "Who are you?")
        })
        .tool("model", "Asks a model.", |cx: &mut Context, _: Value| {
            let question = Sampling::new(7).system("Be brief.").user("Why?");
            let sampled = cx.sample("why", question)?;
            let stopped = sampled.stop_reason.clone().unwrap_or_default();
            Ok::<_, AskError>(format!("{} {} {stopped}", sampled.text(), sampled.model))
        })
        .tool(
            "choice",
            "Asks about tools.",
            |cx: &mut Context, _: Value| {
                let choice = json!({ "mode": "none" });
                let sampled = cx.sample("why", Sampling::new(7).set("toolChoice", choice))?;
                Ok::<_, AskError>(sampled.text())
            },
        )
        .tool(
            "folders",
            "Asks for folders.",
            |cx: &mut Context, _: Value| {
                let folders = cx.roots()?.into_iter();
                let each =
                    folders.map(|root| format!("{} {}", root.uri, root.name.unwrap_or_default()));
                Ok::<_, AskError>(each.collect::<Vec<_>>().join(", "))
            },
        )
        .tool(
            "boxed",
            "Asks for folders, among other things that fail.",
            |cx: &mut Context, _: Value| -> Result<String, Box<dyn std::error::Error>> {
                let count = "7".parse::<usize>()?;
                Ok(format!("{count} {}", cx.roots()?.len()))
            },
        )
        .tool(
            "shared",
            "The same for threads.",
            |cx: &mut Context,
             _: Value|
             -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
                let count = "7".parse::<usize>()?;
                Ok(format!("{count} {}", cx.roots()?.len()))
            },
        )
        .tool(
            "page",
            "Asks to open a page.",
            |cx: &mut Context, _: Value| {
                let asked = cx.elicit_url("pay", "Pay here", "https://pay.example/7")?;
                Ok::<_, AskError>(format!("{asked:?}"))
            },
        )
        .tool("three", "Asks three at once.", three)
        .register(
            Prompt::new("person")
                .complete("none", |cx: &mut Context, _: mcp_threads::Completing| {
                    let asked = cx.roots().map(|roots| roots.len());
                    vec![format!("{asked:?}")]
                })
                .handler(|cx: &mut Context, args: Nothing| {
                    let _ = args.none;
                    person(cx, "For a prompt?")
                }),
        )
        .register(
            Resource::new("person://fixed", "fixed")
                .handler(|cx: &mut Context| person(cx, "For a resource?")),
        )
        .register(
            ResourceTemplate::new("person://day/{day}", "days")
                .handler(|cx: &mut Context, note: Note| person(cx, &format!("For {}?", note.day))),
        )
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Nothing {
    none: Option<String>,
}

fn person(cx: &mut Context, question: &str) -> Result<String, AskError> {
    Ok(match cx.elicit::<Person>("person", question)? {
        Elicited::Accepted(Person { name, age }) => format!("{name} {age:?}"),
        Elicited::Declined => "declined".into(),
        _ => "dismissed".into(),
    })
}

fn three(cx: &mut Context, _: Value) -> Result<String, AskError> {
    let name = cx.elicit::<Person>("person", "Who?");
    let why = cx.sample("why", Sampling::new(7).user("Why?"));
    let folders = cx.roots();
    let (name, why, folders) = (name?, why?, folders?);
    let name = name
        .accepted()
        .map_or("nobody".into(), |person| person.name);
    Ok(format!("{name} {} {}", why.text(), folders.len()))
}

pub(crate) fn accept(content: Value) -> Value {
    json!({ "action": "accept", "content": content })
}

fn nobody(method: &str, _: &Value) -> Value {
    panic!("{method} is not to be asked")
}

#[test]
fn what_a_person_answers_comes_back_typed() {
    let rows = [
        (
            accept(json!({ "name": "Ada", "age": 36 })),
            Ok("Ada Some(36)"),
        ),
        (accept(json!({ "name": "Ada" })), Ok("Ada None")),
        (
            accept(json!({ "name": "Ada", "age": null, "more": [] })),
            Ok("Ada None"),
        ),
        (json!({ "action": "decline" }), Ok("declined")),
        (
            json!({ "action": "cancel", "content": null }),
            Ok("dismissed"),
        ),
        (accept(json!({ "name": 7 })), Err("not what was asked for")),
        (
            accept(json!({ "name": "Ada", "age": 300 })),
            Err("not what was asked for"),
        ),
        (accept(json!({})), Err("not what was asked for")),
        (accept(json!(["Ada", 7])), Err("not what was asked for")),
        (json!({ "action": "accept" }), Err("not what was asked for")),
    ];
    on_every_talk(asking, &everything(), |talk| {
        for (answer, expected) in &rows {
            let got = talk.call("person", json!({}), |method, params| {
                assert_eq!(method, "elicitation/create");
                let schema = json!({
                    "type": "object",
                    "properties": {
                        "name": { "type": "string", "description": "What to call you" },
                        "age": { "type": "integer", "minimum": 0, "maximum": 255 }
                    },
                    "required": ["name"]
                });
                assert_eq!(
                    params,
                    &json!({ "message": "Who are you?", "requestedSchema": schema })
                );
                answer.clone()
            });
            let is_error = got["result"]["isError"] == true;
            match expected {
                Ok(expected) => assert_eq!((text(&got), is_error), (*expected, false), "{answer}"),
                Err(why) => assert!(is_error && text(&got).contains(why), "{answer}: {got}"),
            }
            assert_eq!(talk.rounds, 1);
        }
    });
}

#[test]
fn a_model_a_page_and_folders_can_be_asked() {
    on_every_talk(asking, &everything(), |talk| {
        let got = talk.call("model", json!({}), |method, params| {
            assert_eq!(method, "sampling/createMessage");
            let question = json!({ "role": "user", "content": { "type": "text", "text": "Why?" } });
            assert_eq!(
                params,
                &json!({ "messages": [question], "maxTokens": 7, "systemPrompt": "Be brief." })
            );
            let blocks = json!([{ "type": "text", "text": "Because" }, { "type": "image" }, { "type": "text", "text": "so" }]);
            json!({ "role": "assistant", "content": blocks, "model": "m1", "stopReason": "endTurn" })
        });
        assert_eq!(text(&got), "Because\nso m1 endTurn");

        let got = talk.call("folders", json!({}), |method, params| {
            assert_eq!((method, params), ("roots/list", &json!({})));
            json!({ "roots": [{ "uri": "file:///a", "name": "A" }, { "uri": "file:///b" }] })
        });
        assert_eq!(text(&got), "file:///a A, file:///b ");

        let is_modern = talk.is_modern;
        let got = talk.call("page", json!({}), |method, params| {
            assert_eq!(method, "elicitation/create");
            assert_eq!(
                (&params["mode"], &params["url"]),
                (&json!("url"), &json!("https://pay.example/7"))
            );
            assert_eq!(
                params.get("elicitationId").is_none(),
                is_modern,
                "of 2025-11-25 alone"
            );
            json!({ "action": "accept" })
        });
        assert_eq!(text(&got), "Accepted(())");
    });
}

#[test]
fn questions_that_do_not_wait_for_each_other_travel_together() {
    on_every_talk(asking, &everything(), |talk| {
        let got = talk.call("three", json!({}), |method, _| match method {
            "elicitation/create" => accept(json!({ "name": "Ada" })),
            "sampling/createMessage" => json!({ "content": { "type": "text", "text": "so" } }),
            "roots/list" => json!({ "roots": [] }),
            other => panic!("{other} is not to be asked"),
        });
        assert_eq!(text(&got), "Ada so 0");
        assert_eq!(talk.rounds, if talk.is_modern { 1 } else { 3 });
    });
}

#[test]
fn prompts_and_resources_ask_too() {
    on_every_talk(asking, &everything(), |talk| {
        let rows = [
            ("prompts/get", json!({ "name": "person" }), "For a prompt?"),
            (
                "resources/read",
                json!({ "uri": "person://fixed" }),
                "For a resource?",
            ),
            (
                "resources/read",
                json!({ "uri": "person://day/a%20b" }),
                "For a b?",
            ),
        ];
        for (method, params, question) in rows {
            let got = talk.ask(method, params, |_, params| {
                assert_eq!(params["message"], question);
                accept(json!({ "name": "Ada" }))
            });
            let result = &got["result"];
            let said = match method {
                "prompts/get" => &result["messages"][0]["content"]["text"],
                _ => &result["contents"][0]["text"],
            };
            assert_eq!(said, "Ada None", "{}: {got}", talk.name);
            assert_eq!(talk.rounds, 1);
        }
    });
}

#[test]
fn whoever_types_is_not_asked() {
    on_every_talk(asking, &everything(), |talk| {
        let params = json!({ "ref": { "type": "ref/prompt", "name": "person" }, "argument": { "name": "none", "value": "" } });
        let got = talk.ask("completion/complete", params, nobody);
        let values = &got["result"]["completion"]["values"];
        assert_eq!(values, &json!(["Err(NotHere)"]), "{got}");
    });
}

#[test]
fn a_client_is_only_asked_what_it_declares() {
    let form_only = json!({ "elicitation": {} });
    let url_only = json!({ "elicitation": { "url": {} } });
    let rows = [
        ("person", json!({}), json!({ "elicitation": {} })),
        ("person", url_only, json!({ "elicitation": { "form": {} } })),
        (
            "person",
            json!({ "elicitation": true }),
            json!({ "elicitation": {} }),
        ),
        (
            "choice",
            json!({ "sampling": {} }),
            json!({ "sampling": { "tools": {} } }),
        ),
        ("model", form_only.clone(), json!({ "sampling": {} })),
        ("folders", json!({ "sampling": {} }), json!({ "roots": {} })),
        ("boxed", json!({}), json!({ "roots": {} })),
        ("shared", json!({}), json!({ "roots": {} })),
        ("page", form_only, json!({ "elicitation": { "url": {} } })),
    ];
    for (tool, declared, required) in rows {
        on_every_talk(asking, &declared, |talk| {
            let got = talk.call(tool, json!({}), nobody);
            if talk.is_modern {
                assert_eq!(code(&got), -32021, "{got}");
                assert_eq!(
                    got["error"]["data"],
                    json!({ "requiredCapabilities": required })
                );
                let expected = if talk.name.starts_with("HTTP") {
                    400
                } else {
                    200
                };
                assert_eq!(talk.status, expected);
            } else {
                assert_eq!(got["result"]["isError"], true, "{got}");
                assert!(text(&got).contains("were not declared"), "{got}");
            }
        });
    }
}

/// Questions that travel together; the one that its handler leaves with decides whether anybody is asked at all.
#[test]
fn everything_that_a_client_lacks_is_named_at_once() {
    let last_first = |cx: &mut Context, _: Value| {
        let (name, folders) = (cx.elicit::<Person>("person", "Who?"), cx.roots());
        let folders = folders?;
        name.map(|_| folders.len())
    };
    let make = || asking().tool("last_first", "Asks.", last_first);
    let all = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    let rows = [
        ("three", json!({}), 0, all),
        (
            "three",
            json!({ "elicitation": {} }),
            1,
            json!({ "sampling": {}, "roots": {} }),
        ),
        (
            "last_first",
            json!({ "elicitation": {} }),
            0,
            json!({ "roots": {} }),
        ),
    ];
    for (tool, declared, rounds, required) in rows {
        on_every_talk(make, &declared, |talk| {
            if talk.is_modern {
                let got = talk.call(tool, json!({}), |_, _| accept(json!({ "name": "Ada" })));
                let data = json!({ "requiredCapabilities": required });
                assert_eq!(
                    (code(&got), &got["error"]["data"]),
                    (-32021, &data),
                    "{got}"
                );
                assert_eq!(talk.rounds, rounds, "{tool}");
            }
        });
    }
}

/// A form in which everything may be left out, and a model that says nothing.
#[test]
fn an_answer_may_be_as_short_as_it_can_be() {
    #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
    #[schemars(crate = "mcp_threads::schemars")]
    struct Wishes {
        wish: Option<String>,
    }
    let wishes = |cx: &mut Context, _: Value| {
        let asked = cx.elicit::<Wishes>("wishes", "What?")?.accepted();
        Ok::<_, AskError>(format!("{:?}", asked.map(|wishes| wishes.wish)))
    };
    let make = || asking().tool("wishes", "Asks.", wishes);
    on_every_talk(make, &everything(), |talk| {
        let got = talk.call("wishes", json!({}), |_, _| json!({ "action": "accept" }));
        assert_eq!(text(&got), "Some(None)", "{got}");
        let got = talk.call("model", json!({}), |_, _| json!({ "content": [] }));
        assert_eq!(got["result"].get("isError"), None, "{got}");
    });
}

/// A block of text that has none, which a modern client is asked for again.
#[test]
fn a_model_that_says_no_text_has_not_answered() {
    let bad = [
        json!({ "type": "text" }),
        json!([{ "type": "text", "text": "a" }, {}]),
        json!("text"),
        json!(5),
    ];
    for content in bad {
        on_every_talk(asking, &everything(), |talk| {
            let mut asked = 0;
            let got = talk.call("model", json!({}), |_, _| {
                asked += 1;
                match asked {
                    1 => json!({ "content": content }),
                    _ => json!({ "content": { "type": "text", "text": "well" } }),
                }
            });
            let (times, is_error) = if talk.is_modern {
                (2, None)
            } else {
                (1, Some(&json!(true)))
            };
            assert_eq!(
                (asked, got["result"].get("isError")),
                (times, is_error),
                "{got}"
            );
        });
    }
}

#[test]
fn a_prompt_that_may_not_ask_fails() {
    on_every_talk(asking, &json!({}), |talk| {
        let got = talk.ask("prompts/get", json!({ "name": "person" }), nobody);
        assert_eq!(code(&got), if talk.is_modern { -32021 } else { -32603 });
    });
}

/// A kept value is made once, although a handler of the stateless era runs once for each round.
#[test]
fn what_is_kept_is_made_once() {
    let runs = Arc::new(AtomicUsize::new(0));
    let made = Arc::new(AtomicUsize::new(0));
    let make = || {
        let (runs, made) = (Arc::clone(&runs), Arc::clone(&made));
        Server::new("it", "1").tool("order", "Asks twice.", move |cx: &mut Context, _: Value| {
            runs.fetch_add(1, Ordering::Relaxed);
            let number = cx.keep("number", || made.fetch_add(1, Ordering::Relaxed));
            let who = cx.elicit::<Person>("who", "Who?")?;
            let whom = cx.elicit::<Person>("whom", &format!("For whom is {number}?"))?;
            let names = [who, whom].map(|asked| asked.accepted().map(|person| person.name));
            Ok::<_, AskError>(format!("{number} {names:?}"))
        })
    };
    on_every_talk(make, &everything(), |talk| {
        runs.store(0, Ordering::Relaxed);
        made.store(7, Ordering::Relaxed);
        let mut names = ["Ada", "Bob"].into_iter();
        let mut questions = Vec::new();
        let got = talk.call("order", json!({}), |_, params| {
            questions.push(params["message"].clone());
            accept(json!({ "name": names.next() }))
        });
        assert_eq!(text(&got), r#"7 [Some("Ada"), Some("Bob")]"#);
        assert_eq!(questions, ["Who?", "For whom is 7?"]);
        assert_eq!(made.load(Ordering::Relaxed), 8, "once");
        assert_eq!(
            runs.load(Ordering::Relaxed),
            if talk.is_modern { 3 } else { 1 }
        );
    });
}

/// Every time that can be set may be set to for ever, whatever is counted from it.
#[test]
fn law_9_a_time_may_be_as_long_as_one_likes() {
    let for_ever = || {
        Limits::default()
            .session_idle_timeout(Duration::MAX)
            .stream_after(Duration::MAX)
            .heartbeat_interval(Duration::MAX)
            .cancel_grace(Duration::MAX)
            .ask_timeout(Duration::MAX)
            .request_state_ttl(Duration::MAX)
            .head_timeout(Duration::MAX)
            .body_timeout(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .write_timeout(Duration::MAX)
            .retry_hint(Duration::MAX)
            .linger_timeout(Duration::MAX)
            .buffer_idle_timeout(Duration::MAX)
            .refused_linger(Duration::MAX)
    };
    let make = || {
        asking()
            .limits(for_ever())
            .tool("two", "Asks twice.", |cx: &mut Context, _: Value| {
                let kept = cx.keep("kept", || 7);
                let who = cx.elicit::<Person>("who", "Who?")?;
                let whom = cx.elicit::<Person>("whom", "For whom?")?;
                let names = [who, whom].map(|asked| asked.accepted().map(|person| person.name));
                Ok::<_, AskError>(format!("{kept} {names:?}"))
            })
    };
    on_every_talk(make, &everything(), |talk| {
        let got = talk.call("two", json!({}), |_, _| accept(json!({ "name": "Ada" })));
        assert_eq!(text(&got), r#"7 [Some("Ada"), Some("Ada")]"#);
    });
}
