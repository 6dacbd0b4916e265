//! Tests of the guarded front: rows through one check for what is pure, a toy [`Serve`] behind real sockets for the rest.
//!
//! No test naps to let something happen: it waits for an event, and gives up long after any sane machine would have produced
//! it. The only sleeps are those that make a client slow on purpose.

mod body;
mod deadlines;
mod departure;
mod drain;
mod flood;
mod head;
mod http;
mod limits;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{GuardedFront, Listener, LocalAddr};
use crate::limits::Limits;
use crate::transport::http::exchange::{BodyError, Exchange, Response, Serve};

/// Longer than anything takes; waiting this long is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the toy tells the test.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// `serve` was called for this target.
    Entered(String),
    /// `client_left` said so.
    Departed,
    /// A write failed.
    WriteFailed(std::io::ErrorKind),
    /// A body could not be read, and why.
    NoBody(String),
}

/// What the test tells the toy, while it is inside `/wait` or `/stream`.
enum Command {
    Answer,
    Send(Vec<u8>),
    Finish(Vec<u8>),
    /// Write until it fails.
    Flood,
    /// Ask once whether the client has left, and tell.
    Look(Sender<bool>),
}

/// Answers by target: `/echo`, `/ignore`, `/wait`, `/stream`, `/big`, `/panic`, `/silent`, anything else.
struct Toy {
    limits: Arc<Limits>,
    events: Sender<Event>,
    commands: Receiver<Command>,
}

impl Toy {
    fn tell(&self, event: Event) {
        let _ = self.events.send(event); // the test may be over
    }

    fn wait<E: Exchange>(&self, exchange: &mut E) {
        loop {
            match self.commands.recv_timeout(self.limits.departure_interval) {
                Ok(Command::Answer) => return self.respond(exchange, 200, b"waited"),
                Ok(Command::Look(reply)) => {
                    reply.send(exchange.client_left()).expect("the test asks")
                }
                Ok(_) => panic!("not while waiting"),
                Err(_) if exchange.client_left() => return self.tell(Event::Departed),
                Err(_) => {}
            }
        }
    }

    fn stream<E: Exchange>(&self, exchange: &mut E) {
        exchange
            .begin_stream(&[("X-Stream", "yes")])
            .expect("the first answer");
        loop {
            let sent = match self.commands.recv_timeout(self.limits.departure_interval) {
                Ok(Command::Send(bytes)) => exchange.send(&bytes),
                Ok(Command::Finish(bytes)) => {
                    return exchange.finish(&bytes).unwrap_or_else(|error| {
                        self.tell(Event::WriteFailed(error.kind()));
                    });
                }
                Ok(Command::Flood) => loop {
                    if let Err(error) = exchange.send(&[b'x'; 64 * 1024]) {
                        break Err(error);
                    }
                },
                Ok(Command::Look(reply)) => {
                    reply.send(exchange.client_left()).expect("the test asks");
                    Ok(())
                }
                Ok(Command::Answer) => panic!("not while streaming"),
                Err(_) if exchange.client_left() => return self.tell(Event::Departed),
                Err(_) => Ok(()),
            };
            if let Err(error) = sent {
                return self.tell(Event::WriteFailed(error.kind()));
            }
        }
    }

    fn echo<E: Exchange>(&self, exchange: &mut E) {
        match exchange.read_body(self.limits.body_bytes_max) {
            Ok(body) => self.respond(exchange, 200, &body),
            Err(error) => {
                self.tell(Event::NoBody(format!("{error:?}")));
                let status = match error {
                    BodyError::TooLarge => 413,
                    BodyError::TooSlow => 408,
                    BodyError::Malformed(_) => 400,
                    BodyError::Gone => return,
                };
                self.respond(exchange, status, b"no body");
            }
        }
    }

    fn respond<E: Exchange>(&self, exchange: &mut E, status: u16, body: &[u8]) {
        let response = Response {
            status,
            fields: &[("X-Toy", "1")],
            body,
        };
        if let Err(error) = exchange.respond(&response) {
            self.tell(Event::WriteFailed(error.kind()));
        }
    }
}

impl Serve for Toy {
    fn serve<E: Exchange>(&self, exchange: &mut E) {
        let target = exchange.target().to_owned();
        self.tell(Event::Entered(target.clone()));
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/echo" => self.echo(exchange),
            "/wait" => self.wait(exchange),
            "/stream" => self.stream(exchange),
            "/big" => {
                let len = query.parse().expect("a number");
                self.respond(exchange, 200, &vec![b'b'; len]);
            }
            "/status" => {
                self.respond(exchange, query.parse().expect("a number"), b"body");
            }
            "/panic" => panic!("the toy was told to"),
            "/silent" => {}
            "/fields" => {
                let values: Vec<&str> = exchange.fields("x-field").collect();
                let text = format!("{} {} {}", exchange.method(), target, values.join("|"));
                self.respond(exchange, 200, text.as_bytes());
            }
            _ => self.respond(exchange, 404, b"what?"),
        }
    }
}

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
    events: Receiver<Event>,
    commands: Sender<Command>,
}

impl Site {
    fn new(limits: Limits) -> Site {
        let listener = any_port();
        Site::on(listener, limits)
    }

    fn on(listener: Listener, limits: Limits) -> Site {
        let limits = Arc::new(limits);
        let (events_out, events) = unbounded();
        let (commands, commands_in) = unbounded();
        let toy = Toy {
            limits: Arc::clone(&limits),
            events: events_out,
            commands: commands_in,
        };
        let connections = Arc::default();
        let count = Arc::clone(&connections);
        let front = GuardedFront::start(listener, Arc::new(toy), limits, count).expect("it starts");
        Site {
            front,
            connections,
            events,
            commands,
        }
    }

    fn address(&self) -> SocketAddr {
        match self.front.local_addr() {
            LocalAddr::Tcp(address) => *address,
            LocalAddr::Unix(_) => panic!("not a TCP listener"),
        }
    }

    fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.address()).expect("it listens");
        stream.set_nodelay(true).expect("a TCP option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Client::new(stream)
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
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
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

/// Limits under which no deadline comes during a test, so that a test sets only the one it is about.
fn patient() -> Limits {
    let long = PATIENCE * 4;
    Limits {
        head_timeout: long,
        body_timeout: long,
        idle_timeout: long,
        write_timeout: long,
        departure_interval: Duration::from_millis(5),
        linger_timeout: long,
        ..Limits::default()
    }
}
