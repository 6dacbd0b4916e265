//! Which sessions are kept, which go, and what each may keep.

use super::*;
use crate::base::budget::{Budget, OverBudget};
use crate::handler::client::Client;
use crate::legacy::session::SESSION_BYTES;
use crate::outbox::{self, Outbox};
use crate::protocol::version::ProtocolVersion;

fn session() -> Session {
    session_in(&Budget::whole(usize::MAX))
}

fn session_in(memory: &Arc<Budget>) -> Session {
    let client = Client::new(None, None, ProtocolVersion::V2025_11_25);
    Session::new(
        Owner::new_session(),
        client,
        Arc::default(),
        &Arc::default(),
        memory,
    )
    .expect("there is room")
}

fn new_outbox() -> Outbox {
    outbox::new_outbox(1, 1).0
}

#[test]
fn law_9_the_longest_idle_session_makes_room() {
    let sessions = SessionTable::new(2, Duration::from_secs(3600));
    let first = sessions.open(session()).expect("there is room");
    let second = sessions.open(session()).expect("there is room");
    assert!(
        sessions.find(&first).is_some(),
        "found, so it is the more recently used one"
    );
    let third = sessions.open(session()).expect("the second makes room");
    assert_eq!(sessions.len(), 2);
    assert!(sessions.find(&second).is_none());
    assert!(sessions.find(&first).is_some() && sessions.find(&third).is_some());
}

#[test]
fn law_9_a_session_that_was_never_used_makes_room_first() {
    let sessions = SessionTable::new(3, Duration::from_secs(3600));
    let used = sessions.open(session()).expect("there is room");
    assert!(sessions.find(&used).is_some());
    let flood: Vec<_> = (0..100)
        .map(|_| sessions.open(session()).expect("one makes room"))
        .collect();
    assert_eq!(sessions.len(), 3);
    assert!(sessions.find(&used).is_some(), "the only one that was used");
    let newest = flood.last().expect("there are many");
    assert!(sessions.find(newest).is_some(), "the oldest went first");
    assert!(sessions.find(&flood[98]).is_some());
    let last = sessions.open(session()).expect("one makes room");
    assert!(sessions.find(&used).is_none(), "now the longest idle");
    assert!(sessions.find(&last).is_some());
}

/// Or in a table that is full of used ones nobody could begin any more while somebody floods it.
#[test]
fn law_9_a_newcomer_has_time_for_its_second_message() {
    let sessions = SessionTable::new(32, Duration::from_secs(3600));
    let used = |id: &Arc<str>| sessions.find(id).is_some();
    let open = || sessions.open(session()).expect("one makes room");
    let regulars: Vec<_> = (0..32).map(|_| open()).filter(used).collect();
    let newcomers: Vec<_> = (0..3).map(|_| open()).collect();
    assert!(used(&newcomers[0]), "two others do not push it out");
    for _ in 0..100 {
        open();
    }
    assert!(used(&newcomers[0]) && !used(&newcomers[1]));
    let left = regulars.iter().filter(|id| used(id)).count();
    assert_eq!(left, 28, "no more than a few were lost to the flood");
}

#[test]
fn law_9_an_adopted_session_goes_first_and_pushes_out_none_that_is_used() {
    let sessions = SessionTable::new(3, Duration::from_secs(3600));
    let open = |is_adopted| {
        let mut session = session();
        session.is_adopted = is_adopted;
        let id = sessions.open(session)?;
        sessions.find(&id).map(|_| id)
    };
    let honest = [(); 3].map(|()| open(false).expect("there is room"));
    assert!(open(true).is_none(), "all that are there are used");
    assert!(sessions.end(&honest[0]));
    let adopted = open(true).expect("there is room");
    let other = open(true).expect("the adopted one makes room");
    assert!(sessions.find(&adopted).is_none());
    open(false).expect("the adopted one makes room");
    assert!(sessions.find(&other).is_none() && sessions.find(&honest[1]).is_some());
}

#[test]
fn law_9_what_was_deleted_is_not_adopted_and_what_is_remembered_is_bounded() {
    let sessions = SessionTable::new(3, Duration::from_secs(3600));
    let id = sessions.open(session()).expect("there is room");
    assert!(sessions.may_adopt(&id) && sessions.delete(&id));
    assert!(!sessions.may_adopt(&id) && !sessions.may_adopt("") && !sessions.may_adopt("a b"));
    assert!(!sessions.may_adopt(&"x".repeat(ADOPTED_ID_MAX + 1)));
    for number in 0..DELETED_MAX {
        sessions.delete(&number.to_string());
    }
    assert_eq!(sessions.deleted.lock().len(), DELETED_MAX);
    assert!(!sessions.may_adopt("0"));
}

#[test]
fn law_13_what_waits_makes_room_and_then_sessions_that_are_idle() {
    let memory = Budget::whole(usize::MAX);
    let sessions = SessionTable::new(9, Duration::from_secs(3600));
    let opened = [0, 1, 2].map(|_| {
        let id = sessions.open(session_in(&memory)).expect("there is room");
        sessions.find(&id).expect("it lives")
    });
    for session in &opened {
        session.streams.announce(vec![0; 1000]);
    }
    let waits = || {
        opened
            .each_ref()
            .map(|session| session.memory.used() > SESSION_BYTES)
    };
    sessions.free(1500);
    assert_eq!(waits(), [false, false, true], "the longest idle first");
    let listened = opened[1].streams.listen(new_outbox());
    sessions.free(1000 + SESSION_BYTES);
    assert_eq!(waits(), [false; 3]);
    assert_eq!(
        sessions.len(),
        2,
        "then the session that is idle the longest"
    );
    sessions.free(SESSION_BYTES + 1);
    assert_eq!(sessions.len(), 2, "none whose end would not be enough");
    sessions.free(SESSION_BYTES);
    sessions.free(SESSION_BYTES);
    assert_eq!(sessions.len(), 1, "one whose client listens is not idle");
    drop(listened);
    drop(opened);
    sessions.free(SESSION_BYTES);
    assert_eq!((sessions.len(), memory.used()), (0, 0));
}

#[test]
fn law_13_what_a_client_says_about_itself_is_charged() {
    let memory = Budget::whole(SESSION_BYTES + 20);
    let raw = serde_json::value::RawValue::from_string(format!("\"{}\"", "x".repeat(18)));
    let raw = raw.expect("it is JSON");
    let version = ProtocolVersion::V2025_11_25;
    let open = |info| {
        let client = Client::new(info, None, version);
        Session::new(
            Owner::new_session(),
            client,
            Arc::default(),
            &Arc::default(),
            &memory,
        )
    };
    let first = open(Some(&raw)).expect("it just fits");
    assert_eq!(open(None).err(), Some(OverBudget::Whole));
    drop(first);
    open(None).expect("there is room again");
}

#[test]
fn a_session_with_an_open_stream_is_not_idle() {
    let sessions = SessionTable::new(1, Duration::from_secs(3600));
    let id = sessions.open(session()).expect("there is room");
    let streams = Arc::clone(&sessions.find(&id).expect("it lives").streams);
    let listening = streams.listen(new_outbox());
    assert!(sessions.open(session()).is_none(), "its client is alive");
    drop(listening);
    assert!(sessions.open(session()).is_some(), "it makes room");
    assert!(sessions.find(&id).is_none());
    assert!(streams.listen(new_outbox()).is_none(), "it has ended");
}

#[test]
fn a_silent_session_ends() {
    for sweep in [false, true] {
        let sessions = SessionTable::new(2, Duration::ZERO);
        let id = sessions.open(session()).expect("there is room");
        match sweep {
            true => sessions.sweep(),
            false => assert!(sessions.find(&id).is_none()),
        }
        assert_eq!(sessions.len(), 0);
    }
    let sessions = SessionTable::new(2, Duration::from_secs(3600));
    sessions.open(session()).expect("there is room");
    sessions.sweep();
    assert_eq!(sessions.len(), 1);
}

#[test]
fn law_4_two_requests_that_adopt_a_session_at_once_have_the_same_one() {
    let sessions = SessionTable::new(1, Duration::from_secs(3600));
    let adopted = || {
        let mut session = session();
        (session.owner, session.is_adopted) = (Owner::Session("theirs".into()), true);
        session
    };
    assert!(sessions.open(adopted()).is_some());
    let first = sessions.find("theirs").expect("it is there");
    // Has looked before the first one was opened.
    assert!(sessions.open(adopted()).is_some());
    let second = sessions.find("theirs").expect("it is there");
    assert!(
        Arc::ptr_eq(&first, &second),
        "its calls and its streams are in one place"
    );
    assert!(!first.calls.span().is_over());
}
