//! Stopping: the address is free, the idle go at once, those at work finish, and no thread is left.

use std::cell::RefCell;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn the_address_is_free_when_stopping_returns() {
    let mut site = Site::new(patient());
    let address = site.address();
    let mut waiting = site.connect();
    waiting.send(get("/wait"));
    site.entered("/wait");
    site.front.stop_accepting();
    site.front.stop_accepting(); // twice is once
    let refused = TcpStream::connect(address).expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    drop(TcpListener::bind(address).expect("the address is free"));
    site.command(Command::Answer);
    assert!(waiting.answer().closes());
    waiting.expect_end();
    drop(waiting);
    site.close();
}

/// With and without their buffers.
#[test]
fn idle_connections_are_closed_at_once() {
    for buffer_idle_timeout in [PATIENCE, Duration::from_millis(1)] {
        let mut site = Site::new(patient().buffer_idle_timeout(buffer_idle_timeout));
        let mut idle: Vec<_> = (0..10).map(|_| site.connect()).collect();
        for client in &mut idle[..5] {
            assert_eq!(client.get("/x").status, 404);
            site.entered("/x");
        }
        site.await_connections(10);
        std::thread::sleep(Duration::from_millis(20)); // some have no buffer by now
        site.front.stop_accepting();
        for client in &mut idle {
            client.expect_end();
        }
        site.close();
    }
}

#[test]
fn a_call_in_flight_is_answered_and_the_connection_closed() {
    let mut site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/wait"));
    site.entered("/wait");
    site.front.stop_accepting();
    assert!(!site.client_left()); // stopping is not the client's doing
    site.command(Command::Answer);
    let answer = client.answer();
    assert_eq!(answer.text(), "waited");
    assert!(answer.closes());
    client.expect_end();
    drop(client);
    site.close();
}

#[test]
fn a_stream_in_flight_gets_its_end() {
    let mut site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/stream"));
    site.entered("/stream");
    site.command(Command::Send(b"one".to_vec()));
    client.take_through(b"3\r\none\r\n");
    site.front.stop_accepting();
    assert!(!site.client_left());
    site.command(Command::Finish(b"last".to_vec()));
    assert_eq!(client.rest(), b"4\r\nlast\r\n0\r\n\r\n");
    drop(client);
    site.close();
}

/// A request of which a byte has been read is in flight.
#[test]
fn a_request_that_has_begun_to_arrive_is_answered() {
    let mut site = Site::new(patient());
    let mut heading = site.connect();
    heading.send("POST /ec");
    let mut bodying = site.connect();
    bodying.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
    site.entered("/echo");
    // The other's first bytes have been read when its connection is not idle any more; nothing tells, so look.
    await_that("the first bytes to be read", || {
        site.front.connections.at_work() == 2
    });
    site.front.stop_accepting();
    heading.send("ho HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    bodying.send("dy");
    for (client, text) in [(&mut heading, ""), (&mut bodying, "body")] {
        let answer = client.answer();
        assert_eq!(answer.text(), text);
        assert!(answer.closes());
        client.expect_end();
    }
    drop((heading, bodying));
    site.entered("/echo");
    site.close();
}

#[test]
fn what_was_sent_ahead_of_a_stop_is_not_executed_after_it() {
    let mut site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/wait") + &get("/never"));
    site.entered("/wait");
    site.front.stop_accepting();
    site.command(Command::Answer);
    assert!(client.answer().closes());
    client.expect_end();
    drop(client);
    site.close();
}

/// What has not arrived whole when the front stops was never accepted: it does not hold the end, and is told so.
#[test]
fn law_12_half_a_request_holds_no_drain() {
    let site = Site::new(patient());
    let mut heading = site.connect();
    heading.send("POST /ec");
    let mut bodying = site.connect();
    bodying.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
    site.entered("/echo");
    await_that("the first bytes to be read", || {
        site.front.connections.at_work() == 2
    });
    let mut lingering = site.connect();
    lingering.send("nonsense\n");
    assert_eq!(lingering.answer().status, 400);
    let begun = Instant::now();
    assert_eq!(site.front.join(begun + PATIENCE), 0);
    assert!(begun.elapsed() < PATIENCE / 3, "{:?}", begun.elapsed());
    for client in [&mut heading, &mut bodying] {
        let answer = client.answer();
        assert_eq!(answer.status, 503);
        assert!(answer.closes());
        client.expect_end();
    }
    assert!(
        matches!(site.events.try_recv(), Ok(Event::NoBody(why)) if why.contains("Unavailable"))
    );
}

/// Joining waits for those at work, and for no longer than it must.
#[test]
fn join_waits_for_what_is_in_flight() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/wait"));
    site.entered("/wait");
    let (front, commands) = (site.front, site.commands);
    let joining = std::thread::spawn(move || front.join(Instant::now() + PATIENCE));
    await_that("the listener to close", || {
        TcpStream::connect(client.stream.peer_addr().expect("connected")).is_err()
    });
    assert!(!joining.is_finished());
    commands.send(Command::Answer).expect("the toy listens");
    assert!(client.answer().closes());
    drop(client);
    assert_eq!(joining.join().expect("no panic"), 0);
}

/// After the deadline connections are cut, whatever they are doing, and their threads joined.
#[test]
fn join_cuts_what_outlives_its_deadline() {
    let site = Site::new(patient());
    let mut waiting = site.connect();
    waiting.send(get("/wait"));
    site.entered("/wait");
    let mut stuck = site.connect();
    stuck.send(get("/big?100000000")); // and does not read
    site.entered("/big?100000000");
    let mut heading = site.connect();
    heading.send("GET /x HT");
    await_that("the first bytes to be read", || {
        site.front.connections.at_work() == 3
    });
    let mut lingering = site.connect();
    lingering.send("nonsense\n");
    assert_eq!(lingering.answer().status, 400); // has its answer, and does not close
    // What has not arrived whole is nothing that could be lost.
    assert_eq!(site.front.join(Instant::now()), 2);
    waiting.expect_end_or_reset();
    drop(heading);
    let told = [(); 2].map(|()| site.events.recv_timeout(PATIENCE).expect("an event"));
    assert!(told.contains(&Event::Departed), "{told:?}");
    assert!(site.events.is_empty());
}

thread_local! {
    /// Dropped when the thread really ends, which is after everything that it was started to do.
    static AT_THREAD_END: RefCell<Option<SlowEnd>> = const { RefCell::new(None) };
}

/// Counts the threads that have begun to end and those that have, of which the first takes its time.
#[derive(Default)]
struct Ends {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

struct SlowEnd(Arc<Ends>);

impl Drop for SlowEnd {
    fn drop(&mut self) {
        if self.0.begun.fetch_add(1, Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// No thread outlives `join`: not one that ended long ago, nor one that ends at the last moment.
#[test]
fn every_thread_is_joined() {
    let ends = Arc::new(Ends::default());
    let ending = Arc::clone(&ends);
    let (front, _) = saying(patient(), move |_, _| {
        AT_THREAD_END.set(Some(SlowEnd(Arc::clone(&ending))));
        Some("to be joined".to_owned())
    });
    let mut clients: Vec<_> = (0..20).map(|_| connect(&front)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/x").text(), "to be joined");
    }
    clients.truncate(10); // half of them are idle when it stops
    assert_eq!(front.join(Instant::now() + PATIENCE), 0);
    assert_eq!(ends.ended.load(Ordering::SeqCst), 20);
}

/// A request arrives at the very moment in which its idle connection is being closed: it is answered, and the end that we
/// made ourselves is not taken for the client's.
#[test]
fn a_request_that_races_with_a_stop_is_answered() {
    let site = Site::new(patient());
    let mut client = site.connect();
    assert_eq!(client.get("/x").status, 404);
    site.entered("/x");
    await_that("it to be idle", || site.front.connections.at_work() == 0);
    site.front.connections.only().close_while(|| {
        client.send(get("/wait"));
        site.entered("/wait");
    });
    for _ in 0..5 {
        assert!(!site.client_left());
    }
    site.command(Command::Answer);
    let answer = client.answer();
    assert_eq!(answer.text(), "waited");
    assert!(answer.closes(), "nothing more is read of this connection");
    client.expect_end();
    site.close();
}

#[test]
fn a_front_that_is_dropped_stops_and_cuts() {
    let site = Site::new(patient());
    let address = site.address();
    let mut client = site.connect();
    client.send(get("/wait"));
    site.entered("/wait");
    drop(site.front);
    assert!(TcpStream::connect(address).is_err());
    client.expect_end_or_reset();
    assert_eq!(site.events.recv_timeout(PATIENCE), Ok(Event::Departed));
}

/// Under load, while it stops: every request that was executed was answered, and every answer was to a request.
#[test]
fn a_stop_under_load_loses_nothing() {
    let mut site = Site::new(patient());
    let address = site.address();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let stream = TcpStream::connect(address).expect("it listens");
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                let mut client = Client::new(stream);
                let mut answers = 0;
                loop {
                    if !client.try_send(post("/echo", "load")) {
                        return answers;
                    }
                    // Closed between two requests: this one was never begun.
                    match client.stream.read(&mut [0; 1024]) {
                        Ok(0) | Err(_) => return answers,
                        Ok(_) => answers += 1,
                    }
                }
            })
        })
        .collect();
    for _ in 0..2000 {
        site.entered("/echo");
    }
    site.front.stop_accepting();
    let answers: usize = clients
        .into_iter()
        .map(|client| client.join().expect("no panic"))
        .sum();
    assert_eq!(site.front.join(Instant::now() + PATIENCE), 0);
    assert_eq!(answers, 2000 + site.events.try_iter().count());
}
