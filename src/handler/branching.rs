//! How many times a validator may look at the same value at each level of nesting, when it tells of everything that does not fit.
//!
//! A schema that refers to itself from several of its alternatives makes telling *exponential* in the depth of the value; a list of trees, say, does
//! not. Pure; must not know how a schema is checked.

use std::collections::BTreeMap;

use serde_json::Value;

/// Keywords whose values are no schemas.
const DATA: &[&str] = &["enum", "const", "default", "examples"];
/// Keywords for members and items that are not named one by one.
const UNNAMED: &[&str] = &[
    "items",
    "prefixItems",
    "contains",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
];

/// The factor by which the work of telling may grow with each level; 1 for a schema that grows no faster than the value.
pub(super) fn branching(root: &Value) -> usize {
    let mut all = Vec::new();
    collect(root, None, &mut all);
    let mut pointers: Vec<_> = all.iter().map(|reference| reference.pointer).collect();
    pointers.sort_unstable();
    pointers.dedup();
    let recursive = |pointer: &&str| reachable(root, pointer).contains(pointer);
    let recursive: Vec<_> = pointers.into_iter().filter(recursive).collect();
    let factors = recursive.iter().map(|pointer| {
        let mut below = Vec::new();
        collect(target(root, pointer), None, &mut below);
        below.retain(|reference| recursive.contains(&reference.pointer));
        let unnamed = below.iter().filter(|reference| reference.member.is_none());
        let mut named = BTreeMap::<_, usize>::new();
        for member in below.iter().filter_map(|reference| reference.member) {
            *named.entry(member).or_default() += 1;
        }
        unnamed.count() + named.into_values().max().unwrap_or_default()
    });
    factors.fold(1, |all, one| all.saturating_mul(one.max(1)))
}

struct BranchReference<'s> {
    pointer: &'s str,
    /// The member that it is about, if it is about one of a certain name.
    member: Option<&'s str>,
}

fn collect<'s>(schema: &'s Value, member: Option<&'s str>, into: &mut Vec<BranchReference<'s>>) {
    match schema {
        Value::Array(parts) => parts.iter().for_each(|part| collect(part, member, into)),
        Value::Object(members) => {
            for (keyword, value) in members {
                match (keyword.as_str(), value) {
                    ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(pointer)) => {
                        into.push(BranchReference { pointer, member });
                    }
                    ("properties", Value::Object(below)) => {
                        let below = below.iter();
                        below.for_each(|(name, schema)| collect(schema, Some(name), into));
                    }
                    (unnamed, below) if UNNAMED.contains(&unnamed) => collect(below, None, into),
                    (data, _) if DATA.contains(&data) => {}
                    // What is only defined here is about nothing yet.
                    ("$defs" | "definitions", below) => collect(below, None, into),
                    (_, below) => collect(below, member, into),
                }
            }
        }
        _ => {}
    }
}

/// What a reference leads to; the whole schema, for one by another name than a JSON Pointer.
fn target<'s>(root: &'s Value, pointer: &str) -> &'s Value {
    let pointer = pointer.strip_prefix('#').unwrap_or_default();
    root.pointer(pointer).unwrap_or(root)
}

/// Every reference that is met behind this one.
fn reachable<'s>(root: &'s Value, from: &str) -> Vec<&'s str> {
    let mut met: Vec<&str> = Vec::new();
    let mut waiting = vec![target(root, from)];
    while let Some(schema) = waiting.pop() {
        let mut below = Vec::new();
        collect(schema, None, &mut below);
        for BranchReference { pointer, .. } in below {
            if !met.contains(&pointer) {
                met.push(pointer);
                waiting.push(target(root, pointer));
            }
        }
    }
    met
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_looks_twice_at_the_same_value_counts() {
        let node = |properties: Value| json!({ "$ref": "#/$defs/node", "$defs": { "node": { "properties": properties } } });
        let of = json!({ "$ref": "#/$defs/node" });
        let or_null = json!({ "anyOf": [of, { "type": "null" }] });
        let rows = [
            (json!({ "properties": { "a": { "type": "string" } } }), 1),
            (
                json!({ "properties": { "a": of, "b": of }, "$defs": { "node": {} } }),
                1,
            ),
            (node(json!({ "next": or_null })), 1),
            (node(json!({ "left": or_null, "right": or_null })), 1),
            (node(json!({ "list": { "items": of } })), 1),
            (node(json!({ "a": { "anyOf": [of, of, of] } })), 3),
            (
                json!({ "anyOf": [{ "properties": { "a": { "$ref": "#" } } }, { "properties": { "a": { "$ref": "#" } } }] }),
                2,
            ),
            (
                json!({ "oneOf": [{ "items": { "$ref": "#" } }, { "prefixItems": [{ "$ref": "#" }] }] }),
                2,
            ),
            (
                json!({ "properties": { "a": { "enum": [{ "$ref": "#" }] } } }),
                1,
            ),
        ];
        for (schema, factor) in rows {
            assert_eq!(branching(&schema), factor, "{schema}");
        }
    }
}
