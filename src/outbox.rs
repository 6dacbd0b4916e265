//! The bounded way out: where handlers and the engine put what a transport will write.
//!
//! The policy, written once. An *answer* has its place reserved before the request is accepted, so it always fits and is never dropped.
//! An *event* (progress, log) takes a place if there is one; when there is none the oldest waiting event makes room. Nobody who
//! puts something in ever waits; only [`Outbox::await_room`] does, and it is called by the one thread that reads requests, which is how
//! a client that does not read its answers is made to stop sending. Must not know which transport drains it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::access::Access;
use crate::cancel::CancellationToken;
use crate::protocol::version::Era;

/// The way in, shared by everyone who answers on one HTTP exchange or one pipe.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(Arc<Shared>);

/// The way out, owned by the one thread that writes.
#[derive(Debug)]
pub(crate) struct OutboxReader(Arc<Shared>);

/// The reserved place for the answer to one request. Dropped unused, it tells the reader that no answer will come.
#[derive(Debug)]
pub(crate) struct AnswerSlot {
    /// `None` once used.
    outbox: Option<Outbox>,
}

/// What the reader finds.
#[derive(Debug)]
pub(crate) enum Item {
    Event(Vec<u8>),
    /// A request of ours, which the client must see.
    Request(Vec<u8>),
    Answer(Answer),
    /// A request that was accepted ends without an answer: it was cancelled, or needed none.
    NoAnswer(Option<Access>),
    /// Nothing came before the deadline.
    TimedOut,
    /// Nothing will come any more.
    Finished,
}

/// The terminal message of one request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    /// The code, if the message is a JSON-RPC error.
    pub(crate) error: Option<i64>,
    pub(crate) standing: Standing,
    pub(crate) era: Era,
    pub(crate) access: Access,
}

/// How far a request got before it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was understood; the answer is the method's own.
    Served,
    /// It was refused before any method saw it.
    Malformed,
    /// It named a session that does not exist, or no more.
    UnknownSession,
}

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    state: Mutex<State>,
    /// Signalled when the reader has something to do; only it waits here.
    readable: Condvar,
    /// Signalled when something has been read; only the one thread that reads requests waits here.
    room: Condvar,
}

/// How much may wait to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) answers_max: usize,
    pub(crate) events_max: usize,
    /// Of answers and events together. An answer that is over it is kept all the same, but no further request is accepted.
    pub(crate) bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Queued>,
    /// How many of the queue are events.
    events: usize,
    /// The length of everything in the queue.
    bytes: usize,
    /// Answer places taken: reserved, or filled and not read yet.
    answers: usize,
    /// Nobody will reserve any more.
    closed: bool,
    reader_waits: bool,
    /// The one thread that accepts requests waits for room.
    room_waited_for: bool,
    reader_gone: bool,
}

#[derive(Debug)]
enum Queued {
    /// Not sent any more once its call is cancelled.
    Event(Vec<u8>, CancellationToken),
    /// Never dropped: somebody waits for its answer. There are at most as many as there are workers.
    Request(Vec<u8>, CancellationToken),
    Answer(Answer),
    NoAnswer(Option<Access>),
}

/// A new outbox within these bounds.
pub(crate) fn outbox(bounds: Bounds) -> (Outbox, OutboxReader) {
    let shared = Arc::new(Shared {
        bounds,
        state: Mutex::default(),
        readable: Condvar::new(),
        room: Condvar::new(),
    });
    (Outbox(Arc::clone(&shared)), OutboxReader(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code panics while it holds the outbox")
    }

    fn push(&self, mut state: MutexGuard<'_, State>, item: Queued) {
        state.bytes += item.len();
        state.queue.push_back(item);
        let wake = state.reader_waits;
        drop(state);
        if wake {
            self.readable.notify_one();
        }
    }
}

impl State {
    fn is_full(&self, bounds: &Bounds) -> bool {
        self.answers >= bounds.answers_max || self.bytes >= bounds.bytes_max
    }

    /// Makes room for an event of this length by dropping the oldest ones. Says whether there is room now.
    fn make_room(&mut self, len: usize, bounds: &Bounds) -> bool {
        let over = |state: &State| {
            state.events >= bounds.events_max || state.bytes + len > bounds.bytes_max
        };
        while self.events > 0 && over(self) {
            let oldest = self
                .queue
                .iter()
                .position(|item| matches!(item, Queued::Event(..)));
            let dropped = oldest.and_then(|oldest| self.queue.remove(oldest));
            self.bytes -= dropped.map_or(0, |dropped| dropped.len());
            self.events -= 1;
        }
        !over(self)
    }
}

impl Queued {
    fn len(&self) -> usize {
        match self {
            Queued::Event(bytes, _) | Queued::Request(bytes, _) => bytes.len(),
            Queued::Answer(answer) => answer.body.len(),
            Queued::NoAnswer(_) => 0,
        }
    }
}

impl Outbox {
    /// Waits until there is room for one more answer. False when the reader has gone.
    pub(crate) fn await_room(&self) -> bool {
        let mut state = self.0.lock();
        while state.is_full(&self.0.bounds) && !state.reader_gone {
            state.room_waited_for = true;
            state = self
                .0
                .room
                .wait(state)
                .expect("no code panics while it holds the outbox");
        }
        state.room_waited_for = false;
        !state.reader_gone
    }

    /// Takes the place for one answer, whether or not [`await_room`](Self::await_room) has been asked. `None` when the reader has gone.
    pub(crate) fn reserve(&self) -> Option<AnswerSlot> {
        let mut state = self.0.lock();
        if state.reader_gone {
            return None;
        }
        state.answers += 1;
        Some(AnswerSlot {
            outbox: Some(self.clone()),
        })
    }

    /// Puts an event in, dropping the oldest ones if there is no room left. It is not sent once `call` is cancelled.
    pub(crate) fn send_event(&self, bytes: Vec<u8>, call: &CancellationToken) {
        let mut state = self.0.lock();
        if !state.reader_gone && state.make_room(bytes.len(), &self.0.bounds) {
            state.events += 1;
            self.0.push(state, Queued::Event(bytes, call.clone()));
        }
    }

    /// Puts a request of ours in. It is not sent once `call` is cancelled.
    pub(crate) fn send_request(&self, bytes: Vec<u8>, call: &CancellationToken) {
        let state = self.0.lock();
        if !state.reader_gone {
            self.0.push(state, Queued::Request(bytes, call.clone()));
        }
    }

    /// Says that nothing more will be reserved, so that the reader finishes when everything is read.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        drop(state);
        self.0.readable.notify_one();
    }
}

impl AnswerSlot {
    /// Puts the answer in its place. Never waits, never fails; if the reader has gone it goes nowhere.
    pub(crate) fn send(mut self, answer: Answer) {
        self.fill(Queued::Answer(answer));
    }

    /// Says that this request was cancelled: no answer will come.
    pub(crate) fn withdraw(mut self, access: Access) {
        self.fill(Queued::NoAnswer(Some(access)));
    }

    /// Where events of the same request go.
    pub(crate) fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_ref()
    }

    fn fill(&mut self, item: Queued) {
        if let Some(Outbox(shared)) = self.outbox.take() {
            let state = shared.lock();
            if !state.reader_gone {
                shared.push(state, item);
                return;
            }
            drop(state);
            // Nobody will read it, so nobody else will write its line.
            match item {
                Queued::Answer(Answer { access, .. }) | Queued::NoAnswer(Some(access)) => {
                    access.log(None);
                }
                _ => {}
            }
        }
    }
}

impl Drop for AnswerSlot {
    fn drop(&mut self) {
        self.fill(Queued::NoAnswer(None));
    }
}

impl OutboxReader {
    /// Waits for the next item, until `deadline` if there is one.
    pub(crate) fn recv(&self, deadline: Option<Instant>) -> Item {
        let mut state = self.0.lock();
        loop {
            let item = state.queue.pop_front();
            state.bytes -= item.as_ref().map_or(0, Queued::len);
            if item.is_some() && state.room_waited_for {
                // Whatever it is and wherever it goes: one who is asked must be able to answer.
                self.0.room.notify_one();
            }
            match item {
                Some(Queued::Event(bytes, call)) => {
                    state.events -= 1;
                    if !call.is_cancelled() {
                        return Item::Event(bytes);
                    }
                }
                Some(Queued::Request(bytes, call)) => {
                    if !call.is_cancelled() {
                        return Item::Request(bytes);
                    }
                }
                Some(Queued::Answer(answer)) => {
                    state.answers -= 1;
                    return Item::Answer(answer);
                }
                Some(Queued::NoAnswer(access)) => {
                    state.answers -= 1;
                    return Item::NoAnswer(access);
                }
                None if state.closed && state.answers == 0 => return Item::Finished,
                None => match self.wait(state, deadline) {
                    Some(woken) => state = woken,
                    None => return Item::TimedOut,
                },
            }
        }
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
        state.queue.clear();
        state.events = 0;
        drop(state);
        self.0.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::{Outcome, RequestTag};
    use crate::cancel::cancellation;

    fn answer(text: &str) -> Answer {
        let access = Access::immediate(RequestTag::fresh(), "test", Outcome::Ok);
        Answer {
            body: text.into(),
            error: None,
            standing: Standing::Served,
            era: Era::Modern,
            access,
        }
    }

    fn bounds(answers_max: usize, events_max: usize) -> Bounds {
        Bounds {
            answers_max,
            events_max,
            bytes_max: 10,
        }
    }

    fn next(reader: &OutboxReader) -> String {
        match reader.recv(Some(Instant::now())) {
            Item::Event(bytes) | Item::Request(bytes) => {
                String::from_utf8(bytes).expect("the test sends text")
            }
            Item::Answer(answer) => format!(
                "answer {}",
                String::from_utf8(answer.body).expect("the test sends text")
            ),
            Item::NoAnswer(_) => "no answer".into(),
            Item::TimedOut => "nothing".into(),
            Item::Finished => "finished".into(),
        }
    }

    #[test]
    fn law_1_the_oldest_event_is_dropped_and_the_answer_never_is() {
        let (outbox, reader) = outbox(bounds(1, 2));
        let (_canceller, call) = cancellation();
        let slot = outbox.reserve().expect("the reader lives");
        for event in ["1", "2", "3", "4"] {
            outbox.send_event(event.into(), &call);
        }
        slot.send(answer("5"));
        outbox.close();
        let read: Vec<String> = (0..4).map(|_| next(&reader)).collect();
        assert_eq!(read, ["3", "4", "answer 5", "finished"]);
    }

    #[test]
    fn events_of_a_cancelled_call_are_not_sent() {
        let (outbox, reader) = outbox(bounds(1, 2));
        let (canceller, call) = cancellation();
        outbox.send_event("late".into(), &call);
        canceller.cancel();
        assert_eq!(next(&reader), "nothing");
    }

    #[test]
    fn a_dropped_slot_tells_the_reader() {
        let (outbox, reader) = outbox(bounds(1, 0));
        drop(outbox.reserve());
        assert_eq!(next(&reader), "no answer");
    }

    #[test]
    fn law_9_bytes_are_bounded_too() {
        let (outbox, reader) = outbox(bounds(4, 4));
        let (_canceller, call) = cancellation();
        outbox.send_event("12345".into(), &call);
        outbox.send_event("67890".into(), &call);
        outbox.send_event("abcdef".into(), &call);
        outbox.send_event("longer than all".into(), &call);
        assert_eq!(next(&reader), "nothing");
        outbox.send_event("ghijkl".into(), &call);
        outbox
            .reserve()
            .expect("the reader lives")
            .send(answer("0123456789"));
        assert_eq!(
            [next(&reader), next(&reader)],
            ["ghijkl", "answer 0123456789"]
        );
    }

    #[test]
    fn the_next_request_waits_until_an_answer_has_been_read() {
        for text in ["1", "many bytes, which are bounded too"] {
            let max = if text == "1" { 1 } else { 100 };
            let (outbox, reader) = outbox(bounds(max, 0));
            outbox
                .reserve()
                .expect("the reader lives")
                .send(answer(text));
            let waiting = std::thread::spawn(move || {
                assert!(outbox.await_room());
                outbox.reserve().map(|slot| slot.send(answer("2")))
            });
            let first = reader.recv(Some(Instant::now() + Duration::from_secs(10)));
            assert!(matches!(first, Item::Answer(first) if first.body == text.as_bytes()));
            let Item::Answer(second) = reader.recv(Some(Instant::now() + Duration::from_secs(10)))
            else {
                panic!("the second answer comes once the first has been read");
            };
            assert_eq!(second.body, b"2");
            assert!(
                waiting
                    .join()
                    .expect("the accepting thread does not panic")
                    .is_some()
            );
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_that_has_gone() {
        let (outbox, reader) = outbox(bounds(1, 1));
        let slot = outbox.reserve().expect("the reader lives");
        let again = outbox.clone();
        let waiting = std::thread::spawn(move || !again.await_room());
        drop(reader);
        assert!(waiting.join().expect("the accepting thread does not panic"));
        assert!(outbox.reserve().is_none());
        slot.send(answer("to nobody"));
    }
}
