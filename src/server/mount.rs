//! MCP inside a program that runs a tiny_http server of its own.
//!
//! The program keeps its listener, its threads and its other paths, and hands over the requests that are meant for MCP. Must not know what a
//! request means.

use std::fmt;
use std::time::Duration;

use crate::base::error::Result;
use crate::base::stats::Stats;
use crate::handler::Fork;
use crate::server::builder::Server;
use crate::server::running::RunningServer;
use crate::server::shared::DrainReport;
use crate::transport::http::endpoint::{Endpoint, Reach, Route};
use crate::transport::http::tiny;

/// An MCP endpoint without a listener, for a program that receives `tiny_http::Request`s itself. Dropping it shuts it down, as it does a
/// [`RunningServer`].
///
/// ```no_run
/// let mcp = std::sync::Arc::new(
///     mcp_threads::Server::new("clock", "1.0.0")
///         .tool("now", "The time.", || format!("{:?}", std::time::SystemTime::now()))
///         .mount()?,
/// );
/// let http = tiny_http::Server::http("127.0.0.1:8080").expect("the port is free");
/// for request in http.incoming_requests() {
///     if mcp.is_for(&request) {
///         let mcp = std::sync::Arc::clone(&mcp);
///         std::thread::spawn(move || mcp.handle(request)); // a slow call must not hold up the next request
///     } else {
///         let page = tiny_http::Response::from_string("the program's own page");
///         request.respond(page).expect("the client is there");
///     }
/// }
/// # Ok::<(), mcp_threads::Error>(())
/// ```
///
/// What tiny_http cannot do, a mounted endpoint cannot either; [`Server::serve_tiny_http`] has the list.
#[must_use = "a mounted endpoint that is dropped shuts down"]
pub struct Mount {
    running: RunningServer,
    endpoint: Endpoint,
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mount").field(&self.running).finish()
    }
}

impl<S: Fork + Send + Sync + 'static> Server<S> {
    /// Starts the lanes and returns the endpoint, whose [`Mount::handle`] answers requests. Their `Host` and `Origin` must be loopback names or among
    /// the [`allowed_hosts`](Self::allowed_hosts) and [`allowed_origins`](Self::allowed_origins).
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, and when the configuration is wrong.
    pub fn mount(self) -> Result<Mount> {
        let running = self.start()?;
        let endpoint = running.shared.endpoint(Reach::ThisMachine)?;
        Ok(Mount { running, endpoint })
    }
}

impl Mount {
    /// Whether this request is for the MCP endpoint, by its path. The path for health checks is the program's own; [`handle`](Self::handle) answers
    /// it, too, if it is handed over.
    pub fn is_for(&self, request: &tiny_http::Request) -> bool {
        self.endpoint.paths.find(tiny::target(request)) == Some(Route::Mcp)
    }

    /// Answers a request, on the caller's thread: returns when the answer has been written or the client has gone. It may take as long as the
    /// call does, so give each request a thread, or as many threads as may wait at once.
    pub fn handle(&self, request: tiny_http::Request) {
        tiny::answer(&self.endpoint, request);
    }

    /// What the endpoint is doing now. Never waits.
    pub fn stats(&self) -> Stats {
        self.running.stats()
    }

    /// Refuses new calls, lets those in flight finish for at most `deadline`, cancels the rest, and joins the workers. What belongs to a call in
    /// flight, such as the answer to a question, is heard meanwhile. Requests handed in afterwards are still answered: calls with `503`.
    pub fn shutdown(&self, deadline: Duration) -> DrainReport {
        self.running.shared.end(Some(deadline))
    }
}
