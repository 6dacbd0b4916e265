//! Tools that notify clients of a change although nothing has changed: a subscribed client is notified and finds everything as it was.

use mcp_threads::{RequestContext, Server};
use serde_json::Value;

use super::content::fixture;
use super::probes::Counter;

type Context = RequestContext<Counter>;

/// Adds them.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    server
        .register(
            fixture("test_trigger_tool_change", "Announces a new list of tools").handler(
                |cx: &mut Context, _: Value| {
                    cx.tools_changed();
                    "Tool list change triggered"
                },
            ),
        )
        .register(
            fixture(
                "test_trigger_prompt_change",
                "Announces a new list of prompts",
            )
            .handler(|cx: &mut Context, _: Value| {
                cx.prompts_changed();
                "Prompt list change triggered"
            }),
        )
        .register(
            fixture(
                "test_trigger_resource_update",
                "Announces new content of `test://watched-resource`",
            )
            .handler(|cx: &mut Context, _: Value| {
                cx.resource_updated("test://watched-resource");
                "Resource update triggered"
            }),
        )
}
