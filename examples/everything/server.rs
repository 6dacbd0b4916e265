//! Everything that the reference server serves. The transport is chosen elsewhere: by the command line, or by the project's own tests.
//!
//! `probes` holds what measures the server itself, the other modules what the official conformance suite calls, by subject.

mod asks;
mod changes;
mod content;
mod desk;
mod events;
mod fleet;
mod headers;
mod probes;
mod prompts;
mod resources;
mod rounds;

use mcp_threads::Server;

/// Everything there is; lists show it in this order.
pub(crate) fn everything() -> Server<probes::Counter> {
    let server = Server::new("everything", env!("CARGO_PKG_VERSION"))
        .title("Everything")
        .instructions("A server to test clients with. Call any tool; none does harm.")
        .with_state(probes::Counter::default());
    let server = events::register(content::register(server));
    let server = changes::register(headers::register(server));
    let server = rounds::register(asks::register(server));
    let server = prompts::register(resources::register(server));
    let hosts = fleet::hosts();
    let server = fleet::register(probes::register(server), &hosts);
    desk::register(server, hosts)
}
