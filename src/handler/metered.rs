//! A JSON value as a check against a schema sees it: each look is counted, and once there were too many, nothing is left to see.
//!
//! What a check costs is, at its worst, the product of what stands in the schema and what stands in the value, and nobody knows before which part of that it takes. So it has *fuel*; when that
//! is burnt, lists end and nothing has a type, so that the check ends soon, and what it has found means nothing. Must not know how a schema is checked.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::iter::MapWhile;
use std::slice;
use std::time::{Duration, Instant};

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, cmp};
use serde_json::map::{self, Map};
use serde_json::{Number, Value};

/// How long a check may take where a match may backtrack, which takes as long as it takes.
const BACKTRACKING_MAX: Duration = Duration::from_secs(3);
/// How long a text may be then, of which each step back may read all.
const BACKTRACKED_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// How many looks are left to the check on this thread.
    static LEFT: Cell<usize> = const { Cell::new(0) };
    /// What a mistake costs that is told.
    static MISTAKE: Cell<usize> = const { Cell::new(0) };
    /// When it ends, where it may backtrack.
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs a check with fuel for so many looks, of which each mistake that it collects takes `mistake`. `None` when they were too few.
pub(super) fn metered<T>(
    looks: usize,
    mistake: usize,
    backtracks: bool,
    check: impl FnOnce() -> T,
) -> Option<T> {
    LEFT.set(looks);
    MISTAKE.set(mistake);
    UNTIL.set(backtracks.then(|| Instant::now() + BACKTRACKING_MAX));
    let checked = check();
    look(0).then_some(checked)
}

/// Whether there was fuel for this.
fn look(cost: usize) -> bool {
    let is_late = UNTIL.get().is_some_and(|until| Instant::now() > until);
    let left = if is_late { 0 } else { LEFT.get() };
    LEFT.set(left.saturating_sub(cost));
    LEFT.get() > 0
}

/// The same for a text that is about to be read.
fn look_at(text: &str) -> bool {
    let is_too_long = UNTIL.get().is_some() && text.len() > BACKTRACKED_BYTES_MAX;
    look(if is_too_long {
        usize::MAX
    } else {
        1 + text.len() / 32
    })
}

/// The representation of JSON whose nodes are [`Metered`].
pub(super) struct MeteredJson;

/// A value, or the list or the object in one.
#[derive(Clone, Copy)]
pub(super) struct Metered<'v, T = Value>(pub(super) &'v T)
where
    T: ?Sized;

impl Json for MeteredJson {
    type Node<'v> = Metered<'v>;
    type PreparedKey = String;
    type StringBuffer = Value;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(
        buffer: &mut Value,
        string: &str,
        check: impl FnOnce(Metered<'_>) -> T,
    ) -> T {
        *buffer = string.into();
        check(Metered(buffer))
    }
}

impl<'v> Node<'v, MeteredJson> for Metered<'v> {
    type Object = Metered<'v, Map<String, Value>>;
    type Array = Metered<'v, [Value]>;
    type Number = &'v Number;

    fn as_object(&self) -> Option<Self::Object> {
        self.0.as_object().filter(|_| look(1)).map(Metered)
    }

    fn as_array(&self) -> Option<Self::Array> {
        let items = self.0.as_array().filter(|_| look(1));
        items.map(|items| Metered(&**items))
    }

    fn as_string(&self) -> Option<Cow<'v, str>> {
        let text = self.0.as_str().filter(|text| look_at(text));
        text.map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'v Number> {
        self.0.as_number().filter(|_| look(1))
    }

    fn as_boolean(&self) -> Option<bool> {
        self.0.as_bool().filter(|_| look(1))
    }

    fn is_null(&self) -> bool {
        self.0.is_null() && look(1)
    }

    fn json_type(&self) -> JsonType {
        look(1);
        match self.0 {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn string_length(&self) -> Option<u64> {
        let text = self.0.as_str()?;
        look(1 + text.len() / 32).then(|| text.chars().count() as u64)
    }

    fn equals_value(&self, expected: &Value) -> bool {
        // Of what differs in length nothing is read.
        let breadth = match self.0 {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        };
        !look(1 + breadth) || cmp::equal(self.0, expected)
    }

    /// Only a mistake takes it.
    fn to_value(&self) -> Cow<'v, Value> {
        look(MISTAKE.get());
        Cow::Borrowed(self.0)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref(self.0) as usize))
    }
}

type Entry<'v> = (&'v str, Metered<'v>);

impl<'v> Object<'v, MeteredJson> for Metered<'v, Map<String, Value>> {
    type Node = Metered<'v>;
    type MemberName = &'v str;
    type MembersIter = MapWhile<map::Iter<'v>, fn((&'v String, &'v Value)) -> Option<Entry<'v>>>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<Metered<'v>> {
        self.0.get(key).filter(|_| look(1)).map(Metered)
    }

    fn members(&self) -> Self::MembersIter {
        let member = |(name, value): (&'v String, _)| {
            look_at(name).then_some((name.as_str(), Metered(value)))
        };
        self.0.iter().map_while(member)
    }
}

impl<'v> Array<'v, MeteredJson> for Metered<'v, [Value]> {
    type Node = Metered<'v>;
    type ElementsIter = MapWhile<slice::Iter<'v, Value>, fn(&'v Value) -> Option<Metered<'v>>>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Self::ElementsIter {
        self.0
            .iter()
            .map_while(|item| look(1).then_some(Metered(item)))
    }

    /// By digests under a key that no client knows: lists of empty lists had the same hash in `jsonschema` however they stood in each other, and were all compared with each other.
    fn is_unique(&self) -> bool {
        let (key, mut seen) = (RandomState::new(), HashSet::new());
        self.0.iter().all(|item| seen.insert(digest(item, &key)))
    }
}

/// The same for values that JSON Schema calls equal, and for others with a chance of one in 2^64.
fn digest(value: &Value, key: &RandomState) -> u64 {
    match value {
        Value::Null => key.hash_one(()),
        Value::Bool(is_true) => key.hash_one(is_true),
        Value::String(text) => key.hash_one(text),
        Value::Array(items) => items.iter().fold(key.hash_one(items.len()), |sum, item| {
            key.hash_one((sum, digest(item, key)))
        }),
        Value::Object(members) => members.iter().fold(0, |sum: u64, (name, value)| {
            sum.wrapping_add(key.hash_one((name, digest(value, key))))
        }),
        Value::Number(number) => match number.as_i128() {
            Some(whole) => key.hash_one(whole),
            None => {
                let float = number.as_f64().unwrap_or_default();
                let whole = float as i128;
                match whole as f64 == float {
                    true => key.hash_one(whole),
                    false => key.hash_one(float.to_bits()),
                }
            }
        },
    }
}
