//! Tests of the guarded front: rows through one check for what is pure, a toy [`Serve`] behind real sockets for the rest.
//!
//! No test naps to let something happen: it waits for an event, and gives up long after any sane machine would have produced
//! it. The only sleeps are those that make a client slow on purpose.

mod address;
mod body;
mod deadlines;
mod departure;
mod drain;
mod flood;
mod framing;
mod head;
mod http;
mod limits;
mod oracle;
#[cfg(target_os = "linux")]
mod suspension;
mod toy;
mod turns;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use self::toy::{Command, Event, Says, Toy};

use super::{GuardedFront, Listener};
use crate::base::budget::Budget;
use crate::base::limits::Limits;
use crate::outbox::Wake;

/// Longer than anything takes; waiting this long is a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A listener on a free port.
fn any_port() -> Listener {
    TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .into()
}

/// A front with the toy above it.
struct Site {
    front: GuardedFront,
    connections: Arc<AtomicUsize>,
    memory: Arc<Budget>,
    toy: Arc<Toy>,
    events: Receiver<Event>,
    commands: Sender<Command>,
}

impl Site {
    fn new(limits: Limits) -> Site {
        Site::on(any_port(), limits)
    }

    fn on(listener: Listener, limits: Limits) -> Site {
        Site::within(listener, limits, usize::MAX)
    }

    /// With this much memory for bodies.
    fn within(listener: Listener, limits: Limits, memory_bytes_max: usize) -> Site {
        Site::looking(listener, limits, memory_bytes_max, Duration::from_millis(5))
    }

    /// With a toy that looks this often for its client.
    fn looking(
        listener: Listener,
        limits: Limits,
        memory_bytes_max: usize,
        looks: Duration,
    ) -> Site {
        let limits = Arc::new(limits);
        let (events_out, events) = unbounded();
        let (commands, commands_in) = unbounded();
        let toy = Arc::new(Toy {
            limits: Arc::clone(&limits),
            looks,
            events: events_out,
            commands: commands_in,
        });
        let connections = Arc::default();
        let (served, count) = (Arc::clone(&toy), Arc::clone(&connections));
        let memory = Budget::whole(memory_bytes_max);
        let kept = Arc::clone(&memory);
        let front = GuardedFront::start(listener, served, limits, kept, count).expect("it starts");
        Site {
            front,
            connections,
            memory,
            toy,
            events,
            commands,
        }
    }

    fn address(&self) -> SocketAddr {
        self.front.address.expect("a TCP listener")
    }

    fn connect(&self) -> Client<TcpStream> {
        connect(&self.front)
    }

    fn command(&self, command: Command) {
        self.commands.send(command).expect("the toy listens");
    }

    /// The next thing that the toy tells.
    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    fn entered(&self, target: &str) {
        assert_eq!(self.event(), Event::Entered(target.to_owned()));
    }

    /// What `client_left` says right now to the call that waits.
    fn client_left(&self) -> bool {
        let (reply, answer) = unbounded();
        self.command(Command::Look(reply));
        answer.recv_timeout(PATIENCE).expect("the toy looks")
    }

    fn await_connections(&self, count: usize) {
        await_that("the number of connections", || {
            self.connections.load(Ordering::Relaxed) == count
        });
    }

    /// Ends in good order: nothing had to be cut, and nobody told anything unexpected.
    fn close(self) {
        let deadline = Instant::now() + PATIENCE;
        assert_eq!(self.front.join(deadline), 0);
        assert!(Instant::now() < deadline, "a connection lingered");
        assert_eq!(self.events.try_iter().collect::<Vec<_>>(), []);
    }
}

/// A front whose requests are answered by this, and how many connections it has.
fn saying(
    limits: Limits,
    says: impl Fn(&str, Option<Wake>) -> Option<String> + Send + Sync + 'static,
) -> (GuardedFront, Arc<AtomicUsize>) {
    let (limits, memory) = (Arc::new(limits), Budget::whole(usize::MAX));
    let connections = Arc::default();
    let (serve, count) = (Arc::new(Says(says)), Arc::clone(&connections));
    let front = GuardedFront::start(any_port(), serve, limits, memory, count);
    (front.expect("it starts"), connections)
}

fn connect(front: &GuardedFront) -> Client<TcpStream> {
    let address = front.address.expect("a TCP listener");
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a TCP option");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    Client::new(stream)
}

/// One side of a conversation.
struct Client<S> {
    stream: S,
    unread: Vec<u8>,
}

/// An answer as a client sees it.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    fn closes(&self) -> bool {
        self.head.contains("\r\nConnection: close\r\n")
    }

    fn field(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(&prefix))
    }
}

impl<S: Read + Write> Client<S> {
    fn new(stream: S) -> Client<S> {
        Client {
            stream,
            unread: Vec::new(),
        }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the front reads");
    }

    /// Sends what can be sent; the front may have closed already.
    fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    fn get(&mut self, target: &str) -> Answer {
        self.send(get(target));
        self.answer()
    }

    /// More bytes. False at the end of the stream.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                count > 0
            }
            Err(error) => panic!("{error} after {}", self.unread.escape_ascii()),
        }
    }

    /// Takes everything up to and including `end` off what is unread.
    fn take_through(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            let found = self
                .unread
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                return self.unread.drain(..at + end.len()).collect();
            }
            assert!(self.more(), "ended after {}", self.unread.escape_ascii());
        }
    }

    fn head(&mut self) -> Answer {
        let head = String::from_utf8(self.take_through(b"\r\n\r\n")).expect("text");
        let status = head.split(' ').nth(1).expect("a status line");
        Answer {
            status: status.parse().expect("a status"),
            head,
            body: Vec::new(),
        }
    }

    /// A whole answer that states its length.
    fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let len: usize = answer
            .field("Content-Length")
            .map_or(0, |len| len.parse().expect("a number"));
        while self.unread.len() < len {
            assert!(
                self.more(),
                "ended within a body: {}",
                self.unread.escape_ascii()
            );
        }
        answer.body = self.unread.drain(..len).collect();
        answer
    }

    /// Everything until the front closes.
    fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.unread)
    }

    /// The front closes without another byte.
    fn expect_end(&mut self) {
        assert_eq!(self.rest().escape_ascii().to_string(), "");
    }

    /// The front closes without another byte, in whatever way.
    fn expect_end_or_reset(&mut self) {
        match self.stream.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("not the end: {other:?}"),
        }
    }
}

impl Client<TcpStream> {
    fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn post(target: &str, body: &str) -> String {
    let len = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\r\n{body}")
}

/// Waits for something that has no event. For what another thread does on its own.
fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Limits under which no deadline comes during a test, so that a test sets only what it is about.
fn patient() -> Limits {
    let long = PATIENCE * 4;
    Limits::default()
        .head_timeout(long)
        .body_timeout(long)
        .idle_timeout(long)
        .write_timeout(long)
        .linger_timeout(long)
}

/// Runs a test of this binary in a process of its own, for what belongs to the process. It looks for `IN_OWN_PROCESS`.
fn in_own_process(test: &str) {
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            &format!("transport::http::guarded::tests::{test}"),
        ])
        .arg("--nocapture")
        .env(IN_OWN_PROCESS, "1")
        // What an arena keeps for the next one is not what the front holds, and a machine with many cores has one for each thread.
        .env("MALLOC_ARENA_MAX", "2")
        .env_remove("GLIBC_TUNABLES")
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("1 passed"), "{told}");
}

const IN_OWN_PROCESS: &str = "MCP_THREADS_IN_OWN_PROCESS";

fn is_own_process() -> bool {
    std::env::var_os(IN_OWN_PROCESS).is_some()
}

/// A line of `/proc/self/status`, in KiB. `None` where there is no such thing.
fn status_kib(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':')
        .trim()
        .strip_suffix(" kB")?
        .parse()
        .ok()
}
