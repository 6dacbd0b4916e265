//! What a child says on stdout and stderr, for a while and no longer.
//!
//! Nothing that it says can stop it: its stderr is read while somebody waits for its stdout. Must not know what it is asked.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStderr, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How much of stderr is kept: the end of it.
const KEPT_BYTES: usize = 4096;

/// How many lines of it a person is shown.
const SHOWN_LINES: usize = 5;

/// The stdout of a child; what it said on stderr is kept beside it.
pub(crate) struct HeardChild {
    stdout: ChildStdout,
    stderr: KeptStderr,
}

/// The stderr of a child, until its end.
struct KeptStderr {
    from: Option<ChildStderr>,
    kept: VecDeque<u8>,
    patience: Duration,
    deadline: Instant,
}

impl HeardChild {
    /// Hears a child for so long.
    pub(crate) fn new(stdout: ChildStdout, stderr: ChildStderr, patience: Duration) -> Self {
        HeardChild {
            stdout,
            stderr: KeptStderr {
                from: Some(stderr),
                kept: VecDeque::new(),
                patience,
                deadline: Instant::now() + patience,
            },
        }
    }

    /// What stderr ended with, once nothing more comes. A child that is to end has to be told so before.
    pub(crate) fn last_lines(mut self) -> String {
        while self.stderr.from.is_some() && self.stderr.wait(None).is_ok() {}
        let kept = Vec::from(self.stderr.kept);
        let kept = String::from_utf8_lossy(&kept);
        let lines: Vec<_> = kept.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Read for HeardChild {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.stderr.wait(Some(self.stdout.as_fd()))? {}
        self.stdout.read(into)
    }
}

impl KeptStderr {
    /// Waits until something has come here or there, and takes what has come here. Whether there is something there.
    fn wait(&mut self, there: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        let here = self.from.as_ref().map(AsFd::as_fd);
        let watched = there.into_iter().chain(here);
        let mut watched: Vec<_> = watched
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut watched, Some(&left)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        let mut came = watched.iter().map(|fd| !fd.revents().is_empty());
        let came_there = there.is_some() && came.next() == Some(true);
        let came_here = came.next() == Some(true);
        if came_here {
            self.take()?;
        }
        // Also for who says something all the time, and never on stdout.
        if !came_there && Instant::now() >= self.deadline {
            let problem = format!("it has not answered within {:?}", self.patience);
            return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
        }
        Ok(came_there)
    }

    fn take(&mut self) -> io::Result<()> {
        let mut bytes = [0; KEPT_BYTES];
        let length = self
            .from
            .as_mut()
            .map_or(Ok(0), |from| from.read(&mut bytes))?;
        if length == 0 {
            self.from = None;
        }
        self.kept.extend(&bytes[..length]);
        let surplus = self.kept.len().saturating_sub(KEPT_BYTES);
        self.kept.drain(..surplus);
        Ok(())
    }
}
