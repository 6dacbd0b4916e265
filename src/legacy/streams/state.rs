//! What is known of one session's streams, and which of them goes first when too much is kept.
//!
//! Must not know who opens a stream, or waits for one.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Instant;

use crate::base::budget::Charge;
use crate::base::limits::Limits;
use crate::legacy::streams::replay::{Cursor, Replay};
use crate::outbox::{Outbox, OutboxReceiver};

#[derive(Default)]
pub(super) struct StreamsState {
    /// The session is over: nothing is kept any more.
    pub(super) ended: bool,
    /// The last stream's number, of either kind.
    pub(super) last_stream: u64,
    /// Streams that answer a request, the oldest first.
    pub(super) answering: BTreeMap<u64, Answering>,
    /// What has been sent on them and may have to be sent again.
    pub(super) replay: Replay,
    /// Streams that only listen, the latest last.
    pub(super) listening: Vec<(u64, Outbox)>,
    /// Announcements that wait for somebody to listen, the oldest first.
    pub(super) backlog: VecDeque<(Vec<u8>, Charge)>,
    /// Of streams that have been forgotten, to be dropped once nothing is locked.
    pub(super) forgotten: Vec<Phase>,
    /// When the last stream stopped being open.
    pub(super) last_closed: Option<Instant>,
}

pub(super) struct Answering {
    pub(super) last_event: u64,
    pub(super) phase: Phase,
}

impl Answering {
    /// What a parked one has to say, which goes on being said from now on.
    pub(super) fn reopen(&mut self) -> Option<OutboxReceiver> {
        match mem::replace(&mut self.phase, Phase::Finished) {
            Phase::Parked(receiver) => {
                receiver.read_on();
                self.phase = Phase::Open(receiver.outbox());
                Some(receiver)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }
}

pub(super) enum Phase {
    Open(Outbox),
    Parked(OutboxReceiver),
    Finished,
}

impl StreamsState {
    /// The stream to forget if too much is kept that is not open: one whose answer has been sent before one whose answer has not, and the
    /// oldest of them. The bytes that wait are looked at when a stream is parked and when they arrive; one that is parked alone may hold whatever its
    /// session's account has room for.
    fn one_too_many(&self, limits: &Limits) -> Option<u64> {
        let mut parked = Vec::new();
        let mut finished = Vec::new();
        let mut bytes = 0;
        for (stream, answering) in &self.answering {
            match &answering.phase {
                Phase::Open(_) => {}
                Phase::Parked(receiver) => {
                    bytes += receiver.waiting_bytes();
                    parked.push(*stream);
                }
                Phase::Finished => finished.push(*stream),
            }
        }
        let most = if self.ended {
            0
        } else {
            limits.parked_streams_max
        };
        if parked.len() + finished.len() > most {
            return finished.first().or(parked.first()).copied();
        }
        let too_long = parked.len() > 1 && bytes > limits.parked_bytes_max;
        parked.first().filter(|_| too_long).copied()
    }

    /// The oldest parked stream in which something waits to be read, and how much.
    pub(super) fn oldest_that_waits(&self) -> Option<(u64, usize)> {
        self.answering.iter().find_map(|(stream, answering)| {
            let Phase::Parked(receiver) = &answering.phase else {
                return None;
            };
            let waiting = receiver.waiting_bytes();
            (waiting > 0).then_some((*stream, waiting))
        })
    }

    /// Whether it is finished, but newer messages have left its answer no room: there is nothing to come back for.
    pub(super) fn has_lost_its_answer(&self, stream: u64) -> bool {
        self.answering.get(&stream).is_some_and(|answering| {
            let event = answering.last_event;
            let is_finished = matches!(answering.phase, Phase::Finished);
            is_finished && !self.replay.holds(Cursor { stream, event })
        })
    }

    pub(super) fn end_listening(&self) {
        self.listening.iter().for_each(|(_, outbox)| outbox.close());
    }

    /// Forgets what is too much.
    pub(super) fn settle(&mut self, limits: &Limits) {
        while let Some(stream) = self.one_too_many(limits) {
            self.forget(stream);
        }
    }

    pub(super) fn forget(&mut self, stream: u64) {
        self.replay.forget(stream);
        let answering = self.answering.remove(&stream);
        self.forgotten.extend(answering.map(|it| it.phase));
    }

    /// Forgets all but these streams, and what was sent or waits to be.
    pub(super) fn forget_all(&mut self, but: fn(&Answering) -> bool) {
        let answering = mem::take(&mut self.answering);
        for (stream, answering) in answering {
            match but(&answering) {
                true => drop(self.answering.insert(stream, answering)),
                false => self.forgotten.push(answering.phase),
            }
        }
        self.replay = Replay::default();
        self.backlog = VecDeque::new();
    }
}
