//! Accepts connections until it is told to stop, and says no to those that there is no room for.
//!
//! Never blocked by a peer: a refusal is one write that does not block, and the refused connection is kept open for a moment
//! without a thread, so that its client can read why. For connections that are to make room it waits a moment. Must not know HTTP beyond that one answer.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::Shutdown;

use super::reactor::Welcome;
use super::registry::Connections;
use super::socket::{Bell, Socket, Wait, poll_timeout};
use crate::base::limits::Limits;
use crate::base::log;
use crate::base::log_rate::LogRate;
use crate::base::waiting::after;
use crate::transport::http::refusal::{HttpRefusal, JSON};
use crate::transport::http::response::{Framing, write_head};

/// The waits after accepting has failed: doubled with every further failure, so that neither a short want nor a long one costs much.
const RETRY_MIN: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Refused connections that are kept open for their clients to read why, each for a descriptor and no thread. Beyond it the oldest is closed.
pub(super) const REFUSED_MAX: usize = 64;

/// Where connections come from. There is one outside of tests.
pub(super) trait Accept: AsFd {
    /// The next connection that waits; `WouldBlock` if none does.
    fn accept(&self) -> io::Result<Socket>;
}

/// The thread that accepts. Dropping it closes the listener.
pub(super) struct Acceptor<A> {
    listener: A,
    welcome: Welcome,
    connections: Arc<Connections>,
    limits: Arc<Limits>,
    /// Rung when there is something to look at besides the listener: the front stops.
    bell: Arc<Bell>,
    /// Given up when descriptors run out, so that one more client can be told.
    reserve: Option<File>,
    refused: Lingering,
    retry: Backoff,
}

impl<A: Accept> Acceptor<A> {
    pub(super) fn new(
        listener: A,
        welcome: Welcome,
        connections: Arc<Connections>,
        limits: Arc<Limits>,
        bell: Arc<Bell>,
    ) -> io::Result<Self> {
        Ok(Acceptor {
            reserve: Some(open_reserve()?),
            refused: Lingering::default(),
            retry: Backoff::default(),
            listener,
            welcome,
            connections,
            limits,
            bell,
        })
    }

    /// Accepts until the front stops.
    pub(super) fn run(mut self) {
        while !self.connections.is_stopping() {
            match self.listener.accept() {
                Ok(socket) => {
                    self.retry.succeeded();
                    self.welcome(socket);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for_connection()
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => self.recover(&error),
            }
        }
    }

    fn welcome(&mut self, socket: Socket) {
        let most = self.limits.connections_max;
        match self.connections.admit(socket, most) {
            Ok((link, leave)) => (self.welcome)(link, leave),
            Err(socket) => {
                let why = "all that may be are open and at work".to_owned();
                self.refused.refuse(socket, self.limits.refused_linger, why);
            }
        }
    }

    /// Accepting failed, most likely for want of descriptors. A client that waits is told with the descriptor kept in reserve; if not even
    /// that helps, we wait, because an error that stays would otherwise make this loop spin.
    fn recover(&mut self, error: &io::Error) {
        self.refused.clear(); // they hold descriptors
        self.reserve = None;
        match self.listener.accept() {
            Ok(socket) => {
                self.retry.failing(error);
                self.refused.count(error.to_string());
                say_no(&socket);
                close_refused(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The last descriptor is in use and nobody waits for one: no failure yet.
                self.reserve = open_reserve().ok();
                self.wait_for_connection();
                return;
            }
            Err(_) => {
                let pause = self.retry.failed(error);
                self.wait(false, Some(pause));
            }
        }
        self.reserve = open_reserve().ok();
    }

    fn wait_for_connection(&mut self) {
        let until = self.refused.close_expired();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        self.wait(true, left);
    }

    /// Waits to be woken, for a connection if asked to, or until the time is over.
    fn wait(&self, for_connection: bool, time: Option<Duration>) {
        let timeout = poll_timeout(time);
        let mut polled = [
            PollFd::new(&self.bell, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        let count = if for_connection { 2 } else { 1 };
        // Interrupted or out of memory: the caller looks again.
        let _ = poll(&mut polled[..count], timeout.as_ref());
        if !polled[0].revents().is_empty() {
            self.bell.hush();
        }
    }
}

/// How long to wait after a failure, and whether it has been logged.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    rate: LogRate,
    logged: bool,
}

impl Backoff {
    /// Logged once until it works again, and at most once a second however often that changes.
    fn failing(&mut self, error: &io::Error) {
        if !self.logged && self.rate.again().is_some() {
            self.logged = true;
            log::error!("cannot accept connections, will keep trying: {error}");
        }
    }

    fn failed(&mut self, error: &io::Error) -> Duration {
        self.failing(error);
        let pause = RETRY_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        pause.min(RETRY_MAX)
    }

    fn succeeded(&mut self) {
        if std::mem::take(&mut self.logged) {
            log::info!("accepting connections again");
        }
        self.failures = 0;
    }
}

/// Connections that were refused and are kept open until their clients have read it.
#[derive(Default)]
struct Lingering {
    /// Oldest first, each with the time of its end.
    waiting: VecDeque<(Socket, Instant)>,
    rate: LogRate,
    /// The last one's reason.
    why: String,
}

impl Lingering {
    fn refuse(&mut self, socket: Socket, linger: Duration, why: String) {
        say_no(&socket);
        self.count(why);
        self.waiting.push_back((socket, after(linger)));
        while self.waiting.len() > REFUSED_MAX {
            self.close_oldest();
        }
    }

    fn count(&mut self, why: String) {
        self.why = why;
        let count = self.rate.again();
        self.tell(count);
    }

    fn tell(&self, count: Option<u64>) {
        if let Some(count) = count {
            log::warn!("refused {count} connection(s) with 503: {}", self.why);
        }
    }

    /// Closes those whose time is over, and tells how many were refused, if that is due. When there is something to do next.
    fn close_expired(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while self.waiting.front().is_some_and(|(_, end)| *end <= now) {
            self.close_oldest();
        }
        let rest = self.rate.rest();
        self.tell(rest);
        let end = self.waiting.front().map(|(_, end)| *end);
        end.into_iter().chain(self.rate.due()).min()
    }

    fn clear(&mut self) {
        while !self.waiting.is_empty() {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        if let Some((socket, _)) = self.waiting.pop_front() {
            close_refused(socket);
        }
    }
}

/// One write that does not block: a new connection has room for so little, and one that has not is no client. For a web page it has no CORS fields: whose page
/// it is stands in a head, which nobody waits for here, and `*` would tell every page of the web that there is a server.
fn say_no(socket: &Socket) {
    let refusal =
        HttpRefusal::busy("The server has no room for another connection; try again later");
    let body = refusal.body();
    let fields: Vec<_> = refusal.fields().chain([JSON]).collect();
    let framing = Framing::Length(body.len());
    let mut answer = Vec::with_capacity(512);
    write_head(&mut answer, refusal.status, &fields, framing, true);
    answer.extend_from_slice(&body);
    let _ = socket.send_now(&[IoSlice::new(&answer)]);
    socket.shutdown(Shutdown::Write);
}

/// Closing with bytes unread would send a reset that destroys the refusal, so what has arrived is read, up to a bound.
fn close_refused(socket: Socket) {
    let mut dropped = [0_u8; 4096];
    for _ in 0..16 {
        if !socket
            .read(&mut dropped, Wait::Never)
            .is_ok_and(|count| count > 0)
        {
            break;
        }
    }
}

fn open_reserve() -> io::Result<File> {
    File::open("/dev/null")
}

/// The connection was gone before it was accepted; the next one may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}
