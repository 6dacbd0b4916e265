//! The thread that moves a command's bytes: what it is fed, and what it says.
//!
//! Must not know what the bytes mean.

use std::fs::File;
use std::io::{self, BufRead, Cursor, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use crossbeam_channel::Sender;
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::base::passing::until_passed;

/// The longest piece that is read at once.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// What is read after the command has ended: all that two pipes can hold, and not what somebody else goes on writing.
const LEFT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Where the input goes, and how far it has gone.
pub(super) type Feed = (File, Cursor<Vec<u8>>);

/// Our ends of the pipes. All of them are in non-blocking mode.
pub(super) struct Plumbing {
    /// What the command is still to be fed.
    pub(super) stdin: Option<Feed>,
    /// Its stdout, 0, and its stderr, 1, as far as they are open.
    pub(super) streams: Vec<(usize, File)>,
    /// Hangs up when the thread is to read what is left, and end.
    pub(super) woken: OwnedFd,
    pub(super) to: Sender<(usize, Vec<u8>)>,
}

impl Plumbing {
    /// Moves bytes until there is nothing left to move or it is woken.
    pub(super) fn run(mut self) {
        // A command that ends before it has read its input would end the process, if that has `SIGPIPE` at its default. The signal is this thread's alone,
        // and ends with it.
        let mut broken_pipe = SigSet::empty();
        broken_pipe.add(Signal::SIGPIPE);
        let _such_a_set_can_be_blocked = broken_pipe.thread_block();
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        while !self.streams.is_empty() || self.stdin.is_some() {
            match self.wait() {
                Ok(false) => self.feed(),
                Ok(true) => return self.read_out(&mut buffer),
                Err(_) => return,
            }
            if self.read(&mut buffer).is_none() {
                return;
            }
        }
    }

    /// Waits until something can be moved. Whether it has been woken instead.
    fn wait(&self) -> Result<bool, Errno> {
        let mut watched = vec![PollFd::new(&self.woken, PollFlags::IN)];
        let streams = self.streams.iter();
        watched.extend(streams.map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)));
        let stdin = self.stdin.as_ref();
        watched.extend(stdin.map(|(pipe, _)| PollFd::new(pipe, PollFlags::OUT)));
        until_passed(|| poll(&mut watched, None))?;
        Ok(!watched[0].revents().is_empty())
    }

    /// Writes what the pipe takes. A command that does not want the rest does not get it.
    fn feed(&mut self) {
        let Some((pipe, bytes)) = &mut self.stdin else {
            return;
        };
        // Not drained, which would move all that is left with every write: 64 KiB at a time.
        let left = bytes.fill_buf().unwrap_or_default(); // memory can be read
        match pipe.write(left) {
            Ok(size) if size < left.len() => bytes.consume(size),
            Err(error) if is_for_now(&error) => {}
            _ => self.stdin = None,
        }
    }

    /// Reads one piece of each stream that has one, and forgets those that have ended. How much that was; `None` when nobody listens any more.
    fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let (to, mut is_heard, mut all) = (&self.to, true, 0);
        self.streams.retain_mut(|(stream, pipe)| {
            match pipe.read(buffer) {
                Ok(0) => return false,
                Ok(size) => {
                    all += size;
                    is_heard &= to.send((*stream, buffer[..size].to_vec())).is_ok();
                }
                Err(error) => return is_for_now(&error),
            }
            true
        });
        is_heard.then_some(all)
    }

    /// Reads what the pipes hold. Something that has left the group may hold them open, and is not waited for.
    fn read_out(&mut self, buffer: &mut [u8]) {
        let mut left = LEFT_BYTES_MAX;
        while left > 0
            && let Some(size @ 1..) = self.read(buffer)
        {
            left = left.saturating_sub(size);
        }
    }
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Makes our end of a pipe one that does not block. The other end is the command's and stays as it is.
pub(super) fn ours(pipe: OwnedFd) -> io::Result<File> {
    rustix::io::ioctl_fionbio(pipe.as_fd(), true)?;
    Ok(File::from(pipe))
}
