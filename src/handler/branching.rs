//! How many times a validator may look at the same value at each level of nesting, when it tells of everything that does not fit, and how much it then tells of
//! one value.
//!
//! A schema that refers to itself from several of its alternatives makes telling *exponential* in the depth of the value. Pure; must not know how a schema
//! is checked.

use std::collections::BTreeMap;

use serde_json::Value;

/// By how much the work of telling may grow with each level: the number of references by which the schema refers to itself, or 1. That is more than it is
/// where they are about different values, as in a binary tree, whose mistakes are told of with their places down to a dozen levels.
pub(super) fn branching(root: &Value) -> usize {
    let mut all = Vec::new();
    collect(root, &mut all);
    let leads_back = |pointer: &&str| reachable(root, pointer).contains(pointer);
    all.into_iter().filter(leads_back).count().max(1)
}

/// How many mistakes may be told of one value: each name that it lacks is one, and each alternative tells its own.
pub(super) fn mistakes(root: &Value) -> usize {
    most(root, root, &mut BTreeMap::new())
}

/// The same of one part, where it is known what references lead to; one that leads to itself is the matter of [`branching`].
fn most<'s>(part: &'s Value, root: &'s Value, known: &mut BTreeMap<&'s str, usize>) -> usize {
    let members = match part {
        Value::Array(parts) => {
            let of_each = parts.iter().map(|part| most(part, root, known));
            return of_each.max().unwrap_or(1);
        }
        Value::Object(members) => members,
        _ => return 1,
    };
    let (mut own, mut beside) = (1, 0_usize);
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            ("required", Value::Array(names)) => own = own.max(names.len()),
            ("anyOf" | "oneOf" | "allOf", Value::Array(parts)) => {
                for part in parts {
                    beside = beside.saturating_add(most(part, root, known));
                }
            }
            ("$ref", Value::String(pointer)) => {
                if !known.contains_key(&**pointer) {
                    known.insert(pointer, 1);
                    let found = most(target(root, pointer), root, known);
                    known.insert(pointer, found);
                }
                beside = beside.saturating_add(known[&**pointer]);
            }
            ("enum" | "const" | "default" | "examples", _) => {}
            (_, below) => own = own.max(most(below, root, known)),
        }
    }
    own.saturating_add(beside)
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

/// What a reference leads to: the whole schema, by another name than a JSON Pointer.
fn target<'s>(root: &'s Value, pointer: &str) -> &'s Value {
    let target = root.pointer(pointer.strip_prefix('#').unwrap_or_default());
    target.unwrap_or(root)
}

/// Every reference that is met behind this one.
fn reachable<'s>(root: &'s Value, from: &'s str) -> Vec<&'s str> {
    let (mut met, mut waiting) = (Vec::new(), vec![from]);
    while let Some(pointer) = waiting.pop() {
        let mut below = Vec::new();
        collect(target(root, pointer), &mut below);
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
