//! What a file of scripts says, once it has been read: the server, its tools, resources and prompts.
//!
//! Two that are equal do the same, so that a reload can tell what has changed. `file`, `tool` and `command` below read it; the
//! types must not know the syntax, or how anything is run.

mod command;
pub(super) mod file;
mod tool;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::handler::Execution;
use crate::protocol::offer::OfferKind;
use crate::scripts::argument::Argument;
use crate::scripts::environment::EnvRule;
use crate::scripts::template::Template;

/// The most places of a pool, and the most calls of a tool at once.
pub(super) const PLACES_MAX: usize = 256;

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    pub(super) server: ServerSpec,
    /// Tools, resources, prompts, each kind in the order of the file.
    pub(super) offers: Vec<OfferSpec>,
}

impl File {
    pub(super) fn tools(&self) -> impl Iterator<Item = &ToolSpec> {
        self.offers.iter().filter_map(|offer| match offer {
            OfferSpec::Tool(tool) => Some(tool),
            OfferSpec::Resource(_) | OfferSpec::Prompt(_) => None,
        })
    }

    /// What clients know those of one kind by.
    pub(super) fn names(&self, kind: OfferKind) -> impl Iterator<Item = &str> {
        let keys = self.offers.iter().map(OfferSpec::key);
        keys.filter_map(move |(other, name)| (other == kind).then_some(name))
    }
}

/// One thing that the server offers because of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum OfferSpec {
    Tool(ToolSpec),
    Resource(ResourceSpec),
    Prompt(PromptSpec),
}

impl OfferSpec {
    /// What it is to clients: no two of a file are the same.
    pub(super) fn key(&self) -> (OfferKind, &str) {
        match self {
            OfferSpec::Tool(tool) => (OfferKind::Tool, &tool.name),
            OfferSpec::Resource(resource) => (OfferKind::Resource, &resource.uri),
            OfferSpec::Prompt(prompt) => (OfferKind::Prompt, &prompt.name),
        }
    }

    /// What it runs, if it runs something.
    pub(super) fn command(&self) -> Option<&CommandSpec> {
        match self {
            OfferSpec::Tool(tool) => Some(&tool.command),
            OfferSpec::Resource(ResourceSpec {
                source: Source::Command(command),
                ..
            }) => Some(command),
            OfferSpec::Resource(_) | OfferSpec::Prompt(_) => None,
        }
    }
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
    pub(super) requires: Vec<Requirement>,
    pub(super) output: Output,
    pub(super) output_schema: Option<Value>,
}

/// Without which a tool does not begin.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Requirement {
    Variable(String),
    Program(PathBuf),
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
