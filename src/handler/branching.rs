//! How many times a validator may look at the same value at each level of nesting, when it tells of everything that does not fit.
//!
//! A schema that refers to itself from several of its alternatives makes telling *exponential* in the depth of the value. Pure; must not know how a schema
//! is checked.

use serde_json::Value;

/// By how much the work of telling may grow with each level: the number of references by which the schema refers to itself, or 1. That is more than it is
/// where they are about different values, as in a binary tree, whose mistakes are told of with their places down to a dozen levels.
pub(super) fn branching(root: &Value) -> usize {
    let mut all = Vec::new();
    collect(root, &mut all);
    let leads_back = |pointer: &&str| reachable(root, pointer).contains(pointer);
    all.into_iter().filter(leads_back).count().max(1)
}

/// Every reference in this schema.
fn collect<'s>(schema: &'s Value, into: &mut Vec<&'s str>) {
    match schema {
        Value::Array(parts) => parts.iter().for_each(|part| collect(part, into)),
        Value::Object(members) => {
            for (keyword, value) in members {
                match (keyword.as_str(), value) {
                    ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(pointer)) => {
                        into.push(pointer);
                    }
                    (_, below) => collect(below, into),
                }
            }
        }
        _ => {}
    }
}

/// Every reference that is met behind this one. One by another name than a JSON Pointer leads to the whole schema.
fn reachable<'s>(root: &'s Value, from: &'s str) -> Vec<&'s str> {
    let (mut met, mut waiting) = (Vec::new(), vec![from]);
    while let Some(pointer) = waiting.pop() {
        let target = root.pointer(pointer.strip_prefix('#').unwrap_or_default());
        let mut below = Vec::new();
        collect(target.unwrap_or(root), &mut below);
        below.retain(|pointer| !met.contains(pointer));
        met.extend(&below);
        waiting.extend(below);
    }
    met
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_that_lead_back_count() {
        let node = |properties: Value| json!({ "$defs": { "node": { "properties": properties } } });
        let of = json!({ "$ref": "#/$defs/node" });
        let or_null = json!({ "anyOf": [of, { "type": "null" }] });
        let rows = [
            (json!({ "properties": { "a": { "type": "string" } } }), 1),
            (
                json!({ "properties": { "a": of, "b": of }, "$defs": { "node": {} } }),
                1,
            ),
            (node(json!({ "next": or_null })), 1),
            (node(json!({ "left": or_null, "right": or_null })), 2),
            (node(json!({ "list": { "items": of } })), 1),
            (node(json!({ "a": { "anyOf": [of, of, of] } })), 3),
            (
                json!({ "anyOf": [{ "properties": { "a": { "$ref": "#" } } }, { "properties": { "a": { "$ref": "#" } } }] }),
                2,
            ),
        ];
        for (schema, factor) in rows {
            assert_eq!(branching(&schema), factor, "{schema}");
        }
    }
}
