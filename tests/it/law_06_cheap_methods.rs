//! Law 6: cheap methods never wait for handlers. Every worker is wedged and the queue is full, and the server still answers.

use mcp_threads::Limits;
use serde_json::{Value, json};

use crate::harness::message::{cancel, initialize};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{Gate, Served, call, code, legacy, legacy_call, modern, probes, text};

#[test]
fn law_6_a_stuck_server_still_answers_on_a_pipe() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(2).queue(2));
    client.initialize("2025-11-25");
    for id in 1..=4 {
        client.send(&legacy_call(id, "gate", json!({})));
        if id <= 2 {
            gate.began();
        }
    }
    served.until_main("everything is full", |main| {
        (main.busy, main.queued) == (2, 2)
    });

    assert_eq!(
        client.ask(&legacy("ping", "ping", json!({})))["result"],
        json!({})
    );
    let discovered = client.ask(&modern("discover", "server/discover", json!({})));
    assert_eq!(discovered["result"]["resultType"], "complete");
    for list in [
        legacy("list", "tools/list", json!({})),
        modern("list", "tools/list", json!({})),
    ] {
        assert!(client.ask(&list)["result"]["tools"].is_array());
    }
    assert_eq!(
        client.ask(&legacy(
            "level",
            "logging/setLevel",
            json!({ "level": "error" })
        ))["result"],
        json!({})
    );
    assert_eq!(
        text(&client.ask(&legacy_call("look", "look", json!({})))),
        "looking"
    );
    assert_eq!(
        text(&client.ask(&call("look", "look", json!({})))),
        "looking"
    );
    assert_eq!(
        code(&client.ask(&legacy_call("echo", "echo", json!({})))),
        503
    );
    assert_eq!(
        code(&client.ask(&legacy_call("echo", "unknown", json!({})))),
        -32602
    );
    // A queued call goes, and a running one, deaf as it is, gets no answer.
    for id in [1, 3] {
        client.send(&cancel(id));
    }
    let again = client.ask(&initialize("again", "2025-06-18"));
    assert_eq!(again["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(served.main().busy, 2, "all the time");

    gate.let_go(4);
    client.close();
    let mut rest: Vec<Value> = client
        .rest()
        .into_iter()
        .map(|answer| answer["id"].clone())
        .collect();
    rest.sort_by_key(|id| id.as_u64());
    assert_eq!(rest, [2, 4], "what was cancelled has no answer");
    served.stop();
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_6_a_stuck_server_still_answers_over_http() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate).workers(2).queue(1));
        let session = http.initialize("2025-11-25");
        let mut unread = Vec::new();
        for id in 1..=2 {
            unread.push(http.modern(&call(id, "gate", json!({}))).connect());
            gate.began();
        }
        let queued = session.post(&legacy_call(3, "gate", json!({}))).connect();
        served.until_main("everything is full", |main| {
            (main.busy, main.queued) == (2, 1)
        });

        assert_eq!(
            session.ask(&legacy(10, "ping", json!({})))["result"],
            json!({})
        );
        assert!(session.ask(&legacy(11, "tools/list", json!({})))["result"]["tools"].is_array());
        assert!(http.ask(&modern(12, "tools/list", json!({})))["result"]["tools"].is_array());
        assert!(
            http.ask(&modern(13, "server/discover", json!({})))["result"]["supportedVersions"]
                .is_array()
        );
        assert_eq!(http.initialize("2025-03-26").version, "2025-03-26");
        assert_eq!(text(&http.ask(&call(14, "look", json!({})))), "looking");
        assert_eq!(http.modern(&call(15, "echo", json!({}))).send().status, 503);
        assert_eq!(session.post(&cancel(3)).send().status, 202);
        assert_eq!(queued.reply().body(), "", "a queued call can be cancelled");
        assert_eq!(http.bare("PUT", "/mcp").send().status, 405);
        assert_eq!(session.delete(), 204);

        gate.let_go(2);
        for unread in unread {
            assert_eq!(text(&unread.reply().message()), "somebody");
        }
        served.stop();
    });
}

/// A lane of one's own is a bulkhead: filling it does nothing to the others, nor they to it.
#[test]
fn law_6_a_full_lane_leaves_the_others_alone() {
    let gate = Gate::new();
    let door = gate.door();
    let server = probes(&gate)
        .workers(1)
        .queue(0)
        .lane(mcp_threads::Lane::new("db").workers(1).queue(1))
        .register(
            mcp_threads::Tool::new("query")
                .lane("db")
                .handler(move |_: Value| {
                    door.pass("query");
                    "rows"
                }),
        );
    let (served, mut client) = Served::pipe(server);
    client.send(&call(1, "query", json!({})));
    assert_eq!(gate.began(), "query");
    client.send(&call(2, "query", json!({})));
    let refused = client.ask(&call(3, "query", json!({})));
    assert_eq!(
        (code(&refused), &refused["error"]["data"]["lane"]),
        (503, &json!("db"))
    );
    assert_eq!(text(&client.ask(&call(4, "look", json!({})))), "looking");
    served.until_main("main is idle", |main| main.busy == 0);
    let names: Vec<String> = served
        .stats()
        .lanes
        .into_iter()
        .map(|lane| lane.name)
        .collect();
    assert_eq!(names, ["main", "urgent", "db"]);
    gate.let_go(2);
    for id in [1, 2] {
        assert_eq!(text(&client.answer(id)), "rows");
    }
    client.close();
    served.stop();
}

/// What limits the answers that wait to be read does not limit the calls that are under way: their client is heard all the same.
#[test]
fn law_6_a_pipe_is_read_however_many_calls_wait() {
    const QUEUED: usize = 20;
    let gate = Gate::new();
    let limits = Limits::default().outbox_answers_max(1);
    let server = probes(&gate).workers(1).queue(QUEUED).limits(limits);
    let (served, mut client) = Served::pipe(server);
    client.initialize("2025-11-25");
    client.send(&legacy_call(0, "gate", json!({})));
    gate.began();
    for id in 1..=QUEUED {
        client.send(&legacy_call(id, "echo", json!({ "text": "after all" })));
    }
    assert_eq!(
        client.ask(&legacy("ping", "ping", json!({})))["result"],
        json!({})
    );
    assert_eq!(served.main().queued, QUEUED);
    client.send(&cancel(0));
    gate.let_go(1);
    for id in 1..=QUEUED {
        assert_eq!(text(&client.answer(id)), "after all");
    }
    client.close();
    served.stop();
}
