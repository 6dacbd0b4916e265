//! How deep a JSON text nests and how many values it has, without parsing it.
//!
//! Skipping a raw value needs no recursion and so knows no bound; this one pass gives it both before any parser runs. Strings are
//! jumped over, so that a large text costs next to nothing. Pure.

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
    let mut count = 0;
    bytes.chunks(usize::from(u8::MAX)).any(|stride| {
        let opening = stride.iter().map(|byte| u8::from(byte | 0x20 == b'{'));
        count += usize::from(opening.sum::<u8>());
        count > most
    })
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
