//! The way out of an outbox: what the one thread that writes finds there, in order, and what its leaving means.
//!
//! Must not know what is written, or where.

use std::mem;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use crate::observe::access::Observer;
use crate::outbox::writer::{Answer, Bounds, Item, Outbox, Queued, Shared, State};

/// The way out, owned by the one thread that writes.
#[derive(Debug)]
pub(crate) struct OutboxReader(pub(super) Arc<Shared>);

/// A new outbox within these bounds.
pub(crate) fn outbox(bounds: Bounds, observer: &Arc<dyn Observer>) -> (Outbox, OutboxReader) {
    let shared = Arc::new(Shared::new(bounds, observer));
    (Outbox(Arc::clone(&shared)), OutboxReader(shared))
}

impl OutboxReader {
    /// Waits for the next item, until `deadline` if there is one.
    pub(crate) fn recv(&self, deadline: Option<Instant>) -> Item {
        let mut state = self.0.lock();
        loop {
            if mem::take(&mut state.relieved) {
                return Item::Relieved;
            }
            let item = state.queue.pop_front();
            state.bytes -= item.as_ref().map_or(0, Queued::len);
            if item.is_some() && state.room_waited_for {
                // Whatever it is and wherever it goes, for its bytes are free now, and one who is asked must be able to answer.
                self.0.room.notify_one();
            }
            match item {
                Some(Queued::Event(bytes, call)) => {
                    state.events -= 1;
                    if !call.is_some_and(|call| call.is_cancelled()) {
                        return Item::Event(bytes);
                    }
                }
                Some(Queued::Request(bytes, call)) => {
                    if !call.is_cancelled() {
                        return Item::Request(bytes);
                    }
                }
                Some(Queued::Opening(bytes, call)) => {
                    if !call.is_cancelled() {
                        return Item::Opening(bytes);
                    }
                }
                Some(Queued::Answer(answer)) => {
                    state.answer_read();
                    return Item::Answer(answer);
                }
                Some(Queued::NoAnswer(access)) => {
                    state.answer_read();
                    return Item::NoAnswer(access);
                }
                Some(Queued::Pause) => {
                    state.pause_waits = false;
                    return Item::Pause;
                }
                None if state.closed && state.due == 0 => return Item::Finished,
                None => match self.wait(state, deadline) {
                    Some(woken) => state = woken,
                    None => return Item::TimedOut,
                },
            }
        }
    }

    /// Puts an answer back that could not be written, for the next one who reads here.
    pub(crate) fn put_back(&self, answer: Answer) {
        let mut state = self.0.lock();
        state.due += 1;
        state.answers += 1;
        state.bytes += answer.body.len();
        state.queue.push_front(Queued::Answer(answer));
    }

    /// Begins anew with another stream: what asked the one before to end has been heard.
    pub(crate) fn read_on(&self) {
        let mut state = self.0.lock();
        state.queue.retain(|item| !matches!(item, Queued::Pause));
        state.pause_waits = false;
        state.relieved = false;
    }

    /// The length of what has not been read yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// The way in to this way out.
    pub(crate) fn outbox(&self) -> Outbox {
        Outbox(Arc::clone(&self.0))
    }

    /// `None` once the deadline has passed.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> Option<MutexGuard<'a, State>> {
        const HELD: &str = "no code panics while it holds the outbox";
        state.reader_waits = true;
        let mut state = match deadline {
            None => self.0.readable.wait(state).expect(HELD),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    state.reader_waits = false;
                    return None;
                }
                // A wake-up without cause, or at the deadline, goes round the caller's loop once more.
                self.0.readable.wait_timeout(state, left).expect(HELD).0
            }
        };
        state.reader_waits = false;
        Some(state)
    }
}

impl Drop for OutboxReader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = true;
        let unread = mem::take(&mut state.queue);
        state.events = 0;
        drop(state);
        self.0.room.notify_all();
        for item in unread {
            item.ended_unread(&*self.0.observer);
        }
    }
}
