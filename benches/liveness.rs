//! Question: what does the watchdog cost a call, and what do the others pay while half of a lane hangs and is replaced?
//!
//! The server is in this process, its clients are keep-alive connections over loopback.
//!
//! - *cost*: `echo` at 16 connections, watched (a liveness of 100 ms, so a look at every worker each 12.5 ms) against not watched, in turns.
//! - *half wedged*: `echo` at 4 connections on a lane of 8 workers: idle, then from the moment that 4 handlers hang until a second after, in which
//!   they are found, given up and replaced.
//!
//! `cargo bench --bench liveness [-- --quick]`, a quarter of a minute.

#![allow(clippy::print_stdout, reason = "the table is the point")]

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mcp_threads::{Lane, Limits, RunningServer, Server};
use serde_json::{Value, json};

use support::Role;
use support::client::{Ask, Connection};
use support::load::{self, Until};
use support::measure::{median, micros};

const LIVENESS: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_millis(100);
const WORKERS: usize = 8;

fn main() {
    let quick = match support::role() {
        Role::Measure { quick } => quick,
        Role::Serve(_) | Role::Nothing => {
            return println!("to measure: cargo bench --bench liveness [-- --quick]");
        }
    };
    cost(if quick { 3 } else { 9 });
    half_wedged(if quick { 1 } else { 5 });
}

fn plain() -> Server {
    let text = |args: Value| args["text"].as_str().unwrap_or_default().to_owned();
    Server::new("liveness", "1.0.0")
        .limits(Limits::default().stall_grace(GRACE))
        .tool("echo", "Says what it is told.", text)
        .tool("hang", "Never returns.", |_: Value| -> String {
            loop {
                thread::park();
            }
        })
}

fn serve(server: Server) -> (RunningServer, SocketAddr) {
    let running = server.serve_http("127.0.0.1:0");
    let running = running.expect("loopback can be listened on");
    let address = running.addr().expect("it serves HTTP");
    (running, address)
}

/// Echoes a second at 16 connections.
fn rate(address: SocketAddr, wall: Duration) -> f64 {
    let outcome = load::closed(address, 16, &Ask::echo(100).http(), Until::Elapsed(wall));
    outcome.answered.len() as f64 / outcome.wall.as_secs_f64()
}

fn cost(rounds: usize) {
    let (unwatched, watched) = (serve(plain()), serve(plain().liveness(LIVENESS)));
    let wall = Duration::from_millis(400);
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (rates, (_, address)) in rates.iter_mut().zip([&unwatched, &watched]) {
            rates.push(rate(*address, wall));
        }
    }
    let ratios = rates[0].iter().zip(&rates[1]);
    let ratio = median(ratios.map(|(without, with)| with / without).collect());
    let [without, with] = rates.map(median);
    println!(
        "echo at 16 connections: {without:.0}/s unwatched, {with:.0}/s watched, ratio {ratio:.3}"
    );
}

fn half_wedged(rounds: usize) {
    println!("echo at 4 connections beside 4 of {WORKERS} workers that hang");
    let wall = Duration::from_secs(1);
    for _ in 0..rounds {
        let lane = Lane::new("main").workers(WORKERS).queue(64);
        let (running, address) = serve(plain().liveness(LIVENESS).lane(lane));
        let echo = Ask::echo(100).http();
        let mut idle = load::closed(address, 4, &echo, Until::Elapsed(wall));
        let began = Instant::now();
        let mut stuck: Vec<Connection> = (0..WORKERS / 2)
            .map(|_| {
                let mut connection = Connection::open(address).expect("the server accepts");
                let hang = Ask::call("hang", json!({})).http();
                connection.send(&hang).expect("it is read");
                connection
            })
            .collect();
        let waiting = load::spawn(move || {
            for connection in &mut stuck {
                connection.receive().expect("each is answered");
            }
            began.elapsed()
        });
        let mut during = load::closed(address, 4, &echo, Until::Elapsed(wall));
        let given_up = waiting.join().expect("it does not panic");
        let rate =
            |outcome: &load::Outcome| outcome.answered.len() as f64 / outcome.wall.as_secs_f64();
        let main = &running.stats().lanes[0];
        println!(
            "  idle {:.0}/s, p99 {:.0} us; hanging and replaced {:.0}/s, p99 {:.0} us, refused {}, lost {}; given up after {:.0} ms; abandoned {}, living {}",
            rate(&idle),
            micros(idle.answered.p99()),
            rate(&during),
            micros(during.answered.p99()),
            during.refused.len(),
            during.lost,
            given_up.as_secs_f64() * 1e3,
            main.abandoned,
            main.workers,
        );
        let _abandoned = running.shutdown(Duration::ZERO);
    }
}
