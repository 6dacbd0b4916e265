//! The tools the official conformance suite calls, with the answers it expects.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_threads::{
    CallToolResult, Cancelled, ContentBlock, ErrorCode, ErrorObject, LoggingLevel, RequestContext,
    ResourceContents, Server, Tool, ToolError,
};
use serde_json::{Value, json};

use crate::probes::Counter;

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

type Context = RequestContext<Counter>;

/// Adds the fixtures, `test_simple_text` first.
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
        .register(fixture("test_tool_with_logging", "Sends three info logs").handler(logging))
        .register(
            fixture("test_error_handling", "Always fails as a tool error").handler(|_: Value| {
                CallToolResult::error("This tool intentionally returns an error for testing")
            }),
        )
        .register(fixture("test_tool_with_progress", "Reports progress").handler(progress))
        .register(
            fixture("test_missing_capability", "Needs a client that can sample")
                .handler(missing_capability),
        )
        .register(
            fixture("test_logging_tool", "Logs to a client that asked for it").handler(
                |cx: &mut Context, _: Value| {
                    cx.log(LoggingLevel::Info, "a message for whoever asked");
                    "logged"
                },
            ),
        )
        .register(
            fixture(
                "test_streaming_elicitation",
                "Answers on a stream that never carries a request",
            )
            .handler(|cx: &mut Context, _: Value| {
                cx.progress(1.0);
                "A stream carries notifications and the answer, nothing else"
            }),
        )
        .register(
            fixture("test_reconnection", "Ends its stream before it answers").handler(reconnection),
        )
        .register(
            Tool::new("json_schema_2020_12_tool")
                .description("Tool with JSON Schema 2020-12 features")
                .input_schema(schema_2020_12())
                .handler(|args: Value| format!("JSON Schema 2020-12 tool called with: {args}")),
        )
}

fn fixture(name: &str, description: &str) -> Tool<Counter> {
    Tool::new(name)
        .description(description)
        .input_schema(json!({ "type": "object", "properties": {} }))
}

fn decode(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).expect("the constants are Base64")
}

fn image() -> ContentBlock {
    ContentBlock::image(decode(PNG), "image/png")
}

fn logging(cx: &mut Context, _: Value) -> Result<&'static str, Cancelled> {
    cx.log(LoggingLevel::Info, "Tool execution started");
    cx.sleep(Duration::from_millis(50))?;
    cx.log(LoggingLevel::Info, "Tool processing data");
    cx.sleep(Duration::from_millis(50))?;
    cx.log(LoggingLevel::Info, "Tool execution completed");
    Ok("Tool with logging executed successfully")
}

fn progress(cx: &mut Context, _: Value) -> Result<&'static str, Cancelled> {
    for step in [0.0, 50.0, 100.0] {
        if step > 0.0 {
            cx.sleep(Duration::from_millis(50))?;
        }
        cx.progress((step, 100.0));
    }
    Ok("Tool with progress executed successfully")
}

fn reconnection(cx: &mut Context, _: Value) -> Result<&'static str, Cancelled> {
    cx.close_stream();
    cx.sleep(Duration::from_millis(100))?;
    Ok("The client came back for this")
}

fn missing_capability(cx: &mut Context, _: Value) -> Result<&'static str, ToolError> {
    if cx.client().capabilities.get("sampling").is_none() {
        let error = ErrorObject::new(
            ErrorCode::MISSING_CLIENT_CAPABILITY,
            "This tool needs a client that can sample",
        )
        .with_data(json!({ "requiredCapabilities": { "sampling": {} } }));
        return Err(ToolError::protocol(error));
    }
    Ok("The client can sample")
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
