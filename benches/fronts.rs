//! Question: what does the library cost on the wire, compared with another front and with a hand-written loop that does nothing of MCP?
//!
//! `echo` over keep-alive HTTP (requests a second, CPU of the server for each, p50, p99), over stdio with 64 outstanding and one at a time, a stream of 1,000 progress
//! events, the time from a server's start to its first answer, and the memory of an idle connection. Each server is a process of its own; rounds are interleaved (A B A B), so that a
//! disturbance of the machine hits all alike; what is printed is the median of the rounds and its ratio to the bare loop of the same run.
//!
//! `cargo bench --bench fronts` takes four to five minutes, with `-- --quick` one; `-- --peers` adds the peers that are built (see `benches/peers`). With
//! `-- --connections N` it measures the rows of `echo` at so many connections, and nothing else; with `-- --outstanding N` those over stdio with so many under way.

#![allow(clippy::print_stdout, reason = "the table is the point")]

#[path = "support/bare.rs"]
mod bare;
#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use support::Role;
use support::child::{ServerProcess, Shares};
use support::client::{Ask, Connection, Reply};
use support::load::{self, Until};
use support::measure::{Target, median, micros, millis, print_targets};
use support::tools::{self, Spec};

/// What is compared; `inline` is the guarded front with an `echo` that runs inline; the last two are the limit, of which the better is taken in each row. A new front is one more name here and one more line in `support/tools.rs`.
const HTTP: &[&str] = &["guarded", "inline", "tiny_http", "bare poll", "bare"];
const STDIO: &[&str] = &["stdio", "bare stdio"];

/// Other libraries, each a package of its own below `benches/peers`, measured with `--peers`: as documented, and as an expert would tune it.
const HTTP_PEERS: &[&str] = &["rmcp", "rmcp tuned"];
const STDIO_PEERS: &[&str] = &["rmcp stdio", "rmcp tuned stdio"];

/// All of them have the same pool.
const WORKERS: usize = 4;
const QUEUE: usize = 256;

/// Connections, and bytes of the text that is echoed.
const LEVELS: &[(usize, usize)] = &[(1, 300), (16, 300), (64, 300), (16, 64 * 1024)];

const IDLE_CONNECTIONS: usize = 2000;
const OUTSTANDING: usize = 64;
const EVENTS: usize = 1000;

fn main() {
    let quick = match support::role() {
        Role::Serve(spec) if spec.front.starts_with("bare") => bare::serve(&spec),
        Role::Serve(spec) => tools::serve(&spec),
        Role::Nothing => return println!("to measure: cargo bench --bench fronts [-- --quick]"),
        Role::Measure { quick } => quick,
    };
    let (rounds, duration) = if quick {
        (3, Duration::from_millis(500))
    } else {
        (7, Duration::from_millis(1500))
    };
    let (http_peers, stdio_peers) = match support::has("--peers") {
        true => (HTTP_PEERS, STDIO_PEERS),
        false => (&[][..], &[][..]),
    };
    let began = Instant::now();
    let mut targets = Vec::new();
    if let Some(outstanding) = support::number("--outstanding") {
        return pipes(outstanding, rounds, duration, stdio_peers);
    }
    let only = support::number("--connections");
    Http::start(http_peers).echo(rounds, duration, only, &mut targets);
    if only.is_some() {
        return print_targets(&targets);
    }
    Http::start(&[]).streams(if quick { 20 } else { 100 });
    for outstanding in [OUTSTANDING, 1] {
        pipes(outstanding, rounds, duration, stdio_peers);
    }
    first_answers(http_peers, if quick { 5 } else { 20 }, &mut targets);
    idle_memory(http_peers, &mut targets);
    print_targets(&targets);
    println!("\n{:.0} s in all", began.elapsed().as_secs_f64());
}

fn spec(front: &str) -> Spec {
    Spec::sized(front, WORKERS, QUEUE)
}

/// The figures of one server at one level, one number for each round.
#[derive(Default)]
struct Figures {
    rate: Vec<f64>,
    server_us: Vec<f64>,
    client_us: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    others: Vec<f64>,
}

/// Their medians.
struct Middle {
    rate: f64,
    server_us: f64,
    client_us: f64,
    p50_us: f64,
    p99_us: f64,
    /// The share of the CPU that neither client nor server took.
    others: f64,
}

impl Figures {
    fn middle(self) -> Middle {
        Middle {
            rate: median(self.rate),
            server_us: median(self.server_us),
            client_us: median(self.client_us),
            p50_us: median(self.p50_us),
            p99_us: median(self.p99_us),
            others: median(self.others),
        }
    }
}

/// One server process for each front, alive through all rounds.
struct Http(Vec<(&'static str, ServerProcess, SocketAddr)>);

impl Http {
    fn start(peers: &[&'static str]) -> Self {
        let start = |front: &&'static str| {
            let (server, address) = ServerProcess::http(&spec(front));
            (*front, server, address)
        };
        Http(peers.iter().chain(HTTP).map(start).collect())
    }

    fn echo(
        &mut self,
        rounds: usize,
        duration: Duration,
        only: Option<usize>,
        targets: &mut Vec<Target>,
    ) {
        println!(
            "echo over HTTP, {WORKERS} workers, medians of {rounds} rounds of {:.1} s; ratios to the better bare loop",
            duration.as_secs_f64()
        );
        println!(
            "  {:>6} {:>6}  {:10} {:>9} {:>6} {:>10} {:>6} {:>10} {:>8} {:>8} {:>7}",
            "conns",
            "bytes",
            "front",
            "req/s",
            "ratio",
            "server us",
            "ratio",
            "client us",
            "p50 us",
            "p99 us",
            "others"
        );
        for &(connections, bytes) in LEVELS {
            if only.is_some_and(|only| only != connections) {
                continue;
            }
            let request = Ask::echo(bytes).http();
            let mut figures: Vec<Figures> = self.0.iter().map(|_| Figures::default()).collect();
            for _ in 0..rounds {
                for ((name, server, address), figures) in self.0.iter().zip(&mut figures) {
                    round(
                        name,
                        server,
                        *address,
                        connections,
                        &request,
                        duration,
                        figures,
                    );
                }
            }
            let middles: Vec<Middle> = figures.into_iter().map(Figures::middle).collect();
            self.print_level(connections, bytes, &middles, targets);
        }
    }

    fn print_level(
        &self,
        connections: usize,
        bytes: usize,
        middles: &[Middle],
        targets: &mut Vec<Target>,
    ) {
        let [fronts @ .., polling, handing] = middles else {
            return;
        };
        let bare = match polling.rate > handing.rate {
            true => polling,
            false => handing,
        };
        for (middle, (name, ..)) in middles.iter().zip(&self.0) {
            println!(
                "  {connections:6} {bytes:6}  {name:10} {:9.0} {:6.2} {:10.1} {:6.2} {:10.1} {:8.0} {:8.0} {:6.1}%",
                middle.rate,
                middle.rate / bare.rate,
                middle.server_us,
                middle.server_us / bare.server_us,
                middle.client_us,
                middle.p50_us,
                middle.p99_us,
                middle.others
            );
        }
        let level = format!("echo of {bytes} B at {connections} connections");
        let tiny = self.0.iter().position(|(name, ..)| *name == "tiny_http");
        for (middle, (name, ..)) in fronts.iter().zip(&self.0) {
            // tiny_http is the baseline that others are held against, and what runs inline is for its author to choose.
            if ["tiny_http", "inline"].contains(name) || HTTP_PEERS.contains(name) {
                continue;
            }
            targets.push(Target::at_least(
                format!("{name}, {level}: req/s against the bare loop"),
                0.95,
                middle.rate / bare.rate,
            ));
            targets.push(Target::at_most(
                format!("{name}, {level}: server CPU against the bare loop"),
                1.25,
                middle.server_us / bare.server_us,
            ));
            let Some(tiny) = tiny.map(|at| &middles[at]).filter(|_| connections > 1) else {
                continue;
            };
            targets.push(Target::at_least(
                format!("{name}, {level}: req/s against tiny_http"),
                if bytes > 1024 { 3.0 } else { 1.6 },
                middle.rate / tiny.rate,
            ));
            targets.push(Target::at_most(
                format!("{name}, {level}: server CPU against tiny_http"),
                0.65,
                middle.server_us / tiny.server_us,
            ));
        }
    }

    fn streams(&mut self, times: usize) {
        println!("\n{EVENTS} progress events on one stream, median of {times} streams");
        let request = Ask::call("progress", json!({ "n": EVENTS }))
            .with_progress()
            .http();
        let mut rates: Vec<Vec<f64>> = self.0.iter().map(|_| Vec::new()).collect();
        let mut fewest = vec![usize::MAX; self.0.len()];
        let mut connections: Vec<Connection> = Vec::new();
        for (_, _, address) in &self.0 {
            connections.push(Connection::open(*address).expect("the server accepts"));
        }
        for _ in 0..times {
            for (at, connection) in connections.iter_mut().enumerate() {
                let start = Instant::now();
                if let Ok(Reply::Answered) = connection.exchange(&request) {
                    let took = start.elapsed();
                    let lines = connection.body().split(|byte| *byte == b'\n');
                    let events = lines.filter(|line| line.starts_with(b"data: ")).count() - 1;
                    fewest[at] = fewest[at].min(events);
                    rates[at].push(events as f64 / took.as_secs_f64());
                }
            }
        }
        let rates: Vec<f64> = rates.into_iter().map(median).collect();
        let bare = rates.iter().rev().take(2).copied().fold(f64::NAN, f64::max);
        for ((rate, fewest), (name, ..)) in rates.iter().zip(fewest).zip(&self.0) {
            println!(
                "  {name:10} {rate:9.0} events/s, ratio {:.2} (at least {fewest} of {EVENTS} arrived)",
                rate / bare
            );
        }
    }
}

fn round(
    name: &str,
    server: &ServerProcess,
    address: SocketAddr,
    connections: usize,
    request: &[u8],
    duration: Duration,
    figures: &mut Figures,
) {
    let shares = Shares::start(server);
    let mut outcome = load::closed(address, connections, request, Until::Elapsed(duration));
    let spent = shares.end(server);
    let answered = outcome.answered.len();
    if answered < outcome.sent() {
        println!(
            "    {name}: {} of {} were not answered",
            outcome.sent() - answered,
            outcome.sent()
        );
    }
    let each = |time: Duration| micros(time) / answered as f64;
    figures
        .rate
        .push(answered as f64 / outcome.wall.as_secs_f64());
    figures.server_us.push(each(spent.server));
    figures.client_us.push(each(spent.own));
    figures.p50_us.push(micros(outcome.answered.p50()));
    figures.p99_us.push(micros(outcome.answered.p99()));
    figures.others.push(spent.others * 100.0);
}

// ---- stdio ----

struct PipeServer {
    process: ServerProcess,
    stdin: ChildStdin,
    stdout: ChildStdout,
    sent: u64,
}

fn pipes(outstanding: usize, rounds: usize, duration: Duration, peers: &[&'static str]) {
    println!("\necho of 300 B over stdio, {outstanding} outstanding, medians of {rounds} rounds");
    let start = |front: &&str| {
        let (process, stdin, stdout) = ServerProcess::stdio(&spec(front));
        PipeServer {
            process,
            stdin,
            stdout,
            sent: 0,
        }
    };
    let names: Vec<&str> = peers.iter().chain(STDIO).copied().collect();
    let mut servers: Vec<PipeServer> = names.iter().map(start).collect();
    let mut figures: Vec<(Vec<f64>, Vec<f64>)> = vec![(Vec::new(), Vec::new()); servers.len()];
    for _ in 0..rounds {
        for (server, (rates, costs)) in servers.iter_mut().zip(&mut figures) {
            let before = server.process.cpu();
            let began = Instant::now();
            match pipe_round(server, outstanding, duration) {
                Ok(answered) => {
                    rates.push(answered as f64 / began.elapsed().as_secs_f64());
                    costs.push(
                        micros(server.process.cpu().saturating_sub(before)) / answered as f64,
                    );
                }
                Err(error) => println!("    no answer: {error}"),
            }
        }
    }
    let middles: Vec<(f64, f64)> = figures
        .into_iter()
        .map(|(rates, costs)| (median(rates), median(costs)))
        .collect();
    let bare = middles.last().copied().unwrap_or((f64::NAN, f64::NAN));
    for ((rate, cost), name) in middles.iter().zip(&names) {
        println!(
            "  {name:16} {rate:9.0} messages/s, ratio {:.2}; server CPU {cost:.1} us each, ratio {:.2}",
            rate / bare.0,
            cost / bare.1
        );
    }
}

/// Keeps this many requests under way: as many new ones as answers have come, in one write.
fn pipe_round(server: &mut PipeServer, most: usize, duration: Duration) -> io::Result<u64> {
    let message = Ask::echo(300).message(&json!("ID"));
    let (before, after) = message.split_once("\"ID\"").expect("the id stands in it");
    let mut read = vec![0; 256 * 1024];
    let mut lines = Vec::new();
    let (mut outstanding, mut answered) = (0, 0);
    let end = Instant::now() + duration;
    loop {
        let more = if Instant::now() < end {
            most - outstanding
        } else {
            0
        };
        if outstanding + more == 0 {
            return Ok(answered);
        }
        lines.clear();
        for _ in 0..more {
            server.sent += 1;
            writeln!(lines, "{before}{}{after}", server.sent)?;
        }
        server.stdin.write_all(&lines)?;
        outstanding += more;
        let filled = server.stdout.read(&mut read)?;
        if filled == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let ended = read[..filled].iter().filter(|byte| **byte == b'\n').count();
        outstanding -= ended;
        answered += ended as u64;
    }
}

// ---- start ----

fn first_answers(peers: &[&'static str], rounds: usize, targets: &mut Vec<Target>) {
    println!("\nfrom the start of a server's process to its first answer, medians of {rounds}");
    let request = Ask::echo(300).http();
    // What peers serve is one tool.
    let fronts = peers.iter().chain(&["echo alone"]).chain(HTTP);
    let fronts = fronts.filter(|front| **front != "inline");
    let mut took: Vec<(&str, Vec<f64>)> = fronts.map(|front| (*front, Vec::new())).collect();
    for _ in 0..rounds {
        for (front, times) in &mut took {
            let began = Instant::now();
            let (_server, address) = ServerProcess::http(&spec(front));
            let answered = Connection::open(address).and_then(|mut it| it.exchange(&request));
            match answered {
                Ok(Reply::Answered) => times.push(millis(began.elapsed())),
                other => println!("    {front}: not answered, {other:?}"),
            }
        }
    }
    for (front, times) in took {
        let middle = median(times);
        println!("  {front:10} {middle:6.2} ms");
        if front == "echo alone" {
            let what = format!("{front}, ms from the start to the first answer");
            targets.push(Target::at_most(what, 2.5, middle));
        }
    }
}

// ---- memory ----

fn idle_memory(peers: &[&'static str], targets: &mut Vec<Target>) {
    println!(
        "\nresident memory of an idle connection that has been used once, of {IDLE_CONNECTIONS}"
    );
    for front in peers.iter().chain(HTTP).filter(|front| **front != "inline") {
        let (server, address) = ServerProcess::http(&spec(front));
        let request = Ask::echo(300).http();
        let open = || {
            let mut connection = Connection::open(address)?;
            connection.exchange(&request)?;
            Ok::<_, io::Error>(connection)
        };
        // What the server needs once, whoever comes.
        let first = open();
        let (before, _) = server.memory();
        let connections: Result<Vec<Connection>, _> =
            (0..IDLE_CONNECTIONS).map(|_| open()).collect();
        thread::sleep(Duration::from_millis(200));
        let (after, threads) = server.memory();
        match connections.and(first) {
            Ok(_) => {
                let each = after.saturating_sub(before) as f64 / IDLE_CONNECTIONS as f64;
                println!("  {front:10} {each:6.1} KiB each, {threads} threads");
                if *front == "guarded" {
                    targets.push(Target::at_most(
                        format!("{front}, KiB of an idle connection"),
                        18.0,
                        each,
                    ));
                }
            }
            Err(error) => {
                println!("  {front:10} not measured, {error}: is `ulimit -n` above 4,100?")
            }
        }
    }
}
