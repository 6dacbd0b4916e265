//! Ctrl-C and its kin, for programs that ask for it by name: [`RunningServer::run_until_ctrl_c`] and
//! [`wait_for_ctrl_c`](RunningServer::wait_for_ctrl_c).
//!
//! One watch a process, installed by the first who asks, tells each server that is at work. Must not know requests.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::base::error::{Error, Result};
use crate::base::lock::Lock;
use crate::base::log;
use crate::server::running::RunningServer;
use crate::server::shared::SharedServer;

/// The servers that are told. `None` until the watch is installed.
static WATCHED: Lock<Option<Vec<Weak<SharedServer>>>> = Lock::new(None);

/// Two interrupts within this time are meant for the server, not for its client.
const INSISTS_WITHIN: Duration = Duration::from_secs(2);

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// SIGINT: a person at the keyboard, whose terminal tells everything in the foreground.
    Interrupt,
    /// SIGTERM, SIGHUP.
    Terminate,
}

impl RunningServer {
    /// Blocks until SIGINT, SIGTERM or SIGHUP comes, or what ends [`join`](Self::join), then shuts down with the
    /// [`drain_deadline`](crate::Server::drain_deadline). A signal that comes during a shutdown, whatever began it, cancels every call at once.
    ///
    /// On stdio a first SIGINT is not the end, unless stdin is a terminal: a client and its servers share the foreground, so a Ctrl-C that is meant
    /// for the client reaches them too. A second one within two seconds is, and so are SIGTERM and the end of input. Those who want otherwise say
    /// [`interrupt_ends_stdio`](crate::Server::interrupt_ends_stdio).
    ///
    /// Here and in [`wait_for_ctrl_c`](Self::wait_for_ctrl_c), and nowhere else, the library touches signals. A signal that the process ignores when
    /// it is first called stays ignored (`nohup`, or `&` in a script), as far as that can be seen: on Linux. One that is blocked counts all the same. The handler stays installed for the life
    /// of the process; when no server is left, a signal does again what it does by default.
    ///
    /// # Errors
    ///
    /// When the process has a handler of its own for one of these signals (seen on Linux; on other Unix systems both are called). The server runs on:
    /// call [`ServerHandle::stop`](crate::ServerHandle::stop) in that handler and [`join`](Self::join) here. And, after the shutdown, when
    /// answers could not be written and that was not because the client had left, so that a full disk behind stdout shows in the exit code.
    pub fn run_until_ctrl_c(&self) -> Result<()> {
        self.wait_for_ctrl_c()?;
        log::info!("shutting down; a second signal cancels what still runs");
        self.shared.end(None);
        match self.shared.failure.lock().take() {
            Some(failure) => Err(Error::io("answers could not be written", failure)),
            None => Ok(()),
        }
    }

    /// The same, but it only waits, and leaves the server to [`shutdown`](Self::shutdown), with a deadline and a report of your own. The next signal
    /// cancels every call at once.
    ///
    /// ```no_run
    /// # let running = mcp_threads::Server::new("calculator", "1.0.0").serve_stdio()?;
    /// running.wait_for_ctrl_c()?;
    /// let report = running.shutdown(std::time::Duration::from_secs(60));
    /// assert_eq!(report.abandoned_handlers, 0);
    /// # Ok::<(), mcp_threads::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the process has a handler of its own for one of these signals, as [`run_until_ctrl_c`](Self::run_until_ctrl_c). The server runs on.
    pub fn wait_for_ctrl_c(&self) -> Result<()> {
        watch(&self.shared)?;
        self.shared.wait_until_stopped();
        Ok(())
    }
}

impl SharedServer {
    /// What a signal does to this server.
    fn signalled(&self, signal: Signal) {
        if signal == Signal::Interrupt && self.spares_interrupts.load(Ordering::Acquire) {
            let last = self.interrupted.lock().replace(Instant::now());
            let insists = last.is_some_and(|last| last.elapsed() < INSISTS_WITHIN);
            if !insists && !self.engine.is_draining() {
                log::info!(
                    "an interrupt is left to the client; a second one within two seconds ends the server"
                );
                return;
            }
        }
        let is_first = !self.was_signalled.swap(true, Ordering::AcqRel);
        if is_first && !self.engine.is_draining() {
            self.client_end.ended();
        } else {
            self.engine.cancel_all();
        }
    }
}

/// From now on this server is told.
fn watch(server: &Arc<SharedServer>) -> Result<()> {
    let mut watched = WATCHED.lock();
    if watched.is_none() {
        platform::install()?;
    }
    let servers = watched.get_or_insert_default();
    servers.retain(|other| other.strong_count() > 0);
    if !servers
        .iter()
        .any(|other| other.as_ptr() == Arc::as_ptr(server))
    {
        servers.push(Arc::downgrade(server));
    }
    Ok(())
}

/// Tells every server at work. False when there is none.
fn tell(signal: Signal) -> bool {
    let servers: Vec<_> = {
        let watched = WATCHED.lock();
        let servers = watched.iter().flatten().filter_map(Weak::upgrade);
        servers
            .filter(|server| server.report.get().is_none())
            .collect()
    };
    for server in &servers {
        server.signalled(signal);
    }
    !servers.is_empty()
}

#[cfg(unix)]
mod platform {
    use std::fs;
    use std::thread;

    use nix::sys::signal::SigSet;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    use super::{Signal, tell};
    use crate::base::error::{Error, Result};
    use crate::base::log;

    /// Starts the thread that waits for signals.
    pub(super) fn install() -> Result<()> {
        let [ignored, caught] = ["SigIgn", "SigCgt"].map(dispositions);
        let mut ours = Vec::new();
        for (signal, name) in [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP")] {
            let bit = 1 << (signal - 1);
            if caught & bit != 0 {
                return Err(Error::signal(format!(
                    "the process has a handler for {name} already"
                )));
            }
            if ignored & bit == 0 {
                ours.push(signal);
            }
        }
        let mut signals = Signals::new(&ours).map_err(|error| {
            Error::signal(format!("cannot install the signal handler: {error}"))
        })?;
        let name = "mcp-signals";
        thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                unblock(&ours);
                for came in signals.forever() {
                    let signal = match came {
                        SIGINT => Signal::Interrupt,
                        _ => Signal::Terminate,
                    };
                    if !tell(signal) {
                        // Nobody is left who would end for it; for these signals this does not fail.
                        let _ = emulate_default_handler(came);
                    }
                }
            })
            .map_err(|source| Error::spawn(name, source))?;
        Ok(())
    }

    /// A launcher that has blocked them for a moment may start a server in it, which then only `SIGKILL` would end.
    fn unblock(signals: &[i32]) {
        let mut set = SigSet::empty();
        set.extend(signals.iter().flat_map(|&signal| signal.try_into()));
        if let Err(errno) = set.thread_unblock() {
            log::warn!("signals that were blocked at the start stay blocked: {errno}");
        }
    }

    /// One of the process's sets of signals, a bit for each; empty where that cannot be seen without `unsafe`.
    fn dispositions(set: &str) -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bits = status
            .lines()
            .find_map(|line| line.strip_prefix(set)?.strip_prefix(':'));
        bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
            .unwrap_or(0)
    }
}

#[cfg(not(unix))]
mod platform {
    use super::{Signal, tell};
    use crate::base::error::{Error, Result};

    /// Starts the thread that waits for Ctrl-C.
    pub(super) fn install() -> Result<()> {
        ctrlc::try_set_handler(|| {
            if !tell(Signal::Interrupt) {
                std::process::exit(130);
            }
        })
        .map_err(|error| Error::signal(format!("cannot install the signal handler: {error}")))
    }
}
