//! What is different when a person looks: colours, and one line for progress that is written over.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write, stderr, stdout};

use crate::Problem;

/// Prints a line of what a command is for. Who has seen enough has closed the pipe, which is an error here and none to `main`.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    writeln!(stdout(), "{line}")
}

/// Whether nobody reads stdout any more: who has seen enough, such as `head`, closes the pipe.
pub(crate) fn is_unread(problem: &Problem) -> bool {
    let error = problem.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints a line about what a command does. Nobody who reads it is no reason to fail.
pub(crate) fn tell(line: impl Display) {
    let _unread = writeln!(stderr(), "{line}");
}

/// Whether stderr is a terminal that shows colours.
pub(crate) fn is_watched() -> bool {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stderr().is_terminal() && !is_plain
}

/// Mistakes with their kind in colour.
pub(crate) fn painted(text: &str) -> String {
    if !is_watched() {
        return text.to_owned();
    }
    let text = text.replace(": error: ", ": \x1b[1;31merror\x1b[0m: ");
    text.replace(": warning: ", ": \x1b[1;33mwarning\x1b[0m: ")
}

/// A number of things: `1 tool`, `2 tools`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{end}")
}

/// Shows what a running tool says: line by line, or, to a person, as one line that is written over.
#[derive(Debug, Default)]
pub(crate) struct ProgressLine {
    is_open: bool,
}

impl ProgressLine {
    pub(crate) fn show(&mut self, message: &str) {
        let mut stderr = stderr().lock();
        // Nobody who reads is no reason to fail.
        let _unread = match is_watched() {
            true => {
                let short: String = message.chars().take(76).collect();
                write!(stderr, "\r\x1b[2K\x1b[2m{short}\x1b[0m").and_then(|()| stderr.flush())
            }
            false => writeln!(stderr, "{message}"),
        };
        self.is_open = is_watched();
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.is_open {
            let _unread = write!(stderr(), "\r\x1b[2K");
        }
    }
}
