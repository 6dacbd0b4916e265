//! `GET`, which only the handshake era has: listens to a session, or comes back for a stream that ended before its answer.
//!
//! Must not know what the messages mean. Specification: `basic/transports` ("Listening for Messages from the Server", "Resumability and
//! Redelivery") of revision 2025-11-25.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::counted::Counted;
use crate::base::waiting::{about_to_wait, after};
use crate::legacy::{Cursor, Resumed, Sessions, Streams};
use crate::observe::access::{Outcome, RequestTag};
use crate::transport::http::endpoint::Endpoint;
use crate::transport::http::exchange::Exchange;
use crate::transport::http::policy::{NO_SESSIONS, method_not_allowed};
use crate::transport::http::refusal::HttpRefusal;
use crate::transport::http::serve::optional;
use crate::transport::http::write::{EventStream, HttpReply, Incoming, ListeningStream};

/// How long a stream may take to leave the connection it was on. That one only has to wake and to write a few bytes, unless it is stuck in a
/// write to a client that has gone; waiting costs nobody but the client that asks.
const RELIEF_TIMEOUT: Duration = Duration::from_secs(5);

/// The session's streams, a permit of the server and one of the session, and behind which event it goes on; `None` to listen.
type Wanted = (Arc<Streams>, [Counted; 2], Option<Cursor>);

impl Endpoint {
    #[inline(never)]
    pub(super) fn get<E: Exchange>(&self, reply: HttpReply<'_, E>) -> io::Result<()> {
        match self.asked(reply.exchange, reply.tag) {
            Ok((streams, [permit, _carried], None)) => self.listen(reply, &streams, permit),
            Ok((streams, [permit, _carried], Some(from))) => {
                self.resume(reply, &streams, permit, from)
            }
            Err(refusal) => reply.refuse(&refusal),
        }
    }

    fn asked<E: Exchange>(&self, exchange: &E, tag: &RequestTag) -> Result<Wanted, HttpRefusal> {
        if self.engine.legacy_sessions() == Sessions::Stateless {
            return Err(method_not_allowed(NO_SESSIONS));
        }
        let session = optional(exchange, "Mcp-Session-Id")?;
        let session = session.ok_or_else(|| {
            // A client that asks for a stream before it has a session takes 405 for "there is none", and 400 for a fault.
            let message = "GET opens the event stream of a session and needs its Mcp-Session-Id; send calls by POST";
            method_not_allowed(message)
        })?;
        let last = optional(exchange, "Last-Event-ID")?;
        self.engine.note_session(tag, session);
        let streams = self
            .engine
            .streams_of(session, optional(exchange, "MCP-Protocol-Version")?);
        let streams = streams.ok_or_else(|| HttpRefusal::new(404, "No such session"))?;
        if !exchange.can_stream() {
            return Err(method_not_allowed("An event stream needs HTTP/1.1"));
        }
        let carried = streams.carry().ok_or_else(|| {
            HttpRefusal::busy("This session has its maximum of event streams open; end one first")
        })?;
        // A session that has none gets that of one with several, which ends as soon as its thread has seen it.
        let takes = || streams.carries_one() && self.engine.end_one_stream();
        let taken = || takes().then(|| Counted::one(self.engine.streams()));
        let permit = self.stream_permit().or_else(taken).ok_or_else(|| {
            let message = "The server has its maximum of event streams open; try again in a second";
            HttpRefusal::busy(message)
        })?;
        // Nothing to come back to is how a browser says that it has not heard anything yet.
        let from = match last.filter(|last| !last.is_empty()) {
            None => None,
            Some(last) => Some(Cursor::parse(last).ok_or_else(nothing_behind)?),
        };
        Ok((streams, [permit, carried], from))
    }

    /// A stream of what belongs to no request. Its events have no ids: what it does not hear waits for the next one anyway.
    fn listen<E: Exchange>(
        &self,
        reply: HttpReply<'_, E>,
        streams: &Arc<Streams>,
        permit: Counted,
    ) -> io::Result<()> {
        let receiver = self.outbox(reply.exchange.can_stream());
        let listening = streams.listen(receiver.outbox());
        // Asked only now, so that a drain either is seen here or finds this stream and ends it.
        if self.engine.is_draining() {
            return reply.refuse(&HttpRefusal::busy("The server is shutting down"));
        }
        let Some(listening) = listening else {
            return reply.refuse(&HttpRefusal::new(404, "No such session"));
        };
        reply.ended("GET", Outcome::Ok, 200);
        let incoming = Incoming::new(&self.limits, receiver);
        let (written, unheard) = ListeningStream::write(reply, permit, incoming);
        listening.end(unheard);
        written
    }

    /// The rest of a stream, from behind the last event its client has heard.
    fn resume<E: Exchange>(
        &self,
        reply: HttpReply<'_, E>,
        streams: &Arc<Streams>,
        permit: Counted,
        from: Cursor,
    ) -> io::Result<()> {
        // For its other connection to let go of it.
        let _is_relieved = about_to_wait();
        let (unheard, rest) = match streams.resume(from, after(RELIEF_TIMEOUT)) {
            Resumed::Rest(unheard, rest) => (unheard, rest),
            Resumed::Nothing => return reply.refuse(&nothing_behind()),
            Resumed::InUse => {
                let message = "This stream is open on another connection";
                return reply.refuse(&HttpRefusal::new(409, message).with("Retry-After", "1"));
            }
        };
        reply.ended("GET", Outcome::Ok, 200);
        let can_pause = streams.can_pause;
        let again = EventStream::open_again(reply, permit, from, &unheard, can_pause);
        match rest {
            None => again?.end(),
            Some((stream, receiver)) => match again {
                Ok(again) => again.go_on(stream, Incoming::new(&self.limits, receiver)),
                Err(error) => {
                    stream.park(receiver);
                    Err(error)
                }
            },
        }
    }
}

/// An ordinary stream would leave the client waiting for an answer that cannot come, and one that ends at once would make it come again for
/// ever; a refusal lets it give up. It is not 404, which would make it think that its session has ended.
fn nothing_behind() -> HttpRefusal {
    let message = "This Last-Event-ID is unknown, or its stream has been dropped";
    HttpRefusal::new(400, message)
}
