//! A lossy way to stderr: nobody who writes there waits, whether or not anybody reads it.
//!
//! A client may leave stderr unread; its pipe is then full after some 64 KiB, and the next thread that writes to it stands still for ever. There is
//! one such way in a process, made when it is asked for by name. Must not know what is written.

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Instant;

use crate::base::lossy::{Lossy, Received};

/// The most bytes that wait to be written: a burst of some thousand lines.
const BYTES_MAX: usize = 256 * 1024;

/// Writes to stderr without ever waiting; see [`log_lossy`].
pub(crate) struct LossyStderr(&'static Lossy<Box<[u8]>>);

/// The process's, made by the first who asks.
static STDERR: OnceLock<Lossy<Box<[u8]>>> = OnceLock::new();

/// A writer to stderr that never waits, for a logger: what nobody reads in time is dropped, and how much it was stands where it is missing.
///
/// Use it in every server that somebody else starts. A client on stdio may leave stderr unread; then it is full after some 64 KiB, and the next
/// handler that logs or prints there stands still for ever. What the library itself logs waits for no logger, whichever there is. With
/// [env_logger](https://docs.rs/env_logger):
///
/// ```
/// let stderr = Box::new(mcp_threads::log_lossy());
/// env_logger::Builder::from_default_env()
///     .target(env_logger::Target::Pipe(stderr))
///     .init();
/// std::panic::set_hook(Box::new(|panic| log::error!("{:?}", panic.to_string()))); // the standard one waits for stderr, too
/// ```
///
/// What a server says of itself, such as where it listens, goes there by `writeln!(mcp_threads::log_lossy(), ..)`: `eprintln!` waits for a reader, and panics
/// where there can be none, as on a full disk.
///
/// Up to 256 KiB wait for a slow reader. All writers of a process share one thread, which lives as long as the process; a server that ends gives it
/// up to a second to write what is left, as long as it makes progress. Each call of `write` should be a whole line, as loggers do it.
pub fn log_lossy() -> impl Write + Send + Sync + 'static {
    stderr()
}

/// The process's one.
pub(crate) fn stderr() -> LossyStderr {
    LossyStderr(STDERR.get_or_init(|| {
        let mut at_line_start = true;
        Lossy::start("mcp-stderr", BYTES_MAX, move |item: Received<Box<[u8]>>| {
            match item {
                Received::One(bytes) => {
                    at_line_start = bytes.last() == Some(&b'\n');
                    write_all(&bytes);
                }
                Received::Lost(lost) => {
                    let (writes, bytes) = (lost.items, lost.bytes);
                    let rest = if at_line_start { "" } else { "\n" };
                    write_all(format!("{rest}(nobody read stderr: {bytes} bytes in {writes} writes are missing here)\n").as_bytes());
                }
            }
        })
    }))
}

/// Waits until everything has been written, as far as that can be waited for.
pub(crate) fn settle(deadline: Instant) {
    if let Some(stderr) = STDERR.get() {
        stderr.settle(deadline);
    }
}

impl Write for LossyStderr {
    /// Never waits, never fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes.into(), bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A `writeln!` is one write, which no other comes between.
    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.write_all(text.to_string().as_bytes())
    }
}

/// Writes it, waiting for room if need be; if nobody can read it any more, nobody can be told either.
fn write_all(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write_some(bytes) {
            Ok(written) if written > 0 => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// Not through the lock of [`io::stderr`], which everybody who prints would then wait for.
#[cfg(unix)]
fn write_some(bytes: &[u8]) -> io::Result<usize> {
    use rustix::event::{PollFd, PollFlags, poll};

    use crate::base::passing::{passes, until_passed};

    let stderr = rustix::stdio::stderr();
    match rustix::io::write(stderr, bytes) {
        // Also where somebody has set its non-blocking mode, which belongs to the pipe and not to us.
        Err(errno) if passes(errno) => {
            until_passed(|| poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None))?;
            Err(io::ErrorKind::Interrupted.into())
        }
        written => Ok(written?),
    }
}

#[cfg(not(unix))]
fn write_some(bytes: &[u8]) -> io::Result<usize> {
    io::stderr().write(bytes)
}
