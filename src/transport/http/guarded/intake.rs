//! What a connection has read and not yet used: the head of the present request, its body, and what was sent ahead.
//!
//! One buffer for all of it, which the head's places point into and which an idle connection does not have. It must not know how a
//! request is answered, nor what it asks for.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use super::body::{Chunked, Framing};
use super::head::Head;
use super::wire::{Filled, READ_BYTES, Wire};
use crate::base::deadline::after;
use crate::base::limits::Limits;
use crate::transport::http::exchange::BodyError;

/// Less room than this is not worth a read.
const ROOM_MIN: usize = 512;

/// Room for one read of a body. Memory for a declared length is taken step by step as the bytes arrive: a promise of 4 MiB
/// costs nothing.
const BODY_READ_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Intake {
    /// The present request's head, then what came behind it.
    buffer: Vec<u8>,
    head_len: usize,
    /// So much of the buffer belongs to the present request; the rest was sent ahead.
    taken: usize,
    body: Body,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Body {
    /// The next byte belongs to the next request.
    #[default]
    Whole,
    Unread,
    /// Where the next request begins will never be known.
    Broken,
}

impl Intake {
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn head_bytes(&self) -> &[u8] {
        &self.buffer[..self.head_len]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads once, behind what is there.
    pub(super) fn fill(&mut self, wire: &mut Wire, deadline: Instant) -> Filled {
        make_room(&mut self.buffer, READ_BYTES);
        wire.fill(&mut self.buffer, deadline)
    }

    /// The buffer begins with this head.
    pub(super) fn begin(&mut self, head: &Head) {
        self.head_len = head.len;
        self.taken = head.len;
        self.body = match head.framing {
            Framing::Empty | Framing::Length(0) => Body::Whole,
            Framing::Length(_) | Framing::Chunked => Body::Unread,
        };
    }

    /// Whether the present request has been read to its end, so that another can follow.
    pub(super) fn is_settled(&self) -> bool {
        self.body == Body::Whole
    }

    /// Forgets the present request; what was sent ahead moves to the front.
    pub(super) fn next(&mut self) {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.taken);
        }
        if self.buffer.capacity() > BODY_READ_BYTES {
            self.buffer.shrink_to(READ_BYTES);
        }
        self.head_len = 0;
        self.taken = 0;
    }

    /// Gives the memory back to the heap. There must be nothing in it.
    pub(super) fn release(&mut self) {
        self.buffer = Vec::new();
    }

    /// The buffer, for a connection that will not need what is in it.
    pub(super) fn scratch(&mut self) -> &mut Vec<u8> {
        self.head_len = 0;
        self.taken = 0;
        &mut self.buffer
    }

    /// Reads the whole body, waiting for it as long as the limits allow. Empty if it has been read before.
    pub(super) fn read_body(
        &mut self,
        wire: &mut Wire,
        head: &Head,
        bytes_max: usize,
        limits: &Limits,
    ) -> Result<Vec<u8>, BodyError> {
        let waits = true;
        self.take_body(head, bytes_max, &mut Source::new(wire, head, limits, waits))
    }

    /// Reads and drops the body if nobody has read it, it is short, and all of it has arrived. Never waits.
    pub(super) fn discard_body(&mut self, wire: &mut Wire, head: &Head, limits: &Limits) {
        let waits = false;
        let mut source = Source::new(wire, head, limits, waits);
        // When it fails, `is_settled` says so.
        let _ = self.take_body(head, limits.unread_body_bytes_max, &mut source);
    }

    fn take_body(
        &mut self,
        head: &Head,
        bytes_max: usize,
        source: &mut Source<'_>,
    ) -> Result<Vec<u8>, BodyError> {
        match self.body {
            Body::Whole => return Ok(Vec::new()),
            Body::Broken => return Err(BodyError::Malformed("the body was given up")),
            Body::Unread => self.body = Body::Broken, // until it has been read to its end
        }
        let body = match head.framing {
            Framing::Empty => Vec::new(),
            Framing::Length(length) => self.take_length(length, bytes_max, source)?,
            Framing::Chunked => self.take_chunked(bytes_max, source)?,
        };
        self.body = Body::Whole;
        Ok(body)
    }

    /// What came with the head is copied; the rest is read straight into the body.
    fn take_length(
        &mut self,
        length: u64,
        bytes_max: usize,
        source: &mut Source<'_>,
    ) -> Result<Vec<u8>, BodyError> {
        let length = usize::try_from(length).map_err(|_| BodyError::TooLarge)?;
        if length > bytes_max {
            return Err(BodyError::TooLarge);
        }
        let arrived = &self.buffer[self.taken..];
        let arrived = &arrived[..arrived.len().min(length)];
        let mut body = Vec::with_capacity(length.min(arrived.len().max(BODY_READ_BYTES)));
        body.extend_from_slice(arrived);
        self.taken += arrived.len();
        while body.len() < length {
            if body.len() == body.capacity() {
                let step = body.len().max(BODY_READ_BYTES);
                body.reserve_exact(step.min(length - body.len()));
            }
            let arrived = body.len();
            source.fill(&mut body, arrived)?;
        }
        // The allocator may have given more room than was asked for.
        self.buffer.extend_from_slice(&body[length..]);
        body.truncate(length);
        Ok(body)
    }

    fn take_chunked(
        &mut self,
        bytes_max: usize,
        source: &mut Source<'_>,
    ) -> Result<Vec<u8>, BodyError> {
        let mut decoder = Chunked::new();
        let mut body = Vec::new();
        loop {
            let input = &self.buffer[self.taken..];
            let decoded = decoder.decode(input, &mut body, bytes_max, source.limits)?;
            self.taken += decoded.consumed;
            if decoded.done {
                return Ok(body);
            }
            self.buffer.truncate(self.head_len); // the head stays, its framing can go
            self.taken = self.head_len;
            make_room(&mut self.buffer, BODY_READ_BYTES / 2);
            source.fill(&mut self.buffer, body.len())?;
        }
    }
}

/// Where the rest of a body comes from, and how long it may take.
struct Source<'a> {
    wire: &'a mut Wire,
    limits: &'a Limits,
    /// Whether to wait for what has not arrived.
    waits: bool,
    /// The client waits to be told that its body is wanted.
    continue_due: bool,
    /// When waiting began. A body that came with its head never asks the clock.
    since: Option<Instant>,
}

impl<'a> Source<'a> {
    fn new(wire: &'a mut Wire, head: &Head, limits: &'a Limits, waits: bool) -> Source<'a> {
        Source {
            wire,
            limits,
            waits,
            continue_due: head.expects_continue,
            since: None,
        }
    }

    /// Reads once. `arrived` bytes of content have earned their time.
    fn fill(&mut self, into: &mut Vec<u8>, arrived: usize) -> Result<(), BodyError> {
        let filled = if self.waits {
            self.ask_for_body()?;
            let deadline = self.deadline(arrived);
            self.wire.fill(into, deadline)
        } else {
            self.wire.fill_now(into)
        };
        match filled {
            Filled::Bytes => Ok(()),
            Filled::Ended => Err(BodyError::Gone),
            Filled::TimedOut => Err(BodyError::TooSlow),
        }
    }

    fn ask_for_body(&mut self) -> Result<(), BodyError> {
        if !std::mem::take(&mut self.continue_due) {
            return Ok(());
        }
        let mut parts = [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")];
        let written = self.wire.write(&mut parts, self.limits.write_timeout);
        written.map_err(|_| BodyError::Gone)
    }

    fn deadline(&mut self, arrived: usize) -> Instant {
        let since = *self.since.get_or_insert_with(Instant::now);
        let rate = self.limits.body_bytes_per_second_min.max(1);
        let earned = Duration::from_secs_f64(arrived as f64 / rate as f64);
        let time = self.limits.body_timeout.saturating_add(earned);
        since.checked_add(time).unwrap_or_else(|| after(time))
    }
}

fn make_room(buffer: &mut Vec<u8>, bytes: usize) {
    if buffer.capacity() - buffer.len() < ROOM_MIN {
        buffer.reserve(bytes);
    }
}
