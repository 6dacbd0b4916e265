//! Servers in this process that are ended, and the tools that most tests need.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use mcp_threads::Limits;
use mcp_threads::{
    DrainReport, Fork, LaneStats, RequestContext, RunningServer, Server, ServerHandle, Stats, Tool,
};
use serde_json::Value;

use super::gate::Gate;
#[cfg(any(feature = "http", feature = "tiny-http"))]
use super::http::Http;
use super::{PATIENCE, PipeClient, until_told};

/// A running server. Dropped, it is shut down without patience; [`stop`](Served::stop) ends it in order.
pub(crate) struct Served {
    running: Option<RunningServer>,
    handle: ServerHandle,
}

impl Served {
    pub(crate) fn new(running: RunningServer) -> Self {
        Served {
            handle: running.handle(),
            running: Some(running),
        }
    }

    /// Serves one client over a pair of connected sockets.
    pub(crate) fn pipe<S: Fork + Send + Sync + 'static>(server: Server<S>) -> (Served, PipeClient) {
        let (ours, theirs) = UnixStream::pair().expect("sockets can be made");
        let write = theirs.try_clone().expect("a socket can be cloned");
        let running = server
            .serve_pipe(theirs, write)
            .expect("the server can start");
        (Served::new(running), PipeClient::socket(ours))
    }

    pub(crate) fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// The main lane's numbers.
    pub(crate) fn main(&self) -> LaneStats {
        lane(&self.stats(), "main")
    }

    /// Waits until the main lane's numbers are as wanted.
    #[track_caller]
    pub(crate) fn until_main(&self, what: &str, mut holds: impl FnMut(&LaneStats) -> bool) {
        until_told(
            what,
            || holds(&self.main()),
            || format!("{:?}", self.stats()),
        );
    }

    /// Takes the server out, to be ended by the test.
    pub(crate) fn take(mut self) -> RunningServer {
        self.running.take().expect("nobody has taken it before")
    }

    /// Shuts down and says how it went.
    pub(crate) fn shutdown(self, deadline: Duration) -> DrainReport {
        self.take().shutdown(deadline)
    }

    /// Shuts down and sees to it that nothing is left behind. A pipe's client must have closed its side.
    #[track_caller]
    pub(crate) fn stop(self) {
        let stats = self.stats();
        let report = self.shutdown(PATIENCE);
        assert_eq!(
            (report.abandoned_handlers, report.abandoned_connections),
            (0, 0),
            "left behind; before the end: {stats:?}"
        );
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown(Duration::ZERO);
        }
    }
}

/// One of the HTTP fronts. Both must serve the same protocol.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front {
    /// What `everything --front` calls it.
    pub(crate) name: &'static str,
}

/// Runs the body once for each front that is compiled in.
#[cfg(any(feature = "http", feature = "tiny-http"))]
#[track_caller]
pub(crate) fn on_every_front(body: impl Fn(Front)) {
    let fronts = [
        #[cfg(feature = "http")]
        "guarded",
        #[cfg(feature = "tiny-http")]
        "tiny",
    ];
    for name in fronts {
        eprintln!("on the front {name}:"); // shown only when the test fails
        body(Front { name });
    }
}

#[cfg(any(feature = "http", feature = "tiny-http"))]
impl Front {
    /// Serves on a free port.
    pub(crate) fn serve<S: Fork + Send + Sync + 'static>(
        self,
        server: Server<S>,
    ) -> (Served, Http) {
        let address = "127.0.0.1:0";
        let running = match self.name {
            #[cfg(feature = "tiny-http")]
            "tiny" => server.serve_tiny_http(address),
            _ => server.serve_http(address),
        };
        let running = running.expect("the server can start");
        let http = Http::new(running.addr().expect("it serves HTTP"));
        (Served::new(running), http)
    }

    pub(crate) fn is_tiny(self) -> bool {
        self.name == "tiny"
    }
}

/// One lane's numbers.
#[track_caller]
pub(crate) fn lane(stats: &Stats, name: &str) -> LaneStats {
    match stats.lanes.iter().find(|lane| lane.name == name) {
        Some(lane) => lane.clone(),
        None => panic!("there is no lane `{name}` in {stats:?}"),
    }
}

/// Time for those to leave that are cancelled by a shutdown; nobody who leaves at all takes so long, and some tests have to wait for all of it.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// A server with the tools that most tests need: `echo`, `gate` (waits, deaf to cancellation), `wait` (waits or is cancelled), `panic`, and `look` on
/// the urgent lane. The tools that wait say who they are with their argument `who`.
pub(crate) fn probes(gate: &Gate) -> Server {
    let who = |args: &Value| args["who"].as_str().unwrap_or("somebody").to_owned();
    let (deaf, patient) = (gate.door(), gate.door());
    Server::new("it", "1.0.0")
        // On a slow machine any call may last a second; none shall become a stream for that alone.
        .limits(
            Limits::default()
                .stream_after(Duration::from_secs(3600))
                .cancel_grace(CANCEL_GRACE),
        )
        .tool("echo", "Says what it is told.", |args: Value| {
            args["text"].as_str().unwrap_or_default().to_owned()
        })
        .tool("gate", "Waits for the test.", move |args: Value| {
            deaf.pass(&who(&args));
            who(&args)
        })
        .tool(
            "wait",
            "Waits for the test, or is cancelled.",
            move |cx: &mut RequestContext, args: Value| {
                patient.pass_or_leave(cx, &who(&args)).map(|()| who(&args))
            },
        )
        .tool("panic", "Panics.", |_: Value| -> String {
            panic!("a SECRET text")
        })
        .register(
            Tool::new("look")
                .description("Answers from the urgent lane.")
                .lane("urgent")
                .handler(|_: Value| "looking"),
        )
}

/// Limits under which a server says nothing by itself, nor cuts a client that reads nothing, however long it takes.
pub(crate) fn patient() -> Limits {
    Limits::default()
        .stream_after(Duration::from_secs(3600))
        .heartbeat_interval(Duration::from_secs(3600))
        .write_timeout(Duration::from_secs(3600))
        .cancel_grace(CANCEL_GRACE)
}
