//! The JSON Schema of arguments, in the keywords that every client knows.

use serde_json::{Map, Value, json};

use crate::scripts::argument::Argument;

impl Argument {
    fn schema(&self) -> Value {
        let pattern = self.pattern.as_ref();
        let pattern = pattern.map(|pattern| format!("^(?:{})$", pattern.text));
        let [min_length, max_length] = self.length;
        let [minimum, maximum] = &self.range;
        let one = without_nulls(json!({
            "type": self.kind,
            "pattern": pattern,
            "minLength": min_length,
            "maxLength": max_length,
            "minimum": minimum,
            "maximum": maximum,
            "enum": (!self.one_of.is_empty()).then_some(&self.one_of),
        }));
        let [min_items, max_items] = self.items;
        let mut schema = match self.is_array {
            true => {
                json!({ "type": "array", "items": one, "minItems": min_items, "maxItems": max_items })
            }
            false => one,
        };
        schema["description"] = json!(self.description);
        schema["default"] = json!(self.default);
        without_nulls(schema)
    }
}

fn without_nulls(mut schema: Value) -> Value {
    if let Some(keywords) = schema.as_object_mut() {
        keywords.retain(|_, value| !value.is_null());
    }
    schema
}

/// The schema of all arguments together.
pub(in crate::scripts) fn schema(arguments: &[Argument]) -> Value {
    let properties = arguments
        .iter()
        .map(|argument| (argument.name.clone(), argument.schema()));
    let properties: Map<String, Value> = properties.collect();
    let required = arguments.iter().filter(|argument| argument.required);
    let required: Vec<_> = required.map(|argument| &argument.name).collect();
    without_nulls(json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "required": (!required.is_empty()).then_some(required),
    }))
}
