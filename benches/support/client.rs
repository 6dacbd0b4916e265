//! A cheap client for both transports: requests are bytes made beforehand, an answer is read no further than it has to be.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::measure::Times;

/// One message: a method, the tool if it is a call, the other parameters.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: &'static str,
    tool: Option<&'static str>,
    params: Value,
    era: Era,
}

#[derive(Clone, Debug)]
enum Era {
    Modern,
    /// With the session it belongs to, once there is one.
    Legacy(Option<String>),
}

impl Ask {
    pub(crate) fn modern(method: &'static str) -> Self {
        Ask {
            method,
            tool: None,
            params: json!({}),
            era: Era::Modern,
        }
    }

    pub(crate) fn call(tool: &'static str, arguments: Value) -> Self {
        Ask {
            tool: Some(tool),
            params: json!({ "name": tool, "arguments": arguments }),
            ..Ask::modern("tools/call")
        }
    }

    /// `echo` of a text of this many bytes.
    pub(crate) fn echo(bytes: usize) -> Self {
        Ask::call("echo", json!({ "text": "x".repeat(bytes) }))
    }

    /// The handshake of the legacy era.
    pub(crate) fn initialize(capabilities: &Value) -> Self {
        Ask {
            method: "initialize",
            tool: None,
            params: json!({
                "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": { "name": "bench", "version": "1" },
            }),
            era: Era::Legacy(None),
        }
    }

    /// `ping`, which only the legacy era has; over HTTP it belongs to a session.
    pub(crate) fn ping(session: Option<String>) -> Self {
        Ask {
            method: "ping",
            tool: None,
            params: json!({}),
            era: Era::Legacy(session),
        }
    }

    /// As a message of a handshake-era session.
    pub(crate) fn in_session(mut self, session: &str) -> Self {
        self.era = Era::Legacy(Some(session.into()));
        self
    }

    /// Asks for progress notifications.
    pub(crate) fn with_progress(mut self) -> Self {
        self.params["_meta"]["progressToken"] = json!("p");
        self
    }

    /// The JSON-RPC message.
    pub(crate) fn message(&self, id: &Value) -> String {
        let mut params = self.params.clone();
        if matches!(self.era, Era::Modern) {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        json!({ "jsonrpc": "2.0", "id": id, "method": self.method, "params": params }).to_string()
    }

    /// The message as one HTTP request.
    pub(crate) fn http(&self) -> Vec<u8> {
        let body = self.message(&json!(1));
        let mut head = String::from(
            "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n",
        );
        let mut field = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        match &self.era {
            Era::Modern => {
                field("MCP-Protocol-Version", "2026-07-28");
                field("Mcp-Method", self.method);
                if let Some(tool) = self.tool {
                    field("Mcp-Name", tool);
                }
            }
            Era::Legacy(session) => {
                field("MCP-Protocol-Version", "2025-11-25");
                if let Some(session) = session {
                    field("Mcp-Session-Id", session);
                }
            }
        }
        field("Content-Length", &body.len().to_string());
        format!("{head}\r\n{body}").into_bytes()
    }

    /// The message as one line.
    pub(crate) fn line(&self, id: &str) -> Vec<u8> {
        let mut line = self.message(&json!(id)).into_bytes();
        line.push(b'\n');
        line
    }
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// With a result.
    Answered,
    /// With `503`.
    Refused,
    /// With anything else that came over the wire.
    Strange,
}

/// A keep-alive connection with at most one request under way.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    head_len: usize,
    filled: usize,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Connection {
            stream,
            buffer: vec![0; 4096],
            head_len: 0,
            filled: 0,
        })
    }

    /// Sends one request in one write and waits for the whole answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.send(request)?;
        self.receive()
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        self.filled = 0;
        let length = loop {
            self.fill()?;
            let head = find(&self.buffer[..self.filled], b"\r\n\r\n");
            if let Some(head) = head {
                self.head_len = head + 4;
                break content_length(&self.buffer[..head]);
            }
        };
        match length {
            Some(length) => {
                while self.filled < self.head_len + length {
                    self.fill()?;
                }
            }
            // An event stream: the end of its chunked body cannot stand inside an event, for JSON has no line breaks.
            None => {
                while !self.buffer[..self.filled].ends_with(b"\r\n0\r\n\r\n") {
                    self.fill()?;
                }
            }
        }
        Ok(match &self.buffer[9..12] {
            b"200" if find(self.body(), b"\"result\":").is_some() => Reply::Answered,
            b"503" => Reply::Refused,
            _ => Reply::Strange,
        })
    }

    /// What came after the head of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        &self.buffer[self.head_len..self.filled]
    }

    /// A header field of the last answer.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.buffer[..self.head_len]);
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 4, 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let name = b"content-length:";
    let at = head
        .windows(name.len())
        .position(|window| window.eq_ignore_ascii_case(name))?;
    let value = head[at + name.len()..]
        .split(|byte| *byte == b'\r')
        .next()?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// Whoever can ask one thing after another: a connection or a pipe.
pub(crate) trait Client {
    /// What is sent for this question.
    fn prepare(&self, ask: &Ask) -> Vec<u8>;

    /// Asks, and waits for the answer to this question.
    fn ask(&mut self, prepared: &[u8]) -> io::Result<Reply>;

    /// The text of the last answer.
    fn answer(&self) -> &[u8];

    /// Asks the same again and again for this long.
    fn sample(&mut self, ask: &Ask, duration: Duration) -> io::Result<Times> {
        let prepared = self.prepare(ask);
        let mut times = Times::default();
        let mut start = Instant::now();
        let end = start + duration;
        while start < end {
            if self.ask(&prepared)? != Reply::Answered {
                return Err(io::Error::other(
                    String::from_utf8_lossy(self.answer()).into_owned(),
                ));
            }
            let now = Instant::now();
            times.push(now - start);
            start = now;
        }
        Ok(times)
    }

    /// How many workers of the main lane are busy.
    fn busy(&mut self) -> io::Result<usize> {
        let prepared = self.prepare(&Ask::call("busy", json!({})));
        self.ask(&prepared)?;
        let answer = self.answer();
        let digits = find(answer, b"busy=").map(|at| &answer[at + 5..]);
        let digits = digits.and_then(|rest| rest.split(|byte| !byte.is_ascii_digit()).next());
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        number.ok_or_else(|| io::Error::other("the server does not say how busy it is"))
    }
}

impl Client for Connection {
    fn prepare(&self, ask: &Ask) -> Vec<u8> {
        ask.http()
    }

    fn ask(&mut self, prepared: &[u8]) -> io::Result<Reply> {
        self.exchange(prepared)
    }

    fn answer(&self) -> &[u8] {
        self.body()
    }
}

/// A conversation over a pipe. Each question has its own id, so answers to others may come between.
pub(crate) struct PipeClient {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: Vec<u8>,
    /// Answers that came to other questions than the one that was waited for.
    pub(crate) others: usize,
}

/// The id under which [`PipeClient`] asks what it waits for.
const WAITED_FOR: &str = "waited-for";

impl PipeClient {
    pub(crate) fn new(stdin: ChildStdin, stdout: ChildStdout) -> Self {
        PipeClient {
            stdin,
            stdout: BufReader::with_capacity(64 * 1024, stdout),
            line: Vec::new(),
            others: 0,
        }
    }

    pub(crate) fn send(&mut self, line: &[u8]) -> io::Result<()> {
        self.stdin.write_all(line)
    }

    /// Reads one line, and says whether it is the answer that is waited for.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        self.line.clear();
        if self.stdout.read_until(b'\n', &mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let waited_for = find(&self.line, WAITED_FOR.as_bytes()).is_some();
        self.others += usize::from(!waited_for);
        Ok(waited_for)
    }

    /// Reads until this many answers to other questions have come.
    pub(crate) fn wait_for_others(&mut self, count: usize) -> io::Result<()> {
        while self.others < count {
            self.receive()?;
        }
        self.others = 0;
        Ok(())
    }
}

impl Client for PipeClient {
    fn prepare(&self, ask: &Ask) -> Vec<u8> {
        ask.line(WAITED_FOR)
    }

    fn ask(&mut self, prepared: &[u8]) -> io::Result<Reply> {
        self.send(prepared)?;
        while !self.receive()? {}
        let answered = find(&self.line, b"\"result\":").is_some();
        Ok(if answered {
            Reply::Answered
        } else {
            Reply::Strange
        })
    }

    fn answer(&self) -> &[u8] {
        &self.line
    }
}
