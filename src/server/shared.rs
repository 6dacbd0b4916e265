//! What a running server shares with all who may end it, and its ordered end, written once: for `shutdown`, a signal, the end of a pipe, a drop.
//!
//! Must not know requests, or which fronts there are.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::stderr;
use crate::base::waiting::after;
use crate::engine::Engine;
use crate::transport::front::{ClientEnd, Front};

/// What the fronts have to know, and the end of the server.
#[derive(Default)]
pub(super) struct Serving {
    pub(super) drain_deadline: Option<Duration>,
    pub(super) interrupt_ends_stdio: bool,
    #[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
    pub(super) http: crate::server::http_settings::HttpSettings,
}

/// What a shutdown had to leave behind; all zero when everything ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Handlers that ignored their cancellation. Their threads are left behind and end with the process.
    pub abandoned_handlers: usize,
    /// Connections (or the pipe) whose client did not read its answers in time.
    pub abandoned_connections: usize,
    /// Answers that could not be written, because writing failed: the client had left, or stdout is a file on a full disk.
    pub lost_answers: usize,
    /// Ends of background jobs that their store, which hangs, has not taken, and calls of `job_status` that wait for it.
    pub unstored_jobs: usize,
}

/// A running server, as it is known to all who may end it.
pub(super) struct SharedServer {
    pub(super) engine: Arc<Engine>,
    pub(super) serving: Serving,
    /// `None` once the server ends.
    pub(super) fronts: Lock<Option<Vec<Box<dyn Front>>>>,
    /// Given to those fronts whose client ends the server.
    pub(super) client_end: ClientEnd,
    /// Says that the server is to shut down.
    pub(super) stopped: Receiver<()>,
    /// Set by the shutdown, of which there is one.
    pub(super) report: OnceLock<DrainReport>,
    /// What kept answers from being written, for the exit code.
    pub(super) failure: Lock<Option<io::Error>>,
    /// Whether a first interrupt is meant for the client and not for the server.
    pub(super) spares_interrupts: AtomicBool,
    /// When the last interrupt came.
    #[cfg(feature = "ctrlc")]
    pub(super) interrupted: Lock<Option<Instant>>,
    /// Whether a signal has asked for the end.
    #[cfg(feature = "ctrlc")]
    pub(super) was_signalled: AtomicBool,
}

const DRAIN_DEADLINE: Duration = Duration::from_secs(8);

/// Of all that is left to be done when the last call has ended or is given up: killing, writing, telling the log. So an end takes no longer than the deadline,
/// the grace of what is cancelled, and this.
const LAST_THINGS: Duration = Duration::from_secs(1);

/// What of it is the log's.
const TELLING: Duration = Duration::from_millis(250);

impl SharedServer {
    pub(super) fn new(engine: Arc<Engine>, serving: Serving) -> Self {
        let (stop, stopped) = bounded(1);
        SharedServer {
            client_end: ClientEnd {
                engine: Arc::clone(&engine),
                stop,
                fronts: Arc::new(AtomicUsize::new(0)),
            },
            engine,
            serving,
            fronts: Lock::new(Some(Vec::new())),
            stopped,
            report: OnceLock::new(),
            failure: Lock::default(),
            spares_interrupts: AtomicBool::new(false),
            #[cfg(feature = "ctrlc")]
            interrupted: Lock::default(),
            #[cfg(feature = "ctrlc")]
            was_signalled: AtomicBool::new(false),
        }
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.engine.shared.limits
    }

    /// Waits until somebody asks for the end, and leaves the word for all others who wait, now or later.
    pub(super) fn wait_until_stopped(&self) {
        // It fails only without a sender, and the server holds one.
        let _stopped = self.stopped.recv();
        let _is_full = self.client_end.stop.try_send(());
    }

    /// Ends the server, or waits for the thread that ends it already. Calls have this long to finish, or what was said when it was built.
    pub(super) fn end(&self, patience: Option<Duration>) -> DrainReport {
        let patience = patience.or(self.serving.drain_deadline);
        let patience = patience.unwrap_or(DRAIN_DEADLINE);
        *self.report.get_or_init(|| {
            let whole = patience.saturating_add(self.limits().cancel_grace);
            let mut end = after(whole.saturating_add(LAST_THINGS));
            let report = self.end_in_order(after(patience), end);
            log::info!("shut down: {report:?}");
            end = end.min(after(LAST_THINGS));
            log::settle(end);
            stderr::settle(end);
            report
        })
    }

    /// Ends calls and fronts: nothing of it takes longer than until `end`, and something is left of that for the log.
    fn end_in_order(&self, deadline: Instant, end: Instant) -> DrainReport {
        // From now on nothing new is let in: no call by the engine, no front by the server.
        self.engine.begin_drain();
        let mut fronts = self.fronts.lock().take().unwrap_or_default();
        // All ears stay open until the last accepted call has ended; what outlives the deadline is cancelled.
        let grace = self.limits().cancel_grace;
        let (abandoned_handlers, unstored_jobs) = self.engine.drain(deadline, grace);
        // Every answer is in its outbox by now; a client that reads gets it in this time.
        let written = match self.engine.shared.hurry.is_cancelled() {
            true => after(grace),
            false => after(grace).max(deadline),
        };
        let written = written.min(end.checked_sub(TELLING).unwrap_or(end));
        let mut report = DrainReport {
            abandoned_handlers,
            abandoned_connections: 0,
            lost_answers: 0,
            unstored_jobs,
        };
        fronts.iter_mut().for_each(|front| front.stop());
        for front in fronts {
            let unfinished = front.finish(written);
            report.abandoned_connections += unfinished.connections;
            report.lost_answers += unfinished.answers;
            if let Some(failure) = unfinished.failure {
                *self.failure.lock() = Some(failure);
            }
        }
        report
    }
}
