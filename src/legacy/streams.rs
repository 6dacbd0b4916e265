//! The event streams of one handshake-era session: which are open, which wait for a client to come back, and what was sent on them.
//!
//! ```text
//!            open                    answer sent
//!  (answer) ──────▶ OPEN ───────────────────────────────▶ FINISHED ── replayed to who comes back, until pushed out ──▶ forgotten
//!                    │ ▲                                      ▲                                                          ▲
//!   connection ended │ │ resume: GET with Last-Event-ID       │ resume, then the answer is sent                          │
//!   or close_stream  ▼ │                                      │                                                          │
//!                   PARKED ───────────────────────────────────┘── too many, too long, memory short, session ended ───────┘
//! ```
//!
//! A stream that answers a request is *open* while a connection carries it, *parked* while its call goes on without one, and *finished* when
//! its answer has been sent; for a write into a dead connection succeeds, so a finished one is kept for a while, too. Besides there are
//! streams that only listen. A message goes to one stream, never to two. Must not know HTTP, or how an event looks on the wire.
//! Specification: `basic/transports` ("Multiple Connections", "Resumability and Redelivery") of revision 2025-11-25.

mod replay;
mod state;

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

pub(crate) use self::replay::Cursor;

use self::state::{Answering, Phase, StreamsState};
use crate::base::awake;
use crate::base::budget::Budget;
use crate::base::counted::Counted;
use crate::base::limits::Limits;
use crate::base::lock::{HELD, Lock};
use crate::outbox::{Outbox, OutboxReceiver};
use crate::protocol::version::ProtocolVersion;

/// The streams of one session.
pub(crate) struct Streams {
    /// Whether this revision's clients know that a stream may end before its answer.
    pub(crate) can_pause: bool,
    limits: Arc<Limits>,
    /// Connections that were opened by `GET`, to listen or to come back.
    carried: Arc<AtomicUsize>,
    memory: Arc<Budget>,
    state: Lock<StreamsState>,
    /// Signalled when a stream is not open any more; only those who want to take one over wait here.
    released: Condvar,
}

/// What somebody who comes back for a stream finds.
pub(crate) enum Resumed {
    /// What was sent behind the cursor, and the stream to go on with if its answer is still to come.
    Rest(Vec<(Cursor, Vec<u8>)>, Option<(OpenStream, OutboxReceiver)>),
    /// There never was such an event, or it has been forgotten, or nothing came or will come behind it.
    Nothing,
    /// Another connection carries the stream and did not let go of it in time.
    InUse,
}

impl Streams {
    pub(crate) fn new(
        version: ProtocolVersion,
        limits: &Arc<Limits>,
        memory: &Arc<Budget>,
    ) -> Self {
        Streams {
            limits: Arc::clone(limits),
            carried: Arc::default(),
            memory: Arc::clone(memory),
            can_pause: version >= ProtocolVersion::V2025_11_25,
            state: Lock::default(),
            released: Condvar::new(),
        }
    }

    /// Begins a stream for what comes out of this outbox.
    pub(crate) fn open(self: &Arc<Self>, outbox: Outbox) -> OpenStream {
        let mut state = self.state.lock();
        state.last_stream += 1;
        let stream = state.last_stream;
        let answering = Answering {
            last_event: 0,
            phase: Phase::Open(outbox),
        };
        state.answering.insert(stream, answering);
        OpenStream::new(self, stream)
    }

    /// Takes a stream back to an open connection. If another one carries it, that one is made to let go: a client comes back because it has
    /// lost the other, and knows so before the server does. It gets until `deadline`.
    pub(crate) fn resume(self: &Arc<Self>, from: Cursor, deadline: Instant) -> Resumed {
        let mut state = self.state.lock();
        let mut is_asked = false;
        loop {
            let Some(answering) = state.answering.get_mut(&from.stream) else {
                return Resumed::Nothing;
            };
            if let Phase::Open(outbox) = &answering.phase {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Resumed::InUse;
                }
                if is_asked {
                    state = self.released.wait_timeout(state, left).expect(HELD).0;
                } else {
                    // No lock of these streams may be held: who hears of what arrives looks at them.
                    let outbox = outbox.clone();
                    drop(state);
                    outbox.supersede();
                    state = self.state.lock();
                }
                // What has happened meanwhile is seen before the next wait: no lost wake-up.
                is_asked = !is_asked;
                continue;
            }
            let is_finished = matches!(answering.phase, Phase::Finished);
            let last = answering.last_event;
            // A client that has everything and is told of an empty stream would come back for ever.
            if from.event > last || (is_finished && from.event == last) {
                return Resumed::Nothing;
            }
            let receiver = answering.reopen();
            let rest = receiver.map(|receiver| (OpenStream::new(self, from.stream), receiver));
            return Resumed::Rest(state.replay.behind(from), rest);
        }
    }

    /// Begins a stream that only listens. It gets what nobody was there to hear. `None` once the session is over.
    pub(crate) fn listen(self: &Arc<Self>, outbox: Outbox) -> Option<Listening> {
        let mut state = self.state.lock();
        if state.ended {
            return None;
        }
        for (message, _) in mem::take(&mut state.backlog) {
            outbox.announce(message, None);
        }
        state.last_stream += 1;
        let stream = state.last_stream;
        state.listening.push((stream, outbox));
        Some(Listening {
            streams: Arc::clone(self),
            stream,
        })
    }

    /// Sends a notification that belongs to no request, to the latest of the streams that listen. Without one it waits; if the same one waits
    /// already, once is enough.
    pub(crate) fn announce(&self, message: Vec<u8>) {
        let mut state = self.state.lock();
        match state.listening.last() {
            Some((_, outbox)) => outbox.announce(message, None),
            None => self.put_by(&mut state, message),
        }
    }

    fn put_by(&self, state: &mut StreamsState, mut message: Vec<u8>) {
        // It may have twice the room that it needs, and is charged for its length.
        message.shrink_to_fit();
        let StreamsState { ended, backlog, .. } = state;
        if *ended || backlog.iter().any(|(waiting, _)| *waiting == message) {
            return;
        }
        loop {
            let bytes: usize = backlog.iter().map(|(waiting, _)| waiting.len()).sum();
            let fits = backlog.len() < self.limits.announcements_max
                && bytes + message.len() <= self.limits.replay_bytes_max;
            if fits && let Ok(charge) = self.memory.try_charge(message.len()) {
                backlog.push_back((message, charge));
                return;
            }
            if backlog.pop_front().is_none() {
                return;
            }
        }
    }

    /// Forgets parked streams in which something waits, the oldest first, until so many bytes are free. The stream whose bytes need it is the last to go:
    /// what comes later is worth more, as when they are looked at on arrival.
    pub(crate) fn make_room(&self, bytes: usize) {
        self.change(|state| {
            let mut freed = 0;
            while freed < bytes
                && let Some((stream, waiting)) = state.oldest_that_waits()
            {
                freed += waiting;
                state.forget(stream);
            }
        });
    }

    /// Forgets everything that waits for somebody to come back or to listen.
    pub(crate) fn forget_what_waits(&self) {
        self.change(|state| state.forget_all(Answering::is_open));
    }

    /// Changes what is known of the streams. What is forgotten is dropped once nothing is locked: readers that are dropped write access lines, and nobody shall
    /// wait for the log.
    fn change<T>(&self, change: impl FnOnce(&mut StreamsState) -> T) -> T {
        let mut state = self.state.lock();
        let changed = change(&mut state);
        let forgotten = mem::take(&mut state.forgotten);
        drop(state);
        drop(forgotten);
        changed
    }

    /// Takes the place of one more connection that is opened by `GET`. `None` when there are as many as may be.
    pub(crate) fn carry(&self) -> Option<Counted> {
        Counted::one_of(&self.carried, self.limits.session_streams_max)
    }

    /// Whether no other than this one is opened by `GET`.
    pub(crate) fn carries_one(&self) -> bool {
        self.carried.load(Ordering::Relaxed) == 1
    }

    /// How many streams only listen.
    pub(super) fn listening(&self) -> usize {
        self.state.lock().listening.len()
    }

    /// Of several streams that only listen, ends that which has been quiet the longest: what is announced goes to the latest.
    pub(super) fn end_one_of_several(&self) -> bool {
        let mut state = self.state.lock();
        let quiet = (state.listening.len() > 1).then(|| state.listening.remove(0));
        quiet.inspect(|(_, outbox)| outbox.close()).is_some()
    }

    /// Ends the streams that only listen, because the server or the session ends.
    pub(crate) fn end_listening(&self) {
        self.state.lock().end_listening();
    }

    /// The session is over: lets go of everything.
    pub(crate) fn end(&self) {
        self.change(|state| {
            state.ended = true;
            state.forget_all(|_| false);
            self.released.notify_all();
            state.end_listening();
        });
    }

    /// How long no stream has been open; `None` when there has been none. An open one means a client that is alive: one that is not fails to
    /// take its heartbeats, and that ends the stream. What is parked does not count: its call does, while it runs.
    pub(crate) fn idle_for(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock();
        if !state.listening.is_empty() || state.answering.values().any(Answering::is_open) {
            return Some(Duration::ZERO);
        }
        state
            .last_closed
            .map(|closed| now.saturating_duration_since(closed))
    }

    /// The connection of an open stream lets go of it: the phase that it has from now on, or `None` to forget it. What has been forgotten stays forgotten.
    fn release(&self, stream: u64, becomes: Option<Phase>) {
        self.change(|state| {
            state.last_closed = Some(awake::now());
            match (state.answering.get_mut(&stream), becomes) {
                (Some(answering), Some(phase)) => answering.phase = phase,
                (Some(_), None) => state.forget(stream),
                (None, phase) => state.forgotten.extend(phase),
            }
            if state.has_lost_its_answer(stream) {
                state.forget(stream);
            }
            state.settle(&self.limits);
            self.released.notify_all();
        });
    }

    /// Looks at what waits in parked streams, because something has arrived in one.
    fn arrived(&self) {
        self.change(|state| state.settle(&self.limits));
    }
}

/// A stream that a connection carries. Dropped without another word it is forgotten.
pub(crate) struct OpenStream {
    streams: Arc<Streams>,
    stream: u64,
    /// What it is to be when it is dropped.
    becomes: Option<Phase>,
}

impl OpenStream {
    fn new(streams: &Arc<Streams>, stream: u64) -> Self {
        OpenStream {
            streams: Arc::clone(streams),
            stream,
            becomes: None,
        }
    }

    /// The place in front of everything.
    pub(crate) fn start(&self) -> Cursor {
        Cursor {
            stream: self.stream,
            event: 0,
        }
    }

    pub(crate) fn can_pause(&self) -> bool {
        self.streams.can_pause
    }

    /// Numbers a message that is about to be sent, and keeps it for a client that comes back. Says whether it could be kept.
    pub(crate) fn sending(&self, message: &[u8]) -> (Cursor, bool) {
        let mut at = self.start();
        let streams = &*self.streams;
        streams.change(|state| {
            let Some(answering) = state.answering.get_mut(&self.stream) else {
                // The session is over. Nobody will ask for this.
                return (at, false);
            };
            answering.last_event += 1;
            at.event = answering.last_event;
            let bytes_max = streams.limits.replay_bytes_max;
            let (kept, gone) = state.replay.keep(at, message, bytes_max, &streams.memory);
            for gone in gone {
                if state.has_lost_its_answer(gone.stream) {
                    state.forget(gone.stream);
                }
            }
            (at, kept)
        })
    }

    /// No connection carries it any more; its call goes on.
    pub(crate) fn park(mut self, receiver: OutboxReceiver) {
        let streams = Arc::downgrade(&self.streams);
        let arrived = move || {
            if let Some(streams) = streams.upgrade() {
                streams.arrived();
            }
        };
        let fits = receiver.park(&self.streams.memory, arrived);
        self.becomes = fits.then_some(Phase::Parked(receiver));
    }

    /// Its last message has been sent, and may be asked for again.
    pub(crate) fn finish(mut self) {
        self.becomes = Some(Phase::Finished);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.release(self.stream, self.becomes.take());
    }
}

/// A stream that only listens. Dropped, it listens no more.
pub(crate) struct Listening {
    streams: Arc<Streams>,
    stream: u64,
}

impl Listening {
    /// Ends it; what it has not heard is for the next one.
    pub(crate) fn end(self, unheard: impl Iterator<Item = Vec<u8>>) {
        let streams = Arc::clone(&self.streams);
        drop(self);
        unheard.for_each(|message| streams.announce(message));
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.streams.state.lock();
        state.listening.retain(|(stream, _)| *stream != self.stream);
        state.last_closed = Some(awake::now());
    }
}

#[cfg(test)]
mod tests;
