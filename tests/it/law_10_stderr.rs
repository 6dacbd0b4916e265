//! Law 10, its other side: stderr belongs to whoever reads it, and if that is nobody, nothing waits for it.
//!
//! A client may leave stderr unread; its pipe is full after 64 KiB.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::process::{ChildStderr, Command};

use mcp_threads::Server;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{PipeClient, call, child, is_alone, itself, on_every_front, text};

const CALLS: usize = 10_000;
/// So many are sent before their answers are read.
const AT_ONCE: usize = 50;

/// A pipe with this much in it has no room for another line. It holds 64 KiB, as long as each write fills its page.
const FULL_BYTES: usize = 60_000;

fn everything(arguments: &[&str]) -> Command {
    let mut command = child::example("everything");
    command.args(arguments).env("RUST_LOG", "info");
    command
}

/// What nobody has read until now: a full pipe, if the program wrote that much.
#[track_caller]
fn assert_was_full(mut stderr: ChildStderr) {
    let mut said = Vec::new();
    stderr
        .read_to_end(&mut said)
        .expect("the program has ended");
    assert!(
        said.len() >= FULL_BYTES,
        "it was never full: {} bytes",
        said.len()
    );
}

/// Calls the tools in turn, many at once.
#[track_caller]
fn call_all(client: &mut PipeClient, tools: &[(&str, &str)]) {
    for first in (0..CALLS).step_by(AT_ONCE) {
        let turn = |id: usize| tools[id % tools.len()];
        for id in first..first + AT_ONCE {
            client.send(&call(id, turn(id).0, json!({ "text": "a" })));
        }
        for id in first..first + AT_ONCE {
            assert_eq!(text(&client.answer(id)), turn(id).1);
        }
    }
}

#[test]
fn law_10_on_stdio_an_unread_stderr_holds_nothing_up() {
    let (mut running, mut client, stderr) = child::stdio_unread(everything(&["--stdio"]));
    call_all(&mut client, &[("echo", "a"), ("print", "printed")]);
    running.ends_by(Signal::TERM);
    assert_was_full(stderr);
}

#[test]
fn law_10_over_http_an_unread_stderr_holds_nothing_up() {
    on_every_front(|front| {
        let arguments = ["--http", "127.0.0.1:0", "--front", front.name];
        let (mut running, http, stderr) = child::http_unread(everything(&arguments));
        let mut ask = http.modern(&call(0, "echo", json!({ "text": "a" })));
        for first in (0..CALLS).step_by(AT_ONCE) {
            let mut unread = ask.connect();
            for id in first + 1..first + AT_ONCE {
                ask = http.modern(&call(id, "echo", json!({ "text": "a" })));
                unread.send(&ask);
            }
            let mut reply = unread.reply();
            assert_eq!(text(&reply.json()), "a");
            for _ in 1..AT_ONCE {
                reply = reply.next();
                assert_eq!(text(&reply.json()), "a");
            }
        }
        running.ends_by(Signal::TERM);
        assert_was_full(stderr);
    });
}

/// Ways in which nobody reads stderr: each fails, or waits, with the first byte.
fn each_unread_stderr(test: impl FnMut(std::os::fd::OwnedFd)) {
    let (broken, full) = (io::pipe(), io::pipe());
    let (broken, full) = (broken.expect("a pipe").1, full.expect("a pipe"));
    rustix::io::ioctl_fionbio(&full.1, true).expect("it is a pipe");
    while (&full.1).write(&[b'.'; 4096]).is_ok() {}
    let more = (&full.1).write(b".").map_err(|error| error.kind());
    assert_eq!(more, Err(ErrorKind::WouldBlock));
    rustix::io::ioctl_fionbio(&full.1, false).expect("it is a pipe");
    let disk = File::options().write(true).open("/dev/full");
    let disk = disk.expect("it is there");
    let unread = [broken.into(), full.1.into(), disk.into()];
    unread.into_iter().for_each(test);
}

pub(crate) fn assert_serves_though_nobody_reads_stderr(command: impl Fn() -> Command) {
    each_unread_stderr(|stderr| {
        let (mut running, mut client) = child::stdio_telling(command(), stderr);
        let hello = crate::harness::message::initialize(1, "2025-11-25");
        assert_eq!(client.ask(&hello)["id"], 1);
        running.ends_by(Signal::TERM);
    });
}

#[test]
fn law_10_what_says_where_it_listens_needs_no_reader() {
    let start = |example: &str, argument: &str, stderr| {
        let mut command = child::example(example);
        command.arg(argument);
        child::stdio_telling(command, stderr).0
    };
    each_unread_stderr(|stderr| {
        let also = stderr.try_clone().expect("there are descriptors");
        // It handles the signal once it has said so.
        start("quickstart", "127.0.0.1:0", stderr).ends_by(Signal::TERM);
        start("embed", "1", also).exits_well();
    });
}

#[test]
fn law_10_a_stderr_that_cannot_be_written_ends_no_server() {
    for (example, arguments) in [
        ("everything", &["--stdio"][..]),
        ("shell", &["--stdio"]),
        ("notes", &["--stdio"]),
        ("operations", &[]),
    ] {
        assert_serves_though_nobody_reads_stderr(|| {
            let mut command = child::example(example);
            command.args(arguments);
            command
        });
    }
}

/// Runs in a process of its own, with a logger that waits for stderr, as they do.
#[test]
fn law_10_the_half_with_a_logger_that_waits() {
    if !is_alone() {
        return;
    }
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .init();
    let server = Server::new("it", "1")
        .tool("echo", "Says a.", |_: Value| "a")
        .tool("child", "Starts a child that prints.", |_: Value| {
            let status = Command::new("echo").arg("x".repeat(60)).status();
            status.map(|_| "printed")
        });
    let running = server.serve_stdio().expect("it can start");
    running.run_until_ctrl_c().expect("it ends well");
    // The test's own report would wait for stderr.
    std::process::exit(7);
}

#[test]
fn law_10_a_logger_that_waits_for_an_unread_stderr_holds_nothing_up() {
    let name = "law_10_stderr::law_10_the_half_with_a_logger_that_waits";
    let (mut running, mut client, stderr) = child::stdio_unread(itself(name));
    while client.line().is_some_and(|line| line != "running 1 test") {}
    call_all(&mut client, &[("echo", "a")]);
    // Its children print to where it prints.
    for id in 0..20 {
        let answer = client.ask(&call(id, "child", json!({})));
        assert_eq!(text(&answer), "printed");
    }
    running.signal(Signal::TERM);
    assert_eq!(running.wait().status.code(), Some(7));
    assert_was_full(stderr);
}

/// What is dropped is counted where it is missing.
#[test]
fn law_10_what_an_unread_stderr_loses_is_counted() {
    let (mut running, mut client, mut stderr) = child::stdio_unread(everything(&["--stdio"]));
    call_all(&mut client, &[("print", "printed")]);
    // Somebody reads again.
    let (more, said) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = stderr.read(&mut buffer) {
            let _test_is_over = more.send(String::from_utf8_lossy(&buffer[..count]).into_owned());
        }
    });
    client.close();
    running.exits_well();
    reading.join().expect("it does not panic");
    let said: String = said.iter().collect();
    let lines = said.matches("a stray line on stdout\n").count();
    let told = said
        .lines()
        .filter(|line| line.contains("nobody read stderr"));
    let told: Vec<_> = told.collect();
    assert!(!told.is_empty(), "{lines} lines are there: {said}");
    let missing: usize = told
        .iter()
        .filter_map(|line| line.split(' ').nth(3)?.parse::<usize>().ok())
        .sum();
    assert!(missing > 0 && lines < CALLS, "{told:?}");
}
