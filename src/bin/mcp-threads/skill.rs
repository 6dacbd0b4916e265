//! `skill`: the same tools as a `SKILL.md`, for agents that read one and have a shell.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use mcp_threads::{ScriptTool, Scripts};
use serde_json::Value;

use crate::call::help;
use crate::terminal::say;
use crate::{ExitResult, ScriptFile, shell_word};

/// A skill's name has at most so many characters.
const NAME_CHARS_MAX: usize = 64;

#[derive(Args)]
pub(crate) struct Skill {
    #[command(flatten)]
    file: ScriptFile,
    /// The skill's name; default: the server's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Skill {
    pub(crate) fn run(self) -> ExitResult {
        let scripts = self.file.load()?;
        let name = skill_name(self.name.as_deref().unwrap_or(scripts.name()));
        if name.is_empty() {
            let why = "a skill's name has letters, digits and single hyphens; give one with --name";
            return Err(why.into());
        }
        let file = self.file.path.canonicalize()?;
        let file = shell_word(&file.to_string_lossy());
        let trust = self.file.trust.option().into_iter();
        let words = ["mcp-threads", "call"].into_iter().chain(trust);
        let words: Vec<_> = words.chain(["--file", &file]).collect();
        say(text(&scripts, &name, &words.join(" ")).trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Lower case letters, digits, single hyphens.
fn skill_name(name: &str) -> String {
    let words = name
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-").to_lowercase();
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    name.trim_end_matches('-').to_owned()
}

fn text(scripts: &Scripts, name: &str, call: &str) -> String {
    let mut text = String::new();
    let names: Vec<_> = scripts.tools().map(|tool| tool.name().to_owned()).collect();
    let about = scripts.instructions().map_or_else(
        || format!("Runs the tools {}.", names.join(", ")),
        |text| text.trim().replace('\n', " "),
    );
    let about: String = about.chars().take(1000).collect();
    // A JSON string is a YAML string.
    let _ok = writeln!(
        text,
        "---\nname: {name}\ndescription: {}\n---\n",
        Value::from(about)
    );
    let _ok = writeln!(text, "# {}\n", scripts.name());
    if let Some(instructions) = scripts.instructions() {
        let _ok = writeln!(text, "{}\n", instructions.trim());
    }
    let _ok = writeln!(
        text,
        "Call a tool with `{call} TOOL --argument value`; its result is on stdout, its progress on stderr. `{call} TOOL --help` says more of one.\n"
    );
    for tool in scripts.tools() {
        describe(&mut text, &tool, call);
    }
    text
}

fn describe(text: &mut String, tool: &ScriptTool<'_>, call: &str) {
    let _ok = writeln!(text, "## {}\n", tool.name());
    if let Some(about) = tool.description().or(tool.title()) {
        let _ok = writeln!(text, "{}\n", about.trim());
    }
    let schema = tool.input_schema();
    let is_required = |name: &str| {
        let names = schema["required"].as_array();
        names.is_some_and(|names| names.iter().any(|known| known == name))
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut line = format!("{call} {}", tool.name());
    let mut arguments = String::new();
    for (name, property) in properties {
        let kind = property["type"].as_str().unwrap_or("string").to_uppercase();
        let (option, need) = match is_required(name) {
            true => (format!(" --{name} {kind}"), "required"),
            false => (format!(" [--{name} {kind}]"), "optional"),
        };
        line += &option;
        arguments += &format!("- `{name}` ({need}): {}\n", help(property));
    }
    let _ok = writeln!(text, "```sh\n{line}\n```\n");
    if !arguments.is_empty() {
        let _ok = writeln!(text, "{arguments}");
    }
    if tool.is_confirmed() {
        let _ok = writeln!(
            text,
            "It asks a person before it does anything; ask your user, and then add `--yes` before the tool's name.\n"
        );
    }
}
