//! A connection as it looks from above the seam: one request, and how it is answered.
//!
//! It must not know whose turn it is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::answer::sends_now;
use super::super::head::BodyFraming;
use super::super::intake::{BodySource, UNREAD_BODY_BYTES_MAX};
use super::super::socket::{Bell, Wait};
use super::Connection;
use crate::base::waiting::about_to_wait;
use crate::outbox::{OutboxReceiver, Wake, short_way_is_on};
use crate::transport::http::exchange::{
    BodyError, Exchange, Field, Heard, Heeds, HttpResponse, SendAtOnce, Serve,
};

/// A body up to this length is understood in a moment, in which others may wait.
const SHORT_BODY_BYTES: u64 = 128 * 1024;

const NO_THREAD: &str = "The server has no thread for a body of this length; try again later";

impl<S: Serve> Connection<S> {
    /// What is heeded of the client.
    pub(super) fn heeds(&self, heeds: Heeds) -> Heeds {
        match heeds {
            Heeds::End if self.deaf => Heeds::Nothing,
            heeds => heeds,
        }
    }

    /// What was heard means this.
    pub(super) fn hears(&mut self, heard: Heard) -> Heard {
        let heard = match heard {
            Heard::End if self.deaf => Heard::Bytes,
            heard => heard,
        };
        self.has_bytes |= heard == Heard::Bytes;
        heard
    }

    /// Settles, before an answer's head is written, what becomes of the connection after it.
    fn decide_close(&mut self) {
        // A body that nobody has read and that has arrived is dropped. When that fails, `is_read_whole` says so.
        let _ = self.take_body(UNREAD_BODY_BYTES_MAX, Wait::Never);
        self.intake.forget_body();
        if self.must_close() {
            self.answer.close = true;
        }
    }

    fn must_close(&self) -> bool {
        let worn_out = self.requests >= self.common.limits.requests_per_connection_max;
        let shut = self.deaf || self.common.connections.is_stopping(); // a next request would be lost
        worn_out || shut || self.head.wants_close || !self.intake.is_read_whole()
    }

    fn take_body(&mut self, bytes_max: usize, wait: Wait) -> Result<(), BodyError> {
        let (memory, connections) = (&self.common.memory, &*self.common.connections);
        let mut source = BodySource::new(&mut self.wire, &self.head, memory, connections, wait);
        self.intake.read_body(&self.head, bytes_max, &mut source)
    }

    fn noting_departure<T, E>(&mut self, result: Result<T, E>) -> Result<T, E> {
        self.left |= result.is_err();
        result
    }
}

impl<S: Serve> Exchange for Connection<S> {
    fn method(&self) -> &str {
        self.head.method()
    }

    fn target(&self) -> &str {
        self.head.target()
    }

    fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head.fields(name)
    }

    #[inline(always)]
    fn single<'a>(&'a self, name: &'a str) -> Field<'a> {
        self.head.single(name)
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.wire.socket().peer
    }

    fn read_body(&mut self, bytes_max: usize) -> Result<(), BodyError> {
        let is_short = match self.head.framing {
            BodyFraming::Empty => true,
            BodyFraming::Length(length) => length <= SHORT_BODY_BYTES,
            BodyFraming::Chunked => false,
        };
        // A long one takes its time, to come and to be understood.
        if !is_short && !about_to_wait() {
            return Err(BodyError::Unavailable(NO_THREAD));
        }
        let is_noted = self.intake.has_body(&self.head);
        let read = self.take_body(bytes_max, Wait::ForBytes);
        self.left |= matches!(read, Err(BodyError::Gone));
        let _is_whole = is_noted || self.note_whole();
        read
    }

    fn body(&self) -> &[u8] {
        self.intake.body()
    }

    fn forget_body(&mut self) {
        self.intake.forget_body();
    }

    fn respond(&mut self, response: &HttpResponse<'_>) -> io::Result<()> {
        self.decide_close();
        let sent = self.answer.respond(&mut self.wire, response);
        self.noting_departure(sent)
    }

    fn begin_stream(&mut self, fields: &[(&str, &str)]) -> io::Result<()> {
        if !about_to_wait() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.decide_close();
        self.answer.begin_stream(fields)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.answer.send(&mut self.wire, bytes);
        self.noting_departure(sent)
    }

    fn finish(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.answer.finish(&mut self.wire, bytes);
        self.noting_departure(sent)
    }

    fn bell(&mut self) -> Option<Wake> {
        if self.bell.is_none() {
            let bell = Arc::new(Bell::new().ok()?);
            let rung = Arc::clone(&bell);
            self.bell = Some((bell, Arc::new(move || rung.ring())));
        }
        self.bell.as_ref().map(|(_, wake)| Arc::clone(wake))
    }

    fn wait(&mut self, heeds: Heeds, time: Option<Duration>) -> Heard {
        let Some((bell, _)) = &self.bell else {
            return Heard::Bell;
        };
        if !about_to_wait() {
            return Heard::End;
        }
        let heard = bell.wait(self.wire.socket(), self.heeds(heeds), time);
        self.hears(heard)
    }

    fn ring(&mut self) -> Option<Wake> {
        Some(Arc::clone(&self.ring))
    }

    fn has_short_way(&self) -> bool {
        let is_last = self.answer.close || self.must_close() || self.intake.has_more();
        !is_last && !self.answer.head_only && short_way_is_on()
    }

    fn send_at_once(&self) -> Option<SendAtOnce> {
        Some(sends_now(&self.wire.link, &self.common.connections))
    }

    fn kept_outbox(&mut self) -> Option<&mut Option<OutboxReceiver>> {
        Some(&mut self.outbox)
    }

    fn end_short_way(&mut self, rest: &[u8]) -> io::Result<()> {
        let sent = self.answer.end_short_way(&mut self.wire, rest);
        self.noting_departure(sent)
    }

    fn client_left(&mut self) -> bool {
        self.left = self.left || (!self.deaf && self.wire.socket().has_ended());
        self.left
    }

    fn close_after(&mut self) {
        self.answer.close = true;
    }
}
