//! What the outbox keeps, what it drops, and who waits.

mod account;
mod short;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;

use super::*;
use crate::base::budget::{Budget, Charge};
use crate::base::cancel::{Canceller, cancellation};
use crate::observe::access::{Access, Outcome, RequestTag};
use crate::protocol::version::Era;

pub(crate) fn answer(text: &str) -> Answer {
    let access = Access::immediate(RequestTag::fresh(None), "test", Outcome::Ok);
    Answer::new(text.into(), None, Era::Modern, access)
}

pub(crate) fn new_outbox(answers_max: usize, bytes_max: usize) -> (Outbox, OutboxReceiver) {
    outbox_on(&Budget::whole(usize::MAX), answers_max, bytes_max)
}

pub(crate) fn outbox_on(
    account: &Arc<Budget>,
    answers_max: usize,
    bytes_max: usize,
) -> (Outbox, OutboxReceiver) {
    let bounds = Bounds {
        answers_max,
        bytes_max,
    };
    let accounts = Accounts {
        answers: Arc::clone(account),
        events: Arc::clone(account),
    };
    outbox(bounds, accounts)
}

fn charge(bytes: usize) -> Charge {
    let account = Budget::whole(bytes);
    account.charge(bytes).expect("it fits exactly")
}

/// A call that sends events.
pub(crate) fn source() -> (Canceller, Arc<EventSource>) {
    let (canceller, token) = cancellation();
    (canceller, EventSource::new(token))
}

fn progress(outbox: &Outbox, call: &Arc<EventSource>, text: &str) {
    outbox.send_event(text.into(), EventKind::Progress, call);
}

fn message(outbox: &Outbox, call: &Arc<EventSource>, text: &str) {
    outbox.send_event(text.into(), EventKind::Message, call);
}

/// Everything that can be read now.
fn read(receiver: &OutboxReceiver) -> Vec<String> {
    let all = std::iter::from_fn(|| Some(next(receiver)).filter(|item| item != "nothing"));
    all.collect()
}

fn next(receiver: &OutboxReceiver) -> String {
    match receiver.recv(Some(Instant::now())) {
        Item::Event(bytes) | Item::Opening { message: bytes, .. } => {
            String::from_utf8(bytes).expect("the test sends text")
        }
        Item::Request { message, .. } => {
            format!(
                "request {}",
                String::from_utf8(message).expect("the test sends text")
            )
        }
        Item::Answer(answer) => format!(
            "answer {}",
            String::from_utf8(answer.body).expect("the test sends text")
        ),
        Item::Rest(rest) => format!("rest {}", String::from_utf8_lossy(rest.bytes())),
        Item::Sent => "sent".into(),
        Item::NoAnswer(_) => "no answer".into(),
        Item::Detach => "detach".into(),
        Item::Superseded => "superseded".into(),
        Item::TimedOut => "nothing".into(),
        Item::Finished => "finished".into(),
    }
}

#[test]
fn law_1_the_oldest_event_is_dropped_and_the_answer_never_is() {
    let (outbox, receiver) = new_outbox(1, 2);
    let (_canceller, call) = source();
    let slot = outbox.reserve().expect("the receiver lives");
    for event in ["1", "2", "3", "4"] {
        message(&outbox, &call, event);
    }
    slot.send(answer("5"));
    outbox.close();
    let read: Vec<String> = (0..4).map(|_| next(&receiver)).collect();
    assert_eq!(read, ["3", "4", "answer 5", "finished"]);
}

#[test]
fn a_request_is_never_dropped_unless_its_call_is_cancelled() {
    let (outbox, receiver) = new_outbox(1, 1);
    let (canceller, call) = source();
    let (_other, other_call) = source();
    let account = Budget::whole(1000);
    let charge = || account.charge(7).expect("there is room");
    outbox.send_request("longer than all the bytes".into(), charge(), &other_call);
    let unread = outbox.send_request("late".into(), charge(), &call);
    let unread = unread.expect("it is read");
    for event in ["1", "2", "3"] {
        message(&outbox, &other_call, event);
    }
    canceller.cancel();
    assert_eq!(account.used(), 14);
    assert_eq!(read(&receiver), ["request longer than all the bytes"]);
    assert_eq!(account.used(), 0);
    assert_eq!(unread.try_recv(), Err(TryRecvError::Empty));
    drop(receiver);
    assert_eq!(unread.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn events_of_a_cancelled_call_are_not_sent() {
    let (outbox, receiver) = new_outbox(1, 9);
    let (canceller, call) = source();
    message(&outbox, &call, "late");
    canceller.cancel();
    assert_eq!(next(&receiver), "nothing");
}

#[test]
fn events_are_taken_together_in_order_up_to_what_is_none() {
    let (outbox, receiver) = new_outbox(1, 1000);
    let ((_one, call), (canceller, cancelled)) = (source(), source());
    let take = || {
        let mut taken = Events::default();
        receiver.take_events(&mut taken, 1000);
        let taken: Vec<String> = taken
            .map(|event| String::from_utf8_lossy(&event).into())
            .collect();
        taken
    };
    message(&outbox, &call, "m1");
    progress(&outbox, &call, "p1");
    message(&outbox, &call, "m2");
    outbox.detach();
    message(&outbox, &call, "m3");
    message(&outbox, &cancelled, "late");
    message(&outbox, &call, "m4");
    assert_eq!(take(), ["m1", "p1", "m2"]);
    assert_eq!(next(&receiver), "detach");
    canceller.cancel();
    assert_eq!(take(), ["m3", "m4"]);
    assert!(take().is_empty());
}

#[test]
fn a_dropped_slot_tells_the_receiver() {
    let (outbox, receiver) = new_outbox(1, 0);
    drop(outbox.reserve());
    assert_eq!(next(&receiver), "no answer");
}

#[test]
fn law_1_older_progress_of_the_same_call_goes_first_and_messages_last() {
    let (outbox, receiver) = new_outbox(1, 12);
    let ((_one, first), (_two, second)) = (source(), source());
    message(&outbox, &first, "m1");
    progress(&outbox, &second, "p1");
    progress(&outbox, &first, "q1");
    progress(&outbox, &first, "q2");
    outbox.announce("c1".into(), None);
    message(&outbox, &first, "m2");
    // Each of these needs the room of one.
    progress(&outbox, &first, "q3");
    message(&outbox, &second, "m3");
    message(&outbox, &first, "m4");
    assert_eq!((first.dropped(), second.dropped()), (2, 1));
    message(&outbox, &second, "m5");
    outbox.announce("c2".into(), None);
    progress(&outbox, &second, "p2");
    assert_eq!((first.dropped(), second.dropped()), (4, 2));
    assert_eq!(read(&receiver), ["c1", "m2", "m3", "m4", "m5", "c2"]);
}

#[test]
fn law_1_nothing_that_fits_is_dropped_however_many_there_are() {
    const EVENTS: usize = 100_000;
    let (outbox, receiver) = new_outbox(1, EVENTS * 6);
    let (_canceller, call) = source();
    for number in 0..EVENTS {
        progress(&outbox, &call, &format!("{number:06}"));
    }
    assert_eq!(call.dropped(), 0);
    for number in 0..10 {
        progress(&outbox, &call, &format!("{:06}", EVENTS + number));
    }
    let read = read(&receiver);
    assert_eq!((read.len(), call.dropped()), (EVENTS, 10));
    assert_eq!((&*read[0], &*read[EVENTS - 1]), ("000010", "100009"));
}

#[test]
fn the_next_request_waits_until_an_answer_has_been_read() {
    for text in ["1", "many bytes, which are bounded too"] {
        let max = if text == "1" { 1 } else { 100 };
        let (outbox, receiver) = new_outbox(max, 10);
        outbox
            .reserve()
            .expect("the receiver lives")
            .send(answer(text));
        let waiting = std::thread::spawn(move || {
            let slot = outbox.reserve_in_room();
            slot.map(|slot| slot.send(answer("2")))
        });
        let first = receiver.recv(Some(Instant::now() + Duration::from_secs(60)));
        assert!(matches!(first, Item::Answer(first) if first.body == text.as_bytes()));
        let Item::Answer(second) = receiver.recv(Some(Instant::now() + Duration::from_secs(60)))
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
fn nobody_waits_for_a_receiver_that_has_gone() {
    let (outbox, receiver) = new_outbox(1, 1);
    let slot = outbox.reserve().expect("the receiver lives");
    let full = outbox.reserve().expect("the receiver lives");
    full.send(answer("waits"));
    let again = outbox.clone();
    let waiting = std::thread::spawn(move || again.reserve_in_room().is_none());
    drop(receiver);
    let (_canceller, call) = source();
    let charge = Budget::whole(1).charge(1).expect("there is room");
    assert!(outbox.send_request("lost".into(), charge, &call).is_none());
    assert!(waiting.join().expect("the accepting thread does not panic"));
    assert!(outbox.reserve().is_none());
    slot.send(answer("to nobody"));
}

#[test]
fn one_detach_stands_for_many_and_is_forgotten_by_the_next_receiver() {
    let (outbox, receiver) = new_outbox(1, 2);
    let (_canceller, call) = source();
    message(&outbox, &call, "1");
    outbox.detach();
    outbox.detach();
    message(&outbox, &call, "2");
    let read: Vec<String> = (0..4).map(|_| next(&receiver)).collect();
    assert_eq!(read, ["1", "detach", "2", "nothing"]);
    outbox.detach();
    outbox.supersede();
    receiver.read_on();
    assert_eq!(next(&receiver), "nothing");
}

#[test]
fn a_superseded_receiver_leaves_everything_to_the_next() {
    let (outbox, receiver) = new_outbox(1, 99);
    let slot = outbox.reserve().expect("the receiver lives");
    slot.send(answer("whole"));
    outbox.supersede();
    assert_eq!(next(&receiver), "superseded");
    let Item::Answer(unsent) = receiver.recv(None) else {
        panic!("the answer is next");
    };
    outbox.announce("later".into(), None);
    receiver.put_back(unsent);
    assert_eq!(
        [next(&receiver), next(&receiver)],
        ["answer whole", "later"]
    );
}

#[test]
fn an_opening_stays_in_front_however_many_events_follow() {
    let (outbox, receiver) = new_outbox(1, 7);
    let (_canceller, call) = source();
    outbox.send_opening("first".into(), charge(5), &call);
    for event in ["1", "2", "3"] {
        message(&outbox, &call, event);
    }
    outbox.announce("4".into(), None);
    let read: Vec<String> = (0..4).map(|_| next(&receiver)).collect();
    assert_eq!(read, ["first", "3", "4", "nothing"]);
}

#[test]
fn what_is_not_sent_any_more_makes_room_too() {
    let (outbox, receiver) = new_outbox(2, 2);
    let (canceller, call) = source();
    outbox.send_opening("more bytes than may be".into(), charge(22), &call);
    canceller.cancel();
    let waiting = std::thread::spawn(move || outbox.reserve_in_room().is_some());
    while !receiver.0.lock().room_waited_for {
        std::thread::yield_now();
    }
    assert_eq!(next(&receiver), "nothing");
    assert!(waiting.join().expect("the accepting thread does not panic"));
}

#[test]
fn a_change_that_waits_already_takes_no_second_place() {
    let (outbox, receiver) = new_outbox(1, 9);
    let (canceller, left) = source();
    outbox.announce("all".into(), Some(&left));
    canceller.cancel();
    outbox.announce("all".into(), None);
    for _ in 0..9 {
        outbox.announce("one".into(), None);
        outbox.announce("all".into(), None);
    }
    let read: Vec<String> = (0..3).map(|_| next(&receiver)).collect();
    assert_eq!(read, ["all", "one", "nothing"]);
    // What has been read may be said again.
    outbox.announce("one".into(), None);
    assert_eq!(next(&receiver), "one");
}
