//! The short way: what it takes, what it leaves, and that no answer is lost or said twice between the two ways.

use std::mem::ManuallyDrop;
use std::sync::Mutex;

use crossbeam_channel::{Receiver, unbounded};

use super::*;

/// A short way that does with the answers what `takes` says, and keeps the texts it was given.
fn short(takes: impl Fn(Answer) -> ShortSent + Send + 'static) -> (ShortWay, Receiver<String>) {
    let (given, seen) = unbounded();
    let way = move |answer: Answer| {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        given.send(text).expect("the test listens");
        takes(answer)
    };
    (Box::new(way), seen)
}

/// Counts how often it is woken.
fn counting() -> (Wake, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let wake = move || {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    (Arc::new(wake), count)
}

fn try_next(receiver: &OutboxReceiver, wake: &Wake, rings: Rings) -> Result<String, Pending> {
    let item = receiver.try_recv(wake, rings)?;
    Ok(match item {
        Item::Answer(answer) => format!("answer {}", String::from_utf8_lossy(&answer.body)),
        Item::Rest(rest) => format!("rest {}", String::from_utf8_lossy(rest.bytes())),
        Item::Event(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Item::Sent => "sent".into(),
        Item::NoAnswer(_) => "no answer".into(),
        other => format!("{other:?}"),
    })
}

#[test]
fn an_answer_on_the_short_way_wakes_only_a_receiver_that_has_to_hear_of_it() {
    for (rings, woken) in [(Rings::ForItems, 0), (Rings::ForSent, 1)] {
        let (outbox, receiver) = new_outbox(1, 99);
        let (way, seen) = short(|_| ShortSent::All);
        receiver.set_short_way(Some(way));
        let (wake, count) = counting();
        let slot = outbox.reserve().expect("the receiver lives");
        assert_eq!(try_next(&receiver, &wake, rings), Err(Pending::Nothing));
        slot.send(answer("short"));
        assert_eq!(seen.try_recv().as_deref(), Ok("short"));
        assert_eq!(count.load(Ordering::SeqCst), woken);
        assert_eq!(try_next(&receiver, &wake, rings).as_deref(), Ok("sent"));
        outbox.close();
        assert_eq!(next(&receiver), "finished");
    }
}

/// Nothing but the outbox wakes it: its owner has no bell by which the client's next word could.
#[test]
fn a_receiver_that_waits_here_until_a_deadline_hears_of_an_answer_on_the_short_way() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let (outbox, receiver) = new_outbox(1, 99);
    let (way, seen) = short(|_| ShortSent::All);
    receiver.set_short_way(Some(way));
    let slot = outbox.reserve().expect("the receiver lives");
    let (heard, hears) = unbounded();
    std::thread::spawn(move || {
        let item = receiver.recv(Some(Instant::now() + 10 * PATIENCE));
        heard.send(matches!(item, Item::Sent))
    });
    while outbox.0.lock().waits.is_none() {
        std::thread::yield_now();
    }
    slot.send(answer("short"));
    assert_eq!(seen.try_recv().as_deref(), Ok("short"));
    assert_eq!(hears.recv_timeout(PATIENCE), Ok(true));
}

/// Else an answer that had to be queued would make it yield, and so the next one be queued, too.
#[test]
fn an_answer_goes_the_short_way_while_the_receiver_yields() {
    let (outbox, receiver) = new_outbox(1, 99);
    let (way, seen) = short(|_| ShortSent::All);
    receiver.set_short_way(Some(way));
    let slot = outbox.reserve().expect("the receiver lives");
    assert!(receiver.recv_soon().is_none());
    slot.send(answer("short"));
    assert_eq!(seen.try_recv().as_deref(), Ok("short"));
    assert!(matches!(receiver.recv_soon(), Some(Item::Sent)));
}

#[test]
fn the_short_way_is_not_taken_past_what_waits_or_a_receiver_that_is_awake() {
    let (outbox, receiver) = new_outbox(3, 99);
    let (way, seen) = short(|_| ShortSent::All);
    receiver.set_short_way(Some(way));
    let (wake, count) = counting();
    let (_canceller, call) = source();
    let place = |()| outbox.reserve().expect("the receiver is there");
    let [awake, behind, withdrawn] = [(); 3].map(place);
    awake.send(answer("awake"));
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems).as_deref(),
        Ok("answer awake")
    );
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems),
        Err(Pending::Nothing)
    );
    message(&outbox, &call, "event");
    behind.send(answer("behind"));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems).as_deref(),
        Ok("event")
    );
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems).as_deref(),
        Ok("answer behind")
    );
    receiver.set_short_way(None);
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems),
        Err(Pending::Nothing)
    );
    withdrawn.send(answer("withdrawn"));
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems).as_deref(),
        Ok("answer withdrawn")
    );
    assert!(seen.is_empty());
}

#[test]
fn what_the_short_way_leaves_comes_first_whatever_arrives_meanwhile() {
    type Row = (fn(Answer) -> ShortSent, &'static str, bool);
    let rows: [Row; 3] = [
        (
            |answer| ShortSent::Part(Rest { answer, from: 2 }),
            "rest rst",
            true,
        ),
        (ShortSent::Nothing, "answer first", true),
        // The receiver has slept through it all, and is woken for what came meanwhile.
        (|_| ShortSent::All, "sent", false),
    ];
    for (takes, left, looks) in rows {
        let (outbox, receiver) = new_outbox(2, 99);
        let (wake, count) = counting();
        let (_canceller, call) = source();
        let first = outbox.reserve();
        let later = outbox.clone();
        let (meanwhile, waker) = (receiver.0.clone(), Arc::clone(&wake));
        let (way, _seen) = short(move |answer| {
            // Nobody holds a lock that the receiver needs, and it finds nothing that it could write beside this.
            let receiver = ManuallyDrop::new(OutboxReceiver(Arc::clone(&meanwhile)));
            message(&later, &call, "event");
            let second = later.reserve().expect("a place");
            second.send(super::answer("second"));
            if looks {
                assert_eq!(
                    try_next(&receiver, &waker, Rings::ForItems),
                    Err(Pending::Sending)
                );
            }
            takes(answer)
        });
        receiver.set_short_way(Some(way));
        assert_eq!(
            try_next(&receiver, &wake, Rings::ForItems),
            Err(Pending::Nothing)
        );
        first.expect("a place").send(answer("first"));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let read = read(&receiver);
        assert_eq!(read, [left, "event", "answer second"]);
    }
}

#[test]
fn answers_to_requests_that_came_together_leave_together_and_the_last_goes_the_short_way() {
    let (outbox, receiver) = new_outbox(3, 99);
    let (way, seen) = short(|_| ShortSent::All);
    receiver.set_short_way(Some(way));
    let (wake, _count) = counting();
    outbox.set_pace(Pace::BetweenBursts);
    let [first, second, last] = [(); 3].map(|()| outbox.reserve().expect("a place"));
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems),
        Err(Pending::Nothing)
    );
    first.send(answer("first"));
    second.send(answer("second"));
    assert_eq!(read(&receiver), ["answer first", "answer second"]);
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems),
        Err(Pending::Nothing)
    );
    assert!(seen.try_recv().is_err());
    last.send(answer("last"));
    assert_eq!(seen.try_recv().as_deref(), Ok("last"));
}

#[test]
fn what_is_answered_in_a_burst_leaves_together_at_its_end() {
    let (outbox, receiver) = new_outbox(9, 1 << 20);
    let (way, seen) = short(|_| ShortSent::All);
    receiver.set_short_way(Some(way));
    let (wake, count) = counting();
    outbox.set_pace(Pace::Burst);
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems),
        Err(Pending::Nothing)
    );
    for text in ["first", "second"] {
        let slot = outbox.reserve().expect("the receiver lives");
        slot.send(answer(text));
    }
    assert_eq!(count.load(Ordering::SeqCst), 0, "nobody is woken");
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems),
        Err(Pending::Nothing)
    );
    outbox.set_pace(Pace::BetweenBursts);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(read(&receiver), ["answer first", "answer second"]);
    assert!(seen.try_recv().is_err());
}

/// The thread that would end the burst waits for what is held back.
#[test]
fn law_2_a_burst_that_waits_for_room_holds_nothing_back() {
    let (outbox, receiver) = new_outbox(1, 1 << 20);
    let (woken, wakes) = unbounded();
    let wake: Wake = Arc::new(move || {
        let _heard = woken.send(());
    });
    outbox.set_pace(Pace::Burst);
    let slot = outbox.reserve().expect("the receiver lives");
    slot.send(answer("first"));
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems),
        Err(Pending::Nothing)
    );
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| outbox.reserve_in_room());
        assert_eq!(wakes.recv_timeout(Duration::from_secs(60)), Ok(()));
        assert_eq!(read(&receiver), ["answer first"]);
        assert!(waiting.join().expect("it does not panic").is_some());
    });
}

#[test]
fn a_short_way_that_panics_loses_one_answer_and_nobody_waits_for_it() {
    let (outbox, receiver) = new_outbox(1, 99);
    let (way, _seen) = short(|_| panic!("sending went wrong"));
    receiver.set_short_way(Some(way));
    let (wake, count) = counting();
    let slot = outbox.reserve().expect("the receiver lives");
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems),
        Err(Pending::Nothing)
    );
    slot.send(answer("lost"));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems).as_deref(),
        Ok("no answer")
    );
}

#[test]
fn a_receiver_that_leaves_while_an_answer_is_sent_takes_the_short_way_with_it() {
    let (outbox, receiver) = new_outbox(1, 99);
    let dropped = Arc::new(());
    let kept = Arc::clone(&dropped);
    let gone = Arc::new(Mutex::new(None::<OutboxReceiver>));
    let leaves = Arc::clone(&gone);
    let (way, _seen) = short(move |answer| {
        let _held = &kept;
        drop(leaves.lock().expect("one at a time").take());
        ShortSent::Nothing(answer)
    });
    receiver.set_short_way(Some(way));
    let (wake, _count) = counting();
    let slot = outbox.reserve().expect("the receiver lives");
    assert_eq!(
        try_next(&receiver, &wake, Rings::ForItems),
        Err(Pending::Nothing)
    );
    *gone.lock().expect("one at a time") = Some(receiver);
    slot.send(answer("to nobody"));
    assert_eq!(Arc::strong_count(&dropped), 1);
    assert!(outbox.reserve().is_none());
}

#[test]
fn an_outbox_is_used_again_with_its_short_way_if_it_is_as_it_was() {
    let (outbox, receiver) = new_outbox(1, 99);
    drop(outbox);
    let (way, seen) = short(|_| ShortSent::All);
    let (wake, _count) = counting();
    let (mut kept, mut way) = (receiver, Some(way));
    for text in ["first", "second"] {
        assert!(kept.open_short_way(|| way.take()));
        let slot = kept.outbox().reserve().expect("the receiver lives");
        assert_eq!(
            try_next(&kept, &wake, Rings::ForItems),
            Err(Pending::Nothing)
        );
        slot.send(answer(text));
        assert_eq!(seen.try_recv().as_deref(), Ok(text));
        assert_eq!(
            try_next(&kept, &wake, Rings::ForItems).as_deref(),
            Ok("sent")
        );
        kept = kept.renew().expect("it is as it was");
    }
}

#[test]
fn an_outbox_that_somebody_has_or_that_has_something_left_is_not_used_again() {
    let (_canceller, call) = source();
    type Leave<'a> = &'a dyn Fn(&Outbox, &OutboxReceiver);
    let left: [(&str, Leave<'_>); 5] = [
        ("no answer", &|outbox, _| drop(outbox.reserve())),
        ("an event", &|outbox, _| progress(outbox, &call, "1")),
        ("its end", &|outbox, _| outbox.close()),
        ("a detachment", &|outbox, _| outbox.detach()),
        ("an account", &|_, receiver| {
            let _has_room = receiver.park(&Budget::whole(9), || {});
        }),
    ];
    for (what, leave) in left {
        let (outbox, receiver) = new_outbox(1, 99);
        leave(&outbox, &receiver);
        drop(outbox);
        assert!(receiver.renew().is_none(), "{what}");
    }
    let (outbox, receiver) = new_outbox(1, 99);
    assert!(receiver.renew().is_none());
    assert!(outbox.reserve().is_none(), "nobody reads any more");
}

/// The client may have asked again by then: the next answer needs no wake-up either.
#[test]
fn an_answer_that_meets_another_on_the_short_way_leaves_with_it() {
    let (outbox, receiver) = new_outbox(2, 99);
    let first = outbox.reserve().expect("the receiver lives");
    let mut second = outbox.reserve();
    let (given, seen) = unbounded();
    let way = move |answer: Answer| {
        if let Some(slot) = second.take() {
            slot.send(super::answer("second"));
        }
        given.send(answer.body).expect("the test listens");
        ShortSent::All
    };
    receiver.set_short_way(Some(Box::new(way)));
    let (wake, count) = counting();
    let looked = try_next(&receiver, &wake, Rings::ForItems);
    assert_eq!(looked, Err(Pending::Nothing));
    first.send(answer("first"));
    let sent: Vec<Vec<u8>> = seen.try_iter().collect();
    assert_eq!(sent, [b"first".to_vec(), b"second".to_vec()]);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert!(matches!(receiver.recv(None), Item::Sent));
}

/// Many answer at once while the receiver goes and comes: each answer is found once, by one way or the other, and no wake-up is lost.
#[test]
fn law_4_whichever_way_they_go_answers_are_found_once() {
    const ANSWERS: usize = 400;
    let (outbox, receiver) = new_outbox(ANSWERS, usize::MAX);
    let (way, seen) = short(|answer| match answer.body.last() {
        Some(b'0' | b'5') => ShortSent::Nothing(answer),
        Some(b'3') => ShortSent::Part(Rest { answer, from: 0 }),
        _ => ShortSent::All,
    });
    receiver.set_short_way(Some(way));
    let answering: Vec<_> = (0..4)
        .map(|worker| {
            let outbox = outbox.clone();
            std::thread::spawn(move || {
                for at in (worker..ANSWERS).step_by(4) {
                    let slot = outbox.reserve().expect("the receiver lives");
                    if at % 7 == 0 {
                        std::thread::yield_now();
                    }
                    slot.send(answer(&at.to_string()));
                }
            })
        })
        .collect();
    let closing = std::thread::spawn(move || {
        for thread in answering {
            thread.join().expect("it answers");
        }
        outbox.close();
    });
    let mut found = Vec::new();
    loop {
        match receiver.recv(None) {
            Item::Answer(answer) => found.push(answer.body),
            Item::Rest(rest) => found.push(rest.bytes().to_vec()),
            Item::Sent => {}
            Item::Finished => break,
            other => panic!("{other:?}"),
        }
    }
    closing.join().expect("it closes");
    let text = |body: Vec<u8>| String::from_utf8(body).expect("a number");
    let mut found: Vec<String> = found.into_iter().map(text).collect();
    let left = |at: &&String| !matches!(at.as_bytes().last(), Some(b'0' | b'5' | b'3'));
    let seen: Vec<String> = seen.try_iter().collect();
    found.extend(seen.iter().filter(left).cloned());
    found.sort_by_key(|at| at.parse::<usize>().expect("a number"));
    let all: Vec<String> = (0..ANSWERS).map(|at| at.to_string()).collect();
    assert_eq!(found, all);
}
