//! Reading a TOML table key by key: each value with its place, each mistake noted and the reading gone on with.
//!
//! A key is known because somebody has asked for it; [`Table::finish`] reports the others. Must not know what a file can say.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::scripts::mistake::{Mistake, nearest, position};

/// In milliseconds.
const TIMES: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// In bytes.
const SIZES: [(&str, u64); 5] = [
    ("B", 1),
    ("K", 1 << 10),
    ("KiB", 1 << 10),
    ("M", 1 << 20),
    ("MiB", 1 << 20),
];

static EMPTY: LazyLock<DeTable<'static>> = LazyLock::new(DeTable::new);

/// A value and the byte of the file where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// The notes of a reading.
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

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.table.get(key)
    }

    /// Whether the key is there, for what must, or must not, stand beside something else.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.table.get(key).is_some()
    }

    /// Where the value of a key stands.
    pub(super) fn place(&self, key: &'static str) -> usize {
        let value = self.table.get(key);
        value.map_or(self.at, |value| value.span().start)
    }

    /// Reports what is wrong with the value of a key.
    pub(super) fn wrong(&self, key: &'static str, problem: impl Into<String>) {
        self.notes.error(self.place(key), problem);
    }

    /// Reports what clients may dislike in the value of a key.
    pub(super) fn doubtful(&self, key: &'static str, problem: impl Into<String>) {
        self.notes.warning(self.place(key), problem);
    }

    /// Reports a key that should not be there, or not so.
    pub(super) fn misplaced(&self, key: &'static str, problem: impl Into<String>) {
        let known = self.table.get_key_value(key);
        let at = known.map_or(self.at, |(key, _)| key.span().start);
        self.notes.error(at, problem);
    }

    /// Reports that a key is missing which its kind of table needs.
    pub(super) fn require(&self, kind: &str, key: &'static str) {
        if !self.has(key) {
            let problem = format!("a [[{kind}]] needs a {key} = \"..\"");
            self.notes.error(self.at, problem);
        }
    }

    fn read<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?.get_ref();
        let read = read(value);
        if read.is_none() {
            let (what, found) = (&self.what, shown(value));
            self.wrong(key, format!("`{key}` of {what} is {wanted}, not {found}"));
        }
        read
    }

    pub(super) fn string(&self, key: &'static str) -> Option<&'a str> {
        self.read(key, "a string", DeValue::as_str)
    }

    /// A string that is not empty.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        let text = self.string(key)?;
        if text.trim().is_empty() {
            self.wrong(key, format!("`{key}` of {} is empty", self.what));
            return None;
        }
        Some(text.to_owned())
    }

    /// What one of these words means; `wanted` says which there are.
    pub(super) fn word<T>(
        &self,
        key: &'static str,
        wanted: &str,
        words: impl IntoIterator<Item = (&'static str, T)>,
    ) -> Option<T> {
        let text = self.text(key)?;
        let found = words.into_iter().find(|(word, _)| *word == text);
        if found.is_none() {
            self.wrong(key, wanted);
        }
        Some(found?.1)
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.value(key, "true or false")
    }

    /// An integer that is at least so much.
    pub(super) fn count(&self, key: &'static str, allowed: RangeInclusive<usize>) -> Option<usize> {
        let (least, most) = (allowed.start(), allowed.end());
        let wanted = match *most {
            usize::MAX => format!("an integer of at least {least}"),
            most => format!("an integer from {least} to {most}"),
        };
        let count = |value: &DeValue<'_>| usize::try_from(integer(value)?).ok();
        self.read(key, &wanted, |value| {
            count(value).filter(|number| allowed.contains(number))
        })
    }

    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<At<String>>> {
        let list = self.read(key, "a list of strings", DeValue::as_array)?;
        let strings = list.iter().filter_map(|value| {
            let (at, text) = (value.span().start, value.get_ref().as_str());
            if text.is_none() {
                let problem = format!("`{key}` of {} is a list of strings", self.what);
                self.notes.error(at, problem);
            }
            let value = text?.to_owned();
            Some(At { value, at })
        });
        Some(strings.collect())
    }

    /// A time: `"30s"`, `"5m"`, `"1h"`, `"250ms"`, or a number of seconds.
    pub(super) fn duration(&self, key: &'static str) -> Option<Duration> {
        let wanted = "a time such as \"30s\", \"5m\", \"2h\" or \"250ms\"";
        let duration = self.read(key, wanted, |value| match value {
            DeValue::String(text) => quantity(text, &TIMES).map(Duration::from_millis),
            _ => u64::try_from(integer(value)?).ok().map(Duration::from_secs),
        })?;
        if duration.is_zero() {
            let what = &self.what;
            let problem =
                format!("`{key}` of {what} is no time at all; leave it out if there is no bound");
            self.misplaced(key, problem);
            return None;
        }
        Some(duration)
    }

    /// A number of bytes: `65536`, `"64 KiB"`, `"1 MiB"`.
    pub(super) fn size(&self, key: &'static str) -> Option<usize> {
        let wanted = "a number of bytes, such as 65536, \"64 KiB\" or \"1 MiB\"";
        self.read(key, wanted, |value| match value {
            DeValue::String(text) => usize::try_from(quantity(text, &SIZES)?).ok(),
            _ => usize::try_from(integer(value)?).ok(),
        })
    }

    /// A value of any type that JSON has.
    pub(super) fn value<T: DeserializeOwned>(&self, key: &'static str, wanted: &str) -> Option<T> {
        self.read(key, wanted, |value| {
            serde_json::from_value(json(value)?).ok()
        })
    }

    pub(super) fn any(&self, key: &'static str) -> Option<Value> {
        self.value(key, "a value that JSON has")
    }

    /// One that is not there is empty.
    pub(super) fn table(&self, key: &'static str, what: impl Into<String>) -> Table<'a> {
        let table = self.read(key, "a table", DeValue::as_table);
        Table::new(self.notes, what, self.place(key), table.unwrap_or(&EMPTY))
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let wanted = format!("a list of tables; write [[{key}]] above each");
        let tables = self.read(key, &wanted, |value| {
            let tables = value.as_array()?.iter().map(|value| {
                let (table, at) = (value.get_ref().as_table()?, value.span().start);
                Some(Table::new(self.notes, format!("a [[{key}]]"), at, table))
            });
            tables.collect::<Option<Vec<_>>>()
        });
        tables.unwrap_or_default()
    }

    /// The members of the table `key`, in the order of the file: name, its place, and the value.
    pub(super) fn members(&self, key: &'static str) -> Vec<(At<String>, &'a Spanned<DeValue<'a>>)> {
        let table = self.read(key, "a table", DeValue::as_table);
        let members = table.into_iter().flat_map(|table| table.iter());
        let mut members: Vec<_> = members
            .map(|(name, value)| {
                let (at, name) = (name.span().start, name.get_ref().clone().into_owned());
                (At { value: name, at }, value)
            })
            .collect();
        members.sort_by_key(|(name, _)| name.at);
        members
    }

    /// Those of them that are tables, by name; of the others `what_to_write` says what should be there.
    pub(super) fn named_tables(
        &self,
        key: &'static str,
        kind: &str,
        what_to_write: impl Fn(&str) -> String,
    ) -> Vec<(String, Table<'a>)> {
        let tables = self.members(key).into_iter().filter_map(|(name, value)| {
            let At { value: name, at } = name;
            let Some(table) = value.get_ref().as_table() else {
                self.notes.error(at, what_to_write(&name));
                return None;
            };
            let what = format!("the {kind} `{name}`");
            Some((name, Table::new(self.notes, what, at, table)))
        });
        tables.collect()
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

/// Whether it has only letters, digits and these.
pub(super) fn is_name(text: &str, others: &str) -> bool {
    let is_one = |char: char| char.is_ascii_alphanumeric() || others.contains(char);
    !text.is_empty() && text.chars().all(is_one)
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

/// A number and its unit, in the smallest unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|char: char| !char.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}
