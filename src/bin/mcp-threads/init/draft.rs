//! A tool that is to be written, and how it is written: commented, and such that `check` finds nothing wrong with it.
//!
//! Must not know where it is from.

use std::fmt::{Result, Write};

use serde_json::Value;

/// One tool to be written.
pub(super) struct ToolDraft {
    pub(super) name: String,
    pub(super) description: String,
    /// The program and its words; those of the arguments come behind them.
    run: Vec<String>,
    pub(super) arguments: Vec<DraftArgument>,
    /// Whether a person is asked first.
    pub(super) asks: bool,
}

pub(super) struct DraftArgument {
    pub(super) name: String,
    pub(super) default: Option<String>,
    /// Of a list, how many there are at least.
    pub(super) items_min: Option<usize>,
    pub(super) pattern: Option<&'static str>,
}

/// Words in a name that a person should be asked about.
const DANGEROUS: &str = "deploy delete destroy drop publish release remove reset clean purge prune push rollback uninstall";

impl ToolDraft {
    pub(super) fn new<'w>(
        name: &str,
        description: String,
        run: impl IntoIterator<Item = &'w str>,
    ) -> Self {
        let lower = name.to_lowercase();
        ToolDraft {
            name: name.to_owned(),
            description,
            run: run.into_iter().map(ToOwned::to_owned).collect(),
            arguments: Vec::new(),
            asks: DANGEROUS.split(' ').any(|word| lower.contains(word)),
        }
    }

    pub(super) fn write(&self, text: &mut String, name: &str) -> Result {
        writeln!(text, "\n[[tool]]\nname = {}", quoted(name))?;
        match self.description.is_empty() {
            true => writeln!(
                text,
                "# description = \"What it does, and when to use it.\""
            )?,
            false => writeln!(text, "description = {}", quoted(&self.description))?,
        }
        let words = self.run.iter().map(|word| quoted(&literal(word)));
        let slots = self
            .arguments
            .iter()
            .map(|argument| format!("\"{{{}}}\"", argument.name));
        let words: Vec<_> = words.chain(slots).collect();
        writeln!(text, "run = [{}]", words.join(", "))?;
        match self.asks {
            true => writeln!(
                text,
                "destructive = true\nconfirm = {}    # a person is asked first",
                quoted(&literal(&format!("Run `{}`?", self.name)))
            )?,
            false => writeln!(text, "# read_only = true    # if it changes nothing")?,
        }
        self.arguments
            .iter()
            .try_for_each(|argument| argument.write(text))
    }
}

impl DraftArgument {
    fn write(&self, text: &mut String) -> Result {
        writeln!(text, "\n[tool.args.{}]", self.name)?;
        match (self.items_min, &self.default) {
            (Some(_), _) => writeln!(
                text,
                "type = \"array\"\n# description = \"What its words mean.\"\n# allow_dash = true    # if options may be given, too"
            )?,
            (None, Some(default)) => writeln!(text, "default = {}", quoted(default))?,
            (None, None) => writeln!(text, "required = true")?,
        }
        if self.items_min > Some(0) {
            writeln!(text, "min_items = 1\nrequired = true")?;
        }
        if let Some(pattern) = self.pattern {
            let why = "it is put into shell lines as it is: allow nothing that a shell reads";
            let pattern = match &self.default {
                Some(default) => format!("{pattern}|{}", escaped(default)),
                None => pattern.to_owned(),
            };
            writeln!(text, "pattern = {}    # {why}", quoted(&pattern))?;
        }
        Ok(())
    }
}

/// A string of TOML, which is one of JSON but for one character.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A regular expression for this text alone.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        let is_special = "\\.+*?()|[]{}^$".contains(char);
        escaped.extend(is_special.then_some('\\').into_iter().chain([char]));
    }
    escaped
}

/// The braces themselves, and no placeholders.
fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}
