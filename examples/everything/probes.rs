//! Tools that measure the server: they wait, burn, panic, print, count and look.

use std::time::{Duration, Instant};

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{Cancelled, Json, RequestContext, Server, Stats, Tool};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The state: every call has its own, so it never gets beyond one.
#[derive(Clone, Default)]
pub(crate) struct Counter(u64);

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Text {
    /// What to say.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Milliseconds {
    /// How long, in milliseconds.
    ms: u64,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Beats {
    /// How long, in milliseconds.
    ms: u64,
    /// How long from one sign of life to the next, in milliseconds.
    beat_ms: u64,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Steps {
    /// How many progress events to send.
    n: u32,
    /// How long to wait before each, in milliseconds.
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Nothing {}

/// What `status` shows: the main lane at the top, everything below.
#[derive(Serialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Status {
    /// Worker threads of the main lane.
    workers: usize,
    /// Workers of the main lane that run a call now.
    active: usize,
    /// Calls that wait for a worker of the main lane.
    queued: usize,
    stats: Stats,
}

type Context = RequestContext<Counter>;

/// Adds the probes.
pub(crate) fn register(server: Server<Counter>) -> Server<Counter> {
    server
        .register(
            Tool::new("echo")
                .description("Says what it is told.")
                .read_only(true)
                .handler(|args: Text| args.text),
        )
        .register(
            Tool::new("sleep")
                .description("Sleeps, and wakes when cancelled.")
                .read_only(true)
                .handler(sleep),
        )
        .register(
            Tool::new("spin")
                .description("Burns CPU time of its thread.")
                .read_only(true)
                .handler(spin),
        )
        .register(
            Tool::new("panic")
                .description("Panics.")
                .handler(|_: Nothing| -> () { panic!("PANIC-SECRET") }),
        )
        .register(
            Tool::new("wedge")
                .description("Sleeps, deaf to cancellation.")
                .handler(|args: Milliseconds| {
                    std::thread::sleep(Duration::from_millis(args.ms));
                    "awake again"
                }),
        )
        .register(
            Tool::new("toil")
                .description("Works, deaf to cancellation, with a sign of life from time to time.")
                .handler(toil),
        )
        .register(
            Tool::new("print")
                .description("Prints a line to stdout.")
                .handler(print),
        )
        .register(
            Tool::new("status")
                .description("Shows what the server is doing.")
                .lane("urgent")
                .read_only(true)
                .handler(status),
        )
        .register(
            Tool::new("progress")
                .description("Reports progress, then answers.")
                .read_only(true)
                .handler(progress),
        )
        .register(
            Tool::new("state")
                .description("Counts in its own state.")
                .handler(|cx: &mut Context, _: Nothing| {
                    cx.state_mut().0 += 1;
                    cx.state().0
                }),
        )
}

fn sleep(cx: &mut Context, args: Milliseconds) -> Result<String, Cancelled> {
    cx.sleep(Duration::from_millis(args.ms))?;
    Ok(format!("slept {} ms", args.ms))
}

fn toil(cx: &mut Context, args: Beats) -> String {
    let beat = Duration::from_millis(args.beat_ms.max(1));
    let end = Instant::now() + Duration::from_millis(args.ms);
    while let Some(rest) = end.checked_duration_since(Instant::now()) {
        std::thread::sleep(rest.min(beat));
        cx.alive();
    }
    format!("toiled {} ms", args.ms)
}

fn spin(cx: &mut Context, args: Milliseconds) -> Result<String, Cancelled> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    };
    let end = now() + Duration::from_millis(args.ms);
    while now() < end {
        cx.check()?;
    }
    Ok(format!("spun {} ms", args.ms))
}

#[expect(
    clippy::print_stdout,
    reason = "the point of the probe is that this does no harm"
)]
fn print(_: Nothing) -> &'static str {
    println!("a stray line on stdout");
    "printed"
}

fn status(cx: &mut Context, _: Nothing) -> Json<Status> {
    let stats = cx.stats();
    let main = &stats.lanes[0];
    Json(Status {
        workers: main.workers,
        active: main.busy,
        queued: main.queued,
        stats,
    })
}

fn progress(cx: &mut Context, args: Steps) -> Result<String, Cancelled> {
    for step in 1..=args.n {
        if args.delay_ms > 0 {
            cx.sleep(Duration::from_millis(args.delay_ms))?;
        }
        cx.check()?;
        cx.progress((f64::from(step), f64::from(args.n), "working"));
    }
    Ok(format!("{} steps", args.n))
}
