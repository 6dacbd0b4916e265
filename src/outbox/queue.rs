//! What waits to be read, in the order in which it was put in, and what goes when there is no room.
//!
//! Answers, requests of ours and what must come first are *firm*: they never go. *Events* do: older progress of the same call first, for only the
//! newest matters; then other progress; then the oldest of the rest, but never for progress. How many of its events were dropped stands with each
//! call. Must not know who waits.

use std::collections::VecDeque;
use std::iter;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::budget::{Budget, Charge};
use crate::base::cancel::CancellationToken;
use crate::base::lock::Lock;
use crate::observe::access::Access;
use crate::outbox::answer::{Answer, Rest};

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Progress,
    /// A notification that something has changed.
    Change,
    /// A log message.
    Message,
}

/// What the events of one call have in common.
pub(crate) struct EventSource {
    /// Once it is cancelled, nothing of the call is sent any more.
    pub(crate) token: CancellationToken,
    /// Progress of it that waits, in any queue.
    progress: AtomicUsize,
    dropped: AtomicUsize,
    /// What takes the question back that its client has been asked, while it waits for the answer. Sent when the wait ends without one.
    pub(crate) taken_back: Lock<Option<Vec<u8>>>,
}

impl EventSource {
    pub(crate) fn new(token: CancellationToken) -> Arc<Self> {
        Arc::new(EventSource {
            token,
            progress: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            taken_back: Lock::default(),
        })
    }

    /// How many of its events were dropped for want of room.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// What the receiver finds.
#[derive(Debug)]
pub(crate) enum Item {
    Event(Vec<u8>),
    /// A request of ours, which the client must see, for somebody waits for its answer. A worker puts in the next one when it has the answer or has given up
    /// on it.
    Request {
        message: Vec<u8>,
        charge: Charge,
    },
    /// What its call says first, and whatever follows makes no sense without. There is at most one for each answer that is due.
    Opening {
        message: Vec<u8>,
        charge: Charge,
    },
    Answer(Answer),
    /// What is left of an answer that went the short way.
    Rest(Rest),
    /// Answers have gone the short way, whole.
    Sent,
    /// A request that was accepted ends without an answer: it was cancelled, or needed none.
    NoAnswer(Option<Access>),
    /// The receiver is to detach, behind everything that was put in before: what follows is left to the receiver that takes over from it, if one does; else it goes on itself.
    Detach,
    /// The receiver is to stop at once: its successor stands ready.
    Superseded,
    /// Nothing came before the deadline.
    TimedOut,
    /// Nothing will come any more.
    Finished,
}

/// An item that is never dropped.
struct Firm {
    number: u64,
    item: Item,
    /// Whose call it belongs to, so that it is not sent once that is cancelled.
    source: Option<Arc<EventSource>>,
}

struct Event {
    bytes: Vec<u8>,
    kind: EventKind,
    source: Option<Arc<EventSource>>,
}

/// Events that are taken out together, to be written together.
#[derive(Default)]
pub(crate) struct Events(VecDeque<(u64, Event)>);

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    firm: VecDeque<Firm>,
    /// By kind.
    events: [VecDeque<(u64, Event)>; 3],
    /// The last number given: what came earlier has a smaller one, and zero comes before everything.
    last: u64,
    /// The length of everything in it.
    bytes: usize,
    /// What its events cost, and those that are being written.
    cost: usize,
    /// What those cost that were read since the last were written.
    in_hand: usize,
    /// Pays for its events. It may hold more than they cost, so that not every event has to write on an account that all queues share.
    charge: Option<Charge>,
}

/// What an event costs beside its buffer, which may have twice the room that it needs.
const EVENT_BYTES: usize = 160;

/// How many a list of events keeps room for.
const KEPT_EVENTS: usize = 1024;

impl Queue {
    /// The length of everything in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.firm.is_empty() && self.events.iter().all(VecDeque::is_empty)
    }

    /// Puts an item in, of this call if it is one's.
    pub(super) fn push(&mut self, item: Item, source: Option<&Arc<EventSource>>) {
        self.bytes += item.len();
        self.last += 1;
        self.firm.push_back(Firm {
            number: self.last,
            item,
            source: source.map(Arc::clone),
        });
    }

    /// Puts something back that was the first.
    pub(super) fn push_front(&mut self, item: Item) {
        self.bytes += item.len();
        self.firm.push_front(Firm {
            number: 0,
            item,
            source: None,
        });
    }

    /// Puts an event in and drops others that make room for it, or drops it. Says whether it is in.
    pub(super) fn push_event(
        &mut self,
        bytes: Vec<u8>,
        kind: EventKind,
        source: Option<&Arc<EventSource>>,
        bytes_max: usize,
        account: &Arc<Budget>,
    ) -> bool {
        loop {
            if self.bytes + bytes.len() <= bytes_max
                && self.pay(bytes.capacity() + EVENT_BYTES, account)
            {
                let source = source.map(Arc::clone);
                self.insert(Event {
                    bytes,
                    kind,
                    source,
                });
                return true;
            }
            if bytes.len() > bytes_max || !self.drop_one(kind, source) {
                if let Some(source) = source {
                    source.dropped.fetch_add(1, Ordering::Relaxed);
                }
                return false;
            }
        }
    }

    /// Charges what one more event costs, unless that is paid already; and half of what the others cost, if there is so much.
    fn pay(&mut self, cost: usize, account: &Arc<Budget>) -> bool {
        let paid = self.charge.as_ref().map_or(0, Charge::bytes);
        let missing = (self.cost + cost).saturating_sub(paid);
        if missing == 0 {
            return true;
        }
        let mut charge = |bytes| match &mut self.charge {
            Some(charge) => charge.grow(bytes).is_ok(),
            None => {
                self.charge = account.try_charge(bytes).ok();
                self.charge.is_some()
            }
        };
        charge(missing.max(self.cost / 2)) || charge(missing)
    }

    fn insert(&mut self, event: Event) {
        self.bytes += event.bytes.len();
        self.cost += event.cost();
        if let (EventKind::Progress, Some(source)) = (event.kind, &event.source) {
            source.progress.fetch_add(1, Ordering::Relaxed);
        }
        self.last += 1;
        self.events[event.kind as usize].push_back((self.last, event));
    }

    /// Drops the event that counts least, if there is one that counts for no more than one of this kind.
    fn drop_one(&mut self, kind: EventKind, source: Option<&Arc<EventSource>>) -> bool {
        let of_same_call = source
            .filter(|source| source.progress.load(Ordering::Relaxed) > 0)
            .and_then(|source| {
                let is_same = |other: &Arc<EventSource>| Arc::ptr_eq(other, source);
                self.events[EventKind::Progress as usize]
                    .iter()
                    .position(|(_, event)| event.source.as_ref().is_some_and(is_same))
            });
        let [progress, rest @ ..] = &mut self.events;
        let dropped = match progress.remove(of_same_call.unwrap_or(0)) {
            None if kind != EventKind::Progress => rest
                .iter_mut()
                .filter(|events| !events.is_empty())
                .min_by_key(|events| events.front().map(|(number, _)| *number))
                .and_then(VecDeque::pop_front),
            oldest => oldest,
        };
        let Some((_, event)) = dropped else {
            return false;
        };
        if let Some(source) = &event.source {
            source.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes -= event.bytes.len();
        self.give_back(event.cost());
        let _dropped = event.taken();
        true
    }

    fn give_back(&mut self, cost: usize) {
        self.cost -= cost;
        match &mut self.charge {
            _ if self.cost == 0 => self.charge = None,
            // So that a stream which is never quite empty does not pay for what it once held.
            Some(charge) if charge.bytes() > 4 * self.cost => {
                charge.shrink(charge.bytes() - 2 * self.cost);
            }
            _ => {}
        }
    }

    /// What was read before has been written.
    pub(super) fn written(&mut self) {
        if self.in_hand > 0 {
            let written = mem::take(&mut self.in_hand);
            self.give_back(written);
        }
    }

    /// What was put in first. What belongs to a cancelled call is left out.
    pub(super) fn pop(&mut self) -> Option<Item> {
        loop {
            match self.first()? {
                Some(kind) => {
                    if let Some(bytes) = self.pop_event(kind) {
                        return Some(Item::Event(bytes));
                    }
                }
                None => {
                    let Firm { item, source, .. } = self.firm.pop_front()?;
                    self.bytes -= item.len();
                    if is_wanted(source.as_ref()) {
                        return Some(item);
                    }
                }
            }
        }
    }

    /// The answer that is all there is in it.
    pub(super) fn pop_lone_answer(&mut self) -> Option<Answer> {
        match self.firm.len() {
            1 => self.pop_answer(),
            _ => None,
        }
    }

    /// What was put in first, if that is an answer and there are no events.
    pub(super) fn pop_answer(&mut self) -> Option<Answer> {
        let is_answer = matches!(self.firm.front()?.item, Item::Answer(_));
        if !is_answer || !self.events.iter().all(VecDeque::is_empty) {
            return None;
        }
        let Item::Answer(answer) = self.firm.pop_front()?.item else {
            return None;
        };
        self.bytes -= answer.body.len();
        Some(answer)
    }

    /// The events that were put in before everything else, about this many bytes of them, into an empty list.
    pub(super) fn pop_events(&mut self, into: &mut Events, bytes_max: usize) {
        let mut kinds = (self.events.iter_mut()).filter(|events| !events.is_empty());
        if let (Some(all), None) = (kinds.next(), kinds.next())
            && self.firm.is_empty()
            && self.bytes <= bytes_max
        {
            // In one step, for a producer may wait for the lock.
            into.0.shrink_to(KEPT_EVENTS); // what a backlog has made of it
            mem::swap(all, &mut into.0);
            self.bytes = 0;
            self.in_hand = self.cost;
            return;
        }
        let mut taken = 0;
        while taken < bytes_max
            && let Some(Some(kind)) = self.first()
            && let Some((number, event)) = self.events[kind].pop_front()
        {
            taken += event.bytes.len();
            self.bytes -= event.bytes.len();
            self.in_hand += event.cost();
            into.0.push_back((number, event));
        }
    }

    /// Of which kind the first one is if that is an event, and `None` if it is firm.
    fn first(&self) -> Option<Option<usize>> {
        let kinds = self.events.iter().enumerate();
        let fronts = kinds.filter_map(|(kind, events)| Some((events.front()?.0, Some(kind))));
        let firm = self.firm.front().map(|firm| (firm.number, None));
        fronts.chain(firm).min().map(|(_, kind)| kind)
    }

    /// Takes out the first event of this kind. `None` if it is not to be sent.
    fn pop_event(&mut self, kind: usize) -> Option<Vec<u8>> {
        let (_, event) = self.events[kind].pop_front()?;
        let cost = event.cost();
        self.bytes -= event.bytes.len();
        let sent = event.taken();
        match sent {
            Some(_) => self.in_hand += cost,
            None => self.give_back(cost),
        }
        sent
    }

    /// Whether this change waits already and will be sent.
    pub(super) fn announces(&self, announced: &[u8]) -> bool {
        let changes = self.events[EventKind::Change as usize].iter();
        changes
            .filter(|(_, event)| is_wanted(event.source.as_ref()))
            .any(|(_, event)| event.bytes == announced)
    }

    /// Forgets what asked the receiver to detach.
    pub(super) fn drop_detach(&mut self) {
        self.firm.retain(|firm| !matches!(firm.item, Item::Detach));
    }

    /// Puts everything on another account. False when it has no room.
    pub(super) fn move_to(&mut self, account: &Arc<Budget>) -> bool {
        let mut answers = self
            .firm
            .iter_mut()
            .filter_map(|firm| match &mut firm.item {
                Item::Answer(answer) | Item::Rest(Rest { answer, .. }) => {
                    Some((answer.body.len(), answer.charge.as_mut()?))
                }
                _ => None,
            });
        self.charge = None;
        self.cost -= mem::take(&mut self.in_hand);
        let has_room = answers.all(|(bytes, charge)| {
            let moved = account.try_charge(bytes);
            moved.map(|moved| *charge = moved).is_ok()
        });
        self.charge = account.try_charge(self.cost).ok().filter(|_| has_room);
        self.charge.is_some()
    }

    /// Nobody will read what is in it, so nobody else will tell of the ends.
    pub(super) fn ended_unread(self) {
        for firm in self.firm {
            firm.item.ended_unread();
        }
    }
}

impl Event {
    fn cost(&self) -> usize {
        self.bytes.capacity() + EVENT_BYTES
    }

    /// It has been taken out: its message, if it is to be sent.
    fn taken(self) -> Option<Vec<u8>> {
        if let (EventKind::Progress, Some(source)) = (self.kind, &self.source) {
            source.progress.fetch_sub(1, Ordering::Relaxed);
        }
        is_wanted(self.source.as_ref()).then_some(self.bytes)
    }
}

impl Iterator for Events {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut events = iter::from_fn(|| self.0.pop_front());
        events.find_map(|(_, event)| event.taken())
    }
}

/// Whether the client is to have what belongs to this call.
fn is_wanted(source: Option<&Arc<EventSource>>) -> bool {
    source.is_none_or(|source| !source.token.is_cancelled())
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Item::Event(message)
            | Item::Request { message, .. }
            | Item::Opening { message, .. } => message.len(),
            Item::Answer(answer) | Item::Rest(Rest { answer, .. }) => answer.body.len(),
            _ => 0,
        }
    }

    /// Nobody will read it, so nobody else will tell of its end.
    pub(super) fn ended_unread(self) {
        if let Item::Answer(Answer { access, .. })
        | Item::Rest(Rest {
            answer: Answer { access, .. },
            ..
        })
        | Item::NoAnswer(Some(access)) = self
        {
            access.ended(None);
        }
    }
}
