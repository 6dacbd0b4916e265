//! What a server has to know of a transport at work: where it is, and how to end it.
//!
//! Must not know which transports there are.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::engine::Engine;

/// A transport at work. A server has it in a box and not in an enum, so that a program carries the code of none but those it names.
pub(crate) trait Front: Send {
    /// Where it listens, if that is an IP address.
    fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// Every accepted call has ended: takes nothing more, and waits for no client. Said to all fronts before one is finished, for they share a deadline.
    fn stop(&mut self);

    /// After [`stop`](Self::stop): lets what is left be written until the deadline, and joins its threads.
    fn finish(self: Box<Self>, deadline: Instant) -> Unfinished;
}

/// What has not arrived whole when a front stops was never accepted, and may still do so for this long.
pub(crate) const HALF_REQUEST_GRACE: Duration = Duration::from_millis(400);

/// What a front could not bring to an end.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    /// Clients that had not taken everything by the deadline.
    pub(crate) connections: usize,
    /// Answers that could not be written, because writing failed.
    pub(crate) answers: usize,
    /// Why, if it was not that the client had left.
    pub(crate) failure: Option<io::Error>,
}

/// Where a front with a single client says that this client has ended, which ends the server too.
#[derive(Clone)]
pub(crate) struct ClientEnd {
    pub(crate) engine: Arc<Engine>,
    /// Asks the server to shut down.
    pub(crate) stop: Sender<()>,
    /// How many fronts the server has had.
    pub(crate) fronts: Arc<AtomicUsize>,
}

impl ClientEnd {
    /// The client sends nothing more. It may still read answers.
    pub(crate) fn ended(&self) {
        // Full means that it has been said already.
        let _already_said = self.stop.try_send(());
    }

    /// The client hears nothing more: unless there are others, nobody is left whose calls a drain would wait for.
    pub(crate) fn left(&self) {
        if self.fronts.load(Ordering::Acquire) == 1 {
            self.engine.cancel_all();
        }
        self.ended();
    }
}
