//! What an exchange waits for, at rest or on a thread: the next item of its outbox, a client that leaves, a silence that is too long.
//!
//! Must not know what is written, or in which form.

use std::io;
use std::time::{Duration, Instant};

use crate::base::limits::Limits;
use crate::base::waiting::{about_to_wait, after, look_and_yield};
use crate::outbox::{Item, Outbox, OutboxReceiver, Pending, Rings, ShortWay, Wake};
use crate::transport::http::exchange::{Awaits, Exchange, Heard, Heeds};

/// What comes out of an outbox, with what its silence means.
pub(in crate::transport::http) struct Incoming {
    heartbeat_interval: Duration,
    buffer_idle_timeout: Duration,
    pub(super) receiver: OutboxReceiver,
    /// Whether a client that leaves ends this.
    watches: bool,
    /// What is heeded of the client: of what has been seen already nothing more.
    heeds: Heeds,
    /// An answer that goes the short way need not wake the connection: its next request does, so that each exchange costs one wake-up.
    sleeps_on: bool,
    /// Whether the exchange may rest while it waits.
    may_rest: bool,
    /// What was heard while it rested.
    heard: Option<Heard>,
    /// When something must be said, so that the client sees that the call lives.
    speak_at: Instant,
    /// When what has been gathered must leave, whatever else comes; `None` while nothing has been.
    leave_at: Option<Instant>,
}

/// How long an event may wait for others to leave with. Events that come for as long as it takes would else keep it: each grants ten more yields, and beside
/// busy threads one yield takes up to two milliseconds. A write this often costs nothing beside what it carries, and nobody sees the delay.
const GATHER_MAX: Duration = Duration::from_millis(5);

/// How often a client that may leave is looked for where there is no descriptor left to hear of it by.
const LOOK: Duration = Duration::from_millis(100);

/// What there is to do next.
pub(super) enum Next {
    Item(Item),
    /// Nothing waits any more: what has been gathered can leave.
    Idle,
    /// It has been silent for too long.
    Silent,
    /// Nothing. The exchange can rest.
    Rest(Awaits),
}

/// What ends a wait, if another look at the outbox finds nothing.
#[derive(Clone, Copy)]
enum Over {
    Silence,
    Departure,
}

impl Incoming {
    pub(in crate::transport::http) fn new(limits: &Limits, receiver: OutboxReceiver) -> Self {
        Incoming {
            heartbeat_interval: limits.heartbeat_interval,
            buffer_idle_timeout: limits.buffer_idle_timeout,
            receiver,
            watches: false,
            heeds: Heeds::Nothing,
            sleeps_on: false,
            may_rest: false,
            heard: None,
            speak_at: after(limits.stream_after),
            leave_at: None,
        }
    }

    /// Where what comes is put in.
    pub(in crate::transport::http) fn outbox(&self) -> Outbox {
        self.receiver.outbox()
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

    /// The exchange may rest while it waits, from now on or no more.
    pub(super) fn may_rest(&mut self, may_rest: bool) {
        self.may_rest = may_rest;
    }

    /// This was heard while it rested.
    pub(super) fn has_rested(&mut self, heard: Heard) {
        self.heard = Some(heard);
    }

    /// From now on everything is written here.
    pub(super) fn take_back(&mut self) {
        self.receiver.set_short_way(None);
        self.sleeps_on = false;
    }

    /// Something has been said.
    pub(super) fn spoke(&mut self) {
        self.speak_at = after(self.heartbeat_interval);
    }

    /// Waits for the next thing to do; not at all if something has been gathered, so that events which come together leave in one write.
    pub(super) fn next<E: Exchange>(
        &mut self,
        exchange: &mut E,
        has_gathered: bool,
    ) -> io::Result<Next> {
        if has_gathered {
            return Ok(look_and_yield(|| self.gather(Instant::now())).unwrap_or(Next::Idle));
        }
        self.leave_at = None;
        if self.may_rest
            && let Some(ring) = exchange.ring()
        {
            return self.hear(exchange, &ring, true);
        }
        match exchange.bell() {
            Some(wake) => self.hear(exchange, &wake, false),
            None => self.look(exchange),
        }
    }

    /// What can leave with what has been gathered, or that it is time for that to leave.
    fn gather(&mut self, now: Instant) -> Option<Next> {
        if now >= *self.leave_at.get_or_insert(now + GATHER_MAX) {
            return Some(Next::Idle);
        }
        self.receiver.recv_more().map(Next::Item)
    }

    /// Waits for the outbox and for the client in one place, or lets the exchange rest until then.
    fn hear<E: Exchange>(
        &mut self,
        exchange: &mut E,
        wake: &Wake,
        rests: bool,
    ) -> io::Result<Next> {
        let mut over = self.heard.take().and_then(|heard| self.note(heard));
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
            let waits = match (self.receiver.try_recv(wake, rings), over) {
                (Ok(item), _) => return Ok(Next::Item(item)),
                (Err(Pending::Nothing), Some(Over::Silence)) => return Ok(Next::Silent),
                (Err(Pending::Nothing), Some(Over::Departure)) => {
                    let _known = exchange.client_left();
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                // The client is quicker than the sender's last step, and only that is waited for.
                (Err(Pending::Sending), _) if over.is_some() || !self.sleeps_on => {
                    let _known = over.is_some() && exchange.client_left();
                    let ended = self.receiver.recv_soon();
                    let ended = ended.or_else(|| self.receiver.try_recv(wake, Rings::ForSent).ok());
                    match ended {
                        Some(item) => return Ok(Next::Item(item)),
                        None => (Heeds::Nothing, Duration::MAX),
                    }
                }
                (Err(_), _) => {
                    let time = self.speak_at - now;
                    // It may be idle by then, and keeps nothing while it is.
                    let idle = self.sleeps_on.then_some(self.buffer_idle_timeout);
                    (self.heeds, idle.map_or(time, |idle| time.min(idle)))
                }
            };
            let (heeds, time) = waits;
            if rests {
                let until = after(time);
                return Ok(Next::Rest(Awaits { heeds, until }));
            }
            let heard = exchange.wait(heeds, Some(time));
            over = over.or(self.note(heard));
        }
    }

    /// Notes what was heard. Judged only after another look at the outbox: a client that has been answered may leave.
    fn note(&mut self, heard: Heard) -> Option<Over> {
        let over = match heard {
            Heard::Bell => return None,
            Heard::Silence => None,
            Heard::End if self.watches => Some(Over::Departure),
            Heard::Bytes if self.watches => {
                self.heeds = Heeds::End;
                None
            }
            Heard::End | Heard::Bytes => {
                self.heeds = Heeds::Nothing;
                None
            }
        };
        self.sleeps_on = false;
        over
    }

    /// Waits for the outbox, and looks for the client from time to time.
    fn look<E: Exchange>(&mut self, exchange: &mut E) -> io::Result<Next> {
        if !about_to_wait() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::budget::Budget;
    use crate::outbox::{EventKind, new_outbox, outbox_on, source};
    use crate::transport::http::exchange::tests::TestExchange;

    #[test]
    fn law_13_what_is_gathered_is_charged_until_it_has_left() {
        let account = Budget::whole(usize::MAX);
        let (outbox, receiver) = outbox_on(&account, 1, 100_000);
        let (_canceller, call) = source();
        let limits = Limits::default();
        let mut incoming = Incoming::new(&limits, receiver);
        let mut exchange = TestExchange::default();
        for _ in 0..8 {
            outbox.send_event(vec![b'x'; 2000], EventKind::Message, &call);
        }
        let all = account.used();
        for number in 0..8 {
            let next = incoming.next(&mut exchange, number > 0);
            assert!(matches!(next, Ok(Next::Item(Item::Event(_)))));
            assert_eq!(account.used(), all);
        }
        let next = incoming.next(&mut exchange, true);
        assert!(matches!(next, Ok(Next::Idle)), "now they are sent");
        outbox.send_event("next".into(), EventKind::Message, &call);
        let next = incoming.next(&mut exchange, false);
        assert!(matches!(next, Ok(Next::Item(Item::Event(_)))));
        assert!(account.used() < all);
    }

    #[test]
    fn events_that_never_cease_are_not_gathered_for_ever() {
        let (outbox, receiver) = new_outbox(1, 1000);
        let (_canceller, call) = source();
        let limits = Limits::default();
        let mut incoming = Incoming::new(&limits, receiver);
        let mut exchange = TestExchange::default();
        let start = Instant::now();
        for begin in [start, start + 10 * GATHER_MAX] {
            let mut gathered = Vec::new();
            for millis in 0..10 {
                outbox.send_event("event".into(), EventKind::Message, &call);
                gathered.push(incoming.gather(begin + Duration::from_millis(millis)));
            }
            let (before, after) = gathered.split_at(5);
            let is_item = |next: &Option<Next>| matches!(next, Some(Next::Item(Item::Event(_))));
            assert!(before.iter().all(is_item));
            assert!(after.iter().all(|next| matches!(next, Some(Next::Idle))));
            // They leave, and with the next one it begins anew.
            let next = incoming.next(&mut exchange, false);
            assert!(is_item(&next.ok()));
        }
    }
}
