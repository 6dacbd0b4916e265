//! `init`: a first file of scripts, from what is there: recipes, targets, package scripts, a directory of programs. Asks nothing.
//!
//! What it writes is meant to be read and changed; what sounds dangerous asks a person before it runs.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::Value;

use crate::{DEFAULT_FILE, ExitResult};

/// One tool to be written.
#[derive(Debug, PartialEq)]
struct ToolDraft {
    name: String,
    description: String,
    run: Vec<String>,
    /// Name, default, and whether it is a list of any length.
    arguments: Vec<(String, Option<String>, bool)>,
}

/// Words in a name that a person should be asked about.
const DANGEROUS: [&str; 14] = [
    "deploy",
    "delete",
    "destroy",
    "drop",
    "publish",
    "release",
    "remove",
    "reset",
    "clean",
    "purge",
    "prune",
    "push",
    "rollback",
    "uninstall",
];

const HEADER: &str = r#"# Scripts as tools: an MCP server, a command line and a SKILL.md, all from this file.
#   mcp-threads check       reports every mistake in it
#   mcp-threads call TOOL   calls a tool
#   mcp-threads config      prints what to write into a client's configuration
# Say for each tool what it does and when to use it: that is all a model knows of it.
"#;

const EXAMPLE: &str = r#"
[[tool]]
name = "greet"
description = "Greets somebody."
run = ["echo", "Hello,", "{name}!"]    # words, never a line for a shell
read_only = true                       # clients may run it without asking

[tool.args.name]
description = "Who is greeted."
required = true
# type = "string"                      # or integer, number, boolean, enum, array, path, object
# pattern = "[A-Za-z ]+"               # a regular expression for the whole value
"#;

pub(crate) fn command() -> Command {
    Command::new("init")
        .about("Write a file of scripts from what is there")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .default_value(DEFAULT_FILE)
                .help("The file to write"),
        )
        .arg(
            Arg::new("from").long("from").value_name("SOURCE").help(
                "just, make, package.json, or a directory of programs; default: what is found",
            ),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("Replace the file if there is one"),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitResult {
    let file: &PathBuf = matches.get_one("file").ok_or("no file")?;
    if file.exists() && !matches.get_flag("force") {
        return Err(format!(
            "there is a file `{}` already; --force replaces it",
            file.display()
        ));
    }
    let base = file
        .parent()
        .filter(|base| !base.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let source = match matches.get_one::<String>("from") {
        Some(source) => Some(source.clone()),
        None => found(base),
    };
    let drafts = match source.as_deref() {
        None => Vec::new(),
        Some("just") => justfile(&read(base, &["justfile", "Justfile", ".justfile"])?),
        Some("make") => makefile(&read(base, &["GNUmakefile", "makefile", "Makefile"])?),
        Some("package.json" | "npm") => package(&read(base, &["package.json"])?)?,
        Some(directory) => programs(base, directory)?,
    };
    let name = base
        .canonicalize()
        .ok()
        .and_then(|base| Some(base.file_name()?.to_string_lossy().into_owned()));
    let text = text(&name.unwrap_or_else(|| "scripts".to_owned()), &drafts);
    fs::write(file, text)
        .map_err(|error| format!("`{}` cannot be written: {error}", file.display()))?;
    let of = source.map_or_else(
        || "an example".to_owned(),
        |source| format!("{} tools from {source}", drafts.len()),
    );
    println!(
        "{} written, with {of}; now `mcp-threads check {}`",
        file.display(),
        file.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// What there is to begin with.
fn found(base: &Path) -> Option<String> {
    let any = |names: &[&str]| names.iter().any(|name| base.join(name).is_file());
    if any(&["justfile", "Justfile", ".justfile"]) {
        return Some("just".to_owned());
    }
    if any(&["GNUmakefile", "makefile", "Makefile"]) {
        return Some("make".to_owned());
    }
    if any(&["package.json"]) {
        return Some("package.json".to_owned());
    }
    let directories = ["scripts", "bin", "tools"];
    directories
        .into_iter()
        .find(|name| base.join(name).is_dir())
        .map(ToOwned::to_owned)
}

fn read(base: &Path, names: &[&str]) -> Result<String, String> {
    let file = names
        .iter()
        .map(|name| base.join(name))
        .find(|file| file.is_file());
    let file =
        file.ok_or_else(|| format!("there is no {} in {}", names.join(", "), base.display()))?;
    fs::read_to_string(&file)
        .map_err(|error| format!("`{}` cannot be read: {error}", file.display()))
}

/// The recipes of a justfile, with the comments above them.
fn justfile(text: &str) -> Vec<ToolDraft> {
    let mut drafts = Vec::new();
    let (mut comment, mut is_private) = (String::new(), false);
    for line in text.lines() {
        if let Some(said) = line.strip_prefix('#') {
            add_line(&mut comment, said);
            continue;
        }
        if line.starts_with('[') {
            is_private |= line.contains("private");
            continue;
        }
        if let Some((head, _)) = recipe(line) {
            let mut words = head.split_whitespace();
            let name = words.next().unwrap_or_default().trim_start_matches('@');
            if !is_private && !name.starts_with('_') {
                let arguments: Vec<_> = words.filter_map(just_argument).collect();
                let mut run = vec!["just".to_owned(), name.to_owned()];
                run.extend(arguments.iter().map(|(name, ..)| format!("{{{name}}}")));
                drafts.push(ToolDraft {
                    name: name.to_owned(),
                    description: comment.clone(),
                    run,
                    arguments,
                });
            }
        }
        comment.clear();
        is_private = false;
    }
    drafts
}

/// The head of a recipe or rule: what stands before its colon, and what behind.
fn recipe(line: &str) -> Option<(&str, &str)> {
    if line.starts_with([' ', '\t', '#', '.']) || line.trim().is_empty() {
        return None;
    }
    let (head, rest) = line.split_once(':')?;
    let is_assignment = rest.starts_with('=')
        || rest.starts_with(":=")
        || head.contains('=') && !head.contains(' ');
    let is_other = [
        "set ", "alias ", "export ", "import ", "mod ", "define ", "include ",
    ]
    .iter()
    .any(|word| line.starts_with(word));
    (!is_assignment && !is_other && !head.contains('%')).then_some((head, rest))
}

fn just_argument(word: &str) -> Option<(String, Option<String>, bool)> {
    let is_list = word.starts_with(['*', '+']);
    let word = word.trim_start_matches(['*', '+', '$']);
    let (name, default) = match word.split_once('=') {
        Some((name, default)) => (name, Some(default.trim_matches(['"', '\'']).to_owned())),
        None => (word, None),
    };
    let is_name = name
        .chars()
        .all(|char| char.is_alphanumeric() || matches!(char, '_' | '-'));
    (is_name && !name.is_empty()).then(|| (name.to_owned(), default.filter(|_| !is_list), is_list))
}

/// The targets of a Makefile that are commands, with the comments above or behind them.
fn makefile(text: &str) -> Vec<ToolDraft> {
    let mut drafts: Vec<ToolDraft> = Vec::new();
    let mut comment = String::new();
    for line in text.lines() {
        if let Some(said) = line.strip_prefix('#') {
            add_line(&mut comment, said.trim_start_matches('#'));
            continue;
        }
        if let Some((head, rest)) = recipe(line) {
            let behind = rest
                .split_once("##")
                .map(|(_, said)| said.trim().to_owned());
            for name in head.split_whitespace() {
                let is_command = name
                    .chars()
                    .all(|char| char.is_alphanumeric() || matches!(char, '_' | '-'));
                if is_command
                    && !name.starts_with('_')
                    && drafts.iter().all(|draft| draft.name != name)
                {
                    drafts.push(ToolDraft {
                        name: name.to_owned(),
                        description: behind.clone().unwrap_or_else(|| comment.clone()),
                        run: vec!["make".to_owned(), name.to_owned()],
                        arguments: Vec::new(),
                    });
                }
            }
        }
        comment.clear();
    }
    drafts
}

fn package(text: &str) -> Result<Vec<ToolDraft>, String> {
    let package: Value =
        serde_json::from_str(text).map_err(|error| format!("package.json is no JSON: {error}"))?;
    let scripts = package["scripts"].as_object().into_iter().flatten();
    let is_hook = |name: &str| {
        ["pre", "post"].iter().any(|hook| {
            name.strip_prefix(hook)
                .is_some_and(|of| package["scripts"].get(of).is_some())
        })
    };
    let scripts = scripts
        .filter(|(name, _)| !is_hook(name))
        .map(|(name, line)| ToolDraft {
            name: name.clone(),
            description: format!("Runs `{}`.", line.as_str().unwrap_or_default()),
            run: ["npm", "run", "--silent", name]
                .map(ToOwned::to_owned)
                .to_vec(),
            arguments: Vec::new(),
        });
    Ok(scripts.collect())
}

/// The executable files of a directory, with the comments at their heads.
fn programs(base: &Path, directory: &str) -> Result<Vec<ToolDraft>, String> {
    let place = base.join(directory);
    let entries = fs::read_dir(&place).map_err(|error| {
        format!(
            "`{}` is neither just, make nor package.json, and no directory: {error}",
            place.display()
        )
    })?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    let drafts = files.iter().filter_map(|file| {
        let name = file.file_name()?.to_str()?;
        let found = file.metadata().ok()?;
        if name.starts_with('.') || !found.is_file() || found.permissions().mode() & 0o111 == 0 {
            return None;
        }
        let text = fs::read(file).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[..text.len().min(4096)]).into_owned();
        let stem = file.file_stem()?.to_str()?;
        let place = if directory.starts_with(['/', '.']) {
            String::new()
        } else {
            "./".to_owned()
        };
        Some(ToolDraft {
            name: stem.to_owned(),
            description: header(&text),
            run: vec![
                format!("{place}{}/{name}", directory.trim_end_matches('/')),
                "{words}".to_owned(),
            ],
            arguments: vec![("words".to_owned(), None, true)],
        })
    });
    Ok(drafts.collect())
}

/// The comment at the head of a script.
fn header(text: &str) -> String {
    let mut comment = String::new();
    let lines = text
        .lines()
        .skip_while(|line| line.starts_with("#!") || line.trim().is_empty());
    for line in lines.take_while(|line| line.starts_with('#')) {
        add_line(&mut comment, &line[1..]);
    }
    comment
}

fn add_line(comment: &mut String, line: &str) {
    let line = line.trim();
    if !comment.is_empty() && !line.is_empty() {
        comment.push(' ');
    }
    comment.push_str(line);
}

fn text(name: &str, drafts: &[ToolDraft]) -> String {
    let mut text = format!(
        "{HEADER}\n[server]\nname = {}\n# instructions = \"What these tools are for, all together.\"\n",
        Value::from(name)
    );
    if drafts.is_empty() {
        return text + EXAMPLE;
    }
    let mut names: Vec<String> = Vec::new();
    for draft in drafts {
        let mut name = tool_name(&draft.name);
        while names.contains(&name) {
            name.push('2');
        }
        let _ok = write_tool(&mut text, &name, draft);
        names.push(name);
    }
    text
}

/// A name that every client takes.
fn tool_name(name: &str) -> String {
    let plain = |char: char| {
        if char.is_ascii_alphanumeric() || matches!(char, '_' | '-') {
            char
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).take(64).collect();
    if name.is_empty() {
        "tool".to_owned()
    } else {
        name
    }
}

fn write_tool(text: &mut String, name: &str, draft: &ToolDraft) -> std::fmt::Result {
    writeln!(text, "\n[[tool]]\nname = {}", Value::from(name))?;
    match draft.description.is_empty() {
        true => writeln!(
            text,
            "# description = \"What it does, and when to use it.\""
        )?,
        false => writeln!(
            text,
            "description = {}",
            Value::from(draft.description.as_str())
        )?,
    }
    let words: Vec<_> = draft
        .run
        .iter()
        .map(|word| Value::from(word.as_str()).to_string())
        .collect();
    writeln!(text, "run = [{}]", words.join(", "))?;
    let lower = name.to_lowercase();
    match DANGEROUS.iter().any(|word| lower.contains(word)) {
        true => writeln!(
            text,
            "destructive = true\nconfirm = {}    # a person is asked first",
            Value::from(format!("Run `{}`?", draft.name))
        )?,
        false => writeln!(text, "# read_only = true    # if it changes nothing")?,
    }
    for (name, default, is_list) in &draft.arguments {
        writeln!(text, "\n[tool.args.{name}]")?;
        match (is_list, default) {
            (true, _) => writeln!(
                text,
                "type = \"array\"\n# allow_dash = true    # if options may be given, too"
            )?,
            (false, Some(default)) => {
                writeln!(text, "default = {}", Value::from(default.as_str()))?
            }
            (false, None) => writeln!(text, "required = true")?,
        }
    }
    Ok(())
}
