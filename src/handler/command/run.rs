//! [`RunCommand`], what a handler writes to run a program, and how that ends.
//!
//! Must not know how a process is started, watched or ended.

use std::ffi::OsStr;
use std::fmt;
use std::panic::Location;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitIdStatus};

use crate::base::pulse;
use crate::base::setters::setters;
use crate::handler::command::child::{Cause, Child, ChildEvent, Patience};
use crate::handler::command::kept::Kept;
use crate::handler::command::launch::{Launch, why_not_started};
use crate::handler::command::lines::LineCutter;
use crate::handler::context::RequestContext;
use crate::handler::progress::Progress;

/// A child process to run inside a handler. Unix only.
///
/// It takes a list of arguments and no shell line, so nothing that a model writes can become a second command. By default the child reads from
/// `/dev/null`. It inherits no descriptor of the server's, and runs in a session of its own without a terminal, so that a program which asks for a
/// password fails at once. When the call is cancelled, when its [`timeout`](Self::timeout) or [`liveness`](Self::liveness) has passed, or when it has been
/// stopped (`SIGSTOP` and its like), its whole process group gets `SIGTERM` and later `SIGKILL` (a program that it waits for and that is stopped is only
/// noticed as silence, so by `liveness` or `timeout`); when the child has ended, what is left of its group is killed, and when the
/// server ends, even by `SIGKILL`, so are the groups of all commands. Only what has left its group on purpose, a daemon, lives on; and all of them, if somebody kills
/// the server's one process that watches for that, and within a second the server.
/// While it runs, the lines of its output are reported as progress.
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
///     if output.success() {
///         Ok(output.stdout)
///     } else {
///         Err(ToolError::new(output.text()))
///     }
/// }
/// ```
///
/// # Systems
///
/// On Linux and macOS (since 10.15) a command has a session of its own; on other systems a process group of its own, which keeps the server's terminal: a command
/// that asks for a password there is stopped by the kernel, and then ended as any stopped command is.
///
/// The groups are ended after the server's own sudden death by a small shell that is started with the server's first command and runs as long as the
/// server. Without `/bin/sh` there is none, and a warning in the log.
///
/// If the process was started with `SIGCHLD` ignored, the kernel does not tell how a child ended: [`CommandOutput::code`] and
/// [`signal`](CommandOutput::signal) are then both `None`, and what a child leaves behind in its group is not killed, since the group's number may be
/// somebody else's by then.
#[derive(Debug)]
pub struct RunCommand {
    launch: Launch,
    stdin: Option<Vec<u8>>,
    patience: Patience,
    output_bytes_max: usize,
}

/// How a command ended, and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandOutput {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its standard output, with bytes that are not UTF-8 replaced. Of a long one the beginning and the end, and between them a line that says how
    /// many bytes were left out; see [`RunCommand::output_bytes_max`].
    pub stdout: String,
    /// Its standard error, in the same way.
    pub stderr: String,
    /// Whether something was left out of stdout or stderr.
    pub truncated: bool,
    /// How many bytes were left out of stdout.
    pub stdout_left_out: u64,
    /// How many bytes were left out of stderr.
    pub stderr_left_out: u64,
    /// How long it ran.
    pub duration: Duration,
    /// The bytes of stdout that are kept, where they are not text.
    raw: Option<Vec<u8>>,
}

impl CommandOutput {
    /// Whether it ended by itself with exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Its standard output as bytes, such as those of an image. Of a long one, what [`stdout`](Self::stdout) has.
    pub fn stdout_bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.stdout.as_bytes())
    }

    /// What a person at a terminal would have seen: stdout, then stderr.
    pub fn text(&self) -> String {
        let (stdout, stderr) = (&self.stdout, &self.stderr);
        let between = if stdout.is_empty() || stderr.is_empty() || stdout.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        format!("{stdout}{between}{stderr}")
    }
}

/// Why a command did not come to its own end. `?` makes a [`ToolError`](crate::ToolError) of it, with the same sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// It could not be started. The sentence names the culprit: the program and where it was looked for, its interpreter, the directory.
    NotStarted(String),
    /// The call was cancelled.
    Cancelled,
    /// Its [`timeout`](RunCommand::timeout) had passed.
    TimedOut {
        /// The program, as it was named.
        program: String,
        /// What it had said.
        output: Box<CommandOutput>,
    },
    /// It had said nothing for longer than its [`liveness`](RunCommand::liveness).
    Silent {
        /// The program, as it was named.
        program: String,
        /// What it had said.
        output: Box<CommandOutput>,
    },
    /// It was stopped (by `SIGSTOP`, or because it wanted the terminal), so that it would never have ended.
    Stopped {
        /// The program, as it was named.
        program: String,
        /// The signal that stopped it.
        signal: i32,
        /// What it had said.
        output: Box<CommandOutput>,
    },
}

impl CommandError {
    /// What it had said, if it ran.
    #[cfg(feature = "scripts")]
    pub(crate) fn output_mut(&mut self) -> Option<&mut CommandOutput> {
        match self {
            CommandError::TimedOut { output, .. }
            | CommandError::Silent { output, .. }
            | CommandError::Stopped { output, .. } => Some(output),
            CommandError::NotStarted(_) | CommandError::Cancelled => None,
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, why, output) = match self {
            CommandError::NotStarted(problem) => return f.write_str(problem),
            CommandError::Cancelled => return f.write_str("the call was cancelled"),
            CommandError::TimedOut { program, output } => {
                let why = format!("it had not come to its end after {:.1?}", output.duration);
                (program, why, output)
            }
            CommandError::Silent { program, output } => (
                program,
                "it had been silent for too long".to_owned(),
                output,
            ),
            CommandError::Stopped {
                program,
                signal,
                output,
            } => (program, stopped_by(*signal), output),
        };
        write!(f, "`{program}` was ended, because {why}. ")?;
        // The end of what it said often says more.
        let said = output.text();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        match last {
            Some(last) => write!(f, "The last it said: {}", last.trim_end()),
            None => f.write_str("It had said nothing"),
        }
    }
}

fn stopped_by(signal: i32) -> String {
    let wanted = match [Signal::TTIN, Signal::TTOU]
        .map(Signal::as_raw)
        .contains(&signal)
    {
        true => ": it wanted to talk to a person at a terminal, and it has none",
        false => "",
    };
    format!("it was stopped by signal {signal}{wanted}")
}

impl std::error::Error for CommandError {}

impl RunCommand {
    /// A command by its program's name or path, with no arguments. A name without a slash is looked for in the `PATH` of the command's environment;
    /// a path is one from the directory in which the command will run.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        RunCommand {
            launch: Launch {
                program: program.as_ref().to_owned(),
                ..Launch::default()
            },
            stdin: None,
            patience: Patience {
                timeout: None,
                liveness: None,
                kill_grace: Duration::from_secs(1),
            },
            output_bytes_max: 64 * 1024,
        }
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.launch.args.extend(args);
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    setters! {
        /// The directory it runs in. Default: the server's own. A command with another one is started through `/bin/sh`, which does nothing but change the
        /// directory; it passes on no environment variable whose name a shell could not read, takes `OLDPWD` out, and adds `PWD` and, depending on the
        /// shell, variables of its own such as `SHLVL`.
        directory(directory: impl AsRef<Path>) => launch.directory = Some(directory.as_ref().to_owned());

        /// One more environment variable. The others are inherited from the server.
        env(name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) => launch.env.push((name.as_ref().into(), value.as_ref().into()));

        /// Inherits no environment variable from the server; only those set with [`env`](Self::env) are there, and what [`directory`](Self::directory)
        /// adds. Without a `PATH` among them the program is looked for in the server's.
        env_clear() => launch.clear_env = true;

        /// What it reads from its standard input, which ends there. Default: nothing, from `/dev/null`.
        stdin(bytes: impl Into<Vec<u8>>) => stdin = Some(bytes.into());

        /// How long it may run before its group is ended, with [`CommandError::TimedOut`]. Default: as long as it likes.
        timeout(longest: Duration) => patience.timeout = Some(longest);

        /// How long it may say nothing before its group is ended, with [`CommandError::Silent`]. Default: as long as it likes, within the
        /// [`Tool::liveness`](crate::Tool::liveness) of its tool, whose client is not told what it had said.
        liveness(longest_silence: Duration) => patience.liveness = Some(longest_silence);

        /// How many bytes of stdout and of stderr are kept, half of them from the beginning and half from the end. Default 64 KiB each; the middle is read
        /// and dropped.
        output_bytes_max(bytes: usize) => output_bytes_max = bytes;

        /// How long a group may take to end after `SIGTERM` before `SIGKILL`. Default 1 s.
        kill_grace(grace: Duration) => patience.kill_grace = grace;
    }

    /// Runs it to its end, on the caller's thread, and reports the lines of its output as progress: whole ones, without terminal escapes, and one that
    /// has not ended when it is 100 ms old. `\r` ends a line as well. Of a flood of lines the newest are
    /// reported. In a background job, whose client looks now and then, each report has the last lines together.
    ///
    /// A command that fails is no error here: look at [`CommandOutput::success`].
    ///
    /// # Errors
    ///
    /// When it cannot be started, and when it was ended before its own end; its process group is dead by then.
    #[track_caller]
    pub fn run<S>(self, cx: &mut RequestContext<S>) -> Result<CommandOutput, CommandError> {
        let (mut count, mut shown) = (0.0, String::new());
        self.run_with(cx, |cx, line| {
            count += 1.0;
            match cx.control().job().is_some() {
                true => show_at_end(&mut shown, line),
                false => line.clone_into(&mut shown),
            }
            cx.report(Progress::new(count).message(shown.as_str()));
        })
    }

    /// The same with a function that is given each line in place of the progress.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn run_with<S>(
        self,
        cx: &mut RequestContext<S>,
        mut on_line: impl FnMut(&mut RequestContext<S>, &str),
    ) -> Result<CommandOutput, CommandError> {
        let place = Location::caller();
        let program = self.launch.program.to_string_lossy().into_owned();
        let not_started =
            |problem| CommandError::NotStarted(format!("Cannot run `{program}`: {problem}"));
        let started = Instant::now();
        let children = cx.control().children();
        let child = Child::start(&self.launch, self.stdin, children, self.patience);
        let mut child = child.map_err(not_started)?;
        let mut heard = [(); 2].map(|()| (LineCutter::default(), Kept::new(self.output_bytes_max)));
        let (status, cause) = listen(&mut child, cx, &mut heard, place, &mut on_line);
        let output = Box::new(CommandOutput::of(heard, status, started.elapsed()));
        match cause {
            _ if cx.cancelled() => Err(CommandError::Cancelled),
            None => match why_not_started(&output.stderr) {
                Some(problem) => Err(not_started(problem)),
                None => Ok(*output),
            },
            Some(Cause::Cancelled) => Err(CommandError::Cancelled),
            Some(Cause::TimedOut) => Err(CommandError::TimedOut { program, output }),
            Some(Cause::Silent) => Err(CommandError::Silent { program, output }),
            Some(Cause::Stopped(signal)) => Err(CommandError::Stopped {
                program,
                signal,
                output,
            }),
        }
    }
}

/// Listens until the command has ended: with which status, and why if it was ended.
fn listen<S>(
    child: &mut Child,
    cx: &mut RequestContext<S>,
    heard: &mut [HeardStream; 2],
    place: &'static Location<'static>,
    on_line: &mut impl FnMut(&mut RequestContext<S>, &str),
) -> (Option<WaitIdStatus>, Option<Cause>) {
    let token = cx.cancellation().clone();
    loop {
        let due = heard.iter().filter_map(|(lines, _)| lines.due()).min();
        match child.next(&token, due) {
            ChildEvent::Said(stream, bytes) => {
                cx.beat(pulse::OUTPUT, place);
                let (lines, kept) = &mut heard[stream];
                kept.add(&bytes);
                lines.feed(&bytes, |line| on_line(cx, line));
            }
            ChildEvent::Due => heard.iter_mut().for_each(|(lines, _)| {
                lines.show_unfinished(|line| on_line(cx, line));
            }),
            ChildEvent::Ended(status, cause) => {
                heard.iter_mut().for_each(|(lines, _)| {
                    lines.show_rest(|line| on_line(cx, line));
                });
                return (status, cause);
            }
        }
    }
}

/// Adds a line to the last lines of an output, of which the oldest go where there are too many.
fn show_at_end(shown: &mut String, line: &str) {
    const LINES: usize = 10;
    const BYTES: usize = 1000;
    if !shown.is_empty() {
        shown.push('\n');
    }
    shown.push_str(line);
    while shown.len() > BYTES || shown.matches('\n').count() >= LINES {
        match shown.find('\n') {
            Some(end) => drop(shown.drain(..=end)),
            None => break,
        }
    }
}

/// What has been heard of one stream of a command: as lines to be shown, and as bytes to be kept.
type HeardStream = (LineCutter, Kept);

impl CommandOutput {
    fn of(streams: [HeardStream; 2], status: Option<WaitIdStatus>, duration: Duration) -> Self {
        let [stdout, stderr] = streams.map(|(_, kept)| kept);
        let raw = stdout.bytes_that_are_no_text();
        let (stdout, stdout_left_out) = stdout.finish();
        let (stderr, stderr_left_out) = stderr.finish();
        CommandOutput {
            code: status.as_ref().and_then(WaitIdStatus::exit_status),
            signal: status.as_ref().and_then(WaitIdStatus::terminating_signal),
            stdout,
            stderr,
            truncated: stdout_left_out + stderr_left_out > 0,
            stdout_left_out,
            stderr_left_out,
            duration,
            raw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::show_at_end;

    #[test]
    fn the_last_lines_are_shown_and_a_long_one_alone() {
        let mut shown = String::new();
        for line in 1..=12 {
            show_at_end(&mut shown, &line.to_string());
        }
        assert_eq!(shown, "3\n4\n5\n6\n7\n8\n9\n10\n11\n12");
        show_at_end(&mut shown, &"x".repeat(2000));
        assert_eq!(shown, "x".repeat(2000));
        show_at_end(&mut shown, "next");
        assert_eq!(shown, "next");
    }
}
