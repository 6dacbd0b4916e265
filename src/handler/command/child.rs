//! One process from its start to its end: fed, listened to, watched, ended.
//!
//! ```text
//! running ──> ending (SIGTERM and SIGCONT, then SIGKILL) ──> ended: reaped, its group dead, what it said last is read
//!    └──────────────────────────────────────────────────────────^
//! ```
//!
//! The worker waits for what the plumbing thread hears, for the cancellation, and for moments that are set, in the time that the process is awake, whichever
//! comes first. Must not know what the output means.

use std::fs::File;
use std::io::{self, Cursor, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, never, select};
use rustix::process::{Signal, WaitIdStatus};

use crate::base::awake;
use crate::base::cancel::CancellationToken;
use crate::base::log;
use crate::handler::command::children::{Children, Group, Look};
use crate::handler::command::launch::Launch;
use crate::handler::command::plumbing::{Feed, Plumbing, ours};

/// How often a command is asked at least whether it has ended or been stopped, which no event tells on every system.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A process with its group and the thread that moves its bytes. Dropped, the group is dead and the thread is joined.
pub(super) struct Child {
    group: Group,
    /// `None` once the plumber has left.
    said: Option<Receiver<(usize, Vec<u8>)>>,
    plumber: Option<JoinHandle<()>>,
    /// Dropped to end the thread, which would otherwise wait for any process that still holds the pipes.
    wake: Option<OwnedFd>,
    looks: Looks,
    deadline: Option<Instant>,
    patience: Patience,
    /// When it will have been silent for too long.
    silent_at: Option<Instant>,
    /// Why it is to end, once it has been asked to.
    cause: Option<Cause>,
    /// When it is killed then; `None` once it has been.
    kill_at: Option<Instant>,
    /// Once the group is dead.
    status: Option<Option<WaitIdStatus>>,
}

/// How long a command may take to do what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To end.
    pub(super) timeout: Option<Duration>,
    /// To say something.
    pub(super) liveness: Option<Duration>,
    /// To end once it has been asked to.
    pub(super) kill_grace: Duration,
}

/// What happens next to a command.
pub(super) enum ChildEvent {
    Said(usize, Vec<u8>),
    /// Nothing, until the moment that was asked for.
    Due,
    /// It has ended with this status, `None` when the kernel has not kept it, and everything it said has been heard. The cause, if we ended it.
    Ended(Option<WaitIdStatus>, Option<Cause>),
}

/// Why a command was ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Cancelled,
    TimedOut,
    /// It had said nothing for too long.
    Silent,
    /// It was stopped by this signal, and nobody continues it.
    Stopped(i32),
}

impl Child {
    /// Starts a command that is fed these bytes, or nothing.
    pub(super) fn start(
        launch: &Launch,
        stdin: Option<Vec<u8>>,
        children: &Arc<Children>,
        patience: Patience,
    ) -> Result<Self, String> {
        let deadline = patience.timeout.map(awake::after);
        let pipes = || Ok((input(stdin)?, output()?, output()?));
        let pipes = pipes().map_err(|error: io::Error| error.to_string())?;
        let ((stdin, fed), (out, stdout), (err, stderr)) = pipes;
        let group = children.start(launch, [&stdin, &stdout, &stderr].map(AsFd::as_fd))?;
        let plumb = || {
            let (woken, wake) = pipe()?;
            let (to, said) = bounded(4);
            let plumbing = Plumbing {
                stdin: fed,
                streams: vec![(0, out), (1, err)],
                woken: woken.into(),
                to,
            };
            let thread = thread::Builder::new().name("mcp-child-pipes".into());
            let plumber = thread.spawn(move || plumbing.run())?;
            Ok((wake.into(), said, plumber))
        };
        let (wake, said, plumber) = plumb().map_err(|error: io::Error| error.to_string())?;
        Ok(Child {
            group,
            said: Some(said),
            plumber: Some(plumber),
            wake: Some(wake),
            looks: Looks::soon(),
            deadline,
            patience,
            silent_at: patience.liveness.map(awake::after),
            cause: None,
            kill_at: None,
            status: None,
        })
    }

    /// Waits for what happens next, at most until `due`.
    pub(super) fn next(&mut self, token: &CancellationToken, due: Option<Instant>) -> ChildEvent {
        loop {
            if let Some(status) = self.status {
                return match self.said.as_ref().map(Receiver::recv) {
                    Some(Ok((stream, bytes))) => ChildEvent::Said(stream, bytes),
                    _ => ChildEvent::Ended(status, self.cause),
                };
            }
            self.judge();
            if self.status.is_some() {
                continue;
            }
            let now = awake::now();
            if due.is_some_and(|due| due <= now) {
                return ChildEvent::Due;
            }
            let limits =
                [self.deadline, self.silent_at].map(|limit| limit.filter(|_| self.cause.is_none()));
            let moments = [due, self.kill_at].into_iter().chain(limits).flatten();
            let next = moments.fold(self.looks.at, Instant::min);
            let wait = next.saturating_duration_since(now);
            let (gone, silent) = (never(), never());
            let cancelled = if self.cause.is_none() {
                token.channel()
            } else {
                &gone
            };
            select! {
                recv(self.said.as_ref().unwrap_or(&silent)) -> said => match said {
                    Ok((stream, bytes)) => {
                        self.silent_at = self.patience.liveness.map(awake::after);
                        return ChildEvent::Said(stream, bytes);
                    }
                    // Everything is closed: mostly it has ended.
                    Err(_) => (self.said, self.looks) = (None, Looks::soon()),
                },
                recv(cancelled) -> _ => self.end(Cause::Cancelled),
                default(wait) => {}
            }
        }
    }

    /// Acts on what has become of it and on the moments that have come.
    fn judge(&mut self) {
        let now = awake::now();
        if self.looks.are_due(now) {
            match self.group.look() {
                Look::Ended => return self.finish(),
                Look::Stopped(signal) if self.cause.is_none() => self.end(Cause::Stopped(signal)),
                Look::Stopped(_) | Look::Running => {}
            }
        }
        // Heard first, for who listens may be late.
        let is_unheard = self.said.as_ref().is_some_and(|said| !said.is_empty());
        for (limit, cause) in [
            (self.deadline, Cause::TimedOut),
            (self.silent_at.filter(|_| !is_unheard), Cause::Silent),
        ] {
            if self.cause.is_none() && limit.is_some_and(|limit| limit <= now) {
                self.end(cause);
            }
        }
        if self.kill_at.is_some_and(|kill_at| kill_at <= now) {
            self.kill_at = None;
            self.group.signal(Signal::KILL);
        }
    }

    /// Asks the group to end; one that is stopped is continued, because it would not hear it otherwise.
    fn end(&mut self, cause: Cause) {
        self.cause = Some(cause);
        self.kill_at = Some(awake::after(self.patience.kill_grace));
        self.group.signal(Signal::TERM);
        self.group.signal(Signal::CONT);
    }

    /// The leader has ended: ends the rest, and has the plumber read what is left.
    fn finish(&mut self) {
        self.status = Some(self.group.reap());
        self.wake = None;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.group.reap();
        // The thread waits for the pipes, for its waker, or for somebody to listen; the last two end here.
        self.wake = None;
        self.said = None;
        if let Some(plumber) = self.plumber.take()
            && plumber.join().is_err()
        {
            log::error!("a thread that moved a command's bytes panicked");
        }
    }
}

/// What the command reads from, and what is to be written to the other end.
fn input(bytes: Option<Vec<u8>>) -> io::Result<(OwnedFd, Option<Feed>)> {
    let Some(bytes) = bytes else {
        return Ok((File::open("/dev/null")?.into(), None));
    };
    let (read, write) = pipe()?;
    let feed = (ours(write.into())?, Cursor::new(bytes));
    Ok((read.into(), Some(feed)))
}

/// What is read of the command, and what it writes to.
fn output() -> io::Result<(File, OwnedFd)> {
    let (read, write) = pipe()?;
    Ok((ours(read.into())?, write.into()))
}

/// When the leader is asked what it does. Pauses grow, so that the end of a short command is noticed at once and a long one costs nothing.
struct Looks {
    at: Instant,
    pause: Duration,
}

impl Looks {
    fn soon() -> Self {
        Looks {
            at: awake::now(),
            pause: LOOK_INTERVAL / 512,
        }
    }

    fn are_due(&mut self, now: Instant) -> bool {
        let are_due = self.at <= now;
        if are_due {
            self.at = now + self.pause;
            self.pause = (self.pause * 2).min(LOOK_INTERVAL);
        }
        are_due
    }
}
