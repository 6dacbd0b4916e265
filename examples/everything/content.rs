//! Tools that show what a result can hold: text, pictures, sound, resources, a failure, a schema.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_threads::schemars::JsonSchema;
use mcp_threads::{CallToolResult, ContentBlock, ResourceContents, Server, Tool};
use serde::Deserialize;
use serde_json::{Value, json};

use super::probes::Counter;

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Name {
    /// Who is greeted.
    name: String,
}

/// Adds them, `test_simple_text` first.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    server
        .register(
            fixture("test_simple_text", "Returns simple text")
                .handler(|_: Value| "This is a simple text response for testing."),
        )
        .register(fixture("test_image_content", "Returns an image").handler(|_: Value| image()))
        .register(
            fixture("test_audio_content", "Returns audio")
                .handler(|_: Value| ContentBlock::audio(decode(WAV), "audio/wav")),
        )
        .register(
            fixture("test_embedded_resource", "Returns an embedded resource").handler(
                |_: Value| {
                    let text = "This is an embedded resource content.";
                    ContentBlock::resource(
                        ResourceContents::text("test://embedded-resource", text)
                            .with_mime_type("text/plain"),
                    )
                },
            ),
        )
        .register(
            fixture(
                "test_multiple_content_types",
                "Returns text, image and resource",
            )
            .handler(|_: Value| {
                let data = r#"{"test":"data","value":123}"#;
                let resource = ResourceContents::text("test://mixed-content-resource", data)
                    .with_mime_type("application/json");
                vec![
                    ContentBlock::text("Multiple content types test:"),
                    image(),
                    ContentBlock::resource(resource),
                ]
            }),
        )
        .register(
            fixture("test_error_handling", "Always fails as a tool error").handler(|_: Value| {
                CallToolResult::error("This tool intentionally returns an error for testing")
            }),
        )
        .register(
            Tool::new("json_schema_2020_12_tool")
                .description("Tool with JSON Schema 2020-12 features")
                .input_schema(schema_2020_12())
                .handler(|args: Value| format!("JSON Schema 2020-12 tool called with: {args}")),
        )
        .tool("greet", "Says hello.", |args: Name| {
            format!("Hello, {}!", args.name)
        })
}

/// A tool without arguments that needs its handler yet.
pub(crate) fn fixture(name: &str, description: &str) -> Tool<Counter> {
    Tool::new(name)
        .description(description)
        .input_schema(json!({ "type": "object", "properties": {} }))
}

fn decode(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).expect("the constants are Base64")
}

/// A picture of one pixel.
pub(crate) fn png() -> Vec<u8> {
    decode(PNG)
}

pub(crate) fn image() -> ContentBlock {
    ContentBlock::image(png(), "image/png")
}

fn schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } }
            }
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" }
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false
    })
}
