//! Arguments as some clients spell them: a text for what it says, `30.0` for 30, `null` for what was left out.
//!
//! Coercion by schema, and only where the schema does not take what is there. Works on the text, so that whatever is not repaired stays as it was
//! written, digit for digit. Pure; must not know what the arguments are for.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::heap;
use crate::handler::place::Place;
use crate::protocol::errors::shortened;
use crate::protocol::number::Decimal;
use crate::protocol::raw::each;
use crate::protocol::text::{Text, write_json};
use crate::protocol::tree::excess;

/// How many repairs are told one by one.
const TOLD_MAX: usize = 8;
/// Deeper than this nothing is repaired; what is read out of a text may add as much again.
const DEPTH_MAX: usize = 64;
/// The most values that are read out of one text.
const VALUES_MAX: usize = 100_000;

/// Arguments that now fit better, and the first few places, as JSON Pointers, where they did not.
#[derive(Debug)]
pub(crate) struct Repaired {
    pub(crate) json: String,
    pub(crate) places: Vec<String>,
}

/// Repairs what can be, by the schema of what is wanted. `None` if that is nothing.
pub(crate) fn repaired(schema: &Value, json: &str) -> Option<Repaired> {
    let mut repair = Repair {
        out: heap::room(json.len()),
        out_bytes_max: json.len() * 2 + 64,
        path: String::new(),
        is_in_text: false,
        places: Vec::new(),
    };
    repair.value(&Place::of(schema), json, 0);
    if repair.places.is_empty() || repair.out.len() > repair.out_bytes_max {
        return None;
    }
    let json = String::from_utf8(repair.out).expect("pieces of text are text");
    Some(Repaired {
        json,
        places: repair.places,
    })
}

/// The arguments, where a client sends the object as a text.
pub(crate) fn object_in_text(arguments: &RawValue) -> Option<Box<RawValue>> {
    let Text(said) = serde_json::from_str(arguments.get()).ok()?;
    let object = said.trim();
    let is_object = object.starts_with('{') && is_bounded_json(object);
    is_object.then(|| RawValue::from_string(object.into()).ok())?
}

struct Repair {
    out: Vec<u8>,
    /// A short number may stand for a long one.
    out_bytes_max: usize,
    /// Where in the arguments it is, as a JSON Pointer.
    path: String,
    /// Whether it was read out of a text, and so holds no further lists or objects in texts.
    is_in_text: bool,
    places: Vec<String>,
}

impl Repair {
    /// Writes one value, as the schemas at its place want it.
    fn value(&mut self, place: &Place<'_>, json: &str, depth: usize) {
        let bytes = json.as_bytes();
        let out_of_bounds = depth > DEPTH_MAX || self.out.len() > self.out_bytes_max;
        match bytes.first() {
            _ if out_of_bounds || place.takes_anything() => self.copy(json),
            Some(b'{') => self.object(place, json, depth),
            Some(b'[') => self.list(place, json, depth),
            Some(b'"') if !place.takes("string") => self.text(place, json, depth),
            Some(b'-' | b'0'..=b'9') if place.takes("integer") && !place.takes("number") => {
                match integer(json).filter(|integer| integer != json) {
                    Some(integer) => self.repaired(&integer),
                    None => self.copy(json),
                }
            }
            _ => self.copy(json),
        }
    }

    fn object(&mut self, place: &Place<'_>, json: &str, depth: usize) {
        self.out.push(b'{');
        let begun = self.out.len();
        let whole = each(json, |name, json| {
            let json = json.get();
            let name = name.unwrap_or_default();
            let before = self.enter(&name);
            let member = place.member(&name);
            let is_left_out = json == "null"
                && !(member.takes_anything() || member.takes("null") || place.requires(&name));
            if is_left_out {
                self.tell();
            } else {
                self.separate(begun);
                write_json(&mut self.out, &name);
                self.out.push(b':');
                self.value(&member, json, depth + 1);
            }
            self.path.truncate(before);
        });
        self.end(whole, begun - 1, json, b'}');
    }

    fn list(&mut self, place: &Place<'_>, json: &str, depth: usize) {
        self.out.push(b'[');
        let begun = self.out.len();
        let mut index = 0;
        let whole = each(json, |_, json| {
            let before = self.enter(&index.to_string());
            self.separate(begun);
            self.value(&place.item(index), json.get(), depth + 1);
            index += 1;
            self.path.truncate(before);
        });
        self.end(whole, begun - 1, json, b']');
    }

    /// A text where the schema wants none: what it says, if that is wanted.
    fn text(&mut self, place: &Place<'_>, json: &str, depth: usize) {
        let Ok(Text(text)) = serde_json::from_str(json) else {
            return self.copy(json);
        };
        let said = text.trim();
        let is_number = || Decimal::read(said).is_some();
        match said {
            "true" | "True" if place.takes("boolean") => self.repaired("true"),
            "false" | "False" if place.takes("boolean") => self.repaired("false"),
            "null" if place.takes("null") => self.repaired("null"),
            _ if place.takes("number") && is_number() => self.repaired(said),
            _ if place.takes("integer") && integer(said).is_some() => {
                self.repaired(&integer(said).unwrap_or_default());
            }
            _ if !self.is_in_text && holds(said, place) && is_bounded_json(said) => {
                self.tell();
                self.is_in_text = true;
                self.value(place, said, depth);
                self.is_in_text = false;
            }
            _ => self.copy(json),
        }
    }

    fn copy(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    fn repaired(&mut self, json: &str) {
        self.tell();
        self.copy(json);
    }

    fn tell(&mut self) {
        if self.places.len() < TOLD_MAX {
            self.places.push(self.path.clone());
        }
    }

    /// Goes one step deeper. The length of the path that leads back.
    fn enter(&mut self, step: &str) -> usize {
        let before = self.path.len();
        self.path.push('/');
        let step = shortened(step).replace('~', "~0").replace('/', "~1");
        self.path.push_str(&step);
        before
    }

    fn separate(&mut self, begun: usize) {
        if self.out.len() > begun {
            self.out.push(b',');
        }
    }

    /// Closes a list or an object; one that could not be read stays as it was.
    fn end(&mut self, whole: Option<()>, begun: usize, json: &str, bracket: u8) {
        match whole {
            Some(()) => self.out.push(bracket),
            None => {
                self.out.truncate(begun);
                self.copy(json);
            }
        }
    }
}

/// The integer that a number is, in its plain form.
fn integer(number: &str) -> Option<String> {
    Some(Decimal::read(number)?.integer()?.to_string())
}

/// Whether a text may be a list or an object that is wanted here.
fn holds(text: &str, place: &Place<'_>) -> bool {
    match text.as_bytes().first() {
        Some(b'[') => place.takes("array"),
        Some(b'{') => place.takes("object"),
        _ => false,
    }
}

/// Whether a text is JSON within the bounds; those of the message counted it as one string.
fn is_bounded_json(text: &str) -> bool {
    excess(text.as_bytes(), DEPTH_MAX, VALUES_MAX).is_none()
        && serde_json::from_str::<&RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "count": { "type": "integer", "format": "uint32", "minimum": 0 },
                "big": { "type": ["integer", "null"] },
                "size": { "type": "number" },
                "sure": { "type": "boolean" },
                "name": { "type": "string" },
                "tags": { "type": "array", "items": { "type": "string" } },
                "numbers": { "type": "array", "items": { "type": "integer" } },
                "pair": { "type": "array", "prefixItems": [{ "type": "integer" }, { "type": "boolean" }] },
                "inner": { "anyOf": [{ "$ref": "#/$defs/inner" }, { "type": "null" }] },
                "either": { "anyOf": [{ "type": "string" }, { "type": "integer" }] },
                "any": {},
                "color": { "enum": ["red", "1"] },
                "map": { "type": "object", "additionalProperties": { "type": "integer" } }
            },
            "required": ["name"],
            "$defs": {
                "inner": { "type": "object", "properties": {
                    "n": { "type": "integer" }, "next": { "anyOf": [{ "$ref": "#/$defs/inner" }, { "type": "null" }] }
                } }
            }
        })
    }

    #[test]
    fn what_says_the_same_is_taken_where_it_is_wanted() {
        let rows = [
            (r#"{"count":"5"}"#, r#"{"count":5}"#),
            (r#"{"count":" 5 "}"#, r#"{"count":5}"#),
            (r#"{"count":"5.0"}"#, r#"{"count":5}"#),
            (r#"{"count":30.0}"#, r#"{"count":30}"#),
            (r#"{"count":3e1}"#, r#"{"count":30}"#),
            (
                r#"{"big":18446744073709551616.0}"#,
                r#"{"big":18446744073709551616}"#,
            ),
            (
                r#"{"big":"9007199254740993"}"#,
                r#"{"big":9007199254740993}"#,
            ),
            (r#"{"big":"null"}"#, r#"{"big":null}"#),
            (r#"{"size":"1.50"}"#, r#"{"size":1.50}"#),
            (r#"{"size":"-3"}"#, r#"{"size":-3}"#),
            (r#"{"sure":"true"}"#, r#"{"sure":true}"#),
            (r#"{"sure":"False"}"#, r#"{"sure":false}"#),
            (r#"{"tags":"[\"a\"]"}"#, r#"{"tags":["a"]}"#),
            (r#"{"numbers":["1",2.0,3]}"#, r#"{"numbers":[1,2,3]}"#),
            (r#"{"numbers":"[\"1\", 2.0]"}"#, r#"{"numbers":[1,2]}"#),
            (r#"{"pair":["1","true"]}"#, r#"{"pair":[1,true]}"#),
            (r#"{"inner":"{\"n\": \"7\"}"}"#, r#"{"inner":{"n":7}}"#),
            (
                r#"{"inner":{"next":{"next":{"n":"7"}}}}"#,
                r#"{"inner":{"next":{"next":{"n":7}}}}"#,
            ),
            (r#"{"map":{"a":"1"}}"#, r#"{"map":{"a":1}}"#),
            (r#"{"count":null,"name":"a"}"#, r#"{"name":"a"}"#),
            (r#"{"tags":null}"#, r#"{}"#),
            // What is not repaired stays as it was, digit for digit.
            (
                r#"{"any":[1.10, 1e400],"count":"1","x":1.0}"#,
                r#"{"any":[1.10, 1e400],"count":1,"x":1.0}"#,
            ),
            (r#""{\"count\":5}""#, r#"{"count":5}"#),
        ];
        for (given, wanted) in rows {
            let repaired = repaired(&schema(), given);
            let got = repaired.as_ref().map(|repaired| &*repaired.json);
            assert_eq!(got, Some(wanted), "{given}");
        }
        let given = r#"{"inner":{"n":"1"},"map":{"a/b":"1"}}"#;
        let places = repaired(&schema(), given).map(|repaired| repaired.places);
        assert_eq!(places, Some(vec!["/inner/n".into(), "/map/a~1b".into()]));
    }

    #[test]
    fn what_may_mean_something_else_is_left_alone() {
        for given in [
            r#"{"count":"five"}"#,
            r#"{"count":""}"#,
            r#"{"count":"0x5"}"#,
            r#"{"count":"5.5"}"#,
            r#"{"count":5.5}"#,
            r#"{"size":"NaN"}"#,
            r#"{"sure":"yes"}"#,
            r#"{"sure":1}"#,
            r#"{"name":"5"}"#,
            r#"{"name":null}"#,
            r#"{"either":"5"}"#,
            r#"{"any":"5"}"#,
            r#"{"any":null}"#,
            r#"{"big":null}"#,
            r#"{"color":"1"}"#,
            r#"{"unknown":"5"}"#,
            r#"{"tags":"a"}"#,
            r#"{"tags":"[\"a\""}"#,
            r#"{"tags":"{}"}"#,
            r#"{"inner":"[]"}"#,
            r#"{}"#,
            "[]",
            "7",
        ] {
            let repaired = repaired(&schema(), given);
            assert!(repaired.is_none(), "{given}: {repaired:?}");
        }
        // A text within a text is one.
        let given = r#"{"inner":"{\"next\":\"{}\"}"}"#;
        let once = repaired(&schema(), given).expect("the outer one is read");
        assert_eq!(once.json, r#"{"inner":{"next":"{}"}}"#);
    }

    #[test]
    fn repairs_are_bounded() {
        let deep = |levels: usize| {
            format!(
                "{}{{\"n\":\"1\"}}{}",
                "{\"next\":".repeat(levels),
                "}".repeat(levels)
            )
        };
        let inner = schema()["$defs"]["inner"].clone();
        let recursive = json!({ "$ref": "#/$defs/inner", "$defs": { "inner": inner } });
        assert!(repaired(&recursive, &deep(10)).is_some());
        assert!(repaired(&recursive, &deep(100)).is_none());
        let hundred = json!({ "inner": deep(100) }).to_string();
        assert!(repaired(&schema(), &hundred).is_none(), "nor out of a text");
        let long = json!({ "numbers": vec!["1e37"; 1000] }).to_string();
        assert!(
            repaired(&schema(), &long).is_none(),
            "it would grow tenfold"
        );
        let many = json!({ "numbers": vec!["1"; 1000] }).to_string();
        assert_eq!(
            repaired(&schema(), &many).map(|it| it.places.len()),
            Some(TOLD_MAX)
        );
    }

    proptest! {
        #[test]
        fn what_comes_out_is_json_and_is_repaired_once(text in "[\\[{\"0-9a-c:,.}\\]]{0,12}", name in "count|tags|inner|any") {
            let given = json!({ name: text }).to_string();
            if let Some(once) = repaired(&schema(), &given) {
                prop_assert!(serde_json::from_str::<Value>(&once.json).is_ok(), "{}", once.json);
                prop_assert!(repaired(&schema(), &once.json).is_none(), "{}", once.json);
            }
        }
    }
}
