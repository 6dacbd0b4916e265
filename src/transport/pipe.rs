//! MCP over a pipe: one message a line, both ways.
//!
//! Two threads own it. The reader takes lines and hands them to the engine; it takes none while as many answers wait as may, so that a client that
//! does not read them is made to stop sending. The writer drains the outbox and writes whole lines, as many as are ready in one write. Must
//! not know lanes or methods. Specification: `basic/transports/stdio` of revision 2026-07-28.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::base::error::Error;
use crate::base::limits::Limits;
use crate::engine::{Engine, Origin, Pipe};
use crate::observe::access::{Access, Outcome, RequestTag};
use crate::outbox::{Answer, AnswerSlot, Bounds, Item, Outbox, OutboxReader, Standing, outbox};
use crate::protocol::jsonrpc::{ErrorCode, ErrorObject, error_response, glimpse};
use crate::protocol::version::Era;
use crate::transport::front::Front;

/// A served pipe with its two threads.
pub(crate) struct PipeFront {
    reading: JoinHandle<()>,
    writing: JoinHandle<()>,
    outbox: Outbox,
    /// Says so when the client has closed its side, or reads no more.
    ended: Receiver<()>,
    /// Disconnects once everything has been written, or nothing more can be.
    written: Receiver<Infallible>,
    /// Dropped to make the reader stop. Without one it stops only at the end of its input.
    wake: Option<Box<dyn Send>>,
}

/// The most bytes that are gathered into one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;

impl PipeFront {
    /// Starts both threads. Dropping `wake` must make `read` return the end of its input.
    pub(crate) fn start(
        read: impl Read + Send + 'static,
        write: impl Write + Send + 'static,
        wake: Option<Box<dyn Send>>,
        engine: &Arc<Engine>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let (outbox, answers) = outbox(
            Bounds {
                answers_max: limits.outbox_answers_max,
                events_max: limits.outbox_events_max,
                bytes_max: limits.outbox_bytes_max,
            },
            engine.observer(),
        );
        let (open, written) = bounded(0);
        // One of the two threads is enough to end the conversation; what the other has to add fits as well.
        let (end, ended) = bounded(2);
        let pipe = Arc::new(Pipe::default());
        let reader = Reader {
            lines: Lines {
                read: BufReader::with_capacity(WRITE_BYTES_MAX, read),
                bytes_max: limits.line_bytes_max,
            },
            engine: Arc::clone(engine),
            pipe: Arc::clone(&pipe),
            outbox: outbox.clone(),
        };
        let reader_ends = end.clone();
        let reading = spawn("mcp-pipe-reader", move || {
            reader.run();
            say_ended(&reader_ends);
        })?;
        let writing = spawn("mcp-pipe-writer", move || {
            if let Err(error) = drain(&answers, write) {
                log::warn!("the client reads no more: {error}");
                pipe.cancel_all();
            }
            drop(answers);
            say_ended(&end);
            drop(open);
        })?;
        Ok(PipeFront {
            reading,
            writing,
            outbox,
            ended,
            written,
            wake,
        })
    }
}

impl Front for PipeFront {
    /// When the client has closed its side, or reads no more. Calls may still be in flight.
    fn ended(&self) -> Option<&Receiver<()>> {
        Some(&self.ended)
    }

    fn finish(self: Box<Self>, deadline: Instant) -> usize {
        let can_be_woken = self.wake.is_some();
        drop(self.wake);
        self.outbox.close();
        let timed_out = self.written.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout);
        if !timed_out {
            join(self.writing);
        }
        // A reader that waits for room wakes when the writer has gone; one that waits for input it cannot be woken from is left behind.
        if self.reading.is_finished() || (can_be_woken && !timed_out) {
            join(self.reading);
        }
        usize::from(timed_out)
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        log::error!("a pipe thread ended by panicking");
    }
}

fn say_ended(end: &Sender<()>) {
    // An error means that nobody waits for it any more.
    let _nobody_waits = end.try_send(());
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|source| Error::spawn(name, source))
}

/// The thread that reads.
struct Reader<R> {
    lines: Lines<R>,
    engine: Arc<Engine>,
    pipe: Arc<Pipe>,
    outbox: Outbox,
}

impl<R: Read> Reader<R> {
    fn run(mut self) {
        let mut line = Vec::new();
        // Waiting here, with full pipes on both sides, is what pushes back on the client.
        while self.outbox.await_room() {
            let read = self.lines.next(&mut line);
            let Some(slot) = self.outbox.reserve() else {
                break;
            };
            match read {
                Ok(Line::Whole) => {
                    let tag = RequestTag::fresh();
                    tag.note_peer("pipe");
                    self.engine
                        .accept(&line, tag, Origin::Pipe(&self.pipe), slot);
                }
                Ok(Line::TooLong) => refuse_long_line(slot, self.lines.bytes_max, &line),
                Ok(Line::End) => break,
                Err(error) => {
                    log::warn!("reading from the client failed: {error}");
                    break;
                }
            }
        }
        self.pipe.end_asks();
        self.outbox.close();
    }
}

fn refuse_long_line(slot: AnswerSlot, bytes_max: usize, beginning: &[u8]) {
    let error = ErrorObject::invalid_request(format!("The line is longer than {bytes_max} bytes"));
    let tag = RequestTag::fresh();
    tag.note_peer("pipe");
    slot.send(Answer {
        body: error_response(glimpse(beginning).as_ref(), &error),
        error: Some(ErrorCode::INVALID_REQUEST),
        standing: Standing::Malformed,
        era: Era::Modern,
        access: Access::immediate(tag, "-", Outcome::Refused).because(&error.message),
    });
}

/// The thread that writes.
fn drain(answers: &OutboxReader, mut write: impl Write) -> io::Result<()> {
    let outbox = answers.outbox();
    let observer = outbox.observer();
    let mut out = Vec::new();
    loop {
        // Wait only with nothing left to write.
        let deadline = (!out.is_empty()).then(Instant::now);
        let flush = match answers.recv(deadline) {
            Item::Event(message) | Item::Request(message) | Item::Opening(message) => {
                push_line(&mut out, &message);
                false
            }
            Item::Answer(answer) => {
                push_line(&mut out, &answer.body);
                observer.ended(&answer.access, None);
                false
            }
            Item::NoAnswer(access) => {
                if let Some(access) = access {
                    observer.ended(&access, None);
                }
                false
            }
            // A pipe is one stream without an end.
            Item::Pause | Item::Relieved => false,
            Item::TimedOut => true,
            Item::Finished => {
                write.write_all(&out)?;
                return write.flush();
            }
        };
        if flush || out.len() >= WRITE_BYTES_MAX {
            write.write_all(&out)?;
            write.flush()?;
            out.clear();
            out.shrink_to(WRITE_BYTES_MAX);
        }
    }
}

fn push_line(out: &mut Vec<u8>, message: &[u8]) {
    debug_assert!(!message.contains(&b'\n'), "JSON is written on one line");
    out.extend_from_slice(message);
    out.push(b'\n');
}

/// Newline-delimited lines with a bound on their length.
struct Lines<R> {
    read: BufReader<R>,
    bytes_max: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// The buffer holds one, without its line end; never blank.
    Whole,
    /// One was longer than allowed and has been skipped; the buffer holds its beginning.
    TooLong,
    /// There are no more.
    End,
}

impl<R: Read> Lines<R> {
    /// Reads the next line that is not blank into `line`.
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        loop {
            line.clear();
            line.shrink_to(WRITE_BYTES_MAX);
            let (ended, fits) = self.read_one(line)?;
            if !fits {
                return Ok(Line::TooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Line::Whole);
            }
            if ended {
                return Ok(Line::End);
            }
        }
    }

    /// Reads to the next line end or the end of the input. Says whether it was the latter, and whether the line fitted.
    fn read_one(&mut self, line: &mut Vec<u8>) -> io::Result<(bool, bool)> {
        let mut fits = true;
        loop {
            let available = match self.read.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = memchr::memchr(b'\n', available);
            let part = &available[..end.unwrap_or(available.len())];
            let room = self.bytes_max - line.len();
            line.extend_from_slice(&part[..part.len().min(room)]);
            fits = fits && part.len() <= room;
            let at_end_of_input = available.is_empty();
            let used = part.len() + usize::from(end.is_some());
            self.read.consume(used);
            if end.is_some() || at_end_of_input {
                return Ok((at_end_of_input, fits));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out its input in pieces of this size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len()).min(self.0.len());
            buffer[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    fn lines(input: &[u8], piece: usize) -> Vec<String> {
        let mut lines = Lines {
            read: BufReader::with_capacity(4, Pieces(input, piece)),
            bytes_max: 5,
        };
        let mut read = Vec::new();
        let mut line = Vec::new();
        loop {
            match lines.next(&mut line).expect("memory can be read") {
                Line::Whole => read.push(String::from_utf8_lossy(&line).into_owned()),
                Line::TooLong => read.push("(too long)".into()),
                Line::End => return read,
            }
        }
    }

    #[test]
    fn law_9_lines_are_split_and_bounded_however_they_arrive() {
        let rows: &[(&[u8], &[&str])] = &[
            (b"", &[]),
            (b"\n \n\r\n", &[]),
            (b"a\nbc\r\nd", &["a", "bc\r", "d"]),
            (b"12345\n123456\n1", &["12345", "(too long)", "1"]),
            (b"1234567890", &["(too long)"]),
        ];
        for (input, expected) in rows {
            for piece in 1..=input.len().max(1) {
                assert_eq!(&lines(input, piece), expected, "in pieces of {piece}");
            }
        }
    }
}
