//! The answer to one request, from its first byte to its last, in as few writes as there are things to say.
//!
//! A complete answer is one write, by the owner or at once by another thread ([`sends_now`]). A stream is one write for each `send`,
//! which may be many events; its head goes with the first of them, its end with the last. It must not know where requests come from or what they ask.

use std::io::{self, IoSlice, Write};
use std::sync::Arc;

use super::head::{Head, Version};
use super::link::Link;
use super::registry::Connections;
use super::socket::Socket;
use super::wire::Wire;
use crate::transport::http::exchange::{HttpResponse, SendAtOnce, SentBytes};
use crate::transport::http::response::{Framing, write_chunk, write_head, write_last_chunk};

/// A longer body is handed to the kernel from where it lies; a shorter one is cheaper to copy behind its head. The buffers for that are kept as long as
/// their connection is busy, so they are small.
const COPY_BYTES_MAX: usize = 4 * 1024;

#[derive(Debug, Default)]
pub(super) struct ResponseWriter {
    /// What is to be written next; empty between writes, except for the head of a stream that has said nothing yet.
    out: Vec<u8>,
    state: WriterState,
    /// To a HEAD request: no body, whatever the head says.
    pub(super) head_only: bool,
    version: Version,
    /// The connection is to be closed after this answer.
    pub(super) close: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum WriterState {
    #[default]
    Pending,
    Streaming(Framing),
    Complete,
    Failed,
}

impl ResponseWriter {
    /// A request is about to arrive.
    pub(super) fn reset(&mut self) {
        self.out.clear();
        self.state = WriterState::Pending;
        self.head_only = false;
        self.version = Version::Http11;
        self.close = false;
    }

    /// The request has this head.
    pub(super) fn begin(&mut self, head: &Head) {
        self.head_only = head.method() == "HEAD";
        self.version = head.version;
    }

    pub(super) fn is_pending(&self) -> bool {
        self.state == WriterState::Pending
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == WriterState::Complete
    }

    /// Gives the memory back to the heap.
    pub(super) fn release(&mut self) {
        self.out = Vec::new();
    }

    /// Writes a complete answer at once.
    pub(super) fn respond(
        &mut self,
        wire: &mut Wire,
        response: &HttpResponse<'_>,
    ) -> io::Result<()> {
        if self.state != WriterState::Pending {
            return Err(misuse("a second answer to one request"));
        }
        let bodiless = matches!(response.status, 100..=199 | 204 | 304);
        let framing = if bodiless {
            Framing::None
        } else {
            Framing::Length(response.body.len())
        };
        self.write_head(response.status, response.fields, framing);
        let mut body = response.body;
        if bodiless || self.head_only {
            body = &[];
        }
        if body.len() <= COPY_BYTES_MAX {
            self.out.extend_from_slice(body);
            body = &[];
        }
        self.write(wire, body, b"", WriterState::Complete)
    }

    /// Another thread has sent the answer, except for these bytes.
    pub(super) fn end_short_way(&mut self, wire: &mut Wire, rest: &[u8]) -> io::Result<()> {
        if self.state != WriterState::Pending {
            return Err(misuse("a second answer to one request"));
        }
        self.write(wire, rest, b"", WriterState::Complete)
    }

    /// Opens an event stream. Nothing is written before it says something.
    pub(super) fn begin_stream(&mut self, fields: &[(&str, &str)]) -> io::Result<()> {
        if self.state != WriterState::Pending {
            return Err(misuse("a second answer to one request"));
        }
        let framing = match self.version {
            Version::Http11 => Framing::Chunked,
            Version::Http10 => Framing::UntilClose,
        };
        let mut all = Vec::with_capacity(1 + fields.len());
        all.push(("Content-Type", "text/event-stream"));
        all.extend_from_slice(fields);
        self.close |= framing == Framing::UntilClose;
        self.write_head(200, &all, framing);
        self.state = WriterState::Streaming(framing);
        Ok(())
    }

    /// Writes the next bytes of a stream.
    pub(super) fn send(&mut self, wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
        let WriterState::Streaming(framing) = self.state else {
            return Err(misuse("an event without an open stream"));
        };
        let (body, tail) = self.frame(framing, bytes);
        self.write(wire, body, tail, WriterState::Streaming(framing))
    }

    /// Writes the last bytes of a stream, and that they are the last.
    pub(super) fn finish(&mut self, wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
        let WriterState::Streaming(framing) = self.state else {
            return Err(misuse("the end of a stream that is not open"));
        };
        let (body, mut tail) = self.frame(framing, bytes);
        if framing == Framing::Chunked && !self.head_only {
            if body.is_empty() {
                write_last_chunk(&mut self.out);
            } else {
                tail = b"\r\n0\r\n\r\n";
            }
        }
        self.write(wire, body, tail, WriterState::Complete)
    }

    /// Puts these bytes of a stream behind what is to be written, or, if they are many, says what stands around them.
    fn frame<'b>(&mut self, framing: Framing, bytes: &'b [u8]) -> (&'b [u8], &'static [u8]) {
        let none: (&[u8], &[u8]) = (&[], &[]);
        let short = bytes.len() <= COPY_BYTES_MAX;
        match framing {
            _ if self.head_only => none,
            Framing::Chunked if short => {
                write_chunk(&mut self.out, bytes);
                none
            }
            Framing::Chunked => {
                let written = write!(self.out, "{:x}\r\n", bytes.len());
                written.expect("a Vec takes any number of bytes");
                (bytes, b"\r\n")
            }
            _ => (bytes, b""),
        }
    }

    fn write_head(&mut self, status: u16, fields: &[(&str, &str)], framing: Framing) {
        self.out.clear();
        write_head(&mut self.out, status, fields, framing, self.close);
    }

    /// Writes what is pending and these two behind it; then the answer is in state `after`, unless that failed.
    fn write(
        &mut self,
        wire: &mut Wire,
        body: &[u8],
        tail: &[u8],
        after: WriterState,
    ) -> io::Result<()> {
        self.state = after;
        let mut parts = [&self.out, body, tail].map(IoSlice::new);
        let mut parts = match (self.out.is_empty(), body.is_empty()) {
            (true, true) => return Ok(()),
            (false, true) => &mut parts[..1],
            _ => &mut parts[..],
        };
        IoSlice::advance_slices(&mut parts, 0); // drops an empty first part
        let written = wire.write(parts);
        if written.is_err() {
            self.state = WriterState::Failed;
        }
        self.out.clear();
        written
    }
}

/// Sends whole answers on any thread, after which the connection stays open. The owner must not be writing.
pub(super) fn sends_now(link: &Arc<Link>, connections: &Arc<Connections>) -> SendAtOnce {
    let (link, connections) = (Arc::clone(link), Arc::clone(connections));
    Box::new(move |response, head| {
        if connections.is_stopping() {
            return SentBytes::NOTHING;
        }
        let mut sent = send_at_once(&link.socket, response, head);
        if sent.count == head.len() + response.body.len() {
            link.answered();
            sent.wakes_owner = connections.is_stopping();
        }
        sent
    })
}

/// As far as the kernel takes it at once.
fn send_at_once(socket: &Socket, response: &HttpResponse<'_>, head: &mut Vec<u8>) -> SentBytes {
    const HEAD_BYTES: usize = 384;
    let body = response.body;
    let copied = match body.len() <= COPY_BYTES_MAX {
        true => body.len(),
        false => 0,
    };
    head.clear();
    head.reserve(HEAD_BYTES + copied);
    let framing = Framing::Length(body.len());
    write_head(head, response.status, response.fields, framing, false);
    let len = head.len();
    head.extend_from_slice(&body[..copied]);
    let parts = [&**head, &body[copied..]].map(IoSlice::new);
    let parts = match copied == body.len() {
        true => &parts[..1],
        false => &parts[..],
    };
    // What went wrong the owner finds out when it writes.
    let count = socket.send_now(parts).unwrap_or(0);
    head.truncate(len);
    SentBytes {
        count,
        wakes_owner: false,
    }
}

fn misuse(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
