//! What the schemas of model APIs may contain, each from its public documentation, as a check of one schema.
//!
//! - OpenAI: "Function calling" and "Structured outputs", "Supported schemas". Strict mode is what a client makes of a schema for it: every object
//!   closed, every property required.
//! - Anthropic: "Tool use", "Define tools".
//! - Gemini: "Function calling" and the `Schema` object of the API's reference.
//! - VS Code: "MCP developer guide", and what its validator says of tools that it leaves out.

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    OpenAi,
    OpenAiStrict,
    Anthropic,
    Gemini,
    VsCode,
}

impl Api {
    pub(crate) const ALL: [Api; 5] = [
        Api::OpenAi,
        Api::OpenAiStrict,
        Api::Anthropic,
        Api::Gemini,
        Api::VsCode,
    ];
}

/// Keywords that both of the APIs know which know few.
const COMMON_KEYWORDS: &[&str] = &[
    "title",
    "description",
    "type",
    "enum",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "default",
];
const STRICT_KEYWORDS: &[&str] = &[
    "$ref",
    "$defs",
    "const",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];
const STRICT_FORMATS: &[&str] = &[
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
];
const GEMINI_KEYWORDS: &[&str] = &[
    "minProperties",
    "maxProperties",
    "nullable",
    "example",
    "propertyOrdering",
];
const TYPES: &[&str] = &[
    "string", "number", "integer", "boolean", "object", "array", "null",
];

/// What this API refuses of an input schema, if anything.
pub(crate) fn refused(api: Api, schema: &Value) -> Option<String> {
    if schema["type"] != "object" {
        return Some("the root is no object".into());
    }
    let combined = ["anyOf", "oneOf", "allOf", "not", "enum"];
    if let Some(keyword) = combined
        .iter()
        .find(|keyword| schema.get(keyword).is_some())
    {
        return Some(format!("`{keyword}` at the root"));
    }
    below(api, schema, "")
}

fn below(api: Api, schema: &Value, path: &str) -> Option<String> {
    let Value::Object(members) = schema else {
        return Some(format!("{path} is {schema}"));
    };
    let no = |what: &str| Some(format!("{path}: {what}"));
    let kind = schema["type"].as_str();
    if members.contains_key("type") && !kind.is_some_and(|kind| TYPES.contains(&kind)) {
        return no("`type` is not one type");
    }
    if kind == Some("array") && !schema["items"].is_object() {
        return no("an array without `items`");
    }
    if kind == Some("object") && !schema["properties"].is_object() {
        return no("an object without `properties`");
    }
    let known = match api {
        Api::OpenAiStrict => Some(STRICT_KEYWORDS),
        Api::Gemini => Some(GEMINI_KEYWORDS),
        _ => None,
    };
    // What begins with `x-` is taken off by the clients of the strict APIs, because it is common.
    let is_known = |keyword: &str, known: &[&str]| {
        COMMON_KEYWORDS.contains(&keyword) || known.contains(&keyword) || keyword.starts_with("x-")
    };
    let mut keywords = members.keys();
    let stranger = known.and_then(|known| keywords.find(|keyword| !is_known(keyword, known)));
    if let Some(stranger) = stranger {
        return no(&format!("`{stranger}`"));
    }
    if let Some(required) = schema["required"].as_array() {
        let unknown = required.iter().find(|name| {
            schema["properties"]
                .get(name.as_str().unwrap_or(""))
                .is_none()
        });
        if unknown.is_some() {
            return no("`required` names what is no property");
        }
    }
    match api {
        Api::OpenAiStrict => {
            if members.is_empty()
                || (kind == Some("object") && schema["additionalProperties"].is_object())
            {
                return no("what may be anything");
            }
            // An object that is closed and has no properties would be of no use.
            if kind == Some("object")
                && !path.is_empty()
                && schema["properties"] == serde_json::json!({})
            {
                return no("an object of anything");
            }
            let format = schema["format"].as_str();
            if format.is_some_and(|format| !STRICT_FORMATS.contains(&format)) {
                return no("an unknown format");
            }
        }
        Api::Gemini => {
            let names = schema["enum"].as_array();
            if names.is_some_and(|names| !names.iter().all(Value::is_string)) {
                return no("an `enum` of what is no string");
            }
        }
        Api::Anthropic => {
            let is_odd = |name: &String| {
                name.is_empty()
                    || name.len() > 64
                    || !name
                        .chars()
                        .all(|char| char.is_ascii_alphanumeric() || "_.-".contains(char))
            };
            let mut names = schema["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name);
            if let Some(odd) = names.find(|name| is_odd(name)) {
                return no(&format!("a property `{odd}`"));
            }
        }
        Api::OpenAi | Api::VsCode => {
            if members.contains_key("prefixItems") {
                return no("a tuple");
            }
        }
    }
    let maps = ["properties", "$defs"]
        .iter()
        .filter_map(|keyword| schema[*keyword].as_object());
    let lists = ["anyOf", "oneOf", "allOf"]
        .iter()
        .filter_map(|keyword| schema[*keyword].as_array());
    let single = ["items", "additionalProperties"]
        .iter()
        .filter_map(|keyword| members.get(*keyword));
    let single = single.filter(|below| **below != Value::Bool(false));
    maps.flatten()
        .map(|(_, below)| below)
        .chain(lists.flatten())
        .chain(single)
        .find_map(|schema| below(api, schema, &format!("{path}/")))
}

#[test]
fn the_check_finds_what_an_api_refuses() {
    use serde_json::json;
    let of = |property: Value| json!({ "type": "object", "properties": { "a": property } });
    let rows = [
        (json!({ "type": "object" }), Api::OpenAi),
        (
            json!({ "type": "object", "properties": {}, "oneOf": [] }),
            Api::Anthropic,
        ),
        (of(json!(true)), Api::VsCode),
        (of(json!({ "type": ["string", "null"] })), Api::Gemini),
        (of(json!({ "type": "array" })), Api::OpenAi),
        (of(json!({ "$ref": "#" })), Api::Gemini),
        (
            of(json!({ "oneOf": [{ "type": "string" }] })),
            Api::OpenAiStrict,
        ),
        (
            of(json!({ "type": "string", "format": "uri" })),
            Api::OpenAiStrict,
        ),
        (of(json!({ "type": "integer", "enum": [1] })), Api::Gemini),
        (
            json!({ "type": "object", "properties": { "a b": {} } }),
            Api::Anthropic,
        ),
    ];
    for (schema, api) in rows {
        assert!(refused(api, &schema).is_some(), "{api:?} refuses {schema}");
    }
    let good = of(json!({ "type": "string", "enum": ["x"] }));
    for api in Api::ALL {
        assert_eq!(refused(api, &good), None, "{api:?}");
    }
}
