//! Both eras on one endpoint and one pipe: the handshake, sessions, and who is served under which rules.

use mcp_threads::{
    ContentBlock, Execution, Json, Prompt, PromptMessage, ResourceLink, Role, Server, Tool,
};
use serde_json::{Value, json};

use crate::harness::message::{cancel, initialize};
use crate::harness::{
    Gate, Served, call, code, legacy, legacy_call, modern, on_every_wire, probes, text,
};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{http::Session, on_every_front};

/// What is asked for, and what is settled.
const VERSIONS: [(&str, &str); 6] = [
    ("2025-11-25", "2025-11-25"),
    ("2025-06-18", "2025-06-18"),
    ("2025-03-26", "2025-03-26"),
    ("2024-11-05", "2024-11-05"),
    ("2026-07-28", "2025-11-25"),
    ("tomorrow", "2025-11-25"),
];

/// A client that obeys takes one of those that are offered, and would come back with the same for ever.
#[test]
fn a_revision_that_is_refused_is_not_offered() {
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    let rows = [
        ("2025-11-25", json!(["2026-07-28"])),
        ("2024-11-05", json!(["2026-07-28"])),
    ];
    for (version, offered) in rows {
        let mut message = modern(1, "tools/list", json!({}));
        message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
        let refused = client.ask(&message);
        assert_eq!(code(&refused), -32022, "{refused}");
        let data = json!({ "supported": offered, "requested": version });
        assert_eq!(refused["error"]["data"], data);
    }
    client.close();
    served.stop();
}

#[track_caller]
fn assert_initialized(answer: &Value, settled: &str) {
    let result = &answer["result"];
    assert_eq!(result["protocolVersion"], settled, "{answer}");
    assert_eq!(
        result["serverInfo"],
        json!({ "name": "it", "version": "1.0.0", "title": "It" })
    );
    assert_eq!(result["instructions"], "Ask.");
    assert_eq!(
        result["capabilities"],
        json!({ "tools": { "listChanged": true }, "logging": {} })
    );
    for absent in ["resultType", "_meta", "ttlMs", "cacheScope"] {
        assert_eq!(
            result.get(absent),
            None,
            "{absent} belongs to the other era"
        );
    }
}

fn introduced() -> Server {
    probes(&Gate::new()).title("It").instructions("Ask.")
}

#[test]
fn the_handshake_settles_on_a_version_on_a_pipe() {
    for (asked, settled) in VERSIONS {
        let (served, mut client) = Served::pipe(introduced());
        assert_eq!(
            client.ask(&legacy("early", "ping", json!({})))["result"],
            json!({})
        );
        assert_initialized(&client.initialize(asked), settled);
        assert_eq!(
            text(&client.ask(&legacy_call(1, "echo", json!({ "text": "a" })))),
            "a"
        );
        client.close();
        served.stop();
    }
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn the_handshake_settles_on_a_version_over_http() {
    on_every_front(|front| {
        let (served, http) = front.serve(introduced());
        for (asked, settled) in VERSIONS {
            let ask = http.post(initialize(0, asked).to_string());
            for ask in [
                ask.clone(),
                ask.field("MCP-Protocol-Version", "2025-11-25")
                    .field("Mcp-Method", "initialize"),
            ] {
                let mut reply = ask.send();
                assert_eq!(reply.status, 200);
                let id = reply
                    .field("Mcp-Session-Id")
                    .expect("there is a session")
                    .to_owned();
                assert!(
                    id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_graphic()),
                    "{id}"
                );
                let answer = reply.json();
                assert_eq!(answer["id"], 0);
                assert_initialized(&answer, settled);
            }
        }
        assert_eq!(served.stats().sessions, 2 * VERSIONS.len());
        served.stop();
    });
}

#[test]
fn a_handshake_without_a_version_is_refused() {
    let (served, mut client) = Served::pipe(introduced());
    for params in [json!({}), json!({ "protocolVersion": 7 })] {
        assert_eq!(code(&client.ask(&legacy(1, "initialize", params))), -32602);
    }
    client.close();
    served.stop();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn a_session_lives_from_its_handshake_to_its_delete() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate));
        let one = http.initialize("2025-11-25");
        let other = http.initialize("2025-06-18");
        assert_ne!(one.id, other.id);
        let ping = legacy(1, "ping", json!({}));
        assert_eq!(
            one.ask(&ping),
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} })
        );
        // The version's header is the client's business: without it, or with another legacy one, the session is what counts.
        for ask in [
            one.post(&ping).without("MCP-Protocol-Version"),
            one.post(&ping).field("MCP-Protocol-Version", "2025-03-26"),
        ] {
            assert_eq!(ask.send().json()["result"], json!({}));
        }
        let unread = one
            .post(&legacy_call(2, "wait", json!({ "who": "in the session" })))
            .connect();
        assert_eq!(gate.began(), "in the session");
        assert_eq!(one.delete(), 204);
        assert_eq!(gate.cancelled(), "in the session", "its calls end with it");
        assert_eq!(unread.reply().body(), "");

        let unknown = Session {
            id: "never-issued".into(),
            ..other.clone()
        };
        for gone in [&one, &unknown] {
            assert_eq!(gone.delete(), 404);
            let unreadable = legacy("y", "tools/list", json!({ "cursor": 7 }));
            for message in [
                ping.clone(),
                legacy_call("x", "echo", json!({})),
                unreadable,
            ] {
                let mut reply = gone.post(&message).send();
                assert_eq!(reply.status, 404);
                let answer = reply.json();
                assert_eq!((code(&answer), &answer["id"]), (-32600, &message["id"]));
            }
            let notification = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            assert_eq!(gone.post(&notification).send().status, 404);
            assert_eq!(
                gone.post(&json!({ "jsonrpc": "2.0", "id": 1, "result": {} }))
                    .send()
                    .status,
                404
            );
        }
        assert_eq!(other.ask(&ping)["result"], json!({}), "the other one lives");
        assert_eq!(http.bare("DELETE", "/mcp").send().status, 400);
        assert_eq!(served.stats().sessions, 1);
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn a_legacy_request_without_its_session_is_refused() {
    on_every_front(|front| {
        let (served, http) = front.serve(introduced());
        for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
            for method in ["tools/list", "ping", "server/discover"] {
                let ask = http.post(legacy(3, method, json!({})).to_string());
                let mut reply = ask.field("MCP-Protocol-Version", version).send();
                assert_eq!(reply.status, 400);
                let answer = reply.json();
                assert_eq!((code(&answer), &answer["id"]), (-32600, &json!(3)));
                assert!(
                    answer.to_string().contains("initialize"),
                    "it says what to do: {answer}"
                );
            }
        }
        // The version comes before what else is wrong.
        let session = http.initialize("2025-11-25");
        for params in [json!({}), json!({ "level": 7 })] {
            let ask = session.post(&legacy(4, "ping", params));
            let mut reply = ask.field("MCP-Protocol-Version", "tomorrow").send();
            assert_eq!((reply.status, code(&reply.json())), (400, -32600));
        }
        let twice = http
            .initialize("2025-11-25")
            .post(&legacy(1, "ping", json!({})));
        assert_eq!(
            twice.and_field("Mcp-Session-Id", "second").send().status,
            400
        );
        served.stop();
    });
}

/// `MCP-Protocol-Version` counts for everything a client sends, not only for requests.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn what_is_no_request_must_name_a_version_and_its_session_too() {
    on_every_front(|front| {
        let (served, http) = front.serve(introduced());
        let session = http.initialize("2025-11-25");
        let silent = [
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
        ];
        for message in &silent {
            let alone = http.post(message.to_string());
            let rows = [
                (session.post(message), "tomorrow", -32600),
                (session.post(message), "2026-07-28", -32600),
                (alone.clone(), "2025-11-25", -32600),
                (alone.clone(), "tomorrow", -32022),
            ];
            for (ask, version, expected) in rows {
                let mut reply = ask.field("MCP-Protocol-Version", version).send();
                assert_eq!(reply.status, 400, "{version}: {message}");
                let answer = reply.json();
                assert_eq!((code(&answer), answer.get("id")), (expected, None));
            }
            let modern = alone.field("MCP-Protocol-Version", "2026-07-28");
            assert_eq!(modern.send().status, 202, "{message}");
        }
        let delete = http
            .bare("DELETE", "/mcp")
            .field("Mcp-Session-Id", &session.id);
        for (version, status) in [("tomorrow", 400), ("2026-07-28", 405), ("2025-11-25", 204)] {
            let ask = delete.clone().field("MCP-Protocol-Version", version);
            assert_eq!(ask.send().status, status, "{version}");
        }
        served.stop();
    });
}

#[test]
fn methods_of_the_other_era_do_not_exist() {
    on_every_wire(introduced, |wire| {
        let (own, foreign): (&[&str], &[&str]) = if wire.is_modern {
            (
                &["server/discover"],
                &[
                    "initialize",
                    "ping",
                    "logging/setLevel",
                    "resources/subscribe",
                ],
            )
        } else {
            (&["ping"], &["server/discover", "subscriptions/listen"])
        };
        for method in own {
            assert!(
                wire.ask(method, json!({})).get("result").is_some(),
                "{}: {method}",
                wire.name
            );
        }
        for method in foreign {
            assert_eq!(
                code(&wire.ask(method, json!({}))),
                -32601,
                "{}: {method}",
                wire.name
            );
        }
    });
}

/// Before 2026-07-28 the schema of a property is an object, and strict clients drop a whole list for one that is not.
#[test]
fn earlier_revisions_are_shown_properties_that_are_objects() {
    let schema = json!({ "type": "object", "properties": { "any": true, "no": false, "one": { "type": "string" } } });
    let make = || {
        let tool = Tool::new("any").input_schema(schema.clone());
        let tool = tool.output_schema(schema.clone());
        Server::new("it", "1").register(tool.handler(|value: Value| Json(value)))
    };
    on_every_wire(make, |wire| {
        let listed = wire.ask("tools/list", json!({}));
        let tool = &listed["result"]["tools"][0];
        let expected = match wire.is_modern {
            true => schema["properties"].clone(),
            false => json!({ "any": {}, "no": { "not": {} }, "one": { "type": "string" } }),
        };
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["properties"], expected, "{}", wire.name);
        }
    });
}

/// A link to a resource exists since 2025-06-18; a client of an earlier revision cannot read a result that has one.
#[test]
fn the_first_revision_is_told_of_links_in_words() {
    let make = || {
        let link = || ContentBlock::resource_link(ResourceLink::new("it://a", "A"));
        let prompt = Prompt::new("see").handler(move || PromptMessage::new(Role::User, link()));
        let tool = Tool::new("see").execution(Execution::EitherWay);
        Server::new("it", "1")
            .job_tools()
            .register(tool.handler(move |_: Value| vec![ContentBlock::text("x"), link()]))
            .register(prompt)
    };
    for (version, expected) in [
        (
            "2025-06-18",
            json!({ "type": "resource_link", "uri": "it://a", "name": "A" }),
        ),
        ("2025-03-26", json!({ "type": "text", "text": "A: it://a" })),
    ] {
        let (served, mut client) = Served::pipe(make());
        client.initialize(version);
        let called = client.ask(&legacy_call(1, "see", json!({})));
        let text = json!({ "type": "text", "text": "x" });
        assert_eq!(called["result"]["content"], json!([text, expected]));
        let job = client.ask(&legacy_call(1, "see", json!({ "background": true })));
        let job = json!({ "job": job["result"]["structuredContent"]["job"], "wait_seconds": 30 });
        client.ask(&legacy_call(1, "job_status", job.clone()));
        let fetched = client.ask(&legacy_call(1, "job_result", job));
        assert_eq!(fetched["result"]["content"], json!([text, expected]));
        let got = client.ask(&legacy(2, "prompts/get", json!({ "name": "see" })));
        assert_eq!(got["result"]["messages"][0]["content"], expected);
        client.close();
        served.stop();
    }
}

#[test]
fn both_eras_are_interleaved_on_one_pipe() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(4));
    // Modern requests need no handshake, before one or after it.
    assert_eq!(
        text(&client.ask(&call(1, "echo", json!({ "text": "before" })))),
        "before"
    );
    let refused = client.ask(&legacy_call(2, "echo", json!({})));
    assert_eq!(
        code(&refused),
        -32602,
        "without a handshake a request is modern, and this one lacks its metadata"
    );
    client.initialize("2025-03-26");
    client.send(&call(3, "gate", json!({ "who": "modern" })));
    client.send(&legacy_call(4, "gate", json!({ "who": "legacy" })));
    gate.began();
    gate.began();
    let discovered = client.ask(&modern(5, "server/discover", json!({})));
    assert_eq!(discovered["result"]["resultType"], "complete");
    assert_eq!(
        client.ask(&legacy(6, "ping", json!({})))["result"],
        json!({})
    );
    gate.let_go(2);
    let modern_answer = client.answer(3);
    assert_eq!(modern_answer["result"]["resultType"], "complete");
    assert_eq!(
        modern_answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "it"
    );
    let legacy_answer = client.answer(4);
    assert_eq!(
        legacy_answer["result"],
        json!({ "content": [{ "type": "text", "text": "legacy" }] })
    );
    assert_eq!(text(&modern_answer), "modern");
    client.close();
    assert_eq!(client.rest().len(), 0);
    served.stop();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn both_eras_are_interleaved_on_one_endpoint() {
    on_every_front(|front| {
        let (served, http) = front.serve(introduced());
        let session = http.initialize("2025-11-25");
        for id in 1..=5 {
            let legacy_answer = session.ask(&legacy_call(id, "echo", json!({ "text": "l" })));
            assert_eq!(
                legacy_answer["result"],
                json!({ "content": [{ "type": "text", "text": "l" }] })
            );
            let modern_answer = http.ask(&call(id, "echo", json!({ "text": "m" })));
            assert_eq!(modern_answer["result"]["resultType"], "complete");
            // Modern metadata makes a request modern, whatever session it names.
            let both = http
                .modern(&call(id, "echo", json!({ "text": "b" })))
                .field("Mcp-Session-Id", &session.id);
            assert_eq!(both.send().message()["result"]["resultType"], "complete");
        }
        served.stop();
    });
}

#[test]
fn discover_says_everything_and_every_modern_result_is_stamped() {
    on_every_wire(introduced, |wire| {
        if !wire.is_modern {
            return;
        }
        let discovered = wire.ask("server/discover", json!({}));
        let meta = json!({ "io.modelcontextprotocol/serverInfo": { "name": "it", "version": "1.0.0", "title": "It" } });
        let expected = json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"],
            "capabilities": { "tools": { "listChanged": true }, "logging": {} },
            "instructions": "Ask.",
            "ttlMs": 300_000,
            "cacheScope": "public",
            "_meta": meta,
        });
        assert_eq!(discovered["result"], expected, "{}", wire.name);
        let listed = wire.ask("tools/list", json!({}));
        for (member, value) in [
            ("resultType", json!("complete")),
            ("ttlMs", json!(300_000)),
            ("cacheScope", json!("public")),
            ("_meta", meta.clone()),
        ] {
            assert_eq!(listed["result"][member], value, "{}", wire.name);
        }
        let called = wire.call("echo", json!({}));
        assert_eq!(
            (&called["result"]["resultType"], &called["result"]["_meta"]),
            (&json!("complete"), &meta)
        );
    });
}

/// No version has been negotiated when `initialize` comes, so the header can say what it will; modern metadata in the body stay what they are.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_14_the_body_of_initialize_decides_the_era() {
    on_every_front(|front| {
        let (served, http) = front.serve(introduced());
        let hello = http.post(initialize(0, "2025-06-18").to_string());
        for version in ["", "tomorrow", "2026-07-28", "2024-11-05", "1.0"] {
            let mut reply = hello.clone().field("MCP-Protocol-Version", version).send();
            assert_eq!(reply.status, 200, "{version:?}");
            assert_eq!(reply.json()["result"]["protocolVersion"], "2025-06-18");
            assert!(reply.field("Mcp-Session-Id").is_some(), "{version:?}");
        }
        let mut ended = hello.field("Mcp-Session-Id", "one that has ended").send();
        assert_eq!(ended.json()["result"]["protocolVersion"], "2025-06-18");

        let modern = http.modern(&modern(1, "initialize", json!({}))).send();
        assert_eq!(code(&modern.message()), -32601);
        let discovered = http.ask(&crate::harness::modern(1, "server/discover", json!({})));
        let listed = discovered["result"]["supportedVersions"].to_string();
        assert!(!listed.contains("2024-11-05"), "{listed}");

        let first = http.initialize("2024-11-05");
        assert_eq!(first.version, "2024-11-05");
        let echo = first.ask(&legacy_call(1, "echo", json!({ "text": "a" })));
        assert_eq!(text(&echo), "a", "its header says that version, too");
        served.stop();
    });
}

/// A handshake-era client gets empty lists of what there is nothing of, because some give up a server otherwise.
#[test]
fn law_14_a_list_of_nothing_is_empty_in_the_handshake_era() {
    let make = || probes(&Gate::new());
    let rows = [
        ("prompts/list", json!({}), json!({ "prompts": [] })),
        ("resources/list", json!({}), json!({ "resources": [] })),
        (
            "resources/templates/list",
            json!({}),
            json!({ "resourceTemplates": [] }),
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "a" }, "argument": { "name": "b", "value": "c" } }),
            json!({ "completion": { "values": [], "total": 0, "hasMore": false } }),
        ),
    ];
    on_every_wire(make, |wire| {
        for (method, params, expected) in &rows {
            let answer = wire.ask(method, params.clone());
            match wire.is_modern {
                true => assert_eq!(code(&answer), -32601, "{method}"),
                false => assert_eq!(answer["result"], *expected, "{method}"),
            }
        }
        for (method, params) in [
            ("prompts/get", json!({ "name": "a" })),
            ("resources/read", json!({ "uri": "a:b" })),
        ] {
            assert_eq!(code(&wire.ask(method, params)), -32601, "{method}");
        }
    });
}

/// A client that numbers every call 1 gets all its answers, each on its own connection; what it cancels then could be any of them.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_14_calls_with_one_id_are_all_served_over_http() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate));
        let session = http.initialize("2025-11-25");
        let wait = |who: &str| legacy_call(1, "wait", json!({ "who": who }));
        let twins = ["a", "b"].map(|who| {
            let unread = session.post(&wait(who)).connect();
            assert_eq!(gate.began(), who);
            unread
        });
        assert_eq!(session.post(&cancel(1)).send().status, 202);
        gate.let_go(2);
        let answers = twins.map(|unread| text(&unread.reply().message()).to_owned());
        assert_eq!(answers, ["a", "b"]);

        let unread = session.post(&wait("c")).connect();
        assert_eq!(gate.began(), "c");
        assert_eq!(session.post(&cancel(1)).send().status, 202);
        assert_eq!(gate.cancelled(), "c", "the only one with this id");
        assert_eq!(unread.reply().messages().len(), 0);
        let twins = ["d", "e"].map(|who| {
            let unread = session.post(&wait(who)).connect();
            assert_eq!(gate.began(), who);
            unread
        });
        assert_eq!(session.delete(), 204);
        let mut cancelled = [gate.cancelled(), gate.cancelled()];
        cancelled.sort();
        assert_eq!(cancelled, ["d", "e"], "a session that ends, ends both");
        drop(twins);
        served.stop();
    });
}
