//! Tools that say something on the way: log messages, progress, and that their client should come back later.

use std::time::Duration;

use mcp_threads::{Cancelled, LoggingLevel, RequestContext, Server};
use serde_json::Value;

use super::content::fixture;
use super::probes::Counter;

type Context = RequestContext<Counter>;

/// Adds them.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    server
        .register(fixture("test_tool_with_logging", "Sends three info logs").handler(logging))
        .register(fixture("test_tool_with_progress", "Reports progress").handler(progress))
        .register(
            fixture("test_reconnection", "Ends its stream before it answers").handler(reconnection),
        )
        .register(
            fixture("test_logging_tool", "Logs to a client that asked for it").handler(
                |cx: &mut Context, _: Value| {
                    cx.log(LoggingLevel::Info, "a message for whoever asked");
                    "logged"
                },
            ),
        )
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
