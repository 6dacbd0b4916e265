//! A tool with a parameter that an HTTP header field mirrors, as the official conformance suite wants it.

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{Server, Tool};
use serde::Deserialize;

use super::probes::Counter;

/// Adds the tool.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    server.register(
        Tool::new("test_custom_header")
            .description("Says the value that `Mcp-Param-Value` has to say, too")
            .handler(|args: Mirrored| args.value),
    )
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Mirrored {
    #[schemars(extend("x-mcp-header" = "Value"))]
    value: String,
}
