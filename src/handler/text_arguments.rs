//! The arguments of a handler that is only ever given text: a prompt's, and the variables of a resource template.
//!
//! Reads them from the schema of the type that the handler takes. Must not know who sends them. Specification: `server/prompts`,
//! `server/resources`.

use serde::Serialize;
use serde_json::Value;

/// One argument, as `prompts/list` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TextArgument {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    /// Its type holds no string, so that nothing a client may send would fit.
    #[serde(skip)]
    is_unfillable: bool,
}

/// The arguments that an object's schema has, in its order.
pub(crate) fn text_arguments(schema: &Value) -> Vec<TextArgument> {
    let required = schema["required"].as_array();
    let is_required = |name: &str| {
        required.is_some_and(|names| names.iter().any(|known| known.as_str() == Some(name)))
    };
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, property)| TextArgument {
            name: name.clone(),
            title: text(&property["title"]),
            description: text(&property["description"]),
            required: is_required(name),
            is_unfillable: !takes_text(property),
        })
        .collect()
}

/// Whether a string may fit. A schema that names no type is taken at its word.
fn takes_text(schema: &Value) -> bool {
    match &schema["type"] {
        Value::String(only) => only == "string",
        Value::Array(some) => some.iter().any(|one| one == "string"),
        _ => true,
    }
}

/// Why these arguments can never be filled in, in a sentence that says what to change.
pub(crate) fn unfillable(arguments: &[TextArgument]) -> Option<String> {
    let unfillable = arguments.iter().find(|argument| argument.is_unfillable)?;
    Some(format!(
        "clients send text, which the field `{}` cannot be made of; make it a `String`, or give it `#[schemars(with = \"String\")]` if it parses one",
        unfillable.name
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_text_can_fill_is_fillable() {
        let rows = [
            (json!({ "type": "string" }), true),
            (json!({ "type": ["string", "null"] }), true),
            (json!({ "enum": ["a", "b"] }), true),
            (json!({ "$ref": "#/$defs/Mood" }), true),
            (json!(true), true),
            (json!({ "type": "integer" }), false),
            (json!({ "type": ["boolean", "null"] }), false),
        ];
        for (schema, expected) in rows {
            let arguments = text_arguments(&json!({ "properties": { "one": schema } }));
            assert_eq!(unfillable(&arguments).is_none(), expected, "{schema}");
        }
    }
}
