//! The JSON Schema of arguments, in the keywords that every client knows.

use serde_json::{Map, Value, json};

use crate::scripts::argument::{Argument, ArgumentType};

impl Argument {
    fn schema(&self) -> Value {
        let kind = match self.kind {
            ArgumentType::String | ArgumentType::Path => "string",
            ArgumentType::Integer => "integer",
            ArgumentType::Number => "number",
            ArgumentType::Boolean => "boolean",
            ArgumentType::Object => "object",
        };
        let pattern = self.pattern.as_ref();
        let one_of = (!self.one_of.is_empty()).then(|| self.one_of.clone().into());
        let [min_length, max_length] = self.length.map(|bound| bound.map(Value::from));
        let [minimum, maximum] = self.range.clone().map(|bound| bound.map(Value::from));
        let one = with(
            json!({ "type": kind }),
            [
                (
                    "pattern",
                    pattern.map(|pattern| format!("^(?:{})$", pattern.text).into()),
                ),
                ("minLength", min_length),
                ("maxLength", max_length),
                ("minimum", minimum),
                ("maximum", maximum),
                ("enum", one_of),
            ],
        );
        let [min_items, max_items] = self.items.map(|bound| bound.map(Value::from));
        let schema = match self.is_array {
            true => with(
                json!({ "type": "array", "items": one }),
                [("minItems", min_items), ("maxItems", max_items)],
            ),
            false => one,
        };
        let description = self.description.as_deref().map(Value::from);
        let about = [
            ("description", description),
            ("default", self.default.clone()),
        ];
        with(schema, about)
    }
}

fn with<const N: usize>(mut schema: Value, keywords: [(&str, Option<Value>); N]) -> Value {
    for (keyword, value) in keywords {
        if let Some(value) = value {
            schema[keyword] = value;
        }
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
    let required: Vec<_> = required.map(|argument| argument.name.as_str()).collect();
    let required = (!required.is_empty()).then(|| required.into());
    let schema =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    with(schema, [("required", required)])
}
