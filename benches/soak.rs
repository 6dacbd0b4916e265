//! Question: does anything grow in a server that serves for hours?
//!
//! A mixed load runs against a server in a process of its own: small and large calls, streams, background jobs, workspaces, sessions that are ended
//! and sessions that are left behind, clients that leave in the middle of an answer, that never answer what they are asked, and that send nonsense.
//! Each at a steady rate, which leaves the machine room for other work; every table of the server is in balance, or full, after a minute. Every few
//! seconds its resident memory, what it has allocated of that, its threads and descriptors are read; resident is also what the allocator keeps. At the end stands the slope of each, by least squares over what came after the
//! first quarter, in which pools and tables fill.
//!
//! `cargo bench --bench soak -- --minutes 60` takes an hour, which is the default; a plain `cargo bench` leaves it out. `--load 5` does everything
//! five times as often. The server is started as the page "Running it for others" says (`ALLOCATOR_SETTINGS`); with `--defaults` it is not, and then
//! resident memory is shown and not judged, because it is glibc's. The exit code is 1 when something has grown.

#![allow(clippy::print_stdout, reason = "the table is the point")]

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::alloc::System;
use std::env;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cap::Cap;
use serde_json::json;

use support::Role;
use support::child::{ServerProcess, Shares};
use support::client::{Ask, Connection, Reply};
use support::load::spawn;
use support::tools::{self, Spec};

/// Counts what is allocated.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What a server for others is started with.
const ALLOCATOR_SETTINGS: &[(&str, &str)] = &[
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
];

/// How often the server is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// One kind of client: what it does again and again, on connections of its own making.
type Act = fn(&mut Conversation) -> io::Result<()>;

/// What is done, and how often a second.
const ACTS: &[(&str, f64, Act)] = &[
    ("small calls", 100.0, |it| it.answered(&Ask::echo(64))),
    ("large calls", 10.0, |it| it.answered(&Ask::echo(300_000))),
    ("streams", 10.0, |it| {
        it.answered(&Ask::call("progress", json!({ "n": 200 })).with_progress())
    }),
    ("background jobs", 10.0, background_job),
    ("sessions that end", 10.0, session_that_ends),
    ("sessions left behind", 30.0, |it| {
        it.session(&json!({})).map(drop)
    }),
    ("workspaces left behind", 4.0, workspace_left_behind),
    ("clients that leave", 8.0, client_that_leaves),
    (
        "questions without an answer",
        8.0,
        question_without_an_answer,
    ),
    ("nonsense", 8.0, nonsense),
];

/// A client's connection, opened anew whenever it has been closed.
struct Conversation {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Conversation {
    fn connection(&mut self) -> io::Result<&mut Connection> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            empty => Ok(empty.insert(Connection::open(self.address)?)),
        }
    }

    fn answered(&mut self, ask: &Ask) -> io::Result<()> {
        match self.connection()?.exchange(&ask.http())? {
            Reply::Answered => Ok(()),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    fn session(&mut self, capabilities: &serde_json::Value) -> io::Result<String> {
        self.answered(&Ask::initialize(capabilities))?;
        let id = self.connection()?.field("Mcp-Session-Id");
        id.ok_or_else(|| io::Error::other("no session"))
    }
}

fn session_that_ends(it: &mut Conversation) -> io::Result<()> {
    let session = it.session(&json!({}))?;
    it.answered(&Ask::ping(Some(session.clone())))?;
    it.answered(&Ask::echo(64).in_session(&session))?;
    end(it, &session)
}

fn background_job(it: &mut Conversation) -> io::Result<()> {
    let session = it.session(&json!({}))?;
    let job = Ask::call("job", json!({ "text": "x".repeat(1000) }));
    it.answered(&job.in_session(&session))?;
    end(it, &session)
}

fn workspace_left_behind(it: &mut Conversation) -> io::Result<()> {
    let session = it.session(&json!({}))?;
    for workspace in ["a", "b"] {
        let count = Ask::call("count", json!({ "workspace": workspace }));
        it.answered(&count.in_session(&session))?;
    }
    Ok(())
}

fn end(it: &mut Conversation, session: &str) -> io::Result<()> {
    let request = format!(
        "DELETE /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nMcp-Session-Id: {session}\r\nContent-Length: 0\r\n\r\n"
    );
    // A `204` has no length, which stands for a stream here: the connection ends instead.
    let mut connection = it
        .connection
        .take()
        .map_or_else(|| Connection::open(it.address), Ok)?;
    connection.send(request.as_bytes())
}

fn client_that_leaves(it: &mut Conversation) -> io::Result<()> {
    let session = it.session(&json!({}))?;
    let progress = Ask::call("progress", json!({ "n": 500 })).with_progress();
    for ask in [
        progress.clone(),
        progress.in_session(&session),
        Ask::call("sleep", json!({ "ms": 50 })),
    ] {
        Connection::open(it.address)?.send(&ask.http())?;
    }
    Ok(())
}

fn question_without_an_answer(it: &mut Conversation) -> io::Result<()> {
    let session = it.session(&json!({ "roots": {} }))?;
    let ask = Ask::call("ask", json!({})).in_session(&session);
    Connection::open(it.address)?.send(&ask.http())?;
    thread::sleep(Duration::from_millis(20));
    end(it, &session)
}

fn nonsense(it: &mut Conversation) -> io::Result<()> {
    for bytes in [
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[[[[[[[[[",
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
        "GET / HTTP/1.1\r\nHo",
        "\u{1}\u{2}\u{3}\r\n\r\n",
    ] {
        Connection::open(it.address)?.send(bytes.as_bytes())?;
    }
    Ok(())
}

/// What the server held at a moment.
struct Sample {
    at: Duration,
    /// Resident KiB, allocated KiB, threads, descriptors.
    held: [f64; 4],
}

fn main() -> ExitCode {
    match support::role() {
        Role::Serve(spec) => {
            tools::ALLOCATED.get_or_init(|| || ALLOCATOR.allocated());
            tools::serve(&spec)
        }
        Role::Nothing => {
            println!("to soak: cargo bench --bench soak -- --minutes 60");
            return ExitCode::SUCCESS;
        }
        Role::Measure { .. } => {}
    }
    let (minutes, load) = (option("--minutes", 60.0), option("--load", 1.0));
    let has_defaults = env::args().any(|argument| argument == "--defaults");
    let settings = match has_defaults {
        true => &[],
        false => ALLOCATOR_SETTINGS,
    };
    let (server, address) = ServerProcess::http_with(&Spec::new("guarded"), settings);
    let stop = Arc::new(AtomicBool::new(false));
    let shares = Shares::start(&server);
    let clients: Vec<_> = ACTS
        .iter()
        .map(|(_, rate, act)| client(address, *act, rate * load, &stop))
        .collect();
    let duration = Duration::from_secs_f64(minutes * 60.0);
    let samples = watch(&server, address, duration);
    let spent = shares.end(&server);
    stop.store(true, Ordering::Relaxed);
    for ((name, ..), (thread, done, failed)) in ACTS.iter().zip(clients) {
        thread.join().expect("a client does not panic");
        let [done, failed] = [done, failed].map(|count| count.load(Ordering::Relaxed));
        println!("{done:>9} times {name}, {failed} failed");
    }
    let of_a_core = |cpu: Duration| 100.0 * cpu.as_secs_f64() / duration.as_secs_f64();
    println!(
        "server {:.1} % of a core, clients {:.1} %",
        of_a_core(spent.server),
        of_a_core(spent.own)
    );
    match tell(&samples, has_defaults) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The number after a flag of the command line.
fn option(flag: &str, default: f64) -> f64 {
    let text = env::args().skip_while(|argument| argument != flag).nth(1);
    text.map_or(default, |text| {
        let number = text.parse().ok();
        number.unwrap_or_else(|| panic!("{flag} needs a number"))
    })
}

type Counts = (thread::JoinHandle<()>, Arc<AtomicU64>, Arc<AtomicU64>);

fn client(address: SocketAddr, act: Act, rate: f64, stop: &Arc<AtomicBool>) -> Counts {
    let [done, failed] = [0, 0].map(|zero| Arc::new(AtomicU64::new(zero)));
    let (stop, of_done, of_failed) = (Arc::clone(stop), Arc::clone(&done), Arc::clone(&failed));
    let every = Duration::from_secs_f64(1.0 / rate);
    let thread = spawn(move || {
        let mut conversation = Conversation {
            address,
            connection: None,
        };
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            match act(&mut conversation) {
                Ok(()) => of_done.fetch_add(1, Ordering::Relaxed),
                Err(_) => {
                    conversation.connection = None;
                    of_failed.fetch_add(1, Ordering::Relaxed)
                }
            };
            // What a slow machine could not do in time is not made up for.
            due = Instant::now().max(due + every);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    });
    (thread, done, failed)
}

fn watch(server: &ServerProcess, address: SocketAddr, duration: Duration) -> Vec<Sample> {
    let began = Instant::now();
    let mut samples = Vec::new();
    let mut conversation = Conversation {
        address,
        connection: None,
    };
    println!("  minute  RSS MiB  allocated MiB  threads  descriptors");
    let mut shown = 0.0;
    while began.elapsed() < duration {
        thread::sleep(LOOK_EVERY.min(duration.saturating_sub(began.elapsed())));
        let (resident, threads) = server.memory();
        let allocated = allocated(&mut conversation).expect("it tells, whatever else it does");
        let held = [
            resident as f64,
            allocated / 1024.0,
            threads as f64,
            server.descriptors() as f64,
        ];
        let at = began.elapsed();
        let minute = at.as_secs_f64() / 60.0;
        if minute >= shown {
            println!(
                "{minute:>8.1} {:>8.1} {:>14.1} {:>8} {:>12}",
                held[0] / 1024.0,
                held[1] / 1024.0,
                held[2],
                held[3]
            );
            shown += duration.as_secs_f64() / 60.0 / 20.0;
        }
        samples.push(Sample { at, held });
    }
    samples
}

fn allocated(it: &mut Conversation) -> io::Result<f64> {
    it.answered(&Ask::call("allocated", json!({})))?;
    let answer = String::from_utf8_lossy(it.connection()?.body()).into_owned();
    let number = answer
        .split_once("\"text\":\"")
        .and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(answer))
}

/// Says the slopes. False when something has grown: by a twentieth of what it was, and by more than chance gives. With the allocator's defaults
/// only what is allocated is judged.
fn tell(samples: &[Sample], has_defaults: bool) -> bool {
    let settled = &samples[samples.len() / 4..];
    let mut stands = true;
    println!("\n               mean       slope/hour   grown while measured");
    for (at, (name, chance)) in [
        ("RSS, KiB", 4096.0),
        ("allocated", 2048.0),
        ("threads", 32.0),
        ("descriptors", 16.0),
    ]
    .into_iter()
    .enumerate()
    {
        let points: Vec<_> = settled
            .iter()
            .map(|sample| (sample.at.as_secs_f64(), sample.held[at]))
            .collect();
        let (mean, slope) = line(&points);
        let measured =
            points.last().map_or(0.0, |last| last.0) - points.first().map_or(0.0, |first| first.0);
        let grown = slope * measured;
        let too_much = grown > chance && grown > mean / 20.0;
        stands &= !too_much || (has_defaults && name != "allocated");
        let verdict = if too_much { "  GROWS" } else { "" };
        println!(
            "{name:<12} {mean:>9.0} {:>12.1} {grown:>18.1}{verdict}",
            slope * 3600.0
        );
    }
    stands
}

/// The mean, and the slope of the line that fits best.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let together: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    (y, if spread > 0.0 { together / spread } else { 0.0 })
}
