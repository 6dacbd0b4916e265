//! An event stream: the events before an answer, then the answer, then its end.
//!
//! One of a handshake-era session outlives its connection: each event has an id, and when the connection ends first, what is still to come is parked with
//! the session. Must not know what the messages mean. Specification: `basic/transports/streamable-http` ("Sending Messages") of revision 2026-07-28;
//! `basic/transports` ("Resumability and Redelivery") of revision 2025-11-25.

use std::io;
use std::mem;
use std::sync::Arc;

use crate::base::counted::Counted;
use crate::legacy::{Cursor, OpenStream, Streams};
use crate::outbox::{Answer, Events, Item, OutboxReceiver};
use crate::transport::http::exchange::Exchange;
use crate::transport::http::write::incoming::{Incoming, Next};
use crate::transport::http::write::plain::HttpReply;
use crate::transport::sse;

/// The most bytes of events that are gathered into one write.
pub(super) const WRITE_BYTES_MAX: usize = 64 * 1024;

/// An open event stream.
pub(in crate::transport::http) struct EventStream<'a, E> {
    pub(super) exchange: &'a mut E,
    /// Events that wait for others to leave with.
    pub(super) unsent: Vec<u8>,
    /// Events on their way there; empty in between.
    events: Events,
    /// The session's side of one that its client can come back for; `None` once it needs nothing more of the session.
    session: Option<OpenStream>,
    /// Its permit among the streams that may be open, given back when it is dropped.
    _permit: Counted,
}

impl<'a, E: Exchange> EventStream<'a, E> {
    pub(super) fn open(mut reply: HttpReply<'a, E>, permit: Counted) -> io::Result<Self> {
        reply.begin_stream()?;
        Ok(EventStream {
            exchange: reply.exchange,
            unsent: Vec::new(),
            events: Events::default(),
            session: None,
            _permit: permit,
        })
    }

    /// The same for a request of a session, whose client can come back for it.
    pub(super) fn open_resumable(
        reply: HttpReply<'a, E>,
        permit: Counted,
        streams: &Arc<Streams>,
        incoming: &Incoming,
    ) -> io::Result<Self> {
        let retry = reply.endpoint.limits.retry_hint;
        let mut stream = EventStream::open(reply, permit)?;
        let session = streams.open(incoming.receiver.outbox());
        // Clients of older revisions may take an event without a message for a broken one.
        if session.can_pause() {
            sse::write_priming(&mut stream.unsent, session.start(), retry);
        }
        stream.session = Some(session);
        Ok(stream)
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
        Ok(stream)
    }

    /// Goes on with a stream whose answer is still to come.
    pub(in crate::transport::http) fn go_on(
        mut self,
        session: OpenStream,
        mut incoming: Incoming,
    ) -> io::Result<()> {
        self.session = Some(session);
        incoming.spoke();
        self.write(incoming, Next::Idle)
    }

    /// Writes what comes, beginning with what opened it, until the one terminal item. If the connection or the stream ends before its answer, the rest is
    /// left for a client that can come back.
    pub(super) fn write(mut self, mut incoming: Incoming, first: Next) -> io::Result<()> {
        if self.session.is_some() {
            // Disconnect detection: an event that is written to a client that has gone is taken out of the outbox and lost; one that stays in it is parked.
            incoming.watch();
        }
        let written = self.write_on(&mut incoming, first);
        if let Some(session) = self.session.take() {
            // Before the client can see the end of the connection, which makes it come.
            session.park(incoming.receiver);
        }
        match written? {
            true => self.end(),
            false => Ok(()),
        }
    }

    /// Says whether the end of the stream is still to be written. What is left of its session then is to be parked.
    fn write_on(&mut self, incoming: &mut Incoming, first: Next) -> io::Result<bool> {
        let mut next = first;
        loop {
            match next {
                Next::Item(Item::Answer(answer)) => {
                    self.answer(answer, &incoming.receiver)?;
                    return Ok(false);
                }
                Next::Item(end @ (Item::NoAnswer(_) | Item::Finished)) => {
                    // Nor is there anything to come back for.
                    self.session = None;
                    if let Item::NoAnswer(Some(access)) = end {
                        access.ended(Some(200));
                    }
                    return Ok(true);
                }
                Next::Item(Item::Detach) if self.can_pause() => return Ok(true),
                Next::Item(Item::Superseded) => return Ok(true),
                Next::Item(item) => self.event(&item, incoming)?,
                Next::Idle | Next::Rest(_) => self.send(incoming)?,
                Next::Silent => {
                    self.unsent.extend_from_slice(sse::HEARTBEAT);
                    self.send(incoming)?;
                }
            }
            next = incoming.next(self.exchange, !self.unsent.is_empty())?;
        }
    }

    fn can_pause(&self) -> bool {
        self.session.as_ref().is_some_and(OpenStream::can_pause)
    }

    fn event(&mut self, item: &Item, incoming: &mut Incoming) -> io::Result<()> {
        if let Item::Event(message)
        | Item::Opening { message, .. }
        | Item::Request { message, .. } = item
        {
            self.write_id(message);
            self.put(message)?;
        }
        if matches!(item, Item::Event(_)) && self.session.is_none() {
            // What has come meanwhile, under one lock.
            let room = WRITE_BYTES_MAX.saturating_sub(self.unsent.len());
            let mut events = mem::take(&mut self.events);
            incoming.receiver.take_events(&mut events, room);
            for message in &mut events {
                self.put(&message)?;
            }
            self.events = events;
        }
        // Somebody waits for it, and its charge ends with the item.
        let is_due = matches!(item, Item::Request { .. } | Item::Opening { .. });
        if is_due || self.unsent.len() >= WRITE_BYTES_MAX {
            return self.send(incoming);
        }
        Ok(())
    }

    /// Sends what has been gathered.
    pub(super) fn send(&mut self, incoming: &mut Incoming) -> io::Result<()> {
        let sent = self.exchange.send(&self.unsent);
        self.unsent.clear();
        incoming.spoke();
        sent
    }

    /// Appends the id of this message, if it has one. Says whether the client can come back for it.
    fn write_id(&mut self, message: &[u8]) -> bool {
        let Some(session) = &self.session else {
            return false;
        };
        let (at, is_kept) = session.sending(message);
        sse::write_id(&mut self.unsent, at);
        is_kept
    }

    /// Puts a message behind what waits. A long one is written from where it lies, for a copy of it would be on nobody's account.
    fn put(&mut self, message: &[u8]) -> io::Result<()> {
        if message.len() < WRITE_BYTES_MAX {
            sse::write_event(&mut self.unsent, message);
            return Ok(());
        }
        self.unsent.extend_from_slice(sse::EVENT_START);
        self.exchange.send(&self.unsent)?;
        self.unsent.clear();
        self.exchange.send(message)?;
        self.unsent.extend_from_slice(sse::EVENT_END);
        Ok(())
    }

    /// Ends with this answer.
    fn answer(&mut self, answer: Answer, receiver: &OutboxReceiver) -> io::Result<()> {
        let is_kept = self.write_id(&answer.body);
        let put = self.put(&answer.body);
        let ended = put.and_then(|()| self.exchange.finish(&self.unsent));
        match (self.session.take(), is_kept, &ended) {
            // Whether it has arrived, nobody knows.
            (Some(session), true, _) => session.finish(),
            // Too long to be kept besides, so it goes back to where it came from.
            (session @ Some(_), false, Err(_)) => {
                self.session = session;
                receiver.put_back(answer);
                return ended;
            }
            _ => {}
        }
        answer.access.ended(Some(200));
        ended
    }

    /// Ends it without a further message.
    pub(in crate::transport::http) fn end(self) -> io::Result<()> {
        self.exchange.finish(&self.unsent)
    }
}
