//! JSON-RPC batches: in revision 2025-03-26, and nowhere else.

use serde_json::{Value, json};

use crate::harness::message::cancel;
use crate::harness::{Gate, Served, call, code, legacy, legacy_call, probes, text};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{logs, on_every_front};

fn notification() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}

/// One of everything that may stand in a batch.
fn mixed() -> Value {
    json!([
        legacy(1, "ping", json!({})),
        notification(),
        legacy_call(2, "echo", json!({ "text": "two" })),
        legacy(3, "no/such", json!({})),
        { "jsonrpc": "1.0", "id": 4, "method": "ping" },
        7,
        { "jsonrpc": "2.0", "id": "theirs", "result": {} },
        legacy_call(5, "panic", json!({})),
        legacy(6, "tools/list", json!({ "cursor": "x" })),
        legacy_call(8, "look", json!({})),
        // A modern request in it is served like its neighbours.
        call(9, "echo", json!({ "text": "nine" })),
    ])
}

#[track_caller]
fn assert_mixed(answers: &Value) {
    let answers = answers
        .as_array()
        .expect("a batch is answered with an array");
    let answer = |id: Value| {
        let mut with_id = answers
            .iter()
            .filter(|answer| answer.get("id") == Some(&id));
        match (with_id.next(), with_id.next()) {
            (Some(answer), None) => answer,
            other => panic!("one answer for {id}, not {other:?}"),
        }
    };
    assert_eq!(answer(json!(1))["result"], json!({}));
    assert_eq!(text(answer(json!(2))), "two");
    assert_eq!(code(answer(json!(3))), -32601);
    assert_eq!(code(answer(json!(4))), -32600);
    assert_eq!(code(answer(json!(5))), -32603);
    assert_eq!(code(answer(json!(6))), -32602);
    assert_eq!(text(answer(json!(8))), "looking");
    assert_eq!(text(answer(json!(9))), "nine");
    let without_id: Vec<_> = answers
        .iter()
        .filter(|answer| answer.get("id").is_none())
        .collect();
    assert_eq!(
        without_id.len(),
        1,
        "the one that is no message: {without_id:?}"
    );
    assert_eq!(
        answers.len(),
        9,
        "notifications and responses have no answer"
    );
}

#[test]
fn a_batch_on_a_pipe_is_answered_with_one_array() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(2));
    client.initialize("2025-03-26");
    client.send(&mixed());
    assert_mixed(&client.recv());
    client.send(&json!([notification(), notification()]));
    assert_eq!(client.sent_so_far().len(), 0, "nothing to answer");

    // A slow member keeps the array back, and nothing else.
    client.send(&json!([
        legacy_call("slow", "gate", json!({})),
        legacy("fast", "ping", json!({}))
    ]));
    gate.began();
    assert_eq!(client.sent_so_far().len(), 0);
    gate.let_go(1);
    let answers = client.recv();
    let ids: Vec<_> = answers
        .as_array()
        .expect("an array")
        .iter()
        .map(|answer| answer["id"].clone())
        .collect();
    assert_eq!(ids, ["fast", "slow"], "as they came");
    client.close();
    assert_eq!(client.rest().len(), 0);
    served.stop();
}

/// A list of what a message consists of is none, whatever the order.
#[test]
fn law_9_a_member_that_is_a_list_is_no_message() {
    let (served, mut client) = Served::pipe(probes(&Gate::new()));
    client.initialize("2025-03-26");
    client.send(&json!([
        ["2.0", 1, "ping"],
        ["2.0", 2, "tools/call", { "name": "echo", "arguments": { "text": "two" } }],
        [3],
        [],
        legacy(4, "ping", json!({})),
    ]));
    let answers = client.recv();
    let answers = answers.as_array().expect("an array");
    let ids: Vec<_> = answers.iter().map(|answer| answer.get("id")).collect();
    assert_eq!(
        ids,
        [None, None, None, None, Some(&json!(4))],
        "{answers:?}"
    );
    assert!(answers[..4].iter().all(|answer| code(answer) == -32600));
    client.close();
    assert_eq!(client.rest().len(), 0);
    assert_eq!(served.main().done, 0, "nothing of it was executed");
    served.stop();
}

#[test]
fn members_of_a_batch_are_cancelled_and_refused_like_others() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1).queue(1));
    client.initialize("2025-03-26");
    client.send(&json!([legacy_call(1, "wait", json!({ "who": "1" }))]));
    assert_eq!(gate.began(), "1");
    client.send(&json!([
        legacy_call(2, "wait", json!({ "who": "2" })),
        legacy_call(3, "wait", json!({ "who": "3" })),
        legacy_call(1, "echo", json!({})),
    ]));
    served.until_main("one waits and one is refused", |main| {
        (main.queued, main.refused) == (1, 1)
    });
    client.send(&json!([cancel(1), cancel(2)]));
    assert_eq!(gate.cancelled(), "1");
    let answers = client.recv();
    let codes: Vec<_> = answers
        .as_array()
        .expect("an array")
        .iter()
        .map(|answer| (answer["id"].clone(), code(answer)))
        .collect();
    assert_eq!(
        codes,
        [(json!(3), 503), (json!(1), -32600)],
        "the cancelled one is left out"
    );
    assert_eq!(
        client.sent_so_far().len(),
        0,
        "a batch of which everything was cancelled has no answer"
    );
    client.close();
    served.stop();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn a_batch_over_http_is_answered_with_one_array() {
    logs::keep();
    on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        let session = http.initialize("2025-03-26");
        let mut reply = session.post(&mixed()).send();
        assert_eq!((reply.status, reply.is_stream()), (200, false));
        assert_mixed(&reply.json());
        let mut reply = session
            .post(&json!([notification(), notification()]))
            .send();
        assert_eq!((reply.status, reply.body()), (202, String::new()));
        // Progress turns the answer into a stream, whose last message is the array.
        let alone = json!([legacy_call(1, "echo", json!({ "text": "a" }))]);
        assert_eq!(
            text(&session.post(&alone).send().json()[0]),
            "a",
            "an array of one is an array"
        );
        served.stop();
    });
}

#[test]
fn other_revisions_refuse_batches_on_a_pipe() {
    for version in ["", "2025-06-18", "2025-11-25"] {
        let (served, mut client) = Served::pipe(probes(&Gate::new()));
        if !version.is_empty() {
            client.initialize(version);
        }
        client.send(&mixed());
        let refused = client.recv();
        assert_eq!((code(&refused), refused.get("id")), (-32600, None));
        assert!(refused.to_string().contains("2025-03-26"), "{refused}");
        client.close();
        assert_eq!(client.rest().len(), 0);
        assert_eq!(served.main().done, 0, "nothing in it was executed");
        served.stop();
    }
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn other_revisions_refuse_batches_over_http() {
    on_every_front(|front| {
        let (served, http) = front.serve(probes(&Gate::new()));
        let newer = http.initialize("2025-06-18");
        let batch = mixed();
        let asks = [
            newer.post(&batch),
            http.post(batch.to_string()),
            http.post(batch.to_string())
                .field("MCP-Protocol-Version", "2026-07-28"),
            http.post(batch.to_string())
                .field("MCP-Protocol-Version", "2025-03-26"),
        ];
        for ask in asks {
            let mut reply = ask.send();
            assert_eq!((reply.status, code(&reply.json())), (400, -32600));
        }
        let mut reply = http
            .initialize("2025-03-26")
            .post(&batch)
            .field("Mcp-Session-Id", "unknown")
            .send();
        assert_eq!((reply.status, code(&reply.json())), (404, -32600));
        assert_eq!(served.main().done, 0, "nothing in it was executed");
        served.stop();
    });
}
