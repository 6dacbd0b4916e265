//! Which schemas say that header fields mirror parameters, and which say it wrongly.

use super::*;

/// Every mirrored path with its field.
fn listed(members: &[MirroredProperty], path: &str) -> Vec<String> {
    members
        .iter()
        .flat_map(|member| {
            let path = format!("{path}/{}", member.name);
            let mut lines = listed(&member.members, &path);
            lines.extend(member.field.iter().map(|field| format!("{path} {field}")));
            lines
        })
        .collect()
}

#[test]
fn annotations_are_found_along_properties() {
    let plain = json!({"type": "string"});
    let with = |name: &str| json!({"type": "string", "x-mcp-header": name});
    let rows = [
        (json!({}), vec![]),
        (json!(true), vec![]),
        (
            json!({"type": "object", "properties": {"a": plain, "b": true}}),
            vec![],
        ),
        (
            json!({"properties": {"a": with("A"), "b": {"type": "integer", "x-mcp-header": "b-1"}, "c": {"type": "boolean", "x-mcp-header": "!#$%&'*+-.^_`|~9"}}}),
            vec![
                "/a Mcp-Param-A",
                "/b Mcp-Param-b-1",
                "/c Mcp-Param-!#$%&'*+-.^_`|~9",
            ],
        ),
        (
            json!({"properties": {"a": {"type": "object", "properties": {"b": {"properties": {"c": with("C")}}, "d": plain}}}}),
            vec!["/a/b/c Mcp-Param-C"],
        ),
        // A property with the annotation's name, and values that look like one.
        (
            json!({"properties": {"x-mcp-header": with("X"), "properties": {"properties": {"items": with("I")}}}}),
            vec!["/properties/items Mcp-Param-I", "/x-mcp-header Mcp-Param-X"],
        ),
        (
            json!({"default": {"x-mcp-header": "A"}, "examples": [{"x-mcp-header": "A"}], "const": {"x-mcp-header": 1}, "enum": [{"x-mcp-header": ""}]}),
            vec![],
        ),
    ];
    for (schema, expected) in rows {
        let headers = ParamHeaders::from_schema(&schema).expect("the row is valid");
        let mut found = listed(&headers.members, "");
        found.sort();
        assert_eq!(found, expected, "{schema}");
        assert_eq!(headers.is_empty(), expected.is_empty(), "{schema}");
    }
}

#[test]
fn a_bad_annotation_is_refused_with_its_reason() {
    let name =
        |value: Value| json!({"properties": {"a": {"type": "string", "x-mcp-header": value}}});
    let kind = |value: Value| json!({"properties": {"a": {"type": value, "x-mcp-header": "A"}}});
    let inside = |keyword: &str, value: Value| json!({"properties": {"a": {"properties": {"b": {keyword: value}}}}});
    let good = json!({"type": "string", "x-mcp-header": "A"});
    let deep = json!({"properties": {"c": good}});
    let mut rows = vec![
        (name(json!("")), "property `a`: `x-mcp-header` is \"\""),
        (name(json!("a b")), "it must be a string of the characters"),
        (name(json!("a:b")), "it must be a string of the characters"),
        (
            name(json!("a\r\nb")),
            "it must be a string of the characters",
        ),
        (name(json!("é")), "it must be a string of the characters"),
        (name(json!(7)), "it must be a string of the characters"),
        (name(json!(null)), "it must be a string of the characters"),
        (kind(json!("number")), "needs a \"type\""),
        (kind(json!("object")), "needs a \"type\""),
        (kind(json!("null")), "needs a \"type\""),
        (kind(json!(["string", "null"])), "needs a \"type\""),
        (kind(json!(null)), "needs a \"type\""),
        (
            json!({"properties": {"a": {"x-mcp-header": "A"}}}),
            "needs a \"type\"",
        ),
        (
            json!({"properties": {"a": good, "b": {"properties": {"c": {"type": "string", "x-mcp-header": "a"}}}}}),
            "property `b.c`: `x-mcp-header` is \"a\", which another property has already",
        ),
        (good.clone(), "input schema: `x-mcp-header` can only stand"),
        (
            json!({"$defs": {"d": good}}),
            "input schema: `x-mcp-header`",
        ),
    ];
    let single = [
        "items",
        "additionalItems",
        "unevaluatedItems",
        "contains",
        "additionalProperties",
        "unevaluatedProperties",
        "propertyNames",
        "not",
        "if",
        "then",
        "else",
        "contentSchema",
    ];
    let lists = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
    let maps = [
        "patternProperties",
        "dependentSchemas",
        "dependencies",
        "$defs",
        "definitions",
    ];
    for schema in [&good, &deep] {
        let single = single.map(|keyword| inside(keyword, schema.clone()));
        let lists = lists.map(|keyword| inside(keyword, json!([true, schema])));
        let maps = maps.map(|keyword| inside(keyword, json!({"x": schema})));
        let all = single.into_iter().chain(lists).chain(maps);
        rows.extend(all.map(|schema| (schema, "property `a.b`: `x-mcp-header` can only stand")));
    }
    for (schema, expected) in rows {
        let error = ParamHeaders::from_schema(&schema).expect_err("the row is invalid");
        assert!(error.contains(expected), "{schema}: {error}");
    }
}
