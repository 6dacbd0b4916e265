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
//! connections its own thread pool can leave some unanswered for seconds. An accept that fails is tried again until it works, but when the
//! last descriptor goes to the connection itself, tiny_http panics on cloning it and accepts nothing more, unnoticed. A malformed `Content-Length` counts as no body. Behind a proxy or on
//! loopback that may do; elsewhere use a front that can.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tiny_http::{HTTPVersion, Request};

use crate::access::{Access, Outcome, RequestTag};
use crate::error::Error;
use crate::transport::http::endpoint::Endpoint;
use crate::transport::http::exchange::{BodyError, Exchange, Field, Response, Serve, single};
use crate::transport::http::response::{
    Framing, date_now, write_chunk, write_head, write_last_chunk,
};

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
        let shared = Arc::new(Shared {
            listener: Mutex::new(Some(listener)),
            generations: Mutex::default(),
            threads: Mutex::default(),
            alive: Mutex::new(Some(alive)),
            stopping: AtomicBool::new(false),
            exchanges: Arc::clone(endpoint.engine.connections()),
            endpoint,
        });
        shared.start_generation().map_err(fail)?;
        Ok(TinyFront {
            shared,
            address,
            left,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new requests, waits until every exchange has ended, and frees the port. Says how many had not ended at the deadline.
    ///
    /// tiny_http cannot stop accepting and go on serving, so a drain leaves it running and lets the engine refuse new calls until then.
    pub(crate) fn stop(self, deadline: Instant) -> usize {
        self.shared.stopping.store(true, Ordering::Release);
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
                        refuse_busy(request);
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
        let _counted = Counted::new(&self.exchanges);
        let mut exchange = TinyExchange::new(request);
        self.endpoint.serve(&mut exchange);
    }

    /// tiny_http's accept loop has ended, usually for want of descriptors. Waits until there are some, and starts it again.
    fn revive(self: &Arc<Self>, error: &io::Error) {
        log::error!("accepting connections failed: {error}; trying again until it works");
        let mut pause = Duration::from_millis(5);
        while !self.stopping.load(Ordering::Acquire) {
            thread::sleep(pause);
            // One descriptor for the listener's clone and one for the connection it will accept.
            let spare = File::open("/dev/null").or_else(|error| {
                if cfg!(unix) {
                    Err(error)
                } else {
                    File::open("NUL")
                }
            });
            if spare.is_ok() && self.start_generation().is_ok() {
                log::info!("accepting connections again");
                return;
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
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
fn refuse_busy(request: Request) {
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
    Access::immediate(tag.clone(), "-", Outcome::Refused).log(Some(503));
    if let Err(error) = exchange.respond(&Response {
        status: 503,
        fields,
        body,
    }) {
        log::debug!("the client has gone: {error}");
    }
}

/// One request of tiny_http.
struct TinyExchange {
    /// `None` once the answer has begun.
    request: Option<Request>,
    method: String,
    /// An HTTP/1.0 client cannot be streamed to, because tiny_http may keep its connection open and so never ends the stream: what is
    /// to be streamed is held here and sent whole.
    held: Option<Vec<u8>>,
    /// How much of the body has been read.
    read: usize,
    writer: Option<Box<dyn Write + Send>>,
    close: bool,
}

/// When tiny_http lets go of a request whose body has not been read, it allocates a buffer for all that was declared and is missing. Beyond
/// this, in bytes, the request is not let go of: its connection leaks, but the process lives.
const MISSING_BYTES_MAX: usize = 64 * 1024 * 1024;

impl TinyExchange {
    fn new(request: Request) -> Self {
        let method = request.method().as_str().to_owned();
        let held = (*request.http_version() < HTTPVersion(1, 1)).then(Vec::new);
        TinyExchange {
            request: Some(request),
            method,
            held,
            read: 0,
            writer: None,
            close: false,
        }
    }

    /// The rest of the body, never beyond what was declared: after an `Upgrade` header tiny_http hands out the bare connection.
    fn rest(request: &mut Request, read: usize) -> impl Read {
        let declared = request
            .body_length()
            .map_or(u64::MAX, |length| length as u64);
        request
            .as_reader()
            .take(declared.saturating_sub(read as u64))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(request) = self.request.take() {
            self.writer = Some(into_writer(request, self.read)?);
        }
        let writer = self.writer.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        writer.write_all(bytes)?;
        writer.flush()
    }
}

/// tiny_http hands out the writer only for the whole request, and then waits for the rest of the body with one buffer of its declared size,
/// whatever that is. So the body is read to its end before, in small pieces.
fn into_writer(mut request: Request, mut read: usize) -> io::Result<Box<dyn Write + Send>> {
    let mut buffer = [0; 16 * 1024];
    let mut rest = TinyExchange::rest(&mut request, read);
    while let Ok(size @ 1..) = rest.read(&mut buffer) {
        read += size;
    }
    drop(rest);
    let missing = request.body_length().unwrap_or(0).saturating_sub(read);
    if missing > MISSING_BYTES_MAX {
        std::mem::forget(request);
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    Ok(request.into_writer())
}

impl Drop for TinyExchange {
    fn drop(&mut self) {
        if let Some(request) = self.request.take()
            && let Err(error) = into_writer(request, self.read)
        {
            log::debug!("a request that nobody answered: {error}");
        }
    }
}

impl Exchange for TinyExchange {
    fn method(&self) -> &str {
        &self.method
    }

    fn target(&self) -> &str {
        self.request.as_ref().map_or("", |request| request.url())
    }

    fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let headers = self
            .request
            .as_ref()
            .map_or(&[][..], |request| request.headers());
        let wanted = headers
            .iter()
            .filter(move |header| header.field.as_str().as_str().eq_ignore_ascii_case(name));
        wanted.map(|header| header.value.as_str().trim())
    }

    fn read_body(&mut self, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
        let Some(request) = &mut self.request else {
            return Err(BodyError::Gone);
        };
        let declared = request.body_length();
        if declared.is_some_and(|length| length > bytes_max) {
            return Err(BodyError::TooLarge);
        }
        let mut body = Vec::with_capacity(declared.unwrap_or(0));
        let most = u64::try_from(bytes_max)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let read = Self::rest(request, 0).take(most).read_to_end(&mut body);
        self.read = body.len();
        read.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => BodyError::TooSlow,
            _ => BodyError::Malformed("The body's framing is broken"),
        })?;
        match declared {
            _ if body.len() > bytes_max => Err(BodyError::TooLarge),
            Some(length) if body.len() < length => Err(BodyError::Gone),
            _ => Ok(body),
        }
    }

    fn respond(&mut self, response: &Response<'_>) -> io::Result<()> {
        let framing = match response.status {
            204 => Framing::None,
            _ => Framing::Length(response.body.len()),
        };
        let mut out = Vec::with_capacity(256 + response.body.len());
        write_head(
            &mut out,
            response.status,
            response.fields,
            framing,
            self.close,
            &date_now(),
        );
        if self.method != "HEAD" {
            out.extend_from_slice(response.body);
        }
        self.write(&out)
    }

    fn begin_stream(&mut self, fields: &[(&str, &str)]) -> io::Result<()> {
        if self.held.is_some() {
            return Ok(());
        }
        let mut all = vec![("Content-Type", "text/event-stream")];
        all.extend_from_slice(fields);
        let mut out = Vec::with_capacity(256);
        write_head(
            &mut out,
            200,
            &all,
            Framing::Chunked,
            self.close,
            &date_now(),
        );
        self.write(&out)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(held) = &mut self.held {
            held.extend_from_slice(bytes);
            return Ok(());
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        write_chunk(&mut out, bytes);
        self.write(&out)
    }

    fn finish(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(mut held) = self.held.take() {
            held.extend_from_slice(bytes);
            let fields = &[("Content-Type", "text/event-stream")];
            return self.respond(&Response {
                status: 200,
                fields,
                body: &held,
            });
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        write_chunk(&mut out, bytes);
        write_last_chunk(&mut out);
        self.write(&out)
    }

    fn client_left(&mut self) -> bool {
        false
    }

    fn close_after(&mut self) {
        self.close = true;
    }
}
