//! Question: what does a background job cost, and what do tools pay that are none?
//!
//! One client on a pair of sockets, one message at a time, with the server in the same process: a time is a whole round trip, thread wake-ups included.
//!
//! - *make*, *poll*, *finish*: `tools/call` answered with a task; `tasks/get` of one that runs; from the call to the poll that sees its end. In memory,
//!   and with the feature `durable` in a file, where making and ending a job each wait for the disk.
//! - *10,000 ended and 1,000 waiting*: the memory they take, `tasks/get` and `job_list` among them.
//! - *a tool that is no job*: `echo` of a server with jobs and workspaces, as a ratio to one without, in turns.
//!
//! `cargo bench --features durable --bench desk`, half a minute; `-- --quick` has a tenth of the jobs.

#![allow(clippy::print_stdout, reason = "the table is the point")]

#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "support/measure.rs"]
mod measure;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use mcp_threads::schemars::JsonSchema;
use mcp_threads::{AskError, Execution, Limits, RequestContext, RunningServer, Server, Tool};
use serde::Deserialize;
use serde_json::{Value, json};

use measure::{Times, median, micros};

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Sure {
    #[expect(dead_code, reason = "nobody answers")]
    sure: bool,
}

fn main() {
    let asked: Vec<String> = env::args().skip(1).collect();
    let has = |flag: &str| asked.iter().any(|argument| argument == flag);
    let quick = has("--quick");
    if !quick && !has("--bench") {
        return println!("to measure: cargo bench --bench desk [-- --quick]");
    }
    let jobs = if quick { 100 } else { 1000 };
    println!("One job, p50 and p99 in us of {jobs}");
    one_job("memory", desk(), jobs);
    #[cfg(feature = "durable")]
    one_job("durable", desk().job_store(durable()), jobs);
    many_jobs(jobs * 10, jobs);
    no_job(if quick { 3 } else { 9 });
}

fn plain() -> Server {
    let text = |args: Value| args["text"].as_str().unwrap_or_default().to_owned();
    Server::new("desk", "1.0.0").tool("echo", "Says what it is told.", text)
}

fn desk() -> Server {
    let job = |name: &str| Tool::new(name).execution(Execution::Background);
    plain()
        .job_tools()
        .workspaces(|_, _| Ok::<_, String>(0_u64))
        .limits(Limits::default().jobs_max(50_000).jobs_of_one_max(50_000))
        .register(
            job("job").handler(|args: Value| args["text"].as_str().unwrap_or_default().to_owned()),
        )
        .register(job("ask").handler(|cx: &mut RequestContext, _: Value| {
            cx.elicit::<Sure>("sure", "Sure?").map(drop)?;
            Ok::<_, AskError>("sure")
        }))
}

#[cfg(feature = "durable")]
fn durable() -> mcp_threads::DurableStore {
    let path = env::temp_dir().join(format!("mcp-threads-bench-{}", std::process::id()));
    let store = mcp_threads::DurableStore::open(&path).expect("the store can be made");
    // The file lives as long as it is open.
    std::fs::remove_file(path).expect("it is there");
    store
}

/// A client and its server.
struct Pair {
    write: UnixStream,
    read: BufReader<UnixStream>,
    line: String,
    running: RunningServer,
}

impl Pair {
    fn new(server: Server) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("sockets can be made");
        let write = theirs.try_clone().expect("a socket can be cloned");
        let running = server.serve_pipe(theirs, write).expect("it serves");
        let write = ours.try_clone().expect("a socket can be cloned");
        let (read, line) = (BufReader::new(ours), String::new());
        Pair {
            write,
            read,
            line,
            running,
        }
    }

    fn ask(&mut self, method: &str, mut params: Value) -> &str {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities":
                { "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } },
        });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.write
            .write_all(format!("{message}\n").as_bytes())
            .expect("it reads");
        self.line.clear();
        self.read.read_line(&mut self.line).expect("it answers");
        &self.line
    }

    fn call(&mut self, tool: &str, text: &str) -> &str {
        self.ask(
            "tools/call",
            json!({ "name": tool, "arguments": { "text": text } }),
        )
    }

    fn order(&mut self, tool: &str) -> String {
        let made: Value = serde_json::from_str(self.call(tool, "done")).expect("it is JSON");
        let id = made["result"]["taskId"].as_str();
        id.unwrap_or_else(|| panic!("no task: {made}")).to_owned()
    }

    fn is(&mut self, id: &str, status: &str) -> bool {
        let status = format!(r#""status":"{status}""#);
        self.ask("tasks/get", json!({ "taskId": id }))
            .contains(&status)
    }

    fn timed(&mut self, times: &mut Times, ask: impl FnOnce(&mut Self)) {
        let began = Instant::now();
        ask(self);
        times.push(began.elapsed());
    }
}

fn row(what: &str, times: &mut Times) {
    println!(
        "  {what:32} {:>9.1} {:>9.1}",
        micros(times.p50()),
        micros(times.p99())
    );
}

fn one_job(store: &str, server: Server, jobs: usize) {
    let mut pair = Pair::new(server);
    let (mut make, mut poll, mut finish) = (Times::default(), Times::default(), Times::default());
    for _ in 0..jobs {
        let began = Instant::now();
        let mut id = String::new();
        pair.timed(&mut make, |pair| id = pair.order("job"));
        while !pair.is(&id, "completed") {}
        finish.push(began.elapsed());
    }
    let waiting = pair.order("ask");
    while !pair.is(&waiting, "input_required") {}
    for _ in 0..jobs {
        pair.timed(&mut poll, |pair| {
            pair.is(&waiting, "input_required");
        });
    }
    row(&format!("{store}: make"), &mut make);
    row(&format!("{store}: poll"), &mut poll);
    row(&format!("{store}: make, run, see its end"), &mut finish);
}

fn many_jobs(ended: usize, waiting: usize) {
    let mut pair = Pair::new(desk());
    pair.call("echo", "warm");
    let before = rss_kib();
    let mut ids = Vec::new();
    for (tool, count) in [("job", ended), ("ask", waiting)] {
        for _ in 0..count {
            ids.push(pair.order(tool));
        }
    }
    let last = ids[ids.len() - 1].clone();
    while !pair.is(&last, "input_required") {}
    let jobs = pair.running.stats().jobs;
    let bytes = (rss_kib() - before) * 1024 / ids.len();
    println!(
        "{} ended and {} waiting jobs: {bytes} bytes each",
        jobs.completed, jobs.input_required
    );
    let (mut get, mut list) = (Times::default(), Times::default());
    for id in ids.iter().step_by(11) {
        pair.timed(&mut get, |pair| assert!(!pair.is(id, "failed")));
    }
    for _ in 0..10 {
        pair.timed(&mut list, |pair| {
            pair.call("job_list", "");
        });
    }
    row("tasks/get", &mut get);
    row("job_list, all of them", &mut list);
}

fn no_job(rounds: usize) {
    let mut pairs = [Pair::new(plain()), Pair::new(desk())];
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let [without, with] = [0, 1].map(|which| {
            let mut times = Times::default();
            for _ in 0..2000 {
                pairs[which].timed(&mut times, |pair| {
                    pair.call("echo", "x");
                });
            }
            micros(times.p50())
        });
        ratios.push(with / without);
    }
    println!(
        "echo of a server with jobs and workspaces: {:.3} of one without",
        median(ratios)
    );
}

fn rss_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .expect("it is a number")
}
