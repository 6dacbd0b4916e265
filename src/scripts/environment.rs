//! The environment of a script: what everybody needs, what the file adds, and which of it is secret.
//!
//! Must not know which script it is.

use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::de::DeValue;

use crate::scripts::table::Table;

/// What every script inherits: where programs are, who and where one is, the language, the place for temporary files.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
];

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
    /// What stands in a file, without its last line end.
    File(PathBuf),
}

impl EnvRule {
    /// Reads `env = { NAME = "value", OTHER = { from = "HOME" }, TOKEN = { file = "token", secret = true } }`.
    pub(super) fn read_all(table: &Table<'_>, base: &Path) -> Vec<EnvRule> {
        let rules = table.members("env").into_iter().filter_map(|(name, value)| {
            let at = value.span().start;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let first_is_digit = name.value.starts_with(|char: char| char.is_ascii_digit());
            if name.value.is_empty() || first_is_digit || !name.value.bytes().all(is_name) {
                table.notes.error(name.at, format!("`{}` is no name for an environment variable", name.value));
            }
            let (value, secret) = match value.get_ref() {
                DeValue::String(text) => (EnvValue::Literal(text.to_string()), None),
                DeValue::Table(members) => {
                    let rule = Table::new(table.notes, format!("the variable `{}`", name.value), at, members);
                    let value = match (rule.text("value"), rule.text("from"), rule.text("file")) {
                        (Some(text), None, None) => EnvValue::Literal(text.value),
                        (None, Some(from), None) => EnvValue::From(from.value),
                        (None, None, Some(file)) => EnvValue::File(base.join(file.value)),
                        _ => {
                            table.notes.error(at, format!("the variable `{}` needs one of value, from and file", name.value));
                            return None;
                        }
                    };
                    let secret = rule.boolean("secret");
                    rule.finish();
                    (value, secret)
                }
                _ => {
                    table.notes.error(at, format!("the variable `{}` is a string, {{ from = \"NAME\" }} or {{ file = \"path\" }}", name.value));
                    return None;
                }
            };
            if secret.is_none() && looks_secret(&name.value) && !matches!(value, EnvValue::File(_)) {
                table.notes.warning(name.at, format!("`{}` looks like a secret; say secret = true to mask it in answers, or false", name.value));
            }
            let is_secret = secret.unwrap_or(matches!(value, EnvValue::File(_)));
            Some(EnvRule { name: name.value, value, is_secret })
        });
        rules.collect()
    }

    /// Its value now; a sentence when there is none.
    pub(super) fn value(&self) -> Result<String, String> {
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
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
                let end = text.trim_end_matches('\n').trim_end_matches('\r').len();
                Ok(text[..end].to_owned())
            }
        }
    }
}

/// The variables that every script inherits, as far as they are set.
pub(super) fn inherited() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    INHERITED
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
}

fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [
        "SECRET",
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "API_KEY",
        "APIKEY",
        "PRIVATE_KEY",
        "CREDENTIAL",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// Takes secrets out of text.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask(Vec<String>);

const MASKED: &str = "[secret]";

/// A shorter value would be found in innocent text everywhere.
const SECRET_CHARS_MIN: usize = 4;

/// How a line begins that stands in an output in place of its middle, and how it ends.
const GAP: (&str, &str) = ("\n[... ", "...]\n");

impl Mask {
    /// One more secret; a sentence without a subject when it cannot be hidden.
    pub(super) fn add(&mut self, secret: &str) -> Result<(), String> {
        if (1..SECRET_CHARS_MIN).contains(&secret.chars().count()) {
            return Err(format!(
                "is secret and has fewer than {SECRET_CHARS_MIN} characters, so it cannot be masked"
            ));
        }
        // One of several lines appears line by line, and in JSON with its quotes escaped.
        let json = Value::from(secret).to_string();
        let spellings = secret.lines().map(str::trim);
        let spellings = spellings.chain([secret, json[1..json.len() - 1].trim()]);
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

    /// The same for a text whose middle may have been left out, so that the ends beside the gap hold a part of a secret.
    pub(super) fn apply_around_gap(&self, text: &str) -> String {
        let text = self.apply(text);
        let Some((head, rest)) = text.split_once(GAP.0).filter(|_| !self.is_empty()) else {
            return text;
        };
        let (gap, tail) = rest.split_once(GAP.1).unwrap_or((rest, ""));
        let (mut head, mut tail) = (head.to_owned(), tail.to_owned());
        for secret in &self.0 {
            let cuts = || secret.char_indices().map(|(at, _)| at).filter(|at| *at > 0);
            if let Some(at) = cuts().rev().find(|at| head.ends_with(&secret[..*at])) {
                head.truncate(head.len() - at);
                head.push_str(MASKED);
            }
            if let Some(at) = cuts().find(|at| tail.starts_with(&secret[*at..])) {
                tail.replace_range(..secret.len() - at, MASKED);
            }
        }
        format!("{head}{}{gap}{}{tail}", GAP.0, GAP.1)
    }
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
            "",
        ] {
            mask.add(secret).expect("it can be masked");
        }
        assert!(mask.add("abc").is_err(), "it would be found everywhere");
        let masked = mask.apply("a hunter22-long b hunter22 c abc {\"x\": \"a\\\"bc\"}");
        assert_eq!(masked, "a [secret] b [secret] c abc {\"x\": \"[secret]\"}");
        assert_eq!(mask.apply("second line"), "[secret]");
        let cut = mask.apply_around_gap("x hunt\n[... 9 bytes left out ...]\nter22 y");
        assert_eq!(cut, "x [secret]\n[... 9 bytes left out ...]\n[secret] y");
    }
}
