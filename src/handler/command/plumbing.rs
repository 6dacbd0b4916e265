//! The thread that moves a command's bytes: what it is fed, what it says, and the news of its end.
//!
//! Must not know what the bytes mean.

use std::fs::File;
use std::io::{self, BufRead, Cursor, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use crossbeam_channel::Sender;
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// The longest piece that is read at once.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// What is read of one stream after the command has ended: all that a pipe can hold, and not what somebody else goes on writing.
const LEFT_BYTES_MAX: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// What the thread tells.
pub(super) enum PipeEvent {
    Bytes(Stream, Vec<u8>),
    /// The leader has ended; there may be more to read.
    Ended,
}

/// Where the input goes, and how far it has gone.
pub(super) type Feed = (File, Cursor<Vec<u8>>);

/// Our ends of the pipes. All of them are in non-blocking mode.
pub(super) struct Plumbing {
    /// What the command is still to be fed.
    pub(super) stdin: Option<Feed>,
    pub(super) streams: Vec<(Stream, File)>,
    /// Becomes readable when the leader ends, where the system has such a thing.
    pub(super) end: Option<OwnedFd>,
    /// Hangs up when the thread is to read what is left, and end.
    pub(super) woken: OwnedFd,
    pub(super) to: Sender<PipeEvent>,
}

/// Nobody listens any more.
struct Deaf;

impl Plumbing {
    /// Moves bytes until there is nothing left to move or it is woken.
    pub(super) fn run(mut self) {
        // A command that ends before it has read its input would end the process, if that has `SIGPIPE` at its default. The signal is this thread's alone,
        // and ends with it.
        let mut broken_pipe = SigSet::empty();
        broken_pipe.add(Signal::SIGPIPE);
        let _such_a_set_can_be_blocked = broken_pipe.thread_block();
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        while !self.streams.is_empty() || self.stdin.is_some() || self.end.is_some() {
            let Ok(ready) = self.wait() else {
                return;
            };
            if ready.woken {
                return self.read_out(&mut buffer);
            }
            if ready.stdin {
                self.feed();
            }
            if self.read(&ready.streams, &mut buffer).is_err() {
                return;
            }
            if ready.end {
                self.end = None;
                if self.to.send(PipeEvent::Ended).is_err() {
                    return;
                }
            }
        }
    }

    fn wait(&self) -> Result<Ready, Errno> {
        let mut watched = vec![PollFd::new(&self.woken, PollFlags::IN)];
        let streams = self.streams.iter();
        watched.extend(streams.map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)));
        watched.extend(self.end.iter().map(|end| PollFd::new(end, PollFlags::IN)));
        let stdin = self.stdin.as_ref();
        watched.extend(stdin.map(|(pipe, _)| PollFd::new(pipe, PollFlags::OUT)));
        while let Err(errno) = poll(&mut watched, None) {
            // Interrupted, or short of memory for a moment.
            if !matches!(errno, Errno::INTR | Errno::AGAIN) {
                return Err(errno);
            }
        }
        let mut ready = watched.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || ready.next().unwrap_or(false);
        Ok(Ready {
            woken: next(),
            streams: self.streams.iter().map(|_| next()).collect(),
            end: self.end.is_some() && next(),
            stdin: self.stdin.is_some() && next(),
        })
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

    /// Reads one piece of each stream that is ready, and forgets those that have ended.
    fn read(&mut self, ready: &[bool], buffer: &mut [u8]) -> Result<(), Deaf> {
        let mut ready = ready.iter();
        let mut deaf = false;
        let to = &self.to;
        self.streams.retain_mut(|(stream, pipe)| {
            if deaf || !ready.next().is_some_and(|ready| *ready) {
                return true;
            }
            match pipe.read(buffer) {
                Ok(0) => false,
                Ok(size) => {
                    let piece = PipeEvent::Bytes(*stream, buffer[..size].to_vec());
                    deaf = to.send(piece).is_err();
                    true
                }
                Err(error) => is_for_now(&error),
            }
        });
        if deaf { Err(Deaf) } else { Ok(()) }
    }

    /// Reads what the pipes hold. Something that has left the group may hold them open, and is not waited for.
    fn read_out(&mut self, buffer: &mut [u8]) {
        for (stream, pipe) in &mut self.streams {
            let mut left = LEFT_BYTES_MAX;
            while left > 0 {
                let size = match pipe.read(buffer) {
                    Ok(size @ 1..) => size,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // It has ended, or holds nothing at the moment.
                    _ => break,
                };
                left = left.saturating_sub(size);
                let piece = PipeEvent::Bytes(*stream, buffer[..size].to_vec());
                if self.to.send(piece).is_err() {
                    return;
                }
            }
        }
    }
}

struct Ready {
    woken: bool,
    streams: Vec<bool>,
    end: bool,
    stdin: bool,
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
