//! Running a child process from a handler: no shell, no inherited pipes, killed as a group, bounded in what it may say.
//!
//! The one room that starts processes. One thread a child reads its output; the worker waits for output, the child's end or the cancellation,
//! whichever comes first. Must not know tools or dispatch.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::base::cancel::CancellationToken;
use crate::base::deadline;
use crate::handler::context::{Cancelled, Progress, RequestContext};
use crate::handler::result::ToolError;

/// A child process to run inside a handler. Unix only.
///
/// It takes a list of arguments and no shell line, so nothing that a model writes can become a second command. The child reads from `/dev/null`
/// and has its own process group. When the call is cancelled, the whole group gets `SIGTERM` and later `SIGKILL`; when the child has ended,
/// what is left of its group is killed. While it runs, the latest line of its output is reported as progress.
///
/// ```
/// use mcp_threads::{RequestContext, RunCommand, ToolError};
///
/// #[derive(serde::Deserialize, mcp_threads::schemars::JsonSchema)]
/// #[schemars(crate = "mcp_threads::schemars")]
/// struct List { path: String }
///
/// fn list(cx: &mut RequestContext, args: List) -> Result<String, ToolError> {
///     let output = RunCommand::new("ls").args(["-l", "--", &args.path]).run(cx)?;
///     match output.code {
///         Some(0) => Ok(output.stdout),
///         _ => Err(ToolError::new(output.stderr)),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct RunCommand {
    command: Command,
    output_bytes_max: usize,
    kill_grace: Duration,
}

/// How a command ended, and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandOutput {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The beginning of its standard output, with bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// The beginning of its standard error, with bytes that are not UTF-8 replaced.
    pub stderr: String,
    /// Whether stdout or stderr was longer than what was kept; see [`RunCommand::output_bytes_max`].
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

    /// One more environment variable. The others are inherited from the server.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// How many bytes of stdout and of stderr are kept. Default 64 KiB each; the rest is read and dropped.
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

    /// Runs it to its end, on the caller's thread. A command that fails is no error here: look at [`CommandOutput::code`].
    ///
    /// # Errors
    ///
    /// When it cannot be started, and when the call is cancelled; the process group has been killed by then.
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
                cx.progress(Progress::new(kept.lines as f64).message(line));
            }
        });
        let status = ended?;
        if cx.cancelled() {
            return Err(Cancelled.into());
        }
        Ok(kept.finish(status))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// A child with its process group and the thread that reads from it. Dropped, the group is dead and the thread is joined.
struct Group {
    child: Child,
    pid: Pid,
    output: Receiver<(Stream, Vec<u8>)>,
    reader: Option<JoinHandle<()>>,
    /// Dropped to end the reader, which would otherwise wait for whoever still holds the pipes.
    wake: Option<OwnedFd>,
    kill_grace: Duration,
    status: Option<ExitStatus>,
}

impl Group {
    fn adopt(mut child: Child, kill_grace: Duration) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        let (sender, output) = bounded(16);
        let stdout = child
            .stdout
            .take()
            .map(|pipe| (Stream::Out, File::from(OwnedFd::from(pipe))));
        let stderr = child
            .stderr
            .take()
            .map(|pipe| (Stream::Err, File::from(OwnedFd::from(pipe))));
        let streams = stdout.into_iter().chain(stderr).collect();
        let mut group = Group {
            child,
            pid,
            output,
            reader: None,
            wake: None,
            kill_grace,
            status: None,
        };
        let (woken, wake) = pipe_with(PipeFlags::CLOEXEC)?;
        group.wake = Some(wake);
        let read = move || read_output(streams, &woken, &sender);
        let name = "mcp-child-output".into();
        group.reader = Some(thread::Builder::new().name(name).spawn(read)?);
        Ok(group)
    }

    /// Hands on what it says until it has ended, or is killed because of the cancellation.
    fn follow(
        &mut self,
        token: &CancellationToken,
        mut say: impl FnMut(Stream, &[u8]),
    ) -> io::Result<ExitStatus> {
        let mut pause = Pause::new();
        let mut closed = false;
        loop {
            // The standard library cannot wait for a child and anything else at once, so the child is asked now and then, most
            // often when it is young.
            let output = if closed {
                &crossbeam_channel::never()
            } else {
                &self.output
            };
            select! {
                recv(output) -> said => match said {
                    Ok((stream, bytes)) => say(stream, &bytes),
                    Err(_) => closed = true,
                },
                recv(token.channel()) -> _ => self.kill(),
                recv(after(pause.next())) -> _ => {}
            }
            if self.has_ended()? {
                let status = self.reap()?;
                self.read_out(&mut say);
                return Ok(status);
            }
        }
    }

    /// Whether the child itself has ended. It is not reaped, so that its number still names its group.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(self.status.is_some() || waitid(WaitId::Pid(self.pid), options)?.is_some())
    }

    /// Kills what is left of the group, and takes the child's status.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        self.signal(Signal::KILL);
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    /// Hands on what was said before the end. Something that has left the group may hold the pipes open, and is not waited for.
    fn read_out(&mut self, say: &mut impl FnMut(Stream, &[u8])) {
        let deadline = Instant::now() + Duration::from_millis(200);
        while let Ok((stream, bytes)) = self.output.recv_deadline(deadline) {
            say(stream, &bytes);
        }
    }

    /// Asks the group to end, and makes it when the grace has passed.
    fn kill(&mut self) {
        self.signal(Signal::TERM);
        let deadline = deadline::after(self.kill_grace);
        let mut pause = Pause::new();
        while Instant::now() < deadline && matches!(self.has_ended(), Ok(false)) {
            thread::sleep(pause.next());
        }
        self.signal(Signal::KILL);
    }

    /// Signals the whole group. Only before the child is reaped, because its number may be another's afterwards.
    fn signal(&self, signal: Signal) {
        if self.status.is_none()
            && let Err(errno) = kill_process_group(self.pid, signal)
        {
            log::trace!("signalling a group that has gone: {errno}");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.reap() {
            log::warn!("waiting for a killed child failed: {error}");
        }
        // The reader waits for the pipes, for its waker, or for somebody to listen; the last two end here.
        self.wake = None;
        self.output = crossbeam_channel::never();
        if let Some(reader) = self.reader.take()
            && reader.join().is_err()
        {
            log::error!("a thread that read a child's output panicked");
        }
    }
}

/// The thread that reads what a child says, until all its streams are closed or it is woken.
fn read_output(mut streams: Vec<(Stream, File)>, woken: &OwnedFd, to: &Sender<(Stream, Vec<u8>)>) {
    let mut buffer = [0; 8 * 1024];
    while !streams.is_empty() {
        let mut watched: Vec<_> = streams
            .iter()
            .map(|(_, file)| PollFd::new(file, PollFlags::IN))
            .collect();
        watched.push(PollFd::new(woken, PollFlags::IN));
        match poll(&mut watched, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let ready: Vec<_> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.last() == Some(&true) {
            return;
        }
        let mut closed = None;
        for (index, (stream, file)) in streams.iter_mut().enumerate() {
            if !ready[index] {
                continue;
            }
            match file.read(&mut buffer) {
                Ok(size @ 1..) => {
                    if to.send((*stream, buffer[..size].to_vec())).is_err() {
                        return;
                    }
                }
                _ => closed = Some(index),
            }
        }
        if let Some(closed) = closed {
            streams.remove(closed);
        }
    }
}

/// Waits that grow from 1 to 50 ms, so that the end of a short command is noticed at once and a long one costs nothing.
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
