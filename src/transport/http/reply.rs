//! What an exchange says: everything that comes out of its outbox, written as it comes.
//!
//! An answer is plain JSON if it comes before anything else; the first event, or a settled wait, turns it into an event stream. A stream of the
//! handshake era outlives its connection: each event has an id, and when the connection ends first, what is still to come is parked with
//! the session. Must not know what the messages mean. Specification: `basic/transports` ("Sending Messages to the Server") of
//! revision 2025-11-25.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::base::deadline::after;
use crate::engine::Call;
use crate::legacy::{Cursor, OpenStream, Streams};
use crate::observe::access::{Access, Outcome, RequestTag};
use crate::outbox::{Answer, Item, OutboxReader};
use crate::protocol::jsonrpc::{ErrorCode, ErrorObject};
use crate::transport::http::endpoint::{Endpoint, StreamPlace};
use crate::transport::http::exchange::{Exchange, Response};
use crate::transport::http::policy::status;
use crate::transport::sse;

/// An answer in the making.
pub(super) struct Reply<'a, E> {
    endpoint: &'a Endpoint,
    exchange: &'a mut E,
    tag: &'a RequestTag,
    reader: OutboxReader,
    /// The modern call it answers, which ends when its client leaves.
    pub(super) call: Option<Arc<Call>>,
    /// The session that this answer opens.
    pub(super) opened: Option<Arc<str>>,
    /// Where this answer's stream belongs, should it become one, so that the client can come back for it.
    pub(super) streams: Option<Arc<Streams>>,
    stream: Stream<'a>,
    /// The open stream, if the client can come back for it.
    resumable: Option<OpenStream>,
    /// Events of the open stream that wait for others to leave with.
    unsent: Vec<u8>,
    /// The same as messages, if the stream only listens: what this one does not hear is for the next one.
    gathered: Option<Vec<Vec<u8>>>,
}

/// The most bytes of events that are gathered into one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Whether the answer has become an event stream.
enum Stream<'a> {
    NotYet,
    /// It has, and this is its place among those that may be open.
    Open(#[expect(dead_code, reason = "held, and given back when dropped")] StreamPlace<'a>),
    /// It wanted to, but as many as may be are open, or the client cannot be streamed to: it stays silent until it can answer as plain JSON.
    Refused,
}

/// How far writing got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// To the end.
    All,
    /// The stream is to end before its answer.
    Paused,
}

impl<'a, E: Exchange> Reply<'a, E> {
    pub(super) fn new(
        endpoint: &'a Endpoint,
        exchange: &'a mut E,
        tag: &'a RequestTag,
        reader: OutboxReader,
    ) -> Self {
        Reply {
            endpoint,
            exchange,
            tag,
            reader,
            call: None,
            opened: None,
            streams: None,
            stream: Stream::NotYet,
            resumable: None,
            unsent: Vec::new(),
            gathered: None,
        }
    }

    /// Waits on the outbox and writes what comes, until the one terminal item. Looks this often for a client that leaves; in any case for
    /// one that can come back, because what it does not hear must not be spent.
    pub(super) fn write(&mut self, looks: Option<Duration>) -> io::Result<Written> {
        let limits = &self.endpoint.limits;
        let looks_for = looks.unwrap_or(limits.departure_interval);
        let mut speak_at = after(match self.stream {
            Stream::Open(_) => limits.heartbeat_interval,
            _ => limits.stream_after,
        });
        let mut look_at = looks.map(after);
        loop {
            if look_at.is_none() && self.resumable.is_some() {
                look_at = Some(after(looks_for));
            }
            // Wait only with nothing left to send, so that events which come together leave in one write.
            let deadline = if self.unsent.is_empty() {
                look_at.map_or(speak_at, |look_at| look_at.min(speak_at))
            } else {
                Instant::now()
            };
            match self.reader.recv(Some(deadline)) {
                Item::Event(message) => {
                    self.event(&message)?;
                    if self.unsent.len() >= WRITE_BYTES_MAX {
                        self.send_events()?;
                        speak_at = after(limits.heartbeat_interval);
                    }
                }
                Item::Opening(message) => self.opening(&message)?,
                Item::Request(message) => {
                    self.request(&message)?;
                    speak_at = after(limits.heartbeat_interval);
                }
                Item::Answer(answer) => {
                    if self.endpoint.engine.is_draining() {
                        self.exchange.close_after();
                    }
                    return self.answer(answer);
                }
                Item::NoAnswer(access) => return self.nothing(access),
                Item::Pause if self.can_pause()? => return Ok(Written::Paused),
                Item::Pause => {}
                Item::Relieved => return Ok(Written::Paused),
                Item::TimedOut if !self.unsent.is_empty() => {
                    self.send_events()?;
                    speak_at = after(limits.heartbeat_interval);
                }
                Item::TimedOut => {
                    let now = Instant::now();
                    if look_at.is_some_and(|look_at| now >= look_at) {
                        if self.exchange.client_left() {
                            return Err(io::ErrorKind::ConnectionAborted.into());
                        }
                        look_at = Some(after(looks_for));
                    }
                    if now >= speak_at {
                        self.heartbeat()?;
                        speak_at = after(limits.heartbeat_interval);
                    }
                }
                Item::Finished => return self.end(),
            }
        }
    }

    /// Leaves the rest of a stream that ended early, or whose client has gone, for a client that comes back.
    pub(super) fn part(mut self, written: io::Result<Written>) -> io::Result<()> {
        // Parked before the client can see the end of the connection, which makes it come.
        if !matches!(written, Ok(Written::All))
            && let Some(stream) = self.resumable.take()
        {
            stream.park(self.reader);
        }
        match written? {
            Written::All => Ok(()),
            Written::Paused => self.exchange.finish(&self.unsent),
        }
    }

    /// Opens the stream if it is not open yet. Says whether it is open now.
    fn open_stream(&mut self) -> io::Result<bool> {
        if let Stream::NotYet = self.stream {
            let can_stream = self.exchange.can_stream();
            let place = can_stream.then(|| StreamPlace::take(self.endpoint));
            let Some(place) = place.flatten() else {
                self.stream = Stream::Refused;
                return Ok(false);
            };
            self.open_at(place)?;
        }
        Ok(matches!(self.stream, Stream::Open(_)))
    }

    fn open_at(&mut self, place: StreamPlace<'a>) -> io::Result<()> {
        self.begin_stream(place)?;
        if let Some(streams) = &self.streams {
            let stream = streams.open(self.reader.outbox());
            let start = stream.start();
            // Clients of older revisions may take an event without a message for a broken one.
            let prime = stream.can_pause();
            self.resumable = Some(stream);
            if prime {
                self.prime(start);
            }
        }
        Ok(())
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

    /// Opens a stream that only listens, so that the client sees at once that it is open.
    pub(super) fn begin_listening(&mut self, place: StreamPlace<'a>) -> io::Result<()> {
        self.gathered = Some(Vec::new());
        self.begin_stream(place)?;
        self.heartbeat()
    }

    /// Opens another connection for a stream with what its client has not heard.
    pub(super) fn begin_again(
        &mut self,
        place: StreamPlace<'a>,
        from: Cursor,
        unheard: &[(Cursor, Vec<u8>)],
        stream: Option<OpenStream>,
    ) -> io::Result<()> {
        self.resumable = stream;
        self.begin_stream(place)?;
        // Where the client stands has not changed, but so it hears at once that it is heard.
        match self.streams.as_ref().map(|streams| streams.can_pause) {
            Some(true) => self.prime(from),
            _ => self.unsent.extend_from_slice(sse::HEARTBEAT),
        }
        for (at, message) in unheard {
            sse::write_id(&mut self.unsent, at);
            sse::write_event(&mut self.unsent, message);
        }
        Ok(())
    }

    fn prime(&mut self, at: Cursor) {
        sse::write_priming(&mut self.unsent, at, self.endpoint.limits.retry_hint);
    }

    /// Whether the stream may end here. It is opened for that, so that the client has an id to come back with.
    fn can_pause(&mut self) -> io::Result<bool> {
        let may = self.resumable.as_ref().map(OpenStream::can_pause);
        let may = may.or_else(|| self.streams.as_ref().map(|streams| streams.can_pause));
        Ok(may == Some(true) && self.open_stream()?)
    }

    fn event(&mut self, message: &[u8]) -> io::Result<()> {
        if self.open_stream()? {
            self.write_event(message);
        }
        if let Some(gathered) = &mut self.gathered {
            gathered.push(message.to_vec());
        }
        Ok(())
    }

    /// What makes no sense without a stream opens it at once, or is refused.
    fn opening(&mut self, message: &[u8]) -> io::Result<()> {
        if self.open_stream()? {
            self.write_event(message);
        } else if let Some(call) = &self.call {
            let error = match self.exchange.can_stream() {
                true => too_many_streams(),
                false => ErrorObject::invalid_request("An event stream needs HTTP/1.1"),
            };
            call.fail(&error, Outcome::Refused);
        }
        Ok(())
    }

    /// A request of ours opens the stream whatever else is open: a worker waits for its answer, and there are not many of those.
    fn request(&mut self, message: &[u8]) -> io::Result<()> {
        if !matches!(self.stream, Stream::Open(_)) {
            self.open_at(StreamPlace::insist(self.endpoint))?;
        }
        self.write_event(message);
        self.send_events()
    }

    /// Appends an event. Says whether the client can come back for it.
    fn write_event(&mut self, message: &[u8]) -> bool {
        let mut is_kept = false;
        if let Some(stream) = &self.resumable {
            let (at, kept) = stream.sending(message);
            sse::write_id(&mut self.unsent, at);
            is_kept = kept;
        }
        sse::write_event(&mut self.unsent, message);
        is_kept
    }

    fn send_events(&mut self) -> io::Result<()> {
        // The first write to a client that has left succeeds.
        if self.gathered.is_some() && self.exchange.client_left() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let sent = self.exchange.send(&self.unsent);
        self.unsent.clear();
        if let (Ok(()), Some(gathered)) = (&sent, &mut self.gathered) {
            gathered.clear();
        }
        sent
    }

    fn heartbeat(&mut self) -> io::Result<()> {
        if !self.open_stream()? {
            return Ok(());
        }
        self.unsent.extend_from_slice(sse::HEARTBEAT);
        self.send_events()
    }

    /// Ends the stream.
    pub(super) fn end(&mut self) -> io::Result<Written> {
        self.exchange.finish(&self.unsent)?;
        self.gathered = None;
        Ok(Written::All)
    }

    fn answer(&mut self, answer: Answer) -> io::Result<Written> {
        if matches!(self.stream, Stream::Open(_)) {
            return self.answer_on_stream(answer);
        }
        let status = status(&answer);
        self.ended(&answer.access, status);
        let mut fields = [
            ("Content-Type", "application/json"),
            ("X-Request-Id", self.tag.as_str()),
            ("", ""),
        ];
        let count = match (&self.opened, status) {
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
        })?;
        Ok(Written::All)
    }

    fn ended(&self, access: &Access, status: u16) {
        self.endpoint.engine.observer().ended(access, Some(status));
    }

    fn answer_on_stream(&mut self, answer: Answer) -> io::Result<Written> {
        let is_kept = self.write_event(&answer.body);
        let ended = self.end();
        match (self.resumable.take(), is_kept, &ended) {
            // Whether it has arrived, nobody knows.
            (Some(stream), true, _) => stream.finish(),
            // Too long to be kept besides, so it goes back to where it came from.
            (stream @ Some(_), false, Err(_)) => {
                self.resumable = stream;
                self.reader.put_back(answer);
                return ended;
            }
            _ => {}
        }
        self.ended(&answer.access, 200);
        ended
    }

    /// A notification was taken: `202`. A call was cancelled: a stream that ends without an answer, for a request must be answered with
    /// JSON or a stream, and there is nothing to say.
    fn nothing(&mut self, cancelled: Option<Access>) -> io::Result<Written> {
        match cancelled {
            Some(access) => {
                self.ended(&access, 200);
                // Nor is there anything to come back for.
                self.streams = None;
                self.resumable = None;
                self.open_stream()?;
            }
            None => {
                self.endpoint
                    .ended(self.tag, "notification", Outcome::Ok, 202);
            }
        }
        if matches!(self.stream, Stream::Open(_)) {
            return self.end();
        }
        let fields = &[("X-Request-Id", self.tag.as_str())];
        self.exchange.respond(&Response {
            status: 202,
            fields,
            body: b"",
        })?;
        Ok(Written::All)
    }

    /// What a stream that only listens has not heard.
    pub(super) fn unheard(self) -> impl Iterator<Item = Vec<u8>> {
        let unread = move || match self.reader.recv(Some(Instant::now())) {
            Item::Event(message) => Some(message),
            _ => None,
        };
        let gathered = self.gathered.unwrap_or_default();
        gathered.into_iter().chain(std::iter::from_fn(unread))
    }
}

/// What a client hears that needs a stream when there may not be another.
fn too_many_streams() -> ErrorObject {
    let message = "The server has its maximum of event streams open; try again in a second";
    ErrorObject::new(ErrorCode::OVERLOADED, message).with_data(json!({ "retryAfterMs": 1000 }))
}
