//! Reading JSON into types, with a bound on how deep a text nests, how many values it has, and what becomes a tree.
//!
//! Skipping a raw value needs no recursion and so knows no bound: one pass counts brackets and commas before any parser runs. Strings are jumped over, so
//! that a large text costs next to nothing.
//!
//! A [`serde_json::Value`], like everything that serde keeps until it knows the type, takes up to two hundred times its text. What is read without
//! being told the type is estimated while it is read, and refused in time; typed fields cost what their author chose, and no error repeats more
//! than a sentence of the text. Must not know what is read, or for whom.

mod gauge;
mod gauged;
mod map_kind;

use std::sync::Arc;

use memchr::{memchr2, memmem};
use serde::de::DeserializeOwned;

use self::gauge::Gauge;
use self::gauged::Gauged;

pub(crate) use self::gauge::{Slip, TreeCharge, TreeRoom, Unread};

use crate::base::budget::{Budget, Charge};
use crate::base::limits::Limits;
use crate::protocol::raw::RAW_VALUE;
use crate::protocol::sentence::Sentence;

/// A text no longer than this is read without looking, for whatever it becomes is small: in all workers together some 20 MiB.
const UNSEEN_BYTES_MAX: usize = 4 * 1024;
/// No tree takes more than so many times its text.
const FACTOR_MAX: usize = 200;

impl<'a> TreeRoom<'a> {
    pub(crate) fn new(limits: &Limits, memory: &'a Arc<Budget>) -> Self {
        TreeRoom {
            bytes_max: limits.json_tree_bytes_max,
            memory,
            left_max: usize::MAX,
            wanted: None,
        }
    }

    /// Charges so many bytes of text, or of a copy.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Charge, Unread> {
        let charged = self.memory.charge(bytes);
        // There is at least as much already that it is a copy of.
        charged.map_err(|_| self.for_want_of(2 * bytes))
    }

    /// Reads a value. What it takes stays charged until the charge is dropped.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        json: &str,
    ) -> Result<(T, Option<TreeCharge>), Unread> {
        let is_short = json.len() <= UNSEEN_BYTES_MAX && json.len() * FACTOR_MAX <= self.bytes_max;
        if is_short && !may_hide_a_tree(json) {
            return match serde_json::from_str(json) {
                Ok(value) => Ok((value, None)),
                Err(error) => Err(Unread::Unfit(Sentence::of(&error))),
            };
        }
        self.read_gauged(json, |json| T::deserialize(json))
    }

    /// The same with a reader of the caller's, and looking at every text.
    pub(crate) fn read_gauged<T>(
        &self,
        json: &str,
        read: impl FnOnce(Gauged<'_, &mut TextDeserializer<'_>>) -> Result<T, Slip>,
    ) -> Result<(T, Option<TreeCharge>), Unread> {
        let gauge = Gauge::new(self);
        let mut text = serde_json::Deserializer::from_str(json);
        let read = read(Gauged::new(&mut text, &gauge));
        gauge.judge(read)
    }
}

/// Whether a name in it may be [`RAW_VALUE`], as it is or with characters escaped.
fn may_hide_a_tree(json: &str) -> bool {
    let json = json.as_bytes();
    let has = |needle: &str| memmem::find(json, needle.as_bytes()).is_some();
    memchr2(b'$', b'\\', json).is_some() && (has(RAW_VALUE) || has(r"\u00"))
}

type TextDeserializer<'a> = serde_json::Deserializer<serde_json::de::StrRead<'a>>;

/// Which bound a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Arrays and objects nest deeper than allowed.
    Depth,
    /// There are more values than allowed: the outermost, each item and each member.
    Values,
}

/// The bound that these bytes break first, if any.
///
/// Right for every valid JSON text. For an invalid one the answer may be either; the parser refuses it anyway.
pub(crate) fn excess(bytes: &[u8], depth_max: usize, values_max: usize) -> Option<Excess> {
    // Two values begin at least two bytes apart.
    let may_have_too_many = bytes.len() / 2 >= values_max;
    // Most messages have fewer brackets in all, wherever they stand, and are done.
    if !may_have_too_many && !has_more_brackets(bytes, depth_max) {
        return None;
    }
    let (mut depth, mut values, mut at) = (0_usize, 1_usize, 0);
    // A bracket has been opened, and nothing stands in it yet.
    let mut is_empty = false;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let closes = matches!(byte, b'}' | b']');
        if is_empty && !byte.is_ascii_whitespace() {
            is_empty = false;
            values += usize::from(!closes);
        }
        match byte {
            b'{' | b'[' => {
                depth += 1;
                is_empty = true;
            }
            _ if closes => depth = depth.saturating_sub(1),
            b',' => values += 1,
            b'"' => at = end_of_string(bytes, at),
            _ => {}
        }
        if depth > depth_max {
            return Some(Excess::Depth);
        }
        if values > values_max {
            return Some(Excess::Values);
        }
    }
    None
}

/// Whether more than `most` of these bytes open a list or an object. Counted in bytes, without a branch, so that the compiler makes vector instructions of it.
fn has_more_brackets(bytes: &[u8], most: usize) -> bool {
    // So few that a byte can count them, and so many that none is left over of what one instruction looks at.
    const STRIDE: usize = 224;
    let mut count = 0;
    bytes.chunks(STRIDE).any(|stride| {
        let opening = stride.iter().map(|byte| u8::from(byte | 0x20 == b'{'));
        count += usize::from(opening.sum::<u8>());
        count > most
    })
}

/// The index after the quote that closes the string whose content starts at `at`, or the end of the bytes.
pub(super) fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = memchr2(b'"', b'\\', &bytes[at..]) {
        let escape = bytes[at + found] == b'\\';
        at += found + 1;
        if !escape {
            return at;
        }
        at = (at + 1).min(bytes.len());
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;
    use crate::protocol::tree::gauge::*;

    fn room(tree_bytes: usize, memory_bytes: usize) -> TreeRoom<'static> {
        let limits = Limits::default().json_tree_bytes_max(tree_bytes);
        TreeRoom::new(&limits, Box::leak(Box::new(Budget::whole(memory_bytes))))
    }

    const MIB: usize = 1024 * 1024;

    /// A list of so many of these.
    fn list(item: &str, count: usize) -> String {
        format!("[{}]", vec![item; count].join(","))
    }

    fn read<T: DeserializeOwned>(room: &TreeRoom, json: &str) -> Result<usize, Unread> {
        room.read::<T>(json)
            .map(|(_, charge)| charge.map_or(0, |tree| tree.charge.bytes()))
    }

    #[derive(Deserialize)]
    struct Typed {
        #[expect(dead_code, reason = "only its shape matters")]
        x: u8,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        #[expect(dead_code, reason = "only its shape matters")]
        Number(u8),
        #[expect(dead_code, reason = "only its shape matters")]
        Typed { x: u8 },
    }

    #[test]
    fn law_13_a_tree_is_refused_where_it_would_take_too_much() {
        let limits = Limits::default();
        let room = room(limits.json_tree_bytes_max, limits.memory_bytes_max);
        for number in ["0", "12.34"] {
            let count = limits.body_bytes_max / (number.len() + 1);
            let numbers = list(number, count);
            let charged = read::<Value>(&room, &numbers).expect("4 MiB of numbers pass");
            let expected = count * VALUE_BYTES;
            assert!(
                (expected..=expected + 2 * MIB).contains(&charged),
                "{charged}"
            );
        }
        let objects = list(r#"{"x":1}"#, 400_000);
        let refused = read::<Value>(&room, &objects).expect_err("it is too large");
        assert_eq!(refused, Unread::TooLarge(limits.json_tree_bytes_max));
        assert!(refused.into_sentence().contains("json_tree_bytes_max"));
        type Nested = Vec<BTreeMap<String, Value>>;
        assert!(read::<Nested>(&room, &list(r#"{"x":{"":1}}"#, 450_000)).is_err());
        assert!(
            read::<Vec<Untagged>>(&room, &objects).is_err(),
            "kept until it is known"
        );
        assert_eq!(
            read::<Vec<Typed>>(&room, &objects),
            Ok(0),
            "its author chose the type"
        );
    }

    #[test]
    fn law_13_what_a_tree_takes_is_charged_until_it_is_dropped() {
        let expected = 50_000 * (1 + ITEMS_MIN) * VALUE_BYTES;
        let room = room(64 * MIB, expected * 4 / 3);
        let json = list("[1]", 50_000);
        let (_tree, charge) = room.read::<Value>(&json).expect("it fits");
        let used = room.memory.used();
        assert_eq!(charge.as_ref().map(|tree| tree.charge.bytes()), Some(used));
        assert!((expected..=expected + 2 * MIB).contains(&used), "{used}");
        assert_eq!(read::<Value>(&room, &json), Err(Unread::NoMemory));
        drop(charge);
        assert_eq!(room.memory.used(), 0);
        assert!(read::<Value>(&room, &json).is_ok());
    }

    /// A text in such a member would become a tree that nobody has looked at.
    #[test]
    fn law_13_no_tree_hides_in_a_text() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Flat {
            #[serde(flatten)]
            rest: BTreeMap<String, Value>,
        }
        let room = room(64 * MIB, 512 * MIB);
        for name in [
            "$serde_json::private::RawValue",
            r"\u0024serde_json::private::RawValue",
            r"$serde_json::p\u0072ivate::RawValue",
        ] {
            let hides = format!(r#"{{"{name}":"[1]"}}"#);
            let padding = " ".repeat(UNSEEN_BYTES_MAX);
            for json in [
                hides.clone(),
                format!("[{{}},{hides}]"),
                format!(r#"{{"x":{hides}}}"#),
                format!("[{hides}{padding}]"),
            ] {
                assert!(read::<Value>(&room, &json).is_err(), "{name}: {json:.200}");
            }
            let flat = format!(r#"{{"x":{hides}}}"#);
            assert!(read::<Flat>(&room, &flat).is_err(), "{name}");
        }
        for json in [
            r#"{"price":"$5","serde_json::private":1}"#,
            r#"{"text":"$serde_json::private::RawValue"}"#,
            r#"["caf\u00e9","$serde_json::private::RawValue"]"#,
        ] {
            let plain: Value = serde_json::from_str(json).expect("it is JSON");
            assert_eq!(room.read::<Value>(json).expect("it is plain").0, plain);
        }
    }

    #[test]
    fn law_13_what_a_short_text_becomes_is_charged_too() {
        let room = room(64 * MIB, 512 * MIB);
        let charged = read::<Value>(&room, &list(r#"{"":[0]}"#, 5_000));
        assert!(
            charged.expect("it fits") >= 2 * MIB,
            "it takes fifty times its text"
        );
        assert_eq!(read::<Value>(&room, &list("[0]", 1_000)), Ok(0));
    }

    #[test]
    fn no_error_repeats_what_it_is_about() {
        let room = room(64 * MIB, 512 * MIB);
        let long = serde_json::to_string(&"\u{7f}".repeat(MIB)).expect("text is JSON");
        for json in [
            long.clone(),
            format!("[{long}]"),
            format!("{{\"x\":{long}}}"),
        ] {
            let Err(Unread::Unfit(told)) = room.read::<Typed>(&json) else {
                panic!("a text is no number");
            };
            assert!(told.len() <= 600, "{}", told.len());
        }
    }

    #[test]
    fn everything_is_read_as_it_would_be_without_a_gauge() {
        #[derive(Debug, PartialEq, Deserialize)]
        enum Shape {
            Unit,
            New(i128),
            Pair(f32, char),
            Named { a: Option<Box<Shape>>, b: () },
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct All {
            shapes: Vec<Shape>,
            pair: (u8, String),
            map: BTreeMap<u16, Option<bool>>,
            any: Value,
            #[serde(flatten)]
            rest: BTreeMap<String, Value>,
        }
        let json = r#"{"shapes":["Unit",{"New":-5},{"Pair":[1.5,"é"]},{"Named":{"a":"Unit","b":null}},{"Named":{"a":null,"b":null}}],
            "pair":[7,"x"],"map":{"1":true,"2":null},"any":{"a":[1,-2,0.5,"b",null,true,{"c":{}}]},"more":[1]}"#;
        let plain: All = serde_json::from_str(json).expect("it fits");
        let room = room(MIB, 512 * MIB);
        let gauged = room.read_gauged(json, |json| All::deserialize(json));
        assert_eq!(gauged.expect("it fits").0, plain);
        let raw = room.read_gauged(json, |json| {
            Box::<serde_json::value::RawValue>::deserialize(json)
        });
        assert_eq!(raw.expect("it is JSON").0.get(), json);
        for wrong in [
            r#"{"shapes":[7]}"#,
            r#"{"shapes":["Unit"],"pair":[300,"x"]}"#,
            "[]",
            "{",
        ] {
            let plain = serde_json::from_str::<All>(wrong).expect_err("it does not fit");
            let plain = plain.to_string();
            // Where it stands may be told a little differently.
            let (problem, _place) = plain.split_once(" at line ").expect("it has a place");
            let gauged = room.read_gauged(wrong, |json| All::deserialize(json));
            let told = gauged.expect_err("it does not fit").into_sentence();
            assert!(told.starts_with(problem), "{wrong}: {told}, not {problem}");
        }
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        for (text, depth) in [
            ("1", 0),
            ("{}", 1),
            (r#"["[[[[", "\"[[", "\\", [ ] ]"#, 2),
            (r#"{"a\\":{"b":[{}]}}"#, 4),
            (r#"["unterminated [[["#, 1),
            ("\"\\", 0),
        ] {
            let excess = |depth_max| excess(text.as_bytes(), depth_max, usize::MAX);
            assert_eq!(excess(depth), None, "{text} is at most {depth} deep");
            assert!(
                depth == 0 || excess(depth - 1) == Some(Excess::Depth),
                "{text} is {depth} deep"
            );
        }
    }

    #[test]
    fn values_are_counted_and_names_are_not() {
        for (text, values) in [
            ("1", 1),
            ("[]", 1),
            ("[ ]", 1),
            ("{ }", 1),
            (r#"[[], {} , "a,b"]"#, 4),
            (r#"{"a":{"b":[1,2]},"c":null}"#, 6),
        ] {
            let excess = |values_max| excess(text.as_bytes(), 9, values_max);
            assert_eq!(excess(values), None, "{text} has {values}");
            assert_eq!(excess(values - 1), Some(Excess::Values), "{text}");
        }
    }

    /// How deep it is, and how many values it has.
    fn naive(value: &Value) -> (usize, usize) {
        let inner: Vec<_> = match value {
            Value::Array(items) => items.iter().map(naive).collect(),
            Value::Object(members) => members.values().map(naive).collect(),
            _ => return (0, 1),
        };
        let depth = inner.iter().map(|(depth, _)| *depth).max().unwrap_or(0);
        let values: usize = inner.iter().map(|(_, values)| *values).sum();
        (1 + depth, 1 + values)
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from)
        ];
        leaf.prop_recursive(6, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(".*", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_parser(value in any_json(), depth_max in 0_usize..8, values_max in 1_usize..40, pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
            let text = text.expect("a Value is JSON");
            let (depth, values) = naive(&value);
            let found = excess(&text, depth_max, values_max);
            prop_assert_eq!(found.is_some(), depth > depth_max || values > values_max);
            prop_assert!(found != Some(Excess::Depth) || depth > depth_max);
            prop_assert!(found != Some(Excess::Values) || values > values_max);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            excess(&bytes, 3, 5);
        }
    }
}
