//! From a type to the JSON Schema of its values, as tools declare what they take and give.
//!
//! Pure. Must not know what the schema is for. Specification: `server/tools` ("Data Types").

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::RestrictFormats;
use serde_json::Value;

/// The schema in the dialect that is assumed where none is named, so it names none. Formats that the dialect does not define, as the names of
/// Rust's integers are, are left out: they say nothing to clients, and some complain of each.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RestrictFormats::default());
    let generator = settings.into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    if let Some(members) = schema.as_object_mut() {
        members.remove("$schema");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Shape {
        count: u64,
        many: Vec<i32>,
        #[schemars(extend("format" = "email"))]
        mail: String,
    }

    #[test]
    fn a_type_says_only_what_the_dialect_defines() {
        assert_eq!(
            schema_of::<Shape>(),
            json!({
                "title": "Shape",
                "type": "object",
                "properties": {
                    "count": { "type": "integer", "minimum": 0 },
                    "many": { "type": "array", "items": { "type": "integer" } },
                    "mail": { "type": "string", "format": "email" }
                },
                "required": ["count", "many", "mail"]
            })
        );
    }
}
