//! What a file of scripts says, once it has been read: the server, its tools, resources and prompts.
//!
//! Two that are equal do the same, so that a reload can tell what has changed. Must not know the syntax, or how anything is run.

mod command;
pub(super) mod file;
mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::handler::Execution;
use crate::scripts::argument::Argument;
use crate::scripts::environment::EnvRule;
use crate::scripts::template::Template;

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) title: Option<String>,
    pub(super) instructions: Option<String>,
    pub(super) tools: Vec<ToolSpec>,
    pub(super) resources: Vec<ResourceSpec>,
    pub(super) prompts: Vec<PromptSpec>,
    /// The size of each pool.
    pub(super) pools: BTreeMap<String, usize>,
    /// The directory that relative paths are relative to.
    pub(super) base: PathBuf,
}

/// A program and how it is called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CommandSpec {
    pub(super) run: Run,
    pub(super) cwd: PathBuf,
    pub(super) env: Vec<EnvRule>,
    pub(super) stdin: Stdin,
    pub(super) timeout: Option<Duration>,
    pub(super) ok_codes: Vec<i32>,
    pub(super) output_max: usize,
}

/// Programs that run the file which is the first of their words that is no option.
const INTERPRETERS: [&str; 13] = [
    "sh", "bash", "dash", "zsh", "fish", "python", "python3", "perl", "ruby", "node", "deno",
    "php", "lua",
];

impl CommandSpec {
    /// The files that it runs, as far as they are named by paths: the program, and the script of an interpreter.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let Run::Argv(program, words) = &self.run else {
            return Vec::new();
        };
        let mut files = Vec::new();
        if program.is_absolute() {
            files.push(program.clone());
        }
        let name = program.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| INTERPRETERS.contains(&name)) {
            let mut plain = words.iter().filter_map(Template::plain);
            let script = plain.find(|word| !word.starts_with('-'));
            files.extend(script.map(|script| self.cwd.join(script)));
        }
        files
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
    pub(super) liveness: Option<Duration>,
    pub(super) concurrency: Option<usize>,
    pub(super) execution: Execution,
    /// The pools that it has a place in while it runs; in order and each once, so that no two calls wait for each other.
    pub(super) claims: BTreeSet<String>,
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
