//! A client on a pipe: one JSON message a line, both ways, read only when the test asks.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use super::PATIENCE;
use super::message::initialize;
use super::task_schema;

/// The client. What it sends and reads is kept, to be printed when something fails.
pub(crate) struct PipeClient {
    write: Option<Writer>,
    read: File,
    bytes: Vec<u8>,
    /// Read while looking for something else.
    passed: VecDeque<Value>,
    story: Vec<String>,
}

enum Writer {
    Socket(UnixStream),
    Child(ChildStdin),
}

impl PipeClient {
    pub(crate) fn socket(socket: UnixStream) -> Self {
        let read = OwnedFd::from(socket.try_clone().expect("a socket can be cloned"));
        PipeClient::new(Writer::Socket(socket), read)
    }

    pub(crate) fn sockets(write: UnixStream, read: UnixStream) -> Self {
        PipeClient::new(Writer::Socket(write), OwnedFd::from(read))
    }

    pub(crate) fn child(stdin: ChildStdin, stdout: ChildStdout) -> Self {
        PipeClient::new(Writer::Child(stdin), OwnedFd::from(stdout))
    }

    fn new(write: Writer, read: OwnedFd) -> Self {
        PipeClient {
            write: Some(write),
            read: read.into(),
            bytes: Vec::new(),
            passed: VecDeque::new(),
            story: Vec::new(),
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string());
    }

    /// Sends a message if anybody reads it.
    pub(crate) fn try_send(&mut self, message: &Value) -> bool {
        self.tell("->", &message.to_string());
        self.writer()
            .write_all(format!("{message}\n").as_bytes())
            .is_ok()
    }

    /// Sends a line as it is.
    #[track_caller]
    pub(crate) fn send_line(&mut self, line: &str) {
        self.tell("->", line);
        let mut line = line.as_bytes().to_vec();
        line.push(b'\n');
        if let Err(error) = self.writer().write_all(&line) {
            self.fail(&format!("cannot send: {error}"));
        }
    }

    /// A second writer, for a thread that sends while this one reads.
    pub(crate) fn second_writer(&self) -> UnixStream {
        let Some(Writer::Socket(socket)) = &self.write else {
            panic!("only a socket has a second writer");
        };
        socket.try_clone().expect("a socket can be cloned")
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.write {
            Some(Writer::Socket(socket)) => socket,
            Some(Writer::Child(stdin)) => stdin,
            None => panic!("this side is closed already"),
        }
    }

    /// Closes the client's side; answers can still be read.
    pub(crate) fn close(&mut self) {
        self.tell("->", "(end)");
        if let Some(Writer::Socket(socket)) = self.write.take() {
            socket
                .shutdown(Shutdown::Write)
                .expect("a socket can be closed");
        }
    }

    /// The next message, whatever it is.
    #[track_caller]
    pub(crate) fn recv(&mut self) -> Value {
        match self.passed.pop_front() {
            Some(message) => message,
            None => self.read(),
        }
    }

    #[track_caller]
    fn read(&mut self) -> Value {
        match self.line() {
            Some(line) => self.parse(&line),
            None => self.fail("the server has closed its side"),
        }
    }

    #[track_caller]
    fn parse(&mut self, line: &str) -> Value {
        match serde_json::from_str(line) {
            Ok(message) => {
                task_schema::check(&message);
                message
            }
            Err(error) => self.fail(&format!("a line that is not JSON ({error}): {line}")),
        }
    }

    /// The answer to the request with this id; what comes before it can be read afterwards.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into();
        let is_it = |message: &Value| message.get("id") == Some(&id);
        if let Some(at) = self.passed.iter().position(is_it) {
            return self.passed.remove(at).expect("it is there");
        }
        loop {
            let message = self.read();
            if is_it(&message) {
                return message;
            }
            self.passed.push_back(message);
        }
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        self.answer(message["id"].clone())
    }

    /// Opens a legacy session; what `initialize` answered.
    #[track_caller]
    pub(crate) fn initialize(&mut self, version: &str) -> Value {
        let answer = self.ask(&initialize("initialize", version));
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        answer
    }

    /// Everything the server has sent so far and that has not been read, known by the answer to a ping that comes behind it. Needs a session.
    #[track_caller]
    pub(crate) fn sent_so_far(&mut self) -> Vec<Value> {
        let id = format!("barrier {}", self.story.len());
        let pong = self.ask(&json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }));
        assert_eq!(pong["result"], json!({}), "a ping has an empty result");
        self.passed.drain(..).collect()
    }

    /// Every message up to the end of the stream.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        let mut messages: Vec<_> = self.passed.drain(..).collect();
        while let Some(line) = self.line() {
            messages.push(self.parse(&line));
        }
        messages
    }

    /// The next line, or `None` at the end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut searched = 0;
        loop {
            if let Some(end) = self.bytes[searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let line: Vec<u8> = self.bytes.drain(..=searched + end).collect();
                let line = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
                self.tell("<-", &line);
                return Some(line);
            }
            searched = self.bytes.len();
            let left = deadline.saturating_duration_since(Instant::now());
            let mut watched = [PollFd::new(&self.read, PollFlags::IN)];
            let ready = poll(&mut watched, Some(&timespec(left))).unwrap_or(0);
            if ready == 0 {
                if left.is_zero() {
                    self.fail(&format!("nothing came in {PATIENCE:?}"));
                }
                continue;
            }
            let mut buffer = [0; 64 * 1024];
            match self.read.read(&mut buffer) {
                Ok(0) | Err(_) if self.bytes.is_empty() => return None,
                Ok(0) | Err(_) => self.fail("the server ended in the middle of a line"),
                Ok(size) => self.bytes.extend_from_slice(&buffer[..size]),
            }
        }
    }

    fn tell(&mut self, arrow: &str, line: &str) {
        let short: String = line.chars().take(600).collect();
        self.story.push(format!("{arrow} {short}"));
    }

    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        let from = self.story.len().saturating_sub(200);
        panic!(
            "{why}\nthe story so far:\n{}\n<- (unread) {}",
            self.story[from..].join("\n"),
            String::from_utf8_lossy(&self.bytes)
        );
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
