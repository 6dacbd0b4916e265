//! Lines of bytes over any stream: read with a bound on their length, written whole.
//!
//! *Transient errors* (`EINTR`, `EAGAIN`, a timeout that the stream has of its own) are no end: what could not be done now is done a moment later.
//! Must not know messages.

use crate::base::heap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The most bytes that are gathered into one write, or kept for the next line.
pub(super) const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Between two tries of a stream that can only say that it cannot go on now.
const TRANSIENT_PAUSE: Duration = Duration::from_millis(10);

/// Whether this error only says "not now". Waits a moment if so.
fn is_transient(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::Interrupted => true,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            thread::sleep(TRANSIENT_PAUSE);
            true
        }
        _ => false,
    }
}

/// Writes everything. When that fails, how many bytes were written before.
pub(super) fn write_whole(write: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match write.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err((written, error)),
        }
    }
    loop {
        match write.flush() {
            Ok(()) => return Ok(()),
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err((written, error)),
        }
    }
}

/// Newline-delimited lines with a bound on their length.
pub(super) struct Lines<R> {
    read: BufReader<R>,
    pub(super) bytes_max: usize,
    /// How much of what was read last stands behind the last line in it that is whole and not blank.
    behind: usize,
    /// Set when nobody wants lines any more; looked at where the input makes no progress.
    over: Arc<AtomicBool>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The buffer holds one, without its line end; never blank.
    Whole,
    /// One was longer than allowed and has been skipped; the buffer holds its beginning.
    TooLong,
    /// There are no more.
    End,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(read: R, bytes_max: usize, over: Arc<AtomicBool>) -> Self {
        Lines {
            read: BufReader::with_capacity(CHUNK_BYTES_MAX, read),
            bytes_max,
            behind: 0,
            over,
        }
    }

    /// Whether more has been read than the lines that were taken.
    pub(super) fn has_more(&self) -> bool {
        !self.read.buffer().is_empty()
    }

    /// Whether [`next`](Self::next) finds a line without reading: one that is not blank has been read to its end.
    pub(super) fn has_whole(&self) -> bool {
        self.read.buffer().len() > self.behind
    }

    /// Reads the next line that is not blank into `line`.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        loop {
            line.clear();
            line.shrink_to(CHUNK_BYTES_MAX);
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
            let is_new = self.read.buffer().is_empty();
            let available = match self.read.fill_buf() {
                Ok(available) => available,
                Err(error) if is_transient(&error) && !self.over.load(Ordering::Acquire) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            if is_new {
                let last = memchr::memrchr(b'\n', available).unwrap_or(0);
                self.behind = available.len() - available[..last].trim_ascii_end().len();
            }
            let end = memchr::memchr(b'\n', available);
            let part = &available[..end.unwrap_or(available.len())];
            let room = self.bytes_max - line.len();
            heap::append(line, &part[..part.len().min(room)]);
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
            behind: 0,
            over: Arc::default(),
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

    /// Says "not now" before each byte, as a non-blocking stream can.
    struct Reluctant<S>(S, usize);

    impl<S> Reluctant<S> {
        fn refuses(&mut self) -> io::Result<()> {
            use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
            self.1 += 1;
            match self.1 % 4 {
                0 => Ok(()),
                turn => Err([WouldBlock, Interrupted, TimedOut][turn - 1].into()),
            }
        }
    }

    impl<S: Read> Read for Reluctant<S> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.refuses()?;
            self.0.read(&mut buffer[..1])
        }
    }

    impl<S: Write> Write for Reluctant<S> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.refuses()?;
            self.0.write(&bytes[..1])
        }

        fn flush(&mut self) -> io::Result<()> {
            self.refuses()
        }
    }

    #[test]
    fn a_transient_error_is_no_end() {
        let mut lines = Lines::new(Reluctant(&b"ab\ncd\n"[..], 0), 5, Arc::default());
        let mut line = Vec::new();
        for expected in [&b"ab"[..], b"cd"] {
            assert_eq!(lines.next(&mut line).ok(), Some(Line::Whole));
            assert_eq!(line, expected);
        }
        assert_eq!(lines.next(&mut line).ok(), Some(Line::End));
        let mut written = Reluctant(Vec::new(), 0);
        assert!(write_whole(&mut written, b"ab\n").is_ok());
        assert_eq!(written.0, b"ab\n");
        lines.over.store(true, Ordering::Release);
        assert!(lines.next(&mut line).is_err(), "nobody waits for it");
    }
}
