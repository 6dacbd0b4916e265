//! [`RunningServer`]: a server at work. Its fronts are opened here, and it is waited for here; how it ends stands in `shared`.
//!
//! Must not know requests.

use std::fmt;
use std::io::{self, IsTerminal, Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::base::error::{Error, Result};
use crate::base::log;
use crate::base::panics;
use crate::base::stats::Stats;
use crate::engine::Engine;
use crate::server::shared::{DrainReport, SharedServer};
use crate::transport::front::Front;
use crate::transport::pipe::{Ears, PipeFront};
use crate::transport::stdio;

/// A running server. It serves what its `serve_..` methods have opened: HTTP and stdio, or several addresses, at once.
///
/// Only [`shutdown`](Self::shutdown), [`join`](Self::join), `wait_for_ctrl_c`, `run_until_ctrl_c` and dropping it block. Dropping it shuts it down as
/// `shutdown` does with the [`drain_deadline`](crate::Server::drain_deadline); on a worker of a server, which cannot wait for itself, that happens on a
/// thread of its own. [`detach`](Self::detach) lets it run on.
///
/// What handlers have captured, and the state, is dropped with the last of the server, its handles and the calls that have not returned, by the thread that
/// lets go of it, which may be one that serves. Nothing bounds how long a destructor takes there, so let it wait for nobody.
///
/// ```
/// # #[cfg(feature = "http")] {
/// use mcp_threads::Server;
///
/// # let (input, _client) = std::io::pipe()?;
/// # let output = std::io::sink();
/// let running = Server::new("both", "1.0.0").start()?;
/// running.serve_http("127.0.0.1:0")?.serve_pipe(input, output)?; // or `serve_stdio()`
/// println!("listening on {}", running.url().expect("it serves HTTP"));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a server that is dropped shuts down; call `run_until_ctrl_c`, `join`, `shutdown` or `detach`"]
pub struct RunningServer {
    pub(super) shared: Arc<SharedServer>,
}

impl fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_tuple("RunningServer").field(&stats).finish()
    }
}

/// A handle to a running server, for other threads: to look at it, to change its tools, to notify its clients, to stop it. Clones are cheap.
///
/// What it adds to the server may use the state `S`; see [`with_state`](Self::with_state).
pub struct ServerHandle<S = ()> {
    pub(super) engine: Arc<Engine>,
    pub(super) template: Arc<S>,
    pub(super) stop: Sender<()>,
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
        self.engine.shared.stats()
    }

    /// Makes [`RunningServer::join`] and [`RunningServer::run_until_ctrl_c`] shut the server down. Returns at once.
    pub fn stop(&self) {
        // Full means that it has been said already.
        let _already_said = self.stop.try_send(());
    }
}

impl RunningServer {
    /// Opens a front, unless the server has ended.
    pub(super) fn open(
        &self,
        open: impl FnOnce(&SharedServer) -> Result<Box<dyn Front>>,
    ) -> Result<&Self> {
        // Held while it opens, so that a shutdown meets it either not at all or at work.
        let mut fronts = self.shared.fronts.lock();
        let Some(fronts) = &mut *fronts else {
            return Err(Error::configuration("the server has been shut down"));
        };
        let count = &self.shared.client_end.fronts;
        // Before it opens, for its client may leave at once.
        count.store(fronts.len() + 1, Ordering::Release);
        let opened = open(&self.shared).map(|front| fronts.push(front));
        count.store(fronts.len(), Ordering::Release);
        opened.map(|()| self)
    }

    /// Serves on the process's stdin and stdout, too, and returns at once. When the client closes stdin, [`join`](Self::join) and
    /// [`run_until_ctrl_c`](Self::run_until_ctrl_c) shut the server down, whatever else it serves: a program on stdio belongs to the client that
    /// started it.
    ///
    /// From then on the process reads an empty stdin, and what it or its children print to stdout goes to stderr: a `println!` cannot corrupt the
    /// protocol, and what nobody reads there is dropped and never waited for. **On systems that are not Unix** stdin and stdout stay what they are,
    /// so print nothing there. Specification: `basic/transports/stdio`.
    ///
    /// # Errors
    ///
    /// When stdin and stdout cannot be taken over, when a thread cannot be started, and after a shutdown.
    pub fn serve_stdio(&self) -> Result<&Self> {
        self.open(|shared| {
            let is_terminal = io::stdin().is_terminal();
            let taken = stdio::take();
            let stdio =
                taken.map_err(|error| Error::io("cannot take over stdin and stdout", error))?;
            let spares = !is_terminal && !shared.serving.interrupt_ends_stdio;
            shared.spares_interrupts.store(spares, Ordering::Release);
            open_pipe(shared, stdio.read, stdio.write, stdio.ears)
        })
    }

    /// Serves on any pair of byte streams, too, one JSON message a line: a socket, a pipe, a serial line. Returns at once. The end of `read` ends the
    /// server as that of stdin does.
    ///
    /// `read` must reach its end when the conversation ends, because a shutdown cannot interrupt it; if it does not, its thread is left behind.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, and after a shutdown.
    pub fn serve_pipe(
        &self,
        read: impl Read + Send + 'static,
        write: impl Write + Send + 'static,
    ) -> Result<&Self> {
        self.open(|shared| open_pipe(shared, read, write, None))
    }

    /// The address it listens on, the first if there are several; `None` when it listens on none: a pipe or a Unix-domain socket.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addrs().first().copied()
    }

    /// The addresses it listens on, in the order in which they were opened. None after a shutdown.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        let fronts = self.shared.fronts.lock();
        let fronts = fronts.iter().flatten();
        fronts.filter_map(|front| front.address()).collect()
    }

    /// What the server is doing now. Never waits.
    pub fn stats(&self) -> Stats {
        self.shared.engine.shared.stats()
    }

    /// A handle for other threads.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            engine: Arc::clone(&self.shared.engine),
            template: Arc::new(()),
            stop: self.shared.client_end.stop.clone(),
        }
    }

    /// Shuts down and blocks until that is done: refuses new calls, lets the running ones finish for at most `deadline`, cancels the rest and waits
    /// [`Limits::cancel_grace`](crate::Limits::cancel_grace) for them, writes the answers, joins the threads. Afterwards the port is free. Once it
    /// has been shut down, by `run_until_ctrl_c` for example, this returns the report of that.
    pub fn shutdown(self, deadline: Duration) -> DrainReport {
        self.shared.end(Some(deadline))
    }

    /// Blocks until [`ServerHandle::stop`] is called or, on a pipe, until the client closes its side; then shuts down with the
    /// [`drain_deadline`](crate::Server::drain_deadline).
    pub fn join(self) -> DrainReport {
        self.shared.wait_until_stopped();
        self.shared.end(None)
    }

    /// Lets the server run on until the process ends. Nothing can shut it down any more; its [`handle`](Self::handle) can still look at it and
    /// change its tools.
    pub fn detach(self) {
        mem::forget(self);
    }
}

fn open_pipe(
    shared: &SharedServer,
    read: impl Read + Send + 'static,
    write: impl Write + Send + 'static,
    ears: Option<Ears>,
) -> Result<Box<dyn Front>> {
    let client = shared.client_end.clone();
    let front = PipeFront::start(read, write, ears, client, shared.limits())?;
    Ok(Box::new(front))
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if self.shared.report.get().is_some() {
            return;
        }
        if !panics::is_catching() {
            self.shared.end(None);
            return;
        }
        // On a worker: a thread cannot wait for itself.
        let shared = Arc::clone(&self.shared);
        let ending = thread::Builder::new()
            .name("mcp-end".into())
            .spawn(move || shared.end(None));
        if let Err(error) = ending {
            log::error!(
                "cannot start a thread to end the server, which refuses calls from now on: {error}"
            );
            self.shared.engine.begin_drain();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::errands::dropping;
    use crate::server::builder::Server;

    #[test]
    fn what_nobody_could_begin_before_the_end_does_not_keep_the_server() {
        let running = Server::new("it", "1").start().expect("it can start");
        running.shared.end(Some(Duration::ZERO));
        let shared = Arc::clone(&running.shared.engine.shared);
        let errands = Arc::clone(&shared.desk.errands);
        let kept = Arc::downgrade(&shared);
        // As where no thread could be started for it.
        errands.bring([dropping(shared)]);
        drop((running, errands));
        while kept.strong_count() > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn law_12_a_client_that_leaves_while_its_pipe_starts_leaves_no_call_behind() {
        let running = Server::new("it", "1").start().expect("it can start");
        let opened = running.open(|shared| {
            shared.client_end.left();
            open_pipe(shared, io::empty(), io::sink(), None)
        });
        assert!(opened.is_ok());
        assert!(
            running.shared.engine.shared.hurry.is_cancelled(),
            "nobody is left"
        );
    }
}
