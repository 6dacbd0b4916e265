//! What the thread of an exchange waits for: the next item of its outbox, a client that leaves, a silence that is too long.
//!
//! Must not know what is written, or in which form.

use std::io;
use std::time::{Duration, Instant};

use crate::base::limits::Limits;
use crate::base::waiting::{after, look_and_yield};
use crate::outbox::{Item, OutboxReceiver, Pending, Rings, ShortWay, Wake};
use crate::transport::http::exchange::{Exchange, Heard, Heeds};

/// What comes out of an outbox, with what its silence means.
pub(in crate::transport::http) struct Incoming<'a> {
    pub(super) limits: &'a Limits,
    pub(super) receiver: OutboxReceiver,
    /// Whether a client that leaves ends this.
    watches: bool,
    /// What is heeded of the client: of what has been seen already nothing more.
    heeds: Heeds,
    /// An answer that goes the short way may find its client's next word waking this thread, which is how it costs one wake-up.
    sleeps_on: bool,
    /// When something must be said, so that the client sees that the call lives.
    speak_at: Instant,
}

/// How often a client that may leave is looked for where there is no descriptor left to hear of it by.
const LOOK: Duration = Duration::from_millis(100);

/// What there is to do next.
pub(super) enum Next {
    Item(Item),
    /// Nothing waits any more: what has been gathered can leave.
    Idle,
    /// It has been silent for too long.
    Silent,
}

/// What ends a wait, if another look at the outbox finds nothing.
#[derive(Clone, Copy)]
enum Over {
    Silence,
    Departure,
}

impl<'a> Incoming<'a> {
    pub(in crate::transport::http) fn new(limits: &'a Limits, receiver: OutboxReceiver) -> Self {
        Incoming {
            limits,
            receiver,
            watches: false,
            heeds: Heeds::Nothing,
            sleeps_on: false,
            speak_at: after(limits.stream_after),
        }
    }

    /// A client that leaves ends this, from now on.
    pub(super) fn watch(&mut self) {
        self.watches = true;
        if self.heeds == Heeds::Nothing {
            self.heeds = Heeds::End;
        }
    }

    /// Lets the answer leave by a short way, as long as it is waited for here. Not if it is there already.
    pub(super) fn offer(&mut self, short_way: impl FnOnce() -> Option<ShortWay>) {
        if self.receiver.open_short_way(short_way) {
            self.heeds = Heeds::Bytes;
            self.sleeps_on = true;
        }
    }

    /// From now on everything is written here.
    pub(super) fn take_back(&mut self) {
        self.receiver.set_short_way(None);
        self.sleeps_on = false;
    }

    /// Something has been said.
    pub(super) fn spoke(&mut self) {
        self.speak_at = after(self.limits.heartbeat_interval);
    }

    /// Waits for the next thing to do; not at all if something has been gathered, so that events which come together leave in one write.
    pub(super) fn next<E: Exchange>(
        &mut self,
        exchange: &mut E,
        has_gathered: bool,
    ) -> io::Result<Next> {
        if has_gathered {
            return Ok(self.gather());
        }
        match exchange.bell() {
            Some(wake) => self.hear(exchange, &wake),
            None => self.look(exchange),
        }
    }

    /// What is there already, or comes while others run for a moment.
    fn gather(&self) -> Next {
        let come = || match self.receiver.recv(Some(Instant::now())) {
            Item::TimedOut => None,
            item => Some(Next::Item(item)),
        };
        look_and_yield(come).unwrap_or(Next::Idle)
    }

    /// Waits for the outbox and for the client in one place.
    fn hear<E: Exchange>(&mut self, exchange: &mut E, wake: &Wake) -> io::Result<Next> {
        let mut over = None;
        loop {
            let now = Instant::now();
            if now >= self.speak_at {
                over.get_or_insert(Over::Silence);
            }
            let rings = match over {
                Some(_) => Rings::Never,
                None if self.sleeps_on => Rings::ForItems,
                None => Rings::ForSent,
            };
            let heard = match (self.receiver.try_recv(wake, rings), over) {
                (Ok(item), _) => return Ok(Next::Item(item)),
                (Err(Pending::Sending), _) => exchange.wait(Heeds::Nothing, None),
                (Err(Pending::Nothing), Some(Over::Silence)) => return Ok(Next::Silent),
                (Err(Pending::Nothing), Some(Over::Departure)) => {
                    let _known = exchange.client_left();
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                (Err(Pending::Nothing), None) => {
                    let mut time = self.speak_at - now;
                    if self.sleeps_on {
                        // It may be idle by then, and keeps nothing while it is.
                        time = time.min(self.limits.buffer_idle_timeout);
                    }
                    exchange.wait(self.heeds, Some(time))
                }
            };
            if heard == Heard::Bytes
                && self.sleeps_on
                && let Some(item) = self.let_worker_finish(wake)
            {
                return Ok(Next::Item(item));
            }
            // Judged only after another look at the outbox: a client that has been answered may leave.
            match heard {
                Heard::Bell => continue,
                Heard::Silence => {}
                Heard::End if self.watches => over = Some(Over::Departure),
                Heard::Bytes if self.watches => self.heeds = Heeds::End,
                Heard::End | Heard::Bytes => self.heeds = Heeds::Nothing,
            }
            self.sleeps_on = false;
        }
    }

    /// A client can be quicker with its next request than the worker with noting that its answer has left: that is no reason to sleep once more.
    fn let_worker_finish(&self, wake: &Wake) -> Option<Item> {
        look_and_yield(|| (!self.receiver.is_sending()).then_some(()))?;
        self.receiver.try_recv(wake, Rings::Never).ok()
    }

    /// Waits for the outbox, and looks for the client from time to time.
    fn look<E: Exchange>(&mut self, exchange: &mut E) -> io::Result<Next> {
        loop {
            let until = match self.watches {
                true => self.speak_at.min(after(LOOK)),
                false => self.speak_at,
            };
            match self.receiver.recv(Some(until)) {
                Item::TimedOut if self.watches && exchange.client_left() => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Item::TimedOut if Instant::now() >= self.speak_at => return Ok(Next::Silent),
                Item::TimedOut => {}
                item => return Ok(Next::Item(item)),
            }
        }
    }
}
