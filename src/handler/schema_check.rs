//! What is wrong with a schema at the start: what JSON Schema does not allow, and what it allows but clients are known to refuse.
//!
//! Pure. Must not know where the schema comes from.

use serde_json::{Map, Value};

use crate::protocol::subschemas::{below, subschemas};

/// The formats that JSON Schema defines.
pub(super) const FORMATS: &[&str] = &[
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "iri",
    "iri-reference",
    "uuid",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
    "regex",
];

/// The first keyword of a schema whose value cannot be what JSON Schema says it is.
pub(super) fn schema_slip(schema: &Value) -> Option<String> {
    let members = schema.as_object()?;
    for (keyword, value) in members {
        let fits = match keyword.as_str() {
            "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas" => {
                value
                    .as_object()
                    .is_some_and(|map| map.values().all(|sub| sub.is_object() || sub.is_boolean()))
            }
            "required" => value
                .as_array()
                .is_some_and(|names| names.iter().all(Value::is_string)),
            "enum" => value.is_array(),
            "type" => value.is_string() || value.is_array(),
            "allOf" | "anyOf" | "oneOf" => value.as_array().is_some_and(|list| !list.is_empty()),
            "items" | "not" | "if" | "then" | "else" | "additionalProperties" => {
                value.is_object() || value.is_boolean() || value.is_array()
            }
            "$ref" | "$id" | "$schema" | "$anchor" | "description" | "title" | "pattern"
            | "format" => value.is_string(),
            _ => true,
        };
        if !fits {
            return Some(format!("invalid schema: `{keyword}` cannot be {value}"));
        }
    }
    below(members).find_map(schema_slip)
}

/// Keywords for what reading a value into its type does not check. The items of a set, which differ by themselves, and formats, which are notes, are none.
const PROMISES: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "contains",
    "propertyNames",
];

/// Whether a schema that was made from a type says more than the type does.
pub(super) fn promises(schema: &Value) -> bool {
    schema.as_object().is_some_and(|members| {
        let says_more = |keyword: &&str| {
            let value = members.get(*keyword);
            value.is_some_and(|value| !is_of_type(members, keyword, value))
        };
        PROMISES.iter().any(says_more) || below(members).any(promises)
    })
}

/// The integers that a format of Rust's has, if all of them are also JSON's for every reader.
pub(super) fn integer_range(format: &str) -> Option<[i64; 2]> {
    Some(match format {
        "int8" => [i8::MIN.into(), i8::MAX.into()],
        "int16" => [i16::MIN.into(), i16::MAX.into()],
        "int32" => [i32::MIN.into(), i32::MAX.into()],
        "uint8" => [0, u8::MAX.into()],
        "uint16" => [0, u16::MAX.into()],
        "uint32" => [0, u32::MAX.into()],
        _ => return None,
    })
}

/// Whether a bound is the type's own: an integer's range, a character's length, the length of a tuple or an array.
fn is_of_type(members: &Map<String, Value>, keyword: &str, value: &Value) -> bool {
    let format = members
        .get("format")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let of_both = |least: &str, most: &str| members.get(least) == members.get(most);
    match keyword {
        "minimum" if format.starts_with("uint") => *value == 0,
        "minimum" | "maximum" if !format.is_empty() => {
            let range = integer_range(format);
            let own = range.map(|[least, most]| if keyword == "minimum" { least } else { most });
            own.is_some_and(|own| *value == own)
        }
        "minLength" | "maxLength" => *value == 1 && of_both("minLength", "maxLength"),
        // A list whose length is told looks the same as an array, so it is checked; only nobody is warned.
        "minItems" | "maxItems" => {
            cfg!(not(feature = "validate")) && of_both("minItems", "maxItems")
        }
        _ => false,
    }
}

/// What clients are known to refuse in a schema that somebody wrote, a few words each, or in one that no pass can make portable.
pub(super) fn refused(schema: &Value) -> Vec<&'static str> {
    let mut found = Vec::new();
    let root = ["anyOf", "oneOf", "allOf"];
    if root.iter().any(|keyword| schema.get(keyword).is_some()) {
        found.push("alternatives (`anyOf`, `oneOf`, `allOf`) at its root");
    }
    refused_below(schema, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn refused_below(schema: &Value, found: &mut Vec<&'static str>) {
    let schema = match schema {
        Value::Object(schema) => schema,
        Value::Bool(_) => return found.push("`true` or `false` for a schema"),
        _ => return,
    };
    let is = |kind: &str| schema.get("type").is_some_and(|is| is == kind);
    let format = schema.get("format").and_then(Value::as_str);
    let slips = [
        (schema.contains_key("$ref"), "`$ref`"),
        (
            is("object") && !schema.contains_key("properties"),
            "an object without `properties`",
        ),
        (
            is("array") && !schema.contains_key("items"),
            "an array without `items`",
        ),
        (
            format.is_some_and(|format| !FORMATS.contains(&format)),
            "a `format` that JSON Schema does not know",
        ),
    ];
    found.extend(
        slips
            .into_iter()
            .filter(|(is_there, _)| *is_there)
            .map(|(_, what)| what),
    );
    for (keyword, value) in schema {
        // What nothing else may stand beside is said so, and by everybody understood.
        let may_be_closed = keyword.ends_with("Properties") || keyword.ends_with("Items");
        let below = subschemas(keyword, value).into_iter();
        let below = below.filter(|below| !(may_be_closed && below.is_boolean()));
        below.for_each(|schema| refused_below(schema, found));
    }
}
