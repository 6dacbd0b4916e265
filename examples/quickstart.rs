//! The first program of the README: a calculator over HTTP.
//!
//! Start it with `cargo run --example quickstart`, then call its tool from a second terminal:
//!
//! ```sh
//! curl -s http://127.0.0.1:8080/mcp \
//!   -H 'Content-Type: application/json' -H 'MCP-Protocol-Version: 2026-07-28' \
//!   -H 'Mcp-Method: tools/call' -H 'Mcp-Name: add' \
//!   -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":2,"b":40},
//!        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
//! ```
//!
//! The answer contains `"text":"42"`. Stop the server with Ctrl-C. Another address can be given as the only argument:
//! `cargo run --example quickstart -- 127.0.0.1:9000`.

use std::io::Write;

use mcp_threads::Server;
use mcp_threads::schemars::{self, JsonSchema};
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Add {
    a: i64,
    b: i64,
}

fn calculator() -> Server {
    Server::new("calculator", "1.0.0")
        .tool("add", "Adds two integers.", |args: Add| args.a + args.b)
}

fn main() -> mcp_threads::Result<()> {
    // With RUST_LOG=info: a line for each request.
    env_logger::Builder::from_default_env()
        .target(env_logger::Target::Pipe(Box::new(mcp_threads::log_lossy())))
        .init();
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = calculator().serve_http(&address)?;
    let url = server.url().expect("it serves HTTP");
    // Not by `eprintln!`, which waits for a reader of stderr.
    let _never_fails = writeln!(mcp_threads::log_lossy(), "listening on {url}");
    server.run_until_ctrl_c()
}

#[cfg(test)]
mod tests {
    use mcp_threads::serde_json::json;

    use super::calculator;

    #[test]
    fn it_adds() {
        let mut client = calculator().test_client().expect("it starts");
        let sum = client.call("add", json!({ "a": 2, "b": 40 }));
        assert_eq!(sum.expect("it answers")["content"][0]["text"], "42");
    }

    #[test]
    fn it_says_what_is_missing() {
        let mut client = calculator().test_client().expect("it starts");
        let refused = client
            .call("add", json!({ "a": 2 }))
            .expect("the model reads it");
        assert_eq!(refused["isError"], true);
        let text = refused["content"][0]["text"].as_str().expect("a sentence");
        assert!(text.contains("missing field `b`"), "{text}");
    }
}
