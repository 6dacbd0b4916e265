//! The process's own stdin and stdout, taken out of everyone's reach.
//!
//! The protocol gets private descriptors. What was stdin becomes `/dev/null`, so that no child can eat a request. What was stdout becomes a pipe
//! that a thread empties to stderr, so that a stray `println!` or a chatty child can neither corrupt an answer nor, when nobody reads stderr,
//! stand still for ever. Must not know messages.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::PIPE_BUF;
use rustix::stdio;

use crate::base::log;
use crate::base::passing::until_passed;
use crate::base::send::{AT_ONCE, prepare_at_once};
use crate::base::stderr::{self, LossyStderr};
use crate::transport::pipe::{Ears, WriteNow};

/// The protocol's own ends.
pub(crate) struct Stdio {
    pub(crate) read: Input,
    pub(crate) write: ProtocolOutput,
    pub(crate) ears: Option<Ears>,
}

/// Reads from stdin until its end, or until it is woken.
pub(crate) struct Input {
    input: File,
    woken: PipeReader,
}

/// Writes to stdout, and waits for room where the launcher has left it in non-blocking mode.
pub(crate) struct ProtocolOutput(File);

/// The lowest number a private descriptor may get: above the three standard ones.
const ABOVE_STANDARD: i32 = 3;

/// Moves stdin and stdout away. From then on the process's descriptor 0 is `/dev/null` and its descriptor 1 leads to stderr.
pub(crate) fn take() -> io::Result<Stdio> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        let why = "they have been taken over already, and have one client";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    // What fails takes nothing, and so may be tried again.
    take_over().inspect_err(|_| TAKEN.store(false, Ordering::Release))
}

/// Makes everything first for which descriptors or a thread may be wanting.
fn take_over() -> io::Result<Stdio> {
    let input = fcntl_dupfd_cloexec(stdio::stdin(), ABOVE_STANDARD)?;
    let output = fcntl_dupfd_cloexec(stdio::stdout(), ABOVE_STANDARD)?;
    let watched = output.try_clone()?;
    let (woken, wake) = pipe()?;
    let still_woken = woken.try_clone()?;
    let null = File::open("/dev/null")?;
    let write_now = write_now(output.try_clone()?);
    let stray = Stray::redirect()?;
    stdio::dup2_stdin(&null)?;
    let ears = Ears {
        write_now,
        wake: Box::new((wake, stray)),
        gone: Box::new(move || nobody_reads(&watched, &still_woken)),
    };
    Ok(Stdio {
        read: Input {
            input: input.into(),
            woken,
        },
        write: ProtocolOutput(output.into()),
        ears: Some(ears),
    })
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut watched = [
                PollFd::new(&self.input, PollFlags::IN),
                PollFd::new(&self.woken, PollFlags::IN),
            ];
            wait(&mut watched)?;
            if !watched[1].revents().is_empty() {
                return Ok(0);
            }
            match self.input.read(buffer) {
                // In non-blocking mode, and somebody else has read it first.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

impl Write for ProtocolOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&mut [PollFd::new(&self.0, PollFlags::OUT)])?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a line is written without waiting: a pipe that has room takes one of up to `PIPE_BUF` bytes whole; a socket takes what it has room for. Elsewhere,
/// as on a terminal, nobody can promise that a write does not wait.
fn write_now(output: OwnedFd) -> Option<WriteNow> {
    match FileType::from_raw_mode(fstat(&output).ok()?.st_mode) {
        FileType::Fifo => Some(Box::new(move |line| {
            let mut watched = [PollFd::new(&output, PollFlags::OUT)];
            poll(&mut watched, Some(&Timespec::default()))?;
            let has_room = watched[0].revents() == PollFlags::OUT && line.len() <= PIPE_BUF;
            Ok(match has_room {
                true => rustix::io::write(&output, line)?,
                false => 0,
            })
        })),
        FileType::Socket => {
            prepare_at_once(&output);
            Some(Box::new(move |line| {
                Ok(rustix::net::send(&output, line, AT_ONCE)?)
            }))
        }
        _ => None,
    }
}

/// Waits until nobody can read `output` any more: an error on a pipe, a hang-up on a socket or a terminal. False when `woken` before.
///
/// That is told unasked, but on macOS only of a pipe and to those who ask; of a socket it would tell when only the other direction has ended.
fn nobody_reads(output: &OwnedFd, woken: &PipeReader) -> bool {
    let ends = match fstat(output).map(|file| FileType::from_raw_mode(file.st_mode)) {
        Ok(FileType::Fifo) => PollFlags::HUP,
        _ => PollFlags::empty(),
    };
    let mut watched = [PollFd::new(output, ends), PollFd::new(woken, PollFlags::IN)];
    wait(&mut watched).is_ok() && watched[1].revents().is_empty()
}

fn wait(watched: &mut [PollFd<'_>]) -> io::Result<()> {
    Ok(until_passed(|| poll(watched, None)).map(drop)?)
}

/// What the process and its children print to stdout, on its way to stderr. Dropped, it carries over what is there, and stdout is stderr.
struct Stray {
    /// Dropped to end the thread.
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Stray {
    /// Makes the process's descriptor 1 lead through a thread.
    fn redirect() -> io::Result<Self> {
        let (printed, print) = pipe()?;
        let (woken, wake) = pipe()?;
        let to = stderr::stderr();
        let thread = thread::Builder::new()
            .name("mcp-stdout".into())
            .spawn(move || carry(printed, &woken, to))?;
        stdio::dup2_stdout(&print)?;
        Ok(Stray {
            wake: Some(wake),
            thread: Some(thread),
        })
    }
}

/// The thread that carries it. What stderr has no room for is dropped there.
fn carry(mut printed: PipeReader, woken: &PipeReader, mut to: LossyStderr) {
    let mut buffer = [0; 16 * 1024];
    // Woken, it takes what a pipe holds, and no more: a child may go on for ever.
    let mut reads_left = 64 * 1024 / buffer.len();
    loop {
        let mut watched = [
            PollFd::new(&printed, PollFlags::IN),
            PollFd::new(woken, PollFlags::IN),
        ];
        let waited = wait(&mut watched);
        if waited.is_err() || watched[0].revents().is_empty() {
            return;
        }
        if !watched[1].revents().is_empty() {
            if reads_left == 0 {
                return;
            }
            reads_left -= 1;
        }
        match printed.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let _never_fails = to.write_all(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        // Nobody empties it any more, so that it must lead somewhere else.
        if let Err(error) = stdio::dup2_stdout(stdio::stderr()) {
            log::error!("stdout cannot be led to stderr: {error}");
        }
        drop(self.wake.take());
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            log::error!("the thread of stray output ended by panicking");
        }
    }
}
