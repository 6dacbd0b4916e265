//! Portable schemas: from the JSON Schema of a Rust type to one that every model API reads.
//!
//! A pure pass over a schema whose subschemas are inlined already. What comes out never takes less than what went in, and mostly says the same: what it
//! cannot say in the words that all readers have is left out, and is still checked when the arguments are read. The page
//! [`model_schemas`](crate::model_schemas) says what becomes of each type. Must not know tools.

use serde_json::{Map, Value, json};

use crate::handler::alternatives::{any_of, choice_of, describe, joined, names, spliced};
use crate::handler::schema_check::{FORMATS, integer_range};

type Schema = Map<String, Value>;

/// What every reader knows, in the order in which it is written. What is not here and does not begin with `x-` is left out.
const KEPT: &[&str] = &[
    "$ref",
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
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "default",
    "$defs",
];

/// The portable form of this schema.
pub(crate) fn portable(schema: Value) -> Value {
    plain(schema).into()
}

fn plain(schema: Value) -> Schema {
    let mut schema = match schema {
        Value::Object(schema) => schema,
        // `true` takes anything. `false`, which takes nothing, stands only where `properties` has left it out.
        _ => Schema::new(),
    };
    if let Some(Value::Array(parts)) = schema.remove("allOf") {
        parts
            .into_iter()
            .for_each(|part| add_all(&mut schema, part));
    }
    if let Some(only) = schema.remove("const") {
        schema.insert("enum".into(), json!([only]));
    }
    bounds(&mut schema);
    members(&mut schema);
    items(&mut schema);
    alternatives(&mut schema);
    types(&mut schema);
    name_properties(&mut schema);
    ordered(schema)
}

fn is(schema: &Schema, kind: &str) -> bool {
    schema.get("type").is_some_and(|is| is == kind)
}

/// An object has `properties`, even if it has none.
fn name_properties(schema: &mut Schema) {
    if is(schema, "object") {
        schema.entry("properties").or_insert_with(|| json!({}));
    }
}

/// The portable form of a schema as one object without alternatives, which is what arguments have to be.
///
/// # Errors
///
/// A sentence that says what to write, when an alternative is no object.
pub(crate) fn one_object(schema: Value) -> Result<Value, String> {
    let mut schema = without_null(plain(schema));
    if let Some(Value::Array(choices)) = schema.remove("anyOf") {
        schema = joined(schema, choices).map_err(|_| {
            "its arguments are an enum whose variants are not all structs; give each variant named fields, or let the handler take a struct".to_owned()
        })?;
    }
    if !schema.contains_key("type") && !schema.contains_key("$ref") {
        schema.insert("type".into(), "object".into());
        name_properties(&mut schema);
    }
    Ok(ordered(schema).into())
}

/// The portable form of what a tool gives, as one object if it can be: the handshake era knows no other.
pub(crate) fn of_result(schema: Value) -> Value {
    let mut schema = plain(schema);
    if let Some(Value::Array(choices)) = schema.get("anyOf") {
        let choices = choices.clone();
        let mut rest = schema.clone();
        rest.remove("anyOf");
        schema = joined(rest, choices).map_or(schema, ordered);
    }
    schema.into()
}

/// The schema of a tool's results when it may answer with the id of a background job instead, for clients hold that to the same schema. `None` when what it
/// gives is no object that could have one member more.
pub(crate) fn or_a_job(mut schema: Value) -> Option<Value> {
    let members = schema.as_object_mut()?;
    // All else could want a member that is not there then.
    let kept = [
        "$schema",
        "$defs",
        "definitions",
        "title",
        "description",
        "type",
        "properties",
    ];
    members.retain(|keyword, _| kept.contains(&&**keyword));
    let properties = members.get_mut("properties")?.as_object_mut()?;
    let job = json!({ "type": "string", "description": "The id of the background job that has begun, instead of all else." });
    properties
        .insert("job".into(), job)
        .is_none()
        .then_some(schema)
}

/// Adds what one part of an `allOf` says.
fn add_all(schema: &mut Schema, part: Value) {
    let Value::Object(part) = part else { return };
    for (keyword, value) in part {
        match (schema.get_mut(&keyword), value) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
            (Some(Value::Array(known)), Value::Array(more)) if keyword == "required" => {
                known.extend(more);
            }
            // Alternatives of their own: the other keyword for them may be free.
            (Some(_), more) if keyword == "oneOf" => drop(schema.entry("anyOf").or_insert(more)),
            (Some(_), _) => {}
            (None, value) => drop(schema.insert(keyword, value)),
        }
    }
}

/// Says the formats of Rust's integers as bounds, and exclusive bounds as inclusive ones.
fn bounds(schema: &mut Schema) {
    let format = schema.get("format").and_then(Value::as_str);
    let range = format.and_then(integer_range);
    if !format.is_some_and(|format| FORMATS.contains(&format)) {
        schema.remove("format");
    }
    for (exclusive, inclusive, step) in [
        ("exclusiveMinimum", "minimum", 1),
        ("exclusiveMaximum", "maximum", -1),
    ] {
        if let Some(bound) = schema.remove(exclusive) {
            // Of a number that is no integer the next one cannot be named.
            let next = bound.as_i64().filter(|_| is(schema, "integer"));
            let bound = next.map_or(bound, |bound| json!(bound.saturating_add(step)));
            schema.insert(inclusive.into(), bound);
        }
    }
    if let Some([minimum, maximum]) = range {
        schema.entry("minimum").or_insert_with(|| minimum.into());
        schema.entry("maximum").or_insert_with(|| maximum.into());
    }
}

/// The members of an object: what may be left out is not `null`, and what may have any name is `additionalProperties`.
fn members(schema: &mut Schema) {
    let required = schema.get("required").and_then(Value::as_array).cloned();
    let required = required.unwrap_or_default();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|_, property| *property != json!(false));
        for (name, property) in properties {
            let is_required = required.iter().any(|required| required == name);
            let plain = plain(property.take());
            *property = match is_required {
                true => plain.into(),
                false => without_null(plain).into(),
            };
        }
    }
    let closed = schema.get("unevaluatedProperties") == Some(&json!(false));
    let patterns = schema.remove("patternProperties");
    let others = match (patterns, schema.remove("additionalProperties")) {
        (Some(Value::Object(patterns)), _) => {
            let values = patterns.into_iter().map(|(_, value)| portable(value));
            Some(any_of(values.collect()))
        }
        (_, Some(Value::Bool(is_open))) => (!is_open).then(|| false.into()),
        (_, Some(others)) => Some(portable(others)),
        (_, None) => closed.then(|| false.into()),
    };
    schema.extend(others.map(|others| ("additionalProperties".to_owned(), others)));
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        let definitions = definitions.values_mut();
        definitions.for_each(|definition| *definition = portable(definition.take()));
    }
}

/// The items of a list; those of a tuple are any of its items, in a number that is fixed.
fn items(schema: &mut Schema) {
    if let Some(Value::Array(items)) = schema.remove("prefixItems") {
        let items: Vec<_> = items.into_iter().map(portable).collect();
        let kinds = items.iter().map(kind).collect::<Vec<_>>().join(", ");
        let any = match choice_of(items) {
            Ok(one) => one,
            Err(several) => {
                describe(schema, &format!("The items, in order: {kinds}."));
                json!({ "anyOf": several })
            }
        };
        schema.insert("items".into(), any);
    } else if let Some(item) = schema.remove("items") {
        schema.insert("items".into(), portable(item));
    } else if is(schema, "array") {
        schema.insert("items".into(), json!({}));
    }
}

/// `oneOf` and `anyOf`: names with descriptions become one `enum`, what stands beside properties joins them, and the rest is `anyOf`.
fn alternatives(schema: &mut Schema) {
    for keyword in ["oneOf", "anyOf"] {
        let Some(Value::Array(choices)) = schema.remove(keyword) else {
            continue;
        };
        let choices = choices
            .into_iter()
            .map(portable)
            .flat_map(spliced)
            .collect();
        let choices = names(choices);
        if schema.contains_key("properties") {
            if let Ok(joined) = joined(schema.clone(), choices) {
                *schema = joined;
            }
            continue;
        }
        match choice_of(choices) {
            Ok(Value::Object(one)) => absorb(schema, one),
            Ok(_) => {}
            Err(several) => drop(schema.insert("anyOf".into(), several.into())),
        }
    }
}

/// One type at most in `type`; `null` is an alternative.
fn types(schema: &mut Schema) {
    let mut has_null = false;
    if let Some(Value::Array(names)) = schema.get_mut("enum") {
        has_null = names.len() > 1 && names.iter().any(Value::is_null);
        if has_null {
            names.retain(|name| !name.is_null());
        }
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        let mut types = std::mem::take(types);
        has_null |= types.iter().any(|name| name == "null");
        types.retain(|name| name != "null");
        schema.remove("type");
        match types.len() {
            1 => drop(schema.insert("type".into(), types.remove(0))),
            _ => {
                let each = types.into_iter().map(|name| json!({ "type": name }));
                schema.insert("anyOf".into(), each.collect());
            }
        }
    }
    if has_null {
        name_properties(schema);
        let mut outer = Schema::new();
        for keyword in ["title", "description", "default", "$defs"] {
            outer.extend(schema.remove_entry(keyword));
        }
        let inner = ordered(std::mem::take(schema));
        outer.insert("anyOf".into(), json!([inner, { "type": "null" }]));
        *schema = outer;
    }
}

/// The same without the alternative `null`, for what can be left out instead.
fn without_null(mut schema: Schema) -> Schema {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            absorb(&mut schema, only);
        }
    }
    ordered(schema)
}

/// Takes over what is not said yet. What a field says of itself replaces what its type says, but not what each name of a list means.
fn absorb(schema: &mut Schema, other: Schema) {
    if schema.contains_key("description")
        && other.contains_key("enum")
        && let Some(text) = other.get("description").and_then(Value::as_str)
    {
        describe(schema, text);
    }
    for (keyword, value) in other {
        schema.entry(keyword).or_insert(value);
    }
}

/// What a person calls this schema.
fn kind(schema: &Value) -> &str {
    schema["type"].as_str().unwrap_or("any value")
}

/// What is kept of a schema, in the order in which it is written.
fn ordered(schema: Schema) -> Schema {
    let mut kept: Vec<_> = schema
        .into_iter()
        .filter_map(|entry| {
            let place = KEPT.iter().position(|keyword| *keyword == entry.0);
            let place = place.or(entry.0.starts_with("x-").then_some(KEPT.len()))?;
            Some((place, entry))
        })
        .collect();
    kept.sort_by_key(|(place, _)| *place);
    kept.into_iter().map(|(_, entry)| entry).collect()
}
