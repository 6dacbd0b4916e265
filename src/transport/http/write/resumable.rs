//! A stream of the handshake era, which outlives its connection: each event has an id, and when the connection ends first, what is still to
//! come is parked with the session.
//!
//! Must not know what the messages mean. Specification: `basic/transports` ("Resumability and Redelivery") of revision 2025-11-25.

use std::io;
use std::sync::Arc;

use crate::base::counted::Counted;
use crate::legacy::{Cursor, OpenStream, Streams};
use crate::outbox::{Answer, Item, OutboxReceiver};
use crate::transport::http::exchange::Exchange;
use crate::transport::http::write::incoming::{Incoming, Next};
use crate::transport::http::write::plain::HttpReply;
use crate::transport::http::write::stream::EventStream;
use crate::transport::sse;

/// An open stream that its client can come back for.
pub(in crate::transport::http) struct ResumableStream<'a, E> {
    stream: EventStream<'a, E>,
    /// The session's side of it; `None` once it needs nothing more of the session.
    open: Option<OpenStream>,
}

/// How far writing got.
enum Written {
    /// To the end.
    All,
    /// The stream is to end before its answer.
    Paused,
}

impl<'a, E: Exchange> ResumableStream<'a, E> {
    /// Opens the stream that answers a request.
    pub(super) fn open(
        reply: HttpReply<'a, E>,
        permit: Counted,
        streams: &Arc<Streams>,
        incoming: &Incoming<'_>,
    ) -> io::Result<Self> {
        let mut stream = EventStream::open(reply, permit)?;
        let open = streams.open(incoming.receiver.outbox());
        // Clients of older revisions may take an event without a message for a broken one.
        if open.can_pause() {
            let retry = incoming.limits.retry_hint;
            sse::write_priming(&mut stream.unsent, open.start(), retry);
        }
        Ok(ResumableStream {
            stream,
            open: Some(open),
        })
    }

    /// Opens another connection for a stream with what its client has not heard.
    pub(in crate::transport::http) fn open_again(
        reply: HttpReply<'a, E>,
        permit: Counted,
        from: Cursor,
        unheard: &[(Cursor, Vec<u8>)],
        can_pause: bool,
    ) -> io::Result<Self> {
        let retry = reply.endpoint.limits.retry_hint;
        let mut stream = EventStream::open(reply, permit)?;
        // Where the client stands has not changed, but so it hears at once that it is heard.
        match can_pause {
            true => sse::write_priming(&mut stream.unsent, from, retry),
            false => stream.unsent.extend_from_slice(sse::HEARTBEAT),
        }
        for (at, message) in unheard {
            sse::write_id(&mut stream.unsent, at);
            sse::write_event(&mut stream.unsent, message);
        }
        Ok(ResumableStream { stream, open: None })
    }

    /// Goes on with a stream whose answer is still to come.
    pub(in crate::transport::http) fn go_on(
        mut self,
        open: OpenStream,
        mut incoming: Incoming<'_>,
    ) -> io::Result<()> {
        self.open = Some(open);
        incoming.spoke();
        self.write(incoming, Next::Idle)
    }

    /// Ends a stream whose answer was among what its client has not heard.
    pub(in crate::transport::http) fn end(self) -> io::Result<()> {
        self.stream.end()
    }

    /// Writes what comes, beginning with what opened it. If the connection or the stream ends before its answer, the rest is left for a client
    /// that comes back.
    pub(super) fn write(mut self, mut incoming: Incoming<'_>, first: Next) -> io::Result<()> {
        // Disconnect detection: an event that is written to a client that has gone is taken out of the outbox and lost; one that stays in it is parked.
        incoming.watch();
        let written = self.write_on(&mut incoming, first);
        if !matches!(written, Ok(Written::All))
            && let Some(open) = self.open.take()
        {
            // Before the client can see the end of the connection, which makes it come.
            open.park(incoming.receiver);
        }
        match written? {
            Written::All => Ok(()),
            Written::Paused => self.stream.end(),
        }
    }

    fn write_on(&mut self, incoming: &mut Incoming<'_>, first: Next) -> io::Result<Written> {
        let mut next = first;
        loop {
            match next {
                Next::Item(Item::Answer(answer)) => {
                    return self.answer(answer, &incoming.receiver);
                }
                Next::Item(Item::NoAnswer(access)) => {
                    // Nor is there anything to come back for.
                    self.open = None;
                    self.finish()?;
                    access.inspect(|access| access.ended(Some(200)));
                    return Ok(Written::All);
                }
                Next::Item(Item::Finished) => {
                    self.finish()?;
                    return Ok(Written::All);
                }
                Next::Item(Item::Detach) if self.can_pause() => return Ok(Written::Paused),
                Next::Item(Item::Superseded) => return Ok(Written::Paused),
                Next::Item(item) => self.event(&item, incoming)?,
                Next::Idle | Next::Leaving => self.stream.send(incoming)?,
                Next::Silent => self.stream.heartbeat(incoming)?,
            }
            let has_gathered = !self.stream.unsent.is_empty();
            next = incoming.next(self.stream.exchange, has_gathered)?;
        }
    }

    fn can_pause(&self) -> bool {
        self.open.as_ref().is_some_and(OpenStream::can_pause)
    }

    fn event(&mut self, item: &Item, incoming: &mut Incoming<'_>) -> io::Result<()> {
        if let Item::Event(message)
        | Item::Opening { message, .. }
        | Item::Request { message, .. } = item
        {
            self.write_id(message);
            self.stream.put(message)?;
        }
        self.stream.send_if_due(item, incoming)
    }

    /// Appends the id of this message. Says whether the client can come back for it.
    fn write_id(&mut self, message: &[u8]) -> bool {
        let Some(open) = &self.open else {
            return false;
        };
        let (at, is_kept) = open.sending(message);
        sse::write_id(&mut self.stream.unsent, at);
        is_kept
    }

    fn answer(&mut self, answer: Answer, receiver: &OutboxReceiver) -> io::Result<Written> {
        let is_kept = self.write_id(&answer.body);
        let ended = self.stream.finish_with(&answer.body);
        match (self.open.take(), is_kept, &ended) {
            // Whether it has arrived, nobody knows.
            (Some(open), true, _) => open.finish(),
            // Too long to be kept besides, so it goes back to where it came from.
            (open @ Some(_), false, Err(_)) => {
                self.open = open;
                receiver.put_back(answer);
                return ended.map(|()| Written::All);
            }
            _ => {}
        }
        answer.access.ended(Some(200));
        ended.map(|()| Written::All)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stream.exchange.finish(&self.stream.unsent)
    }
}
