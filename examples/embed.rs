//! A program with its own main loop that also serves MCP: a small simulation that a model can look into and change.
//!
//! Start it with `cargo run --example embed`. For ten rounds of half a second it counts sheep and serves MCP on the address that it prints; then it
//! shuts the server down. Loop and tools share the world because it is in an `Arc`; the lock is held only briefly, so no call waits for a round.
//! The number of rounds can be given as the only argument. With `cargo run --example embed -- 1000` there is time to buy some sheep:
//!
//! ```sh
//! curl -s http://ADDRESS/mcp \
//!   -H 'Content-Type: application/json' -H 'MCP-Protocol-Version: 2026-07-28' \
//!   -H 'Mcp-Method: tools/call' -H 'Mcp-Name: buy' \
//!   -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"buy","arguments":{"sheep":5},
//!        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
//! ```

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mcp_threads::schemars::{self, JsonSchema};
use mcp_threads::{Json, RequestContext, Server};
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, JsonSchema)]
struct World {
    round: u64,
    sheep: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Buy {
    /// How many sheep to buy.
    sheep: u64,
}

type Shared = Arc<Mutex<World>>;

fn main() -> mcp_threads::Result<()> {
    env_logger::Builder::from_default_env()
        .target(env_logger::Target::Pipe(Box::new(mcp_threads::log_lossy())))
        .init();
    let rounds = std::env::args()
        .nth(1)
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(10);
    let world = Shared::default();

    let server = Server::new("sheep", "1.0.0")
        .with_state(Arc::clone(&world))
        .tool(
            "look",
            "Shows the world.",
            |cx: &mut RequestContext<Shared>, _: serde_json::Value| {
                Json(cx.state().lock().expect("no round panics").clone())
            },
        )
        .tool(
            "buy",
            "Buys sheep and says how many there are.",
            |cx: &mut RequestContext<Shared>, buy: Buy| {
                let mut world = cx.state().lock().expect("no round panics");
                world.sheep += buy.sheep;
                world.sheep
            },
        )
        .serve_http("127.0.0.1:0")?;
    let url = server.url().expect("it serves HTTP");
    // `eprintln!` would wait for a reader of stderr, and panic without.
    let mut stderr = mcp_threads::log_lossy();
    let _never_fails = writeln!(stderr, "listening on {url}");

    // The program's own loop goes on, whatever the model does.
    for round in 1..=rounds {
        let sheep = {
            let mut world = world.lock().expect("no call panics");
            world.round = round;
            world.sheep += 1;
            world.sheep
        };
        let _never_fails = writeln!(stderr, "round {round}: {sheep} sheep");
        thread::sleep(Duration::from_millis(500));
    }

    // Has what was said last written, too.
    server.shutdown(Duration::from_secs(2));
    Ok(())
}
