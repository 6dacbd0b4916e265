//! From checked arguments to a command that runs.
//!
//! What a model writes becomes one word of a program, a part of one, an environment variable or the input; nothing of it is ever read as a command.
//! Must not know the file's syntax.

use std::ffi::{OsStr, OsString};

use serde_json::{Map, Value};

use crate::base::setters::set;
use crate::handler::command::find_program;
use crate::handler::{CommandOutput, Progress, RequestContext, RunCommand, ToolError};
use crate::protocol::tree::Unread;
use crate::scripts::argument::{Argument, plain};
use crate::scripts::environment::{Mask, inherited};
use crate::scripts::spec::{CommandSpec, Output, Run, Stdin};
use crate::scripts::template::{Fillings, Template, WORD_BYTES, too_many, words_bytes};

/// What all words of a program may take. No system passes on more.
const ARGV_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the lines of an input may take while they are put together: those of a long list.
const STDIN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A list of so many items makes too many words of whatever it stands in, so that nobody needs more of it.
pub(super) const ITEMS_MAX: usize = STDIN_BYTES_MAX / WORD_BYTES + 1;

/// A command that can be run, and what must not be seen of what it says.
pub(super) struct Prepared {
    command: RunCommand,
    mask: Mask,
}

/// How a command ended.
pub(super) struct CommandEnd {
    /// Without its secrets, but for bytes that are no text.
    pub(super) output: CommandOutput,
    /// Its JSON without its secrets, if it was to say JSON: read before the masking of the text, in which a number would be none any more.
    pub(super) json: Option<Result<Value, Unread>>,
    /// Why it was ended before its own end.
    pub(super) problem: Option<String>,
    pub(super) mask: Mask,
}

impl CommandSpec {
    /// Why it could not start this program, which it would look for with its own `PATH` and from its own directory; `None` when it could.
    pub(super) fn missing_program(&self, program: impl AsRef<OsStr>) -> Option<String> {
        let path = self.env.iter().rfind(|rule| rule.name == "PATH");
        // One that has no value is said where all variables are.
        let path = path.and_then(|rule| rule.value().ok());
        let path = path.map(OsString::from);
        find_program(program.as_ref(), Some(&self.cwd), path.as_ref()).err()
    }

    /// What it needs and does not find on this machine, in sentences: variables, files with secrets, its program.
    pub(super) fn missing(&self) -> Vec<String> {
        let variables = self.env.iter().filter_map(|rule| rule.value().err());
        let program = match &self.run {
            Run::Argv(program, _) => self.missing_program(program),
            Run::Shell(_) => None,
        };
        variables.chain(program).collect()
    }
}

/// What fills the placeholders, of each list so many items.
pub(super) fn fillings(
    arguments: &[Argument],
    values: &Map<String, Value>,
    items_max: usize,
) -> Fillings {
    let given = arguments.iter().filter_map(|argument| {
        let value = values.get(&argument.name)?;
        Some((argument.name.clone(), argument.filling(value, items_max)))
    });
    given.collect()
}

impl Prepared {
    /// Puts a command together; a sentence says what cannot be done.
    pub(super) fn new(
        spec: &CommandSpec,
        arguments: &[Argument],
        values: &Map<String, Value>,
    ) -> Result<Self, String> {
        let fillings = fillings(arguments, values, ITEMS_MAX);
        let mut command = match &spec.run {
            Run::Argv(program, words) => {
                RunCommand::new(program).args(argv(words, arguments, &fillings)?)
            }
            Run::Shell(script) => RunCommand::new("/bin/sh").args(["-c", script, "sh"]),
        };
        command = command
            .directory(&spec.cwd)
            .output_bytes_max(spec.output_max)
            .env_clear();
        let mask;
        (command, mask) = with_environment(command, spec, values)?;
        command = match &spec.stdin {
            Stdin::None => command,
            Stdin::Json => command.stdin(json(values)),
            Stdin::Text(template) => {
                let lines = template.words(&fillings, STDIN_BYTES_MAX)?;
                command.stdin(lines.join("\n"))
            }
        };
        set!(command, spec, timeout, liveness);
        Ok(Prepared { command, mask })
    }

    /// Runs it. Its lines are reported if they are what is wanted of it.
    pub(super) fn run<S>(
        self,
        cx: &mut RequestContext<S>,
        wanted: &Output,
    ) -> Result<CommandEnd, ToolError> {
        let Prepared { command, mask } = self;
        let mut json = None;
        let mut count = 0.0;
        let ended = command.run_with(cx, |cx, line| {
            if *wanted == Output::Lines {
                count += 1.0;
                cx.progress(Progress::new(count).message(mask.apply_to_line(line)));
            }
        });
        // Masked here, before anybody could forget it, and before an error quotes from it.
        let (output, problem) = match ended {
            Ok(mut output) => {
                if *wanted == Output::Json {
                    let read = cx.control().tree_room().read(&output.stdout);
                    json = Some(read.map(|read| mask.apply_to_json(cx.charged(read))));
                }
                mask.apply_to_output(&mut output);
                (output, None)
            }
            Err(mut error) => {
                let output = error.output_mut().map(|output| {
                    mask.apply_to_output(output);
                    output.clone()
                });
                let problem = mask.apply(&error.to_string());
                let output = output.ok_or_else(|| ToolError::new(problem.clone()))?;
                (output, Some(problem))
            }
        };
        Ok(CommandEnd {
            output,
            json,
            problem,
            mask,
        })
    }
}

/// Sets the environment; what of it is secret.
fn with_environment(
    mut command: RunCommand,
    spec: &CommandSpec,
    values: &Map<String, Value>,
) -> Result<(RunCommand, Mask), String> {
    for (name, value) in inherited() {
        command = command.env(name, value);
    }
    if let Run::Shell(_) = spec.run {
        for (name, value) in values {
            command = command.env(variable(name), plain(value));
        }
        command = command.env("ARGS_JSON", json(values));
    }
    let mut mask = Mask::default();
    for rule in &spec.env {
        let value = rule.value()?;
        if rule.is_secret {
            let problem = |problem| format!("the variable `{}` {problem}", rule.name);
            mask.add(&value).map_err(problem)?;
        }
        command = command.env(&rule.name, value);
    }
    Ok((command, mask))
}

pub(super) fn json(values: &Map<String, Value>) -> String {
    serde_json::to_string(values).expect("values are JSON")
}

/// The environment variable of an argument of a shell line.
pub(super) fn variable(argument: &str) -> String {
    format!("ARG_{}", argument.to_ascii_uppercase().replace('-', "_"))
}

/// The words of a program. A value may not begin one with `-` before the author's own `--`, unless the author allows it.
fn argv(
    words: &[Template],
    arguments: &[Argument],
    fillings: &Fillings,
) -> Result<Vec<String>, String> {
    let mut argv = Vec::new();
    let (mut options_end, mut bytes) = (false, 0);
    for word in words {
        let filled = word.words(fillings, ARGV_BYTES_MAX)?;
        bytes += words_bytes(&filled);
        if bytes > ARGV_BYTES_MAX {
            return Err(too_many(bytes, ARGV_BYTES_MAX));
        }
        let of = |slot: &str| {
            let argument = arguments.iter().find(|argument| argument.name == slot)?;
            Some((argument, fillings.get(slot)?))
        };
        let mut guarded = word
            .slots()
            .filter_map(of)
            .filter(|(argument, given)| !argument.may_be_option(given));
        if !options_end
            && word.begins_with_slot()
            && filled.iter().any(|word| word.starts_with('-'))
            && let Some((argument, _)) = guarded.next()
        {
            let name = &argument.name;
            return Err(format!(
                "`{name}` begins with `-`, so the program would read it as an option. Where that is meant, the file says `allow_dash = true`."
            ));
        }
        options_end |= word.plain() == Some("--");
        argv.extend(filled);
    }
    Ok(argv)
}
