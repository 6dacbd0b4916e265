//! Question: what does a script cost as a tool, beside the program that it is, and do others notice?
//!
//! The server is the program `mcp-threads` on a pipe, with a file of its own; its client speaks the handshake era, which any other program of the kind does too.
//!
//! - *start*: from `serve --stdio` to its first answer, beside the run of `true` (any process).
//! - *overhead*: a tool that runs `true`, beside `fork` and `exec` by hand (`std` forks where it has to set a user) and `std`'s own `spawn` and `wait`, in turns.
//!   CPU is that of the server with all its children. `--peer 'PROGRAM WORDS..'` is another server with a tool `true`, on its own pipe.
//! - *lines*: 100 a second for 3 s; from the moment that the script writes one to the moment that the client has it.
//! - *many*: 64 scripts at once, always; how long a `ping` takes meanwhile.
//! - *flood*: an output of a gigabyte; how much more memory the server has had.
//! - *size*: the program as it is handed out (`cargo build --profile dist`).
//!
//! `cargo bench --features cli --bench scripts [-- --quick]`, half a minute.

#![allow(clippy::print_stdout, reason = "the table is the point")]

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use support::Role;
use support::measure::{Target, Times, micros, millis, print_targets};

const FILE: &str = r#"
[[tool]]
name = "true"
description = "Does nothing."
run = ["true"]

[[tool]]
name = "lines"
description = "Says what time it is, a hundred times a second."
shell = 'for n in $(seq "$ARG_COUNT"); do date +%s%N; sleep 0.007; done'
output = "lines"
[tool.args.count]
type = "integer"
required = true

[[tool]]
name = "sleep"
description = "Waits."
run = ["sleep", "0.3"]

[[tool]]
name = "flood"
description = "Says a gigabyte."
run = ["head", "-c", "1073741824", "/dev/zero"]
"#;

fn main() {
    let quick = match support::role() {
        Role::Measure { quick } => quick,
        Role::Serve(_) | Role::Nothing => {
            return println!("to measure: cargo bench --features cli --bench scripts [-- --quick]");
        }
    };
    let place = Place::new();
    let mut targets = start(&place, if quick { 10 } else { 60 });
    targets.extend(overhead(&place, if quick { 200 } else { 2000 }));
    targets.extend(lines(&place, if quick { 100 } else { 300 }));
    targets.extend(many(&place, Duration::from_secs(if quick { 2 } else { 6 })));
    targets.push(flood(&place));
    targets.extend(size());
    print_targets(&targets);
}

/// A directory with the file, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let place = std::env::temp_dir().join(format!("bench-scripts-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a directory can be made");
        fs::write(place.join("tools.toml"), FILE).expect("a file can be written");
        Place(place)
    }

    fn serve(&self) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-threads"));
        command.args(["serve", "--stdio", "--trust"]);
        command.arg(self.0.join("tools.toml"));
        Server::start(command)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.0);
    }
}

/// A server on a pipe, and its client.
struct Server {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    last_id: u64,
}

impl Server {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut server = Server {
            child,
            to,
            from,
            last_id: 0,
        };
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "bench", "version": "1.0.0" },
        });
        server.ask("initialize", hello);
        server.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        server
    }

    fn send(&mut self, message: &Value) {
        let to = self.to.as_mut().expect("it is open");
        to.write_all(format!("{message}\n").as_bytes())
            .expect("it reads");
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it can be read");
        serde_json::from_str(&line).expect("it says JSON")
    }

    fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// Sends a request; everything that comes before its answer is seen.
    fn watch(
        &mut self,
        method: &str,
        params: Value,
        mut see: impl FnMut(&mut Self, Value),
    ) -> Value {
        let id = self.begin(method, params);
        loop {
            let message = self.receive();
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
            see(self, message);
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.watch(method, params, |_, _| ())
    }

    fn call(&mut self, tool: &str) {
        let answer = self.ask("tools/call", json!({ "name": tool, "arguments": {} }));
        assert_ne!(answer["result"]["isError"], true, "{answer}");
    }

    fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }

    /// The most memory that was ever resident, in KiB.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ended = self.child.wait();
    }
}

/// The CPU time of a process and of its children that have been waited for. A supervisor that still lives is not among them.
fn cpu_of(process: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(4);
    Duration::from_millis(10) * ticks.filter_map(|ticks| ticks.parse::<u32>().ok()).sum()
}

fn timed(times: &mut Times, act: impl FnOnce()) {
    let begun = Instant::now();
    act();
    times.push(begun.elapsed());
}

fn spawn_true(by_fork: bool) {
    let mut command = Command::new("/bin/true");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if by_fork {
        command.uid(rustix::process::geteuid().as_raw());
    }
    command.status().expect("`true` can be run");
}

fn start(place: &Place, rounds: usize) -> Vec<Target> {
    let [mut serve, mut any] = [Times::default(), Times::default()];
    for _ in 0..rounds {
        timed(&mut any, || spawn_true(false));
        let begun = Instant::now();
        let server = place.serve();
        serve.push(begun.elapsed());
        drop(server);
    }
    let (p50, p99) = (millis(serve.p50()), millis(serve.p99()));
    println!(
        "start: first answer after {p50:.2} ms (p99 {p99:.2}); `true` runs in {:.2} ms",
        millis(any.p50())
    );
    vec![Target::at_most("ready, ms", 10.0, p50)]
}

fn overhead(place: &Place, rounds: usize) -> Vec<Target> {
    let words: Vec<String> = std::env::args().collect();
    let peer = words.iter().position(|word| word == "--peer").map(|at| {
        let mut words = words[at + 1].split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        Server::start(command)
    });
    let mut servers: Vec<Server> = [place.serve()].into_iter().chain(peer).collect();
    servers.iter_mut().for_each(|server| server.call("true"));
    let before: Vec<Duration> = servers.iter().map(Server::cpu).collect();
    let mut by_hand = [Times::default(), Times::default()];
    let mut called: Vec<Times> = servers.iter().map(|_| Times::default()).collect();
    for _ in 0..rounds {
        timed(&mut by_hand[0], || spawn_true(true));
        timed(&mut by_hand[1], || spawn_true(false));
        for (server, times) in servers.iter_mut().zip(&mut called) {
            timed(times, || server.call("true"));
        }
    }
    let spent = servers
        .iter()
        .zip(before)
        .map(|(server, before)| server.cpu() - before);
    let spent: Vec<f64> = spent.map(|cpu| micros(cpu) / rounds as f64).collect();
    let [fork, spawn] = by_hand.each_mut().map(|times| micros(times.p50()));
    println!("overhead, p50 in us: fork and exec {fork:.0}, spawn {spawn:.0}");
    for ((times, cpu), name) in called.iter_mut().zip(&spent).zip(["mcp-threads", "peer"]) {
        println!(
            "  {name}: {:.0} (p99 {:.0}), CPU {cpu:.0} a call, `true` included",
            micros(times.p50()),
            micros(times.p99())
        );
    }
    let before = cpu_of("self");
    (0..rounds).for_each(|_| spawn_true(true));
    let alone = micros(cpu_of("self") - before) / rounds as f64;
    println!("  fork and exec by hand: CPU {alone:.0}");
    let more = micros(called[0].p50()) - fork;
    let mut targets = vec![Target::at_most(
        "a call of `true` beyond fork and exec, us",
        1000.0,
        more,
    )];
    if let [ours, theirs] = spent[..] {
        targets.push(Target::at_most("CPU to the peer's", 0.25, ours / theirs));
        let beyond = (ours - alone) / (theirs - alone);
        targets.push(Target::at_most(
            "CPU beyond fork and exec to the peer's",
            0.25,
            beyond,
        ));
    }
    targets
}

fn lines(place: &Place, count: usize) -> Vec<Target> {
    let mut server = place.serve();
    let mut delays = Times::default();
    let params = json!({
        "name": "lines", "arguments": { "count": count }, "_meta": { "progressToken": "p" },
    });
    let begun = Instant::now();
    server.watch("tools/call", params, |_, message| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is after 1970");
        let said = message["params"]["message"]
            .as_str()
            .and_then(|said| said.parse().ok());
        delays.push(now.saturating_sub(Duration::from_nanos(said.expect("a line is a time"))));
    });
    let rate = delays.len() as f64 / begun.elapsed().as_secs_f64();
    let (p50, most) = (millis(delays.p50()), millis(delays.percentile(1.0)));
    println!(
        "lines: {} of {count} at {rate:.0} a second, {p50:.2} ms late (p99 {:.2}, most {most:.2})",
        delays.len(),
        millis(delays.p99())
    );
    vec![
        Target::at_least("lines told", count as f64, delays.len() as f64),
        Target::at_most("the latest line, ms", 20.0, most),
    ]
}

fn many(place: &Place, wall: Duration) -> Vec<Target> {
    let mut server = place.serve();
    let sleep = || json!({ "name": "sleep", "arguments": {} });
    let (mut pings, mut alone, mut done) = (Times::default(), Times::default(), 0_u64);
    for _ in 0..200 {
        timed(&mut alone, || drop(server.ask("ping", json!({}))));
    }
    for _ in 0..64 {
        server.begin("tools/call", sleep());
    }
    let end = Instant::now() + wall;
    while Instant::now() < end {
        let begun = Instant::now();
        server.watch("ping", json!({}), |server, message| {
            assert_eq!(
                message["result"]["structuredContent"]["exit_code"], 0,
                "{message}"
            );
            done += 1;
            server.begin("tools/call", sleep());
        });
        pings.push(begun.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    let (p50, p99) = (millis(pings.p50()), millis(pings.p99()));
    let rate = done as f64 / wall.as_secs_f64();
    println!(
        "many: `ping` {p50:.2} ms (p99 {p99:.2}, most {:.2}) beside 64 scripts, {rate:.0} ended a second; alone {:.2}",
        millis(pings.percentile(1.0)),
        millis(alone.p50())
    );
    vec![Target::at_most(
        "`ping` beside 64 scripts, p99 in ms",
        5.0,
        p99,
    )]
}

fn flood(place: &Place) -> Target {
    let mut server = place.serve();
    server.call("true");
    let before = server.peak();
    let begun = Instant::now();
    server.call("flood");
    let grown = (server.peak() - before) as f64;
    println!(
        "flood: {grown:.0} KiB more for a gigabyte, in {:.2} s",
        begun.elapsed().as_secs_f64()
    );
    // The cap is 64 KiB for each stream; each NUL of it takes six bytes as JSON, and it is in the answer twice.
    Target::at_most("a gigabyte, in KiB", 4096.0, grown)
}

fn size() -> Option<Target> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dist/mcp-threads");
    let Ok(found) = fs::metadata(program) else {
        println!(
            "size: cargo build --profile dist --features cli --bin mcp-threads makes the program that is looked at"
        );
        return None;
    };
    let bytes = found.len() as f64;
    Some(Target::at_most(
        "the program as it is handed out, MB",
        4.0,
        bytes / 1e6,
    ))
}
