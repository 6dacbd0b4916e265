//! An event stream: the events before an answer, then the answer, then its end.
//!
//! Must not know sessions. Specification: `basic/transports/streamable-http` ("Sending Messages") of revision 2026-07-28.

use std::io;
use std::mem;

use crate::base::counted::Counted;
use crate::observe::access::Access;
use crate::outbox::{Answer, Item};
use crate::transport::http::exchange::Exchange;
use crate::transport::http::write::incoming::{Incoming, Next};
use crate::transport::http::write::plain::HttpReply;
use crate::transport::sse;

/// The most bytes of events that are gathered into one write.
pub(super) const WRITE_BYTES_MAX: usize = 64 * 1024;

/// An open event stream.
pub(super) struct EventStream<'a, E> {
    pub(super) exchange: &'a mut E,
    /// Events that wait for others to leave with.
    pub(super) unsent: Vec<u8>,
    /// Events on their way there; empty in between.
    events: Vec<Vec<u8>>,
    /// Its permit among the streams that may be open, given back when it is dropped.
    _permit: Counted,
}

impl<'a, E: Exchange> EventStream<'a, E> {
    pub(super) fn open(mut reply: HttpReply<'a, E>, permit: Counted) -> io::Result<Self> {
        reply.begin_stream()?;
        Ok(EventStream {
            exchange: reply.exchange,
            unsent: Vec::new(),
            events: Vec::new(),
            _permit: permit,
        })
    }

    /// Writes what comes, beginning with what opened it, until the one terminal item.
    pub(super) fn write(mut self, mut incoming: Incoming<'_>, first: Next) -> io::Result<()> {
        let mut next = first;
        loop {
            match next {
                Next::Item(Item::Answer(answer)) => return self.answer(&answer),
                Next::Item(Item::NoAnswer(Some(access))) => return self.end_unanswered(&access),
                Next::Item(Item::NoAnswer(None) | Item::Finished) => return self.end(),
                Next::Item(item) => self.event(&item, &mut incoming)?,
                Next::Idle | Next::Leaving => self.send(&mut incoming)?,
                Next::Silent => self.heartbeat(&mut incoming)?,
            }
            next = incoming.next(self.exchange, !self.unsent.is_empty())?;
        }
    }

    fn event(&mut self, item: &Item, incoming: &mut Incoming<'_>) -> io::Result<()> {
        if let Item::Event(message)
        | Item::Opening { message, .. }
        | Item::Request { message, .. } = item
        {
            self.put(message)?;
        }
        if let Item::Event(_) = item {
            // What has come meanwhile, under one lock.
            let room = WRITE_BYTES_MAX.saturating_sub(self.unsent.len());
            incoming.receiver.take_events(&mut self.events, room);
            for message in mem::take(&mut self.events) {
                self.put(&message)?;
            }
        }
        self.send_if_due(item, incoming)
    }

    /// Sends what has been gathered if it is much, if somebody waits for it, or if its charge ends with the item.
    pub(super) fn send_if_due(
        &mut self,
        item: &Item,
        incoming: &mut Incoming<'_>,
    ) -> io::Result<()> {
        let is_due = matches!(item, Item::Request { .. } | Item::Opening { .. });
        if is_due || self.unsent.len() >= WRITE_BYTES_MAX {
            return self.send(incoming);
        }
        Ok(())
    }

    pub(super) fn send(&mut self, incoming: &mut Incoming<'_>) -> io::Result<()> {
        let sent = self.exchange.send(&self.unsent);
        self.unsent.clear();
        incoming.spoke();
        sent
    }

    pub(super) fn heartbeat(&mut self, incoming: &mut Incoming<'_>) -> io::Result<()> {
        self.unsent.extend_from_slice(sse::HEARTBEAT);
        self.send(incoming)
    }

    fn answer(mut self, answer: &Answer) -> io::Result<()> {
        let ended = self.finish_with(&answer.body);
        answer.access.ended(Some(200));
        ended
    }

    /// Puts a message behind what waits. A long one is written from where it lies, for a copy of it would be on nobody's account.
    pub(super) fn put(&mut self, message: &[u8]) -> io::Result<()> {
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

    /// Ends with this message.
    pub(super) fn finish_with(&mut self, message: &[u8]) -> io::Result<()> {
        self.put(message)?;
        self.exchange.finish(&self.unsent)
    }

    /// The call was cancelled: the stream ends without an answer.
    pub(super) fn end_unanswered(self, access: &Access) -> io::Result<()> {
        let ended = self.end();
        access.ended(Some(200));
        ended
    }

    pub(super) fn end(self) -> io::Result<()> {
        self.exchange.finish(&self.unsent)
    }
}
