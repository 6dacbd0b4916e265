//! Law 10: stdout belongs to the protocol.

use std::io::{Read, stdin};
use std::process::Command;

use mcp_threads::Server;
use serde_json::{Value, json};

use crate::harness::{call, child, is_alone, itself, text};

/// Runs in a process of its own: its tools do what must not disturb the protocol.
#[test]
fn law_10_the_other_half() {
    if !is_alone() {
        return;
    }
    #[expect(clippy::print_stdout, reason = "the point is that this does no harm")]
    let server = Server::new("it", "1")
        .tool("print", "Prints.", |args: Value| {
            println!("printed {args}");
            print!("half a line");
            "printed"
        })
        .tool(
            "child",
            "Starts a child that inherits everything.",
            |_: Value| {
                let script = "echo said by the child; cat; echo complained by the child >&2";
                let status = Command::new("sh").args(["-c", script]).status();
                status.map(|status| status.success())
            },
        )
        .tool("read", "Reads stdin.", |_: Value| {
            let mut read = String::new();
            stdin()
                .read_to_string(&mut read)
                .map(|size| size.to_string() + &read)
        });
    let report = server.serve_stdio().expect("it can start").join();
    assert_eq!(
        (report.abandoned_handlers, report.abandoned_connections),
        (0, 0)
    );
}

#[test]
fn law_10_nothing_but_the_protocol_reaches_stdout() {
    let (mut running, mut client) = child::stdio(itself("law_10_stdout::law_10_the_other_half"));
    while client.line().is_some_and(|line| line != "running 1 test") {}
    const ROUNDS: usize = 50;
    for id in 0..ROUNDS {
        client.send(&call(format!("print {id}"), "print", json!({ "id": id })));
        client.send(&call(format!("child {id}"), "child", json!({})));
        client.send(&call(format!("read {id}"), "read", json!({})));
    }
    for id in 0..ROUNDS {
        assert_eq!(text(&client.answer(format!("print {id}"))), "printed");
        assert_eq!(text(&client.answer(format!("child {id}"))), "true");
        assert_eq!(
            text(&client.answer(format!("read {id}"))),
            "0",
            "stdin is empty"
        );
    }
    client.close();
    assert_eq!(client.rest().len(), 0);
    let finished = running.exits_well();
    for stray in [
        "printed {\"id\":0}",
        "said by the child",
        "complained by the child",
    ] {
        assert!(
            finished.stderr.contains(stray),
            "{stray} is on stderr: {}",
            finished.stderr
        );
    }
    assert_eq!(finished.stderr.matches("said by the child").count(), ROUNDS);
}

#[cfg(all(feature = "tiny-http", feature = "ctrlc"))]
#[test]
fn law_10_the_reference_server_keeps_its_stdout_clean() {
    let mut command = child::example("everything");
    command.arg("--stdio");
    let (mut running, mut client) = child::stdio(command);
    for id in 0..100 {
        client.send(&call(id, "print", json!({})));
        client.send(&call(
            1000 + id,
            "echo",
            json!({ "text": "line\nbreak\u{2028}\r" }),
        ));
    }
    for id in 0..100 {
        assert_eq!(text(&client.answer(id)), "printed");
        assert_eq!(text(&client.answer(1000 + id)), "line\nbreak\u{2028}\r");
    }
    client.close();
    assert_eq!(client.rest().len(), 0);
    let finished = running.exits_well();
    assert_eq!(
        finished.stderr.matches("a stray line on stdout\n").count(),
        100
    );
}
