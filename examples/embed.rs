//! A program with a life of its own that lets a model look inside: a small simulation with an MCP endpoint.
//!
//! Start it with `cargo run --example embed`. It counts sheep for ten rounds, serves MCP meanwhile on the address it prints, and shuts the server
//! down when it is done. The world is shared because it stands in an `Arc`; the lock is held only for moments, so no call waits for a round.
//! The number of rounds may be given as the only argument.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{Json, RequestContext, Server};
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct World {
    round: u64,
    sheep: u64,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Buy {
    /// How many sheep to buy.
    sheep: u64,
}

type Shared = Arc<Mutex<World>>;

fn main() -> mcp_threads::Result<()> {
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
    eprintln!(
        "listening on http://{}/mcp",
        server.addr().expect("it serves HTTP")
    );

    // The program's own loop goes on, whatever the model does.
    for round in 1..=rounds {
        let sheep = {
            let mut world = world.lock().expect("no call panics");
            world.round = round;
            world.sheep += 1;
            world.sheep
        };
        eprintln!("round {round}: {sheep} sheep");
        thread::sleep(Duration::from_millis(500));
    }

    let report = server.shutdown(Duration::from_secs(2));
    eprintln!("done: {report:?}");
    Ok(())
}
