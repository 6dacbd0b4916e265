//! One argument of a script: what the file says of it, and the check of a value.
//!
//! A value that passes is what the program gets: a path is the real one, behind every symbolic link. Must not know how a script is run.

mod path;
mod read;
pub(super) mod schema;

use regex_lite::Regex;
use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::handler::RequestContext;
use crate::protocol::errors::{ErrorObject, cut};
use crate::protocol::tree::Unread;
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

/// Serialised, it has its name in a JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum ArgumentType {
    String,
    Integer,
    Number,
    Boolean,
    #[serde(rename = "string")]
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
    /// Whether the author counts on values that a program may read as options, or has written this one.
    pub(super) fn may_be_option(&self, given: &Filling) -> bool {
        let [least, _] = self.range();
        let is_default = || {
            let default = self.absent().ok().flatten();
            default.is_some_and(|default| self.filling(&default, usize::MAX) == *given)
        };
        self.allow_dash
            || !self.one_of.is_empty()
            || least.is_some_and(|least| least < 0.0)
            || is_default()
    }

    /// The value that the script gets for this one; a sentence without a subject when it does not fit.
    pub(super) fn check(&self, value: Value) -> Result<Value, String> {
        let mut items = match value {
            value if !self.is_array => return self.check_one(value),
            Value::Array(items) => items,
            value => return Err(format!("is a list, not {}", named(&value))),
        };
        if let Some(bounds) = outside(items.len(), self.items) {
            return Err(format!("has {} items; {bounds}", items.len()));
        }
        for (number, item) in (1..).zip(&mut items) {
            let checked = self.check_one(item.take());
            *item = checked.map_err(|problem| format!("has an item {number} that {problem}"))?;
        }
        Ok(items.into())
    }

    fn check_one(&self, mut value: Value) -> Result<Value, String> {
        let (fits, wanted) = match self.kind {
            ArgumentType::String => (value.is_string(), "a string"),
            ArgumentType::Path => (value.is_string(), "a path"),
            ArgumentType::Integer => (is_integer(&value), "an integer"),
            ArgumentType::Number => (value.is_number(), "a number"),
            ArgumentType::Boolean => (value.is_boolean(), "true or false"),
            ArgumentType::Object => (value.is_object(), "an object"),
        };
        if !fits {
            return Err(format!("is {wanted}, not {}", named(&value)));
        }
        // A program is given `3`, also for `3.0`.
        if self.kind == ArgumentType::Integer {
            value = whole(value);
        }
        if !self.one_of.is_empty() {
            let mut one_of = self.one_of.iter();
            let Some(one) = one_of.find(|one| is_same(one, &value)) else {
                let list: Vec<_> = self.one_of.iter().map(Value::to_string).collect();
                let list = list.join(", ");
                return Err(format!("is one of {list}, not {}", short(&value)));
            };
            value = one.clone();
        }
        if let Some(number) = value.as_f64()
            && let Some(bounds) = outside(number, self.range())
        {
            return Err(format!("is {value}; {bounds}"));
        }
        match value {
            Value::String(text) => self.check_text(text).map(Value::from),
            value => Ok(value),
        }
    }

    /// The value that a text stands for, where clients have nothing but texts; what it takes as a tree is charged to the call.
    pub(super) fn read_text<S>(
        &self,
        cx: &mut RequestContext<S>,
        text: String,
    ) -> Result<Value, ErrorObject> {
        if matches!(self.kind, ArgumentType::String | ArgumentType::Path) && !self.is_array {
            return Ok(text.into());
        }
        let read: Result<(Value, _), _> = cx.control().tree_room().read(&text);
        let value = match read {
            Ok(read) => cx.charged(read),
            Err(Unread::Unfit(_)) => text.into(),
            Err(Unread::NoMemory) => return Err(ErrorObject::no_memory()),
            Err(too_large) => {
                let (name, why) = (&self.name, too_large.into_sentence());
                return Err(ErrorObject::invalid_params(format!(
                    "`{name}` is too large: {why}."
                )));
            }
        };
        Ok(match value {
            value if self.is_array && !value.is_array() => vec![value].into(),
            value => value,
        })
    }

    fn range(&self) -> [Option<f64>; 2] {
        let range = self.range.each_ref();
        range.map(|bound| bound.as_ref().and_then(Number::as_f64))
    }

    fn check_text(&self, text: String) -> Result<String, String> {
        let length = text.chars().count();
        if let Some(bounds) = outside(length, self.length) {
            return Err(format!("has {length} characters; {bounds}"));
        }
        if text.contains('\0') {
            return Err("has a NUL character, which no program can be given".to_owned());
        }
        let pattern = self.pattern.as_ref();
        if let Some(pattern) = pattern.filter(|pattern| !pattern.whole.is_match(&text)) {
            let (pattern, text) = (&pattern.text, short(&text.into()));
            return Err(format!("does not match `{pattern}`: {text}"));
        }
        match &self.path {
            Some(rule) => rule.check(&text),
            None => Ok(text),
        }
    }

    /// What the script gets when nothing is given.
    fn absent(&self) -> Result<Option<Value>, String> {
        if self.required {
            return Err("is missing".to_owned());
        }
        let default = self.default.clone().map(|default| self.check(default));
        let problem = |problem| format!("has a default that {problem}");
        default.transpose().map_err(problem)
    }

    /// The text that a placeholder is filled with, of a list that of so many items at most.
    pub(super) fn filling(&self, value: &Value, items_max: usize) -> Filling {
        match value {
            Value::Array(items) if self.is_array => {
                Filling::Many(items.iter().take(items_max).map(plain).collect())
            }
            _ => Filling::One(plain(value)),
        }
    }
}

/// How many unknown names are said, each with the known one that is nearest. A request may have hundreds of thousands.
const UNKNOWN_NAMED_MAX: usize = 5;

/// Checks all arguments of a call, and gives back what the script gets: those given and the defaults. All that is wrong, in sentences.
pub(super) fn check_all(
    arguments: &[Argument],
    given: Value,
) -> Result<Map<String, Value>, String> {
    let mut given = match given {
        Value::Object(given) => given,
        // Nobody is given any other.
        _ => Map::new(),
    };
    let mut checked = Map::new();
    let mut problems = Vec::new();
    for argument in arguments {
        let name = &argument.name;
        let value = match given.remove(name).filter(|value| !value.is_null()) {
            Some(value) => argument.check(value).map(Some),
            None => argument.absent(),
        };
        match value {
            Ok(value) => checked.extend(value.map(|value| (name.clone(), value))),
            Err(problem) => problems.push(format!("`{name}` {problem}.")),
        }
    }
    let mut unknown_names = given.keys();
    let named = unknown_names.by_ref().take(UNKNOWN_NAMED_MAX);
    problems.extend(named.map(|name| unknown(name, arguments)));
    let more = unknown_names.count();
    if more > 0 {
        problems.push(format!("{more} more are none either."));
    }
    match problems.is_empty() {
        true => Ok(checked),
        false => Err(problems.join(" ")),
    }
}

/// What is said of a name that none of the arguments has.
fn unknown(name: &str, arguments: &[Argument]) -> String {
    let known = arguments.iter().map(|argument| argument.name.as_str());
    let shown: String = name.chars().take(64).collect();
    match nearest(&shown, known) {
        Some(nearest) => format!("`{shown}` is no argument; did you mean `{nearest}`?"),
        None => format!("`{shown}` is no argument."),
    }
}

/// JSON has one kind of number: `3.0` is an integer, too.
fn is_integer(value: &Value) -> bool {
    let is_whole = |float: f64| float.fract() == 0.0 && float.abs() < 9e15;
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(is_whole)
}

/// Whether two values are the same: `1` is `1.0`.
fn is_same(one: &Value, other: &Value) -> bool {
    let is_float = one.is_f64() || other.is_f64();
    one == other || (is_float && one.is_number() && one.as_f64() == other.as_f64())
}

fn whole(value: Value) -> Value {
    match value.as_f64() {
        Some(float) if value.is_f64() => (float as i64).into(),
        _ => value,
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
    cut(&value.to_string(), 80).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_9_many_unknown_names_are_counted_and_not_told() {
        let given: Map<String, Value> = (0..1000)
            .map(|number| (format!("name{number}"), Value::Null))
            .collect();
        let why = check_all(&[], Value::Object(given)).expect_err("none of them is known");
        assert_eq!(why.matches("is no argument").count(), 5, "{why}");
        assert!(why.ends_with("995 more are none either."), "{why}");
    }
}
