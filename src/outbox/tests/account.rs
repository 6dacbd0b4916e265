//! What the outbox keeps is on an account, until it has been written or somebody else pays for it.

use super::*;

#[test]
fn law_9_bytes_are_bounded_by_the_outbox_and_by_the_account() {
    let account = Budget::whole(usize::MAX);
    let (outbox, receiver) = outbox_on(&account, 4, 10);
    let (_canceller, call) = source();
    for event in ["12345", "67890", "abcdef", "longer than all"] {
        message(&outbox, &call, event);
    }
    assert_eq!(
        (read(&receiver), call.dropped()),
        (vec!["abcdef".into()], 3)
    );
    assert_eq!(account.used(), 0);
    message(&outbox, &call, "ghijkl");
    let slot = outbox.reserve().expect("the receiver lives");
    slot.send(answer("0123456789"));
    assert_eq!(read(&receiver), ["ghijkl", "answer 0123456789"]);

    message(&outbox, &call, "1");
    let narrow = Budget::whole(2 * account.used() + 1);
    drop(receiver);
    assert_eq!(account.used(), 0, "nobody reads it");
    let (outbox, receiver) = outbox_on(&narrow, 4, 1000);
    for event in ["1", "2", "3"] {
        message(&outbox, &call, event);
    }
    assert_eq!(read(&receiver), ["2", "3"], "the account has room for two");
    let elsewhere = narrow.charge(narrow.used() + 100).expect("it is empty");
    message(&outbox, &call, "4");
    message(&outbox, &call, "5");
    drop(elsewhere);
    assert_eq!(read(&receiver), ["5"]);
}

/// What is parked is on its session's account, and somebody is told of what arrives.
#[test]
fn law_13_what_is_parked_is_charged_to_another_account() {
    let (server, session) = (Budget::whole(usize::MAX), Budget::whole(usize::MAX));
    let (outbox, receiver) = outbox_on(&server, 1, 1000);
    let (_canceller, call) = source();
    message(&outbox, &call, "before");
    let told = Arc::new(AtomicUsize::new(0));
    let tell = Arc::clone(&told);
    let tell = move || {
        tell.fetch_add(1, Ordering::Relaxed);
    };
    assert!(receiver.park(&session, tell));
    assert_eq!(server.used(), 0);
    let parked = session.used();
    message(&outbox, &call, "behind");
    assert_eq!(
        (session.used(), told.load(Ordering::Relaxed)),
        (2 * parked, 1)
    );
    let charge = outbox.charge_answer(7).expect("there is room");
    assert_eq!(session.used(), 2 * parked + 7);
    drop(charge);
    receiver.read_on();
    assert_eq!(read(&receiver), ["before", "behind"]);
    message(&outbox, &call, "later");
    assert_eq!(told.load(Ordering::Relaxed), 1, "it is not parked any more");
    assert!(!receiver.park(&Budget::whole(3), || ()), "no room there");
}

/// A part of it has been sent, and all of it is in memory.
#[test]
fn law_13_the_rest_of_an_answer_is_parked_on_the_other_account_too() {
    let (server, session) = (Budget::whole(99), Budget::whole(99));
    let (outbox, receiver) = outbox_on(&server, 1, 1000);
    receiver.set_short_way(Some(Box::new(|answer| {
        ShortSent::Part(Rest { answer, from: 3 })
    })));
    let wake: Wake = Arc::new(|| ());
    assert!(receiver.try_recv(&wake, Rings::ForItems).is_err());
    let slot = outbox.reserve().expect("the receiver lives");
    let mut answer = answer("0123456789");
    answer.charge = Some(outbox.charge_answer(10).expect("there is room"));
    slot.send(answer);
    assert_eq!((server.used(), session.used()), (10, 0));
    assert!(receiver.park(&session, || ()));
    assert_eq!((server.used(), session.used()), (0, 10));
}

/// What the receiver has taken out it is writing, until it comes for more.
#[test]
fn law_13_an_event_is_charged_until_it_has_been_written() {
    let account = Budget::whole(usize::MAX);
    let (outbox, receiver) = outbox_on(&account, 1, 1000);
    let (_canceller, call) = source();
    message(&outbox, &call, "first");
    message(&outbox, &call, "second");
    let both = account.used();
    assert_eq!(next(&receiver), "first");
    let mut more = Events::default();
    receiver.take_events(&mut more, 1000);
    assert_eq!((more.count(), account.used()), (1, both));
    message(&outbox, &call, "third");
    assert!(account.used() > both, "those that are written count");
    assert_eq!(next(&receiver), "third");
    assert_eq!(next(&receiver), "nothing");
    assert_eq!(account.used(), 0);
}

#[test]
fn law_13_events_that_are_read_together_are_charged_until_they_have_been_written() {
    let account = Budget::whole(usize::MAX);
    let (outbox, receiver) = outbox_on(&account, 1, 1000);
    let (canceller, call) = source();
    message(&outbox, &call, "first");
    message(&outbox, &call, "second");
    let both = account.used();
    let mut batch = Vec::new();
    receiver.recv_all(&mut batch, 1000);
    assert_eq!((batch.len(), account.used()), (2, both));
    message(&outbox, &call, "unwanted");
    canceller.cancel();
    assert_eq!(next(&receiver), "nothing");
    assert_eq!(account.used(), 0, "what is not written does not count");
}

#[test]
fn law_13_a_stream_that_is_never_empty_pays_for_what_it_holds() {
    let account = Budget::whole(usize::MAX);
    let (outbox, reader) = outbox_on(&account, 1, 1_000_000);
    let (_canceller, call) = source();
    message(&outbox, &call, "one");
    let one = account.used();
    for _ in 0..999 {
        message(&outbox, &call, "one");
    }
    assert!(account.used() >= 1000 * one);
    let mut taken = Events::default();
    reader.take_events(&mut taken, 999 * "one".len());
    assert_eq!((taken.count(), &*next(&reader)), (999, "one"));
    message(&outbox, &call, "two");
    assert!(account.used() <= 4 * one, "{account:?}");
}
