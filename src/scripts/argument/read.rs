//! Reads `[tool.args.NAME]`.

use std::path::Path;

use regex_lite::Regex;
use serde_json::{Number, Value};

use crate::scripts::argument::path::PathRule;
use crate::scripts::argument::{Argument, ArgumentType, Pattern};
use crate::scripts::mistake::nearest;
use crate::scripts::table::{At, Table};

const TYPES: [&str; 8] = [
    "string", "integer", "number", "boolean", "enum", "array", "path", "object",
];

impl Argument {
    /// Relative paths are relative to `base`.
    pub(in crate::scripts) fn read(name: &At<String>, table: &Table<'_>, base: &Path) -> Self {
        let one_of = table.anys("one_of");
        let path = table.table("path", format!("`path` of the argument `{}`", name.value));
        let (kind, is_array) = kind(name, table, one_of.as_ref());
        let kind = if path.is_some() {
            ArgumentType::Path
        } else {
            kind
        };
        let count = |key| table.count(key, 0..=usize::MAX);
        let argument = Argument {
            name: name.value.clone(),
            description: table.said("description"),
            default: table.any("default").map(|default| default.value),
            required: table.boolean("required").unwrap_or(false),
            kind,
            is_array,
            items: [count("min_items"), count("max_items")],
            pattern: pattern(table),
            length: [count("min_length"), count("max_length")],
            range: [table.number("min"), table.number("max")],
            one_of: one_of.map(|values| values.value).unwrap_or_default(),
            path: (kind == ArgumentType::Path).then(|| PathRule::read(path, base)),
            allow_dash: table.boolean("allow_dash").unwrap_or(false),
        };
        argument.check_itself(table);
        argument
    }

    /// Mistakes that a look at one key does not show.
    fn check_itself(&self, table: &Table<'_>) {
        let name = &self.name;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
            let problem = format!(
                "the argument `{name}` needs a name of 1 to 64 of the characters A-Z a-z 0-9 _ -"
            );
            table.notes.error(table.at, problem);
        }
        let mistake = |key: &'static str, problem: String| {
            let at = table.place(key).unwrap_or(table.at);
            table.notes.error(at, problem);
        };
        self.check_default(&mistake);
        self.check_bounds(&mistake);
        if self.one_of.is_empty() && table.place("one_of").is_some() {
            let problem = format!("`one_of` of the argument `{name}` is empty, so nothing fits");
            mistake("one_of", problem);
        }
        let is_text = matches!(self.kind, ArgumentType::String | ArgumentType::Path);
        let is_number = matches!(self.kind, ArgumentType::Integer | ArgumentType::Number);
        let texts: &[&'static str] = &["pattern", "min_length", "max_length"];
        let lists: &[&'static str] = &["items", "min_items", "max_items"];
        for (keys, fits, of) in [
            (texts, is_text, "strings"),
            (&["min", "max"], is_number, "numbers"),
            (lists, self.is_array, "arrays"),
        ] {
            let misplaced = |key: &&&'static str| !fits && table.place(key).is_some();
            for key in keys.iter().filter(misplaced) {
                mistake(key, format!("`{key}` of the argument `{name}` is for {of}"));
            }
        }
    }

    fn check_default(&self, mistake: &dyn Fn(&'static str, String)) {
        let (name, Some(default)) = (&self.name, &self.default) else {
            return;
        };
        if self.required {
            let problem = format!(
                "the argument `{name}` is required and has a default; leave one of them out"
            );
            mistake("default", problem);
        } else if let Err(problem) = self.check(default) {
            let problem =
                format!("the default of the argument `{name}` does not fit: it {problem}");
            mistake("default", problem);
        }
    }

    fn check_bounds(&self, mistake: &dyn Fn(&'static str, String)) {
        let range = self.range.each_ref();
        let range = range.map(|bound| bound.as_ref().and_then(Number::as_f64));
        let lengths = |bounds: [Option<usize>; 2]| bounds.map(|bound| bound.map(|len| len as f64));
        for (key, bounds) in [
            ("min", range),
            ("min_length", lengths(self.length)),
            ("min_items", lengths(self.items)),
        ] {
            if matches!(bounds, [Some(least), Some(most)] if least > most) {
                let name = &self.name;
                let problem = format!(
                    "`{key}` of the argument `{name}` is greater than its maximum, so nothing fits"
                );
                mistake(key, problem);
            }
        }
    }
}

/// A regular expression that only some clients can read: groups with flags are not JSON Schema's.
const FLAGGED: &str = "some clients cannot read a pattern with flags, as in `(?i)`; write what is meant, such as [Aa]";

/// The type, and whether it is a list of those.
fn kind(
    name: &At<String>,
    table: &Table<'_>,
    one_of: Option<&At<Vec<Value>>>,
) -> (ArgumentType, bool) {
    // Known in every type, so that `items` of another one is not reported twice.
    let items = table.text("items");
    let Some(kind) = table.text("type") else {
        return (kind_of_values(one_of), false);
    };
    match kind.value.as_str() {
        "array" => {
            let items = items.map_or(ArgumentType::String, |items| plain_kind(table, &items));
            (items, true)
        }
        "enum" => {
            if one_of.is_none() {
                let problem = format!(
                    "the argument `{}` is an enum and needs one_of = [..]",
                    name.value
                );
                table.notes.error(table.at, problem);
            }
            (kind_of_values(one_of), false)
        }
        _ => (plain_kind(table, &kind), false),
    }
}

fn plain_kind(table: &Table<'_>, named: &At<String>) -> ArgumentType {
    match named.value.as_str() {
        "string" => ArgumentType::String,
        "integer" => ArgumentType::Integer,
        "number" => ArgumentType::Number,
        "boolean" => ArgumentType::Boolean,
        "path" => ArgumentType::Path,
        "object" => ArgumentType::Object,
        other => {
            let hint = match nearest(other, TYPES) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("there are {}", TYPES.join(", ")),
            };
            let problem = format!("`{other}` is no type here; {hint}");
            table.notes.error(named.at, problem);
            ArgumentType::String
        }
    }
}

/// The type of an argument that only says which values it may have.
fn kind_of_values(values: Option<&At<Vec<Value>>>) -> ArgumentType {
    let values = values.map(|values| &values.value[..]).unwrap_or_default();
    let all = |fits: fn(&Value) -> bool| !values.is_empty() && values.iter().all(fits);
    if all(|value| value.is_i64() || value.is_u64()) {
        ArgumentType::Integer
    } else if all(Value::is_number) {
        ArgumentType::Number
    } else if all(Value::is_boolean) {
        ArgumentType::Boolean
    } else {
        ArgumentType::String
    }
}

fn pattern(table: &Table<'_>) -> Option<Pattern> {
    let At { value: text, at } = table.string("pattern")?;
    // By itself first: one with a lonely parenthesis could reach out of the group.
    let whole = Regex::new(&text).and_then(|_| Regex::new(&format!("^(?:{text})$")));
    match whole {
        Ok(whole) => {
            let mut groups = text.match_indices("(?");
            if groups.any(|(group, _)| !text[group..].starts_with("(?:")) {
                table.notes.warning(at, FLAGGED);
            }
            Some(Pattern { text, whole })
        }
        Err(error) => {
            let problem = format!("`pattern` is no regular expression: {error}");
            table.notes.error(at, problem);
            None
        }
    }
}
