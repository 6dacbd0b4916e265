//! Question: what do the parts of one call cost, apart from sockets and from each other?
//!
//! Everything goes through the public way in, [`Server::serve_pipe`], over a pipe in memory. *Amortised* means a thousand messages sent at once and
//! the time divided by them: mostly the CPU that parsing, dispatching, running and serialising take on the pipe's and the lane's threads,
//! which overlap. *Alone* means one message at a time, so it is mostly threads waking each other.
//!
//! - `echo`: a whole call, amortised and alone.
//! - `cheap`: `ping`, answered at once by the thread that reads. `echo` minus `ping` is the hand-off to a lane, the handler and the way back.
//! - `list`: a rendered `tools/list` of 100 tools.
//! - `fork`: copying a state of nothing, 1 KB and 1 MB, by itself and as part of a call.
//!
//! [`Server::serve_pipe`]: mcp_threads::Server::serve_pipe

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::{Receiver, Sender, unbounded};
use mcp_threads::schemars::JsonSchema;
use mcp_threads::{Fork, Limits, RequestContext, RunningServer, Server, Tool};
use serde::Deserialize;
use serde_json::{Value, json};

const MANY: usize = 1000;

/// What the server reads from: the client's chunks, one after the other.
struct Input {
    chunks: Receiver<Arc<[u8]>>,
    chunk: Arc<[u8]>,
    read: usize,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.chunk.len() {
            match self.chunks.recv() {
                Ok(chunk) => (self.chunk, self.read) = (chunk, 0),
                Err(_) => return Ok(0),
            }
        }
        let left = &self.chunk[self.read..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.read += count;
        Ok(count)
    }
}

/// What the server writes to: only the lines are counted.
struct Output(Sender<usize>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.0.send(lines).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server on a pipe in memory.
struct Piped {
    send: Option<Sender<Arc<[u8]>>>,
    answers: Receiver<usize>,
    running: Option<RunningServer>,
}

impl Piped {
    fn start<S: Fork + Send + Sync + 'static>(server: Server<S>) -> Self {
        let (send, chunks) = unbounded();
        let (lines, answers) = unbounded();
        let input = Input {
            chunks,
            chunk: Arc::new([]),
            read: 0,
        };
        let limits = Limits::default().outbox_answers_max(2 * MANY);
        // No call is refused: the queue takes all that are sent at once.
        let server = server.workers(2).queue(2 * MANY).limits(limits);
        let running = server
            .serve_pipe(input, Output(lines))
            .expect("the server starts");
        Piped {
            send: Some(send),
            answers,
            running: Some(running),
        }
    }

    /// Sends these lines and waits until all are answered.
    fn exchange(&self, (lines, count): &(Arc<[u8]>, usize)) {
        let send = self.send.as_ref().expect("it is open until dropped");
        send.send(Arc::clone(lines)).expect("the server reads");
        let mut missing = *count;
        while missing > 0 {
            let answered = self.answers.recv().expect("the server answers");
            missing = missing.saturating_sub(answered);
        }
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        drop(self.send.take());
        if let Some(running) = self.running.take() {
            let _report = running.shutdown(Duration::from_secs(1));
        }
    }
}

/// This many requests, one a line, each with its own id.
fn lines(method: &str, mut params: Value, count: usize) -> (Arc<[u8]>, usize) {
    // `ping` is of the legacy era and comes without the modern metadata.
    if method != "ping" {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
    }
    let line = |id| {
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        format!("{message}\n")
    };
    let text: String = (0..count).map(line).collect();
    (text.into_bytes().into(), count)
}

fn call(tool: &str, arguments: &Value, count: usize) -> (Arc<[u8]>, usize) {
    lines(
        "tools/call",
        json!({ "name": tool, "arguments": arguments }),
        count,
    )
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "mcp_threads::schemars")]
struct Text {
    text: String,
}

fn server() -> Server {
    Server::new("bench", "1.0.0").tool("echo", "Says what it is told.", |args: Text| args.text)
}

fn echo_arguments() -> Value {
    json!({ "text": "x".repeat(300) })
}

/// The same once and a thousand times.
fn both(
    group: &mut BenchmarkGroup<'_, impl criterion::measurement::Measurement>,
    name: &str,
    piped: &Piped,
    make: impl Fn(usize) -> (Arc<[u8]>, usize),
) {
    let many = make(MANY);
    group.throughput(Throughput::Elements(MANY as u64));
    group.bench_function(format!("{name}, amortised"), |bencher| {
        bencher.iter(|| piped.exchange(&many));
    });
    let one = make(1);
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("{name}, alone"), |bencher| {
        bencher.iter(|| piped.exchange(&one));
    });
}

fn echo(criterion: &mut Criterion) {
    let piped = Piped::start(server());
    let mut group = criterion.benchmark_group("echo");
    both(&mut group, "300 B", &piped, |count| {
        call("echo", &echo_arguments(), count)
    });
    group.finish();
}

fn cheap(criterion: &mut Criterion) {
    let piped = Piped::start(server());
    let mut group = criterion.benchmark_group("cheap");
    both(&mut group, "ping", &piped, |count| {
        lines("ping", json!({}), count)
    });
    both(&mut group, "server/discover", &piped, |count| {
        lines("server/discover", json!({}), count)
    });
    group.finish();
}

fn list(criterion: &mut Criterion) {
    let mut server = server();
    for number in 1..100 {
        let tool = Tool::new(format!("tool_{number}"))
            .description("One of a hundred tools that are listed.");
        server = server.register(tool.handler(|args: Text| args.text));
    }
    let piped = Piped::start(server);
    let mut group = criterion.benchmark_group("list");
    both(&mut group, "100 tools", &piped, |count| {
        lines("tools/list", json!({}), count)
    });
    group.finish();
}

/// A state of so many bytes, in pieces of 64 as a real one would be.
#[derive(Clone)]
struct State(Vec<String>);

impl State {
    fn of(bytes: usize) -> Self {
        State(vec!["x".repeat(64); bytes / 64])
    }
}

fn fork(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fork");
    for (name, bytes) in [("empty", 0), ("1 KB", 1024), ("1 MB", 1024 * 1024)] {
        let state = State::of(bytes);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}, by itself"), |bencher| {
            bencher.iter(|| black_box(Fork::fork(&state)));
        });
        let server = Server::new("bench", "1.0.0").with_state(state).tool(
            "echo",
            "Says what it is told.",
            |cx: &mut RequestContext<State>, args: Text| {
                black_box(&cx.state().0);
                args.text
            },
        );
        let piped = Piped::start(server);
        // Few of the large ones, so that one round of the bench stays short.
        let many = if bytes > 65536 { 20 } else { MANY };
        let calls = call("echo", &echo_arguments(), many);
        group.throughput(Throughput::Elements(many as u64));
        group.bench_function(format!("{name}, in a call, amortised"), |bencher| {
            bencher.iter(|| piped.exchange(&calls));
        });
    }
    group.finish();
}

criterion_group! {
    name = parts;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50);
    targets = echo, cheap, list, fork
}
criterion_main!(parts);
