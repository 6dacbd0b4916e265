//! Finding a program, and saying in a sentence why it cannot be started: which directory, file or interpreter is to blame.
//!
//! The system has one word, "not found", for a missing directory, a missing program and a script whose interpreter is missing. Must not know how a
//! program is started.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::handler::command::lines::whole_characters;

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How much of a file is looked at: the longest first line of a script. Linux reads no more either.
const BEGINNING_BYTES_MAX: u64 = 256;

/// More interpreters that are scripts themselves than any system goes through.
const INTERPRETERS_MAX: usize = 8;

/// The file of a program. A name with a slash is a path from `directory`; one without is looked for in `path`, or in the server's own.
///
/// # Errors
///
/// A sentence about what is missing.
pub(crate) fn find(
    program: &OsStr,
    directory: Option<&Path>,
    path: Option<&OsString>,
) -> Result<PathBuf, String> {
    if let Some(directory) = directory {
        let found =
            fs::metadata(directory).map_err(|error| about("the directory", directory, &error))?;
        if !found.is_dir() {
            return Err(format!("`{}` is no directory", directory.display()));
        }
    }
    if program.is_empty() {
        return Err("the name of the program is empty".to_owned());
    }
    if program.as_bytes().contains(&b'/') {
        let file = directory.unwrap_or(Path::new("")).join(program);
        let found = fs::metadata(&file).map_err(|error| about("the file", &file, &error))?;
        return check(&file, &found, directory, INTERPRETERS_MAX).map(|()| file);
    }
    let path = path.cloned().or_else(|| std::env::var_os("PATH"));
    let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
    let mut barred = None;
    for place in std::env::split_paths(&path) {
        // A relative place is one from where the program will run.
        let file = directory.unwrap_or(Path::new("")).join(place).join(program);
        let check = |found| check(&file, &found, directory, INTERPRETERS_MAX);
        match fs::metadata(&file).map(check) {
            Ok(Ok(())) => return Ok(file),
            Ok(Err(problem)) => barred = barred.or(Some(problem)),
            Err(_) => {}
        }
    }
    Err(barred.unwrap_or_else(|| {
        let (program, path) = (program.display(), path.display());
        format!("there is no program `{program}` in the directories of PATH ({path})")
    }))
}

/// Whether the system can be expected to run this file, from this directory.
fn check(
    file: &Path,
    found: &Metadata,
    directory: Option<&Path>,
    interpreters_left: usize,
) -> Result<(), String> {
    let shown = file.display();
    if found.is_dir() {
        return Err(format!("`{shown}` is a directory"));
    }
    // To open a pipe is to wait for its writer.
    if !found.is_file() {
        return Err(format!("`{shown}` is no regular file"));
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(format!(
            "`{shown}` is not executable (`chmod +x` makes it so)"
        ));
    }
    let mut beginning = Vec::new();
    let read = File::open(file)
        .and_then(|file| file.take(BEGINNING_BYTES_MAX).read_to_end(&mut beginning));
    if read.is_err() {
        // A program may be executable and not readable.
        return Ok(());
    }
    let mut lines = beginning.split(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    match line.strip_prefix(b"#!") {
        Some(line) => check_interpreter(file, line, directory, interpreters_left),
        // All of it: there are binary programs that begin with a line of text.
        None if is_text(&beginning) => Err(format!(
            "`{shown}` is a text without a first line that names its interpreter, such as `#!/bin/sh`"
        )),
        None => Ok(()),
    }
}

fn check_interpreter(
    file: &Path,
    line: &[u8],
    directory: Option<&Path>,
    left: usize,
) -> Result<(), String> {
    let shown = file.display();
    if line.last() == Some(&b'\r') {
        return Err(format!(
            "the first line of `{shown}` ends with a carriage return, so the system looks for an interpreter with it in its name; save the file with the line ends of Unix"
        ));
    }
    let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    let Some(word) = words.into_iter().find(|word| !word.is_empty()) else {
        return Err(format!("the first line of `{shown}` names no interpreter"));
    };
    // No name is looked for in PATH here: one without a slash is a file where the program runs.
    let named = Path::new(OsStr::from_bytes(word));
    let interpreter = directory.unwrap_or(Path::new("")).join(named);
    let of = format!("the interpreter of `{shown}`,");
    let found = fs::metadata(&interpreter).map_err(|error| about(&of, named, &error))?;
    let Some(left) = left.checked_sub(1) else {
        return Err(format!(
            "{of} `{}`, is a script whose interpreter is a script, and so on",
            named.display()
        ));
    };
    check(&interpreter, &found, directory, left).map_err(|problem| format!("{of} {problem}"))
}

fn is_text(bytes: &[u8]) -> bool {
    let is_plain = |byte: &u8| *byte >= b' ' || byte.is_ascii_whitespace() || *byte == 0x1b;
    bytes.iter().all(is_plain) && std::str::from_utf8(&bytes[..whole_characters(bytes)]).is_ok()
}

fn about(what: &str, path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("{what} `{path}` does not exist"),
        _ => format!("{what} `{path}` cannot be used: {error}"),
    }
}

/// Why the system would not start a file that [`find`] has found.
pub(super) fn explain(error: &io::Error, file: &Path, argv: &[CString], env: &[CString]) -> String {
    let shown = file.display();
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => format!(
            "`{shown}` is there, but not what it needs to be loaded; it may be built for another system"
        ),
        Some(Errno::NOEXEC) => format!("`{shown}` is no program that this system can run"),
        Some(Errno::ACCESS) => {
            format!("`{shown}` may not be run by this user, or its file system forbids it")
        }
        Some(Errno::TOOBIG) => {
            let length = |words: &[CString]| {
                words
                    .iter()
                    .map(|word| word.as_bytes().len())
                    .sum::<usize>()
            };
            format!(
                "its arguments ({} bytes) and its environment ({} bytes) are longer than the system allows",
                length(argv),
                length(env)
            )
        }
        _ => error.to_string(),
    }
}
