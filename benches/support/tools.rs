//! The server process: which front, how large, and the tools that measure.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process;
use std::sync::OnceLock;
use std::time::Duration;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{Cancelled, Execution, Limits, RequestContext, Server, Tool};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;

/// How many bytes this process has allocated and not freed, in a bench that counts them.
pub(crate) static ALLOCATED: OnceLock<fn() -> usize> = OnceLock::new();

/// What a server process is to be. Travels to it as its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// `stdio`, or the name of an HTTP front.
    pub(crate) front: String,
    /// `None` is the library's default.
    pub(crate) workers: Option<usize>,
    pub(crate) queue: Option<usize>,
}

impl Spec {
    pub(crate) fn new(front: &str) -> Self {
        Spec {
            front: front.into(),
            workers: None,
            queue: None,
        }
    }

    pub(crate) fn sized(front: &str, workers: usize, queue: usize) -> Self {
        Spec {
            workers: Some(workers),
            queue: Some(queue),
            ..Spec::new(front)
        }
    }

    pub(crate) fn to_arguments(&self) -> [String; 3] {
        let number =
            |number: Option<usize>| number.map_or_else(|| "-".into(), |number| number.to_string());
        [self.front.clone(), number(self.workers), number(self.queue)]
    }

    pub(crate) fn from_arguments(arguments: &[String]) -> Self {
        let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok());
        Spec {
            front: arguments.first().cloned().unwrap_or_default(),
            workers: number(1),
            queue: number(2),
        }
    }
}

/// Serves with the library until stdin ends. Does not return.
pub(crate) fn serve(spec: &Spec) -> ! {
    let server = server(spec);
    let running = match spec.front.as_str() {
        "stdio" => {
            let _report = server.serve_stdio().expect("stdio can be served").join();
            process::exit(0);
        }
        // Another front is one more line here and one more name in the list that a bench goes through.
        "guarded" | "inline" | "echo alone" => server.serve_http("127.0.0.1:0"),
        "tiny_http" => server.serve_tiny_http("127.0.0.1:0"),
        other => panic!("there is no front `{other}`"),
    };
    let running = running.expect("loopback can be listened on");
    ready(running.addr().expect("it serves HTTP"))
}

/// Tells the parent the address, and stays until the parent closes stdin or dies.
pub(crate) fn ready(address: SocketAddr) -> ! {
    let mut out = io::stdout();
    let told = writeln!(out, "{address}").and_then(|()| out.flush());
    if told.is_ok() {
        let _ended = io::stdin().read(&mut [0]);
    }
    process::exit(0)
}

fn server(spec: &Spec) -> Server {
    let mut server = Server::new("bench", "1.0.0").limits(
        Limits::default()
            // Two thousand idle connections are one of the questions.
            // Tables are to be in balance after a minute, not after half an hour.
            .session_idle_timeout(Duration::from_secs(60))
            .workspace_idle_timeout(Duration::from_secs(60))
            .job_ttl(Duration::from_secs(60))
            .connections_max(4096)
            .exchanges_max(4096),
    );
    if let Some(workers) = spec.workers {
        server = server.workers(workers);
    }
    if let Some(queue) = spec.queue {
        server = server.queue(queue);
    }
    let echo = Tool::new("echo").description("Says what it is told.");
    let echo = match spec.front.as_str() {
        "inline" => echo.inline(),
        _ => echo,
    };
    server = server.register(echo.handler(|args: Text| args.text));
    if spec.front == "echo alone" {
        return server;
    }
    server
        .tool("sleep", "Sleeps.", sleep)
        .tool("spin", "Burns CPU time of its thread.", spin)
        .tool("progress", "Reports progress, then answers.", progress)
        .tool(
            "ask",
            "Asks for folders.",
            |cx: &mut RequestContext, _: Nothing| cx.roots().map(|roots| roots.len()),
        )
        .job_tools()
        .workspaces(|_name, _owner| Ok::<u64, Cancelled>(0))
        .register(
            Tool::new("job")
                .description("Says what it is told, when it is asked for it.")
                .execution(Execution::Background)
                .handler(|args: Text| args.text),
        )
        .register(
            Tool::new("count")
                .description("Counts its calls in a workspace.")
                .in_workspace()
                .handler(|_: &mut RequestContext, calls: &mut u64, _: Nothing| {
                    *calls += 1;
                    *calls
                }),
        )
        .register(
            Tool::new("busy")
                .description("How many workers of the main lane are busy; on the urgent lane.")
                .lane("urgent")
                .handler(|cx: &mut RequestContext, _: Nothing| {
                    format!("busy={}", cx.stats().lanes[0].busy)
                }),
        )
        .register(
            Tool::new("allocated")
                .description("How many bytes are allocated, where they are counted.")
                .lane("urgent")
                .handler(|| ALLOCATED.get().map_or(0, |count| count()).to_string()),
        )
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Text {
    text: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Milliseconds {
    ms: u64,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Steps {
    n: u32,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Nothing {}

fn sleep(cx: &mut RequestContext, args: Milliseconds) -> Result<&'static str, Cancelled> {
    cx.sleep(Duration::from_millis(args.ms))?;
    Ok("slept")
}

fn spin(_: &mut RequestContext, args: Milliseconds) -> &'static str {
    burn(Duration::from_millis(args.ms));
    "spun"
}

/// Takes so much CPU time.
pub(crate) fn burn(time: Duration) {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    };
    let end = now() + time;
    while now() < end {}
}

fn progress(cx: &mut RequestContext, args: Steps) -> &'static str {
    for step in 1..=args.n {
        cx.progress((f64::from(step), f64::from(args.n), "working"));
    }
    "done"
}
