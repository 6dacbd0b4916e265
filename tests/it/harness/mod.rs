//! What every test stands on: clients made of bytes, servers that are ended, gates instead of naps, waits with a bound.
//!
//! A wait that does not end panics after [`PATIENCE`] and prints the whole story: what was sent, what came back, what the server was doing.

mod built;
pub(crate) mod child;
pub(crate) mod gate;
#[cfg(any(feature = "http", feature = "tiny-http"))]
pub(crate) mod http;
pub(crate) mod logs;
pub(crate) mod message;
pub(crate) mod pipe;
pub(crate) mod place;
pub(crate) mod served;
pub(crate) mod talk;
pub(crate) mod task_schema;
#[cfg(feature = "ctrlc")]
pub(crate) mod terminal;
mod ways;
pub(crate) mod wire;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use self::gate::Gate;
#[cfg(any(feature = "http", feature = "tiny-http"))]
pub(crate) use self::http::{Event, Http, Reply, Session};
pub(crate) use self::message::{call, code, legacy, legacy_call, modern, text, with_meta};
pub(crate) use self::pipe::PipeClient;
pub(crate) use self::place::Place;
#[cfg(any(feature = "http", feature = "tiny-http"))]
pub(crate) use self::served::{Front, on_every_front};
pub(crate) use self::served::{Served, patient, probes};
pub(crate) use self::talk::on_every_talk;
pub(crate) use self::wire::on_every_wire;

/// The bound of every wait. Nothing takes this long; a slow machine must not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// Waits until something that sends no event has come true.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) {
    until_told(what, holds, String::new);
}

/// The same with a story to tell when it does not, such as the server's numbers.
#[track_caller]
pub(crate) fn until_told(
    what: &str,
    mut holds: impl FnMut() -> bool,
    story: impl FnOnce() -> String,
) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() >= deadline {
            panic!("waited {PATIENCE:?} in vain until {what}: {}", story());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// What `act` gives, which might never return: then the test fails with a sentence, and leaves its thread.
#[cfg(all(feature = "http", feature = "ctrlc"))]
#[track_caller]
pub(crate) fn in_time<T: Send + 'static>(
    what: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let acting = thread::spawn(act);
    until(what, || acting.is_finished());
    acting
        .join()
        .unwrap_or_else(|_| panic!("{what}: it panicked"))
}

/// Runs the body of the test `name` (its path in this binary) in a process of its own, for what is true of a whole process: its threads, its
/// signals, its descriptors, its logger.
#[track_caller]
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    if is_alone() {
        return body();
    }
    let output = child::run(itself(name));
    assert!(output.status.success(), "{name} on its own: {output:#?}");
}

/// The same in a process that a shell has prepared: its script ends by running `"$@"`.
#[track_caller]
pub(crate) fn alone_under(script: &str, name: &str, body: impl FnOnce()) {
    if is_alone() {
        return body();
    }
    let this = itself(name);
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(this.get_program());
    command.args(this.get_args()).env(MARK, "1");
    let output = child::run(command);
    assert!(
        output.status.success(),
        "{name} under `{script}`: {output:#?}"
    );
}

/// Whether this process was started to run one test's other half.
pub(crate) fn is_alone() -> bool {
    std::env::var_os(MARK).is_some()
}

/// This binary, to run the test `name` alone. It says `running 1 test` on stdout before.
pub(crate) fn itself(name: &str) -> Command {
    let this = std::env::current_exe().expect("a test binary knows where it is");
    let mut command = Command::new(this);
    command
        .args([
            "--exact",
            name,
            "--nocapture",
            "--quiet",
            "--test-threads=1",
        ])
        .env(MARK, "1");
    command
}

const MARK: &str = "MCP_THREADS_TEST_ALONE";

/// The names of this process's threads that the library started. One that has been joined may be among them until the kernel has put it away.
pub(crate) fn library_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists a process's threads");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("mcp-"))
        .collect()
}

/// A small generator of numbers that look random and are the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// A number below `bound`.
    pub(crate) fn roll(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
