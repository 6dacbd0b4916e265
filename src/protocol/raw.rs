//! Raw JSON of peers, read no further than anybody will look: kept as a list or a map, a million nothings cost many times their text.
//!
//! Pure.

use std::borrow::Cow;
use std::fmt;
use std::iter;
use std::sync::LazyLock;

use serde::de::value::{BorrowedStrDeserializer, MapDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::heap;
use crate::protocol::errors::ErrorObject;
use crate::protocol::sentence::Sentence;
use crate::protocol::text::Text;

/// What serde_json calls a raw value that it hands to itself. A [`Value`](serde_json::Value) takes an object whose first member has this name for one:
/// it parses the text in it, which nothing has looked at, and puts what it finds in the place of the object.
pub(crate) const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// The empty object, which most clients declare, and which stands for arguments that are not there.
pub(crate) static EMPTY: LazyLock<Box<RawValue>> =
    LazyLock::new(|| RawValue::from_string("{}".into()).expect("an empty object is JSON"));

/// A text of at most so many bytes is copied as usual.
const SHORT_BYTES_MAX: usize = 64 * 1024;

/// A copy, in a buffer as [`heap`] makes them, of a text that is not read again.
pub(crate) fn owned(raw: &RawValue) -> Box<RawValue> {
    if raw.get().len() < SHORT_BYTES_MAX {
        return raw.to_owned();
    }
    let mut text = heap::room(raw.get().len());
    text.extend_from_slice(raw.get().as_bytes());
    let text = String::from_utf8(text).expect("it was text");
    let parts: MapDeserializer<'_, _, serde_json::Error> =
        MapDeserializer::new(iter::once((RAW_VALUE, text)));
    Box::deserialize(parts).expect("serde_json makes one of its token and a text")
}

/// A text that has been found to be a JSON value without white space around it, which is not looked at again.
pub(super) fn of(json: &str) -> Option<&RawValue> {
    let parts: MapDeserializer<'_, _, serde_json::Error> =
        MapDeserializer::new(iter::once((RAW_VALUE, BorrowedStrDeserializer::new(json))));
    <&RawValue>::deserialize(parts).ok()
}

/// The items of a list, but no more than `len_max` and one, so that a count shows that there are too many.
pub(crate) fn items(list: &str, len_max: usize) -> Vec<&RawValue> {
    let mut items = Vec::new();
    let _whole = each(list, |_, item| {
        if items.len() <= len_max {
            items.push(item);
        }
    });
    items
}

/// The texts of a member of `params` that must be a list of at most so many.
pub(crate) fn texts<'a>(
    name: &str,
    raw: Option<&'a RawValue>,
    len_max: usize,
) -> Result<Vec<Text<'a>>, ErrorObject> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(Vec::new());
    };
    if !raw.starts_with('[') {
        let message = format!("`{name}` must be a list");
        return Err(ErrorObject::invalid_params(message));
    }
    let texts = items(raw, len_max);
    if texts.len() > len_max {
        return Err(ErrorObject::invalid_params(format!(
            "`{name}` may have at most {len_max} items"
        )));
    }
    let texts = texts.into_iter().map(RawValue::get);
    let texts: Result<_, serde_json::Error> = texts.map(serde_json::from_str).collect();
    texts.map_err(|error| {
        ErrorObject::invalid_params(format!("Invalid `{name}`: {}", Sentence::of(&error)))
    })
}

/// The member with this name, the last one if there are several. What is no object has none.
pub(crate) fn member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    each(object.get(), |key, value| {
        if key.is_some_and(|key| key == name) {
            found = Some(value);
        }
    })?;
    found
}

/// Shows each member of an object, or each item of a list, without making a list of them. `None` when there is no such thing in the text.
pub(crate) fn each<'j>(
    json: &'j str,
    show: impl FnMut(Option<Cow<'j, str>>, &'j RawValue),
) -> Option<()> {
    struct Each<F>(F);
    impl<'de, F: FnMut(Option<Cow<'de, str>>, &'de RawValue)> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list or an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((Text(name), value)) = map.next_entry()? {
                (self.0)(Some(name), value);
            }
            Ok(())
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(item) = list.next_element()? {
                (self.0)(None, item);
            }
            Ok(())
        }
    }
    // Else serde's error would quote it, however long it is.
    if !json.trim_ascii_start().starts_with(['{', '[']) {
        return None;
    }
    let mut text = serde_json::Deserializer::from_str(json);
    text.deserialize_any(Each(show)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_by_its_name_and_the_last_one_counts() {
        let object = r#"{ "a": 1, "b": {"a": 2}, "\u0061": [3], "é/": null }"#;
        for (text, name, expected) in [
            (object, "a", Some("[3]")),
            (object, "b", Some(r#"{"a": 2}"#)),
            (object, "é/", Some("null")),
            (object, "c", None),
            ("[1]", "a", None),
            (r#""a""#, "a", None),
        ] {
            let raw: &RawValue = serde_json::from_str(text).expect("the row is JSON");
            let found = member(raw, name).map(RawValue::get);
            assert_eq!(found, expected, "{name} of {text}");
        }
    }

    #[test]
    fn one_more_than_allowed_is_kept_and_the_rest_is_only_read() {
        for (text, expected) in [
            ("[]", vec![]),
            ("[1,2]", vec!["1", "2"]),
            ("[1,2,3]", vec!["1", "2", "3"]),
            (r#"[1,2,3,"four",[]]"#, vec!["1", "2", "3"]),
            ("7", vec![]),
        ] {
            let items = items(text, 2).into_iter().map(RawValue::get);
            assert_eq!(items.collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
