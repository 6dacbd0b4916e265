//! An HTTP client made of bytes: what it sends is written out, what it reads is read only when the test asks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
#[cfg(feature = "http")]
use std::os::unix::net::UnixStream;
#[cfg(feature = "http")]
use std::path::Path;

use serde_json::{Value, json};

use super::PATIENCE;
use super::message::initialize;
use super::task_schema;

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http(SocketAddr);

/// A request in the making.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    address: SocketAddr,
    method: String,
    target: String,
    version: &'static str,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// Whether `Content-Length` is sent.
    framed: bool,
}

/// A legacy session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) http: Http,
    pub(crate) id: String,
    pub(crate) version: String,
}

/// An answer whose head has been read.
pub(crate) struct Reply {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    from: BufReader<TcpStream>,
    framing: Framing,
    /// Decoded and not consumed.
    decoded: Vec<u8>,
    story: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
    /// Everything has been read.
    Ended,
}

/// What stands in an event stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Message(Value),
    Comment,
}

/// The fields of one event, as they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) is_comment: bool,
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Http(address)
    }

    /// Where only the requests' bytes count, because they go through a file.
    #[cfg(feature = "http")]
    pub(crate) fn local() -> Self {
        Http((Ipv4Addr::LOCALHOST, 80).into())
    }

    pub(crate) fn address(self) -> SocketAddr {
        self.0
    }

    /// A connection on which nothing has been said.
    #[track_caller]
    pub(crate) fn connect(self) -> Unread {
        let stream = TcpStream::connect(self.0).expect("the server listens");
        stream
            .set_nodelay(true)
            .expect("a socket can be told not to wait");
        Unread { stream }
    }

    /// A request with nothing but what every request needs.
    pub(crate) fn bare(self, method: &str, target: &str) -> Ask {
        Ask {
            address: self.0,
            method: method.into(),
            target: target.into(),
            version: "HTTP/1.1",
            fields: vec![("Host".into(), self.0.to_string().into())],
            body: Vec::new(),
            framed: true,
        }
    }

    /// A POST to the endpoint with the fields that each needs, whatever is in it.
    pub(crate) fn post(self, body: impl Into<Vec<u8>>) -> Ask {
        self.bare("POST", "/mcp")
            .field("Content-Type", "application/json")
            .field("Accept", "application/json, text/event-stream")
            .body(body)
    }

    /// A message of revision 2026-07-28, with its mirrored fields.
    pub(crate) fn modern(self, message: &Value) -> Ask {
        let mut ask = self
            .post(message.to_string())
            .field("MCP-Protocol-Version", "2026-07-28");
        if let Some(method) = message["method"].as_str() {
            ask = ask.field("Mcp-Method", method);
        }
        let params = &message["params"];
        let names = ["name", "uri", "taskId"].iter();
        match names.filter_map(|name| params[name].as_str()).next() {
            Some(name) => ask.field("Mcp-Name", name),
            None => ask,
        }
    }

    /// Sends a modern message and reads its answer, from JSON or from a stream.
    #[track_caller]
    pub(crate) fn ask(self, message: &Value) -> Value {
        self.modern(message).send().message()
    }

    /// Opens a legacy session.
    #[track_caller]
    pub(crate) fn initialize(self, version: &str) -> Session {
        let mut reply = self.post(initialize(0, version).to_string()).send();
        assert_eq!(reply.status, 200, "{}", reply.story);
        let id = reply
            .field("Mcp-Session-Id")
            .expect("a session has an id")
            .to_owned();
        let answer = reply.json();
        let version = answer["result"]["protocolVersion"]
            .as_str()
            .expect("a version is settled")
            .to_owned();
        let session = Session {
            http: self,
            id,
            version,
        };
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(session.post(&initialized).send().status, 202);
        session
    }
}

impl Session {
    /// A message of this session.
    pub(crate) fn post(&self, message: &Value) -> Ask {
        self.http
            .post(message.to_string())
            .field("MCP-Protocol-Version", &self.version)
            .field("Mcp-Session-Id", &self.id)
    }

    #[track_caller]
    pub(crate) fn ask(&self, message: &Value) -> Value {
        self.post(message).send().message()
    }

    /// Opens a stream that listens.
    pub(crate) fn get(&self) -> Ask {
        self.http
            .bare("GET", "/mcp")
            .field("Accept", "text/event-stream")
            .field("MCP-Protocol-Version", &self.version)
            .field("Mcp-Session-Id", &self.id)
    }

    /// Comes back for a stream.
    pub(crate) fn resume(&self, from: &str) -> Ask {
        self.get().field("Last-Event-ID", from)
    }

    /// Ends the session; the status of the answer.
    #[track_caller]
    pub(crate) fn delete(&self) -> u16 {
        let ask = self.http.bare("DELETE", "/mcp");
        ask.field("Mcp-Session-Id", &self.id).send().status
    }
}

impl Ask {
    /// Sets a header field, instead of one that is there.
    pub(crate) fn field(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).and_field(name, value)
    }

    /// Adds a header field beside one that is there.
    pub(crate) fn and_field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.into(), value.as_ref().into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields
            .retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// As a client of another version of HTTP, such as `HTTP/1.0`.
    #[cfg(feature = "tiny-http")]
    pub(crate) fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body in chunks, without saying its length.
    pub(crate) fn chunked(mut self) -> Self {
        let mut body = Vec::new();
        for chunk in self.body.chunks(1000) {
            body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        self.body = body;
        self.framed = false;
        self.field("Transfer-Encoding", "chunked")
    }

    /// Sends it on a connection of its own and reads nothing.
    #[track_caller]
    pub(crate) fn connect(&self) -> Unread {
        self.try_connect().expect("the server listens")
    }

    /// The same where a connection may be impossible for now.
    pub(crate) fn try_connect(&self) -> io::Result<Unread> {
        let stream = TcpStream::connect(self.address)?;
        stream
            .set_nodelay(true)
            .expect("a socket can be told not to wait");
        let mut unread = Unread { stream };
        unread.send(self);
        Ok(unread)
    }

    /// Sends it to a Unix-domain socket, on a connection of its own.
    #[cfg(feature = "http")]
    #[track_caller]
    pub(crate) fn connect_unix(&self, path: &Path) -> UnixStream {
        let mut client = UnixStream::connect(path).expect("it listens");
        client.write_all(&self.bytes()).expect("it reads");
        client
    }

    /// Sends it and reads the head of the answer.
    #[track_caller]
    pub(crate) fn send(&self) -> Reply {
        self.clone().field("Connection", "close").connect().reply()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let line = format!("{} {} {}\r\n", self.method, self.target, self.version);
        let mut bytes = line.into_bytes();
        for (name, value) in &self.fields {
            let line = [name.as_bytes(), b": ", value, b"\r\n"];
            bytes.extend(line.concat());
        }
        if self.framed {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A connection on which an answer is due that nobody reads yet. Dropped, the client has left.
pub(crate) struct Unread {
    stream: TcpStream,
}

impl Unread {
    #[track_caller]
    pub(crate) fn send(&mut self, ask: &Ask) {
        // A server may answer and close before it has read everything.
        let _cut_short = self.stream.write_all(&ask.bytes());
    }

    /// Sends one more and reads the head of its answer, whose body is to be read before the next.
    #[track_caller]
    pub(crate) fn ask(&mut self, ask: &Ask) -> Reply {
        self.send(ask);
        let stream = self.stream.try_clone().expect("a socket can be cloned");
        Unread { stream }.reply()
    }

    /// Whether an answer has begun to come.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_answered(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(&self.stream, &mut [0; 1], flags).is_ok_and(|(count, _)| count > 0)
    }

    /// Reads to the end of the connection, whether that is an answer or not.
    pub(crate) fn whatever_comes(mut self) -> String {
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket has a timeout");
        let mut bytes = Vec::new();
        let _cut_short = self.stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads the head of the answer.
    #[track_caller]
    pub(crate) fn reply(self) -> Reply {
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket has a timeout");
        Reply::read(BufReader::new(self.stream))
    }
}

impl Reply {
    #[track_caller]
    fn read(mut from: BufReader<TcpStream>) -> Self {
        let mut story = String::new();
        loop {
            let start = story.len();
            match from.read_line(&mut story) {
                Ok(1..) if story[start..].trim().is_empty() => break,
                Ok(1..) => {}
                end => panic!("the head of the answer ends early ({end:?}): {story:?}"),
            }
        }
        let mut lines = story.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .expect("an answer begins with its status");
        let fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut reply = Reply {
            status,
            fields,
            from,
            framing: Framing::UntilClose,
            decoded: Vec::new(),
            story,
        };
        reply.framing = match (
            reply.field("Transfer-Encoding"),
            reply.field("Content-Length"),
        ) {
            _ if matches!(status, 204 | 304) => Framing::Ended,
            (Some("chunked"), _) => Framing::Chunked,
            (_, Some(length)) => Framing::Length(length.parse().expect("a length is a number")),
            _ => Framing::UntilClose,
        };
        reply
    }

    /// A header field that stands at most once.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self
            .fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(
            values.next().is_none(),
            "{name} stands twice: {}",
            self.story
        );
        value
    }

    /// The request id that every answer has.
    #[track_caller]
    pub(crate) fn request_id(&self) -> String {
        match self.field("X-Request-Id") {
            Some(id) => id.to_owned(),
            None => panic!("an answer without X-Request-Id: {}", self.story),
        }
    }

    /// Reads and decodes more of the body; `false` at its end.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.framing {
            Framing::Ended => false,
            Framing::Length(0) => {
                self.framing = Framing::Ended;
                false
            }
            Framing::Length(left) => {
                let most = left.min(buffer.len());
                let size = self.read_some(&mut buffer[..most]);
                assert!(size > 0, "the body ends early: {}", self.story);
                self.framing = Framing::Length(left - size);
                self.decoded.extend_from_slice(&buffer[..size]);
                true
            }
            Framing::UntilClose => {
                let size = self.read_some(&mut buffer);
                self.decoded.extend_from_slice(&buffer[..size]);
                if size == 0 {
                    self.framing = Framing::Ended;
                }
                size > 0
            }
            Framing::Chunked => self.chunk(),
        }
    }

    #[track_caller]
    fn chunk(&mut self) -> bool {
        let mut line = String::new();
        let size = match self.from.read_line(&mut line) {
            Ok(1..) => {
                usize::from_str_radix(line.trim(), 16).expect("a chunk begins with its size")
            }
            end => panic!(
                "the body ends in front of a chunk ({end:?}): {}",
                self.story
            ),
        };
        let mut chunk = vec![0; size + 2];
        if let Err(error) = self.from.read_exact(&mut chunk) {
            panic!("the body ends in a chunk ({error}): {}", self.story);
        }
        assert!(chunk.ends_with(b"\r\n"), "a chunk ends with a line end");
        self.decoded.extend_from_slice(&chunk[..size]);
        if size == 0 {
            self.framing = Framing::Ended;
        }
        size > 0
    }

    #[track_caller]
    fn read_some(&mut self, buffer: &mut [u8]) -> usize {
        match self.from.read(buffer) {
            Ok(size) => size,
            Err(error) => panic!("reading the body failed ({error}): {}", self.story),
        }
    }

    /// The whole body.
    #[track_caller]
    pub(crate) fn body(&mut self) -> String {
        while self.more() {}
        let body = String::from_utf8(std::mem::take(&mut self.decoded)).expect("text is UTF-8");
        self.story.push_str(&body);
        body
    }

    /// The whole body as JSON.
    #[track_caller]
    pub(crate) fn json(&mut self) -> Value {
        let is_json = self.field("Content-Type") == Some("application/json");
        let body = self.body();
        match serde_json::from_str(&body) {
            Ok(value) if is_json => {
                task_schema::check(&value);
                value
            }
            _ => panic!("this is not JSON: {}", self.story),
        }
    }

    /// The answer to the next request on the same connection.
    #[track_caller]
    pub(crate) fn next(self) -> Reply {
        assert!(
            matches!(self.framing, Framing::Ended),
            "this one has not been read: {}",
            self.story
        );
        Reply::read(self.from)
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.field("Content-Type") == Some("text/event-stream")
    }

    /// The next message or comment of a stream, or `None` at its end. An event without a message, which only has an id, is left out.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Option<Event> {
        loop {
            let fields = self.fields_of_event()?;
            if fields.is_comment {
                return Some(Event::Comment);
            }
            match fields.data.as_deref().map(serde_json::from_str) {
                Some(Ok(message)) => {
                    task_schema::check(&message);
                    return Some(Event::Message(message));
                }
                _ if fields.data.as_deref() == Some("") && fields.id.is_some() => {}
                _ => panic!("an event is one line of data: {fields:?} in {}", self.story),
            }
        }
    }

    /// The next event of a stream as it stands there, or `None` at its end.
    #[track_caller]
    pub(crate) fn fields_of_event(&mut self) -> Option<Fields> {
        assert!(self.is_stream(), "this is not a stream: {}", self.story);
        loop {
            if let Some(end) = self.decoded.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.decoded.drain(..end + 2).collect();
                let event = String::from_utf8(event).expect("events are UTF-8");
                if self.story.len() < 20_000 {
                    self.story.push_str(&event);
                }
                return Some(self.parse(event.trim_end()));
            }
            if !self.more() {
                assert!(self.decoded.is_empty(), "half an event: {}", self.story);
                return None;
            }
        }
    }

    #[track_caller]
    fn parse(&self, event: &str) -> Fields {
        let mut fields = Fields::default();
        for line in event.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            let field = match name {
                "" => {
                    fields.is_comment = true;
                    continue;
                }
                "id" => &mut fields.id,
                "retry" => &mut fields.retry,
                "data" => &mut fields.data,
                "event" => &mut fields.event,
                _ => panic!("no event has the field {name:?}: {}", self.story),
            };
            assert_eq!(field.replace(value), None, "once an event: {}", self.story);
        }
        // Some clients act only on events of this type, and none on an event without a message.
        let is_message = fields.data.as_deref().is_some_and(|data| !data.is_empty());
        let type_of = is_message.then_some("message");
        assert_eq!(fields.event.as_deref(), type_of, "{}", self.story);
        fields
    }

    /// Every message of a stream to its end, or the one of a JSON answer. Comments are left out.
    #[track_caller]
    pub(crate) fn messages(&mut self) -> Vec<Value> {
        if !self.is_stream() {
            return vec![self.json()];
        }
        let mut messages = Vec::new();
        while let Some(event) = self.event() {
            if let Event::Message(message) = event {
                messages.push(message);
            }
        }
        messages
    }

    /// The terminal message. It is the last, and the only one with an id.
    #[track_caller]
    pub(crate) fn message(mut self) -> Value {
        let mut messages = self.messages();
        let answers = messages
            .iter()
            .filter(|message| message.get("method").is_none());
        assert_eq!(answers.count(), 1, "one answer: {}", self.story);
        let last = messages.pop().expect("there is one");
        assert!(
            last.get("method").is_none(),
            "the answer comes last: {}",
            self.story
        );
        last
    }
}
