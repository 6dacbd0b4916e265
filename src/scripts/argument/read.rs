//! Reads `[tool.args.NAME]`.

use std::path::Path;

use regex_lite::Regex;
use serde_json::Value;

use crate::scripts::argument::path::PathRule;
use crate::scripts::argument::{Argument, ArgumentType, Pattern};
use crate::scripts::mistake::nearest;
use crate::scripts::table::{Table, is_name};

const TYPES: [(&str, ArgumentType); 6] = [
    ("string", ArgumentType::String),
    ("integer", ArgumentType::Integer),
    ("number", ArgumentType::Number),
    ("boolean", ArgumentType::Boolean),
    ("path", ArgumentType::Path),
    ("object", ArgumentType::Object),
];

impl Argument {
    /// Relative paths are relative to `base`.
    pub(in crate::scripts) fn read(name: String, table: &Table<'_>, base: &Path) -> Self {
        let one_of: Option<Vec<Value>> = table.value("one_of", "a list of values");
        let path = table.table("path", format!("`path` of {}", table.what));
        let (kind, is_array) = kind(table, one_of.as_deref());
        let kind = match table.has("path") {
            true => ArgumentType::Path,
            false => kind,
        };
        let count = |key| table.count(key, 0..=usize::MAX);
        let number = |key| table.value(key, "a number");
        let argument = Argument {
            name,
            description: table.text("description"),
            default: table.any("default"),
            required: table.boolean("required").unwrap_or(false),
            kind,
            is_array,
            items: [count("min_items"), count("max_items")],
            pattern: pattern(table),
            length: [count("min_length"), count("max_length")],
            range: [number("min"), number("max")],
            one_of: one_of.unwrap_or_default(),
            path: (kind == ArgumentType::Path).then(|| PathRule::read(path, base)),
            allow_dash: table.boolean("allow_dash").unwrap_or(false),
        };
        argument.check_itself(table);
        argument
    }

    /// Mistakes that a look at one key does not show.
    fn check_itself(&self, table: &Table<'_>) {
        let what = &table.what;
        if self.name.len() > 64 || !is_name(&self.name, "_-") {
            let problem =
                format!("{what} needs a name of 1 to 64 of the characters A-Z a-z 0-9 _ -");
            table.notes.error(table.at, problem);
        }
        self.check_default(table);
        self.check_bounds(table);
        if self.one_of.is_empty() && table.has("one_of") {
            let problem = format!("`one_of` of {what} is empty, so nothing fits");
            table.misplaced("one_of", problem);
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
            for key in keys.iter().filter(|key| !fits && table.has(key)) {
                table.misplaced(key, format!("`{key}` of {what} is for {of}"));
            }
        }
    }

    fn check_default(&self, table: &Table<'_>) {
        let (what, Some(default)) = (&table.what, &self.default) else {
            return;
        };
        if self.required {
            let problem = format!("{what} is required and has a default; leave one of them out");
            table.misplaced("default", problem);
        } else if let Err(problem) = self.check(default.clone()) {
            let problem = format!("the default of {what} does not fit: it {problem}");
            table.misplaced("default", problem);
        }
    }

    fn check_bounds(&self, table: &Table<'_>) {
        let lengths = |bounds: [Option<usize>; 2]| bounds.map(|bound| bound.map(|len| len as f64));
        for (key, bounds) in [
            ("min", self.range()),
            ("min_length", lengths(self.length)),
            ("min_items", lengths(self.items)),
        ] {
            if matches!(bounds, [Some(least), Some(most)] if least > most) {
                let what = &table.what;
                let problem =
                    format!("`{key}` of {what} is greater than its maximum, so nothing fits");
                table.misplaced(key, problem);
            }
        }
    }
}

/// A regular expression that only some clients can read: groups with flags are not JSON Schema's.
const FLAGGED: &str = "some clients cannot read a pattern with flags, as in `(?i)`; write what is meant, such as [Aa]";

/// The type, and whether it is a list of those.
fn kind(table: &Table<'_>, one_of: Option<&[Value]>) -> (ArgumentType, bool) {
    // Known in every type, so that `items` of another one is not reported twice.
    let items = table.text("items");
    match table.text("type").as_deref() {
        None => (kind_of_values(one_of), false),
        Some("array") => {
            let items = items.map_or(ArgumentType::String, |items| {
                plain_kind(table, "items", &items)
            });
            (items, true)
        }
        Some("enum") => {
            if one_of.is_none() {
                let problem = format!("{} is an enum and needs one_of = [..]", table.what);
                table.notes.error(table.at, problem);
            }
            (kind_of_values(one_of), false)
        }
        Some(kind) => (plain_kind(table, "type", kind), false),
    }
}

fn plain_kind(table: &Table<'_>, key: &'static str, wanted: &str) -> ArgumentType {
    if let Some((_, kind)) = TYPES.iter().find(|(name, _)| *name == wanted) {
        return *kind;
    }
    let names = || TYPES.iter().map(|(name, _)| *name);
    let hint = match nearest(wanted, names().chain(["enum", "array"])) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "there are string, integer, number, boolean, enum, array, path, object".to_owned(),
    };
    table.wrong(key, format!("`{wanted}` is no type here; {hint}"));
    ArgumentType::String
}

/// The type of an argument that only says which values it may have.
fn kind_of_values(values: Option<&[Value]>) -> ArgumentType {
    let values = values.unwrap_or_default();
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
    let text = table.string("pattern")?.to_owned();
    // By itself first: one with a lonely parenthesis could reach out of the group.
    let whole = Regex::new(&text).and_then(|_| Regex::new(&format!("^(?:{text})$")));
    let whole = whole.map_err(|error| {
        table.wrong(
            "pattern",
            format!("`pattern` is no regular expression: {error}"),
        );
    });
    let mut groups = text.match_indices("(?");
    if whole.is_ok() && groups.any(|(group, _)| !text[group..].starts_with("(?:")) {
        table.doubtful("pattern", FLAGGED);
    }
    let whole = whole.ok()?;
    Some(Pattern { text, whole })
}
