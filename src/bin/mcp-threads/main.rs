//! `mcp-threads`: one file of scripts, three faces. An MCP server, a command line, and a `SKILL.md`.
//!
//! Each command has a file of its own and returns what the process ends with. Must not know more of the library than its public API.

#![expect(
    clippy::print_stdout,
    reason = "it is a program, and its results go there"
)]

mod call;
mod client;
mod config;
mod doctor;
mod init;
mod serve;
mod skill;
mod terminal;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use mcp_threads::Scripts;

use crate::terminal::counted;

/// What a command ends with: an exit code, or a sentence for stderr and the code 1.
type ExitResult = Result<ExitCode, String>;

/// The file when none is named.
const DEFAULT_FILE: &str = "tools.toml";

fn main() -> ExitCode {
    let matches = commands().get_matches();
    let outcome = match matches.subcommand() {
        Some(("init", matches)) => init::run(matches),
        Some(("check", matches)) => check(matches),
        Some(("list", matches)) => list(matches),
        Some(("call", matches)) => call::run(matches),
        Some(("serve", matches)) => serve::run(matches),
        Some(("doctor", matches)) => doctor::run(matches),
        Some(("config", matches)) => config::run(matches),
        Some(("skill", matches)) => skill::run(matches),
        _ => Err("no command; see --help".to_owned()),
    };
    outcome.unwrap_or_else(|problem| {
        eprintln!("{}", terminal::painted(&problem));
        ExitCode::FAILURE
    })
}

/// The file that a command reads, or writes.
fn file_argument(help: &'static str) -> Arg {
    Arg::new("file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .default_value(DEFAULT_FILE)
        .help(help)
}

/// An option that is there or not.
fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn commands() -> Command {
    let trust = || {
        flag(
            "trust",
            "Use a file, or scripts, that somebody else could have written",
        )
    };
    let on_file = |name: &'static str, about: &'static str| {
        Command::new(name)
            .about(about)
            .arg(file_argument("The file of scripts"))
            .arg(trust())
    };
    Command::new("mcp-threads")
        .version(env!("CARGO_PKG_VERSION"))
        .about("One file of scripts, three faces: an MCP server, a command line, and a SKILL.md")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(init::command())
        .subcommand(
            on_file("check", "Report every mistake of the file")
                .arg(flag("strict", "Fail for warnings, too")),
        )
        .subcommand(
            on_file("list", "List the tools").arg(flag("json", "As JSON, with the schemas")),
        )
        .subcommand(call::command(trust()))
        .subcommand(serve::command(on_file(
            "serve",
            "Serve the tools over stdio, HTTP, or both",
        )))
        .subcommand(on_file(
            "doctor",
            "Look whether everything is there, and the server answers",
        ))
        .subcommand(config::command(on_file(
            "config",
            "Print a client's configuration",
        )))
        .subcommand(skill::command(on_file("skill", "Print the SKILL.md")))
}

/// The file that the command is about.
fn file(matches: &ArgMatches) -> &Path {
    let named = matches.get_one::<PathBuf>("file");
    named.map_or(Path::new(DEFAULT_FILE), PathBuf::as_path)
}

/// Its scripts, or all its mistakes.
fn load(matches: &ArgMatches) -> Result<Scripts, String> {
    load_file(file(matches), matches.get_flag("trust"))
}

fn load_file(file: &Path, trusting: bool) -> Result<Scripts, String> {
    let scripts = match trusting {
        true => Scripts::load_trusting(file),
        false => Scripts::load(file),
    };
    scripts.map_err(|mistakes| match file.exists() {
        true => mistakes.to_string(),
        false => format!(
            "there is no file `{}`; `mcp-threads init` writes one",
            file.display()
        ),
    })
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
fn enter(file: &Path) -> Result<PathBuf, String> {
    let file = file.canonicalize().map_err(|error| error.to_string())?;
    if let Some(base) = file.parent() {
        // One that cannot be entered is the programs' to report.
        let _stays = std::env::set_current_dir(base);
    }
    Ok(file)
}

fn check(matches: &ArgMatches) -> ExitResult {
    let scripts = load(matches)?;
    let warnings = scripts.warnings();
    if !warnings.list.is_empty() {
        eprintln!("{}", terminal::painted(&warnings.to_string()));
    }
    if matches.get_flag("strict") && !warnings.list.is_empty() {
        return Ok(ExitCode::FAILURE);
    }

    let offers = [
        counted(scripts.tools().count(), "tool"),
        counted(scripts.resources().count(), "resource"),
        counted(scripts.prompts().count(), "prompt"),
    ];
    let file = file(matches).display();
    println!("{file} has no mistakes: {}", offers.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn list(matches: &ArgMatches) -> ExitResult {
    let scripts = load(matches)?;
    if matches.get_flag("json") {
        let tools = scripts.tools().map(|tool| {
            serde_json::json!({
                "name": tool.name(),
                "title": tool.title(),
                "description": tool.description(),
                "inputSchema": tool.input_schema(),
            })
        });
        println!("{:#}", tools.collect::<serde_json::Value>());
        return Ok(ExitCode::SUCCESS);
    }
    let width = scripts
        .tools()
        .map(|tool| tool.name().len())
        .max()
        .unwrap_or(0);
    for tool in scripts.tools() {
        let about = tool.description().or(tool.title()).unwrap_or_default();
        let line = about.lines().next().unwrap_or_default();
        println!("{:width$}  {line}", tool.name());
    }
    Ok(ExitCode::SUCCESS)
}
