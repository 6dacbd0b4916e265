//! `GET`, which only the handshake era has: listens to a session, or comes back for a stream that ended before its answer.
//!
//! Must not know what the messages mean. Specification: `basic/transports` ("Listening for Messages from the Server", "Resumability and
//! Redelivery") of revision 2025-11-25.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::deadline::after;
use crate::legacy::{Cursor, Resumed, Streams};
use crate::observe::access::{Outcome, RequestTag};
use crate::transport::http::endpoint::{Endpoint, StreamPlace};
use crate::transport::http::exchange::Exchange;
use crate::transport::http::reply::Reply;
use crate::transport::http::serve::{optional, refuse};

/// How long a stream may take to leave the connection it was on. That one only has to wake and to write a few bytes, unless it is stuck in a
/// write to a client that has gone; waiting costs nobody but the client that asks.
const RELIEF_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream that only listens lasts for hours and costs next to nothing; its client is looked for this many times less often.
const LISTENING_PATIENCE: u32 = 10;

impl Endpoint {
    pub(super) fn get<E: Exchange>(&self, exchange: &mut E, tag: &RequestTag) -> io::Result<()> {
        let asked = optional(exchange, "Mcp-Session-Id").and_then(|session| {
            let session =
                session.ok_or("GET opens the event stream of a session and needs its Mcp-Session-Id; send calls by POST")?;
            Ok((session, optional(exchange, "Last-Event-ID")?))
        });
        let (session, last) = match asked {
            Ok(asked) => asked,
            Err(message) => return refuse(self, exchange, tag, 400, message),
        };
        let Some(streams) = self.engine.streams_of(session) else {
            return refuse(self, exchange, tag, 404, "No such session");
        };
        if !exchange.can_stream() {
            return refuse(self, exchange, tag, 400, "An event stream needs HTTP/1.1");
        }
        let Some(_carried) = streams.carry() else {
            return refuse(
                self,
                exchange,
                tag,
                503,
                "This session has its maximum of event streams open; end one first",
            );
        };
        // Nothing to come back to is how a browser says that it has not heard anything yet.
        let last = last.filter(|last| !last.is_empty()).map(Cursor::parse);
        let Some(place) = StreamPlace::take(self) else {
            return refuse(
                self,
                exchange,
                tag,
                503,
                "The server has its maximum of event streams open; try again later",
            );
        };
        match last {
            None => self.listen(exchange, tag, &streams, place),
            Some(Some(from)) => self.resume(exchange, tag, &streams, place, from),
            Some(None) => refuse(self, exchange, tag, 400, NOTHING_BEHIND),
        }
    }

    /// A stream of what belongs to no request. Its events have no ids: what it does not hear waits for the next one anyway.
    fn listen<E: Exchange>(
        &self,
        exchange: &mut E,
        tag: &RequestTag,
        streams: &Arc<Streams>,
        place: StreamPlace<'_>,
    ) -> io::Result<()> {
        let (outbox, reader) = self.outbox(exchange.can_stream());
        let listening = streams.listen(outbox.clone());
        // Asked only now, so that a drain either is seen here or finds this stream and ends it.
        if self.engine.is_draining() {
            return refuse(self, exchange, tag, 503, "The server is shutting down");
        }
        let Some(listening) = listening else {
            return refuse(self, exchange, tag, 404, "No such session");
        };
        self.ended(tag, "GET", Outcome::Ok, 200);
        let mut reply = Reply::new(self, exchange, tag, reader);
        let looks = self
            .limits
            .departure_interval
            .saturating_mul(LISTENING_PATIENCE);
        let written = match reply.begin_listening(place) {
            Ok(()) => reply.write(Some(looks)).map(drop),
            Err(error) => Err(error),
        };
        listening.end(reply.unheard());
        written
    }

    /// The rest of a stream, from behind the last event its client has heard.
    fn resume<E: Exchange>(
        &self,
        exchange: &mut E,
        tag: &RequestTag,
        streams: &Arc<Streams>,
        place: StreamPlace<'_>,
        from: Cursor,
    ) -> io::Result<()> {
        let (unheard, rest) = match streams.resume(from, after(RELIEF_TIMEOUT)) {
            Resumed::Rest(unheard, rest) => (unheard, rest),
            Resumed::Nothing => return refuse(self, exchange, tag, 400, NOTHING_BEHIND),
            Resumed::InUse => {
                return refuse(
                    self,
                    exchange,
                    tag,
                    409,
                    "This stream is open on another connection",
                );
            }
        };
        self.ended(tag, "GET", Outcome::Ok, 200);
        let (stream, reader) = rest.unzip();
        let is_whole = reader.is_none();
        let reader = reader.unwrap_or_else(|| self.outbox(true).1);
        let mut reply = Reply::new(self, exchange, tag, reader);
        reply.streams = Some(Arc::clone(streams));
        let written = match reply.begin_again(place, from, &unheard, stream) {
            Ok(()) if is_whole => reply.end(),
            Ok(()) => reply.write(None),
            Err(error) => Err(error),
        };
        reply.part(written)
    }
}

/// An ordinary stream would leave the client waiting for an answer that cannot come, and one that ends at once would make it come again for
/// ever; a refusal lets it give up. It is not 404, which would make it think that its session has ended.
const NOTHING_BEHIND: &str = "This Last-Event-ID is unknown, or its stream has been dropped";
