//! Reads what a tool or a resource runs: the program, its arguments, its environment, its bounds.
//!
//! Must not know which of the two it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::scripts::argument::Argument;
use crate::scripts::command::variable;
use crate::scripts::environment::EnvRule;
use crate::scripts::mistake::nearest;
use crate::scripts::spec::{CommandSpec, Run, Stdin};
use crate::scripts::table::{At, Table};
use crate::scripts::template::Template;

/// What a command says besides its program, or `[defaults]` for those that do not.
pub(super) struct Settings<'b> {
    /// The directory that relative paths are relative to.
    pub(super) base: &'b Path,
    cwd: Option<PathBuf>,
    env: Vec<EnvRule>,
    timeout: Option<Duration>,
    liveness: Option<Duration>,
    output_max: Option<usize>,
}

const OUTPUT_MAX: usize = 64 * 1024;

impl<'b> Settings<'b> {
    pub(super) fn read(table: &Table<'_>, base: &'b Path) -> Self {
        Settings {
            base,
            cwd: cwd(table, base),
            env: EnvRule::read_all(table, base),
            timeout: table.duration("timeout"),
            liveness: table.duration("liveness"),
            output_max: table.size("output_max"),
        }
    }

    /// Everything is read before a missing program gives up, so that it does not hide other mistakes.
    pub(super) fn command(&self, table: &Table<'_>, arguments: &[Argument]) -> Option<CommandSpec> {
        let run = self.run(table, arguments);
        let own = Settings::read(table, self.base);
        // A default that is written anew is none: its source need not be there, and its secret is nobody's.
        let mut env = self.env.clone();
        env.retain(|rule| own.env.iter().all(|own| own.name != rule.name));
        env.extend_from_slice(&own.env);
        let stdin = stdin(table, arguments);
        match &run {
            Some(Run::Shell(_)) => check_variables(table, arguments, &env),
            Some(Run::Argv(_, words)) if stdin != Stdin::Json => {
                check_use(table, arguments, words, &stdin)
            }
            _ => {}
        }
        let cwd = own.cwd.as_ref().or(self.cwd.as_ref());
        let output_max = own.output_max.or(self.output_max);
        Some(CommandSpec {
            cwd: cwd.map_or(self.base, PathBuf::as_path).to_owned(),
            env,
            stdin,
            timeout: own.timeout.or(self.timeout),
            liveness: own.liveness.or(self.liveness),
            ok_codes: ok_codes(table),
            output_max: output_max.unwrap_or(OUTPUT_MAX),
            run: run?,
        })
    }

    fn run(&self, table: &Table<'_>, arguments: &[Argument]) -> Option<Run> {
        let (run, shell) = (table.strings("run"), table.text("shell"));
        match (table.has("run"), table.has("shell")) {
            (true, false) => self.argv(table, run?, arguments),
            (false, true) => Some(Run::Shell(shell?)),
            (true, true) => {
                let problem = "there are both `run` and `shell`; leave one of them out";
                table.misplaced("shell", problem);
                None
            }
            (false, false) => {
                let problem = format!(
                    "{} needs a run = [\"./program\", \"{{argument}}\"], or a shell = \"..\"",
                    table.what
                );
                table.notes.error(table.at, problem);
                None
            }
        }
    }

    fn argv(
        &self,
        table: &Table<'_>,
        words: Vec<At<String>>,
        arguments: &[Argument],
    ) -> Option<Run> {
        let mut words = words.into_iter();
        let Some(program) = words.next().filter(|program| !program.value.is_empty()) else {
            table.misplaced("run", "`run` is empty; give at least a program");
            return None;
        };
        let name = Template::parse(&program.value).ok();
        let Some(name) = name.as_ref().and_then(Template::plain) else {
            let problem =
                "the program cannot be an argument; name it, with `{{` for a brace itself";
            table.notes.error(program.at, problem);
            return None;
        };
        if words.len() == 0 && name.contains(' ') {
            let problem = "one word with spaces is a program with spaces in its name; write each word by itself";
            table.notes.warning(program.at, problem);
        }
        let words = words.filter_map(|word| parsed(table, &word, arguments));
        Some(Run::Argv(self.program(name), words.collect()))
    }

    /// One that is named by its path, or one that is looked for.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        match name.contains('/') {
            true => self.base.join(name),
            false => name.into(),
        }
    }
}

/// Reports arguments that a shell line could not tell from each other, or from what the file sets.
fn check_variables(table: &Table<'_>, arguments: &[Argument], env: &[EnvRule]) {
    let set = env.iter().map(|rule| rule.name.clone());
    let mut known: BTreeSet<String> = set.chain(["ARGS_JSON".to_owned()]).collect();
    for argument in arguments {
        let variable = variable(&argument.name);
        if !known.insert(variable.clone()) {
            let name = &argument.name;
            let at = place_of(table, name);
            let problem = format!(
                "the argument `{name}` is the variable `{variable}` in the shell line, and that is another's already; name it otherwise"
            );
            table.notes.error(at, problem);
        }
    }
}

/// Reports arguments that a model is asked for and the program never gets.
fn check_use(table: &Table<'_>, arguments: &[Argument], words: &[Template], stdin: &Stdin) {
    let stdin = match stdin {
        Stdin::Text(template) => Some(template),
        Stdin::None | Stdin::Json => None,
    };
    let used: Vec<&str> = words
        .iter()
        .chain(stdin)
        .flat_map(Template::slots)
        .collect();
    for argument in arguments
        .iter()
        .filter(|argument| !used.contains(&&*argument.name))
    {
        let name = &argument.name;
        let problem = format!(
            "the program never gets the argument `{name}`; write {{{name}}} where it belongs in `run`"
        );
        table.notes.warning(place_of(table, name), problem);
    }
}

fn place_of(table: &Table<'_>, argument: &str) -> usize {
    let mut members = table.members("args").into_iter();
    let found = members.find(|(name, _)| name.value == argument);
    found.map_or(table.at, |(name, _)| name.at)
}

fn cwd(table: &Table<'_>, base: &Path) -> Option<PathBuf> {
    let directory = base.join(table.text("cwd")?);
    if !directory.is_dir() {
        let shown = directory.display();
        let problem = format!("`cwd` is the directory `{shown}`, which does not exist");
        table.wrong("cwd", problem);
    }
    Some(directory)
}

fn stdin(table: &Table<'_>, arguments: &[Argument]) -> Stdin {
    match table.text("stdin").as_deref() {
        None | Some("none") => return Stdin::None,
        Some("json") => return Stdin::Json,
        Some(_) => {}
    }
    let Some(template) = template(table, "stdin", arguments) else {
        return Stdin::None;
    };
    if template.slots().next().is_none() {
        let problem = "`stdin` is \"none\", \"json\" (all arguments), or an argument: \"{text}\"";
        table.wrong("stdin", problem);
    }
    Stdin::Text(template)
}

/// The exit codes that are no failure.
fn ok_codes(table: &Table<'_>) -> Vec<i32> {
    let codes: Option<Vec<u8>> = table.value("ok_codes", "a list of exit codes, from 0 to 255");
    codes
        .unwrap_or_else(|| vec![0])
        .into_iter()
        .map(i32::from)
        .collect()
}

/// The arguments of a tool or a prompt, in the order of the file.
pub(super) fn arguments(kind: &str, table: &Table<'_>, base: &Path) -> Vec<Argument> {
    let above = |name: &str| format!("write [{kind}.args.{name}] above what the argument is");
    let tables = table.named_tables("args", "argument", above).into_iter();
    let arguments = tables.map(|(name, table)| {
        let argument = Argument::read(name, &table, base);
        table.finish();
        argument
    });
    arguments.collect()
}

/// The value of a key, with placeholders.
pub(super) fn template(
    table: &Table<'_>,
    key: &'static str,
    arguments: &[Argument],
) -> Option<Template> {
    let (value, at) = (table.text(key)?, table.place(key));
    parsed(table, &At { value, at }, arguments)
}

fn parsed(table: &Table<'_>, word: &At<String>, arguments: &[Argument]) -> Option<Template> {
    let template =
        Template::parse(&word.value).map_err(|problem| table.notes.error(word.at, problem));
    let template = template.ok()?;
    let known = || arguments.iter().map(|argument| argument.name.as_str());
    for slot in template
        .slots()
        .filter(|slot| known().all(|known| known != *slot))
    {
        let hint = match nearest(slot, known()) {
            Some(nearest) => format!("did you mean `{{{nearest}}}`?"),
            None => format!("describe it in a table args.{slot}"),
        };
        let problem = format!("there is no argument `{slot}`; {hint}");
        table.notes.error(word.at, problem);
    }
    Some(template)
}
