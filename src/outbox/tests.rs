//! What the outbox keeps, what it drops, and who waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::base::cancel::cancellation;
use crate::observe::access::{Access, AccessLog, Observer, Outcome, RequestTag};
use crate::protocol::version::Era;

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

fn new_outbox(answers_max: usize, events_max: usize) -> (Outbox, OutboxReader) {
    let bounds = Bounds {
        answers_max,
        events_max,
        bytes_max: 10,
    };
    let observer: Arc<dyn Observer> = Arc::new(AccessLog);
    outbox(bounds, &observer)
}

fn next(reader: &OutboxReader) -> String {
    match reader.recv(Some(Instant::now())) {
        Item::Event(bytes) | Item::Opening(bytes) => {
            String::from_utf8(bytes).expect("the test sends text")
        }
        Item::Request(bytes) => {
            format!(
                "request {}",
                String::from_utf8(bytes).expect("the test sends text")
            )
        }
        Item::Answer(answer) => format!(
            "answer {}",
            String::from_utf8(answer.body).expect("the test sends text")
        ),
        Item::NoAnswer(_) => "no answer".into(),
        Item::Pause => "pause".into(),
        Item::Relieved => "relieved".into(),
        Item::TimedOut => "nothing".into(),
        Item::Finished => "finished".into(),
    }
}

#[test]
fn law_1_the_oldest_event_is_dropped_and_the_answer_never_is() {
    let (outbox, reader) = new_outbox(1, 2);
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
fn a_request_is_never_dropped_unless_its_call_is_cancelled() {
    let (outbox, reader) = new_outbox(1, 1);
    let (canceller, call) = cancellation();
    let (_other, other_call) = cancellation();
    outbox.send_request("longer than all the bytes".into(), &other_call);
    outbox.send_request("late".into(), &call);
    for event in ["1", "2", "3"] {
        outbox.send_event(event.into(), &other_call);
    }
    canceller.cancel();
    let read = [next(&reader), next(&reader)];
    assert_eq!(read, ["request longer than all the bytes", "nothing"]);
}

#[test]
fn events_of_a_cancelled_call_are_not_sent() {
    let (outbox, reader) = new_outbox(1, 2);
    let (canceller, call) = cancellation();
    outbox.send_event("late".into(), &call);
    canceller.cancel();
    assert_eq!(next(&reader), "nothing");
}

#[test]
fn a_dropped_slot_tells_the_reader() {
    let (outbox, reader) = new_outbox(1, 0);
    drop(outbox.reserve());
    assert_eq!(next(&reader), "no answer");
}

#[test]
fn law_9_bytes_are_bounded_too() {
    let (outbox, reader) = new_outbox(4, 4);
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
        let (outbox, reader) = new_outbox(max, 0);
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
    let (outbox, reader) = new_outbox(1, 1);
    let slot = outbox.reserve().expect("the reader lives");
    let again = outbox.clone();
    let waiting = std::thread::spawn(move || !again.await_room());
    drop(reader);
    let (_canceller, call) = cancellation();
    assert!(!outbox.send_request("lost".into(), &call));
    assert!(waiting.join().expect("the accepting thread does not panic"));
    assert!(outbox.reserve().is_none());
    slot.send(answer("to nobody"));
}

#[test]
fn one_pause_stands_for_many_and_is_forgotten_by_the_next_reader() {
    let (outbox, reader) = new_outbox(1, 2);
    let (_canceller, call) = cancellation();
    outbox.send_event("1".into(), &call);
    outbox.pause();
    outbox.pause();
    outbox.send_event("2".into(), &call);
    let read: Vec<String> = (0..4).map(|_| next(&reader)).collect();
    assert_eq!(read, ["1", "pause", "2", "nothing"]);
    outbox.pause();
    outbox.relieve();
    reader.read_on();
    assert_eq!(next(&reader), "nothing");
}

#[test]
fn a_relieved_reader_leaves_everything_to_the_next() {
    let (outbox, reader) = new_outbox(1, 2);
    let slot = outbox.reserve().expect("the reader lives");
    slot.send(answer("whole"));
    outbox.relieve();
    assert_eq!(next(&reader), "relieved");
    let Item::Answer(unsent) = reader.recv(None) else {
        panic!("the answer is next");
    };
    outbox.announce("later".into(), None);
    reader.put_back(unsent);
    assert_eq!([next(&reader), next(&reader)], ["answer whole", "later"]);
}

#[test]
fn an_opening_stays_in_front_however_many_events_follow() {
    let (outbox, reader) = new_outbox(1, 2);
    let (_canceller, call) = cancellation();
    outbox.send_opening("first".into(), &call);
    for event in ["1", "2", "3"] {
        outbox.send_event(event.into(), &call);
    }
    outbox.announce("4".into(), None);
    let read: Vec<String> = (0..4).map(|_| next(&reader)).collect();
    assert_eq!(read, ["first", "3", "4", "nothing"]);
}

#[test]
fn what_is_not_sent_any_more_makes_room_too() {
    let (outbox, reader) = new_outbox(2, 2);
    let (canceller, call) = cancellation();
    outbox.send_opening("more bytes than may be".into(), &call);
    canceller.cancel();
    let waiting = std::thread::spawn(move || outbox.await_room());
    while !reader.0.lock().room_waited_for {
        std::thread::yield_now();
    }
    assert_eq!(next(&reader), "nothing");
    assert!(waiting.join().expect("the accepting thread does not panic"));
}

#[test]
fn a_change_that_waits_already_takes_no_second_place() {
    let (outbox, reader) = new_outbox(1, 3);
    let (canceller, left) = cancellation();
    outbox.announce("all".into(), Some(&left));
    canceller.cancel();
    outbox.announce("all".into(), None);
    for _ in 0..9 {
        outbox.announce("one".into(), None);
        outbox.announce("all".into(), None);
    }
    let read: Vec<String> = (0..3).map(|_| next(&reader)).collect();
    assert_eq!(read, ["all", "one", "nothing"]);
    // What has been read may be said again.
    outbox.announce("one".into(), None);
    assert_eq!(next(&reader), "one");
}
