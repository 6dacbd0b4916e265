//! One argument of a script: what the file says of it, and the check of a value.
//!
//! A value that passes is what the program gets: a path is the real one, behind every symbolic link. Must not know how a script is run.

mod path;
mod read;
pub(super) mod schema;

use regex_lite::Regex;
use serde_json::{Map, Number, Value};

use crate::scripts::argument::path::PathRule;
use crate::scripts::mistake::nearest;
use crate::scripts::template::Filling;

/// What the file says of one argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Argument {
    pub(super) name: String,
    description: Option<String>,
    required: bool,
    default: Option<Value>,
    kind: ArgumentType,
    /// Whether it is a list of such values.
    is_array: bool,
    items: [Option<usize>; 2],
    pattern: Option<Pattern>,
    length: [Option<usize>; 2],
    range: [Option<Number>; 2],
    one_of: Vec<Value>,
    /// Of a path.
    path: Option<PathRule>,
    /// Whether a value may begin with `-` where it would be read as an option.
    allow_dash: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArgumentType {
    String,
    Integer,
    Number,
    Boolean,
    Path,
    Object,
}

/// A regular expression for the whole value.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    whole: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Argument {
    /// Whether the author wants values, or has written each of them, that a program may read as options.
    pub(super) fn may_be_option(&self) -> bool {
        self.allow_dash || !self.one_of.is_empty()
    }

    /// The value that the script gets for this one; a sentence without a subject when it does not fit.
    pub(super) fn check(&self, value: &Value) -> Result<Value, String> {
        if !self.is_array {
            return self.check_one(value);
        }
        let Some(items) = value.as_array() else {
            return Err(format!("is a list, not {}", named(value)));
        };
        if let Some(bounds) = outside(items.len(), self.items) {
            return Err(format!("has {} items; {bounds}", items.len()));
        }
        let items = (1..).zip(items).map(|(number, item)| {
            let checked = self.check_one(item);
            checked.map_err(|problem| format!("has an item {number} that {problem}"))
        });
        items.collect()
    }

    fn check_one(&self, value: &Value) -> Result<Value, String> {
        let (fits, wanted) = match self.kind {
            ArgumentType::String => (value.is_string(), "a string"),
            ArgumentType::Path => (value.is_string(), "a path"),
            ArgumentType::Integer => (is_integer(value), "an integer"),
            ArgumentType::Number => (value.is_number(), "a number"),
            ArgumentType::Boolean => (value.is_boolean(), "true or false"),
            ArgumentType::Object => (value.is_object(), "an object"),
        };
        if !fits {
            return Err(format!("is {wanted}, not {}", named(value)));
        }
        // A program is given `3`, also for `3.0`.
        let integer = (self.kind == ArgumentType::Integer).then(|| whole(value));
        let value = integer.as_ref().unwrap_or(value);
        if !self.one_of.is_empty() && !self.one_of.contains(value) {
            let list: Vec<_> = self.one_of.iter().map(Value::to_string).collect();
            let list = list.join(", ");
            return Err(format!("is one of {list}, not {}", short(value)));
        }
        if let Some(number) = value.as_f64() {
            let range = self.range.each_ref();
            let range = range.map(|bound| bound.as_ref().and_then(Number::as_f64));
            if let Some(bounds) = outside(number, range) {
                return Err(format!("is {value}; {bounds}"));
            }
        }
        match value.as_str() {
            Some(text) => self.check_text(text).map(Value::from),
            None => Ok(value.clone()),
        }
    }

    /// The value that a text stands for, where clients have nothing but texts.
    pub(super) fn read_text(&self, text: String) -> Value {
        let is_text =
            matches!(self.kind, ArgumentType::String | ArgumentType::Path) && !self.is_array;
        let value: Option<Value> = (!is_text)
            .then(|| serde_json::from_str(&text).ok())
            .flatten();
        match value.unwrap_or_else(|| text.into()) {
            value if self.is_array && !value.is_array() => vec![value].into(),
            value => value,
        }
    }

    fn check_text(&self, text: &str) -> Result<String, String> {
        let length = text.chars().count();
        if let Some(bounds) = outside(length, self.length) {
            return Err(format!("has {length} characters; {bounds}"));
        }
        if text.contains('\0') {
            return Err("has a NUL character, which no program can be given".to_owned());
        }
        let pattern = self.pattern.as_ref();
        if let Some(pattern) = pattern.filter(|pattern| !pattern.whole.is_match(text)) {
            let (pattern, text) = (&pattern.text, short(&text.into()));
            return Err(format!("does not match `{pattern}`: {text}"));
        }
        match &self.path {
            Some(rule) => rule.check(text),
            None => Ok(text.to_owned()),
        }
    }

    /// What the script gets when nothing is given.
    fn absent(&self) -> Result<Option<Value>, String> {
        if self.required {
            return Err(format!("`{}` is missing.", self.name));
        }
        let default = self.default.as_ref().map(|default| self.check(default));
        let problem = |problem| format!("the default of `{}` {problem}.", self.name);
        default.transpose().map_err(problem)
    }

    /// The text that a placeholder is filled with.
    pub(super) fn filling(&self, value: &Value) -> Filling {
        match value {
            Value::Array(items) if self.is_array => {
                Filling::Many(items.iter().map(plain).collect())
            }
            _ => Filling::One(plain(value)),
        }
    }
}

/// Checks all arguments of a call, and gives back what the script gets: those given and the defaults. All that is wrong, in sentences.
pub(super) fn check_all(
    arguments: &[Argument],
    given: &Value,
) -> Result<Map<String, Value>, String> {
    let empty = Map::new();
    let given = match given {
        Value::Object(given) => given,
        Value::Null => &empty,
        other => {
            return Err(format!(
                "The arguments are an object, not {}.",
                named(other)
            ));
        }
    };
    let mut checked = Map::new();
    let mut problems = Vec::new();
    for argument in arguments {
        let name = &argument.name;
        let value = match given.get(name).filter(|value| !value.is_null()) {
            Some(value) => {
                let value = argument.check(value).map(Some);
                value.map_err(|problem| format!("`{name}` {problem}."))
            }
            None => argument.absent(),
        };
        match value {
            Ok(value) => checked.extend(value.map(|value| (name.clone(), value))),
            Err(problem) => problems.push(problem),
        }
    }
    let known = || arguments.iter().map(|argument| argument.name.as_str());
    for name in given
        .keys()
        .filter(|name| known().all(|known| known != *name))
    {
        let shown: String = name.chars().take(64).collect();
        problems.push(match nearest(&shown, known()) {
            Some(nearest) => format!("`{shown}` is no argument; did you mean `{nearest}`?"),
            None => format!("`{shown}` is no argument."),
        });
    }
    match problems.is_empty() {
        true => Ok(checked),
        false => Err(problems.join(" ")),
    }
}

/// JSON has one kind of number: `3.0` is an integer, too.
fn is_integer(value: &Value) -> bool {
    let is_whole = |float: f64| float.fract() == 0.0 && float.abs() < 9e15;
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(is_whole)
}

fn whole(value: &Value) -> Value {
    match value.as_f64() {
        Some(float) if value.is_f64() => (float as i64).into(),
        _ => value.clone(),
    }
}

/// A value as a program reads it: a string without quotes.
pub(super) fn plain(value: &Value) -> String {
    let text = value.as_str().map(ToOwned::to_owned);
    text.unwrap_or_else(|| value.to_string())
}

/// What is allowed, if this is not within it.
fn outside<T: PartialOrd + std::fmt::Display>(
    found: T,
    [least, most]: [Option<T>; 2],
) -> Option<String> {
    let is_low = least.as_ref().is_some_and(|least| found < *least);
    let is_high = most.as_ref().is_some_and(|most| found > *most);
    if !is_low && !is_high {
        return None;
    }
    Some(match (least, most) {
        (Some(least), Some(most)) => format!("{least} to {most} are allowed"),
        (Some(least), None) => format!("at least {least} are allowed"),
        (None, most) => format!("at most {} are allowed", most?),
    })
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "such a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
