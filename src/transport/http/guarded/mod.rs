//! The guarded front: our own HTTP/1.1 on plain threads, below the [`Exchange`](super::exchange::Exchange) seam.
//!
//! One thread at a time owns a connection and its socket, one for many that rest; every wait has a deadline and every size a bound; what is ambiguous is
//! refused. It must not know MCP. In reading order, each knowing only those before it:
//!
//! - `head`, `scan`, `odd_bytes`, `body`: bytes to values, pure;
//! - `socket`, `bound`: the operating system, and the bell that wakes a connection's owner;
//! - `link`: how far a connection has got, for others to see;
//! - `registry`: which connections are open, and the threads they run on;
//! - `wire`: a peer's time on one socket;
//! - `intake`, `answer`: what was read and is to be written;
//! - `connection`: one connection's life, turn by turn;
//! - `readiness`, `reactor`: whose turn it is, and the thread it has it on;
//! - `listener`: where connections come from.

mod answer;
mod body;
mod bound;
mod connection;
mod head;
mod intake;
mod link;
mod listener;
mod odd_bytes;
mod reactor;
mod readiness;
mod registry;
mod scan;
mod socket;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use self::connection::Common;
use self::listener::Acceptor;
use self::registry::Connections;
use self::socket::Bell;
use super::exchange::Serve;
use crate::base::budget::Budget;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::transport::front::{Front, Unfinished};

pub(crate) use self::bound::Listener;

/// A running front. Dropping it without [`join`](GuardedFront::join) stops it and cuts every connection, and waits for its acceptor alone.
pub(crate) struct GuardedFront {
    address: Option<SocketAddr>,
    connections: Arc<Connections>,
    /// Wakes the acceptor.
    bell: Arc<Bell>,
    /// `None` once it has stopped.
    acceptor: Option<JoinHandle<()>>,
}

impl GuardedFront {
    /// Begins to accept, on a thread of its own. `serve` is called for every request. Long bodies are charged to `memory`. The number of open connections is added to `count`, those that are being refused not among them.
    ///
    /// # Errors
    ///
    /// The listener's address cannot be had, or there is no descriptor or thread for the acceptor or a reactor.
    pub(crate) fn start<S: Serve>(
        listener: Listener,
        serve: Arc<S>,
        limits: Arc<Limits>,
        memory: Arc<Budget>,
        count: Arc<AtomicUsize>,
    ) -> io::Result<GuardedFront> {
        let address = listener.address()?;
        listener.open()?;
        let connections = Arc::new(Connections::counted_in(count));
        let bell = Arc::new(Bell::new()?);
        let common = Arc::new(Common {
            connections: Arc::clone(&connections),
            limits: Arc::clone(&limits),
            memory,
            slips: Lock::default(),
        });
        let mut front = GuardedFront {
            address,
            connections: Arc::clone(&connections),
            bell: Arc::clone(&bell),
            acceptor: None,
        };
        let welcome = reactor::start(&serve, &common)?;
        let acceptor = Acceptor::new(listener, welcome, connections, limits, bell)?;
        let thread = thread::Builder::new().name("mcp-accept".to_owned());
        front.acceptor = Some(thread.spawn(move || acceptor.run())?);
        Ok(front)
    }

    /// Closes the listener; when this returns, its address is free. Connections that wait for a request are closed at once;
    /// one whose request has begun to arrive answers it with `Connection: close` and ends. Stopping twice does nothing more.
    pub(crate) fn stop_accepting(&mut self) {
        self.connections.announce_stop();
        self.bell.ring();
        if let Some(acceptor) = self.acceptor.take() {
            // It never waits for a peer, so this is short. A panic in it was reported there, and its end is what we want.
            let _ = acceptor.join();
        }
        self.connections.stop();
    }

    /// Stops, waits until `deadline` for every connection to end, shuts down those that have not, and joins every thread. How
    /// many were cut while a request of theirs was being read or answered.
    ///
    /// A thread inside [`Serve::serve`] cannot be interrupted, only told that its client has left: who calls this must see to it
    /// that what `serve` waits for ends too.
    pub(crate) fn join(mut self, deadline: Instant) -> usize {
        self.stop_accepting();
        self.connections.join(deadline)
    }
}

impl Front for GuardedFront {
    fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    fn stop(&mut self) {
        self.stop_accepting();
    }

    fn finish(self: Box<Self>, deadline: Instant) -> Unfinished {
        Unfinished {
            connections: self.join(deadline),
            ..Unfinished::default()
        }
    }
}

impl Drop for GuardedFront {
    fn drop(&mut self) {
        self.stop_accepting();
        self.connections.cut();
    }
}
