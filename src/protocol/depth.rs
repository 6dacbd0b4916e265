//! How deep a JSON text nests, without parsing it.
//!
//! Skipping a raw value needs no recursion and so knows no bound; this one pass gives it one before any parser runs. Strings are
//! jumped over, so that a large text costs next to nothing. Pure.

/// Whether arrays and objects nest deeper than `depth_max` anywhere in these bytes.
///
/// Right for every valid JSON text. For an invalid one the answer may be either; the parser refuses it anyway.
pub(crate) fn exceeds(bytes: &[u8], depth_max: usize) -> bool {
    // Most messages have fewer brackets in all, wherever they stand, and are done.
    if memchr::memchr2_iter(b'{', b'[', bytes)
        .nth(depth_max)
        .is_none()
    {
        return false;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(bytes, at),
            _ => {}
        }
    }
    false
}

/// The index after the quote that closes the string whose content starts at `at`, or the end of the bytes.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
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
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

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
            assert!(
                !exceeds(text.as_bytes(), depth),
                "{text} is at most {depth} deep"
            );
            assert!(
                depth == 0 || exceeds(text.as_bytes(), depth - 1),
                "{text} is {depth} deep"
            );
        }
    }

    fn naive(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(naive).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(naive).max().unwrap_or(0),
            _ => 0,
        }
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
        fn agrees_with_a_parser(value in any_json(), depth_max in 0_usize..8) {
            let text = serde_json::to_vec(&value).expect("a Value is JSON");
            prop_assert_eq!(exceeds(&text, depth_max), naive(&value) > depth_max);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            exceeds(&bytes, 3);
        }
    }
}
