//! `mcp-threads`: one file of scripts, three faces. An MCP server, a command line, and a `SKILL.md`.
//!
//! Each command has a file of its own and returns what the process ends with. Must not know more of the library than its public API.

mod call;
mod client;
mod config;
mod doctor;
mod init;
mod serve;
mod skill;
mod terminal;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use mcp_threads::Scripts;

use crate::terminal::{counted, say};

/// Why a command has failed, in a sentence for stderr. The exit code is 1 then.
type Problem = Box<dyn std::error::Error>;

/// What a command ends with.
type ExitResult = Result<ExitCode, Problem>;

/// The file when none is named.
const DEFAULT_FILE: &str = "tools.toml";

/// One file of scripts, three faces: an MCP server, a command line, and a SKILL.md
#[derive(Parser)]
#[command(name = "mcp-threads", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a file of scripts from what is there
    Init(init::Init),
    /// Report every mistake of the file
    Check {
        #[command(flatten)]
        file: ScriptFile,
        /// Fail for warnings, too
        #[arg(long)]
        strict: bool,
    },
    /// List the tools
    List {
        #[command(flatten)]
        file: ScriptFile,
        /// As JSON, with the schemas
        #[arg(long)]
        json: bool,
    },
    /// Call a tool
    Call(call::CallCommand),
    /// Serve the tools over stdio, HTTP, or both
    Serve(serve::ServeCommand),
    /// Look whether everything is there, and the server answers
    Doctor(ScriptFile),
    /// Print a client's configuration
    Config(config::Config),
    /// Print the SKILL.md
    Skill(skill::Skill),
}

/// The file that a command is about.
#[derive(Args)]
struct ScriptFile {
    /// The file of scripts
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    path: PathBuf,
    #[command(flatten)]
    trust: Trust,
}

#[derive(Args, Clone, Copy)]
struct Trust {
    /// Use a file, or scripts, that somebody else could have written
    #[arg(long = "trust")]
    is_given: bool,
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Init(init) => init.run(),
        Command::Check { file, strict } => check(&file, strict),
        Command::List { file, json: true } => list_json(&file),
        Command::List { file, json: false } => list(&file),
        Command::Call(call) => call.run(),
        Command::Serve(serve) => serve.run(),
        Command::Doctor(file) => doctor::run(&file),
        Command::Config(config) => config.run(),
        Command::Skill(skill) => skill.run(),
    };
    outcome.unwrap_or_else(|problem| {
        if terminal::is_unread(&problem) {
            return ExitCode::SUCCESS;
        }
        terminal::tell(terminal::painted(&problem.to_string()));
        ExitCode::FAILURE
    })
}

impl ScriptFile {
    /// Its scripts, or all its mistakes.
    fn load(&self) -> Result<Scripts, Problem> {
        self.trust.load(&self.path)
    }
}

impl Trust {
    fn load(self, file: &Path) -> Result<Scripts, Problem> {
        let scripts = match self.is_given {
            true => Scripts::load_trusting(file),
            false => Scripts::load(file),
        };
        scripts.map_err(|mistakes| match file.exists() {
            true => mistakes.into(),
            false => format!(
                "there is no file `{}`; `mcp-threads init` writes one",
                file.display()
            )
            .into(),
        })
    }

    /// The option, as it is given to another command.
    fn option(self) -> Option<&'static str> {
        self.is_given.then_some("--trust")
    }
}

/// How a file is named behind a command, if it has to be.
fn named(file: &Path) -> String {
    match file == Path::new(DEFAULT_FILE) {
        true => String::new(),
        false => format!(" {}", shell_word(&file.to_string_lossy())),
    }
}

/// A word for a shell.
fn shell_word(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-=:".contains(&byte);
    match word.bytes().all(is_plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Goes to where the file is, from where its programs run: one that starts there needs no shell to change the directory. The file's whole path.
fn enter(file: &Path) -> io::Result<PathBuf> {
    let file = file.canonicalize()?;
    if let Some(base) = file.parent() {
        // One that cannot be entered is the programs' to report.
        let _stays = std::env::set_current_dir(base);
    }
    Ok(file)
}

fn check(file: &ScriptFile, strict: bool) -> ExitResult {
    let scripts = file.load()?;
    let warnings = scripts.warnings();
    if !warnings.list.is_empty() {
        terminal::tell(terminal::painted(&warnings.to_string()));
        if strict {
            return Ok(ExitCode::FAILURE);
        }
    }
    let offers = [
        counted(scripts.tools().count(), "tool"),
        counted(scripts.resources().count(), "resource"),
        counted(scripts.prompts().count(), "prompt"),
    ];
    let file = file.path.display();
    say(format!("{file} has no mistakes: {}", offers.join(", ")))?;
    Ok(ExitCode::SUCCESS)
}

fn list(file: &ScriptFile) -> ExitResult {
    let scripts = file.load()?;
    let widths = scripts.tools().map(|tool| tool.name().len());
    let width = widths.max().unwrap_or(0);
    for tool in scripts.tools() {
        let about = tool.description().or(tool.title()).unwrap_or_default();
        let line = about.lines().next().unwrap_or_default();
        say(format!("{:width$}  {line}", tool.name()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list_json(file: &ScriptFile) -> ExitResult {
    let scripts = file.load()?;
    let tools = scripts.tools().map(|tool| {
        serde_json::json!({
            "name": tool.name(),
            "title": tool.title(),
            "description": tool.description(),
            "inputSchema": tool.input_schema(),
        })
    });
    say(format!("{:#}", tools.collect::<serde_json::Value>()))?;
    Ok(ExitCode::SUCCESS)
}
