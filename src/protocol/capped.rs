//! Lists of peers, kept no further than anybody will look: a million nothings would cost many times their text.
//!
//! Pure.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::errors::ErrorObject;
use crate::protocol::sentence::Sentence;

/// The items of a list, but no more than `len_max` and one, so that whoever counts them sees that there are too many.
pub(crate) fn items<'de, T, D>(deserializer: D, len_max: usize) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Capped<T>(usize, PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Capped<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while items.len() <= self.0 {
                match list.next_element()? {
                    Some(item) => items.push(item),
                    None => return Ok(items),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(items)
        }
    }
    deserializer.deserialize_seq(Capped(len_max, PhantomData))
}

/// The items of a member of `params` that must be a list of no more than these.
pub(crate) fn member<'a, T: Deserialize<'a>>(
    name: &str,
    raw: Option<&'a RawValue>,
    len_max: usize,
) -> Result<Vec<T>, ErrorObject> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(Vec::new());
    };
    if !raw.starts_with('[') {
        let message = format!("`{name}` must be a list");
        return Err(ErrorObject::invalid_params(message));
    }
    items(&mut serde_json::Deserializer::from_str(raw), len_max).map_err(|error| {
        ErrorObject::invalid_params(format!("Invalid `{name}`: {}", Sentence::of(&error)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_allowed_is_kept_and_the_rest_is_only_read() {
        let read = |text: &str| {
            let mut json = serde_json::Deserializer::from_str(text);
            items::<u8, _>(&mut json, 2)
                .and_then(|items| json.end().map(|()| items))
                .ok()
        };
        for (text, expected) in [
            ("[]", Some(vec![])),
            ("[1,2]", Some(vec![1, 2])),
            ("[1,2,3]", Some(vec![1, 2, 3])),
            (r#"[1,2,3,"four",[]]"#, Some(vec![1, 2, 3])),
            (r#"["one"]"#, None),
            ("[1,2,3,", None),
            ("7", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
