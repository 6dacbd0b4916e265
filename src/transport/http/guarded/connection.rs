//! One connection's life, told as turns: wait for a request, read its head, have it answered, and again.
//!
//! ```text
//!            ┌───────────── next request ◀────────────────┐
//!            ▼                                            │ conclude
//!   await_first_byte ──▶ read_head ──▶ execute: read_body, then respond
//!    rests │ end, time is    │    │        rests │        or begin_stream, send …, finish,
//!          │ over, shut      │    │              │        or end_short_way
//!          │                 │    │ bad, slow,   │ failed, left, worn out, stopping
//!          │                 │    │ shut:        │
//!          │         its end │    ▼ refuse       ▼
//!          │                 │  linger ◀── something is left to read? ── no ─┐
//!          ▼                 ▼    ▼                                          ▼
//!        close ◀─────────────┴────┴──────────────────────────────────────────┘
//! ```
//!
//! Between two requests, and while its call runs and is no stream yet, it *rests*: no thread has it, and a turn begins with what was heard. To linger is to read what a client still
//! sends, for a moment: closing a socket with unread bytes resets it, and takes the answer with it.
//!
//! What the others may do meanwhile stands in `link.rs`. The thread that it has its turn on owns the socket; nobody else reads it, and nobody else writes but a worker that sends an answer,
//! as far as the kernel takes it at once, while the connection rests or waits for it (the short way). It must not know lanes, handlers or MCP, nor who accepts connections.
//!
//! # When has a client left?
//!
//! *A client that has ended its side of the connection while its request is being answered has left, whatever it sent before that.* TCP cannot tell a client that closed from one that
//! only shut its writing side and still reads, so one of the two has to suffer; we choose as nginx, Go and Node do. Three things follow, and each has a test:
//!
//! - It matters only where something is waited for that ends with it, a modern call or a stream ([`Exchange::wait`](crate::transport::http::exchange::Exchange::wait)). A half-closed client that is answered without waiting gets its answer.
//! - Requests that it had sent ahead are not executed: when a departure was seen, the connection ends after the exchange.
//! - A byte that was sent ahead does not hide a departure, because on Linux the kernel tells of the end itself (`EPOLLRDHUP`, `POLLRDHUP`). Elsewhere it does hide it, until a write fails.
//!
//! A write that fails means the same. When the front itself has shut the reading side, at the very moment in which a request arrived, its end says nothing, and only a failing write counts.

mod exchange;

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::ResponseWriter;
use super::head::{Head, Refused, refused};
use super::intake::{CUT_SHORT, Intake};
use super::link::Link;
use super::odd_bytes;
use super::registry::{Connections, Leave};
use super::scan::Scanner;
use super::socket::Bell;
use super::wire::{Begun, Filled, Wire};
use crate::base::budget::Budget;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::log_rate::LogRate;
use crate::base::waiting::{about_to_wait, after};
use crate::outbox::{OutboxReceiver, Wake};
use crate::transport::http::exchange::{Heard, Heeds, Serve};
use crate::transport::http::refusal::HttpRefusal;

/// So many requests that were sent ahead are answered in one turn.
const REQUESTS_PER_TURN: usize = 8;

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

pub(super) struct Connection<S: Serve> {
    pub(super) number: usize,
    /// What of it wakes its reactor.
    pub(super) heeded: Heeds,
    /// When it has rested long enough.
    pub(super) rests_until: Instant,
    wire: Wire,
    common: Arc<Common>,
    head: Head,
    intake: Intake,
    answer: ResponseWriter,
    /// The exchange that rests, and what it heeds.
    under_way: Option<(S::UnderWay, Heeds)>,
    /// What wakes it when it rests.
    ring: Wake,
    /// What wakes a thread that waits for its client; `None` on a connection that is idle.
    bell: Option<(Arc<Bell>, Wake)>,
    /// What the last exchange waited for, to be used again; `None` on a connection that is idle.
    outbox: Option<OutboxReceiver>,
    /// Since when it waits for a request.
    idle: Option<Begun>,
    requests: u64,
    /// The client has been heard to send its next request.
    has_bytes: bool,
    /// The client has been seen to leave.
    left: bool,
    /// The end of what can be read says nothing about the client, because we made it.
    deaf: bool,
    /// Last, so that its place is free when the socket is closed.
    _leave: Leave,
}

/// How a turn ends.
pub(super) enum TurnEnd {
    /// It waits for its client, of which this is heeded, or to be woken.
    Rests(Heeds),
    /// It could go on, and others have been waiting.
    Again,
    /// The connection has ended.
    Ends,
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

impl<S: Serve> Connection<S> {
    pub(super) fn new(link: Arc<Link>, leave: Leave, common: Arc<Common>, ring: Wake) -> Self {
        link.socket.prepare();
        Connection {
            number: leave.number,
            heeded: Heeds::Nothing,
            rests_until: Instant::now(),
            wire: Wire::new(link, Arc::clone(&common.limits)),
            common,
            head: Head::default(),
            intake: Intake::default(),
            answer: ResponseWriter::default(),
            under_way: None,
            ring,
            bell: None,
            outbox: None,
            idle: None,
            requests: 0,
            has_bytes: false,
            left: false,
            deaf: false,
            _leave: leave,
        }
    }

    /// Its peer could do nothing, for the process did not run: it has all its time again.
    pub(super) fn idle_anew(&mut self) {
        self.idle = None;
    }

    pub(super) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.wire.link)
    }

    /// Goes on with what was heard, until it rests or ends.
    pub(super) fn proceed(&mut self, serve: &S, mut heard: Heard) -> TurnEnd {
        for _ in 0..REQUESTS_PER_TURN {
            if self.under_way.is_none()
                && let Err(turn) = self.receive(serve, heard)
            {
                return turn;
            }
            self.execute(serve, heard);
            if let Some((_, heeds)) = &self.under_way {
                return TurnEnd::Rests(*heeds);
            }
            if let Some(end) = self.conclude() {
                return self.close(end);
            }
            heard = Heard::Bell;
        }
        TurnEnd::Again
    }

    fn close(&mut self, end: End) -> TurnEnd {
        if end == End::Linger && about_to_wait() {
            self.linger();
        }
        TurnEnd::Ends
    }

    /// Waits for a request and reads its head.
    fn receive(&mut self, serve: &S, heard: Heard) -> Result<(), TurnEnd> {
        self.answer.reset();
        if self.intake.is_empty() {
            self.await_first_byte(heard)?;
        }
        self.read_request(serve).map_err(|end| self.close(end))
    }

    /// Rests between two requests. After a while without buffers: an idle connection costs hardly more than its socket.
    fn await_first_byte(&mut self, heard: Heard) -> Result<(), TurnEnd> {
        // While it waited for its answer to leave it may have been woken by the next request. What has arrived is read before its time is judged.
        let filled = match mem::take(&mut self.has_bytes) || heard != Heard::Bell {
            true => self.intake.fill_now(&mut self.wire),
            false => Filled::TimedOut,
        };
        match filled {
            Filled::Bytes => {
                self.idle = None;
                Ok(())
            }
            Filled::Ended => {
                self.wire.link.now_lingering(); // nothing is lost by cutting it
                Err(TurnEnd::Ends)
            }
            Filled::TimedOut => self.rest_idle(),
        }
    }

    fn rest_idle(&mut self) -> Result<(), TurnEnd> {
        let begun = match self.idle {
            Some(begun) => begun,
            None => {
                self.wire.link.begin_idle();
                *self.idle.insert(self.wire.begin())
            }
        };
        if self.common.connections.is_stopping() {
            // Nobody will hear any more of what has arrived by now.
            return match self.intake.fill_now(&mut self.wire) {
                Filled::Bytes => Ok(()),
                _ => Err(self.close(self.end())),
            };
        }
        let now = Instant::now();
        let limits = &self.common.limits;
        let left = self.wire.left(begun, limits.idle_timeout, now);
        let warm = self
            .wire
            .left(begun, limits.buffer_idle_timeout, now)
            .min(left);
        if left.is_zero() {
            self.wire.link.now_lingering();
            return Err(TurnEnd::Ends);
        }
        self.rests_until = after(if warm.is_zero() { left } else { warm });
        if warm.is_zero() {
            self.intake.release();
            self.head.release();
            self.answer.release();
            self.bell = None;
            self.outbox = None;
        }
        Err(TurnEnd::Rests(Heeds::Bytes))
    }

    fn read_request(&mut self, serve: &S) -> Result<(), End> {
        let bytes_max = self.common.limits.head_bytes_max;
        let is_read = self.head.parse_at_once(self.intake.bytes(), bytes_max);
        if is_read {
            self.intake.begin(&self.head);
        }
        // What has come whole, as nearly all do, is never waited for.
        if !is_read || !self.note_whole() {
            self.deaf |= !self.wire.link.begin_reading();
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

    /// Has the request answered, whatever happens in there, or until the exchange rests.
    fn execute(&mut self, serve: &S, heard: Heard) {
        let under_way = self.under_way.take();
        // Unwind safety: what a panic leaves half done is this connection's own, and it is closed.
        let outcome = catch_unwind(AssertUnwindSafe(|| match under_way {
            None => serve.serve(self),
            Some((under_way, _)) => {
                let heard = self.hears(heard);
                serve.go_on(self, under_way, heard)
            }
        }));
        let has_panicked = outcome.is_err();
        if let Ok(Some((under_way, rest))) = outcome {
            self.rests_until = rest.until;
            self.under_way = Some((under_way, self.heeds(rest.heeds)));
            return;
        }
        // A client that has left needs no answer.
        let is_owed = self.answer.is_pending() && !self.left;
        if has_panicked || is_owed {
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
    fn refuse(&mut self, serve: &S, refused: Refused) -> End {
        let refusal = match refused.status {
            503 => HttpRefusal::busy(refused.reason),
            status => HttpRefusal::new(status, refused.reason),
        };
        self.answer.close = true;
        // Unwind safety: as in `execute`. A client that is not there any more needs no answer.
        let _ = catch_unwind(AssertUnwindSafe(|| serve.refuse(self, &refusal)));
        End::Linger
    }
}
