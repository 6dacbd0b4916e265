//! Whose turn it is: connections that rest on one thread keep each other waiting no longer than for a moment, also while the front stops.

use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex};

use super::super::connection::Common;
use super::super::reactor;
use super::super::registry::Connections;
use super::super::socket::Socket;
use super::*;
use crate::base::lock::Lock;

/// Two connections that rest on one thread.
fn two(front: &GuardedFront) -> [Client<TcpStream>; 2] {
    let first = connect(front);
    (1..reactor::reactors()).for_each(|_| drop(connect(front)));
    [first, connect(front)]
}

/// None of these turns lasts, and yet who stands at the end of the line does not wait for all of them.
#[test]
fn law_06_turns_that_are_short_and_many_are_relieved() {
    const EACH: Duration = Duration::from_millis(30);
    // So many that have their turn at once meet, which they do only where two in one line are relieved.
    let many = reactor::reactors() + 2;
    let meeting = Arc::new((Mutex::new(0), Condvar::new()));
    let place = Arc::clone(&meeting);
    let (front, _) = saying(patient(), move |_, _| {
        let (there, changed) = &*place;
        let mut count = there.lock().expect("no panic");
        *count += 1;
        changed.notify_all();
        let apart = |count: &mut usize| *count < many;
        let waited = changed.wait_timeout_while(count, EACH, apart);
        let (mut count, waited) = waited.expect("no panic");
        match waited.timed_out() {
            true => *count -= 1,
            false => *count = usize::MAX / 2,
        }
        Some("had its turn".to_owned())
    });
    let have_met = || {
        (1..20).any(|_| {
            let mut clients: Vec<_> = (0..10 * many).map(|_| connect(&front)).collect();
            clients.iter_mut().for_each(|client| client.send(get("/x")));
            for client in &mut clients {
                assert_eq!(client.answer().text(), "had its turn");
            }
            *meeting.0.lock().expect("no panic") > many
        })
    };
    assert!(have_met());
    assert_eq!(front.join(Instant::now() + PATIENCE), 0);
}

/// Who sends ahead more than the front reads at once is heard of while it goes on anyway, and has one turn for both.
#[test]
fn who_sends_ahead_has_one_turn_a_round() {
    let turns = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&turns);
    let (front, open) = saying(patient(), move |request, _| {
        let who = request.strip_prefix("GET /").expect("so it asks");
        noted.lock().expect("no panic").push_str(&who[..1]);
        Some(String::new())
    });
    // How many of the greedy one are answered between two turns of the modest one, all of whose requests are read at once. A turn that was interrupted, on a
    // machine that is busy, lets the greedy one go on beside it.
    let between = || {
        let [mut greedy, mut modest] = two(&front);
        let mut sending = Client::new(greedy.stream.try_clone().expect("a handle"));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    sending.send(get("/g").repeat(100));
                }
                let _it_is_connected = sending.stream.shutdown(Shutdown::Both);
            });
            assert_eq!(greedy.answer().status, 200);
            scope.spawn(|| io::copy(&mut greedy.stream, &mut io::sink()));
            modest.send(get("/m").repeat(64));
            (0..64).for_each(|_| assert_eq!(modest.answer().status, 200));
            is_over.store(true, Ordering::Relaxed);
        });
        drop(modest);
        await_that("both to leave", || open.load(Ordering::Relaxed) == 0);
        let turns = std::mem::take(&mut *turns.lock().expect("no panic"));
        let rounds = turns.trim_matches('g').split('m');
        let mut greedy: Vec<_> = rounds.map(str::len).filter(|count| *count > 0).collect();
        greedy.sort_unstable();
        greedy.get(greedy.len() / 2).copied()
    };
    assert!((0..9).any(|_| between() == Some(8)));
    assert_eq!(front.join(Instant::now() + PATIENCE), 0);
}

/// A reactor does not end with the last connection as long as another may be admitted.
#[test]
fn law_12_the_last_connection_that_is_admitted_is_answered() {
    let connections = Arc::new(Connections::default());
    let common = Arc::new(Common {
        connections: Arc::clone(&connections),
        limits: Arc::new(patient()),
        memory: Budget::whole(usize::MAX),
        slips: Lock::default(),
    });
    let says = Says(|_: &str, _| Some("the last".to_owned()));
    let welcome = reactor::start(&Arc::new(says), &common).expect("it starts");
    connections.announce_stop();
    for _ in 0..20 {
        let (ours, theirs) = UnixStream::pair().expect("descriptors");
        theirs.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut client = Client::new(theirs);
        client.send(get("/x"));
        let (fd, peer) = (ours.into(), None);
        let admitted = connections.admit(Socket { fd, peer }, 1).ok();
        let (link, leave) = admitted.expect("the one before makes room");
        welcome(link, leave);
        assert_eq!(client.answer().text(), "the last");
        client.expect_end();
    }
    connections.stop();
    assert_eq!(connections.join(Instant::now() + PATIENCE), 0);
}

/// What was accepted is finished when the front stops, and there too nobody waits for another's turn.
#[test]
fn law_12_a_turn_that_lasts_is_relieved_while_the_front_stops() {
    let (rests, resting) = unbounded();
    let (release, released) = unbounded();
    let (mut front, _) = saying(patient(), move |request, ring| {
        let is_first = request.starts_with("GET /first ");
        match ring {
            Some(ring) => {
                rests.send(ring).expect("the test listens");
                return None;
            }
            None if is_first => released.recv_timeout(PATIENCE).expect("the other's answer"),
            None => {}
        }
        Some(request.to_owned())
    });
    let [mut first, mut second] = two(&front);
    first.send(get("/first"));
    let ring_first: Wake = resting.recv_timeout(PATIENCE).expect("it rests");
    second.send(get("/second"));
    let ring_second: Wake = resting.recv_timeout(PATIENCE).expect("it rests");
    front.stop_accepting();
    ring_first();
    ring_second();
    assert_eq!(second.answer().text(), "GET /second [] 0");
    release.send(()).expect("it waits");
    assert_eq!(first.answer().text(), "GET /first [] 0");
    assert_eq!(front.join(Instant::now() + PATIENCE), 0);
}
