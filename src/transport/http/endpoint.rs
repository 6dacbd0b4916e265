//! One HTTP exchange from head to last byte, told once for every front.
//!
//! Runs on the thread that owns the connection: checks the head, reads the body, hands the message to the engine, waits on its outbox,
//! writes. An answer is plain JSON if it comes before anything else; the first event, or a settled wait, turns it into an event stream.
//! Must not know how bytes are read, which lane runs what, or what a method means.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;

use crate::access::{Access, Outcome, RequestTag};
use crate::deadline::after;
use crate::engine::{Call, Engine, Origin};
use crate::limits::Limits;
use crate::outbox::{Answer, Bounds, Item, OutboxReader, outbox};
use crate::protocol::jsonrpc::{ErrorCode, ErrorObject, error_response};
use crate::protocol::modern::Mirrored;
use crate::transport::http::exchange::{BodyError, Exchange, Field, Response, Serve, single};
use crate::transport::http::policy::{ALLOW, Guard, Verb, status};
use crate::transport::sse;

/// The MCP endpoint.
pub(crate) struct Endpoint {
    pub(crate) engine: Arc<Engine>,
    guard: Guard,
    pub(crate) limits: Arc<Limits>,
    /// Event streams open now.
    streams: AtomicUsize,
}

/// What a header that may stand only once says; `Err` when it stands twice.
fn optional<'a, E: Exchange>(
    exchange: &'a E,
    name: &'a str,
) -> Result<Option<&'a str>, &'static str> {
    match single(exchange, name) {
        Field::Absent => Ok(None),
        Field::One(value) => Ok(Some(value)),
        Field::Repeated => Err("A header field that may stand only once stands twice"),
    }
}

impl Serve for Endpoint {
    /// Serves one exchange. Errors of writing mean that the client has gone, and end it.
    fn serve<E: Exchange>(&self, exchange: &mut E) {
        let tag = match single(exchange, "X-Request-Id") {
            Field::One(id) => RequestTag::from_client(Some(id)),
            _ => RequestTag::fresh(),
        };
        if self.engine.is_draining() {
            exchange.close_after();
        }
        let outcome = match self.guard.check(exchange) {
            Ok(Verb::Post) => self.post(exchange, &tag),
            Ok(Verb::Delete) => self.delete(exchange, &tag),
            Err(refusal) => refuse(exchange, &tag, refusal.status, refusal.message),
        };
        if let Err(error) = outcome {
            log::debug!("the client has gone: {error} request_id={tag}");
        }
    }
}

impl Endpoint {
    pub(crate) fn new(engine: &Arc<Engine>, guard: Guard, limits: &Arc<Limits>) -> Self {
        Endpoint {
            engine: Arc::clone(engine),
            guard,
            limits: Arc::clone(limits),
            streams: AtomicUsize::new(0),
        }
    }

    /// Ends the session the request names.
    fn delete<E: Exchange>(&self, exchange: &mut E, tag: &RequestTag) -> io::Result<()> {
        let ended = match single(exchange, "Mcp-Session-Id") {
            Field::One(id) => self.engine.end_session(id),
            _ => {
                return refuse(
                    exchange,
                    tag,
                    400,
                    "DELETE needs the Mcp-Session-Id of the session to end",
                );
            }
        };
        if !ended {
            return refuse(exchange, tag, 404, "No such session");
        }
        let response = Response {
            status: 204,
            fields: &[("X-Request-Id", tag.as_str())],
            body: b"",
        };
        exchange.respond(&response)?;
        Access::immediate(tag.clone(), "DELETE", Outcome::Ok).log(Some(204));
        Ok(())
    }

    fn post<E: Exchange>(&self, exchange: &mut E, tag: &RequestTag) -> io::Result<()> {
        let body = match exchange.read_body(self.limits.body_bytes_max) {
            Ok(body) => body,
            Err(error) => return refuse_body(exchange, tag, &error),
        };
        let (outbox, reader) = outbox(Bounds {
            answers_max: 1,
            events_max: self.limits.outbox_events_max,
            bytes_max: self.limits.outbox_bytes_max,
        });
        let slot = outbox
            .reserve()
            .expect("a new outbox has its one place free");
        let origin = match origin(exchange) {
            Ok(origin) => origin,
            Err(message) => return refuse(exchange, tag, 400, message),
        };
        let accepted = self.engine.accept(&body, tag.clone(), origin, slot);
        drop(body);
        let session = accepted.opened.as_deref();
        let call = accepted.call.as_deref();
        let mut reply = Reply {
            endpoint: self,
            exchange,
            tag,
            session,
            stream: Stream::NotYet,
            unsent: Vec::new(),
        };
        let written = self.write_answer(&mut reply, &reader, call);
        if written.is_err() {
            // Closing the response stream is how a modern client cancels.
            if let Some(call) = call {
                call.cancel();
            }
            if let Item::NoAnswer(Some(access)) = reader.recv(Some(Instant::now())) {
                access.log(None);
            }
        }
        written
    }

    /// Waits on the outbox and writes what comes, until the one terminal item. `call` is the one to watch for a client that leaves.
    fn write_answer<E: Exchange>(
        &self,
        reply: &mut Reply<'_, E>,
        reader: &OutboxReader,
        call: Option<&Call>,
    ) -> io::Result<()> {
        let mut speak_at = after(self.limits.stream_after);
        let mut look_at = call.map(|_| after(self.limits.departure_interval));
        loop {
            // Wait only with nothing left to send, so that events which come together leave in one write.
            let deadline = if reply.unsent.is_empty() {
                look_at.map_or(speak_at, |look_at| look_at.min(speak_at))
            } else {
                Instant::now()
            };
            match reader.recv(Some(deadline)) {
                Item::Event(message) => {
                    reply.event(&message)?;
                    if reply.unsent.len() >= WRITE_BYTES_MAX {
                        reply.send_events()?;
                        speak_at = after(self.limits.heartbeat_interval);
                    }
                }
                Item::Request(message) => reply.request(&message)?,
                Item::Opening(message) => {
                    if !reply.opening(&message)?
                        && let Some(call) = call
                    {
                        call.fail(&too_many_streams(), Outcome::Refused);
                    }
                }
                Item::Answer(answer) => {
                    if self.engine.is_draining() {
                        reply.exchange.close_after();
                    }
                    return reply.answer(&answer);
                }
                Item::NoAnswer(access) => return reply.nothing(access),
                Item::TimedOut if !reply.unsent.is_empty() => {
                    reply.send_events()?;
                    speak_at = after(self.limits.heartbeat_interval);
                }
                Item::TimedOut => {
                    let now = Instant::now();
                    if look_at.is_some_and(|look_at| now >= look_at) {
                        if reply.exchange.client_left() {
                            return Err(io::ErrorKind::ConnectionAborted.into());
                        }
                        look_at = Some(after(self.limits.departure_interval));
                    }
                    if now >= speak_at {
                        reply.heartbeat()?;
                        speak_at = after(self.limits.heartbeat_interval);
                    }
                }
                Item::Finished => return Ok(()),
            }
        }
    }
}

/// The header fields that matter to the engine.
fn origin<E: Exchange>(exchange: &E) -> Result<Origin<'_>, &'static str> {
    let mirrored = Mirrored {
        version: optional(exchange, "MCP-Protocol-Version")?,
        method: optional(exchange, "Mcp-Method")?,
        name: optional(exchange, "Mcp-Name")?,
    };
    Ok(Origin::Http {
        mirrored,
        session_id: optional(exchange, "Mcp-Session-Id")?,
    })
}

/// An answer in the making.
struct Reply<'a, E> {
    endpoint: &'a Endpoint,
    exchange: &'a mut E,
    tag: &'a RequestTag,
    session: Option<&'a str>,
    stream: Stream<'a>,
    /// Events of the open stream that wait for others to leave with.
    unsent: Vec<u8>,
}

/// The most bytes of events that are gathered into one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Whether the answer has become an event stream.
enum Stream<'a> {
    NotYet,
    /// It has, and this is its place among those that may be open.
    Open(#[expect(dead_code, reason = "held, and given back when dropped")] StreamPlace<'a>),
    /// It wanted to, but as many as may be are open: it stays silent until it can answer as plain JSON.
    Refused,
}

/// One of the event streams that may be open at once.
struct StreamPlace<'a>(&'a AtomicUsize);

impl<'a> StreamPlace<'a> {
    fn take(endpoint: &'a Endpoint) -> Option<Self> {
        let streams = &endpoint.streams;
        if streams.fetch_add(1, Ordering::Relaxed) < endpoint.limits.streams_max {
            return Some(StreamPlace(streams));
        }
        streams.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Takes a place even beyond the bound.
    fn insist(endpoint: &'a Endpoint) -> Self {
        endpoint.streams.fetch_add(1, Ordering::Relaxed);
        StreamPlace(&endpoint.streams)
    }
}

impl Drop for StreamPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a, E: Exchange> Reply<'a, E> {
    fn is_streaming(&self) -> bool {
        matches!(self.stream, Stream::Open(_))
    }

    /// Opens the stream if it is not open yet. Says whether it is open now.
    fn open_stream(&mut self) -> io::Result<bool> {
        if let Stream::NotYet = self.stream {
            let Some(place) = StreamPlace::take(self.endpoint) else {
                self.stream = Stream::Refused;
                return Ok(false);
            };
            self.begin_stream(place)?;
        }
        Ok(self.is_streaming())
    }

    fn begin_stream(&mut self, place: StreamPlace<'a>) -> io::Result<()> {
        self.stream = Stream::Open(place);
        let fields = [
            ("Cache-Control", "no-cache"),
            // Otherwise a proxy may hold events back.
            ("X-Accel-Buffering", "no"),
            ("X-Request-Id", self.tag.as_str()),
        ];
        self.exchange.begin_stream(&fields)
    }

    fn event(&mut self, message: &[u8]) -> io::Result<()> {
        if !self.open_stream()? {
            return Ok(());
        }
        sse::write_event(&mut self.unsent, message);
        Ok(())
    }

    /// A request of ours opens the stream whatever else is open: a worker waits for its answer, and there are not many of those.
    fn request(&mut self, message: &[u8]) -> io::Result<()> {
        if !self.is_streaming() {
            self.begin_stream(StreamPlace::insist(self.endpoint))?;
        }
        sse::write_event(&mut self.unsent, message);
        self.send_events()
    }

    /// What makes no sense without a stream opens it at once. Says whether there was room for one.
    fn opening(&mut self, message: &[u8]) -> io::Result<bool> {
        let is_open = self.open_stream()?;
        if is_open {
            sse::write_event(&mut self.unsent, message);
        }
        Ok(is_open)
    }

    fn send_events(&mut self) -> io::Result<()> {
        let sent = self.exchange.send(&self.unsent);
        self.unsent.clear();
        sent
    }

    fn heartbeat(&mut self) -> io::Result<()> {
        if !self.open_stream()? {
            return Ok(());
        }
        self.exchange.send(sse::HEARTBEAT)
    }

    fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let status = if self.is_streaming() {
            200
        } else {
            status(answer)
        };
        answer.access.log(Some(status));
        if self.is_streaming() {
            sse::write_event(&mut self.unsent, &answer.body);
            return self.exchange.finish(&self.unsent);
        }
        let mut fields = [
            ("Content-Type", "application/json"),
            ("X-Request-Id", self.tag.as_str()),
            ("", ""),
        ];
        let count = match (self.session, status) {
            (Some(session), _) => {
                fields[2] = ("Mcp-Session-Id", session);
                3
            }
            (None, 503) => {
                fields[2] = ("Retry-After", "1");
                3
            }
            _ => 2,
        };
        self.exchange.respond(&Response {
            status,
            fields: &fields[..count],
            body: &answer.body,
        })
    }

    /// A notification was taken: `202`. A call was cancelled: a stream that ends without an answer, for a request must be answered with
    /// JSON or a stream, and there is nothing to say.
    fn nothing(&mut self, cancelled: Option<Access>) -> io::Result<()> {
        match cancelled {
            Some(access) => {
                access.log(Some(200));
                self.open_stream()?;
            }
            None => {
                let outcome = Outcome::Ok;
                Access::immediate(self.tag.clone(), "notification", outcome).log(Some(202));
            }
        }
        if self.is_streaming() {
            return self.exchange.finish(b"");
        }
        let fields = &[("X-Request-Id", self.tag.as_str())];
        self.exchange.respond(&Response {
            status: 202,
            fields,
            body: b"",
        })
    }
}

/// What a client hears that needs a stream when there may not be another.
fn too_many_streams() -> ErrorObject {
    let message = "As many event streams as there may be are open; try again in a second";
    ErrorObject::new(ErrorCode::OVERLOADED, message).with_data(json!({ "retryAfterMs": 1000 }))
}

fn refuse_body<E: Exchange>(
    exchange: &mut E,
    tag: &RequestTag,
    error: &BodyError,
) -> io::Result<()> {
    exchange.close_after();
    match error {
        BodyError::TooLarge => refuse(
            exchange,
            tag,
            413,
            "The body is longer than this server takes",
        ),
        BodyError::TooSlow => refuse(exchange, tag, 408, "The body did not come in time"),
        BodyError::Malformed(message) => refuse(exchange, tag, 400, message),
        BodyError::Gone => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Answers what never became a message.
fn refuse<E: Exchange>(
    exchange: &mut E,
    tag: &RequestTag,
    status: u16,
    message: &'static str,
) -> io::Result<()> {
    let body = error_response(None, &ErrorObject::new(ErrorCode::INVALID_REQUEST, message));
    let fields = [
        ("Content-Type", "application/json"),
        ("X-Request-Id", tag.as_str()),
        ("Allow", ALLOW),
    ];
    let count = if status == 405 { 3 } else { 2 };
    Access::immediate(tag.clone(), "-", Outcome::Refused).log(Some(status));
    exchange.respond(&Response {
        status,
        fields: &fields[..count],
        body: &body,
    })
}
