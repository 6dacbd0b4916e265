//! A tool with a parameter that an HTTP header field mirrors, as the official conformance suite wants it.

use mcp_threads::{Server, Tool};
use serde_json::{Value, json};

use super::probes::Counter;

/// Adds the tool.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    server.register(
        Tool::new("test_custom_header")
            .description("Says the value that `Mcp-Param-Value` has to say, too")
            .input_schema(json!({
                "type": "object",
                "properties": { "value": { "type": "string", "x-mcp-header": "Value" } },
                "required": ["value"]
            }))
            .handler(|args: Value| args["value"].as_str().unwrap_or_default().to_owned()),
    )
}
