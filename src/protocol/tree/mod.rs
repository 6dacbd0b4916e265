//! Reading JSON into types, with a bound on what becomes a tree.
//!
//! A [`serde_json::Value`], like everything that serde keeps until it knows the type, takes up to a hundred times its text. What is read without
//! being told the type is estimated while it is read, and refused in time; typed fields cost what their author chose, and no error repeats more
//! than a sentence of the text. Must not know what is read, or for whom.

mod gauge;
mod gauged;

use std::sync::Arc;

use serde::de::DeserializeOwned;

use self::gauge::Gauge;
use self::gauged::Gauged;

pub(crate) use self::gauge::{Slip, TreeCharge, Unread};

use crate::base::budget::{Budget, Charge};
use crate::base::limits::Limits;
use crate::protocol::sentence::Sentence;

/// What the trees of one call may take.
#[derive(Clone, Debug)]
pub(crate) struct TreeRoom {
    bytes_max: usize,
    /// The account of the whole server.
    memory: Arc<Budget>,
}

/// A text no longer than this is read without looking, for whatever it becomes is small.
const UNSEEN_BYTES_MAX: usize = 64 * 1024;
/// No tree takes more than so many times its text.
const FACTOR_MAX: usize = 200;

impl TreeRoom {
    pub(crate) fn new(limits: &Limits, memory: &Arc<Budget>) -> Self {
        TreeRoom {
            bytes_max: limits.json_tree_bytes_max,
            memory: Arc::clone(memory),
        }
    }

    /// Charges so many bytes of text. `None` when the server has no more.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Charge> {
        self.memory.charge(bytes).ok()
    }

    /// Reads a value. What it takes stays charged until the charge is dropped.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        json: &str,
    ) -> Result<(T, Option<TreeCharge>), Unread> {
        if json.len() <= UNSEEN_BYTES_MAX && json.len() * FACTOR_MAX <= self.bytes_max {
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
        let gauge = Gauge::new(self.bytes_max, &self.memory);
        let mut text = serde_json::Deserializer::from_str(json);
        let read = read(Gauged::new(&mut text, &gauge));
        gauge.judge(read)
    }
}

type TextDeserializer<'a> = serde_json::Deserializer<serde_json::de::StrRead<'a>>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::Value;

    use super::*;
    use crate::protocol::tree::gauge::*;

    fn room(tree_bytes: usize, memory_bytes: usize) -> TreeRoom {
        let limits = Limits::default().json_tree_bytes_max(tree_bytes);
        TreeRoom::new(&limits, &Budget::whole(memory_bytes))
    }

    const MIB: usize = 1024 * 1024;

    /// A list of so many of these.
    fn list(item: &str, count: usize) -> String {
        format!("[{}]", vec![item; count].join(","))
    }

    fn read<T: DeserializeOwned>(room: &TreeRoom, json: &str) -> Result<usize, Unread> {
        room.read::<T>(json)
            .map(|(_, charge)| charge.map_or(0, |charge| charge.bytes()))
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
        assert_eq!(refused, Unread::TooLarge(160 * MIB));
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
        let room = room(64 * MIB, 24 * MIB);
        let json = list("[1]", 50_000);
        let (_tree, charge) = room.read::<Value>(&json).expect("it fits");
        let used = room.memory.used();
        assert_eq!(charge.as_ref().map(TreeCharge::bytes), Some(used));
        let expected = 50_000 * (1 + ITEMS_MIN) * VALUE_BYTES;
        assert!((expected..=expected + 2 * MIB).contains(&used), "{used}");
        assert_eq!(read::<Value>(&room, &json), Err(Unread::NoMemory));
        drop(charge);
        assert_eq!(room.memory.used(), 0);
        assert!(read::<Value>(&room, &json).is_ok());
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
}
