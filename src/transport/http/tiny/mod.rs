//! The front on tiny_http: a loop that gives each request a thread. It is for a program that runs tiny_http already, and for systems that have
//! nothing better.
//!
//! What tiny_http 0.12 cannot do, and this front therefore does not promise:
//!
//! - It has no bound on the length of a header line, no deadline for a slow head, a slow body or a slow reader, and no cap on connections.
//! - It cannot notice that a client has left before a write to it fails, which may take until the second heartbeat.
//! - A body is charged to the server's memory as it arrives, but one of which the rest never comes holds its charge for as long as its client likes.
//! - It reads a refused body to its end before it lets the refusal out, and above `exchanges_max` that holds up everybody. A refused body of
//!   more than 64 MiB is not read: its client hears nothing, and its connection costs a descriptor for good. A malformed `Content-Length` counts as
//!   no body.
//! - When descriptors run out its accept loop ends for good; the server then shuts down, if tiny_http says so.
//! - At the end it does not close idle connections; what is sent on one afterwards is not answered. `Connection: close` is left to the client to do.
//! - It takes in all that a client sends ahead of answers which it does not read: some thousands of requests on each of twenty connections kept everybody
//!   else waiting for half a minute and longer.
//! - To a head that is not ASCII it says nothing, and closes the connection. It answers any other malformed one itself, with an empty `400` and no request id.
//! - In a burst of connections its own thread pool can leave some unanswered until others end.
//!
//! Behind a proxy or on loopback that may do. Must not know MCP.

mod exchange;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tiny_http::Request;

use self::exchange::TinyExchange;
pub(crate) use self::exchange::target;
use crate::base::counted::Counted;
use crate::base::error::Error;
use crate::base::log;
use crate::base::log_rate::LogRate;
use crate::base::waiting::after;
use crate::transport::front::{ClientEnd, Front, HALF_REQUEST_GRACE, Unfinished};
use crate::transport::http::endpoint::Endpoint;
use crate::transport::http::exchange::Serve;
use crate::transport::http::refusal::HttpRefusal;

/// A running tiny_http server, and the thread `mcp-http` that takes its requests.
pub(crate) struct TinyFront {
    http: Arc<tiny_http::Server>,
    address: SocketAddr,
    /// Its own; those of other fronts are connections of the server, too.
    exchanges: Arc<AtomicUsize>,
    /// Those of them whose request has not arrived whole.
    halves: Arc<AtomicUsize>,
    taking: JoinHandle<()>,
    /// Disconnects once every thread has left.
    left: Receiver<Infallible>,
}

impl TinyFront {
    /// Serves on a bound listener.
    pub(crate) fn start(
        listener: TcpListener,
        endpoint: Endpoint,
        end: ClientEnd,
    ) -> Result<Self, Error> {
        let unusable = |source| Error::io("cannot use the listener", source);
        let address = listener.local_addr().map_err(unusable)?;
        // Accepted sockets inherit it: Nagle's algorithm would make a small answer wait for the acknowledgement of its predecessor.
        #[cfg(unix)]
        rustix::net::sockopt::set_tcp_nodelay(&listener, true)
            .map_err(|errno| unusable(errno.into()))?;
        let http = tiny_http::Server::from_listener(listener, None)
            .map_err(|source| unusable(std::io::Error::other(source)))?;
        let (http, endpoint) = (Arc::new(http), Arc::new(endpoint));
        let (alive, left) = bounded(0);
        let (exchanges, halves) = <(Arc<_>, Arc<_>)>::default();
        let (taken, open) = (Arc::clone(&http), [&exchanges, &halves].map(Arc::clone));
        let name = "mcp-http";
        let taking = thread::Builder::new().name(name.into()).spawn(move || {
            take(&taken, &endpoint, &open, &alive);
            end.ended();
        });
        Ok(TinyFront {
            http,
            address,
            exchanges,
            halves,
            taking: taking.map_err(|source| Error::spawn(name, source))?,
            left,
        })
    }
}

/// Gives each request a thread, until somebody unblocks the server or its accept loop has died.
fn take(
    http: &tiny_http::Server,
    endpoint: &Arc<Endpoint>,
    [exchanges, halves]: &[Arc<AtomicUsize>; 2],
    alive: &Sender<Infallible>,
) {
    let mut without_thread = LogRate::default();
    loop {
        let request = match http.recv() {
            Ok(request) => request,
            Err(_) if endpoint.engine.is_draining() => return,
            Err(error) => return log::error!("tiny_http accepts no more connections: {error}"),
        };
        if exchanges.load(Ordering::Relaxed) >= endpoint.limits.exchanges_max {
            let busy = HttpRefusal::busy("Too many requests are under way; try again in a second");
            let mut exchange = TinyExchange::new(request, endpoint.engine.bodies());
            if let Err(error) = endpoint.refuse(&mut exchange, &busy) {
                log::debug!("a client that was to be refused has gone: {error}");
            }
            continue;
        }
        let (endpoint, alive) = (Arc::clone(endpoint), alive.clone());
        let counted = [exchanges, endpoint.engine.connections()].map(Counted::one);
        let half = Some(Counted::one(halves));
        let serve = move || {
            let _until_the_end = (alive, counted);
            let mut exchange = TinyExchange::new(request, endpoint.engine.bodies());
            exchange.half = half;
            let _never_rests = endpoint.serve(&mut exchange);
        };
        // Without a thread the request is dropped, and so answered with 500.
        if let Err(error) = thread::Builder::new().name("mcp-http".into()).spawn(serve)
            && let Some(count) = without_thread.again()
        {
            log::error!("cannot start a thread for {count} request(s): {error}");
        }
    }
}

/// Serves one request to its end, on the caller's thread.
pub(crate) fn answer(endpoint: &Endpoint, request: Request) {
    let _counted = Counted::one(endpoint.engine.connections());
    let mut exchange = TinyExchange::new(request, endpoint.engine.bodies());
    let _never_rests = endpoint.serve(&mut exchange);
}

impl Front for TinyFront {
    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    fn stop(&mut self) {
        self.http.unblock();
    }

    /// Waits for every exchange to end, and frees the port.
    fn finish(self: Box<Self>, deadline: Instant) -> Unfinished {
        let mut until = after(HALF_REQUEST_GRACE).min(deadline);
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let everyone_left = loop {
            if self.left.recv_deadline(until) == Err(RecvTimeoutError::Disconnected) {
                break true;
            }
            let halves = count(&self.halves);
            let no_others = halves > 0 && halves == count(&self.exchanges);
            if until == deadline || (no_others && self.taking.is_finished()) {
                break false;
            }
            until = after(HALF_REQUEST_GRACE).min(deadline);
        };
        let unfinished = match everyone_left {
            true => 0,
            false => {
                let whole = count(&self.exchanges).saturating_sub(count(&self.halves));
                whole.max(usize::from(!self.taking.is_finished()))
            }
        };
        // Else the thread that takes requests may be refusing one whose body does not come, and is left behind.
        if everyone_left && self.taking.join().is_err() {
            log::error!("the thread that takes HTTP requests ended by panicking");
        }
        drop(self.http);
        // tiny_http ends its accept thread in its own time and cannot be joined, so the port is watched instead.
        let patience = Instant::now() + Duration::from_secs(1);
        while TcpListener::bind(self.address).is_err() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        Unfinished {
            connections: unfinished,
            ..Unfinished::default()
        }
    }
}
