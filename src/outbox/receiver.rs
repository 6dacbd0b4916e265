//! The consumer side of an outbox: what its reader finds there, in order, and what its leaving means.
//!
//! Must not know what is written, or where.

use std::mem;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use crate::base::budget::Budget;
use crate::base::waiting::look_and_yield;
use crate::outbox::answer::{Answer, ShortWay};
use crate::outbox::producer::{
    Accounts, Bounds, Outbox, OutboxState, ReceiverWait, ReceiverWake, SharedOutbox, Wake,
};
use crate::outbox::queue::{Events, Item};

/// The consumer side, owned by its reader.
pub(crate) struct OutboxReceiver(pub(super) Arc<SharedOutbox>);

/// Why there is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Nothing,
    /// An answer is on the short way: until it has left there is nothing to do but wait.
    Sending,
}

/// What wakes a receiver that looks again then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rings {
    Never,
    /// Whatever has to be read; an answer that has gone the short way need not be.
    ForItems,
    /// That, too.
    ForSent,
}

/// A new outbox within these bounds, on these accounts.
pub(crate) fn outbox(bounds: Bounds, accounts: Accounts) -> (Outbox, OutboxReceiver) {
    let shared = Arc::new(SharedOutbox::new(bounds, accounts));
    (Outbox(Arc::clone(&shared)), OutboxReceiver(shared))
}

impl OutboxReceiver {
    /// Waits for the next item, until `deadline` if there is one. Without one it yields before it sleeps: what comes together is read together.
    pub(crate) fn recv(&self, deadline: Option<Instant>) -> Item {
        if deadline.is_none()
            && let Some(item) = self.recv_soon()
        {
            return item;
        }
        let mut state = self.0.lock();
        loop {
            if let Some(item) = self.next(&mut state) {
                return item;
            }
            // What is being sent has to have left before the receiver does anything.
            let until = deadline.filter(|_| !state.sending);
            match self.wait(state, until) {
                Some(woken) => state = woken,
                None => return Item::TimedOut,
            }
        }
    }

    /// The next item, if it comes while yielding is cheap. If none has, the receiver looks again before it writes anything: an answer may go the short way.
    pub(crate) fn recv_soon(&self) -> Option<Item> {
        look_and_yield(|| {
            let mut state = self.0.lock();
            let item = self.next(&mut state);
            if item.is_none() {
                state.waits = Some(ReceiverWait {
                    wake: ReceiverWake::Unneeded,
                    hears_of_sent: false,
                });
            }
            item
        })
    }

    /// Waits for items, and takes all that are there, about this many bytes of them. All of them count until this is called again.
    pub(crate) fn recv_all(&self, into: &mut Vec<Item>, bytes_max: usize) {
        into.push(self.recv(None));
        let mut state = self.0.lock();
        let mut left = bytes_max;
        while left > 0
            && !matches!(into.last(), Some(Item::Finished))
            && let bytes = state.queue.bytes()
            && let Some(item) = self.next_of_batch(&mut state)
        {
            left = left.saturating_sub(bytes - state.queue.bytes());
            into.push(item);
        }
    }

    /// The next item if there is one, which is written together with what was read before: all of that still counts.
    pub(crate) fn recv_more(&self) -> Option<Item> {
        self.next_of_batch(&mut self.0.lock())
    }

    /// The next item if there is one. If there is none, `wake` is called for what comes, as `rings` says, until this is called again. While an answer is on
    /// the short way, nothing may be written, and who need not hear of its end says so.
    pub(crate) fn try_recv(&self, wake: &Wake, rings: Rings) -> Result<Item, Pending> {
        let mut state = self.0.lock();
        if let Some(item) = self.next(&mut state) {
            return Ok(item);
        }
        let hears_of_sent = rings == Rings::ForSent || (state.sending && rings == Rings::Never);
        state.waits = (hears_of_sent || rings == Rings::ForItems).then(|| ReceiverWait {
            wake: ReceiverWake::Elsewhere(Arc::clone(wake)),
            hears_of_sent,
        });
        match state.sending {
            true => Err(Pending::Sending),
            false => Err(Pending::Nothing),
        }
    }

    /// Takes the events that are next, about this many bytes of them, into an empty list.
    pub(crate) fn take_events(&self, into: &mut Events, bytes_max: usize) {
        let mut state = self.0.lock();
        if !state.sending && !state.superseded && !state.has_sent {
            state.queue.pop_events(into, bytes_max);
        }
    }

    /// Lets answers leave by this way while the receiver waits and nothing is ahead of them; `None` ends that.
    pub(crate) fn set_short_way(&self, short_way: Option<ShortWay>) {
        let before = mem::replace(&mut self.0.lock().short_way, short_way);
        drop(before);
    }

    /// Lets answers leave by the short way of before, or by this one if there is none. False if something waits to be read, or there is no way.
    pub(crate) fn open_short_way(&self, make: impl FnOnce() -> Option<ShortWay>) -> bool {
        let mut state = self.0.lock();
        if !state.queue.is_empty() {
            return false;
        }
        // One that is sending comes back.
        if state.short_way.is_none() && !state.sending {
            state.short_way = make();
        }
        state.short_way.is_some() || state.sending
    }

    /// The same for another exchange, with its short way, if nobody else has it any more and it is as it was at first.
    pub(crate) fn renew(mut self) -> Option<Self> {
        let shared = Arc::get_mut(&mut self.0)?;
        let state = shared.state.get_mut().ok()?;
        state.waits = None;
        state.is_as_new().then_some(self)
    }

    /// The next item, if there is one that may be read now. To ask for it says that the item before has been written.
    fn next(&self, state: &mut OutboxState) -> Option<Item> {
        state.queue.written();
        self.next_of_batch(state)
    }

    /// The next item to be written together with those that were read before.
    fn next_of_batch(&self, state: &mut OutboxState) -> Option<Item> {
        state.waits = None;
        if state.is_held_back() {
            return None;
        }
        if mem::take(&mut state.has_sent) {
            return Some(Item::Sent);
        }
        if state.sending {
            return None;
        }
        if mem::take(&mut state.superseded) {
            return Some(Item::Superseded);
        }
        // Nearly always.
        if !state.room_waited_for
            && let Some(answer) = state.queue.pop_answer()
        {
            state.due -= 1;
            state.answers -= 1;
            return Some(Item::Answer(answer));
        }
        let bytes = state.queue.bytes();
        let next = state.queue.pop();
        if state.room_waited_for && (next.is_some() || state.queue.bytes() < bytes) {
            // Backpressure ends with every item that is taken, not only with answers: its bytes are free now, and the thread that reads requests must
            // run, for what comes next may be the answer to a question of ours.
            self.0.room.notify_one();
        }
        next.inspect(|item| state.note_read(item))
            .or_else(|| (state.closed && state.due == 0).then_some(Item::Finished))
    }

    /// Puts an answer back that could not be written, for the next one who reads here.
    pub(crate) fn put_back(&self, answer: Answer) {
        let mut state = self.0.lock();
        state.due += 1;
        state.answers += 1;
        state.queue.push_front(Item::Answer(answer));
    }

    /// Puts what waits, and what will, on this account, and tells of what arrives from now on, after it and without the outbox's lock. False when
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
        state.on_arrival = Some(Arc::new(tell));
        state.queue.move_to(account)
    }

    /// Begins anew for a successor: what asked its predecessor to leave has been heard, and nobody is told of what arrives.
    pub(crate) fn read_on(&self) {
        let mut state = self.0.lock();
        state.on_arrival = None;
        state.queue.drop_detach();
        state.detach_waits = false;
        state.superseded = false;
    }

    /// The length of what has not been read yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.0.lock().queue.bytes()
    }

    /// The producer side of the same outbox.
    pub(crate) fn outbox(&self) -> Outbox {
        Outbox(Arc::clone(&self.0))
    }

    /// `None` once the deadline has passed.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, OutboxState>,
        deadline: Option<Instant>,
    ) -> Option<MutexGuard<'a, OutboxState>> {
        const HELD: &str = "no code panics while it holds the outbox";
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return None;
        }
        state.waits = Some(ReceiverWait {
            wake: ReceiverWake::Readable,
            hears_of_sent: state.sending || deadline.is_some(),
        });
        // A wake-up without cause, or at the deadline, goes round the caller's loop once more.
        Some(match left {
            None => self.0.readable.wait(state).expect(HELD),
            Some(left) => self.0.readable.wait_timeout(state, left).expect(HELD).0,
        })
    }
}

impl Drop for OutboxReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receiver_gone = true;
        state.unread = None;
        state.waits = None;
        let unread = mem::take(&mut state.queue);
        let short_way = state.short_way.take();
        let room_waited_for = state.room_waited_for;
        drop(state);
        drop(short_way);
        // A system call, whether or not anybody waits.
        if room_waited_for {
            self.0.room.notify_all();
        }
        unread.ended_unread();
    }
}
