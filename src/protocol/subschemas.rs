//! Where schemas stand in a JSON Schema: which keywords hold further ones.
//!
//! Pure. Must not know what is looked for in them.

use serde_json::{Map, Value};

/// The schemas that stand directly in this one.
pub(crate) fn below(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    schema
        .iter()
        .flat_map(|(keyword, value)| subschemas(keyword, value))
}

/// The schemas that the value of a keyword consists of. Other keywords, such as `default`, hold values that are
/// none, whatever they look like.
pub(crate) fn subschemas<'s>(keyword: &str, value: &'s Value) -> Vec<&'s Value> {
    match (keyword, value) {
        (
            "properties" | "patternProperties" | "dependentSchemas" | "dependencies" | "$defs"
            | "definitions",
            Value::Object(schemas),
        ) => schemas.values().collect(),
        ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
            schemas.iter().collect()
        }
        (
            "items"
            | "additionalItems"
            | "unevaluatedItems"
            | "contains"
            | "additionalProperties"
            | "unevaluatedProperties"
            | "propertyNames"
            | "not"
            | "if"
            | "then"
            | "else"
            | "contentSchema",
            schema,
        ) => vec![schema],
        _ => Vec::new(),
    }
}
