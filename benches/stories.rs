//! Question: are the first two stories of the design impossible here?
//!
//! 1. *The single loop*: does anything cheap or fast wait while slow calls run? Latency of `ping`, `server/discover`, `echo` and a tool on the
//!    `urgent` lane, idle against with the workers asleep, over stdio and over HTTP, all on one core; three parallel
//!    sleeps against one.
//! 2. *The global mutex*: do CPU-bound calls use every core, and what does overload do? Efficiency and p99 at 1, 2, 16 and 100 connections, and an
//!    open loop at four times the capacity: how many are answered, refused, lost, on connections that are there, on new ones, and beside the bare loop.
//!
//! `cargo bench --bench stories` takes four to five minutes, with `-- --quick` one and a half; `-- --overload` measures nothing but that. Every figure is a ratio within one run, so the machine's
//! speed does not matter, but other work on it does: the share of the CPU that others took stands beside the figures it spoils.

#![allow(clippy::print_stdout, reason = "the table is the point")]

#[path = "support/bare.rs"]
mod bare;
#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;

use support::Role;
use support::child::{ServerProcess, Shares, Spent};
use support::client::{Ask, Client, Connection, PipeClient, Reply};
use support::load::{self, Connections, Outcome, Prober, Until};
use support::measure::{Target, Times, cores, median, micros, millis, print_targets};
use support::tools::{self, Spec};

/// The HTTP fronts to go through.
const FRONTS: &[&str] = &["guarded", "tiny_http"];

/// Workers of the main lane in the first story: all of them, or all but one, are put to sleep.
const SLEEPERS: usize = 8;

/// CPU time of one CPU-bound call.
const SPIN: Duration = Duration::from_millis(20);

/// The size of the server under overload: its longest wait is (workers + queue) x 20 ms / cores.
const OVERLOADED: (usize, usize) = (4, 64);

/// How requests arrive under overload: on connections that are there, each on a new one, and a crowd of new ones at once.
const ARRIVALS: &[Connections] = &[
    Connections::Kept,
    Connections::Fresh,
    Connections::Bursts(100),
];

fn main() {
    let quick = match support::role() {
        Role::Serve(spec) if spec.front.starts_with("bare") => bare::serve(&spec),
        Role::Serve(spec) => tools::serve(&spec),
        Role::Nothing => return println!("to measure: cargo bench --bench stories [-- --quick]"),
        Role::Measure { quick } => quick,
    };
    let mut targets = Vec::new();
    let began = Instant::now();
    if !support::has("--overload") {
        on_one_core(|| first_story(quick, &mut targets));
    }
    second_story(quick, &mut targets);
    print_targets(&targets);
    println!("\n{:.0} s in all", began.elapsed().as_secs_f64());
}

// ---- The single loop ----

/// Keeps this thread and all that it starts on one core. A client and its server that wake each other in turn take 20 us on one core and four times as much on two, and
/// the kernel moves them when other threads come and go: what would be measured is where they are, not whether one waits for another.
fn on_one_core(run: impl FnOnce()) {
    let all = sched_getaffinity(None).expect("Linux tells");
    let first = (0..CpuSet::MAX_CPU).find(|core| all.is_set(*core));
    let mut one = CpuSet::new();
    one.set(first.expect("it runs on one"));
    sched_setaffinity(None, &one).expect("a part of what it has");
    run();
    sched_setaffinity(None, &all).expect("what it had");
}

fn first_story(quick: bool, targets: &mut Vec<Target>) {
    println!(
        "Story 1, the single loop: p50 in us, the middle of the rounds; {SLEEPERS} workers on the main lane"
    );
    println!(
        "  {:10} {:40} {:>8} {:>8} {:>8} {:>6}",
        "transport", "asked", "asleep", "idle", "asleep", "ratio"
    );
    let spec = |front: &str| Spec::sized(front, SLEEPERS, 256);
    let sizes = if quick {
        Sizes {
            rounds: 3,
            sample: Duration::from_millis(60),
        }
    } else {
        Sizes {
            rounds: 5,
            sample: Duration::from_millis(150),
        }
    };
    {
        let (_server, stdin, stdout) = ServerProcess::stdio(&spec("stdio"));
        let mut pipe = PipeClient::new(stdin, stdout);
        latency_rows(
            "stdio",
            &mut pipe,
            Ask::ping(None),
            &mut Pipe,
            &sizes,
            targets,
        );
        let one = pipe_sleeps(&mut pipe, 1);
        let three = pipe_sleeps(&mut pipe, 3);
        sleeps_row("stdio", one, three, targets);
    }
    for front in FRONTS {
        let (_server, address) = ServerProcess::http(&spec(front));
        let mut connection = Connection::open(address).expect("the server accepts");
        let ping = http_ping(&mut connection).expect("the server opens a session");
        let mut sleepers = Sockets {
            address,
            open: Vec::new(),
        };
        latency_rows(front, &mut connection, ping, &mut sleepers, &sizes, targets);
        let sleep = |count| {
            let request = sleep_call(Duration::from_millis(300)).http();
            load::closed(address, count, &request, Until::Sent(count)).wall
        };
        sleeps_row(front, sleep(1), sleep(3), targets);
    }
}

struct Sizes {
    rounds: usize,
    sample: Duration,
}

/// Puts workers to sleep and waits until they wake, beside the client that measures or on its own pipe.
trait Sleepers<C> {
    fn send(&mut self, client: &mut C, count: usize, duration: Duration) -> io::Result<()>;
    fn wait(&mut self, client: &mut C, count: usize) -> io::Result<()>;
}

/// Sleeps on the same pipe.
struct Pipe;

impl Sleepers<PipeClient> for Pipe {
    fn send(&mut self, pipe: &mut PipeClient, count: usize, duration: Duration) -> io::Result<()> {
        pipe.others = 0;
        for number in 0..count {
            pipe.send(&sleep_call(duration).line(&format!("sleep-{number}")))?;
        }
        Ok(())
    }

    fn wait(&mut self, pipe: &mut PipeClient, count: usize) -> io::Result<()> {
        pipe.wait_for_others(count)
    }
}

/// Sleeps on connections of their own.
struct Sockets {
    address: SocketAddr,
    open: Vec<Connection>,
}

impl Sleepers<Connection> for Sockets {
    fn send(&mut self, _: &mut Connection, count: usize, duration: Duration) -> io::Result<()> {
        let request = sleep_call(duration).http();
        while self.open.len() < count {
            // One after the other, each used once: tiny_http can leave a connection of a burst without a thread.
            let mut connection = Connection::open(self.address)?;
            connection.exchange(&Ask::modern("server/discover").http())?;
            self.open.push(connection);
        }
        for connection in &mut self.open[..count] {
            connection.send(&request)?;
        }
        Ok(())
    }

    fn wait(&mut self, _: &mut Connection, count: usize) -> io::Result<()> {
        for connection in &mut self.open[..count] {
            connection.receive()?;
        }
        Ok(())
    }
}

fn sleep_call(duration: Duration) -> Ask {
    Ask::call(
        "sleep",
        json!({ "ms": u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) }),
    )
}

/// A `ping` of the session that this opens.
fn http_ping(connection: &mut Connection) -> io::Result<Ask> {
    connection.exchange(&Ask::initialize(&json!({})).http())?;
    Ok(Ask::ping(connection.field("Mcp-Session-Id")))
}

/// What is asked, and how many of the workers are asleep meanwhile.
///
/// A fixed pool with every worker asleep cannot run another call on the same lane, and is not meant to: with all asleep the fast tool is
/// one on the `urgent` lane, and `echo` on `main` has one worker left.
fn questions(ping: Ask) -> [(&'static str, Ask, usize); 4] {
    [
        ("ping", ping, SLEEPERS),
        ("server/discover", Ask::modern("server/discover"), SLEEPERS),
        (
            "a tool on the `urgent` lane",
            Ask::call("busy", json!({})),
            SLEEPERS,
        ),
        (
            "echo on `main`, one worker left awake",
            Ask::echo(300),
            SLEEPERS - 1,
        ),
    ]
}

fn latency_rows<C: Client>(
    transport: &str,
    client: &mut C,
    ping: Ask,
    sleepers: &mut impl Sleepers<C>,
    sizes: &Sizes,
    targets: &mut Vec<Target>,
) {
    for (name, ask, asleep) in questions(ping) {
        let mut idle = Vec::new();
        let mut loaded = Vec::new();
        let mut all_slept = true;
        for _ in 0..sizes.rounds {
            let measured = one_round(client, &ask, sleepers, asleep, sizes.sample);
            let (mut before, mut during, slept) = match measured {
                Ok(measured) => measured,
                Err(error) => {
                    println!("  {transport:10} {name:40} no answer: {error}");
                    targets.push(Target::at_most(
                        format!("{transport}, {name}, answered"),
                        2.0,
                        f64::INFINITY,
                    ));
                    return;
                }
            };
            idle.push(micros(before.p50()));
            loaded.push(micros(during.p50()));
            all_slept &= slept;
        }
        let (idle, loaded) = (median(idle), median(loaded));
        let ratio = loaded / idle;
        let doubt = if all_slept {
            ""
        } else {
            "  (some sleeps ended too early)"
        };
        println!(
            "  {transport:10} {name:40} {asleep:8} {idle:8.1} {loaded:8.1} {ratio:6.2}{doubt}"
        );
        targets.push(Target::at_most(
            format!("{transport}, {name}, during slow calls against idle"),
            1.3,
            if all_slept { ratio } else { f64::NAN },
        ));
    }
}

/// The times idle, the times with workers asleep, and whether they slept all through it.
fn one_round<C: Client>(
    client: &mut C,
    ask: &Ask,
    sleepers: &mut impl Sleepers<C>,
    asleep: usize,
    sample: Duration,
) -> io::Result<(Times, Times, bool)> {
    let idle = client.sample(ask, sample)?;
    sleepers.send(client, asleep, sample + Duration::from_millis(60))?;
    let patience = Instant::now() + Duration::from_millis(40);
    while client.busy()? < asleep && Instant::now() < patience {}
    let loaded = client.sample(ask, sample)?;
    let slept = client.busy()? >= asleep;
    sleepers.wait(client, asleep)?;
    Ok((idle, loaded, slept))
}

fn pipe_sleeps(pipe: &mut PipeClient, count: usize) -> Duration {
    let began = Instant::now();
    Pipe.send(pipe, count, Duration::from_millis(300))
        .and_then(|()| Pipe.wait(pipe, count))
        .expect("the server answers");
    began.elapsed()
}

fn sleeps_row(transport: &str, one: Duration, three: Duration, targets: &mut Vec<Target>) {
    let ratio = three.as_secs_f64() / one.as_secs_f64();
    println!(
        "  {transport:10} three `sleep 300` at once against one: {:.0} ms against {:.0} ms, ratio {ratio:.2}",
        millis(three),
        millis(one)
    );
    targets.push(Target::at_most(
        format!("{transport}, three sleeps at once against one"),
        1.2,
        ratio,
    ));
}

// ---- The global mutex ----

fn second_story(quick: bool, targets: &mut Vec<Target>) {
    let levels: &[(usize, usize)] = if quick {
        &[(1, 15), (2, 30), (16, 100), (100, 200)]
    } else {
        &[(1, 75), (2, 150), (16, 300), (100, 800)]
    };
    println!(
        "\nStory 2, the global mutex: calls that burn {} ms of CPU, {} cores; efficiency = answered x {} ms / (wall x cores)",
        SPIN.as_millis(),
        cores(),
        SPIN.as_millis()
    );
    println!(
        "  {:10} {:>8} {:>12} {:>10} {:>9} {:>9} {:>12} {:>8} {:>8}",
        "front",
        "workers",
        "connections",
        "efficiency",
        "p99 ms",
        "limit ms",
        "discover p50",
        "others",
        "client"
    );
    for front in FRONTS {
        // The size users get, and the size that suits calls which only compute.
        let sizes: &[Option<usize>] = match support::has("--overload") {
            true => &[],
            false => &[None, Some(OVERLOADED.0)],
        };
        for workers in sizes {
            let spec = Spec {
                workers: *workers,
                ..Spec::new(front)
            };
            let (server, address) = ServerProcess::http(&spec);
            for &(connections, calls) in levels {
                // The small levels cannot tell the two sizes apart.
                if workers.is_none() || connections > OVERLOADED.0 {
                    cpu_row(&spec, &server, address, connections, calls, targets);
                }
            }
        }
    }
    for on in ARRIVALS {
        for front in FRONTS {
            overload(front, *on, quick, targets);
        }
        // What the machine takes for it. Nothing is urgent to it, so what else it is asked waits too.
        overload("bare poll", *on, quick, &mut Vec::new());
    }
}

fn spin_request() -> Vec<u8> {
    let ms = u64::try_from(SPIN.as_millis()).unwrap_or(u64::MAX);
    Ask::call("spin", json!({ "ms": ms })).http()
}

/// The share of all cores' time that went into answered calls.
fn efficiency(outcome: &Outcome) -> f64 {
    outcome.answered.len() as f64 * SPIN.as_secs_f64() / (outcome.wall.as_secs_f64() * cores())
}

fn cpu_row(
    spec: &Spec,
    server: &ServerProcess,
    address: SocketAddr,
    connections: usize,
    calls: usize,
    targets: &mut Vec<Target>,
) {
    let shares = Shares::start(server);
    let prober = Prober::start(address, Ask::modern("server/discover").http());
    let mut outcome = load::closed(address, connections, &spin_request(), Until::Sent(calls));
    let discover = prober.stop().p50();
    let Spent { others, client, .. } = shares.end(server);
    let efficiency = efficiency(&outcome);
    let limit = SPIN * u32::try_from(connections).unwrap_or(u32::MAX);
    let limit = (millis(limit) / cores()).max(millis(SPIN));
    let workers = spec
        .workers
        .map_or_else(|| "default".into(), |workers| workers.to_string());
    let front = &spec.front;
    println!(
        "  {front:10} {workers:>8} {connections:12} {efficiency:10.3} {:9.0} {limit:9.0} {:9.2} ms {:7.1}% {:7.1}%",
        millis(outcome.answered.p99()),
        millis(discover),
        others * 100.0,
        client * 100.0
    );
    if outcome.answered.len() < calls {
        println!(
            "    only {} of {calls} were answered",
            outcome.answered.len()
        );
    }
    if f64::from(u32::try_from(connections).unwrap_or(u32::MAX)) > cores() {
        targets.push(
            Target::at_least(
                format!("{front}, workers {workers}: efficiency at {connections} connections"),
                0.95,
                efficiency,
            )
            .beside(others),
        );
    }
}

fn overload(front: &str, on: Connections, quick: bool, targets: &mut Vec<Target>) {
    let (workers, queue) = OVERLOADED;
    let (server, address) = ServerProcess::http(&Spec::sized(front, workers, queue));
    let capacity = cores() / SPIN.as_secs_f64();
    let rate = 4.0 * capacity;
    let duration = Duration::from_secs(if quick { 2 } else { 8 });
    // What can be in flight, and as many again to be refused meanwhile, or two crowds.
    let refused = match on {
        Connections::Bursts(burst) => 2 * burst,
        Connections::Kept | Connections::Fresh => workers + queue,
    };
    let connections = workers + queue + refused;
    println!(
        "  {front}, {on:?}: overload, {rate:.0}/s offered to a capacity of {capacity:.0}/s for {} s, {workers} workers, queue {queue}",
        duration.as_secs()
    );
    let shares = Shares::start(&server);
    let prober = Prober::start(address, Ask::modern("server/discover").http());
    let mut outcome = load::open(address, on, connections, &spin_request(), rate, duration);
    let mut discover = prober.stop();
    let Spent { others, client, .. } = shares.end(&server);
    let sent = outcome.sent();
    let share = |count: usize| count as f64 / sent as f64;
    let useful = efficiency(&outcome);
    println!(
        "    sent {sent}: answered {:.3}, refused {:.3}, lost {}; useful answers / capacity {useful:.3}",
        share(outcome.answered.len()),
        share(outcome.refused.len()),
        outcome.lost
    );
    println!(
        "    answered p50 {:.0} ms, p99 {:.0} ms (the queue's limit {:.0} ms); refused p50 {:.2} ms, p99 {:.2} ms; discover {}",
        millis(outcome.answered.p50()),
        millis(outcome.answered.p99()),
        millis(SPIN) * (workers + queue) as f64 / cores(),
        millis(outcome.refused.p50()),
        millis(outcome.refused.p99()),
        match front.starts_with("bare") {
            // It has no such method, and refuses what it has no place for.
            true => "-".to_owned(),
            false => format!(
                "p50 {:.2} ms, p99 {:.2} ms",
                millis(discover.p50()),
                millis(discover.p99())
            ),
        }
    );
    println!(
        "    others took {:.1} % of the CPU, the client {:.1} %; a request left at most {:.1} ms late",
        others * 100.0,
        client * 100.0,
        millis(outcome.late)
    );
    targets.push(Target::at_most(
        format!("{front}, {on:?}, overload: requests neither answered nor refused"),
        0.0,
        outcome.lost as f64,
    ));
    targets.push(
        Target::at_least(
            format!("{front}, {on:?}, overload: useful answers / capacity"),
            0.95,
            useful,
        )
        .beside(others),
    );
    if let Connections::Kept | Connections::Fresh = on {
        targets.push(Target::at_most(
            format!("{front}, {on:?}, overload: p99 of a refusal, ms"),
            5.0,
            millis(outcome.refused.p99()),
        ));
    }
    let back = recovery(address);
    println!(
        "    after it, one call is answered in {:.0} ms",
        millis(back)
    );
    targets.push(Target::at_most(
        format!("{front}, {on:?}, overload: seconds until a call is answered again"),
        1.0,
        back.as_secs_f64(),
    ));
}

/// How long one call takes once the overload has ended.
fn recovery(address: SocketAddr) -> Duration {
    let began = Instant::now();
    let mut connection = Connection::open(address).expect("the server accepts");
    while !matches!(connection.exchange(&spin_request()), Ok(Reply::Answered)) {
        if began.elapsed() > Duration::from_secs(10) {
            break;
        }
    }
    began.elapsed()
}
