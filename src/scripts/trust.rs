//! Whether somebody else could have written a file or a script that this server would run.
//!
//! Looked at: the file, the programs and scripts that it names by a path, the directories in which these stand, and those above them. Must not know how a
//! command is run.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

use crate::scripts::spec::{CommandSpec, Run};
use crate::scripts::template::Template;

/// Why this file cannot be trusted, if it cannot. What is not there, or cannot be followed, is made by who may write where it would stand: the nearest
/// directory that is there, and those above it.
pub(super) fn problem(file: &Path) -> Option<String> {
    let named = Path::new(".").join(file);
    let real = named
        .ancestors()
        .find_map(|place| place.canonicalize().ok())?;
    let (kind, place) = match real.is_dir() {
        true => ("directory", Some(&*real)),
        false => ("file", real.parent()),
    };
    // Who may write where a link stands can put another in its place.
    let link = file.parent().filter(|_| file.is_symlink());
    let link = link.and_then(|place| Path::new(".").join(place).canonicalize().ok());
    let directories = place.into_iter().chain(link.as_deref());
    let mut near = directories.clone();
    let mut above = directories.flat_map(|place| place.ancestors().skip(1));
    kept(&real, kind, false)
        .or_else(|| near.find_map(|place| kept(place, "directory", false)))
        .or_else(|| above.find_map(|place| kept(place, "directory", true)))
}

/// Why this cannot be trusted alone.
fn kept(path: &Path, kind: &str, is_above: bool) -> Option<String> {
    let who = others(&path.metadata().ok()?, is_above)?;
    let path = path.display();
    Some(format!(
        "the {kind} `{path}` {who}, so somebody else could decide what is run; change that, or say --trust"
    ))
}

/// Who else may write here. What stands further above can be put aside with all that is in it, unless a sticky bit keeps it.
fn others(found: &Metadata, is_above: bool) -> Option<String> {
    let me = geteuid().as_raw();
    if ![me, 0].contains(&found.uid()) {
        return Some(format!("belongs to another user ({})", found.uid()));
    }
    let mode = found.mode();
    if is_above && mode & 0o1000 != 0 {
        return None;
    }
    if mode & 0o002 != 0 {
        return Some("can be written by anybody".to_owned());
    }
    // A group of one's own is no stranger; many systems give every user one, and let it write.
    let is_own_group = found.gid() == getegid().as_raw() && found.gid() == found.uid();
    let is_open = mode & 0o020 != 0 && !is_own_group;
    is_open.then(|| format!("can be written by the group {}", found.gid()))
}

/// Programs and words of a shell that run a file which they are given, with or without a version in their name.
const INTERPRETERS: &str = ". source sh bash dash zsh ksh fish busybox pwsh python pypy uv perl ruby node deno bun tsx php lua luajit Rscript julia tclsh \
    expect java go groovy guile osascript";

/// The files that a command runs, as far as they are named by paths: the program, what else can be run of that which it names, for there are programs that run
/// others (`env`, `timeout`, a shell line), and the files behind the name of an interpreter: the first, which is its script, and those below the
/// directory. What it is given from elsewhere, such as a log, is only read.
pub(super) fn files(command: &CommandSpec) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let words: Vec<&str> = match &command.run {
        Run::Argv(program, words) => {
            files.extend(program.is_absolute().then(|| program.clone()));
            let plain = || words.iter().filter_map(Template::plain);
            // One that is not there yet counts as well.
            let script = plain().find(|word| !word.starts_with('-'));
            let script = script.filter(|word| !word.contains(char::is_whitespace));
            let program = program.to_str().unwrap_or_default();
            let script = script.filter(|_| interprets(program));
            files.extend(script.map(|script| command.cwd.join(script)));
            [program].into_iter().chain(plain()).collect()
        }
        Run::Shell(line) => vec![line],
    };
    let (mut is_interpreted, mut needs_script) = (false, false);
    // A word may be a line for a shell.
    let words = words.into_iter();
    for word in words.flat_map(|word| [word].into_iter().chain(parts(word))) {
        let file = command.cwd.join(word);
        let found = file.metadata().ok().filter(Metadata::is_file);
        let is_script = is_interpreted && (needs_script || !word.starts_with('/'));
        let is_program = |found: Metadata| word.contains('/') && found.mode() & 0o111 != 0;
        if found.is_some_and(|found| is_script || is_program(found)) {
            files.push(file);
            needs_script = false;
        }
        if interprets(word) {
            (is_interpreted, needs_script) = (true, true);
        }
    }
    files
}

/// The words of a line for a shell.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    let ends = |char: char| char.is_whitespace() || "\"'`;&|()<>$={}".contains(char);
    line.split(ends).filter(|part| !part.is_empty())
}

fn interprets(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    let bare = name.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.');
    let mut known = INTERPRETERS.split_ascii_whitespace();
    known.any(|one| one == name || one == bare)
}
