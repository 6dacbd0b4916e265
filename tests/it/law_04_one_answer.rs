//! Law 4: one request, one answer, whatever happens at once.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use mcp_threads::{Cancelled, Limits, RequestContext};
use serde_json::{Value, json};

use crate::harness::message::cancel;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{Dice, Gate, Served, call, code, legacy_call, probes, text, with_meta};

/// Calls, cancellations at any moment, panics, errors, refusals: each id has exactly one terminal message, or at most one if it was cancelled.
#[test]
fn law_4_any_interleaving_gives_each_request_one_answer() {
    const CALLS: u64 = 1500;
    let gate = Gate::new();
    // The client sends everything before it reads anything, so every answer must find room.
    let limits = Limits::default().outbox_answers_max(10_000);
    let server = probes(&gate).workers(6).queue(40).limits(limits).tool(
        "nap",
        "Sleeps for some microseconds, reporting progress.",
        |cx: &mut RequestContext, args: Value| -> Result<String, Cancelled> {
            for step in 0..4 {
                cx.progress(f64::from(step));
                cx.sleep(Duration::from_micros(args["us"].as_u64().unwrap_or(0)))?;
            }
            Ok(args["us"].to_string())
        },
    );
    let (served, mut client) = Served::pipe(server);
    client.initialize("2025-11-25");
    let mut dice = Dice::new(20);
    let mut expected: HashMap<u64, String> = HashMap::new();
    let mut cancelled = HashSet::new();
    let mut lines = String::new();
    for id in 1..=CALLS {
        let us = dice.roll(400);
        let request = match dice.roll(10) {
            0 => legacy_call(id, "panic", json!({})),
            1 => legacy_call(id, "no such tool", json!({})),
            2 => call(id, "nap", json!({ "us": us })),
            _ => legacy_call(id, "nap", json!({ "us": us })),
        };
        let tool = request["params"]["name"].as_str().expect("each has a name");
        expected.insert(
            id,
            if tool == "nap" {
                us.to_string()
            } else {
                tool.to_owned()
            },
        );
        let request = with_meta(request, json!({ "progressToken": id }));
        lines.push_str(&format!("{request}\n"));
        if dice.roll(3) == 0 {
            let victim = id - dice.roll(id.min(8));
            cancelled.insert(victim);
            lines.push_str(&format!("{}\n", cancel(victim)));
        }
    }
    // Sent while the answers are read: whoever does not read is made to stop sending.
    let mut writer = client.second_writer();
    let sending = thread::spawn(move || {
        writer.write_all(lines.as_bytes())?;
        writer.shutdown(Shutdown::Write)
    });
    let mut answered = HashSet::new();
    for message in client.rest() {
        if message["method"] == "notifications/progress" {
            let id = message["params"]["progressToken"]
                .as_u64()
                .expect("the token is an id");
            assert!(
                !answered.contains(&id),
                "progress after the answer: {message}"
            );
            continue;
        }
        let id = message["id"].as_u64().expect("every answer has its id");
        assert!(answered.insert(id), "a second answer: {message}");
        match (message["error"]["code"].as_i64(), expected[&id].as_str()) {
            (Some(503), _) | (Some(-32603), "panic") | (Some(-32602), "no such tool") => {}
            (None, us) => assert_eq!(text(&message), us, "the answer is that of its own call"),
            (Some(_), other) => panic!("{other} became {message}"),
        }
    }
    sending
        .join()
        .expect("sending does not panic")
        .expect("everything was taken");
    for id in 1..=CALLS {
        assert!(
            answered.contains(&id) || cancelled.contains(&id),
            "{id} has no answer, and nobody cancelled it"
        );
    }
    served.until_main("nothing is left", |main| (main.busy, main.queued) == (0, 0));
    served.stop();
}

#[test]
fn law_4_an_id_in_flight_is_refused_and_free_again_after_its_answer() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(2));
    client.initialize("2025-11-25");
    for (id, other) in [(json!(7), json!("7")), (json!("7"), json!(7))] {
        client.send(&legacy_call(id.clone(), "gate", json!({ "who": "first" })));
        assert_eq!(gate.began(), "first");
        // In either era, for it is the same pipe.
        for duplicate in [
            legacy_call(id.clone(), "echo", json!({})),
            call(id.clone(), "echo", json!({})),
        ] {
            assert_eq!(code(&client.ask(&duplicate)), -32600);
        }
        let different = client.ask(&legacy_call(other, "echo", json!({ "text": "another id" })));
        assert_eq!(text(&different), "another id", "a number is not a string");
        gate.let_go(1);
        assert_eq!(
            text(&client.answer(id.clone())),
            "first",
            "the call itself is not disturbed"
        );
        let again = client.ask(&legacy_call(id, "echo", json!({ "text": "again" })));
        assert_eq!(text(&again), "again");
    }
    client.close();
    assert_eq!(client.rest().len(), 0);
    served.stop();
}

/// The id is free before the answer can be read: whoever uses it again at once is never refused.
#[test]
fn law_4_an_id_may_be_used_again_as_soon_as_its_answer_is_read() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate));
    for round in 0..500 {
        let answer = client.ask(&call(1, "echo", json!({ "text": round.to_string() })));
        assert_eq!(text(&answer), round.to_string());
    }
    client.close();
    served.stop();
}

#[test]
fn law_4_nothing_is_sent_for_a_call_after_its_cancellation() {
    let gate = Gate::new();
    let door = gate.door();
    let server = probes(&gate).tool(
        "stubborn",
        "Goes on reporting when it is cancelled, and answers.",
        move |cx: &mut RequestContext, _: Value| {
            cx.progress(1.0);
            let _cancelled = door.pass_or_leave(cx, "stubborn");
            cx.progress(2.0);
            cx.log(mcp_threads::LoggingLevel::Emergency, "still here");
            "an answer nobody wants"
        },
    );
    let (served, mut client) = Served::pipe(server);
    client.initialize("2025-11-25");
    client.send(&with_meta(
        legacy_call(1, "stubborn", json!({})),
        json!({ "progressToken": 1 }),
    ));
    assert_eq!(gate.began(), "stubborn");
    assert_eq!(client.recv()["params"]["progress"], 1.0);
    client.send(&cancel(1));
    assert_eq!(gate.cancelled(), "stubborn");
    served.until_main("the handler has returned", |main| main.cancelled == 1);
    assert_eq!(client.sent_so_far().len(), 0);
    // Cancelling what has ended, or never was, does nothing.
    client.send(&cancel(1));
    client.send(&cancel("unknown"));
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled" }));
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": [] } }));
    assert_eq!(client.sent_so_far().len(), 0);
    client.close();
    served.stop();
}

/// However close the two come: what was answered is done, what was cancelled is not, and each call is one of the two.
#[test]
fn law_4_the_counts_say_of_each_call_what_its_client_saw() {
    const CALLS: u64 = 400;
    let (served, mut client) = Served::pipe(probes(&Gate::new()).workers(4).queue(CALLS as usize));
    client.initialize("2025-11-25");
    for id in 0..CALLS {
        client.send(&legacy_call(id, "echo", json!({ "text": "x" })));
        client.send(&cancel(id));
    }
    served.until_main("each call has ended", |main| {
        main.done + main.cancelled == CALLS
    });
    // The last of them would come before the answer to this.
    client.send(&legacy_call("end", "look", json!({})));
    let answered = (0..).take_while(|_| client.recv()["id"] != "end").count() as u64;
    let main = served.main();
    assert_eq!((main.done, main.cancelled), (answered, CALLS - answered));
    client.close();
    served.stop();
}

/// A modern client on a pipe cancels with the same notification, without any session.
#[test]
fn law_4_a_modern_call_on_a_pipe_is_cancelled_by_its_id() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1));
    client.send(&call("a", "wait", json!({ "who": "a" })));
    assert_eq!(gate.began(), "a");
    client.send(&cancel("a"));
    assert_eq!(gate.cancelled(), "a");
    assert_eq!(
        text(&client.ask(&call("b", "echo", json!({ "text": "b" })))),
        "b"
    );
    client.close();
    assert_eq!(client.rest().len(), 0);
    served.stop();
}

/// Over modern HTTP ids are not compared: two clients may use the same one at the same time.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_4_over_http_the_same_id_from_two_clients_gets_each_its_own_answer() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate));
        let mut unread = Vec::new();
        for who in ["a", "b"] {
            unread.push((
                who,
                http.modern(&call(1, "gate", json!({ "who": who })))
                    .connect(),
            ));
            assert_eq!(gate.began(), who);
        }
        gate.let_go(2);
        for (who, unread) in unread {
            assert_eq!(text(&unread.reply().message()), who);
        }
        // Nor in one legacy session, whose answers come each on its own connection.
        let session = http.initialize("2025-11-25");
        let first = session
            .post(&legacy_call(1, "gate", json!({ "who": "c" })))
            .connect();
        assert_eq!(gate.began(), "c");
        let twin = session.ask(&legacy_call(1, "echo", json!({ "text": "twin" })));
        assert_eq!(text(&twin), "twin");
        let other = http.initialize("2025-11-25");
        assert_eq!(
            text(&other.ask(&legacy_call(
                1,
                "echo",
                json!({ "text": "another session" })
            ))),
            "another session"
        );
        gate.let_go(1);
        assert_eq!(text(&first.reply().message()), "c");
        served.stop();
    });
}
