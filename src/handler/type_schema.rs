//! From a type to the JSON Schema of its values, as tools declare what they take and give.
//!
//! Pure. Must not know what the schema is for. Specification: `server/tools` ("Data Types").

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The schema of what is read into the type. It is of the dialect that is assumed where none is named, so it names none, and refers to itself only
/// where the type does.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    generate::<T>(SchemaSettings::draft2020_12())
}

/// The schema of what the type is written as.
pub(crate) fn written_schema_of<T: JsonSchema>() -> Value {
    generate::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn generate<T: JsonSchema>(mut settings: SchemaSettings) -> Value {
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}
