//! Law 1: a worker never waits for a socket or a pipe. A client that reads nothing costs no worker and no other client anything.

use std::thread;
use std::time::Duration;

use mcp_threads::{Limits, LoggingLevel, RequestContext, Server};
use serde_json::{Value, json};

#[cfg(any(feature = "http", feature = "tiny-http"))]
use crate::harness::on_every_front;
use crate::harness::{
    Gate, PipeClient, Served, call, legacy_call, patient, probes, text, with_meta,
};

/// More events than any buffer between server and client holds.
const EVENTS: u32 = 2_500;

/// By then nothing between server and client has room for another.
const STANDS_AT: u32 = EVENTS - 300;

/// How many of them the outbox has room for.
const KEPT: usize = 100;

/// One worker, and a tool that reports [`EVENTS`] times with a text of some length.
fn chatty(gate: &Gate) -> Server {
    let door = gate.door();
    probes(gate)
        .workers(1)
        .limits(patient().outbox_bytes_max(KEPT * 5_200))
        .tool(
            "chatter",
            "Reports progress all the time.",
            move |cx: &mut RequestContext, _: Value| {
                let words = "word ".repeat(1000);
                for step in 1..=EVENTS {
                    // The thread that writes must come to fill what lies between it and the client, and at last stand before it, on any machine.
                    match step {
                        STANDS_AT => thread::sleep(Duration::from_secs(1)),
                        _ if step % 50 == 0 => thread::sleep(Duration::from_millis(5)),
                        _ => {}
                    }
                    cx.progress((f64::from(step), f64::from(EVENTS), words.clone()));
                }
                door.pass("chatter");
                "said it all"
            },
        )
}

fn chatter(id: u32) -> Value {
    with_meta(
        call(id, "chatter", json!({})),
        json!({ "progressToken": "p" }),
    )
}

/// What a client finds that reads at last: progress that grows, some of it missing, and the answer at the end.
#[track_caller]
fn assert_oldest_were_dropped(messages: &[Value], id: u32) {
    let (answer, progress) = messages.split_last().expect("there are messages");
    assert_eq!(answer["id"], id);
    assert_eq!(text(answer), "said it all");
    let steps: Vec<f64> = progress
        .iter()
        .map(|message| {
            assert_eq!(message["params"]["progressToken"], "p", "{message}");
            message["params"]["progress"]
                .as_f64()
                .expect("progress is a number")
        })
        .collect();
    assert!(steps.is_sorted(), "in order");
    assert!(steps.len() < EVENTS as usize, "some had to be dropped");
    let dropped = answer["result"]["_meta"]["mcp-threads/droppedEvents"].as_u64();
    assert_eq!(
        dropped,
        Some(u64::from(EVENTS) - steps.len() as u64),
        "and the client is told how many"
    );
    let newest = steps.iter().rev().zip((1..=EVENTS).rev());
    let kept = newest
        .take_while(|(step, at)| **step == f64::from(*at))
        .count();
    assert!(
        (KEPT..KEPT + 10).contains(&kept),
        "as many of the newest were kept as the outbox holds, and no more: {kept}"
    );
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_1_an_http_client_that_does_not_read_holds_no_worker() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(chatty(&gate));
        let unread = http.modern(&chatter(1)).connect();
        assert_eq!(
            gate.began(),
            "chatter",
            "the handler said it all without waiting for the client"
        );
        gate.let_go(1);
        served.until_main("the worker is free", |main| {
            main.busy == 0 && main.done == 1
        });
        let other = http.ask(&call(2, "echo", json!({ "text": "served" })));
        assert_eq!(text(&other), "served", "by the only worker there is");
        assert_oldest_were_dropped(&unread.reply().messages(), 1);
        served.stop();
    });
}

#[test]
fn law_1_a_pipe_client_that_does_not_read_holds_no_worker() {
    let gate = Gate::new();
    let (served, mut client) = Served::pipe(chatty(&gate));
    client.send(&chatter(1));
    assert_eq!(
        gate.began(),
        "chatter",
        "the handler said it all without waiting for the client"
    );
    gate.let_go(1);
    served.until_main("the worker is free", |main| {
        main.busy == 0 && main.done == 1
    });
    client.send(&call(2, "echo", json!({ "text": "served" })));
    served.until_main("the next call has run", |main| main.done == 2);
    client.close();
    let mut messages = client.rest();
    let echo = messages.pop().expect("there are messages");
    assert_eq!((&echo["id"], text(&echo)), (&json!(2), "served"));
    assert_oldest_were_dropped(&messages, 1);
    served.stop();
}

/// Everything that comes up to the answer, which is the last of it.
fn until_answer(client: &mut PipeClient, id: u32) -> Vec<Value> {
    let mut read = Vec::new();
    while read
        .last()
        .is_none_or(|message: &Value| message["id"] != id)
    {
        read.push(client.recv());
    }
    read
}

/// A client that asked for log messages is warned once; one that reads loses nothing of what fits.
#[test]
fn law_1_what_was_dropped_is_told() {
    let gate = Gate::new();
    let limits = Limits::default().outbox_bytes_max(200_000);
    let door = gate.door();
    let server = probes(&gate).limits(limits).tool(
        "chatter",
        "",
        move |cx: &mut RequestContext, args: Value| {
            for step in 1..=args["messages"].as_u64().unwrap_or(0) {
                cx.log(
                    LoggingLevel::Info,
                    format!("{step} {}", "word ".repeat(200)),
                );
            }
            door.pass("chatter");
            "said it all"
        },
    );
    let (served, mut client) = Served::pipe(server);
    client.initialize("2025-11-25");
    let chatter = |id: u32, messages| legacy_call(id, "chatter", json!({ "messages": messages }));
    client.send(&chatter(1, 100));
    gate.began();
    gate.let_go(1);
    let read = until_answer(&mut client, 1);
    assert_eq!(read.len(), 101);
    assert_eq!(
        read[100]["result"].get("_meta"),
        None,
        "nothing was dropped"
    );

    client.send(&chatter(2, 10_000));
    gate.began();
    gate.let_go(1);
    let read = until_answer(&mut client, 2);
    let warnings = read
        .iter()
        .filter(|message| message["params"]["level"] == "warning");
    let warnings: Vec<_> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let dropped = &read[read.len() - 1]["result"]["_meta"]["mcp-threads/droppedEvents"];
    let came = read.len() as u64 - 2;
    assert_eq!(dropped.as_u64(), Some(10_000 - came));
    let told = warnings[0]["params"]["data"].as_str().expect("it is text");
    assert!(told.contains(" events of this call were dropped"), "{told}");
    client.close();
    served.stop();
}

/// The other clients of a server are served while one of them reads nothing and its outbox is full.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[test]
fn law_1_clients_that_do_not_read_do_not_slow_the_next() {
    on_every_front(|front| {
        let gate = Gate::new();
        let (served, http) = front.serve(chatty(&gate));
        let mut unread = Vec::new();
        for id in 0..3 {
            unread.push(http.modern(&chatter(id)).connect());
            assert_eq!(gate.began(), "chatter");
            gate.let_go(1);
            served.until_main("the worker is free", |main| main.busy == 0);
        }
        for id in 100..120 {
            assert_eq!(
                text(&http.ask(&call(id, "echo", json!({ "text": "fast" })))),
                "fast"
            );
        }
        for (id, unread) in (0..).zip(unread) {
            assert_oldest_were_dropped(&unread.reply().messages(), id);
        }
        served.stop();
    });
}
