//! Asking in the handshake era: a question travels on its call's stream, its answer comes in a message of its own, and no wait outlives its reason.

use std::time::Duration;

use mcp_threads::{AskError, Elicited, Lane, Limits, RequestContext, Server};
use serde_json::{Value, json};

use crate::asking::{Person, accept, asking};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::Http;
use crate::harness::message::cancel;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::talk::introduced;
use crate::harness::talk::{everything, introduce, is_question, reply_to};
use crate::harness::{
    Dice, Gate, PATIENCE, PipeClient, Served, code, legacy, legacy_call, probes, text, until,
};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::{Event, on_every_front};

type Context = RequestContext;

/// A client of the handshake era that can be asked everything.
fn pipe(server: Server) -> (Served, PipeClient) {
    let (served, mut client) = Served::pipe(server);
    introduce(&mut client, &everything());
    (served, client)
}

fn end(served: Served, mut client: PipeClient) {
    client.close();
    assert_eq!(client.rest().len(), 0, "nothing is left over");
    served.stop();
}

/// The main lane with so many workers, each of which may wait for a client.
fn all_may_wait(workers: usize) -> Lane {
    Lane::new("main").workers(workers).waiting(workers)
}

fn patient(ask_timeout: Duration) -> Limits {
    Limits::default().ask_timeout(ask_timeout)
}

fn ada() -> Value {
    accept(json!({ "name": "Ada" }))
}

/// The next message, which is a request of the server's.
#[track_caller]
fn question(client: &mut PipeClient) -> Value {
    let message = client.recv();
    assert!(is_question(&message), "{message}");
    message
}

#[track_caller]
fn assert_failed(answer: &Value, why: &str) {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(text(answer).contains(why), "{answer}");
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn a_question_comes_on_the_stream_of_its_call_and_its_answer_in_a_post_of_its_own() {
    on_every_front(|front| {
        let (served, http) = front.serve(asking());
        let session = introduced(http, &everything());
        let mut reply = session.post(&legacy_call(7, "person", json!({}))).send();
        assert!(reply.is_stream());
        let Some(Event::Message(question)) = reply.event() else {
            panic!("the stream begins with the question");
        };
        assert_eq!(question["method"], "elicitation/create");
        let stats = served.stats();
        assert_eq!((stats.asks, stats.streams), (1, 1));
        assert_eq!(served.main().busy, 1, "the worker waits");
        let mut taken = session.post(&reply_to(&question, ada())).send();
        assert_eq!((taken.status, taken.body().as_str()), (202, ""));
        let answer = reply.message();
        assert_eq!((&answer["id"], text(&answer)), (&json!(7), "Ada None"));
        assert_eq!(served.stats().asks, 0);
        until("the stream has ended", || served.stats().streams == 0);
        served.stop();
    });
}

/// On tiny_http an answer to HTTP/1.0 cannot be streamed, so no question can come on it.
#[cfg(feature = "tiny-http")]
#[test]
fn a_client_that_cannot_be_streamed_to_is_not_waited_for() {
    let running = asking().serve_tiny_http("127.0.0.1:0");
    let running = running.expect("it can start");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    let served = Served::new(running);
    let session = introduced(http, &everything());
    let call = legacy_call(1, "person", json!({}));
    let mut reply = session.post(&call).version("HTTP/1.0").send();
    assert_eq!((reply.status, reply.is_stream()), (200, false));
    assert_failed(&reply.json(), "cannot answer");
    served.stop();
}

/// Whatever stands in front of the server may give every request the same `X-Request-Id`.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn no_two_pages_have_the_same_elicitation_id() {
    on_every_front(|front| {
        let (served, http) = front.serve(asking());
        let session = introduced(http, &everything());
        let ids = [1, 2].map(|id| {
            let ask = session.post(&legacy_call(id, "page", json!({})));
            let mut reply = ask.field("X-Request-Id", "same").send();
            let Some(Event::Message(question)) = reply.event() else {
                panic!("the stream begins with the question");
            };
            let declined = reply_to(&question, json!({ "action": "decline" }));
            assert_eq!(session.post(&declined).send().status, 202);
            assert_eq!(text(&reply.message()), "Declined");
            question["params"]["elicitationId"].clone()
        });
        assert!(ids[0].is_string() && ids[0] != ids[1], "{ids:?}");
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_4_an_answer_from_elsewhere_is_nobodys() {
    on_every_front(|front| {
        let (served, http) = front.serve(asking());
        let session = introduced(http, &everything());
        let other = introduced(http, &everything());
        let mut reply = session.post(&legacy_call(1, "person", json!({}))).send();
        let Some(Event::Message(question)) = reply.event() else {
            panic!("the stream begins with the question");
        };
        let eve = reply_to(&question, accept(json!({ "name": "Eve" })));
        let mut unknown = eve.clone();
        unknown["id"] = json!(4711);
        let mut text_id = eve.clone();
        text_id["id"] = json!(question["id"].to_string());
        let foreign = [
            other.post(&eve),
            session.post(&unknown),
            session.post(&text_id),
            // One without a session, and one of the other era.
            http.post(eve.to_string()),
            http.post(eve.to_string())
                .field("MCP-Protocol-Version", "2026-07-28"),
        ];
        for ask in foreign {
            assert_eq!(ask.send().status, 202);
        }
        assert_eq!(served.stats().asks, 1, "it is still open");
        session.post(&reply_to(&question, ada())).send();
        assert_eq!(
            session.post(&eve).send().status,
            202,
            "too late, and no matter"
        );
        assert_eq!(text(&reply.message()), "Ada None");
        served.stop();
    });
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn a_session_that_ends_ends_its_questions() {
    on_every_front(|front| {
        let (served, http) = front.serve(asking());
        let session = introduced(http, &everything());
        let mut reply = session.post(&legacy_call(1, "person", json!({}))).send();
        assert!(matches!(reply.event(), Some(Event::Message(_))));
        assert_eq!(session.delete(), 204);
        // Whether the question is taken back, which its client knows already, is left open.
        while let Some(event) = reply.event() {
            let is_taken_back = matches!(&event, Event::Message(message) if message["method"] == "notifications/cancelled");
            assert!(
                is_taken_back,
                "the stream ends without an answer: {event:?}"
            );
        }
        until("the wait has ended", || served.stats().asks == 0);
        served.until_main("the worker is free", |main| main.busy == 0);
        served.stop();
    });
}

/// However the two meet, a call is never left behind in a session that has ended, where nobody could answer or cancel it any more.
#[cfg(feature = "http")]
#[test]
fn law_3_a_call_that_comes_while_its_session_ends_ends_with_it() {
    const ROUNDS: usize = 1000;
    let server = asking().lane(all_may_wait(ROUNDS / 10));
    let running = server.serve_http("127.0.0.1:0").expect("it can start");
    let http = Http::new(running.addr().expect("it serves HTTP"));
    let served = Served::new(running);
    let mut dice = Dice::new(7);
    for id in 0..ROUNDS {
        let session = introduced(http, &everything());
        let ask = session.post(&legacy_call(id, "person", json!({})));
        let end = http.bare("DELETE", "/mcp");
        let end = end.field("Mcp-Session-Id", &session.id);
        // Both are on their way before either is answered.
        let (_asked, ended) = match dice.roll(2) {
            0 => (ask.connect(), end.connect()),
            _ => {
                let ended = end.connect();
                (ask.connect(), ended)
            }
        };
        assert_eq!(ended.reply().status, 204);
    }
    assert_eq!(served.stats().sessions, 0);
    until("no question is left", || served.stats().asks == 0);
    served.until_main("every worker is free", |main| main.busy == 0);
    served.stop();
}

#[test]
fn law_4_each_answer_reaches_the_call_that_asked() {
    const CALLS: usize = 24;
    let server = Server::new("it", "1").lane(all_may_wait(CALLS)).tool(
        "who",
        "Asks twice.",
        |cx: &mut Context, args: Value| {
            let mut names = Vec::new();
            for turn in ["first", "second"] {
                let question = format!("{} {turn}", args["call"]);
                let asked = cx.elicit::<Person>(turn, &question)?;
                names.push(
                    asked
                        .accepted()
                        .map_or_else(String::new, |person| person.name),
                );
            }
            Ok::<_, AskError>(names.join(", "))
        },
    );
    let (served, mut client) = pipe(server);
    for id in 0..CALLS {
        client.send(&legacy_call(id, "who", json!({ "call": id })));
    }
    let mut dice = Dice::new(7);
    let mut waiting: Vec<Value> = Vec::new();
    let mut done = 0;
    while done < CALLS {
        // Let a few gather, so that answers overtake each other.
        let missing = CALLS - done - waiting.len();
        if missing > 0 {
            let message = client.recv();
            match is_question(&message) {
                true => waiting.push(message),
                false => {
                    let id = &message["id"];
                    assert_eq!(text(&message), format!("for {id} first, for {id} second"));
                    done += 1;
                }
            }
            continue;
        }
        let next = dice.roll(waiting.len() as u64) as usize;
        let question = waiting.swap_remove(next);
        let message = question["params"]["message"]
            .as_str()
            .expect("it asks something");
        let answer = accept(json!({ "name": format!("for {message}") }));
        client.send(&reply_to(&question, answer));
    }
    assert_eq!(served.stats().asks, 0);
    end(served, client);
}

#[test]
fn a_question_that_nobody_answers_is_withdrawn_in_time() {
    let (served, mut client) = pipe(asking().limits(patient(Duration::from_secs(1))));
    client.send(&legacy_call(1, "person", json!({})));
    let question = question(&mut client);
    let withdrawn = client.recv();
    assert_eq!(withdrawn["method"], "notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    assert_failed(&client.answer(1), "did not answer in time");
    assert_eq!(served.stats().asks, 0);
    client.send(&reply_to(&question, ada()));
    assert_eq!(
        client.sent_so_far().len(),
        0,
        "an answer that comes too late is ignored"
    );
    end(served, client);
}

#[test]
fn a_call_that_is_cancelled_waits_no_longer() {
    let gate = Gate::new();
    let door = gate.door();
    let server = Server::new("it", "1").tool("ask", "Asks.", move |cx: &mut Context, _: Value| {
        let asked = cx.roots();
        if asked == Err(AskError::Cancelled) {
            door.see_cancelled("ask");
        }
        asked.map(|roots| roots.len())
    });
    let (served, mut client) = pipe(server);
    client.send(&legacy_call(1, "ask", json!({})));
    let question = question(&mut client);
    client.send(&cancel(1));
    assert_eq!(gate.cancelled(), "ask");
    let taken_back = client.recv();
    assert_eq!(taken_back["method"], "notifications/cancelled");
    assert_eq!(taken_back["params"]["requestId"], question["id"]);
    served.until_main("the worker is free", |main| main.busy == 0);
    assert_eq!(served.stats().asks, 0);
    client.send(&reply_to(&question, json!({ "roots": [] })));
    assert_eq!(
        client.sent_so_far().len(),
        0,
        "a cancelled call has no answer"
    );
    end(served, client);
}

#[test]
fn law_6_answers_are_heard_however_many_calls_ask() {
    const ASKING: u64 = 6;
    let limits = Limits::default().outbox_answers_max(1);
    let (served, mut client) = pipe(asking().lane(all_may_wait(6)).limits(limits));
    for id in 1..=ASKING {
        client.send(&legacy_call(id, "person", json!({})));
    }
    let questions: Vec<_> = (0..ASKING).map(|_| question(&mut client)).collect();
    for question in &questions {
        client.send(&reply_to(question, ada()));
    }
    for id in 1..=ASKING {
        assert!(text(&client.answer(id)).contains("Ada"));
    }
    end(served, client);
}

#[test]
fn what_is_no_answer_fails_the_call() {
    let (served, mut client) = pipe(asking());
    let rows = [
        (
            json!({ "error": { "code": -1, "message": "not today" } }),
            "refused: not today (-1)",
        ),
        (json!({ "error": { "code": -32601 } }), "refused"),
        (json!({ "error": "no" }), "not what was asked for"),
        (json!({ "result": null }), "not what was asked for"),
        (json!({ "result": 7 }), "not what was asked for"),
        (json!({ "result": {} }), "not what was asked for"),
        (
            json!({ "result": ["accept", { "name": "Ada" }] }),
            "not what was asked for",
        ),
        (
            json!({ "result": { "action": "think" } }),
            "not what was asked for",
        ),
        (
            json!({ "result": { "action": "accept", "content": [] } }),
            "not what was asked for",
        ),
        (json!({ "result": { "action": "accept" } }), "name"),
        (
            json!({ "result": { "action": 7 } }),
            "not what was asked for",
        ),
    ];
    for (body, why) in rows {
        client.send(&legacy_call(1, "person", json!({})));
        let question = question(&mut client);
        let mut reply = json!({ "jsonrpc": "2.0", "id": question["id"] });
        for (member, value) in body.as_object().expect("a body has a member") {
            reply[member] = value.clone();
        }
        client.send(&reply);
        assert_failed(&client.answer(1), why);
    }
    end(served, client);
}

/// A handler may go on when it hears that a question failed.
#[test]
fn a_handler_may_ask_once_more() {
    let server =
        Server::new("it", "1").tool("ask", "Asks twice.", |cx: &mut Context, _: Value| match cx
            .elicit::<Person>(
            "one", "One?",
        ) {
            Err(AskError::Refused { code, .. }) => {
                let asked = cx.elicit::<Person>("two", "Two?")?;
                Ok::<_, AskError>(format!("{code} {}", matches!(asked, Elicited::Declined)))
            }
            other => Ok(format!("{}", other.is_ok())),
        });
    let (served, mut client) = pipe(server);
    client.send(&legacy_call(1, "ask", json!({})));
    let first = question(&mut client);
    client.send(
        &json!({ "jsonrpc": "2.0", "id": first["id"], "error": { "code": 5, "message": "" } }),
    );
    let second = question(&mut client);
    assert_ne!(first["id"], second["id"]);
    client.send(&reply_to(&second, json!({ "action": "decline" })));
    assert_eq!(text(&client.answer(1)), "5 true");
    end(served, client);
}

#[test]
fn law_6_cheap_methods_do_not_wait_for_answers() {
    let (served, mut client) = pipe(asking().lane(all_may_wait(2)).queue(1));
    let questions = [1, 2].map(|id| {
        client.send(&legacy_call(id, "person", json!({})));
        question(&mut client)
    });
    client.send(&legacy_call(3, "person", json!({})));
    served.until_main("one waits", |main| main.busy == 2 && main.queued == 1);
    assert_eq!(
        client.ask(&legacy("ping", "ping", json!({})))["result"],
        json!({})
    );
    assert!(client.ask(&legacy("list", "tools/list", json!({})))["result"]["tools"].is_array());
    let refused = client.ask(&legacy_call(4, "person", json!({})));
    assert_eq!(
        code(&refused),
        503,
        "law 2: full means no, whatever the workers wait for"
    );
    for asked in questions {
        client.send(&reply_to(&asked, ada()));
    }
    // The third one's question; answers to the first two may come before it.
    let mut answers = 0;
    while answers < 3 {
        let message = client.recv();
        match is_question(&message) {
            true => client.send(&reply_to(&message, ada())),
            false => answers += 1,
        }
    }
    end(served, client);
}

/// A question is never dropped to make room, and never keeps the answer to it from being read.
#[test]
fn law_2_a_question_gets_through_a_pipe_that_is_full() {
    let gate = Gate::new();
    let door = gate.door();
    let limits = patient(PATIENCE).outbox_bytes_max(10_000);
    let server = probes(&gate).limits(limits).workers(4).tool(
        "ask",
        "Asks at length.",
        move |cx: &mut Context, _: Value| {
            door.pass("ask");
            for step in 0..100 {
                cx.progress(f64::from(step));
            }
            let asked = cx.elicit::<Person>("who", &"x".repeat(20_000))?;
            Ok::<_, AskError>(
                asked
                    .accepted()
                    .map_or_else(String::new, |person| person.name),
            )
        },
    );
    let (served, mut client) = pipe(server);
    for id in [1, 2] {
        let mut ask = legacy_call(id, "ask", json!({}));
        ask["params"]["_meta"] = json!({ "progressToken": id });
        client.send(&ask);
        assert_eq!(gate.began(), "ask");
    }
    // More than the sockets hold, so that the writer stands still.
    client.send(&legacy_call(
        3,
        "echo",
        json!({ "text": "y".repeat(2_000_000) }),
    ));
    served.until_main("it is answered", |main| main.done == 1);
    gate.let_go(2);
    until("both have asked", || served.stats().asks == 2);
    // With this one the reader waits for room, and behind it are the answers.
    client.send(&legacy_call(4, "gate", json!({})));
    let mut questions = Vec::new();
    while questions.len() < 2 {
        let message = client.recv();
        if is_question(&message) {
            client.send(&reply_to(&message, ada()));
            questions.push(message);
        }
    }
    for id in [1, 2] {
        assert_eq!(text(&client.answer(id)), "Ada");
    }
    gate.began();
    gate.let_go(1);
    client.answer(4);
    client.close();
    served.stop();
}

/// However many handlers ask, half of the workers are left for those that do not, and whoever comes too late is told so.
#[test]
fn law_15_what_waits_for_a_person_leaves_half_of_the_workers() {
    for (workers, may_wait) in [(8, 4), (3, 1), (1, 1)] {
        let server = asking()
            .workers(workers)
            .tool("greet", "", |_: Value| "hello");
        let (served, mut client) = pipe(server);
        for id in 0..may_wait {
            client.send(&legacy_call(id, "person", json!({})));
        }
        let questions: Vec<_> = (0..may_wait).map(|_| question(&mut client)).collect();
        for id in 100..if workers > may_wait { 120 } else { 100 } {
            let refused = client.ask(&legacy_call(id, "person", json!({})));
            assert_eq!(code(&refused), 503, "{refused}");
            let error = &refused["error"];
            let message = error["message"].as_str().expect("an error has a message");
            assert!(message.contains(&format!("{may_wait} handlers of the lane `main`")));
            let data = json!({ "lane": "main", "retryAfterMs": 1000 });
            assert_eq!(error["data"], data);
            let other = client.ask(&legacy_call(id, "greet", json!({})));
            assert_eq!(text(&other), "hello");
        }
        assert_eq!(served.stats().asks, may_wait);
        for asked in &questions {
            client.send(&reply_to(asked, ada()));
        }
        for id in 0..may_wait {
            assert_eq!(text(&client.answer(id)), "Ada None");
        }
        client.send(&legacy_call(200, "person", json!({})));
        let again = question(&mut client);
        client.send(&reply_to(&again, ada()));
        assert_eq!(
            text(&client.answer(200)),
            "Ada None",
            "a place is free again"
        );
        end(served, client);
    }
}

/// A question ends when nobody carries its stream any more and nobody can come back for it.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_15_nobody_is_waited_for_who_cannot_come_back() {
    on_every_front(|front| {
        let limits = patient(PATIENCE * 4)
            .parked_streams_max(1)
            .heartbeat_interval(Duration::from_millis(20));
        let (served, http) = front.serve(asking().lane(all_may_wait(4)).limits(limits));
        let session = introduced(http, &everything());
        let mut asked = Vec::new();
        for id in 0..3 {
            let mut reply = session.post(&legacy_call(id, "person", json!({}))).send();
            while !matches!(reply.event(), Some(Event::Message(_))) {}
            asked.push(reply);
        }
        assert_eq!(served.stats().asks, 3);
        drop(asked);
        until("all but the one that is kept have ended", || {
            served.stats().asks == 1
        });
        served.until_main("their workers are free", |main| main.busy == 1);
        assert_eq!(session.delete(), 204);
        until("the session has ended", || served.stats().asks == 0);
        served.until_main("every worker is free", |main| main.busy == 0);
        served.stop();
    });
}

#[test]
fn law_12_a_drain_waits_for_an_answer_and_then_no_longer() {
    // One that is answered in time.
    let (served, mut client) = pipe(asking());
    client.send(&legacy_call(1, "person", json!({})));
    let asked = question(&mut client);
    let handle = served.handle();
    let ending = std::thread::spawn(move || served.shutdown(PATIENCE));
    until("the drain has begun", || handle.stats().draining);
    client.send(&reply_to(&asked, ada()));
    assert_eq!(text(&client.answer(1)), "Ada None");
    let report = ending.join().expect("a shutdown does not panic");
    assert_eq!(report.abandoned_handlers, 0);

    // One that is not.
    let (served, mut client) = pipe(asking());
    client.send(&legacy_call(1, "person", json!({})));
    question(&mut client);
    let report = served.shutdown(Duration::from_millis(20));
    assert_eq!(code(&client.answer(1)), 503);
    assert_eq!(report.abandoned_handlers, 0, "the wait ended at once");
}

#[test]
fn a_client_that_closes_its_side_is_not_waited_for() {
    let gate = Gate::new();
    let door = gate.door();
    let server =
        asking()
            .workers(2)
            .tool("later", "Asks later.", move |cx: &mut Context, _: Value| {
                door.pass("later");
                cx.roots().map(|roots| roots.len())
            });
    let (served, mut client) = pipe(server);
    client.send(&legacy_call(1, "person", json!({})));
    client.send(&legacy_call(2, "later", json!({})));
    question(&mut client);
    assert_eq!(gate.began(), "later");
    client.close();
    // Both the one that waits and the one that asks only now hear of it.
    assert_failed(&client.answer(1), "has left");
    gate.let_go(1);
    assert_failed(&client.answer(2), "has left");
    assert_eq!(served.stats().asks, 0);
    served.stop();
}

#[test]
fn a_client_that_shakes_hands_again_is_not_waited_for() {
    let (served, mut client) = pipe(asking());
    client.send(&legacy_call(1, "person", json!({})));
    let first = question(&mut client);
    client.initialize("2025-11-25");
    assert_failed(&client.answer(1), "has left");
    introduce(&mut client, &everything());
    client.send(&legacy_call(2, "person", json!({})));
    let second = question(&mut client);
    // The late answer to the first question is nobody's.
    client.send(&reply_to(&first, ada()));
    client.send(&reply_to(&second, accept(json!({ "name": "Grace" }))));
    assert!(text(&client.answer(2)).contains("Grace"));
    end(served, client);
}
