//! Programs of this package as child processes: started, talked to, waited for, and killed if a test ends before them.

use std::io::{BufRead, BufReader, Read};
#[cfg(any(feature = "http", feature = "tiny-http"))]
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) use super::built::example;
use super::{PATIENCE, PipeClient, until_told};

/// A running child. Its stderr is kept.
pub(crate) struct Running {
    child: Child,
    stderr: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

/// A finished child.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Starts a program with a client on its stdin and stdout.
pub(crate) fn stdio(mut command: Command) -> (Running, PipeClient) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = start(command);
    let stdin = running.child.stdin.take().expect("stdin is a pipe");
    let stdout = running.child.stdout.take().expect("stdout is a pipe");
    (running, PipeClient::child(stdin, stdout))
}

/// Starts a program that says where it listens.
#[cfg(any(feature = "http", feature = "tiny-http"))]
pub(crate) fn http(mut command: Command) -> (Running, super::Http) {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let running = start(command);
    let address = address(&running.said("listening on http://"));
    (running, super::Http::new(address))
}

/// The address in what a program says of where it listens.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[track_caller]
fn address(line: &str) -> SocketAddr {
    let address = line
        .trim_end()
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.strip_suffix("/mcp"))
        .and_then(|address| address.parse().ok());
    match address {
        Some(address) => address,
        None => panic!("not an address: {line}"),
    }
}

/// The same over two pairs of sockets, as some launchers make them.
pub(crate) fn stdio_sockets(mut command: Command) -> (Running, PipeClient) {
    let [(write, stdin), (read, stdout)] =
        [(), ()].map(|()| UnixStream::pair().expect("sockets can be made"));
    command
        .stdin(OwnedFd::from(stdin))
        .stdout(OwnedFd::from(stdout));
    (start(command), PipeClient::sockets(write, read))
}

/// The same with a stdout of one's own, which nobody here reads.
pub(crate) fn stdio_to(mut command: Command, stdout: impl Into<Stdio>) -> (Running, ChildStdin) {
    command.stdin(Stdio::piped()).stdout(stdout);
    let mut running = start(command);
    let stdin = running.child.stdin.take().expect("stdin is a pipe");
    (running, stdin)
}

/// The same with a stderr that nobody reads.
pub(crate) fn stdio_unread(command: Command) -> (Running, PipeClient, ChildStderr) {
    let (mut running, client) = stdio_telling(command, Stdio::piped());
    let stderr = running.child.stderr.take().expect("stderr is a pipe");
    (running, client, stderr)
}

/// Starts a program that says where it listens, and reads no more of its stderr than that.
#[cfg(any(feature = "http", feature = "tiny-http"))]
pub(crate) fn http_unread(mut command: Command) -> (Running, super::Http, ChildStderr) {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (running, mut stderr) = start_unread(command);
    let mut line = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&line).contains("listening on") || byte != *b"\n" {
        if byte == *b"\n" {
            line.clear();
        }
        stderr
            .read_exact(&mut byte)
            .expect("it says where it listens");
        line.push(byte[0]);
    }
    let address = address(&String::from_utf8_lossy(&line));
    (running, super::Http::new(address), stderr)
}

fn start_unread(mut command: Command) -> (Running, ChildStderr) {
    command.stderr(Stdio::piped());
    let mut running = start_bare(command);
    let stderr = running.child.stderr.take().expect("stderr is a pipe");
    (running, stderr)
}

/// A program with a client on its stdin and stdout, and a stderr of one's own.
pub(crate) fn stdio_telling(
    mut command: Command,
    stderr: impl Into<Stdio>,
) -> (Running, PipeClient) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr);
    let mut running = start_bare(command);
    let stdin = running.child.stdin.take().expect("stdin is a pipe");
    let stdout = running.child.stdout.take().expect("stdout is a pipe");
    (running, PipeClient::child(stdin, stdout))
}

fn start_bare(mut command: Command) -> Running {
    Running {
        child: command.spawn().expect("the program can be started"),
        stderr: Arc::default(),
        reading: None,
    }
}

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run(mut command: Command) -> Finished {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running = start(command);
    let mut stdout = running.child.stdout.take().expect("stdout is a pipe");
    let reading = thread::spawn(move || {
        let mut said = Vec::new();
        stdout
            .read_to_end(&mut said)
            .map(|_| String::from_utf8_lossy(&said).into_owned())
            .unwrap_or_default()
    });
    let mut finished = running.wait();
    finished.stdout = reading.join().expect("reading does not panic");
    finished
}

/// Starts a program whose stdin and stdout are settled.
pub(crate) fn start(mut command: Command) -> Running {
    command.stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    let stderr = Arc::new(Mutex::new(String::new()));
    let said = Arc::clone(&stderr);
    let mut from = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
    let reading = thread::spawn(move || {
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|size| size > 0) {
            let mut said = said.lock().expect("nothing panics in here");
            said.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    Running {
        child,
        stderr,
        reading: Some(reading),
    }
}

impl Running {
    /// Waits until it has said this on stderr, and gives back that line.
    #[track_caller]
    pub(crate) fn said(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.stderr.lock().expect("nothing panics in here").clone();
            let mut whole_lines = said
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            if let Some(line) = whole_lines.find(|line| line.contains(text)) {
                return line.trim_end().to_owned();
            }
            assert!(
                Instant::now() < deadline,
                "it did not say `{text}`; its stderr:\n{said}"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident(&self) -> usize {
        self.memory("VmRSS")
    }

    /// What the kernel says of its memory, in bytes: `VmHWM` is the peak of `VmRSS`.
    #[track_caller]
    pub(crate) fn memory(&self, field: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("Linux tells, and the child lives");
        let line = status.lines().find(|line| line.starts_with(field));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
        kib.expect("it is a number of KiB") * 1024
    }

    /// Begins its peak anew; what it takes now.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn reset_peak(&self) -> usize {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(path, "5").expect("Linux lets the parent do so");
        self.memory("VmRSS")
    }

    /// Sends it a signal. A server serves a moment before it handles those that end it, and until then they would end it without a word.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        if matches!(signal, Signal::INT | Signal::TERM | Signal::HUP) {
            let settled = || handles(self.id(), signal);
            until_told("it handles the signal", settled, || self.stderr());
        }
        kill_process(Pid::from_child(&self.child), signal).expect("the child lives");
    }

    /// Has a server end by this signal, and well.
    #[track_caller]
    pub(crate) fn ends_by(&mut self, signal: Signal) -> Finished {
        self.signal(signal);
        self.exits_well()
    }

    /// What it has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().expect("nothing panics in here").clone()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Finished {
        let deadline = Instant::now() + 4 * PATIENCE;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                state => panic!(
                    "the child has not ended: {state:?}; its stderr:\n{}",
                    self.stderr.lock().expect("nothing panics in here")
                ),
            }
        };
        if let Some(reading) = self.reading.take() {
            reading.join().expect("reading does not panic");
        }
        let stderr = self.stderr.lock().expect("nothing panics in here").clone();
        Finished {
            status,
            stdout: String::new(),
            stderr,
        }
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub(crate) fn exits_well(&mut self) -> Finished {
        let finished = self.wait();
        assert_eq!(finished.status.code(), Some(0), "{finished:#?}");
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ended_meanwhile = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

/// Whether a process has said what this signal does to it, or ignores it.
pub(crate) fn handles(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let sets = status.lines().filter_map(|line| {
        let set = ["SigCgt:", "SigIgn:"].map(|name| line.strip_prefix(name));
        let bits = set.into_iter().flatten().next()?;
        u64::from_str_radix(bits.trim(), 16).ok()
    });
    let bits = sets.fold(0, |all, bits| all | bits);
    bits & (1 << (signal.as_raw() - 1)) != 0
}

/// The processes that this one has started and not reaped, with their command lines.
pub(crate) fn children_of(parent: u32) -> Vec<(u32, String)> {
    let processes = std::fs::read_dir("/proc").expect("Linux lists processes");
    let ids = processes.filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok());
    let ours = ids.filter(|pid| stat_field(*pid, 4) == Some(parent));
    ours.map(|pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (pid, String::from_utf8_lossy(&line).replace('\0', " "))
    })
    .collect()
}

/// The session of a process.
pub(crate) fn session_of(pid: u32) -> Option<u32> {
    stat_field(pid, 6)
}

/// A number of `/proc/PID/stat`, counted as the manual page does.
fn stat_field(pid: u32, number: usize) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let behind_name = stat.rsplit(')').next()?;
    behind_name.split_whitespace().nth(number - 3)?.parse().ok()
}

/// Whether a process with this id exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}
