//! A stream that only listens to a session: what belongs to no request. Its events have no ids; what this one does not hear is for the next.
//!
//! Must not know what the messages mean. Specification: `basic/transports` ("Listening for Messages from the Server") of revision 2025-11-25.

use std::io;
use std::time::Instant;

use crate::base::counted::Counted;
use crate::outbox::Item;
use crate::transport::http::exchange::Exchange;
use crate::transport::http::write::incoming::{Incoming, Next};
use crate::transport::http::write::plain::HttpReply;
use crate::transport::http::write::stream::{EventStream, WRITE_BYTES_MAX};
use crate::transport::sse;

/// An open stream that only listens.
pub(in crate::transport::http) struct ListeningStream<'a, E> {
    stream: EventStream<'a, E>,
    /// Messages that have not been sent.
    gathered: Vec<Vec<u8>>,
}

impl<'a, E: Exchange> ListeningStream<'a, E> {
    /// Opens one and writes what comes until the session or the connection ends, or the client leaves. How that
    /// ended, and what the client has not heard.
    pub(in crate::transport::http) fn write(
        reply: HttpReply<'a, E>,
        permit: Counted,
        mut incoming: Incoming,
    ) -> (io::Result<()>, impl Iterator<Item = Vec<u8>>) {
        incoming.watch();
        let (written, gathered) = match EventStream::open(reply, permit) {
            Err(error) => (Err(error), Vec::new()),
            Ok(stream) => {
                let gathered = Vec::new();
                let mut listening = ListeningStream { stream, gathered };
                (listening.write_on(&mut incoming), listening.gathered)
            }
        };
        let unread = move || match incoming.receiver.recv(Some(Instant::now())) {
            Item::Event(message) => Some(message),
            _ => None,
        };
        (
            written,
            gathered.into_iter().chain(std::iter::from_fn(unread)),
        )
    }

    fn write_on(&mut self, incoming: &mut Incoming) -> io::Result<()> {
        // The client sees at once that it is open.
        let mut next = Next::Silent;
        loop {
            match next {
                Next::Item(Item::Event(message)) => {
                    sse::write_event(&mut self.stream.unsent, &message);
                    self.gathered.push(message);
                    if self.stream.unsent.len() >= WRITE_BYTES_MAX {
                        self.send(incoming)?;
                    }
                }
                Next::Item(Item::Finished) => {
                    self.stream.exchange.finish(&self.stream.unsent)?;
                    self.gathered.clear();
                    return Ok(());
                }
                Next::Item(_) => {}
                Next::Idle | Next::Rest(_) => self.send(incoming)?,
                Next::Silent => {
                    self.stream.unsent.extend_from_slice(sse::HEARTBEAT);
                    self.send(incoming)?;
                }
            }
            let has_gathered = !self.stream.unsent.is_empty();
            next = incoming.next(self.stream.exchange, has_gathered)?;
        }
    }

    fn send(&mut self, incoming: &mut Incoming) -> io::Result<()> {
        // The first write to a client that has left succeeds.
        if self.stream.exchange.client_left() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.stream.send(incoming)?;
        self.gathered.clear();
        Ok(())
    }
}
