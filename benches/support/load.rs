//! Load: many keep-alive connections, each a blocking thread with a small stack, each request one write.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::{Ask, Connection, Reply};
use super::measure::Times;

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Of the answered ones.
    pub(crate) answered: Times,
    /// Of those refused with `503`.
    pub(crate) refused: Times,
    /// Neither answered nor refused.
    pub(crate) lost: usize,
    /// From the first request to the last answer.
    pub(crate) wall: Duration,
    /// How much later than planned a request of an open loop left, at worst.
    pub(crate) late: Duration,
}

impl Outcome {
    fn note(&mut self, reply: std::io::Result<Reply>, took: Duration) -> bool {
        match &reply {
            Ok(Reply::Answered) => self.answered.push(took),
            Ok(Reply::Refused) => self.refused.push(took),
            Ok(Reply::Strange) | Err(_) => self.lost += 1,
        }
        reply.is_ok()
    }

    fn add(&mut self, other: Outcome) {
        self.answered.extend(other.answered);
        self.refused.extend(other.refused);
        self.lost += other.lost;
        self.late = self.late.max(other.late);
    }

    pub(crate) fn sent(&self) -> usize {
        self.answered.len() + self.refused.len() + self.lost
    }
}

/// When a closed loop stops sending.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After so many requests in all.
    Sent(usize),
}

/// As many requests at once as there are connections: each sends its next one when it has the answer to the last.
pub(crate) fn closed(
    address: SocketAddr,
    connections: usize,
    request: &[u8],
    until: Until,
) -> Outcome {
    let taken = Arc::new(AtomicUsize::new(0));
    run(
        address,
        Connections::Kept,
        connections,
        request,
        move |connection, request, began| {
            let mut outcome = Outcome::default();
            let mut start = began;
            loop {
                let ends = match until {
                    Until::Elapsed(duration) => start - began >= duration,
                    Until::Sent(count) => taken.fetch_add(1, Ordering::Relaxed) >= count,
                };
                if ends {
                    return outcome;
                }
                let kept = connection.as_mut().expect("each has one");
                let reply = kept.exchange(request);
                let now = Instant::now();
                if !outcome.note(reply, now - start) {
                    return outcome;
                }
                start = now;
            }
        },
    )
}

/// On what connections an open loop sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Each of its clients keeps one.
    Kept,
    /// Each request opens one, which counts as a part of it.
    Fresh,
    /// The same, and so many requests are due at once.
    Bursts(usize),
}

/// `rate` requests a second for `duration`, whether or not earlier ones have been answered. A time counts from the moment the request
/// should have left, so that a server that stalls the client cannot hide it. There must be connections enough for what is in flight.
pub(crate) fn open(
    address: SocketAddr,
    on: Connections,
    connections: usize,
    request: &[u8],
    rate: f64,
    duration: Duration,
) -> Outcome {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = (rate * duration.as_secs_f64()) as usize;
    run(
        address,
        on,
        connections,
        request,
        move |connection, request, began| {
            let mut outcome = Outcome::default();
            loop {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return outcome;
                }
                let due = match on {
                    Connections::Bursts(burst) => number - number % burst,
                    Connections::Kept | Connections::Fresh => number,
                };
                let due = began + Duration::from_secs_f64(due as f64 / rate);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                outcome.late = outcome.late.max(due.elapsed());
                let reply = match connection {
                    Some(kept) => kept.exchange(request),
                    None => Connection::open(address).and_then(|mut fresh| fresh.exchange(request)),
                };
                let goes_on = outcome.note(reply, due.elapsed());
                if !goes_on && on == Connections::Kept {
                    return outcome;
                }
            }
        },
    )
}

/// Opens the connections that are kept one after the other, each with one cheap request, because the first of a connection is not what is measured, and lets
/// all clients go at once.
fn run(
    address: SocketAddr,
    on: Connections,
    connections: usize,
    request: &[u8],
    work: impl Fn(&mut Option<Connection>, &[u8], Instant) -> Outcome + Send + Sync + 'static,
) -> Outcome {
    let go = Arc::new(Barrier::new(connections + 1));
    let work = Arc::new(work);
    let request: Arc<[u8]> = request.into();
    let hello = Ask::modern("server/discover").http();
    let threads: Vec<JoinHandle<Outcome>> = (0..connections)
        .map(|_| {
            let mut connection = (on == Connections::Kept).then(|| {
                let mut connection = Connection::open(address).expect("the server accepts");
                connection.exchange(&hello).expect("the server answers");
                connection
            });
            let (go, work, request) = (Arc::clone(&go), Arc::clone(&work), Arc::clone(&request));
            spawn(move || {
                go.wait();
                work(&mut connection, &request, Instant::now())
            })
        })
        .collect();
    // What opening them set off has settled by then.
    thread::sleep(Duration::from_millis(20));
    go.wait();
    let began = Instant::now();
    let mut all = Outcome::default();
    for thread in threads {
        all.add(thread.join().expect("a client thread does not panic"));
    }
    all.wall = began.elapsed();
    all
}

pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new()
        .stack_size(128 * 1024)
        .spawn(work)
        .expect("the machine has room for a client thread")
}

/// Asks one thing twenty times a second while something else goes on.
pub(crate) struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Times>,
}

impl Prober {
    pub(crate) fn start(address: SocketAddr, request: Vec<u8>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let mut connection = Connection::open(address).expect("the server accepts");
        let thread = spawn(move || {
            let mut times = Times::default();
            while !seen.load(Ordering::Relaxed) {
                let start = Instant::now();
                match connection.exchange(&request) {
                    Ok(Reply::Answered) => times.push(start.elapsed()),
                    // Counts as the worst there is, so that it shows.
                    _ => times.push(Duration::from_secs(30)),
                }
                thread::sleep(Duration::from_millis(50));
            }
            times
        });
        Prober { stop, thread }
    }

    pub(crate) fn stop(self) -> Times {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the prober does not panic")
    }
}
