//! What a connection has read and not yet used: the head of the present request, its body, and what was sent ahead.
//!
//! One buffer for all of it, which an idle connection does not have; a body that came whole behind its head stays where it is. It must not know how a
//! request is answered, nor what it asks for.

use std::io::IoSlice;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::body::Chunked;
use super::head::{BodyFraming, Head};
use super::registry::Connections;
use super::socket::Wait;
use super::wire::{Begun, Filled, READ_BYTES, Wire, earned};
use crate::base::budget::Budget;
use crate::transport::http::exchange::{Body, BodyError};

/// Less room than this is not worth a read.
const ROOM_MIN: usize = 512;

/// Room for one read of a body. Memory for a declared length is taken step by step as the bytes arrive: a promise of 4 MiB
/// costs nothing.
const BODY_READ_BYTES: usize = 64 * 1024;

/// The longest body that is read and dropped when a request was answered without it and it has arrived already: a rejected call rarely has
/// more. For a longer one the connection is closed.
pub(super) const UNREAD_BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Intake {
    /// The present request's head, then what came behind it.
    buffer: Vec<u8>,
    /// So much of the buffer belongs to the present request; the rest was sent ahead.
    taken: usize,
    extent: Extent,
    /// Where the body is in the buffer, unless it has come in pieces.
    body_range: Range<usize>,
    pieced: Body,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Extent {
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

    /// Reads once, behind what is there.
    pub(super) fn fill(&mut self, wire: &mut Wire, begun: Begun, time: Duration) -> Filled {
        make_room(&mut self.buffer, READ_BYTES);
        wire.fill(&mut self.buffer, begun, time)
    }

    /// The same with what has arrived already.
    pub(super) fn fill_now(&mut self, wire: &mut Wire) -> Filled {
        make_room(&mut self.buffer, READ_BYTES);
        wire.fill_now(&mut self.buffer)
    }

    /// The buffer begins with a head after which nothing can be read.
    pub(super) fn give_up(&mut self) {
        self.extent = Extent::Broken;
    }

    /// The buffer begins with this head.
    pub(super) fn begin(&mut self, head: &Head) {
        self.taken = head.len;
        self.extent = match head.framing {
            BodyFraming::Empty | BodyFraming::Length(0) => Extent::Whole,
            BodyFraming::Length(_) | BodyFraming::Chunked => Extent::Unread,
        };
    }

    /// Whether the body of the present request has arrived, as far as that is seen at once.
    pub(super) fn has_body(&self, head: &Head) -> bool {
        match head.framing {
            BodyFraming::Empty => true,
            BodyFraming::Length(length) => (self.buffer.len() - self.taken) as u64 >= length,
            BodyFraming::Chunked => false,
        }
    }

    /// Whether the present request has been read to its end, so that another can follow.
    pub(super) fn is_read_whole(&self) -> bool {
        self.extent == Extent::Whole
    }

    /// Whether something was sent ahead of the present request's answer.
    pub(super) fn has_more(&self) -> bool {
        self.taken < self.buffer.len()
    }

    /// Forgets the present request; what was sent ahead moves to the front.
    pub(super) fn next(&mut self) {
        self.forget_body();
        if self.taken == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.taken);
        }
        if self.buffer.capacity() > BODY_READ_BYTES {
            self.buffer.shrink_to(READ_BYTES);
        }
        self.taken = 0;
    }

    /// Gives the memory back to the heap. There must be nothing in it.
    pub(super) fn release(&mut self) {
        self.buffer = Vec::new();
    }

    /// The buffer, for a connection that will not need what is in it.
    pub(super) fn scratch(&mut self) -> &mut Vec<u8> {
        self.forget_body();
        self.taken = 0;
        &mut self.buffer
    }

    /// The body, as far as it has been read.
    pub(super) fn body(&self) -> &[u8] {
        match self.pieced.bytes.as_slice() {
            [] => &self.buffer[self.body_range.clone()],
            pieced => pieced,
        }
    }

    /// Gives the body's memory back, and what was charged for it.
    pub(super) fn forget_body(&mut self) {
        self.body_range = 0..0;
        self.pieced = Body::default();
    }

    /// Reads the whole body, waiting for it as long as `source` does. Nothing if it has been read before.
    pub(super) fn read_body(
        &mut self,
        head: &Head,
        bytes_max: usize,
        source: &mut BodySource<'_>,
    ) -> Result<(), BodyError> {
        match self.extent {
            Extent::Whole => return Ok(()),
            Extent::Broken => return Err(BodyError::Malformed("the body was given up")),
            Extent::Unread => self.extent = Extent::Broken, // until it has been read to its end
        }
        let read = match head.framing {
            BodyFraming::Empty => Ok(()),
            BodyFraming::Length(length) => self.take_length(length, bytes_max, source),
            BodyFraming::Chunked => self.take_chunked(bytes_max, source),
        };
        match read {
            Ok(()) => self.extent = Extent::Whole,
            Err(_) => {
                self.forget_body();
                source.connections.gave_memory_back();
            }
        }
        read
    }

    /// What came with the head stays where it is if that is all; otherwise it is copied, and the rest is read straight behind it.
    fn take_length(
        &mut self,
        length: u64,
        bytes_max: usize,
        source: &mut BodySource<'_>,
    ) -> Result<(), BodyError> {
        let length = usize::try_from(length).map_err(|_| BodyError::TooLarge)?;
        if length > bytes_max {
            return Err(BodyError::TooLarge);
        }
        let arrived = &self.buffer[self.taken..];
        if arrived.len() >= length {
            self.body_range = self.taken..self.taken + length;
            self.taken += length;
            return Ok(());
        }
        let body = &mut self.pieced;
        let room = length.min(arrived.len().max(BODY_READ_BYTES));
        source.make_room(body, room)?;
        body.bytes.extend_from_slice(arrived);
        self.taken = self.buffer.len();
        while body.bytes.len() < length {
            let arrived = body.bytes.len();
            if arrived == body.bytes.capacity() {
                let step = arrived.max(BODY_READ_BYTES);
                source.make_room(body, step.min(length - arrived))?;
            }
            source.fill(&mut body.bytes, arrived)?;
        }
        // The allocator may have given more room than was asked for.
        self.buffer.extend_from_slice(&body.bytes[length..]);
        body.bytes.truncate(length);
        Ok(())
    }

    fn take_chunked(
        &mut self,
        bytes_max: usize,
        source: &mut BodySource<'_>,
    ) -> Result<(), BodyError> {
        let mut decoder = Chunked::new();
        let body = &mut self.pieced;
        loop {
            let input = &self.buffer[self.taken..];
            if body.bytes.capacity() - body.bytes.len() < input.len() {
                let step = body.bytes.len().max(input.len());
                source.make_room(body, step)?;
            }
            let decoded = decoder.decode(input, &mut body.bytes, bytes_max)?;
            self.taken += decoded.consumed;
            if decoded.done {
                return Ok(());
            }
            self.buffer.clear(); // all of it has been taken
            self.taken = 0;
            make_room(&mut self.buffer, BODY_READ_BYTES / 2);
            source.fill(&mut self.buffer, body.bytes.len())?;
        }
    }
}

/// Where the rest of a body comes from, how long it may take, and what it is charged to.
pub(super) struct BodySource<'a> {
    wire: &'a mut Wire,
    memory: &'a Arc<Budget>,
    connections: &'a Connections,
    /// Whether to wait for what has not arrived.
    wait: Wait,
    /// The client waits to be told that its body is wanted.
    continue_due: bool,
    /// When waiting began. A body that came with its head never asks the clock.
    begun: Option<Begun>,
    /// How much had arrived when it last kept up.
    marked: usize,
}

/// To a client of which half a request was there when the front needed its place, or stopped.
pub(super) const CUT_SHORT: &str =
    "The server cannot wait for the rest of this request; send it again";

impl<'a> BodySource<'a> {
    pub(super) fn new(
        wire: &'a mut Wire,
        head: &Head,
        memory: &'a Arc<Budget>,
        connections: &'a Connections,
        wait: Wait,
    ) -> BodySource<'a> {
        BodySource {
            wire,
            memory,
            connections,
            wait,
            continue_due: head.expects_continue,
            begun: None,
            marked: 0,
        }
    }

    /// Makes so much more room for a body. Where there is no memory, a request that dawdles makes it.
    fn make_room(&self, body: &mut Body, more: usize) -> Result<(), BodyError> {
        body.make_room(more, self.memory).or_else(|_| {
            self.connections
                .end_slowest_request(|| self.memory.would_fit(more, 0));
            body.make_room(more, self.memory)
        })
    }

    /// Reads once. `arrived` bytes of content have earned their time.
    fn fill(&mut self, into: &mut Vec<u8>, arrived: usize) -> Result<(), BodyError> {
        let filled = if self.wait == Wait::ForBytes {
            self.ask_for_body()?;
            let begun = *self.begun.get_or_insert_with(|| self.wire.begin());
            let limits = &self.wire.limits;
            let rate = limits.body_bytes_per_second_min;
            if arrived - self.marked >= rate {
                self.marked = arrived;
                self.wire.link.stamp();
            }
            let time = earned(limits.body_timeout, arrived, rate);
            self.wire.fill(into, begun, time)
        } else {
            self.wire.fill_now(into)
        };
        match filled {
            Filled::Bytes => Ok(()),
            Filled::Ended if self.wire.link.is_shut() => Err(BodyError::Unavailable(CUT_SHORT)),
            Filled::Ended => Err(BodyError::Gone),
            Filled::TimedOut => Err(BodyError::TooSlow),
        }
    }

    fn ask_for_body(&mut self) -> Result<(), BodyError> {
        if !mem::take(&mut self.continue_due) {
            return Ok(());
        }
        let mut parts = [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")];
        self.wire.write(&mut parts).map_err(|_| BodyError::Gone)
    }
}

fn make_room(buffer: &mut Vec<u8>, bytes: usize) {
    if buffer.capacity() - buffer.len() < ROOM_MIN {
        buffer.reserve(bytes);
    }
}
