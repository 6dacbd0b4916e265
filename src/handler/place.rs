//! A place in what a schema describes, and which types of values the schema takes there.
//!
//! Alternatives and references are followed; what they say together counts. Pure; must not know what is read by it.

use std::ptr;

use serde_json::{Value, json};

/// More schemas at one place than this are not told apart: then anything is taken there.
const SCHEMAS_MAX: usize = 64;

/// Every subschema that says something about one place.
pub(crate) struct Place<'s> {
    root: &'s Value,
    schemas: Vec<&'s Value>,
}

impl<'s> Place<'s> {
    /// The place that the whole schema is about.
    pub(crate) fn of(root: &'s Value) -> Self {
        Place::said_by(root, [root])
    }

    fn said_by(root: &'s Value, schemas: impl IntoIterator<Item = &'s Value>) -> Self {
        let mut place = Place {
            root,
            schemas: Vec::new(),
        };
        schemas.into_iter().for_each(|schema| place.add(schema));
        place
    }

    fn add(&mut self, schema: &'s Value) {
        let is_known = self.schemas.iter().any(|known| ptr::eq(*known, schema));
        if is_known || self.schemas.len() > SCHEMAS_MAX {
            return;
        }
        self.schemas.push(schema);
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let parts = schema.get(keyword).and_then(Value::as_array);
            parts.into_iter().flatten().for_each(|part| self.add(part));
        }
        let reference = schema.get("$ref").and_then(Value::as_str);
        let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
        if let Some(referred) = pointer.and_then(|pointer| self.root.pointer(pointer)) {
            self.add(referred);
        }
    }

    /// Whether the schemas leave open what stands here, or say nothing about it.
    pub(crate) fn takes_anything(&self) -> bool {
        let says = ["allOf", "anyOf", "oneOf", "$ref"];
        let is_open = |schema: &&Value| {
            types(schema).is_empty() && says.iter().all(|keyword| schema.get(keyword).is_none())
        };
        self.schemas.is_empty()
            || self.schemas.len() > SCHEMAS_MAX
            || self.schemas.iter().any(is_open)
    }

    /// Whether a value of this type may stand here.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let mut types = self.schemas.iter().flat_map(|schema| types(schema));
        types.any(|known| known == name)
    }

    /// Where the member of this name stands.
    pub(crate) fn member(&self, name: &str) -> Place<'s> {
        let named = |schema: &&'s Value| {
            let schema: &'s Value = schema;
            let property = schema.get("properties").and_then(|known| known.get(name));
            property.or_else(|| schema.get("additionalProperties"))
        };
        Place::said_by(self.root, self.schemas.iter().filter_map(named))
    }

    /// Where the item with this index stands.
    pub(crate) fn item(&self, index: usize) -> Place<'s> {
        let nth = |schema: &&'s Value| {
            let schema: &'s Value = schema;
            let first = schema.get("prefixItems").and_then(|items| items.get(index));
            first.or_else(|| schema.get("items"))
        };
        Place::said_by(self.root, self.schemas.iter().filter_map(nth))
    }

    /// Whether an object here must have this member, by any of the schemas.
    pub(crate) fn requires(&self, name: &str) -> bool {
        let required = self
            .schemas
            .iter()
            .filter_map(|schema| schema["required"].as_array());
        required.flatten().any(|required| required == name)
    }
}

/// The types that one schema names, by itself or by the values it lists.
fn types(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Value::as_array);
    match (schema.get("type"), listed, schema.get("const")) {
        (Some(Value::String(one)), ..) => vec![one],
        (Some(Value::Array(some)), ..) => some.iter().filter_map(Value::as_str).collect(),
        (_, Some(values), _) => values.iter().map(type_of).collect(),
        (_, _, Some(value)) => vec![type_of(value)],
        _ if schema.get("properties").is_some() => vec!["object"],
        _ if schema.get("items").is_some() || schema.get("prefixItems").is_some() => vec!["array"],
        // `false` takes nothing.
        _ if *schema == json!(false) => vec![""],
        _ => Vec::new(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
