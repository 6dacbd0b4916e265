//! `init`: a first file of scripts, from what is there: recipes, targets, package scripts, programs. Asks nothing.
//!
//! What it writes is meant to be read and changed; what sounds dangerous asks a person before it runs.

mod draft;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::init::draft::{ToolDraft, quoted};
use crate::init::sources::{JUSTFILES, MAKEFILES, PACKAGE, justfile, makefile, package, programs};
use crate::terminal::{counted, say};
use crate::{DEFAULT_FILE, ExitResult, named};

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

#[derive(Args)]
pub(crate) struct Init {
    /// The file to write
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// just, make, package.json, or a directory of programs; default: all that is found
    #[arg(long = "from", value_name = "SOURCE")]
    sources: Vec<String>,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(crate) fn run(self) -> ExitResult {
        let file = &*self.file;
        let shown = file.display();
        if file.exists() && !self.force {
            return Err(format!("there is a file `{shown}` already; --force replaces it").into());
        }
        let base = file.parent().filter(|base| !base.as_os_str().is_empty());
        let base = base.unwrap_or(Path::new("."));
        let is_named = !self.sources.is_empty();
        let sources = match is_named {
            true => self.sources,
            false => found(base),
        };
        let (mut drafts, mut told) = (Vec::new(), Vec::new());
        for source in &sources {
            let found = read(base, source)?;
            if is_named || !found.is_empty() {
                let from = match source.as_str() {
                    "." => "this directory",
                    source => source,
                };
                told.push(format!("{} from {from}", counted(found.len(), "tool")));
            }
            drafts.extend(found.into_iter().map(|draft| (source.as_str(), draft)));
        }
        let name = base.canonicalize().ok();
        let name = name.as_deref().and_then(Path::file_name);
        let name = name.map_or("scripts".into(), |name| name.to_string_lossy());
        fs::write(file, text(&name, &drafts))
            .map_err(|error| format!("`{shown}` cannot be written: {error}"))?;
        let of = match drafts.is_empty() {
            true => "an example to begin with".to_owned(),
            false => told.join(", "),
        };
        say(format!("{shown} written, with {of}."))?;
        let named = named(file);
        say(format!(
            "Read it, say what each tool is for, and then: mcp-threads check{named}"
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What there is to begin with.
fn found(base: &Path) -> Vec<String> {
    let has = |names: &[&str]| names.iter().any(|name| base.join(name).is_file());
    let files = [
        (has(&JUSTFILES), "just"),
        (has(&MAKEFILES), "make"),
        (has(&[PACKAGE]), PACKAGE),
    ];
    let files = files
        .into_iter()
        .filter_map(|(is_there, source)| is_there.then_some(source));
    let directories = ["scripts", "bin", "tools", "."].into_iter();
    let directories = directories.filter(|name| base.join(name).is_dir());
    files.chain(directories).map(ToOwned::to_owned).collect()
}

fn read(base: &Path, source: &str) -> Result<Vec<ToolDraft>, String> {
    let text = |names: &[&str]| {
        let file = names
            .iter()
            .map(|name| base.join(name))
            .find(|file| file.is_file());
        let file =
            file.ok_or_else(|| format!("there is no {} in {}", names.join(", "), base.display()))?;
        fs::read_to_string(&file)
            .map_err(|error| format!("`{}` cannot be read: {error}", file.display()))
    };
    match source {
        "just" => Ok(justfile(&text(&JUSTFILES)?)),
        "make" => Ok(makefile(&text(&MAKEFILES)?)),
        PACKAGE | "npm" => package(&text(&[PACKAGE])?, base),
        directory => programs(base, directory),
    }
}

fn text(name: &str, drafts: &[(&str, ToolDraft)]) -> String {
    let about = "# instructions = \"What these tools are for, all together.\"";
    let mut text = format!("{HEADER}\n[server]\nname = {}\n{about}\n", quoted(name));
    if drafts.is_empty() {
        return text + EXAMPLE;
    }
    let mut names: Vec<String> = Vec::new();
    for (source, draft) in drafts {
        let mut name = tool_name(&draft.name);
        if names.contains(&name) {
            name = tool_name(&format!(
                "{}-{}",
                source.trim_end_matches(".json"),
                draft.name
            ));
        }
        while names.contains(&name) {
            name.push('2');
        }
        // A `String` takes all that is written.
        let _ok = draft.write(&mut text, &name);
        names.push(name);
    }
    text
}

/// A name that every client takes.
fn tool_name(name: &str) -> String {
    let is_plain = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    let plain = |char| Some(char).filter(is_plain).unwrap_or('-');
    let name: String = name.chars().map(plain).take(60).collect();
    match name.trim_matches('-') {
        "" => "tool".to_owned(),
        name => name.to_owned(),
    }
}
