//! rmcp with the benches' `echo`, in two ways: as its documentation shows it, and as somebody who knows it well would tune it.
//!
//! Started as the benches start each server: `peer-rmcp --serve NAME WORKERS QUEUE`. Over HTTP it says its address on stdout and leaves when
//! stdin ends. It has no workers and no queue to set.

use std::io::{self, Read, Write};
use std::sync::LazyLock;
use std::{env, process, thread};

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, ServiceExt, schemars, tool, tool_handler, tool_router};
use tokio::net::TcpListener;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Text {
    text: String,
}

/// As documented: a router for each service, work where it is called.
#[derive(Clone)]
struct Documented {
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Documented {
    fn new() -> Self {
        Documented {
            tool_router: Self::tool_router(),
        }
    }

    #[tool(description = "Says what it is told.")]
    async fn echo(&self, Parameters(Text { text }): Parameters<Text>) -> String {
        text
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Documented {}

/// As tuned: one router for all, and blocking work on the threads that are made for it.
#[derive(Clone)]
struct Tuned;

static ROUTER: LazyLock<ToolRouter<Tuned>> = LazyLock::new(Tuned::tool_router);

#[tool_router]
impl Tuned {
    #[tool(description = "Says what it is told.")]
    async fn echo(&self, Parameters(Text { text }): Parameters<Text>) -> String {
        let work = tokio::task::spawn_blocking(move || text);
        work.await.unwrap_or_default()
    }
}

#[tool_handler(router = ROUTER)]
impl ServerHandler for Tuned {}

fn main() {
    let name = env::args().nth(2).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be started");
    match name.as_str() {
        "rmcp" => runtime.block_on(http(Documented::new, false)),
        "rmcp tuned" => runtime.block_on(http(|| Tuned, true)),
        "rmcp stdio" => runtime.block_on(stdio(Documented::new())),
        "rmcp tuned stdio" => runtime.block_on(stdio(Tuned)),
        other => panic!("there is no peer `{other}`"),
    }
    process::exit(0);
}

async fn http<H: ServerHandler + Send + Sync + 'static>(
    make: impl Fn() -> H + Send + Sync + 'static,
    no_delay: bool,
) {
    let service = StreamableHttpService::new(
        move || Ok(make()),
        LocalSessionManager::default().into(),
        StreamableHttpServerConfig::default(),
    );
    let router = axum::Router::new().nest_service("/mcp", service);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be listened on");
    let address = listener.local_addr().expect("a listener has an address");
    let mut out = io::stdout();
    writeln!(out, "{address}").and_then(|()| out.flush()).expect("the parent reads");
    thread::spawn(|| {
        let _until_it_ends = io::stdin().read(&mut [0]);
        process::exit(0);
    });
    use axum::serve::ListenerExt;
    let served = match no_delay {
        true => {
            let listener = listener.tap_io(|stream| {
                let _as_it_was = stream.set_nodelay(true);
            });
            axum::serve(listener, router).await
        }
        false => axum::serve(listener, router).await,
    };
    served.expect("it serves until it is ended");
}

async fn stdio<H: ServerHandler + Send + Sync + 'static>(handler: H) {
    let running = handler.serve(rmcp::transport::stdio()).await.expect("stdio can be served");
    let _how_it_ended = running.waiting().await;
}
