//! The environment of a script: what everybody needs, what the file adds, and which of it is secret.
//!
//! Must not know which script it is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memchr::memmem;
use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::DeValue;

use crate::handler::CommandOutput;
use crate::handler::command::gap;
use crate::scripts::table::{At, Table, is_name};

/// What every script inherits: where programs are, who and where one is, the language, the place for temporary files.
const INHERITED: &str =
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_ALL LC_CTYPE TZ TMPDIR XDG_RUNTIME_DIR";

/// What stands in the names of variables that should be secret.
const SECRET: &str = "SECRET TOKEN PASSWORD PASSWD API_KEY APIKEY PRIVATE_KEY CREDENTIAL";

/// One variable that the file adds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EnvRule {
    pub(super) name: String,
    pub(super) value: EnvValue,
    /// Whether its value is masked in everything that leaves the server.
    pub(super) is_secret: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum EnvValue {
    Literal(String),
    /// From the server's own environment.
    From(String),
    /// What stands in a file, without the line ends behind it.
    File(PathBuf),
}

impl EnvValue {
    fn read(rule: Table<'_>, base: &Path) -> Option<Self> {
        let value = match (rule.text("value"), rule.text("from"), rule.text("file")) {
            (Some(text), None, None) => Some(EnvValue::Literal(text)),
            (None, Some(from), None) => Some(EnvValue::From(from)),
            (None, None, Some(file)) => Some(EnvValue::File(base.join(file))),
            _ => {
                let problem = format!("{} needs one of value, from and file", rule.what);
                rule.notes.error(rule.at, problem);
                None
            }
        };
        rule.finish();
        value
    }
}

impl EnvRule {
    /// Reads `env = { NAME = "value", OTHER = { from = "HOME" }, TOKEN = { file = "token", secret = true } }`.
    pub(super) fn read_all(table: &Table<'_>, base: &Path) -> Vec<EnvRule> {
        let rules = table.members("env").into_iter();
        let rules = rules.filter_map(|(name, value)| EnvRule::read(table, name, value, base));
        rules.collect()
    }

    fn read(
        table: &Table<'_>,
        At { value: name, at }: At<String>,
        found: &Spanned<DeValue<'_>>,
        base: &Path,
    ) -> Option<EnvRule> {
        let (notes, value_at) = (table.notes, found.span().start);
        let what = format!("the variable `{name}`");
        if !is_name(&name, "_") || name.starts_with(|char: char| char.is_ascii_digit()) {
            notes.error(
                at,
                format!("`{name}` is no name for an environment variable"),
            );
        }
        let (value, secret) = match found.get_ref() {
            DeValue::String(text) => (EnvValue::Literal(text.to_string()), None),
            DeValue::Table(members) => {
                let rule = Table::new(notes, what.as_str(), value_at, members);
                let secret = rule.boolean("secret");
                (EnvValue::read(rule, base)?, secret)
            }
            _ => {
                let problem =
                    format!("{what} is a string, {{ from = \"NAME\" }} or {{ file = \"path\" }}");
                notes.error(value_at, problem);
                return None;
            }
        };
        let is_file = matches!(value, EnvValue::File(_));
        if secret.is_none() && looks_secret(&name) && !is_file {
            let problem = format!(
                "`{name}` looks like a secret; say secret = true to mask it in answers, or false"
            );
            notes.warning(at, problem);
        }
        let is_secret = secret.unwrap_or(is_file);
        if let (EnvValue::Literal(text), true) = (&value, is_secret)
            && let Err(problem) = Mask::default().add(text)
        {
            notes.error(value_at, format!("{what} {problem}"));
        }
        Some(EnvRule {
            name,
            value,
            is_secret,
        })
    }

    /// Its value now; a sentence when there is none, or none that a program can be given.
    pub(super) fn value(&self) -> Result<String, String> {
        let value = self.found()?;
        match value.contains('\0') {
            true => Err(format!(
                "the variable `{}` has a NUL character, which no program can be given",
                self.name
            )),
            false => Ok(value),
        }
    }

    fn found(&self) -> Result<String, String> {
        match &self.value {
            EnvValue::Literal(text) => Ok(text.clone()),
            EnvValue::From(name) => std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => {
                    format!("the environment variable `{name}` is not set")
                }
                std::env::VarError::NotUnicode(_) => {
                    format!("the environment variable `{name}` is not UTF-8")
                }
            }),
            EnvValue::File(path) => {
                let text = open(path)
                    .and_then(io::read_to_string)
                    .map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
                let end = text.trim_end_matches('\n').trim_end_matches('\r').len();
                Ok(text[..end].to_owned())
            }
        }
    }
}

/// Opens a file to be read. To open a pipe would be to wait for its writer.
pub(super) fn open(path: &Path) -> io::Result<File> {
    match std::fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// The variables that every script inherits, as far as they are set.
pub(super) fn inherited() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    INHERITED
        .split(' ')
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
}

fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET.split(' ').any(|word| name.contains(word))
}

/// Takes secrets out of text.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask(Vec<String>);

const MASKED: &str = "[secret]";

/// A shorter value would be found in innocent text everywhere.
const SECRET_CHARS_MIN: usize = 4;

impl Mask {
    /// One more secret; a sentence without a subject when it cannot be hidden.
    pub(super) fn add(&mut self, secret: &str) -> Result<(), String> {
        if (1..SECRET_CHARS_MIN).contains(&secret.chars().count()) {
            return Err(format!(
                "is secret and has fewer than {SECRET_CHARS_MIN} characters, so it cannot be masked"
            ));
        }
        // One of several lines appears line by line, there without what a terminal does not show, and in JSON with its quotes escaped, for some with
        // everything that is not ASCII.
        let json = Value::from(secret).to_string();
        let json = json[1..json.len() - 1].trim();
        let ascii = ascii_json(json);
        let shown: String = secret.chars().filter(|char| !char.is_control()).collect();
        let spellings = secret.split(['\n', '\r']).map(str::trim);
        let spellings = spellings.chain([secret, json, &ascii, &shown]);
        let long = spellings.filter(|text| text.chars().count() >= SECRET_CHARS_MIN);
        self.0.extend(long.map(ToOwned::to_owned));
        // The longest first, so that no part is left of it.
        self.0
            .sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.0.dedup();
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASKED);
            }
        }
        text
    }

    /// The same for a line that may be cut at its end: as it is shown while it is being written, or because it is too long to be shown.
    pub(super) fn apply_to_line(&self, line: &str) -> String {
        let mut line = self.apply(line);
        self.cut_end(&mut line, SECRET_CHARS_MIN);
        line
    }

    /// The same for everything in a value: its texts and the names of its members.
    pub(super) fn apply_to_json(&self, value: Value) -> Value {
        match value {
            value if self.is_empty() => value,
            Value::String(text) => self.apply(&text).into(),
            Value::Array(items) => {
                let items = items.into_iter();
                items.map(|item| self.apply_to_json(item)).collect()
            }
            Value::Object(members) => {
                let members = members.into_iter();
                let masked =
                    |(name, value): (String, Value)| (self.apply(&name), self.apply_to_json(value));
                Value::Object(members.map(masked).collect())
            }
            Value::Number(number) if self.hides(&number) => MASKED.into(),
            other => other,
        }
    }

    /// Whether this number is a secret or has one in its digits, however it was spelled.
    fn hides(&self, number: &Number) -> bool {
        let (text, number) = (number.to_string(), number.as_f64());
        let is_it = |secret: &String| {
            text.contains(secret.as_str())
                || secret
                    .parse()
                    .ok()
                    .is_some_and(|secret| Some(secret) == number)
        };
        self.0.iter().any(is_it)
    }

    /// Whether one of them stands in bytes that are no text, where none can be masked.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        let mut secrets = self.0.iter();
        secrets.any(|secret| memmem::find(bytes, secret.as_bytes()).is_some())
    }

    /// Masks the beginning of a secret at the end of a text, if it has so many bytes.
    fn cut_end(&self, text: &mut String, least: usize) {
        for secret in &self.0 {
            let cuts = secret.char_indices().map(|(at, _)| at);
            let mut cuts = cuts.filter(|at| *at >= least).rev();
            if let Some(at) = cuts.find(|at| text.ends_with(&secret[..*at])) {
                text.truncate(text.len() - at);
                text.push_str(MASKED);
            }
        }
    }

    pub(super) fn apply_to_output(&self, output: &mut CommandOutput) {
        if self.is_empty() {
            return;
        }
        output.stdout = self.apply_around_gap(&output.stdout, output.stdout_left_out);
        output.stderr = self.apply_around_gap(&output.stderr, output.stderr_left_out);
    }

    /// The same for a text of whose middle so many bytes were left out, so that the ends beside the gap hold a part of a secret. The program may have
    /// written what looks like this gap, too.
    fn apply_around_gap(&self, text: &str, left_out: u64) -> String {
        if left_out == 0 {
            return self.apply(text);
        }
        let gap = gap(left_out);
        let mut parts = text.split(&gap).map(|part| self.apply(part));
        let mut masked = parts.next().unwrap_or_default();
        for tail in parts {
            self.cut_end(&mut masked, 1);
            masked.push_str(&gap);
            let cut = self.0.iter().flat_map(|secret| {
                let cuts = secret.char_indices().map(|(at, _)| at);
                cuts.filter(|at| *at > 0).map(|at| &secret[at..])
            });
            match cut
                .filter(|cut| tail.starts_with(*cut))
                .max_by_key(|cut| cut.len())
            {
                Some(cut) => masked.extend([MASKED, &tail[cut.len()..]]),
                None => masked.push_str(&tail),
            }
        }
        masked
    }
}

/// JSON's spelling with everything that is not ASCII escaped.
fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    let mut units = [0; 2];
    for char in json.chars() {
        match char.is_ascii() {
            true => ascii.push(char),
            false => char
                .encode_utf16(&mut units)
                .iter()
                .for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_whole_in_lines_in_json_and_beside_a_gap() {
        let mut mask = Mask::default();
        for secret in [
            "hunter22",
            "hunter22-long",
            "first line\nsecond line",
            "a\"bc",
            "sw\u{1}ord\rfish",
            "",
        ] {
            mask.add(secret).expect("it can be masked");
        }
        assert!(mask.add("abc").is_err(), "it would be found everywhere");
        let masked = mask.apply("a hunter22-long b hunter22 c abc {\"x\": \"a\\\"bc\"}");
        assert_eq!(masked, "a [secret] b [secret] c abc {\"x\": \"[secret]\"}");
        for shown in ["second line", "swordfish", "sw\u{1}ord", "fish"] {
            assert_eq!(mask.apply(shown), "[secret]");
        }
        let text = "x hunt\n[... 9 bytes left out ...]\nter22 y";
        let cut = mask.apply_around_gap(text, 9);
        assert_eq!(cut, "x [secret]\n[... 9 bytes left out ...]\n[secret] y");
        assert_eq!(
            mask.apply_around_gap(text, 0),
            text,
            "it is the program's own"
        );
    }
}
