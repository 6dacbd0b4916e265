//! What a session keeps of its streams, asked of it alone.

use std::sync::mpsc;
use std::thread;

use super::*;
use crate::base::waiting::after;
use crate::observe::access::{Access, Outcome, RequestTag};
use crate::outbox::{self, Answer, EventKind, Item};
use crate::protocol::version::Era;

const LONG: Duration = Duration::from_secs(60);

fn streams(parked_streams_max: usize, replay_bytes_max: usize) -> Arc<Streams> {
    let limits = Limits::default()
        .parked_streams_max(parked_streams_max)
        .replay_bytes_max(replay_bytes_max)
        .parked_bytes_max(10)
        .announcements_max(3);
    let memory = Budget::whole(usize::MAX);
    Arc::new(Streams::new(
        ProtocolVersion::V2025_11_25,
        &Arc::new(limits),
        &memory,
    ))
}

fn new_outbox() -> (Outbox, OutboxReceiver) {
    outbox::new_outbox(1, 1000)
}

fn at(stream: u64, event: u64) -> Cursor {
    Cursor { stream, event }
}

/// The messages that are sent again from there, and whether the stream goes on.
fn resumed(streams: &Arc<Streams>, from: Cursor) -> Option<(Vec<String>, bool)> {
    match streams.resume(from, Instant::now()) {
        Resumed::Rest(replay, rest) => {
            let text = |(_, message)| String::from_utf8(message).expect("the test sends text");
            let goes_on = rest.is_some();
            if let Some((stream, receiver)) = rest {
                stream.park(receiver);
            }
            Some((replay.into_iter().map(text).collect(), goes_on))
        }
        Resumed::Nothing => None,
        Resumed::InUse => panic!("nobody else uses it"),
    }
}

/// What the receiver finds now.
fn heard(receiver: &OutboxReceiver) -> Vec<String> {
    let now = || match receiver.recv(Some(Instant::now())) {
        Item::Event(bytes) => Some(String::from_utf8(bytes).expect("the test sends text")),
        _ => None,
    };
    std::iter::from_fn(now).collect()
}

#[test]
fn an_event_id_is_read_as_it_was_written_or_not_at_all() {
    for (stream, event) in [(1, 0), (7, 42), (u64::MAX, u64::MAX)] {
        let cursor = at(stream, event);
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
    }
    for text in [
        "", "-", "1", "1-", "-1", "01-0", "1-00", "+1-0", "1- 0", "1-0 ", "1-0-0", "a-b",
    ] {
        assert_eq!(Cursor::parse(text), None, "{text:?}");
    }
}

#[test]
fn a_parked_stream_is_replayed_from_where_its_client_stands() {
    let streams = streams(2, 100);
    let (one, receiver) = new_outbox();
    let first = streams.open(one);
    let (other, _other_receiver) = new_outbox();
    let second = streams.open(other);
    assert_eq!(first.sending(b"a"), (at(1, 1), true));
    assert_eq!(second.sending(b"x"), (at(2, 1), true));
    assert_eq!(first.sending(b"b"), (at(1, 2), true));
    first.park(receiver);
    let rows = [(0, &["a", "b"][..]), (1, &["b"]), (2, &[])];
    for (event, expected) in rows {
        let (replay, goes_on) = resumed(&streams, at(1, event)).expect("it is parked");
        assert!(goes_on);
        assert_eq!(replay, expected);
    }
    assert_eq!(resumed(&streams, at(1, 3)), None, "nothing had this id");
    assert_eq!(
        resumed(&streams, at(3, 0)),
        None,
        "there was no such stream"
    );
}

#[test]
fn law_9_what_was_sent_is_kept_within_the_bound_of_the_session() {
    let streams = streams(8, 10);
    let opened = [1, 2].map(|_| {
        let (outbox, receiver) = new_outbox();
        (streams.open(outbox), receiver)
    });
    let [(first, _), (second, receiver)] = opened;
    assert!(first.sending(b"12345").1);
    first.finish();
    assert!(resumed(&streams, at(1, 0)).is_some());
    assert!(second.sending(b"6789").1);
    assert!(resumed(&streams, at(1, 0)).is_some(), "both fit");
    assert!(second.sending(b"ab").1);
    assert_eq!(resumed(&streams, at(1, 0)), None, "its answer has gone");
    assert!(!second.sending(b"longer than all").1);
    second.park(receiver);
    let (replay, _) = resumed(&streams, at(2, 0)).expect("it is parked");
    assert_eq!(replay, ["6789", "ab"]);
}

#[test]
fn law_9_streams_that_have_answered_are_forgotten_before_those_that_have_not() {
    let streams = streams(2, 100);
    let [parked, finished, other] = [1, 2, 3].map(|_| {
        let (outbox, receiver) = new_outbox();
        (streams.open(outbox), receiver)
    });
    parked.0.park(parked.1);
    finished.0.sending(b"answer");
    finished.0.finish();
    other.0.park(other.1);
    let kept = [1, 2, 3].map(|stream| resumed(&streams, at(stream, 0)).is_some());
    assert_eq!(kept, [true, false, true]);
    let (outbox, receiver) = new_outbox();
    streams.open(outbox).park(receiver);
    let kept = [1, 3, 4].map(|stream| resumed(&streams, at(stream, 0)).is_some());
    assert_eq!(kept, [false, true, true], "and then the oldest");
}

#[test]
fn law_9_what_waits_for_those_who_left_is_bounded_in_bytes() {
    let streams = streams(8, 100);
    let (_canceller, call) = outbox::source();
    let park = |waiting: &str| {
        let (outbox, receiver) = new_outbox();
        outbox.send_event(waiting.into(), EventKind::Message, &call);
        streams.open(outbox.clone()).park(receiver);
        outbox
    };
    let kept = |streams: &Arc<Streams>, of: &[u64]| {
        let is_kept = |stream: &&u64| resumed(streams, at(**stream, 0)).is_some();
        of.iter().filter(is_kept).copied().collect::<Vec<_>>()
    };
    park("long, but alone");
    assert_eq!(kept(&streams, &[1]), [1]);
    park("12345");
    assert_eq!(kept(&streams, &[1]).len(), 0);
    let outbox = park("67890");
    assert_eq!(kept(&streams, &[2, 3]), [2, 3], "together they just fit");
    outbox.send_event("more".into(), EventKind::Message, &call);
    assert_eq!(kept(&streams, &[2, 3]), [3], "looked at when it arrives");
}

/// What arrives while nobody is there is on the session's account, an answer, too.
#[test]
fn law_13_what_arrives_at_a_parked_stream_is_charged_to_its_session() {
    let (_canceller, call) = outbox::source();
    let streams = streams(8, 100);
    let (outbox, receiver) = new_outbox();
    streams.open(outbox.clone()).park(receiver);
    outbox.send_event("12345".into(), EventKind::Message, &call);
    let used = streams.memory.used();
    assert!(used > 5);
    let charge = outbox.charge_answer(100).expect("there is room");
    assert_eq!(streams.memory.used(), used + 100);
    drop(charge);
    streams.forget_what_waits();
    assert_eq!(streams.memory.used(), 0);
    assert!(outbox.reserve().is_none(), "nobody can come back for it");
}

#[test]
fn law_13_the_oldest_of_what_waits_makes_room_and_an_empty_stream_is_left_alone() {
    let streams = streams(9, 100);
    let park = |bytes: &[u8]| {
        let (outbox, receiver) = new_outbox();
        let stream = streams.open(outbox);
        if !bytes.is_empty() {
            let call = outbox::EventSource::new(crate::base::cancel::cancellation().1);
            receiver
                .outbox()
                .send_event(bytes.to_vec(), EventKind::Message, &call);
        }
        stream.park(receiver);
    };
    park(b"");
    park(b"aaa");
    park(b"bbb");
    park(b"c");
    streams.make_room(4);
    let lives = |stream| resumed(&streams, at(stream, 0)).is_some();
    assert_eq!([1, 2, 3, 4].map(lives), [true, false, false, true]);
    streams.make_room(usize::MAX);
    assert_eq!([1, 4].map(lives), [true, false]);
}

#[test]
fn a_stream_that_is_dropped_is_forgotten() {
    let streams = streams(2, 100);
    let (outbox, _receiver) = new_outbox();
    let stream = streams.open(outbox);
    stream.sending(b"a");
    assert_eq!(streams.idle_for(awake::now()), Some(Duration::ZERO));
    drop(stream);
    assert_eq!(resumed(&streams, at(1, 0)), None);
    assert_eq!(streams.state.lock().replay.bytes, 0);
}

#[test]
fn a_client_that_comes_back_supersedes_the_connection_that_has_the_stream() {
    let streams = streams(2, 100);
    let (outbox, receiver) = new_outbox();
    let stream = streams.open(outbox.clone());
    assert!(matches!(
        streams.resume(at(1, 0), Instant::now()),
        Resumed::InUse
    ));
    let carrying = thread::spawn(move || {
        assert!(matches!(receiver.recv(Some(after(LONG))), Item::Superseded));
        stream.park(receiver);
    });
    let Resumed::Rest(_, Some((_stream, receiver))) = streams.resume(at(1, 0), after(LONG)) else {
        panic!("it has been let go");
    };
    carrying.join().expect("it does not panic");
    let slot = outbox.reserve().expect("the receiver lives");
    let access = Access::immediate(RequestTag::fresh(None), "test", Outcome::Ok);
    slot.send(Answer::new(b"answer".to_vec(), None, Era::Legacy, access));
    assert!(matches!(receiver.recv(Some(after(LONG))), Item::Answer(_)));
}

/// A connection that breaks is half through with parking its stream when the client is back for it: what is told of arrivals takes the lock of these
/// streams.
#[test]
fn a_client_that_is_back_before_its_broken_connection_has_let_go_gets_the_stream() {
    let streams = streams(2, 100);
    let (outbox, receiver) = new_outbox();
    let stream = streams.open(outbox);
    let told = Arc::clone(&streams);
    assert!(receiver.park(&streams.memory, move || told.arrived()));
    thread::spawn(move || {
        assert!(matches!(receiver.recv(Some(after(LONG))), Item::Superseded));
        stream.park(receiver);
    });
    let (resumed, back) = mpsc::channel();
    thread::spawn(move || resumed.send(streams.resume(at(1, 0), after(LONG))));
    let found = back.recv_timeout(LONG);
    assert!(matches!(found, Ok(Resumed::Rest(_, Some(_)))));
}

#[test]
fn an_announcement_goes_to_the_latest_listener_only() {
    let streams = streams(2, 100);
    let [(one, first), (two, second)] = [new_outbox(), new_outbox()];
    let _listens = streams.listen(one).expect("the session lives");
    let latest = streams.listen(two).expect("the session lives");
    streams.announce(b"a".to_vec());
    assert_eq!((heard(&first).len(), heard(&second)), (0, vec!["a".into()]));
    streams.announce(b"b".to_vec());
    latest.end(heard(&second).into_iter().map(String::into_bytes));
    streams.announce(b"c".to_vec());
    assert_eq!(
        heard(&first),
        ["b", "c"],
        "what was not heard is heard here"
    );
}

#[test]
fn law_9_announcements_wait_once_each_and_within_bounds() {
    let streams = streams(2, 10);
    for message in ["1", "2", "1", "3", "4"] {
        streams.announce(message.into());
    }
    let (outbox, receiver) = new_outbox();
    let listening = streams.listen(outbox).expect("the session lives");
    assert_eq!(heard(&receiver), ["2", "3", "4"]);
    drop(listening);
    for message in ["12345", "67890", "a"] {
        streams.announce(message.into());
    }
    let (outbox, receiver) = new_outbox();
    let _listening = streams.listen(outbox).expect("the session lives");
    assert_eq!(heard(&receiver), ["67890", "a"]);
}

#[test]
fn an_ended_session_keeps_nothing() {
    let streams = streams(2, 100);
    let [(one, parked), (two, open), (three, listening)] =
        [new_outbox(), new_outbox(), new_outbox()];
    streams.open(one).park(parked);
    let stream = streams.open(two);
    let listens = streams.listen(three).expect("the session lives");
    streams.end();
    assert!(matches!(listening.recv(Some(after(LONG))), Item::Finished));
    drop(listens);
    stream.sending(b"late");
    stream.park(open);
    streams.announce(b"late".to_vec());
    for stream in [1, 2] {
        assert_eq!(resumed(&streams, at(stream, 0)), None);
    }
    assert!(streams.listen(new_outbox().0).is_none());
    let state = streams.state.lock();
    assert!(state.answering.is_empty() && state.replay.bytes == 0 && state.backlog.is_empty());
}
