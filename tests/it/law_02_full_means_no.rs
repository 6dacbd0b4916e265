//! Law 2: every queue is bounded, and full means no, now.

use serde_json::{Value, json};

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{Gate, PipeClient, Served, call, code, legacy_call, probes, text};

#[track_caller]
fn assert_refused(answer: &Value, id: &Value) {
    assert_eq!(code(answer), 503, "{answer}");
    assert_eq!(&answer["id"], id, "{answer}");
    assert_eq!(answer["jsonrpc"], "2.0");
    let message = answer["error"]["message"].as_str().expect("it says why");
    assert!(message.contains("`main`"), "it names the lane: {message}");
    assert_eq!(
        answer["error"]["data"],
        json!({ "lane": "main", "retryAfterMs": 1000 })
    );
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_2_over_http_a_full_lane_refuses_with_503_and_retry_after() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(probes(&gate).workers(1).queue(2));
        let session = http.initialize("2025-11-25");
        let mut accepted = vec![
            http.modern(&call(1, "gate", json!({ "who": "1" })))
                .connect(),
        ];
        assert_eq!(gate.began(), "1");
        for id in [2, 3] {
            accepted.push(
                http.modern(&call(id, "gate", json!({ "who": id.to_string() })))
                    .connect(),
            );
            served.until_main("the call is queued", |main| main.queued == id as usize - 1);
        }
        // Handshake-era clients give up the whole session on any status but 200.
        let refused = [
            (
                http.modern(&call("four", "echo", json!({}))),
                503,
                json!("four"),
            ),
            (
                session.post(&legacy_call(0, "echo", json!({}))),
                200,
                json!(0),
            ),
        ];
        for (ask, status, id) in refused {
            let mut reply = ask.send();
            assert_eq!(reply.status, status);
            assert_eq!(reply.field("Retry-After"), Some("1"));
            assert_refused(&reply.json(), &id);
        }
        let main = served.main();
        assert_eq!(
            (main.busy, main.queued, main.capacity, main.refused),
            (1, 2, 2, 2)
        );
        gate.let_go(3);
        for (id, unread) in (1..).zip(accepted) {
            let answer = unread.reply().message();
            assert_eq!(
                (&answer["id"], text(&answer)),
                (&json!(id), id.to_string().as_str())
            );
        }
        served.until_main("all are done", |main| {
            main.done == 3 && main.busy + main.queued == 0
        });
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_2_the_status_of_an_overload_is_the_author_s_to_choose() {
    use mcp_threads::{Era, OverloadStatus};
    on_every_front(|front| {
        let gate = Gate::new();
        let server = probes(&gate)
            .workers(1)
            .queue(0)
            .overload(Era::Modern, OverloadStatus::Ok)
            .overload(Era::Legacy, OverloadStatus::ServiceUnavailable);
        let (served, http) = front.serve(server);
        let session = http.initialize("2025-11-25");
        let _held = http.modern(&call(1, "gate", json!({}))).connect();
        gate.began();
        for (ask, status, id) in [
            (http.modern(&call(4, "echo", json!({}))), 200, json!(4)),
            (
                session.post(&legacy_call(5, "echo", json!({}))),
                503,
                json!(5),
            ),
        ] {
            let mut reply = ask.send();
            assert_eq!(
                (reply.status, reply.field("Retry-After")),
                (status, Some("1"))
            );
            assert_refused(&reply.json(), &id);
        }
        gate.let_go(1);
        served.until_main("it is free", |main| main.busy == 0);
        served.stop();
    });
}

fn over_a_pipe(initialize: impl Fn(&mut PipeClient), request: impl Fn(u64, &str, Value) -> Value) {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1).queue(2));
    initialize(&mut client);
    client.send(&request(1, "gate", json!({ "who": "1" })));
    assert_eq!(gate.began(), "1");
    for id in 2..=10 {
        client.send(&request(id, "gate", json!({ "who": id.to_string() })));
    }
    for id in 4..=10 {
        assert_refused(&client.answer(id), &json!(id));
    }
    let main = served.main();
    assert_eq!((main.busy, main.queued, main.refused), (1, 2, 7));
    gate.let_go(3);
    for id in 1..=3 {
        assert_eq!(text(&client.answer(id)), id.to_string());
    }
    client.close();
    assert_eq!(client.rest(), [] as [Value; 0], "answered + refused = sent");
    served.stop();
}

#[test]
fn law_2_over_a_pipe_a_full_lane_refuses_with_the_same_error_in_the_modern_era() {
    over_a_pipe(|_| {}, call);
}

#[test]
fn law_2_over_a_pipe_a_full_lane_refuses_with_the_same_error_in_the_legacy_era() {
    over_a_pipe(
        |client| {
            client.initialize("2025-06-18");
        },
        legacy_call,
    );
}

#[test]
fn law_2_a_lane_without_a_queue_takes_a_call_only_when_a_worker_is_idle() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(probes(&gate).workers(1).queue(0));
    client.send(&call(0, "gate", json!({ "who": "in" })));
    assert_eq!(gate.began(), "in");
    let busy = served.main();
    assert_eq!((busy.busy, busy.queued, busy.capacity), (1, 0, 0));
    assert_refused(&client.ask(&call(1, "gate", json!({}))), &json!(1));
    gate.let_go(1);
    assert_eq!(text(&client.answer(0)), "in");
    // Who has read an answer finds the worker idle.
    for id in 2..200 {
        assert_eq!(
            text(&client.ask(&call(id, "echo", json!({ "text": "on" })))),
            "on"
        );
    }
    client.close();
    assert_eq!(client.rest(), [] as [Value; 0]);
    served.stop();
}

/// As many as its workers and its queue hold, whether the workers have woken by then or not.
#[test]
fn law_2_of_calls_that_come_at_once_exactly_as_many_are_taken_as_there_is_room_for() {
    for (workers, queue) in [(4, 4), (4, 0)] {
        let gate = Gate::new();
        let (served, mut client) = Served::pipe(probes(&gate).workers(workers).queue(queue));
        for round in 0..10 {
            let ids = round * 12..(round + 1) * 12;
            let refused = ids.start + workers + queue..ids.end;
            for id in ids.clone() {
                client.send(&call(id, "gate", json!({ "who": "in" })));
            }
            for id in refused.clone() {
                assert_refused(&client.answer(id), &json!(id));
            }
            gate.let_go(workers + queue);
            for id in ids.start..refused.start {
                assert_eq!(text(&client.answer(id)), "in");
            }
        }
        served.stop();
    }
}

/// Bursts from many clients at once: every request is answered or refused, and the server's count agrees.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_2_overload_loses_nothing() {
    on_every_front(|front| {
        const CLIENTS: usize = 8;
        const EACH: usize = 50;
        let gate = Gate::new();
        let server = probes(&gate)
            .workers(2)
            .queue(2)
            .tool("nap", "Sleeps for a moment.", || {
                std::thread::sleep(std::time::Duration::from_millis(1));
                "awake"
            });
        let (served, http) = front.serve(server);
        let counts = std::thread::scope(|scope| {
            let client = |client: usize| {
                move || {
                    let (mut answered, mut refused) = (0, 0);
                    for number in 0..EACH {
                        let id = json!(client * EACH + number);
                        let answer = http.ask(&call(id.clone(), "nap", json!({})));
                        if answer.get("error").is_some() {
                            assert_refused(&answer, &id);
                            refused += 1;
                        } else {
                            assert_eq!((&answer["id"], text(&answer)), (&id, "awake"));
                            answered += 1;
                        }
                    }
                    (answered, refused)
                }
            };
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| scope.spawn(client(number)))
                .collect();
            clients
                .into_iter()
                .map(|client| client.join().expect("a client does not panic"))
                .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
        });
        assert_eq!(
            counts.0 + counts.1,
            CLIENTS * EACH,
            "answered + refused = sent"
        );
        served.until_main("the counters agree", |main| {
            (main.done, main.refused) == (counts.0 as u64, counts.1 as u64)
        });
        served.stop();
    });
}
