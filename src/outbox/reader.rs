//! The way out of an outbox: what the one thread that writes finds there, in order, and what its leaving means.
//!
//! Must not know what is written, or where.

use std::mem;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use crate::base::budget::Budget;
use crate::observe::access::Observer;
use crate::outbox::answer::Answer;
use crate::outbox::queue::{Firm, Next};
use crate::outbox::writer::{Accounts, Bounds, Item, OnArrival, Outbox, Shared, State};

/// The way out, owned by the one thread that writes.
#[derive(Debug)]
pub(crate) struct OutboxReader(pub(super) Arc<Shared>);

/// A new outbox within these bounds, on these accounts.
pub(crate) fn outbox(
    bounds: Bounds,
    accounts: Accounts,
    observer: &Arc<dyn Observer>,
) -> (Outbox, OutboxReader) {
    let shared = Arc::new(Shared::new(bounds, accounts, observer));
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
            let bytes = state.queue.bytes();
            let next = state.queue.pop();
            if state.room_waited_for && (next.is_some() || state.queue.bytes() < bytes) {
                // Whatever it is and wherever it goes, for its bytes are free now, and one who is asked must be able to answer.
                self.0.room.notify_one();
            }
            match next {
                Some(Next::Event(bytes)) => return Item::Event(bytes),
                Some(Next::Firm(Firm::Request(bytes, _))) => return Item::Request(bytes),
                Some(Next::Firm(Firm::Opening(bytes, _))) => return Item::Opening(bytes),
                Some(Next::Firm(Firm::Answer(answer))) => {
                    state.answer_read();
                    return Item::Answer(answer);
                }
                Some(Next::Firm(Firm::NoAnswer(access))) => {
                    state.answer_read();
                    return Item::NoAnswer(access);
                }
                Some(Next::Firm(Firm::Pause)) => {
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
        state.queue.push_front(Firm::Answer(answer));
    }

    /// Puts what waits, and what will, on this account, and tells of what arrives from now on, after it and without a lock of this room. False when
    /// the account has no room.
    pub(crate) fn park(
        &self,
        account: &Arc<Budget>,
        tell: impl Fn() + Send + Sync + 'static,
    ) -> bool {
        let mut state = self.0.lock();
        state.accounts = Accounts {
            answers: Arc::clone(account),
            events: Arc::clone(account),
        };
        state.on_arrival = Some(OnArrival(Arc::new(tell)));
        state.queue.move_to(account)
    }

    /// Begins anew with another stream: what asked the one before to end has been heard, and nobody is told of what arrives.
    pub(crate) fn read_on(&self) {
        let mut state = self.0.lock();
        state.on_arrival = None;
        state.queue.drop_pause();
        state.pause_waits = false;
        state.relieved = false;
    }

    /// The length of what has not been read yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.0.lock().queue.bytes()
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
        state.read = None;
        let unread = mem::take(&mut state.queue);
        drop(state);
        self.0.room.notify_all();
        unread.ended_unread(&*self.0.observer);
    }
}
