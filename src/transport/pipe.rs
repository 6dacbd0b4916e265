//! MCP over a pipe: one message a line, both ways.
//!
//! Two threads own it. The reader takes lines and hands them to the engine; it takes none while as many answers wait as may, so that a client that
//! does not read them is made to stop sending. The writer drains the outbox and writes whole lines, as many as are ready in one write. An
//! answer that nothing is ahead of its worker writes itself, as far as that needs no waiting (the short way). Must not know lanes or methods. Specification: `basic/transports/stdio` of revision 2026-07-28.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::base::budget::Charge;
use crate::base::error::Error;
use crate::base::heap;
use crate::base::limits::Limits;
use crate::base::log;
use crate::engine::{AnswerPort, Pipe, Refusal, Via};
use crate::observe::access::{Access, Peer, RequestTag};
use crate::outbox::{
    AnswerSlot, Item, Outbox, OutboxReceiver, Pace, Rest, ShortSent, ShortWay, short_way_is_on,
};
use crate::protocol::errors::ErrorObject;
use crate::protocol::jsonrpc::glimpse;
use crate::transport::front::{ClientEnd, Front, Unfinished};
use crate::transport::lines::{CHUNK_BYTES_MAX, Line, Lines, write_whole};

/// A served pipe with its two threads.
pub(crate) struct PipeFront {
    reading: JoinHandle<()>,
    writing: JoinHandle<Unfinished>,
    outbox: Outbox,
    /// Disconnects once everything has been written, or nothing more can be.
    written: Receiver<Infallible>,
    /// Dropped to make the reader stop; `None` once that is so.
    wake: Option<Box<dyn Send>>,
    /// Else the reader stops only at the end of its input.
    can_be_woken: bool,
    /// Tells the reader that nobody wants its lines any more.
    over: Arc<AtomicBool>,
}

/// Writes as much of a line as needs no waiting: how much. An error means that the writer has to find out.
pub(crate) type WriteNow = Box<dyn FnMut(&[u8]) -> io::Result<usize> + Send>;

/// What else is known of the streams of a pipe that can be interrupted.
pub(crate) struct Ears {
    /// `None` where there is no such way.
    pub(crate) write_now: Option<WriteNow>,
    /// Dropped, it makes `read` return the end of its input, and `gone` return.
    pub(crate) wake: Box<dyn Send>,
    /// Waits until nobody can read any more what is written. False when it was woken before.
    pub(crate) gone: Box<dyn FnOnce() -> bool + Send>,
}

impl PipeFront {
    /// Starts both threads.
    pub(crate) fn start(
        read: impl Read + Send + 'static,
        write: impl Write + Send + 'static,
        ears: Option<Ears>,
        client: ClientEnd,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let (outbox, answers) = client.engine.outbox(limits.outbox_answers_max);
        let (open, written) = bounded(0);
        let pipe = Arc::new(Pipe::new());
        let over = Arc::new(AtomicBool::new(false));
        let (write_now, wake, gone) = ears.map_or((None, None, None), |ears| {
            (ears.write_now, Some(ears.wake), Some(ears.gone))
        });
        if let Some(write_now) = write_now.filter(|_| short_way_is_on()) {
            answers.set_short_way(Some(short_way(write_now)));
        }
        let reader = Reader {
            lines: Lines::new(read, limits.line_bytes_max, Arc::clone(&over)),
            client: client.clone(),
            pipe: Arc::clone(&pipe),
            outbox: outbox.clone(),
        };
        let writer = Writer::new(answers, write);
        let reading = spawn("mcp-pipe-reader", move || reader.run(gone))?;
        let deaf = Arc::clone(&over);
        let writing = spawn("mcp-pipe-writer", move || {
            let _open = open;
            writer.run(|| {
                deaf.store(true, Ordering::Release);
                pipe.end_reading();
                pipe.cancel_all();
                client.left();
            })
        })?;
        Ok(PipeFront {
            reading,
            writing,
            outbox,
            written,
            can_be_woken: wake.is_some(),
            wake,
            over,
        })
    }
}

impl Front for PipeFront {
    fn stop(&mut self) {
        self.over.store(true, Ordering::Release);
        drop(self.wake.take());
        self.outbox.close();
    }

    fn finish(self: Box<Self>, deadline: Instant) -> Unfinished {
        let timed_out = self.written.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout);
        // A reader that waits for room wakes when the writer has gone; one that waits for input it cannot be woken from is left behind.
        if self.reading.is_finished() || (self.can_be_woken && !timed_out) {
            join(self.reading);
        }
        let unread = Unfinished {
            connections: 1,
            ..Unfinished::default()
        };
        match timed_out {
            true => unread,
            false => join(self.writing).unwrap_or(unread),
        }
    }
}

fn join<T>(thread: JoinHandle<T>) -> Option<T> {
    let ended = thread.join();
    if ended.is_err() {
        log::error!("a pipe thread ended by panicking");
    }
    ended.ok()
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|source| Error::spawn(name, source))
}

/// The thread that reads.
struct Reader<R> {
    lines: Lines<R>,
    client: ClientEnd,
    pipe: Arc<Pipe>,
    outbox: Outbox,
}

impl<R: Read> Reader<R> {
    /// Reads to the end of the input, and then waits for the client to leave, as far as that can be seen: one that only has nothing more to say
    /// still gets its answers.
    fn run(mut self, gone: Option<Box<dyn FnOnce() -> bool + Send>>) {
        self.read_all();
        self.pipe.end_reading();
        self.outbox.close();
        self.client.ended();
        if gone.is_some_and(|gone| gone()) {
            self.pipe.cancel_all();
            self.client.left();
        }
    }

    fn read_all(&mut self) {
        let mut line = Vec::new();
        let mut pace = Pace::Single;
        loop {
            let was_there = self.lines.has_more();
            let read = self.lines.next(&mut line);
            // A client that sends several lines at once, or faster than they are read, takes several answers at once; one that asks and waits is answered at once.
            let now = match (self.lines.has_whole(), was_there) {
                (true, _) => Pace::Burst,
                (false, true) => Pace::BetweenBursts,
                (false, false) => Pace::Single,
            };
            let has_changed = mem::replace(&mut pace, now) != now;
            if has_changed && now != Pace::BetweenBursts {
                self.outbox.set_pace(now);
            }
            let is_whole = match read {
                Ok(Line::Whole) => true,
                Ok(Line::TooLong) => false,
                Ok(Line::End) => break,
                Err(error) => {
                    log::warn!("reading from the client failed: {error}");
                    break;
                }
            };
            // Waiting here, with full pipes on both sides, is what pushes back on the client.
            let Some(slot) = self.outbox.reserve_in_room() else {
                break;
            };
            let tag = RequestTag::fresh(Peer::Pipe);
            if is_whole {
                let via = Via::Pipe(&self.pipe);
                self.client.engine.accept(&line, tag, via, slot);
            } else {
                refuse_long_line(slot, &tag, self.lines.bytes_max, &line);
            }
            // What was answered at once while the last of a burst was handed in leaves with the others.
            if has_changed && now == Pace::BetweenBursts {
                self.outbox.set_pace(now);
            }
        }
    }
}

fn refuse_long_line(slot: AnswerSlot, tag: &RequestTag, bytes_max: usize, beginning: &[u8]) {
    let error = ErrorObject::invalid_request(format!("The line is longer than {bytes_max} bytes"));
    let id = glimpse(beginning);
    let refusal = Refusal {
        id: id.as_ref(),
        ..Refusal::new(tag)
    };
    refusal.send(&error, AnswerPort::Outbox(slot));
}

/// How an answer is written by the thread that made it.
fn short_way(mut write_now: WriteNow) -> ShortWay {
    Box::new(move |mut answer| {
        answer.body.push(b'\n');
        match write_now(&answer.body) {
            Ok(count) if count == answer.body.len() => {
                answer.access.ended(None);
                ShortSent::All
            }
            Ok(from) if from > 0 => ShortSent::Part(Rest { answer, from }),
            Ok(_) | Err(_) => {
                answer.body.pop();
                ShortSent::Nothing(answer)
            }
        }
    })
}

/// The thread that writes.
struct Writer<W> {
    answers: OutboxReceiver,
    write: W,
    /// Whole lines that have not been written yet.
    out: Vec<u8>,
    /// The requests that end with them, each with the place in `out` where its answer ends; 0 for those without an answer.
    sent: Vec<(usize, Access)>,
    /// What they cost, beside the events, which the outbox counts.
    charges: Vec<Charge>,
}

impl<W: Write> Writer<W> {
    fn new(answers: OutboxReceiver, write: W) -> Self {
        Writer {
            answers,
            write,
            out: Vec::new(),
            sent: Vec::new(),
            charges: Vec::new(),
        }
    }

    /// Writes until nothing more will come. If writing fails, `fail` is called, and the rest is counted.
    fn run(mut self, fail: impl FnOnce()) -> Unfinished {
        let mut items = Vec::new();
        loop {
            self.answers.recv_all(&mut items, CHUNK_BYTES_MAX);
            let is_last = matches!(items.last(), Some(Item::Finished));
            items.drain(..).for_each(|item| self.take(item));
            if let Err((written, error)) = self.flush() {
                return self.give_up(written, error, fail);
            }
            if is_last {
                return Unfinished::default();
            }
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Event(message) => self.push_line(&message),
            Item::Opening { message, charge } | Item::Request { message, charge } => {
                self.push_line(&message);
                self.charges.push(charge);
            }
            Item::Answer(answer) => {
                self.push_line(&answer.body);
                self.sent.push((self.out.len(), answer.access));
                self.charges.extend(answer.charge);
            }
            Item::Rest(rest) => {
                // Nothing is in front of it, for nothing is read here while an answer goes the short way.
                heap::append(&mut self.out, rest.bytes());
                self.sent.push((self.out.len(), rest.answer.access));
                self.charges.extend(rest.answer.charge);
            }
            Item::NoAnswer(access) => self.sent.extend(access.map(|access| (0, access))),
            // A pipe is one stream without an end.
            Item::Detach | Item::Superseded | Item::Sent | Item::TimedOut | Item::Finished => {}
        }
    }

    fn push_line(&mut self, message: &[u8]) {
        debug_assert!(!message.contains(&b'\n'), "JSON is written on one line");
        heap::append(&mut self.out, message);
        self.out.push(b'\n');
    }

    /// Writes what is there. Requests end when their answers have left, not before.
    fn flush(&mut self) -> Result<(), (usize, io::Error)> {
        if !self.out.is_empty() {
            write_whole(&mut self.write, &self.out)?;
        }
        self.out.clear();
        self.out.shrink_to(CHUNK_BYTES_MAX);
        self.charges.clear();
        self.end_requests();
        Ok(())
    }

    fn end_requests(&mut self) {
        for (_, access) in self.sent.drain(..) {
            access.ended(None);
        }
    }

    /// Nothing more can be written: counts the answers that are lost by it, those of accepted calls included.
    fn give_up(mut self, written: usize, error: io::Error, fail: impl FnOnce()) -> Unfinished {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        self.answers.set_short_way(None);
        self.answers.outbox().close();
        fail();
        let has_left = matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset
        );
        let mut lost = self.sent.iter().filter(|(end, _)| *end > written).count();
        loop {
            self.out = Vec::new();
            self.charges.clear();
            self.end_requests();
            let item = self.answers.recv(None);
            lost += usize::from(matches!(item, Item::Answer(_) | Item::Rest(_)));
            if matches!(item, Item::Finished) {
                break;
            }
            self.take(item);
        }
        log::warn!("writing to the client failed, {lost} answers are lost: {error}");
        Unfinished {
            connections: 0,
            answers: lost,
            failure: (!has_left).then_some(error),
        }
    }
}

#[cfg(test)]
mod tests;
