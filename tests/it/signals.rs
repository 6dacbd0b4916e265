//! Law 12 for whole programs: what a signal or the end of stdin does to the reference server.

use std::process::Command;

use mcp_threads::Server;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::child::{self, Running};
use crate::harness::talk::{introduced, reply_to};
use crate::harness::terminal::Terminal;
use crate::harness::{
    Event, Front, Http, PipeClient, call, code, is_alone, itself, legacy, legacy_call,
    on_every_front, text, until,
};

fn everything(arguments: &[&str]) -> Command {
    let mut command = child::example("everything");
    command.args(arguments).env("RUST_LOG", "info");
    command
}

fn start_http(front: Front, arguments: &[&str]) -> (Running, Http) {
    let mut command = everything(&["--http", "127.0.0.1:0", "--front", front.name]);
    command.args(arguments);
    child::http(command)
}

fn start_stdio(arguments: &[&str]) -> (Running, PipeClient) {
    child::stdio(everything(arguments))
}

#[track_caller]
fn assert_told(answer: &Value, id: u32) {
    assert_eq!((code(answer), &answer["id"]), (503, &json!(id)), "{answer}");
}

#[test]
fn law_12_one_signal_lets_calls_finish_and_exits_with_0() {
    on_every_front(|front| {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let (mut running, http) = start_http(front, &[]);
            let session = introduced(http, &json!({ "elicitation": {} }));
            let ask = legacy_call(1, "test_elicitation", json!({ "message": "Who?" }));
            let mut reply = session.post(&ask).send();
            let mut message = || loop {
                if let Event::Message(message) = reply.event().expect("the stream is open") {
                    return message;
                }
            };
            let question = message();
            running.signal(signal);
            running.said("shutting down");
            let refused = reply_to(&question, json!({ "action": "decline" }));
            assert_eq!(session.post(&refused).send().status, 202);
            assert!(message()["result"].is_object());
            running.exits_well();
        }
    });
}

#[test]
fn law_12_a_second_signal_cancels_at_once_over_http() {
    on_every_front(|front| {
        let (mut running, http) = start_http(front, &["--drain-ms", "600000"]);
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
    let (mut running, mut client) = start_stdio(&["--stdio", "--drain-ms", "600000"]);
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
        let (mut running, http) = start_http(front, &["--drain-ms", "50"]);
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
    let (mut running, mut client) = start_stdio(&["--stdio", "--workers", "1"]);
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
    let (mut running, mut client) = start_stdio(&["--stdio", "--drain-ms", "50"]);
    client.send(&call(1, "sleep", json!({ "ms": 600_000 })));
    client.close();
    assert_told(&client.answer(1), 1);
    assert_eq!(client.rest().len(), 0);
    running.exits_well();
}

/// A wedged handler cannot keep the program from ending.
#[test]
fn law_12_a_wedged_handler_does_not_keep_the_program() {
    let (mut running, mut client) = start_stdio(&["--stdio", "--drain-ms", "50"]);
    client.send(&call(1, "wedge", json!({ "ms": 600_000 })));
    until("it hangs", || {
        let status = client.ask(&call("status", "status", json!({})));
        status["result"]["structuredContent"]["active"] == 1
    });
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
    let (mut running, mut client) = start_stdio(&["--stdio", "--drain-ms", "50"]);
    for id in 0..10 {
        client.send(&call(id, "echo", json!({ "text": "x".repeat(50_000) })));
    }
    let finished = running.ends_by(Signal::TERM);
    assert!(finished.stderr.contains("shut down"), "{}", finished.stderr);
}

/// Ctrl-C at a terminal reaches everything in the foreground: the client that it is meant for, and its servers.
#[test]
fn law_12_on_stdio_a_first_interrupt_is_the_client_s() {
    let (mut running, mut client) = start_stdio(&["--stdio"]);
    client.send(&call(0, "sleep", json!({ "ms": 200 })));
    running.signal(Signal::INT);
    running.said("left to the client");
    assert_eq!(text(&client.answer(0)), "slept 200 ms");
    assert_eq!(
        text(&client.ask(&call(1, "echo", json!({ "text": "on" })))),
        "on"
    );
    // A person who insists is heard; on a slow machine the second may come as late as a first.
    let left = |said: &str| said.matches("left to the client").count();
    let mut before = left(&running.stderr());
    while !running.stderr().contains("shutting down") {
        running.signal(Signal::INT);
        until("it says what it makes of that", || {
            let said = running.stderr();
            said.contains("shutting down") || left(&said) > before
        });
        before = left(&running.stderr());
    }
    running.exits_well();
}

/// There is no client in between that it could be meant for.
#[test]
fn law_12_at_a_terminal_one_interrupt_is_the_end() {
    let mut terminal = Terminal::new(everything(&["--stdio"]));
    let id = terminal.child.id();
    until("it handles the signal", || child::handles(id, Signal::INT));
    terminal.press("half a line");
    kill_process(Pid::from_child(&terminal.child), Signal::INT).expect("it lives");
    terminal.until_shown("shutting down");
    assert_eq!(terminal.code(), Some(0), "{}", terminal.screen());
    assert!(!terminal.screen().contains("left to the client"));
}

/// Not a test: a server on stdio that no client has started.
#[test]
fn the_half_that_an_interrupt_ends() {
    if !is_alone() {
        return;
    }
    let server = Server::new("it", "1").interrupt_ends_stdio(true);
    let running = server.serve_stdio().expect("it can start");
    running.run_until_ctrl_c().expect("it ends well");
    // The report of the test would go to the client.
    std::process::exit(7);
}

#[test]
fn law_12_on_stdio_a_first_interrupt_ends_a_server_that_says_so() {
    let (mut running, mut client) =
        child::stdio(itself("signals::the_half_that_an_interrupt_ends"));
    while client.line().is_some_and(|line| line != "running 1 test") {}
    assert_eq!(
        client.ask(&legacy(1, "ping", json!({})))["result"],
        json!({})
    );
    running.signal(Signal::INT);
    assert_eq!(running.wait().status.code(), Some(7));
}

/// `nohup` and `&` in a script start a program with a signal ignored, and mean it.
#[test]
fn law_12_a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for (name, signal) in [("HUP", Signal::HUP), ("INT", Signal::INT)] {
        let server = everything(&[]);
        let mut command = Command::new("sh");
        command
            .env("RUST_LOG", "info")
            .args(["-c", &format!("trap '' {name}; exec \"$0\" \"$@\"")])
            .arg(server.get_program())
            .args(["--http", "127.0.0.1:0"]);
        let (mut running, http) = child::http(command);
        for id in 0..20 {
            running.signal(signal);
            let answer = http.ask(&call(id, "echo", json!({ "text": "on" })));
            assert_eq!(text(&answer), "on", "after SIG{name}");
        }
        running.ends_by(Signal::TERM);
    }
}

/// A mask is inherited; a launcher that blocks signals for a moment does not mean its children.
#[test]
#[cfg(target_os = "linux")]
fn law_12_a_signal_that_was_blocked_at_the_start_ends_the_server() {
    let server = everything(&[]);
    let mut command = Command::new("env");
    command
        .env("RUST_LOG", "info")
        .arg("--block-signal=TERM")
        .arg(server.get_program())
        .args(["--http", "127.0.0.1:0"]);
    let (mut running, _) = child::http(command);
    running.ends_by(Signal::TERM);
}

/// A client that was killed closes both ends; nobody is left whose answers a drain would wait for.
#[test]
fn law_12_a_client_that_is_gone_is_not_waited_for() {
    let command = || everything(&["--stdio", "--drain-ms", "600000"]);
    for (mut running, mut client) in [child::stdio(command()), child::stdio_sockets(command())] {
        client.send(&call(1, "sleep", json!({ "ms": 600_000 })));
        client.send(&call(2, "wedge", json!({ "ms": 600_000 })));
        until("both run", || {
            let status = client.ask(&call("status", "status", json!({})));
            status["result"]["structuredContent"]["active"] == 2
        });
        drop(client);
        until("it has ended, for nobody is left to wait for", || {
            running.has_ended()
        });
        let finished = running.exits_well();
        assert!(
            finished.stderr.contains("abandoned_handlers: 1"),
            "{}",
            finished.stderr
        );
    }
}

/// `printf .. | server`: the end of the input is not the end of the reader.
#[test]
fn law_12_a_client_that_only_says_no_more_keeps_its_answers() {
    for (mut running, mut client) in [
        start_stdio(&["--stdio"]),
        child::stdio_sockets(everything(&["--stdio"])),
    ] {
        for id in 0..50 {
            client.send(&call(id, "sleep", json!({ "ms": 100 })));
        }
        client.close();
        for id in 0..50 {
            assert_eq!(text(&client.answer(id)), "slept 100 ms");
        }
        assert_eq!(client.rest().len(), 0);
        running.exits_well();
    }
}

/// The mode belongs to the pipe, and whoever made it may have left it so.
#[test]
fn law_12_a_stdout_in_non_blocking_mode_loses_nothing() {
    use std::io::{BufRead, BufReader, Write};
    let (read, write) = std::io::pipe().expect("a pipe can be made");
    rustix::io::ioctl_fionbio(&write, true).expect("a pipe has this mode");
    let (mut running, mut stdin) = child::stdio_to(everything(&["--stdio"]), write);
    const CALLS: usize = 401;
    for id in 0..CALLS {
        let ask = call(id, "echo", json!({ "text": "x".repeat(1000) }));
        writeln!(stdin, "{ask}").expect("it reads");
    }
    drop(stdin);
    let mut ids: Vec<u64> = BufReader::new(read)
        .lines()
        .map(|line| {
            let line = line.expect("it can be read");
            let answer: Value = serde_json::from_str(&line).expect("no line is cut");
            assert_eq!(text(&answer).len(), 1000);
            answer["id"].as_u64().expect("an id")
        })
        .collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..CALLS as u64), "each is answered");
    running.exits_well();
}

#[test]
fn law_12_a_stdout_that_fails_shows_in_the_exit_code() {
    use std::io::Write;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let full = full.expect("Linux has a device that is full");
    let (mut running, mut stdin) = child::stdio_to(everything(&["--stdio"]), full);
    writeln!(stdin, "{}", call(1, "echo", json!({ "text": "a" }))).expect("it reads");
    let finished = running.wait();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    for part in ["No space left on device", "lost_answers: 1"] {
        assert!(finished.stderr.contains(part), "{part}: {finished:?}");
    }
}

/// Waits until so many calls of the main lane run.
#[track_caller]
fn running_calls(http: Http, count: u64) {
    until("the call runs", || {
        let status = http.ask(&call(0, "status", json!({})));
        status["result"]["structuredContent"]["active"] == count
    });
}
