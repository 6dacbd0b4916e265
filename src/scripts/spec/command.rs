//! Reads what a tool or a resource runs: the program, its arguments, its environment, its bounds.
//!
//! Must not know which of the two it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use crate::scripts::argument::Argument;
use crate::scripts::environment::EnvRule;
use crate::scripts::mistake::nearest;
use crate::scripts::spec::{CommandSpec, Run, Stdin};
use crate::scripts::table::{At, Table};
use crate::scripts::template::Template;

/// What a command has that says nothing itself, and the directory that relative paths are relative to.
pub(super) struct Defaults<'b> {
    pub(super) base: &'b Path,
    cwd: Option<PathBuf>,
    env: Vec<EnvRule>,
    timeout: Option<Duration>,
    pub(super) liveness: Option<Duration>,
    output_max: usize,
}

const OUTPUT_MAX: usize = 64 * 1024;

impl<'b> Defaults<'b> {
    pub(super) fn read(table: Option<Table<'_>>, base: &'b Path) -> Self {
        let mut defaults = Defaults {
            base,
            cwd: None,
            env: Vec::new(),
            timeout: None,
            liveness: None,
            output_max: OUTPUT_MAX,
        };
        if let Some(table) = table {
            defaults.cwd = cwd(&table, base);
            defaults.env = EnvRule::read_all(&table, base);
            defaults.timeout = table.duration("timeout");
            defaults.liveness = table.duration("liveness");
            defaults.output_max = table.size("output_max").unwrap_or(OUTPUT_MAX);
            table.finish();
        }
        defaults
    }

    /// Everything is read before a missing program gives up, so that it does not hide other mistakes.
    pub(super) fn command(&self, table: &Table<'_>, arguments: &[Argument]) -> Option<CommandSpec> {
        let run = self.run(table, arguments);
        let mut env = self.env.clone();
        env.extend(EnvRule::read_all(table, self.base));
        let cwd = cwd(table, self.base).or_else(|| self.cwd.clone());
        let stdin = stdin(table, arguments);
        let timeout = table.duration("timeout").or(self.timeout);
        let ok_codes = table.codes("ok_codes").unwrap_or_else(|| vec![0]);
        let output_max = table.size("output_max").unwrap_or(self.output_max);
        Some(CommandSpec {
            run: run?,
            cwd: cwd.unwrap_or_else(|| self.base.to_owned()),
            env,
            stdin,
            timeout,
            ok_codes,
            output_max,
        })
    }

    fn run(&self, table: &Table<'_>, arguments: &[Argument]) -> Option<Run> {
        let (run, shell) = (table.strings("run"), table.text("shell"));
        match (table.place("run"), table.place("shell")) {
            (Some(_), None) => self.argv(table, run?, arguments),
            (None, Some(_)) => Some(Run::Shell(shell?.value)),
            (Some(_), Some(at)) => {
                let problem = "there are both `run` and `shell`; leave one of them out";
                table.notes.error(at, problem);
                None
            }
            (None, None) => {
                let problem =
                    "there is no `run = [\"./program\", \"{argument}\"]`, and no `shell = \"..\"`";
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
            let at = table.place("run").unwrap_or(table.at);
            let problem = "`run` is empty; give at least a program";
            table.notes.error(at, problem);
            return None;
        };
        if program.value.contains(['{', '}']) {
            let problem = "the program cannot be an argument; name it";
            table.notes.error(program.at, problem);
        }
        if words.len() == 0 && program.value.contains(' ') {
            let problem = "one word with spaces is a program with spaces in its name; write each word by itself";
            table.notes.warning(program.at, problem);
        }
        let program = match program.value.contains('/') {
            true => self.base.join(program.value),
            false => program.value.into(),
        };
        let words = words.filter_map(|word| parsed(table, &word, arguments));
        Some(Run::Argv(program, words.collect()))
    }
}

fn cwd(table: &Table<'_>, base: &Path) -> Option<PathBuf> {
    let cwd = table.text("cwd")?;
    let directory = base.join(&cwd.value);
    if !directory.is_dir() {
        let directory = directory.display();
        let problem = format!("`cwd` is the directory `{directory}`, which does not exist");
        table.notes.error(cwd.at, problem);
    }
    Some(directory)
}

fn stdin(table: &Table<'_>, arguments: &[Argument]) -> Stdin {
    let Some(text) = table.text("stdin") else {
        return Stdin::None;
    };
    match text.value.as_str() {
        "none" => return Stdin::None,
        "json" => return Stdin::Json,
        _ => {}
    }
    let Some(template) = parsed(table, &text, arguments) else {
        return Stdin::None;
    };
    if template.slots().next().is_none() {
        let problem = "`stdin` is \"none\", \"json\" (all arguments), or an argument: \"{text}\"";
        table.notes.error(text.at, problem);
    }
    Stdin::Text(template)
}

/// The arguments of a tool or a prompt, in the order of the file.
pub(super) fn arguments(kind: &str, table: &Table<'_>, base: &Path) -> Vec<Argument> {
    let arguments = table
        .members("args")
        .into_iter()
        .filter_map(|(name, value)| {
            let DeValue::Table(members) = value.get_ref() else {
                let problem = format!(
                    "write [{kind}.args.{}] above what the argument is",
                    name.value
                );
                table.notes.error(name.at, problem);
                return None;
            };
            let what = format!("the argument `{}`", name.value);
            let table = Table::new(table.notes, what, name.at, members);
            let argument = Argument::read(&name, &table, base);
            table.finish();
            Some(argument)
        });
    arguments.collect()
}

/// The value of a key, with placeholders.
pub(super) fn template(
    table: &Table<'_>,
    key: &'static str,
    arguments: &[Argument],
) -> Option<Template> {
    parsed(table, &table.text(key)?, arguments)
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
