//! Law 12 for whole programs: what a signal or the end of stdin does to the reference server.

use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{call, child, code, text};

use crate::harness::{Front, Http, on_every_front, until};

fn everything(arguments: &[&str]) -> Command {
    let mut command = child::example("everything");
    command.args(arguments).env("RUST_LOG", "info");
    command
}

fn over_http(front: Front, arguments: &[&str]) -> Command {
    let mut command = everything(&["--http", "127.0.0.1:0", "--front", front.name]);
    command.args(arguments);
    command
}

#[track_caller]
fn assert_told(answer: &Value, id: u32) {
    assert_eq!((code(answer), &answer["id"]), (503, &json!(id)), "{answer}");
}

#[test]
fn law_12_one_signal_lets_calls_finish_and_exits_with_0() {
    on_every_front(|front| {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let (mut running, http) = child::http(over_http(front, &[]));
            let unread = http
                .modern(&call(1, "sleep", json!({ "ms": 300 })))
                .connect();
            running_calls(http, 1);
            running.signal(signal);
            assert_eq!(text(&unread.reply().message()), "slept 300 ms");
            running.exits_well();
        }
    });
}

#[test]
fn law_12_a_second_signal_cancels_at_once_over_http() {
    on_every_front(|front| {
        let (mut running, http) = child::http(over_http(front, &["--drain-ms", "600000"]));
        let unread = http
            .modern(&call(1, "sleep", json!({ "ms": 600_000 })))
            .connect();
        running_calls(http, 1);
        running.signal(Signal::INT);
        running.said("shutting down");
        running.signal(Signal::INT);
        assert_told(&unread.reply().message(), 1);
        running.exits_well();
    });
}

#[test]
fn law_12_a_second_signal_cancels_at_once_on_stdio() {
    let (mut running, mut client) = child::stdio(everything(&["--stdio", "--drain-ms", "600000"]));
    client.send(&call(1, "sleep", json!({ "ms": 600_000 })));
    let status = client.ask(&call(2, "status", json!({})));
    assert!(
        status.get("result").is_some(),
        "the call has been read: {status}"
    );
    running.signal(Signal::TERM);
    running.said("shutting down");
    running.signal(Signal::TERM);
    assert_told(&client.answer(1), 1);
    assert_eq!(client.rest().len(), 0, "stdout is closed at the end");
    running.exits_well();
}

#[test]
fn law_12_a_signal_and_a_short_deadline_cancel_what_is_late() {
    on_every_front(|front| {
        let (mut running, http) = child::http(over_http(front, &["--drain-ms", "50"]));
        let unread = http
            .modern(&call(1, "sleep", json!({ "ms": 600_000 })))
            .connect();
        running_calls(http, 1);
        running.signal(Signal::INT);
        assert_told(&unread.reply().message(), 1);
        let finished = running.exits_well();
        assert!(
            finished.stderr.contains("abandoned_handlers: 0"),
            "{}",
            finished.stderr
        );
    });
}

#[test]
fn law_12_the_end_of_stdin_lets_calls_finish_and_exits_with_0() {
    let (mut running, mut client) = child::stdio(everything(&["--stdio", "--workers", "1"]));
    client.send(&call(1, "sleep", json!({ "ms": 100 })));
    client.send(&call(2, "echo", json!({ "text": "queued" })));
    client.close();
    assert_eq!(text(&client.answer(1)), "slept 100 ms");
    assert_eq!(text(&client.answer(2)), "queued");
    assert_eq!(client.rest().len(), 0);
    running.exits_well();
}

#[test]
fn law_12_the_end_of_stdin_cancels_what_outlives_drain_ms() {
    let (mut running, mut client) = child::stdio(everything(&["--stdio", "--drain-ms", "50"]));
    client.send(&call(1, "sleep", json!({ "ms": 600_000 })));
    client.close();
    assert_told(&client.answer(1), 1);
    assert_eq!(client.rest().len(), 0);
    running.exits_well();
}

/// A wedged handler cannot keep the program from ending.
#[test]
fn law_12_a_wedged_handler_does_not_keep_the_program() {
    let (mut running, mut client) = child::stdio(everything(&["--stdio", "--drain-ms", "50"]));
    client.send(&call(1, "wedge", json!({ "ms": 600_000 })));
    client.close();
    assert_told(&client.answer(1), 1);
    let finished = running.exits_well();
    assert!(
        finished.stderr.contains("abandoned_handlers: 1"),
        "{}",
        finished.stderr
    );
}

/// A client that reads nothing cannot either, even with its outbox and its pipe full.
#[test]
fn law_12_a_client_that_reads_nothing_does_not_keep_the_program() {
    let (mut running, mut client) = child::stdio(everything(&["--stdio", "--drain-ms", "50"]));
    for id in 0..10 {
        client.send(&call(id, "echo", json!({ "text": "x".repeat(50_000) })));
    }
    running.signal(Signal::TERM);
    let finished = running.exits_well();
    assert!(finished.stderr.contains("shut down"), "{}", finished.stderr);
}

/// Waits until so many calls of the main lane run.
#[track_caller]
fn running_calls(http: Http, count: u64) {
    until("the call runs", || {
        let status = http.ask(&call(0, "status", json!({})));
        status["result"]["structuredContent"]["active"] == count
    });
}
