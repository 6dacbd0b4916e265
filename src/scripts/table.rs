//! Reading a TOML table key by key: each value with its place, each mistake noted and the reading gone on with.
//!
//! A key is known because somebody has asked for it; [`Table::finish`] reports the others. Must not know what a file can say.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::scripts::mistake::{Mistake, nearest, position};

/// A value and the byte of the file where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// The notes of a reading.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    text: &'a str,
    list: RefCell<Vec<(usize, Mistake)>>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let list = RefCell::default();
        Notes { text, list }
    }

    pub(super) fn error(&self, at: usize, message: impl Into<String>) {
        self.note(at, message.into(), false);
    }

    pub(super) fn warning(&self, at: usize, message: impl Into<String>) {
        self.note(at, message.into(), true);
    }

    fn note(&self, at: usize, message: String, is_warning: bool) {
        let (line, column) = position(self.text, at);
        let mistake = Mistake {
            line,
            column,
            message,
            is_warning,
        };
        let mut list = self.list.borrow_mut();
        // One word can be wrong in two ways at once for the parser.
        if !list
            .iter()
            .any(|(known, other)| (*known, &other.message) == (at, &mistake.message))
        {
            list.push((at, mistake));
        }
    }

    /// The line of a byte of the file.
    pub(super) fn line(&self, at: usize) -> usize {
        position(self.text, at).0
    }

    /// Everything that was noted, in the order of the file.
    pub(super) fn finish(self) -> Vec<Mistake> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|(at, _)| *at);
        list.into_iter().map(|(_, mistake)| mistake).collect()
    }
}

/// A table that is being read.
pub(super) struct Table<'a> {
    pub(super) notes: &'a Notes<'a>,
    /// What it is, for sentences: "the tool `backup`".
    pub(super) what: String,
    /// Where it begins.
    pub(super) at: usize,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        notes: &'a Notes<'a>,
        what: impl Into<String>,
        at: usize,
        table: &'a DeTable<'a>,
    ) -> Self {
        Table {
            notes,
            what: what.into(),
            at,
            table,
            known: RefCell::default(),
        }
    }

    pub(super) fn rename(&mut self, what: impl Into<String>) {
        self.what = what.into();
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.table.get(key)
    }

    /// The key, when it is there: for what must not stand beside something else.
    pub(super) fn place(&self, key: &'static str) -> Option<usize> {
        let (key, _) = self.table.get_key_value(key)?;
        Some(key.span().start)
    }

    /// Reports that a key is missing which its kind of table needs.
    pub(super) fn require(&self, kind: &str, key: &'static str) {
        if self.place(key).is_none() {
            let problem = format!("a [[{kind}]] needs a {key} = \"..\"");
            self.notes.error(self.at, problem);
        }
    }

    fn read<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.get(key)?;
        let at = value.span().start;
        let read = read(value.get_ref());
        if read.is_none() {
            let found = shown(value.get_ref());
            let problem = format!("`{key}` of {} is {wanted}, not {found}", self.what);
            self.notes.error(at, problem);
        }
        read.map(|value| At { value, at })
    }

    /// What is read, where its place does not matter.
    fn value<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        Some(self.read(key, wanted, read)?.value)
    }

    pub(super) fn string(&self, key: &'static str) -> Option<At<String>> {
        self.read(key, "a string", |value| {
            value.as_str().map(ToOwned::to_owned)
        })
    }

    /// What a string says that is not empty.
    pub(super) fn said(&self, key: &'static str) -> Option<String> {
        Some(self.text(key)?.value)
    }

    /// A string that is not empty.
    pub(super) fn text(&self, key: &'static str) -> Option<At<String>> {
        let text = self.string(key)?;
        if text.value.trim().is_empty() {
            self.notes
                .error(text.at, format!("`{key}` of {} is empty", self.what));
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.value(key, "true or false", DeValue::as_bool)
    }

    /// An integer that is at least so much.
    pub(super) fn count(&self, key: &'static str, allowed: RangeInclusive<usize>) -> Option<usize> {
        let (least, most) = (allowed.start(), allowed.end());
        let wanted = match *most {
            usize::MAX => format!("an integer of at least {least}"),
            most => format!("an integer from {least} to {most}"),
        };
        let count = |value: &DeValue<'_>| usize::try_from(integer(value)?).ok();
        self.value(key, &wanted, |value| {
            count(value).filter(|number| allowed.contains(number))
        })
    }

    /// A number, whole or not.
    pub(super) fn number(&self, key: &'static str) -> Option<Number> {
        self.value(key, "a number", |value| match json(value)? {
            Value::Number(number) => Some(number),
            _ => None,
        })
    }

    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<At<String>>> {
        let list = self.value(key, "a list of strings", DeValue::as_array)?;
        let strings = list.iter().filter_map(|value| {
            let at = value.span().start;
            match value.get_ref().as_str() {
                Some(text) => Some(At {
                    value: text.to_owned(),
                    at,
                }),
                None => {
                    self.notes
                        .error(at, format!("`{key}` of {} is a list of strings", self.what));
                    None
                }
            }
        });
        Some(strings.collect())
    }

    /// Integers from 0 to 255.
    pub(super) fn codes(&self, key: &'static str) -> Option<Vec<i32>> {
        let wanted = "a list of exit codes, from 0 to 255";
        self.value(key, wanted, |value| {
            let codes = value
                .as_array()?
                .iter()
                .map(|value| integer(value.get_ref()));
            let codes =
                codes.map(|code| code.and_then(|code| u8::try_from(code).ok()).map(i32::from));
            codes.collect()
        })
    }

    /// A time: `"30s"`, `"5m"`, `"1h"`, `"250ms"`, or a number of seconds.
    pub(super) fn duration(&self, key: &'static str) -> Option<Duration> {
        let wanted = "a time such as \"30s\", \"5m\", \"2h\" or \"250ms\"";
        let duration = self.value(key, wanted, |value| match value {
            DeValue::String(text) => duration(text),
            _ => integer(value)
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
        })?;
        if duration.is_zero() {
            let problem = format!(
                "`{key}` of {} is no time at all; leave it out if there is no bound",
                self.what
            );
            let at = self.place(key).unwrap_or(self.at);
            self.notes.error(at, problem);
            return None;
        }
        Some(duration)
    }

    /// A number of bytes: `65536`, `"64 KiB"`, `"1 MiB"`.
    pub(super) fn size(&self, key: &'static str) -> Option<usize> {
        let wanted = "a number of bytes, such as 65536, \"64 KiB\" or \"1 MiB\"";
        self.value(key, wanted, |value| match value {
            DeValue::String(text) => size(text),
            _ => integer(value).and_then(|bytes| usize::try_from(bytes).ok()),
        })
    }

    /// Any value, as JSON.
    pub(super) fn any(&self, key: &'static str) -> Option<At<Value>> {
        self.read(key, "a value that JSON has", json)
    }

    pub(super) fn anys(&self, key: &'static str) -> Option<At<Vec<Value>>> {
        self.read(key, "a list of values", |value| {
            value
                .as_array()?
                .iter()
                .map(|value| json(value.get_ref()))
                .collect()
        })
    }

    pub(super) fn table(&self, key: &'static str, what: impl Into<String>) -> Option<Table<'a>> {
        let read = self.read(key, "a table", DeValue::as_table)?;
        Some(Table::new(self.notes, what, read.at, read.value))
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&self, key: &'static str, what: &str) -> Vec<Table<'a>> {
        let wanted = format!("a list of tables; write [[{key}]] above each");
        let tables = self.value(key, &wanted, |value| {
            let tables = value.as_array()?.iter().map(|value| {
                let table = value.get_ref().as_table()?;
                Some(Table::new(self.notes, what, value.span().start, table))
            });
            tables.collect::<Option<Vec<_>>>()
        });
        tables.unwrap_or_default()
    }

    /// The members of the table `key`, in the order of the file: name, its place, and the value.
    pub(super) fn members(&self, key: &'static str) -> Vec<(At<String>, &'a Spanned<DeValue<'a>>)> {
        let table = self.read(key, "a table", DeValue::as_table);
        let mut members: Vec<_> = table
            .iter()
            .flat_map(|table| table.value.iter())
            .map(|(name, value)| {
                let at = name.span().start;
                let name = name.get_ref().clone().into_owned();
                (At { value: name, at }, value)
            })
            .collect();
        members.sort_by_key(|(name, _)| name.at);
        members
    }

    /// Reports every key that nobody has asked for.
    pub(super) fn finish(self) {
        let known = self.known.into_inner();
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let hint = match nearest(name, known.iter().copied()) {
                Some(nearest) => format!("; did you mean `{nearest}`?"),
                None => format!("; there are {}", known.join(", ")),
            };
            self.notes.error(
                key.span().start,
                format!("`{name}` is no key of {}{hint}", self.what),
            );
        }
    }
}

/// What was written, if it is short, else its kind.
fn shown(value: &DeValue<'_>) -> String {
    match (value, json(value)) {
        (DeValue::Array(_), _) => "a list".to_owned(),
        (DeValue::Table(_), _) => "a table".to_owned(),
        (_, Some(value)) if value.to_string().len() < 40 => value.to_string(),
        _ => format!("this {}", value.type_str()),
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The value as JSON; not a date, not infinite.
pub(super) fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::from(&**text),
        DeValue::Integer(_) => Value::from(integer(value)?),
        DeValue::Float(float) => Value::Number(Number::from_f64(float.as_str().parse().ok()?)?),
        DeValue::Boolean(truth) => Value::from(*truth),
        DeValue::Datetime(_) => return None,
        DeValue::Array(list) => list
            .iter()
            .map(|value| json(value.get_ref()))
            .collect::<Option<_>>()?,
        DeValue::Table(table) => {
            let members = table.iter().map(|(name, value)| {
                Some((name.get_ref().clone().into_owned(), json(value.get_ref())?))
            });
            Value::Object(members.collect::<Option<Map<_, _>>>()?)
        }
    })
}

fn parts(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let unit = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    Some((number.parse().ok()?, unit.trim()))
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = parts(text)?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

fn size(text: &str) -> Option<usize> {
    let (number, unit) = parts(text)?;
    let bytes = match unit {
        "B" => 1,
        "K" | "KiB" => 1024,
        "M" | "MiB" => 1024 * 1024,
        _ => return None,
    };
    usize::try_from(number.checked_mul(bytes)?).ok()
}
