//! [`RunningServer`]: a server at work, and its ordered end.
//!
//! The order of the end is written once, in [`RunningServer::shutdown`]: refuse new calls, let the lanes finish, cancel what is late, let the
//! answers be written, join. Must not know requests.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::base::deadline::after;
#[cfg(feature = "ctrlc")]
use crate::base::error::{Error, Result};
use crate::base::limits::Limits;
use crate::base::stats::Stats;
use crate::engine::Engine;
use crate::handler::context::Overview;
use crate::transport::front::Front;

/// A running server. Only [`shutdown`](Self::shutdown), [`join`](Self::join) and `run_until_ctrl_c` block.
///
/// When it is dropped, the server runs on until the process ends.
#[must_use = "the server runs until it is shut down; call `join`, `shutdown` or `run_until_ctrl_c`"]
pub struct RunningServer {
    pub(super) engine: Arc<Engine>,
    front: Box<dyn Front>,
    limits: Arc<Limits>,
    drain_deadline: Duration,
    stop: (Sender<()>, Receiver<()>),
}

/// A handle to a running server, for other threads: to look at it, to change its tools, to notify its clients, to stop it. Clones are cheap.
///
/// What it adds to the server may use the state `S`; see [`with_state`](Self::with_state).
pub struct ServerHandle<S = ()> {
    pub(super) engine: Arc<Engine>,
    pub(super) template: Arc<S>,
    pub(super) stop: Sender<()>,
}

/// What a shutdown had to leave behind; all zero when everything ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Handlers that ignored their cancellation. Their threads are left behind and end with the process.
    pub abandoned_handlers: usize,
    /// Connections (or the pipe) whose client did not read its answers in time.
    pub abandoned_connections: usize,
}

impl<S> Clone for ServerHandle<S> {
    fn clone(&self) -> Self {
        ServerHandle {
            engine: Arc::clone(&self.engine),
            template: Arc::clone(&self.template),
            stop: self.stop.clone(),
        }
    }
}

impl<S> fmt::Debug for ServerHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_tuple("ServerHandle").field(&stats).finish()
    }
}

impl<S> ServerHandle<S> {
    /// What the server is doing now.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Makes [`RunningServer::join`] and [`RunningServer::run_until_ctrl_c`] shut the server down. Returns at once.
    pub fn stop(&self) {
        // Full means that it has been said already.
        let _already_said = self.stop.try_send(());
    }
}

impl RunningServer {
    pub(crate) fn new(
        engine: Arc<Engine>,
        front: Box<dyn Front>,
        limits: Arc<Limits>,
        drain_deadline: Duration,
    ) -> Self {
        RunningServer {
            engine,
            front,
            limits,
            drain_deadline,
            stop: bounded(1),
        }
    }

    /// The address it listens on; `None` when that is not an IP address: a pipe or a Unix-domain socket.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.front.address()
    }

    /// What the server is doing now. Never waits.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// A handle for other threads.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            engine: Arc::clone(&self.engine),
            template: Arc::new(()),
            stop: self.stop.0.clone(),
        }
    }

    /// Shuts down and blocks until that is done: refuses new calls, lets the running ones finish for at most `deadline`, cancels the rest and waits
    /// [`Limits::cancel_grace`](crate::Limits::cancel_grace) for them, writes the answers, joins the threads. Afterwards the port is free.
    pub fn shutdown(self, deadline: Duration) -> DrainReport {
        let deadline = after(deadline);
        self.engine.begin_drain();
        self.front.stop_accepting();
        let abandoned_handlers = self.engine.drain(deadline, self.limits.cancel_grace);
        // Every answer is in its outbox by now; a client that reads gets it in this time.
        let grace = after(self.limits.cancel_grace);
        let written = if self.engine.is_hurried() {
            grace
        } else {
            grace.max(deadline)
        };
        DrainReport {
            abandoned_handlers,
            abandoned_connections: self.front.finish(written),
        }
    }

    /// Blocks until [`ServerHandle::stop`] is called or, on a pipe, until the client closes its side; then shuts down with the
    /// [`drain_deadline`](crate::Server::drain_deadline).
    pub fn join(self) -> DrainReport {
        self.wait(&crossbeam_channel::never());
        let deadline = self.drain_deadline;
        self.shutdown(deadline)
    }

    /// Blocks until SIGINT, SIGTERM or SIGHUP comes, or what ends [`join`](Self::join), then shuts down in the same way. A signal that comes during a
    /// shutdown, whatever began it, cancels every call at once.
    ///
    /// This is the only place where the library touches signals. The handler stays installed for the life of the process.
    ///
    /// # Errors
    ///
    /// When the process has a handler for these signals already. Then call [`ServerHandle::stop`] in that handler and [`join`](Self::join) here.
    #[cfg(feature = "ctrlc")]
    pub fn run_until_ctrl_c(self) -> Result<()> {
        let (sender, signals) = bounded(1);
        let engine = Arc::clone(&self.engine);
        ctrlc::set_handler(move || {
            let is_second = engine.is_draining();
            engine.begin_drain();
            if is_second {
                engine.cancel_all();
            } else if sender.try_send(()).is_err() {
                log::debug!("a signal after the server has ended");
            }
        })
        .map_err(|error| Error::signal(format!("cannot install the signal handler: {error}")))?;
        self.wait(&signals);
        log::info!("shutting down; a second signal cancels what still runs");
        let deadline = self.drain_deadline;
        let report = self.shutdown(deadline);
        log::info!("shut down: {report:?}");
        Ok(())
    }

    fn wait(&self, signals: &Receiver<()>) {
        let never = crossbeam_channel::never();
        select! {
            recv(self.stop.1) -> _ => {}
            recv(signals) -> _ => {}
            recv(self.front.ended().unwrap_or(&never)) -> _ => {}
        }
    }
}
