//! The front on tiny_http: the smallest one, and the way into a program that already runs tiny_http.
//!
//! tiny_http reads requests on threads of its own and queues them; each exchange is then owned by one of our threads, which takes the request
//! from that queue, serves it to its end and comes back. There is always one thread waiting: the one that takes the last waiting place's
//! request first starts its successor. Must not know MCP.
//!
//! What tiny_http 0.12 cannot do, and this front therefore cannot promise: it has no bound on the length of a header line, no deadline for a slow
//! head, a slow body or a slow reader, no cap on connections, and no way to notice that a client has left before a write to it fails, which may
//! take until the second heartbeat. It reads a refused body to its end before it lets the refusal out, and the thread that does so may be the
//! last one that waits. A body declared longer than 64 MiB and then cut short costs a descriptor for good. At shutdown it does not close idle
//! connections; what is sent on one afterwards is not answered. `Connection: close` is said but left to the client to do. In a burst of
//! connections its own thread pool can leave some unanswered for seconds. A malformed `Content-Length` counts as no body. Behind a proxy or on
//! loopback that may do; elsewhere use a front that can.

mod exchange;

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tiny_http::Request;

use self::exchange::TinyExchange;
use crate::base::error::Error;
use crate::observe::access::{Outcome, RequestTag};
use crate::transport::front::Front;
use crate::transport::http::endpoint::Endpoint;
use crate::transport::http::exchange::{Exchange, Field, Response, Serve, single};

/// Waiting threads that are kept for the next requests; more than these leave.
const SPARE_THREADS: usize = 16;

/// How often the accept loop may have been started again with connections of the one before still served.
const GENERATIONS_MAX: usize = 8;

/// A running tiny_http server with its threads.
pub(crate) struct TinyFront {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Disconnects once every thread has left.
    left: Receiver<Infallible>,
}

struct Shared {
    endpoint: Arc<Endpoint>,
    /// Kept to start the accept loop again on the same port. `None` once stopping.
    listener: Mutex<Option<TcpListener>>,
    generations: Mutex<Vec<Arc<Generation>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Dropped to end the watch over the accept loop. `None` once stopping.
    watch: Mutex<Option<Sender<Infallible>>>,
    /// Cloned into every thread, so that its end can be waited for. `None` once stopping.
    alive: Mutex<Option<Sender<Infallible>>>,
    stopping: AtomicBool,
    exchanges: Arc<AtomicUsize>,
}

/// One tiny_http server: its accept loop, and the connections that loop has accepted.
struct Generation {
    server: tiny_http::Server,
    waiting: AtomicUsize,
    retired: AtomicBool,
}

const HELD: &str = "no code panics while it holds the front's state";

impl TinyFront {
    /// Serves on a bound listener.
    pub(crate) fn start(listener: TcpListener, endpoint: Arc<Endpoint>) -> Result<Self, Error> {
        let fail = |source| Error::io("cannot use the listener", source);
        let address = listener.local_addr().map_err(fail)?;
        // Accepted sockets inherit it: one small answer must not wait for the acknowledgement of the one before.
        #[cfg(unix)]
        rustix::net::sockopt::set_tcp_nodelay(&listener, true)
            .map_err(|errno| fail(errno.into()))?;
        let (alive, left) = bounded(0);
        let (watch, unwatched) = bounded(0);
        let shared = Arc::new(Shared {
            listener: Mutex::new(Some(listener)),
            generations: Mutex::default(),
            threads: Mutex::default(),
            watch: Mutex::new(Some(watch)),
            alive: Mutex::new(Some(alive)),
            stopping: AtomicBool::new(false),
            exchanges: Arc::clone(endpoint.engine.connections()),
            endpoint,
        });
        shared.start_generation().map_err(fail)?;
        #[cfg(unix)]
        shared.watch_accept_loop(unwatched).map_err(fail)?;
        #[cfg(not(unix))]
        drop(unwatched);
        Ok(TinyFront {
            shared,
            address,
            left,
        })
    }
}

impl Front for TinyFront {
    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    /// Takes no new requests, waits until every exchange has ended, and frees the port.
    ///
    /// tiny_http cannot stop accepting and go on serving, so a drain leaves it running and lets the engine refuse new calls until then.
    fn finish(self: Box<Self>, deadline: Instant) -> usize {
        self.shared.stopping.store(true, Ordering::Release);
        *self.shared.watch.lock().expect(HELD) = None;
        *self.shared.alive.lock().expect(HELD) = None;
        *self.shared.listener.lock().expect(HELD) = None;
        for generation in self.shared.generations.lock().expect(HELD).iter() {
            generation.server.unblock();
        }
        let unfinished = match self.left.recv_deadline(deadline) {
            Err(RecvTimeoutError::Disconnected) => {
                for thread in self.shared.threads.lock().expect(HELD).drain(..) {
                    if thread.join().is_err() {
                        log::error!("an HTTP thread ended by panicking");
                    }
                }
                0
            }
            Err(RecvTimeoutError::Timeout) => self.shared.exchanges.load(Ordering::Relaxed).max(1),
        };
        // Dropping the last handle ends tiny_http's accept loop.
        self.shared.generations.lock().expect(HELD).clear();
        drop(self.shared);
        wait_for_free_port(self.address, Instant::now() + Duration::from_secs(1));
        unfinished
    }
}

/// tiny_http ends its accept thread in its own time and cannot be joined, so the port is watched instead.
fn wait_for_free_port(address: SocketAddr, deadline: Instant) {
    while TcpListener::bind(address).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

impl Shared {
    /// Starts an accept loop on the listener, with a first thread to wait for its requests.
    fn start_generation(self: &Arc<Self>) -> io::Result<()> {
        let listener = match &*self.listener.lock().expect(HELD) {
            Some(listener) => listener.try_clone()?,
            None => return Ok(()),
        };
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        let generation = Arc::new(Generation {
            server,
            waiting: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
        });
        self.follow(&generation)?;
        let mut generations = self.generations.lock().expect(HELD);
        generations.push(generation);
        if generations.len() > GENERATIONS_MAX {
            let oldest = generations.remove(0);
            oldest.retired.store(true, Ordering::Release);
            oldest.server.unblock();
        }
        Ok(())
    }

    /// Starts a thread that waits for requests of this generation.
    fn follow(self: &Arc<Self>, generation: &Arc<Generation>) -> io::Result<()> {
        let alive = match &*self.alive.lock().expect(HELD) {
            Some(alive) => alive.clone(),
            None => return Ok(()),
        };
        let shared = Arc::clone(self);
        let generation = Arc::clone(generation);
        let thread = thread::Builder::new()
            .name("mcp-http".into())
            .spawn(move || {
                shared.serve(&generation);
                drop((generation, shared));
                drop(alive);
            })?;
        let mut threads = self.threads.lock().expect(HELD);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    /// One thread's life: wait, make sure another one waits, serve, come back.
    fn serve(self: &Arc<Self>, generation: &Arc<Generation>) {
        loop {
            generation.waiting.fetch_add(1, Ordering::AcqRel);
            let received = generation.server.recv();
            let was_last = generation.waiting.fetch_sub(1, Ordering::AcqRel) == 1;
            if self.stopping.load(Ordering::Acquire) || generation.retired.load(Ordering::Acquire) {
                // Each wake-up reaches one thread; pass it on. What was received meanwhile is refused by the engine, but answered.
                generation.server.unblock();
                let mut received = received.ok();
                while let Some(request) = received {
                    self.answer(request);
                    received = generation.server.try_recv().ok().flatten();
                }
                return;
            }
            match received {
                Ok(request) => {
                    let has_successor = !was_last || self.start_successor(generation);
                    if has_successor {
                        self.answer(request);
                    } else {
                        refuse_busy(&self.endpoint, request);
                    }
                }
                Err(error) => {
                    if was_last {
                        self.start_successor(generation);
                    }
                    self.revive(&error);
                }
            }
            if generation.waiting.load(Ordering::Acquire) >= SPARE_THREADS {
                return;
            }
        }
    }

    fn start_successor(self: &Arc<Self>, generation: &Arc<Generation>) -> bool {
        if self.exchanges.load(Ordering::Relaxed) >= self.endpoint.limits.exchanges_max {
            return false;
        }
        let started = self.follow(generation);
        if let Err(error) = &started {
            log::warn!("cannot start another HTTP thread: {error}");
        }
        started.is_ok()
    }

    fn answer(&self, request: Request) {
        answer(&self.endpoint, request);
    }

    /// tiny_http's accept loop has ended, usually for want of descriptors. Waits until there are some, and starts it again.
    fn revive(self: &Arc<Self>, why: &dyn std::fmt::Display) {
        log::error!("accepting connections failed: {why}; trying again until it works");
        let mut pause = Duration::from_millis(5);
        while !self.stopping.load(Ordering::Acquire) {
            thread::sleep(pause);
            if descriptors_are_free() && self.start_generation().is_ok() {
                log::info!("accepting connections again");
                return;
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Starts the thread that notices when tiny_http's accept loop has died without a word, as it does when it cannot duplicate the
    /// descriptor of a connection. A loop that lives takes connections; one that leaves them lying for a second does not.
    #[cfg(unix)]
    fn watch_accept_loop(self: &Arc<Self>, unwatched: Receiver<Infallible>) -> io::Result<()> {
        const TURN: Duration = Duration::from_millis(250);
        const PATIENCE: u32 = 4;
        let alive = self.alive.lock().expect(HELD).clone();
        let shared = Arc::clone(self);
        let watch = move || {
            let mut waiting = 0;
            while unwatched.recv_timeout(TURN) == Err(RecvTimeoutError::Timeout) {
                waiting = if shared.connections_wait() {
                    waiting + 1
                } else {
                    0
                };
                if waiting >= PATIENCE {
                    shared.revive(&"nobody takes the connections that wait");
                    waiting = 0;
                }
            }
            drop(shared);
            drop(alive);
        };
        let thread = thread::Builder::new()
            .name("mcp-http-watch".into())
            .spawn(watch)?;
        self.threads.lock().expect(HELD).push(thread);
        Ok(())
    }

    /// Whether connections wait to be accepted.
    #[cfg(unix)]
    fn connections_wait(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let listener = self.listener.lock().expect(HELD);
        let Some(listener) = &*listener else {
            return false;
        };
        let mut watched = [PollFd::new(listener, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut watched, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }
}

/// Whether there are enough for the listener's clone, and for a connection and tiny_http's duplicate of it.
fn descriptors_are_free() -> bool {
    const NEEDED: usize = 4;
    let null = if cfg!(windows) { "NUL" } else { "/dev/null" };
    let opened: Result<Vec<_>, _> = (0..NEEDED).map(|_| File::open(null)).collect();
    opened.is_ok()
}

/// Serves one request to its end, on the caller's thread.
pub(crate) fn answer(endpoint: &Endpoint, request: Request) {
    let _counted = Counted::new(endpoint.engine.connections());
    let mut exchange = TinyExchange::new(request);
    endpoint.serve(&mut exchange);
}

/// One exchange under way, also if serving it panics.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(exchanges: &'a AtomicUsize) -> Self {
        exchanges.fetch_add(1, Ordering::Relaxed);
        Counted(exchanges)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers on the thread that is the last to wait. A body that is still coming has to be waited for first, as ever with tiny_http.
fn refuse_busy(endpoint: &Endpoint, request: Request) {
    let body =
        br#"{"jsonrpc":"2.0","error":{"code":503,"message":"Too many requests are under way; try again in a second"}}"#;
    let mut exchange = TinyExchange::new(request);
    let tag = match single(&exchange, "X-Request-Id") {
        Field::One(id) => RequestTag::from_client(Some(id)),
        _ => RequestTag::fresh(),
    };
    let fields = &[
        ("Content-Type", "application/json"),
        ("X-Request-Id", tag.as_str()),
        ("Retry-After", "1"),
    ];
    endpoint.ended(&tag, "-", Outcome::Refused, 503);
    if let Err(error) = exchange.respond(&Response {
        status: 503,
        fields,
        body,
    }) {
        log::debug!("the client has gone: {error}");
    }
}
