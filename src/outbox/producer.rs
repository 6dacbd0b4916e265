//! The producer side of an outbox, the bounded way out: where handlers and the engine put what a transport will write. Who writes holds the `receiver`.
//!
//! The policy, written once. An *answer* has its slot reserved before the request is accepted, so it always fits and is never dropped.
//! An *event* (progress, log) is put in if there is room; when there is none, others make it (see `queue`). Nobody who
//! puts something in ever waits; only [`Outbox::reserve_in_room`] does, and it is called by the one thread that reads requests, which is how
//! a client that does not read its answers is made to stop sending. Must not know which transport drains it.

use std::convert::Infallible;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::budget::{Budget, Charge, OverBudget};
use crate::observe::access::Access;
use crate::outbox::answer::{Answer, Pace, Rest, ShortWay};
use crate::outbox::queue::{EventKind, EventSource, Item, Queue};

/// The producer side, shared by everyone who answers on one exchange or one pipe.
#[derive(Clone)]
pub(crate) struct Outbox(pub(super) Arc<SharedOutbox>);

/// The reserved slot for the answer to one request. Dropped unused, it tells the receiver that no answer will come.
pub(crate) struct AnswerSlot {
    /// `None` once used.
    outbox: Option<Outbox>,
}

pub(super) struct SharedOutbox {
    pub(super) bounds: Bounds,
    pub(super) state: Mutex<OutboxState>,
    /// Signalled when the receiver has something to do; only it waits here, unless it waits elsewhere.
    pub(super) readable: Condvar,
    /// Signalled when something has been read; only the one thread that reads requests waits here.
    pub(super) room: Condvar,
}

/// How much may wait to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) answers_max: usize,
    /// Of answers and events together. An answer that is over it is kept all the same, but no further request is accepted.
    pub(crate) bytes_max: usize,
}

/// On whose accounts stands what waits.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    pub(crate) answers: Arc<Budget>,
    pub(crate) events: Arc<Budget>,
}

pub(super) struct OutboxState {
    pub(super) queue: Queue,
    pub(super) accounts: Accounts,
    /// Told of each arrival, after it and without the outbox's lock.
    pub(super) on_arrival: Option<Wake>,
    /// Answers that have not been read: slots reserved, and those that are in the queue.
    pub(super) due: usize,
    /// How many of the queue are answers. Only these are held against a client: a call that is under way is the lanes' to bound, and while it
    /// is, its client has to be heard.
    pub(super) answers: usize,
    /// Whether a request to detach is in the queue. One says as much as many, so that a handler cannot make the queue grow.
    pub(super) detach_waits: bool,
    /// The receiver is to stop now, whatever is in the queue.
    pub(super) superseded: bool,
    /// Nobody will reserve any more.
    pub(super) closed: bool,
    /// That the receiver waits, and how it is woken.
    pub(super) waits: Option<ReceiverWait>,
    /// How an answer leaves without it.
    pub(super) short_way: Option<ShortWay>,
    pub(super) pace: Pace,
    /// An answer is on the short way; nothing may be written beside it.
    pub(super) sending: bool,
    /// Whether answers have gone the short way since the receiver was last here.
    pub(super) has_sent: bool,
    /// The one thread that accepts requests waits for room.
    pub(super) room_waited_for: bool,
    pub(super) receiver_gone: bool,
    /// Never sent on: dropped with the receiver, which those wait for whose requests are to be answered. Made for the first of them.
    pub(super) unread: Option<(Sender<Infallible>, Receiver<Infallible>)>,
    /// Nobody on the other side can answer a request of ours.
    pub(super) takes_no_requests: bool,
}

/// Told that something has arrived, without the outbox's lock.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// How a receiver waits.
pub(super) struct ReceiverWait {
    pub(super) wake: ReceiverWake,
    /// Nothing but this outbox will wake it, so that it has to hear of answers that went the short way.
    pub(super) hears_of_sent: bool,
}

/// How a receiver that waits is woken.
pub(super) enum ReceiverWake {
    /// It yields, and looks again by itself.
    Unneeded,
    /// By the condition variable.
    Readable,
    Elsewhere(Wake),
}

impl SharedOutbox {
    pub(super) fn new(bounds: Bounds, accounts: Accounts) -> Self {
        SharedOutbox {
            bounds,
            state: Mutex::new(OutboxState {
                queue: Queue::default(),
                accounts,
                on_arrival: None,
                due: 0,
                answers: 0,
                detach_waits: false,
                superseded: false,
                closed: false,
                waits: None,
                short_way: None,
                pace: Pace::default(),
                sending: false,
                has_sent: false,
                room_waited_for: false,
                receiver_gone: false,
                unread: None,
                takes_no_requests: false,
            }),
            readable: Condvar::new(),
            room: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, OutboxState> {
        self.state
            .lock()
            .expect("no code panics while it holds the outbox")
    }

    pub(super) fn push(
        &self,
        mut state: MutexGuard<'_, OutboxState>,
        item: Item,
        source: Option<&Arc<EventSource>>,
    ) {
        state.queue.push(item, source);
        self.arrived(state);
    }

    /// Puts the terminal item of a request into the queue.
    pub(super) fn answer_long(&self, mut state: MutexGuard<'_, OutboxState>, mut item: Item) {
        if state.receiver_gone {
            drop(state);
            return item.ended_unread();
        }
        state.answers += 1;
        state.charge(&mut item);
        self.push(state, item, None);
    }

    /// Lets everybody know who has to. While an answer is on the short way the receiver has to wait for its end, and is woken then.
    pub(super) fn arrived(&self, mut state: MutexGuard<'_, OutboxState>) {
        let waits = match state.sending || state.is_held_back() {
            true => None,
            false => state.waits.take(),
        };
        let on_arrival = state.on_arrival.clone();
        drop(state);
        match waits.map(|waits| waits.wake) {
            Some(ReceiverWake::Elsewhere(wake)) => wake(),
            Some(ReceiverWake::Readable) => self.readable.notify_one(),
            Some(ReceiverWake::Unneeded) | None => {}
        }
        if let Some(tell) = on_arrival {
            tell();
        }
    }
}

impl OutboxState {
    /// Whether nothing is in it, nothing is due, and nothing has been said about it.
    pub(super) fn is_as_new(&self) -> bool {
        let told =
            self.closed || self.superseded || self.pace != Pace::Single || self.takes_no_requests;
        let left = self.detach_waits || self.has_sent || self.room_waited_for;
        let asked = self.unread.is_some() || self.on_arrival.is_some();
        !told && !left && !asked && self.queue.is_empty() && self.due == 0 && !self.sending
    }

    fn is_full(&self, bounds: &Bounds) -> bool {
        self.answers >= bounds.answers_max || self.queue.bytes() >= bounds.bytes_max
    }

    /// Charges an answer that has to wait and is not charged. A small one waits whatever the account says.
    pub(super) fn charge(&self, item: &mut Item) {
        if let Item::Answer(answer) | Item::Rest(Rest { answer, .. }) = item
            && answer.charge.is_none()
        {
            let charged = self.accounts.answers.try_charge(answer.body.len());
            answer.charge = charged.ok();
        }
    }

    /// The receiver has this now.
    pub(super) fn note_read(&mut self, item: &Item) {
        match item {
            Item::Answer(_) | Item::Rest(_) | Item::NoAnswer(_) => {
                self.due -= 1;
                self.answers -= 1;
            }
            Item::Detach => self.detach_waits = false,
            _ => {}
        }
    }
}

impl Outbox {
    /// Waits until there is room for one more answer to wait to be read, and takes its slot. `None` when the receiver has gone.
    pub(crate) fn reserve_in_room(&self) -> Option<AnswerSlot> {
        let mut state = self.0.lock();
        while state.is_full(&self.0.bounds) && !state.receiver_gone {
            if !mem::replace(&mut state.room_waited_for, true) {
                // What was held back for the end of a burst makes room.
                self.0.arrived(state);
                state = self.0.lock();
                continue;
            }
            state = self
                .0
                .room
                .wait(state)
                .expect("no code panics while it holds the outbox");
        }
        state.room_waited_for = false;
        self.take_slot(state)
    }

    /// Takes the slot for one answer, whether or not there is room. `None` when the receiver has gone.
    pub(crate) fn reserve(&self) -> Option<AnswerSlot> {
        self.take_slot(self.0.lock())
    }

    fn take_slot(&self, mut state: MutexGuard<'_, OutboxState>) -> Option<AnswerSlot> {
        if state.receiver_gone {
            return None;
        }
        state.due += 1;
        Some(AnswerSlot {
            outbox: Some(self.clone()),
        })
    }

    /// Says how requests come from now on.
    pub(crate) fn set_pace(&self, pace: Pace) {
        let mut state = self.0.lock();
        state.pace = pace;
        if !state.queue.is_empty() {
            self.0.arrived(state);
        }
    }

    /// Puts an event in; others may have to go for it, or it itself. It is not sent once its call is cancelled.
    pub(crate) fn send_event(&self, bytes: Vec<u8>, kind: EventKind, source: &Arc<EventSource>) {
        self.push_event(self.0.lock(), bytes, kind, Some(source));
    }

    /// Puts in that something has changed, unless that waits to be read already: it says as much once as many times, and so a client that
    /// reads seldom misses none for the room they take. It is not sent once its call, if it belongs to one, is cancelled.
    pub(crate) fn announce(&self, bytes: Vec<u8>, source: Option<&Arc<EventSource>>) {
        let state = self.0.lock();
        if !state.queue.announces(&bytes) {
            self.push_event(state, bytes, EventKind::Change, source);
        }
    }

    fn push_event(
        &self,
        mut state: MutexGuard<'_, OutboxState>,
        bytes: Vec<u8>,
        kind: EventKind,
        source: Option<&Arc<EventSource>>,
    ) {
        if state.receiver_gone {
            return;
        }
        let OutboxState {
            queue, accounts, ..
        } = &mut *state;
        let bytes_max = self.0.bounds.bytes_max;
        if queue.push_event(bytes, kind, source, bytes_max, &accounts.events) {
            self.0.arrived(state);
        }
    }

    /// Puts a request of ours in. It is not sent once its call is cancelled. What comes back disconnects when nobody reads here any more and nobody
    /// will; `None` when that is so already.
    pub(crate) fn send_request(
        &self,
        message: Vec<u8>,
        charge: Charge,
        source: &Arc<EventSource>,
    ) -> Option<Receiver<Infallible>> {
        let mut state = self.0.lock();
        if state.receiver_gone || state.takes_no_requests {
            return None;
        }
        let unread = state.unread.get_or_insert_with(|| bounded(0)).1.clone();
        let request = Item::Request { message, charge };
        self.0.push(state, request, Some(source));
        Some(unread)
    }

    /// Refuses requests of ours from now on.
    pub(crate) fn take_no_requests(&self) {
        self.0.lock().takes_no_requests = true;
    }

    /// Asks the receiver to detach behind what has been put in. Never dropped for want of room.
    pub(crate) fn detach(&self) {
        let mut state = self.0.lock();
        if !state.receiver_gone && !state.detach_waits {
            state.detach_waits = true;
            self.0.push(state, Item::Detach, None);
        }
    }

    /// Makes the receiver stop at once, because another one stands ready.
    pub(crate) fn supersede(&self) {
        let mut state = self.0.lock();
        state.superseded = true;
        self.0.arrived(state);
    }

    /// Puts in what must be read before everything else of its call. It is not sent once the call is cancelled.
    pub(crate) fn send_opening(&self, message: Vec<u8>, charge: Charge, source: &Arc<EventSource>) {
        let state = self.0.lock();
        if !state.receiver_gone {
            let opening = Item::Opening { message, charge };
            self.0.push(state, opening, Some(source));
        }
    }

    /// Puts the cost of an answer on the account that it has. What may be dropped makes room first, so no lock may be held that dropping it needs.
    pub(crate) fn charge_answer(&self, bytes: usize) -> Result<Charge, OverBudget> {
        let account = Arc::clone(&self.0.lock().accounts.answers);
        account.charge(bytes)
    }

    /// Says that nothing more will be reserved, so that the receiver finishes when everything is read.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.arrived(state);
    }
}

impl AnswerSlot {
    /// Sends the answer by the short way, or puts it in its slot. Never waits, never fails; if the receiver has gone it goes nowhere.
    pub(crate) fn send(mut self, answer: Answer) {
        if let Some(Outbox(shared)) = self.outbox.take() {
            shared.answer(answer);
        }
    }

    /// Says that this request was cancelled: no answer will come.
    pub(crate) fn withdraw(mut self, access: Access) {
        self.fill(Item::NoAnswer(Some(access)));
    }

    /// Where events of the same request go.
    pub(crate) fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_ref()
    }

    fn fill(&mut self, item: Item) {
        if let Some(Outbox(shared)) = self.outbox.take() {
            shared.answer_long(shared.lock(), item);
        }
    }
}

impl Drop for AnswerSlot {
    fn drop(&mut self) {
        self.fill(Item::NoAnswer(None));
    }
}
