//! One connection's life, told as one loop: wait for a request, read its head, have it answered, and again.
//!
//! ```text
//!            ┌───────────── next request ◀────────────────┐
//!            ▼                                            │ conclude
//!   await_first_byte ──▶ read_head ──▶ execute: read_body, then respond
//!      │ end, time is       │    │            │           or begin_stream, send …, finish,
//!      │ over, shut         │    │            │           or end_short_way
//!      │                    │    │ bad, slow, │ failed, left, worn out, stopping
//!      │                    │    │ shut:      │
//!      │            its end │    ▼ refuse     ▼
//!      │                    │  linger ◀── something is left to read? ── no ─┐
//!      ▼                    ▼    ▼                                          ▼
//!    close ◀────────────────┴────┴──────────────────────────────────────────┘
//! ```
//!
//! To linger is to read what a client still sends, for a moment: closing a socket with unread bytes resets it, and takes the answer with it.
//!
//! What the others may do meanwhile stands in `link.rs`. The thread that runs this loop owns the socket; nobody else reads it, and nobody else writes but a worker that sends an answer,
//! as far as the kernel takes it at once, while this thread waits for it (the short way). It must not know lanes, handlers or MCP, nor who accepts connections.
//!
//! # When has a client left?
//!
//! *A client that has ended its side of the connection while its request is being answered has left, whatever it sent before that.* TCP cannot tell a client that closed from one that
//! only shut its writing side and still reads, so one of the two has to suffer; we choose as nginx, Go and Node do. Three things follow, and each has a test:
//!
//! - It matters only where something is waited for that ends with it, a modern call or a stream ([`Exchange::wait`]). A half-closed client that is answered without waiting gets its answer.
//! - Requests that it had sent ahead are not executed: when a departure was seen, the connection ends after the exchange.
//! - A byte that was sent ahead does not hide a departure, because on Linux the kernel tells of the end itself (`POLLRDHUP`). Elsewhere it does hide it, until a write fails.
//!
//! A write that fails means the same. When the front itself has shut the reading side, at the very moment in which a request arrived, its end says nothing, and only a failing write counts.

use std::io::{self, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::answer::{ResponseWriter, sends_now};
use super::head::{Head, Refused, refused};
use super::intake::{BodySource, CUT_SHORT, Intake, UNREAD_BODY_BYTES_MAX};
use super::link::Link;
use super::odd_bytes;
use super::registry::Connections;
use super::scan::Scanner;
use super::socket::{Bell, Wait};
use super::wire::{Begun, Filled, Wire};
use crate::base::budget::Budget;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::log_rate::LogRate;
use crate::outbox::{Wake, short_way_is_on};
use crate::transport::http::exchange::{
    BodyError, Exchange, Field, Heard, Heeds, HttpResponse, KeptOutbox, SendAtOnce, Serve,
};
use crate::transport::http::refusal::HttpRefusal;

/// What an idle connection reads into before it has a buffer. On the stack; the rest of the request follows into the heap.
const FIRST_BYTES: usize = 64;

/// How long a connection lingers while the front stops: a client that is there takes its last answer in this time.
const LAST_LINGER: Duration = Duration::from_millis(100);

/// What all connections of a front share.
pub(super) struct Common {
    pub(super) connections: Arc<Connections>,
    pub(super) limits: Arc<Limits>,
    /// What long bodies are charged to.
    pub(super) memory: Arc<Budget>,
    /// Requests that nobody above has answered.
    pub(super) slips: Lock<LogRate>,
}

pub(super) struct Connection {
    wire: Wire,
    common: Arc<Common>,
    head: Head,
    intake: Intake,
    answer: ResponseWriter,
    /// What wakes this thread while it waits for its client; `None` on a connection that is idle.
    bell: Option<(Arc<Bell>, Wake)>,
    /// What the last exchange waited for, to be used again; `None` on a connection that is idle.
    outbox: Option<KeptOutbox>,
    requests: u64,
    /// The client has been heard to send its next request.
    has_bytes: bool,
    /// The client has been seen to leave.
    left: bool,
    /// The end of what can be read says nothing about the client, because we made it.
    deaf: bool,
}

/// How the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At once: there is nothing more to say or nobody to say it to.
    Close,
    /// The client is still sending, and must be able to read the answer nevertheless.
    Linger,
}

const HEAD_TOO_SLOW: Refused = refused(408, "The request head did not come in time");
const HALF_A_HEAD: Refused = refused(503, CUT_SHORT);
const NOT_ANSWERED: Refused = refused(500, "The request was not answered");

/// The whole life of a connection.
pub(super) fn live<S: Serve>(link: Arc<Link>, common: Arc<Common>, serve: &S) {
    link.socket.prepare();
    let mut connection = Connection {
        wire: Wire::new(link, Arc::clone(&common.limits)),
        common,
        head: Head::default(),
        intake: Intake::default(),
        answer: ResponseWriter::default(),
        bell: None,
        outbox: None,
        requests: 0,
        has_bytes: false,
        left: false,
        deaf: false,
    };
    let end = loop {
        if let Err(end) = connection.receive(serve) {
            break end;
        }
        connection.execute(serve);
        if let Some(end) = connection.conclude() {
            break end;
        }
    };
    if end == End::Linger {
        connection.linger();
    }
}

impl Connection {
    /// Waits for a request and reads its head. Out of line, like what follows it: an idle connection keeps each page of its stack that was touched once, so neither stands below the other.
    #[inline(never)]
    fn receive<S: Serve>(&mut self, serve: &S) -> Result<(), End> {
        self.answer.reset();
        if self.intake.is_empty() {
            self.await_first_byte(serve)?;
        }
        let bytes_max = self.common.limits.head_bytes_max;
        let is_read = self.head.parse_at_once(self.intake.bytes(), bytes_max);
        if is_read {
            self.intake.begin(&self.head);
        }
        // What has come whole, as nearly all do, is never waited for.
        if !is_read || !self.note_whole() {
            self.deaf |= !self.wire.link.begin_reading();
            serve.end_earlier(self).map_err(|_gone| End::Close)?;
        }
        if !is_read {
            let read = self.read_head();
            read.map_err(|why| why.map_or(End::Close, |why| self.refuse(serve, why)))?;
            self.intake.begin(&self.head);
            self.note_whole();
        }
        self.requests += 1;
        self.answer.begin(&self.head);
        Ok(())
    }

    /// Waits between two requests. After a while without buffers: an idle connection costs its thread and nothing else.
    fn await_first_byte<S: Serve>(&mut self, serve: &S) -> Result<(), End> {
        // While it waited for its answer to leave it may have been woken by the next request.
        let mut filled = match mem::take(&mut self.has_bytes) {
            true => self.intake.fill_now(&mut self.wire),
            false => Filled::TimedOut,
        };
        if filled == Filled::TimedOut {
            serve.end_earlier(self).map_err(|_gone| End::Close)?;
            filled = self.idle()?;
        }
        match filled {
            Filled::Bytes => Ok(()),
            Filled::Ended | Filled::TimedOut => {
                self.wire.link.now_lingering(); // nothing is lost by cutting it
                Err(End::Close)
            }
        }
    }

    fn idle(&mut self) -> Result<Filled, End> {
        self.wire.link.begin_idle();
        if self.common.connections.is_stopping() {
            return Err(self.end());
        }
        let idle_timeout = self.common.limits.idle_timeout;
        let warm = self.common.limits.buffer_idle_timeout.min(idle_timeout);
        let begun = self.wire.begin();
        let mut filled = self.intake.fill(&mut self.wire, begun, warm);
        if filled == Filled::TimedOut {
            self.intake.release();
            self.head.release();
            self.answer.release();
            self.bell = None;
            self.outbox = None;
            let mut first = [0_u8; FIRST_BYTES];
            let (woken, count) = self.wire.read_idle(&mut first, begun, idle_timeout);
            self.intake.push(&first[..count]);
            filled = woken;
        }
        Ok(filled)
    }

    /// Reads a head that did not come in one piece. Why there is none, unless the client has just ended.
    #[inline(never)]
    fn read_head(&mut self) -> Result<(), Option<Refused>> {
        let bytes_max = self.common.limits.head_bytes_max;
        let mut scanner = Scanner::default();
        let mut begun: Option<Begun> = None; // a head that comes in one piece never asks the clock
        loop {
            if let Some(len) = scanner.scan(self.intake.bytes(), bytes_max)? {
                let bytes = &self.intake.bytes()[..len];
                let parsed = odd_bytes::parse(&mut self.head, bytes);
                return parsed.inspect_err(|_| self.intake.give_up()).map_err(Some);
            }
            let begun = *begun.get_or_insert_with(|| self.wire.begin());
            let time = self.common.limits.head_timeout;
            match self.intake.fill(&mut self.wire, begun, time) {
                Filled::Bytes => {}
                Filled::Ended if self.wire.link.is_shut() => return Err(Some(HALF_A_HEAD)),
                Filled::Ended => return Err(None),
                Filled::TimedOut => return Err(Some(HEAD_TOO_SLOW)),
            }
        }
    }

    /// From here on the request is not cut to make room, if all of it is there.
    fn note_whole(&mut self) -> bool {
        let is_whole = self.intake.is_read_whole() || self.intake.has_body(&self.head);
        if is_whole {
            self.deaf |= !self.wire.link.begin_busy();
        }
        is_whole
    }

    /// Has the request answered, whatever happens in there.
    #[inline(never)]
    fn execute<S: Serve>(&mut self, serve: &S) {
        // Unwind safety: what a panic leaves half done is this connection's own, and it is closed.
        let outcome = catch_unwind(AssertUnwindSafe(|| serve.serve(self)));
        // A client that has left needs no answer.
        let is_owed = self.answer.is_pending() && !self.left;
        if outcome.is_err() || is_owed {
            let count = self.common.slips.lock().again();
            if let Some(count) = count {
                log::error!("{count} HTTP request(s) ended in a panic or without an answer");
            }
        }
        if is_owed {
            self.refuse(serve, NOT_ANSWERED);
        }
    }

    /// Goes on to the next request, or says how the connection ends.
    fn conclude(&mut self) -> Option<End> {
        if !self.answer.is_complete() {
            return Some(End::Close);
        }
        if self.left || self.answer.close {
            return Some(self.end());
        }
        self.intake.next();
        None
    }

    /// How to close after everything has been said. If nothing is left to read, closing cannot cause a reset.
    fn end(&self) -> End {
        match self.intake.is_read_whole() && !self.wire.socket().is_readable() {
            true => End::Close,
            false => End::Linger,
        }
    }

    #[inline(never)]
    fn linger(&mut self) {
        self.wire.link.now_lingering();
        let mut time = self.common.limits.linger_timeout;
        if self.common.connections.is_stopping() {
            time = time.min(LAST_LINGER);
        }
        self.wire.linger(self.intake.scratch(), time);
    }

    /// Answers that there will be no answer, and closes.
    #[inline(never)]
    fn refuse<S: Serve>(&mut self, serve: &S, refused: Refused) -> End {
        let refusal = match refused.status {
            503 => HttpRefusal::busy(refused.reason),
            status => HttpRefusal::new(status, refused.reason),
        };
        self.answer.close = true;
        // Unwind safety: as in `execute`. A client that is not there any more needs no answer.
        let _ = catch_unwind(AssertUnwindSafe(|| serve.refuse(self, &refusal)));
        End::Linger
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

impl Exchange for Connection {
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
        let heeds = match heeds {
            Heeds::End if self.deaf => Heeds::Nothing,
            heeds => heeds,
        };
        let heard = match bell.wait(self.wire.socket(), heeds, time) {
            Heard::End if self.deaf => Heard::Bytes,
            heard => heard,
        };
        self.has_bytes = heard == Heard::Bytes;
        heard
    }

    fn has_short_way(&self) -> bool {
        let is_last = self.answer.close || self.must_close() || self.intake.has_more();
        !is_last && !self.answer.head_only && short_way_is_on()
    }

    fn send_at_once(&self) -> Option<SendAtOnce> {
        Some(sends_now(&self.wire.link, &self.common.connections))
    }

    fn can_leave(&self) -> bool {
        self.wire.link.is_being_answered()
    }

    fn kept_outbox(&mut self) -> Option<&mut Option<KeptOutbox>> {
        Some(&mut self.outbox)
    }

    fn write_earlier(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.wire.write(&mut [IoSlice::new(bytes)]);
        self.noting_departure(sent)
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
