//! Running a child process from a handler: no shell, no inherited pipes, killed as a group, bounded in what it may say.
//!
//! The one room that starts processes. Two threads a child read its output; the worker waits for output, the child's end or the cancellation,
//! whichever comes first. Must not know tools or dispatch.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, after, bounded, select};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::cancel::CancellationToken;
use crate::handler::context::RequestContext;
use crate::handler::result::ToolError;

/// A command to run inside a handler.
///
/// It is an argument list, never a shell line, so nothing a model says can be spliced into a command. The child reads from `/dev/null`, leads its
/// own process group, and that whole group is killed when the call is cancelled or the child has ended. Each line of output
/// is reported as progress.
///
/// ```
/// use mcp_threads::{RequestContext, RunCommand, ToolError};
/// fn list(cx: &mut RequestContext, path: String) -> Result<String, ToolError> {
///     Ok(RunCommand::new("ls").args(["-l", "--", &path]).run(cx)?.stdout)
/// }
/// ```
#[derive(Debug)]
pub struct RunCommand {
    command: Command,
    output_bytes_max: usize,
    kill_grace: Duration,
}

/// How a command ended and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandOutput {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The beginning of its standard output, with bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// The beginning of its standard error, likewise.
    pub stderr: String,
    /// Whether it said more than was kept.
    pub truncated: bool,
}

impl RunCommand {
    /// A command by its program's name or path, with no arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        RunCommand {
            command: Command::new(program),
            output_bytes_max: 64 * 1024,
            kill_grace: Duration::from_secs(1),
        }
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// The directory it runs in.
    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// How many bytes of each stream are kept. Default 64 KiB; the rest is read and dropped.
    #[must_use]
    pub fn output_bytes_max(mut self, bytes: usize) -> Self {
        self.output_bytes_max = bytes;
        self
    }

    /// How long a killed group may take after `SIGTERM` before `SIGKILL`. Default 1 s.
    #[must_use]
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.kill_grace = grace;
        self
    }

    /// Runs it to its end, on the caller's thread.
    ///
    /// # Errors
    ///
    /// When it cannot be started, and when the call is cancelled; the group is dead by then.
    pub fn run<S>(mut self, cx: &mut RequestContext<S>) -> Result<CommandOutput, ToolError> {
        let program = self.command.get_program().to_string_lossy().into_owned();
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = self
            .command
            .spawn()
            .map_err(|error| ToolError::new(format!("Cannot run `{program}`: {error}")))?;
        let mut group = Group::adopt(child, self.kill_grace)?;
        let mut kept = Kept::new(self.output_bytes_max);
        let token = cx.cancellation().clone();
        let ended = group.follow(&token, |stream, bytes| {
            if let Some(line) = kept.add(stream, bytes) {
                cx.progress((kept.lines as f64, f64::INFINITY, line));
            }
        });
        let status = ended?;
        if cx.cancelled() {
            return Err(crate::handler::context::Cancelled.into());
        }
        Ok(kept.finish(status))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// A child with its process group and the threads that read from it. Dropped, the group is dead and the threads are joined.
struct Group {
    child: Child,
    pid: Pid,
    output: Receiver<(Stream, Vec<u8>)>,
    threads: Vec<JoinHandle<()>>,
    kill_grace: Duration,
    status: Option<ExitStatus>,
}

impl Group {
    fn adopt(mut child: Child, kill_grace: Duration) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (sender, output) = bounded(16);
        let mut group = Group {
            child,
            pid,
            output,
            threads: Vec::new(),
            kill_grace,
            status: None,
        };
        if let Some(stdout) = stdout {
            group
                .threads
                .push(pump(Stream::Out, stdout, sender.clone())?);
        }
        if let Some(stderr) = stderr {
            group.threads.push(pump(Stream::Err, stderr, sender)?);
        }
        Ok(group)
    }

    /// Hands on what it says until it has ended, or is killed because of the cancellation.
    fn follow(
        &mut self,
        token: &CancellationToken,
        mut say: impl FnMut(Stream, &[u8]),
    ) -> io::Result<ExitStatus> {
        let mut silent = Pause::new();
        loop {
            // The standard library cannot wait for a child and anything else at once, so the child is asked whenever it has been quiet for a moment.
            select! {
                recv(self.output) -> said => match said {
                    Ok((stream, bytes)) => {
                        say(stream, &bytes);
                        continue;
                    }
                    Err(_) => return self.wait(token),
                },
                recv(token.channel()) -> _ => self.kill(),
                recv(after(silent.next())) -> _ => {}
            }
            if let Some(status) = self.try_wait()? {
                self.end_the_rest(&mut say);
                return Ok(status);
            }
        }
    }

    /// Both streams are closed; only the end is missing.
    fn wait(&mut self, token: &CancellationToken) -> io::Result<ExitStatus> {
        let mut pause = Pause::new();
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if token.wait(pause.next()) {
                self.kill();
            }
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// The child has ended, but something it started may still hold the pipes: it is killed, and what was said is read out.
    fn end_the_rest(&mut self, say: &mut impl FnMut(Stream, &[u8])) {
        const QUIET: Duration = Duration::from_millis(20);
        let mut killed = false;
        loop {
            match self.output.recv_timeout(QUIET) {
                Ok((stream, bytes)) => say(stream, &bytes),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) if killed => return,
                Err(RecvTimeoutError::Timeout) => {
                    self.signal(Signal::KILL);
                    killed = true;
                }
            }
        }
    }

    /// Asks the group to end, and makes it when the grace has passed.
    fn kill(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + self.kill_grace;
        let mut pause = Pause::new();
        while Instant::now() < deadline {
            match self.try_wait() {
                Ok(None) => thread::sleep(pause.next()),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        self.signal(Signal::KILL);
    }

    /// Signals the whole group. After the leader has been reaped its number still names the group as long as a member lives.
    fn signal(&self, signal: Signal) {
        if let Err(errno) = kill_process_group(self.pid, signal) {
            log::trace!("signalling a group that has gone: {errno}");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if self.status.is_none()
            && let Err(error) = self.child.wait()
        {
            log::warn!("waiting for a killed child failed: {error}");
        }
        // A reader that waits to hand something on ends when nobody listens.
        self.output = crossbeam_channel::never();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread that read a child's output panicked");
            }
        }
    }
}

/// Starts the thread that reads one stream of a child.
fn pump(
    stream: Stream,
    mut from: impl Read + Send + 'static,
    to: Sender<(Stream, Vec<u8>)>,
) -> io::Result<JoinHandle<()>> {
    let read = move || {
        let mut buffer = [0; 8 * 1024];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            if to.send((stream, buffer[..size].to_vec())).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("mcp-child-output".into())
        .spawn(read)
}

/// Waits that grow from 1 to 50 ms, so that a short command is noticed at once and a long one costs nothing.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Pause(Duration::from_millis(1))
    }

    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Duration::from_millis(50));
        now
    }
}

/// What is kept of the output.
struct Kept {
    bytes_max: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
    lines: u64,
}

impl Kept {
    fn new(bytes_max: usize) -> Self {
        Kept {
            bytes_max,
            stdout: Vec::new(),
            stderr: Vec::new(),
            truncated: false,
            lines: 0,
        }
    }

    /// Keeps what fits. Gives back the last line of this piece, to be reported.
    fn add(&mut self, stream: Stream, bytes: &[u8]) -> Option<String> {
        let kept = match stream {
            Stream::Out => &mut self.stdout,
            Stream::Err => &mut self.stderr,
        };
        let room = self.bytes_max - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.truncated |= bytes.len() > room;
        let line = bytes
            .rsplit(|byte| *byte == b'\n')
            .find(|line| !line.is_empty())?;
        self.lines += 1;
        Some(String::from_utf8_lossy(&line[..line.len().min(1024)]).into_owned())
    }

    fn finish(self, status: ExitStatus) -> CommandOutput {
        CommandOutput {
            code: status.code(),
            signal: status.signal(),
            stdout: String::from_utf8_lossy(&self.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
            truncated: self.truncated,
        }
    }
}
