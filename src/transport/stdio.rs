//! The process's own stdin and stdout, taken out of everyone's reach.
//!
//! The protocol gets private descriptors. What was stdin becomes `/dev/null` and what was stdout becomes stderr, so that a stray
//! `println!`, or a child that inherits them, can neither eat a request nor corrupt an answer. Must not know messages.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio;

/// The protocol's own ends.
pub(crate) struct Stdio {
    pub(crate) read: WakeableReader,
    pub(crate) write: File,
    /// Dropped, it makes `read` return the end of its input.
    pub(crate) wake: OwnedFd,
}

/// Reads from stdin until its end, or until it is woken.
pub(crate) struct WakeableReader {
    input: File,
    woken: OwnedFd,
}

/// The lowest number a private descriptor may get: above the three standard ones.
const ABOVE_STANDARD: i32 = 3;

/// Moves stdin and stdout away. From then on the process's descriptor 0 is `/dev/null` and its descriptor 1 is stderr.
pub(crate) fn take() -> io::Result<Stdio> {
    let input = fcntl_dupfd_cloexec(stdio::stdin(), ABOVE_STANDARD)?;
    let output = fcntl_dupfd_cloexec(stdio::stdout(), ABOVE_STANDARD)?;
    let (woken, wake) = pipe_with(PipeFlags::CLOEXEC)?;
    let null = File::open("/dev/null")?;
    stdio::dup2_stdin(&null)?;
    stdio::dup2_stdout(stdio::stderr())?;
    Ok(Stdio {
        read: WakeableReader {
            input: input.into(),
            woken,
        },
        write: output.into(),
        wake,
    })
}

impl Read for WakeableReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut watched = [
                PollFd::new(&self.input, PollFlags::IN),
                PollFd::new(&self.woken, PollFlags::IN),
            ];
            match poll(&mut watched, None) {
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
                Ok(_) => {}
            }
            if !watched[1].revents().is_empty() {
                return Ok(0);
            }
            if !watched[0].revents().is_empty() {
                return self.input.read(buffer);
            }
        }
    }
}
