//! Law 14: explicit out, generous in. Every spelling that means the same is read, and what is written cuts no line of any reader.

use serde_json::{Value, json};

use crate::harness::message::cancel;
use crate::harness::{
    Gate, Served, call, code, legacy, legacy_call, modern, on_every_wire, probes, text,
};

#[test]
fn law_14_null_is_as_good_as_absent() {
    on_every_wire(
        || probes(&Gate::new()),
        |wire| {
            for params in [
                json!({ "cursor": null }),
                json!({ "arguments": null, "name": null, "uri": null, "ref": null }),
                json!({ "inputResponses": null, "requestState": null, "level": null }),
                json!({ "_meta": { "progressToken": null, "io.modelcontextprotocol/logLevel": null } }),
            ] {
                let answer = wire.ask("tools/list", params.clone());
                assert!(answer["result"]["tools"].is_array(), "{params}: {answer}");
            }
            let answer = wire.ask("tools/call", json!({ "name": "look", "arguments": null }));
            assert!(answer["result"]["content"].is_array(), "{answer}");
        },
    );
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    client.initialize("2025-11-25");
    for params in [Value::Null, json!({ "_meta": null })] {
        let answer = client.ask(&legacy(1, "tools/list", params));
        assert!(answer["result"]["tools"].is_array(), "{answer}");
    }
    client.close();
    served.stop();
}

#[test]
fn law_14_a_byte_order_mark_is_nothing() {
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    client.send_line(&format!(
        "\u{feff}{}",
        modern(1, "server/discover", json!({}))
    ));
    assert!(client.answer(1)["result"].is_object());
    client.close();
    served.stop();
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    crate::harness::on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        let body = format!(
            "\u{feff}{}",
            legacy(1, "initialize", json!({ "protocolVersion": "2025-11-25" }))
        );
        let mut reply = http.post(body).send();
        assert!(reply.json()["result"].is_object());
        served.stop();
    });
}

/// The very text of an id: what it was sent as, it comes back as.
fn raw_id(line: &str) -> &str {
    let (_, from) = line.split_once("\"id\":").expect("it has an id");
    &from[..from.find([',', '}']).expect("it ends")]
}

#[test]
fn law_14_an_integer_is_one_however_it_is_spelled() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate));
    client.initialize("2025-11-25");
    for id in [
        "1.0",
        "7e2",
        "-0",
        "18446744073709551616",
        "170141183460469231731687303715884105727.0",
    ] {
        client.send_line(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
        assert_eq!(raw_id(&client.line().expect("an answer")), id);
    }
    // A call is found by its number, and its token comes back as it was.
    let waiting = json!({ "name": "wait", "arguments": {}, "_meta": { "progressToken": 0 } });
    let sent = legacy(5, "tools/call", waiting).to_string();
    client.send_line(
        &sent
            .replace("\"id\":5", "\"id\":5.0")
            .replace(":0}", ":7.0}"),
    );
    served.until_main("it runs", |main| main.busy == 1);
    client.send(&cancel(5));
    served.until_main("it has been cancelled", |main| main.cancelled == 1);
    client.send(&legacy_call(5, "echo", json!({ "text": "5 is free" })));
    assert_eq!(text(&client.answer(5)), "5 is free");
    client.close();
    served.stop();
}

#[test]
fn law_14_a_subscription_is_named_as_its_request_was() {
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    let listen = modern(5, "subscriptions/listen", json!({ "notifications": {} })).to_string();
    let id = "18446744073709551616.0";
    client.send_line(&listen.replace("\"id\":5", &format!("\"id\":{id}")));
    let named = format!("\"io.modelcontextprotocol/subscriptionId\":{id}");
    let acknowledged = client.line().expect("an acknowledgement");
    assert!(acknowledged.contains(&named), "{acknowledged}");
    served.shutdown(crate::harness::PATIENCE);
    let ended = client.line().expect("a result");
    assert!(ended.contains(&named) && raw_id(&ended) == id, "{ended}");
}

#[test]
fn law_14_a_refusal_has_its_id_as_far_as_it_can_be_seen() {
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    let cut = r#"{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"echo","#;
    client.send_line(cut);
    let refused = client.recv();
    assert_eq!((code(&refused), &refused["id"]), (-32700, &json!(8)));
    // It could be the id of a request of the client's own.
    client.send_line(r#"{"jsonrpc":"2.0","id":8,"result":{"a":tru}}"#);
    let refused = client.recv();
    assert_eq!((code(&refused), refused.get("id")), (-32700, None));
    client.close();
    served.stop();
}

#[test]
fn law_14_no_reader_finds_a_line_end_inside_of_a_message() {
    const BREAKS: &str = "a\u{2028}b\u{2029}c\u{85}d";
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    client.initialize("2025-11-25");
    let messages = [
        legacy_call(BREAKS, "echo", json!({ "text": BREAKS })),
        legacy(BREAKS, "ping", json!({})),
        legacy(BREAKS, "tools/call", json!({ "name": BREAKS })),
        legacy(BREAKS, BREAKS, json!({})),
        call(BREAKS, "panic", json!({ "text": BREAKS })),
    ];
    for message in &messages {
        client.send(message);
        let line = client.line().expect("an answer");
        assert!(!line.contains(['\u{2028}', '\u{2029}', '\u{85}']), "{line}");
        let answer: Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(answer["id"], BREAKS, "and still says the same");
    }
    client.close();
    served.stop();
    #[cfg(any(feature = "http", feature = "tiny-http"))]
    crate::harness::on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        let session = http.initialize("2025-11-25");
        for message in &messages[..4] {
            let body = session.post(message).send().body();
            assert!(!body.contains(['\u{2028}', '\u{2029}', '\u{85}']), "{body}");
            assert!(body.contains("a\\u2028b\\u2029c\\u0085d"), "{body}");
        }
        served.stop();
    });
}
