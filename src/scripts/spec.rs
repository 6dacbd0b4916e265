//! What a file of scripts says, once it has been read: the server, its tools, resources and prompts.
//!
//! Two that are equal do the same, so that a reload can tell what has changed. Must not know the syntax, or how anything is run.

mod command;
pub(super) mod file;
mod tool;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::handler::Execution;
use crate::scripts::argument::Argument;
use crate::scripts::environment::EnvRule;
use crate::scripts::template::Template;

/// The most places of a pool, and the most calls of a tool at once.
pub(super) const PLACES_MAX: usize = 256;

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    pub(super) server: ServerSpec,
    pub(super) tools: Vec<ToolSpec>,
    pub(super) resources: Vec<ResourceSpec>,
    pub(super) prompts: Vec<PromptSpec>,
    /// The directory that relative paths are relative to.
    pub(super) base: PathBuf,
}

/// How the server introduces itself, which it does once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServerSpec {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) title: Option<String>,
    pub(super) instructions: Option<String>,
}

/// A program and how it is called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CommandSpec {
    pub(super) run: Run,
    pub(super) cwd: PathBuf,
    pub(super) env: Vec<EnvRule>,
    pub(super) stdin: Stdin,
    pub(super) timeout: Option<Duration>,
    pub(super) liveness: Option<Duration>,
    pub(super) ok_codes: Vec<i32>,
    pub(super) output_max: usize,
}

/// Programs that run the file which is the first of their words that is no option, with or without a version in their name.
const INTERPRETERS: [&str; 13] = [
    "sh", "bash", "dash", "zsh", "ksh", "fish", "python", "perl", "ruby", "node", "deno", "php",
    "lua",
];

impl CommandSpec {
    /// The files that it runs, as far as they are named by paths: the program, the script of an interpreter, and what else can be run of that which it names,
    /// for there are programs that run others (`env`, `timeout`, a shell line).
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let at = |word: &str| self.cwd.join(word);
        let is_program = |word: &&str| {
            let found = word
                .contains('/')
                .then(|| at(word).metadata().ok())
                .flatten();
            found.is_some_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let (program, words) = match &self.run {
            Run::Argv(program, words) => (program, words),
            Run::Shell(line) => {
                let words = line
                    .split(|char: char| char.is_whitespace() || "\"'`;&|()<>$={}".contains(char));
                return words.filter(is_program).map(at).collect();
            }
        };
        let plain = || words.iter().filter_map(Template::plain);
        let name = program.file_name().and_then(|name| name.to_str());
        let name = name
            .map(|name| name.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.'));
        let interprets = name.is_some_and(|name| INTERPRETERS.contains(&name));
        let script = plain()
            .find(|word| !word.starts_with('-'))
            .filter(|_| interprets);
        let named = plain().filter(is_program).chain(script).map(at);
        program
            .is_absolute()
            .then(|| program.clone())
            .into_iter()
            .chain(named)
            .collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Run {
    /// The program and its words; never a shell.
    Argv(PathBuf, Vec<Template>),
    /// A line for `sh`, whose arguments are environment variables.
    Shell(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stdin {
    None,
    /// All arguments as one JSON object.
    Json,
    Text(Template),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    Text,
    Json,
    Lines,
    /// An image of this media type.
    Image(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToolSpec {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) command: CommandSpec,
    pub(super) arguments: Vec<Argument>,
    pub(super) concurrency: Option<usize>,
    pub(super) execution: Execution,
    /// The pools that it has a place in while it runs, and how many places of each there are; in order and each once, so that no two calls wait for each other.
    pub(super) claims: BTreeMap<String, usize>,
    pub(super) read_only: Option<bool>,
    pub(super) destructive: Option<bool>,
    pub(super) idempotent: Option<bool>,
    pub(super) open_world: Option<bool>,
    pub(super) confirm: Option<Template>,
    /// Whether it runs when the client cannot ask the person.
    pub(super) runs_unasked: bool,
    pub(super) requires: Vec<String>,
    pub(super) output: Output,
    pub(super) output_schema: Option<Value>,
}

impl ToolSpec {
    /// The pool for what may run only so often at once. No pool of the file can have its name.
    pub(super) fn turns(&self) -> Option<(String, usize)> {
        Some((format!("tool {}", self.name), self.concurrency?))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ResourceSpec {
    pub(super) uri: String,
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) mime_type: Option<String>,
    pub(super) source: Source,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    File(PathBuf),
    Command(CommandSpec),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PromptSpec {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) arguments: Vec<Argument>,
    pub(super) text: Template,
}
