//! Resources: text, bytes, one that may be watched, and a template of many.

use std::time::Duration;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{CacheHint, Completing, Resource, ResourceTemplate, Server};
use serde::Deserialize;
use serde_json::json;

use super::content::png;
use super::probes::Counter;

/// The variable of the template.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Record {
    id: String,
}

/// Adds them.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    let never_changes = CacheHint::public(Duration::from_secs(3600));
    server
        .register(
            Resource::new("test://static-text", "static-text")
                .description("A text that never changes")
                .mime_type("text/plain")
                .cache(never_changes)
                .handler(|| "This is the content of the static text resource."),
        )
        .register(
            Resource::new("test://static-binary", "static-binary")
                .description("An image that never changes")
                .mime_type("image/png")
                .cache(never_changes)
                .handler(png),
        )
        .register(
            Resource::new("test://watched-resource", "watched-resource")
                .description("A text to watch")
                .mime_type("text/plain")
                .handler(|| "Watched resource content"),
        )
        .register(
            ResourceTemplate::new("test://template/{id}/data", "template")
                .description("A record for every id")
                .mime_type("application/json")
                .complete("id", |typed: Completing| {
                    let more = (0..10).map(|digit| format!("{}{digit}", typed.value));
                    more.collect::<Vec<_>>()
                })
                .handler(|record: Record| {
                    let data = format!("Data for ID: {}", record.id);
                    json!({ "id": record.id, "templateTest": true, "data": data }).to_string()
                }),
        )
}
