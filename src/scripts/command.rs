//! From checked arguments to a command that runs.
//!
//! What a model writes becomes one word of a program, a part of one, an environment variable or the input; nothing of it is ever read as a command.
//! Must not know the file's syntax.

use serde_json::{Map, Value};

use crate::handler::{CommandOutput, Progress, RequestContext, RunCommand, ToolError};
use crate::scripts::argument::{Argument, plain};
use crate::scripts::environment::{Mask, inherited};
use crate::scripts::spec::{CommandSpec, Run, Stdin};
use crate::scripts::template::{Fillings, Template};

/// A command that can be run, and what must not be seen of what it says.
pub(super) struct Prepared {
    command: RunCommand,
    mask: Mask,
}

/// How a command ended.
pub(super) struct CommandEnd {
    /// Without its secrets, but for bytes that are no text.
    pub(super) output: CommandOutput,
    /// Why it was ended before its own end.
    pub(super) problem: Option<String>,
    pub(super) mask: Mask,
}

/// What fills the placeholders.
pub(super) fn fillings(arguments: &[Argument], values: &Map<String, Value>) -> Fillings {
    let given = arguments.iter().filter_map(|argument| {
        let value = values.get(&argument.name)?;
        Some((argument.name.clone(), argument.filling(value)))
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
        let fillings = fillings(arguments, values);
        let json = || Value::Object(values.clone()).to_string();
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
        for (name, value) in inherited() {
            command = command.env(name, value);
        }
        if let Run::Shell(_) = spec.run {
            for (name, value) in values {
                command = command.env(variable(name), plain(value));
            }
            command = command.env("ARGS_JSON", json());
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
        command = match &spec.stdin {
            Stdin::None => command,
            Stdin::Json => command.stdin(json()),
            Stdin::Text(template) => command.stdin(template.words(&fillings).join("\n")),
        };
        if let Some(timeout) = spec.timeout {
            command = command.timeout(timeout);
        }
        if let Some(liveness) = spec.liveness {
            command = command.liveness(liveness);
        }
        Ok(Prepared { command, mask })
    }

    /// Runs it. Its lines are reported if somebody wants to see them.
    pub(super) fn run<S>(
        self,
        cx: &mut RequestContext<S>,
        shows_lines: bool,
    ) -> Result<CommandEnd, ToolError> {
        let Prepared { command, mask } = self;
        let mut count = 0.0;
        let ended = command.run_with(cx, |cx, line| {
            if shows_lines {
                count += 1.0;
                cx.progress(Progress::new(count).message(mask.apply_to_line(line)));
            }
        });
        // Masked here, before anybody could forget it, and before an error quotes from it.
        let mut error = match ended {
            Ok(mut output) => {
                mask.apply_to_output(&mut output);
                return Ok(CommandEnd {
                    output,
                    problem: None,
                    mask,
                });
            }
            Err(error) => error,
        };
        let output = error.output_mut().map(|output| {
            mask.apply_to_output(output);
            output.clone()
        });
        let problem = mask.apply(&error.to_string());
        match output {
            Some(output) => Ok(CommandEnd {
                output,
                problem: Some(problem),
                mask,
            }),
            None => Err(ToolError::new(problem)),
        }
    }
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
    let mut options_end = false;
    for word in words {
        let filled = word.words(fillings);
        let of = |slot: &str| arguments.iter().find(|argument| argument.name == slot);
        let mut guarded = word
            .slots()
            .filter_map(of)
            .filter(|one| !one.may_be_option());
        if !options_end
            && word.begins_with_slot()
            && filled.iter().any(|word| word.starts_with('-'))
            && let Some(argument) = guarded.next()
        {
            let name = &argument.name;
            return Err(format!(
                "`{name}` begins with `-`, so the program would read it as an option."
            ));
        }
        options_end |= word.plain() == Some("--");
        argv.extend(filled);
    }
    Ok(argv)
}
