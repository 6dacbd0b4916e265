//! Law 9: bad input gets a clear error with the right code and id, and costs nothing.

use mcp_threads::Server;
use serde_json::{Map, Value, json};

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{
    Gate, PipeClient, Served, call, code, legacy, modern, on_every_wire, probes, text,
};

/// What cannot be served whatever the era: the bytes, the code, the id of the answer.
fn malformed() -> Vec<(String, i64, Option<Value>)> {
    let with = |member: &str, value: Value| {
        let mut message = modern(4, "tools/list", json!({}));
        message[member] = value;
        message.to_string()
    };
    let without = |member: &str| {
        let mut message = modern(4, "tools/list", json!({}));
        message
            .as_object_mut()
            .expect("a message is an object")
            .remove(member);
        message.to_string()
    };
    let four = Some(json!(4));
    vec![
        ("{".into(), -32700, None),
        ("nonsense".into(), -32700, None),
        (
            r#"{"jsonrpc":"2.0","id":4,"method":"tools/list"} x"#.into(),
            -32700,
            four.clone(),
        ),
        (
            r#"{"jsonrpc":"2.0","id":4,"method":"tools/list",}"#.into(),
            -32700,
            four.clone(),
        ),
        ("\"text\"".into(), -32600, None),
        ("null".into(), -32600, None),
        ("17".into(), -32600, None),
        ("{}".into(), -32600, None),
        (without("jsonrpc"), -32600, four.clone()),
        (with("jsonrpc", json!("1.0")), -32600, four.clone()),
        (with("jsonrpc", json!(2.0)), -32600, four.clone()),
        (without("method"), -32600, four.clone()),
        (with("method", json!(7)), -32600, four.clone()),
        (with("method", Value::Null), -32600, four.clone()),
        (with("id", Value::Null), -32600, None),
        (with("id", json!(1.5)), -32600, None),
        (with("id", json!([1])), -32600, None),
        (with("id", json!({})), -32600, None),
        (with("id", json!(true)), -32600, None),
        (with("params", json!([])), -32602, four.clone()),
        (with("params", json!("x")), -32602, four.clone()),
        (with("params", json!({ "_meta": 7 })), -32602, four.clone()),
        (
            with("params", json!({ "_meta": { "progressToken": {} } })),
            -32602,
            four.clone(),
        ),
    ]
    .into_iter()
    .chain(lists_for_objects().map(|params| (with("params", params), -32602, four.clone())))
    .collect()
}

/// Parameters with a list where an object belongs, which names its members by their order alone.
fn lists_for_objects() -> impl Iterator<Item = Value> {
    let rows = [
        ("_meta", json!(["2026-07-28", {}])),
        ("ref", json!(["ref/prompt", "p"])),
        ("argument", json!(["name", "value"])),
        ("context", json!([{}])),
        ("notifications", json!([true, true, true, []])),
        ("notifications", json!([])),
    ];
    rows.into_iter().map(|(member, list)| {
        let mut message = modern(4, "tools/list", json!({}));
        message["params"][member] = list;
        message["params"].take()
    })
}

#[track_caller]
fn check(answer: &Value, sent: &str, code: i64, id: &Option<Value>) {
    assert_eq!(answer["error"]["code"], code, "{sent} became {answer}");
    assert_eq!(answer.get("id"), id.as_ref(), "{sent} became {answer}");
    assert_eq!(answer["jsonrpc"], "2.0");
    let message = answer["error"]["message"]
        .as_str()
        .expect("it says what is wrong");
    assert!(message.len() > 10, "it says what is wrong: {message}");
    assert!(
        !message.contains("struct"),
        "in a client's words: {message}"
    );
    let is_of_the_token = sent.contains("progressToken");
    assert_eq!(
        message.contains("`progressToken`"),
        is_of_the_token,
        "{message}"
    );
}

#[test]
fn law_9_malformed_messages_on_a_pipe() {
    for initialize in [false, true] {
        let (served, mut client) = Served::pipe(probes(&Gate::new()));
        if initialize {
            client.initialize("2025-11-25");
        }
        for (sent, code, id) in malformed() {
            client.send_line(&sent);
            check(&client.recv(), &sent, code, &id);
        }
        // Bytes that are not UTF-8, and a text that ends in the middle of the input.
        client.send_line("\u{0}");
        check(&client.recv(), "NUL", -32700, &None);
        assert_eq!(
            text(&client.ask(&call(1, "echo", json!({ "text": "alive" })))),
            "alive"
        );
        served.until_main("nothing of it reached a lane", |main| {
            (main.done, main.refused) == (1, 0)
        });
        client.close();
        assert_eq!(client.rest().len(), 0);
        served.stop();
    }
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_9_malformed_messages_over_http() {
    on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        for (sent, code, id) in malformed() {
            let mut reply = http
                .post(sent.as_bytes())
                .field("MCP-Protocol-Version", "2026-07-28")
                .field("Mcp-Method", "tools/list")
                .send();
            // With good metadata, what is wrong with a parameter is the method's to say.
            let message = serde_json::from_str::<Value>(&sent).unwrap_or_default();
            let meta = &message["params"]["_meta"];
            let is_understood = meta["io.modelcontextprotocol/clientCapabilities"].is_object();
            let status = if is_understood && code == -32602 {
                200
            } else {
                400
            };
            assert_eq!(reply.status, status, "{sent}");
            check(&reply.json(), &sent, code, &id);
        }
        for bytes in [
            &b"\xff\xfe"[..],
            b"",
            b"\x00",
            b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}",
        ] {
            let mut reply = http.post(bytes).send();
            assert_eq!(reply.status, 400, "{bytes:?}");
            check(&reply.json(), &format!("{bytes:?}"), -32700, &None);
        }
        assert_eq!(
            text(&http.ask(&call(1, "echo", json!({ "text": "alive" })))),
            "alive"
        );
        served.stop();
    });
}

#[test]
fn law_9_wrong_parameters_name_the_mistake() {
    on_every_wire(
        || probes(&Gate::new()),
        |wire| {
            let rows = [
                ("tools/call", json!({}), -32602, "`name`"),
                ("tools/call", json!({ "name": 7 }), -32602, "string"),
                (
                    "tools/call",
                    json!({ "name": "nowhere" }),
                    -32602,
                    "nowhere",
                ),
                (
                    "tools/call",
                    json!({ "name": "echo", "arguments": [] }),
                    -32602,
                    "`arguments`",
                ),
                ("tools/list", json!({ "cursor": "x" }), -32602, "cursor"),
                ("tools/list", json!({ "cursor": {} }), -32602, "string"),
                ("no/such/method", json!({}), -32601, "no/such/method"),
                ("Tools/List", json!({}), -32601, "Tools/List"),
                ("", json!({}), -32601, "Method not found"),
            ];
            for (method, params, code, word) in rows {
                // Over HTTP a name that is no string cannot be mirrored, and that is found first.
                let unmirrored = wire.name == "HTTP, modern"
                    && method == "tools/call"
                    && !params["name"].is_string();
                let answer = wire.ask(method, params);
                let message = answer["error"]["message"].as_str().unwrap_or_default();
                if unmirrored && answer["error"]["code"] == -32020 {
                    continue;
                }
                assert_eq!(answer["error"]["code"], code, "{}: {answer}", wire.name);
                assert!(
                    message.contains(word),
                    "{}: {message} names {word}",
                    wire.name
                );
            }
            // A long name is not thrown back whole.
            let answer = wire.call(&"x".repeat(10_000), json!({}));
            assert!(
                answer.to_string().len() < 1000,
                "{}",
                answer.to_string().len()
            );
        },
    );
}

/// serde_json would read the text in this member in the place of the object: past every bound, and past what was compared with the headers.
#[test]
fn law_9_arguments_are_what_they_look_like() {
    on_every_wire(
        || {
            Server::new("it", "1").tool("show", "", |args: Value| {
                format!("{} members", args.as_object().map_or(0, Map::len))
            })
        },
        |wire| {
            let name = "$serde_json::private::RawValue";
            for hidden in [json!({ name: "[[[1]]]" }), json!({ "x": { name: "{" } })] {
                let answer = wire.call("show", hidden);
                assert_eq!(answer["result"]["isError"], true, "{}", wire.name);
                assert!(text(&answer).contains(name), "{}: {answer}", wire.name);
            }
            let answer = wire.call("show", json!({ "name": name, "price": "$5" }));
            assert_eq!(text(&answer), "2 members", "{}", wire.name);
        },
    );
}

/// Notifications and responses never have an answer, whatever is in them.
#[test]
fn law_9_what_is_no_request_has_no_answer() {
    let silent = [
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "method": "notifications/unknown", "params": { "a": 1 } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": null }),
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": [1] }),
        json!({ "jsonrpc": "2.0", "method": "tools/call", "params": { "name": "echo" } }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
        json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "m" } }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {}, "error": null }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {}, "error": {} }),
        json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32700, "message": "m" } }),
        json!({ "jsonrpc": "1.0", "id": [], "result": null, "error": null }),
    ];
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    client.initialize("2025-11-25");
    for message in &silent {
        client.send(message);
    }
    assert_eq!(client.sent_so_far().len(), 0);
    client.close();
    served.stop();
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        let session = http.initialize("2025-11-25");
        for message in &silent {
            for ask in [session.post(message), http.post(message.to_string())] {
                let mut reply = ask.send();
                assert_eq!(
                    (reply.status, reply.body()),
                    (202, String::new()),
                    "{message}"
                );
            }
        }
        served.stop();
    });
}

/// Ids come back as they were sent, in every shape there is.
#[test]
fn law_9_every_id_comes_back_as_it_was() {
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    let echoed = |client: &mut PipeClient, id: Value| {
        assert_eq!(
            client.ask(&modern(id.clone(), "server/discover", json!({})))["id"],
            id
        );
    };
    for id in [0, -1, i64::MAX, i64::MIN, 1_766_000_000_000] {
        echoed(&mut client, json!(id));
    }
    for id in ["", "0", "a\"\\\n\u{1F980}\u{7f}", &"x".repeat(1024)] {
        echoed(&mut client, json!(id));
    }
    let too_long = json!("x".repeat(1025));
    client.send(&modern(too_long, "server/discover", json!({})));
    let refused = client.recv();
    assert_eq!((code(&refused), refused.get("id")), (-32600, None));
    client.initialize("2025-11-25");
    assert_eq!(client.ask(&legacy(0, "ping", json!({})))["id"], 0);
    client.close();
    served.stop();
}

#[test]
fn law_9_an_error_does_not_repeat_all_that_was_sent() {
    // Each of these characters is six more when it is shown.
    let long = "\u{7f}".repeat(1 << 20);
    on_every_wire(
        || probes(&Gate::new()),
        |wire| {
            for params in [
                json!({ "notifications": long }),
                json!({ "ref": { "type": long } }),
                json!({ "level": long }),
            ] {
                let answer = wire.ask("tools/list", params);
                assert_eq!(code(&answer), -32602);
                let len = answer.to_string().len();
                assert!(len < 2048, "{}: an answer of {len} bytes", wire.name);
            }
        },
    );
}
