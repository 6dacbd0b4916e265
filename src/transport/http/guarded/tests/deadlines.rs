//! Each deadline: that it comes, and that it does not come to those who keep it.
//!
//! A deadline under test is short and everything else is patient, so a slow machine makes a test slower and nothing else. Where
//! a client must stay within a deadline, the deadline is far longer than the client's whole stay.

use std::io::IoSlice;
use std::os::unix::net::UnixStream;

use super::super::link::Link;
use super::super::socket::Socket;
use super::super::wire::{Filled, Wire};
use super::*;
use crate::base::waiting::relieve_with;

const SHORT: Duration = Duration::from_millis(150);

/// A pace in bytes a second that no reader here keeps.
pub(super) const FAST: usize = 1 << 40;

#[test]
fn a_head_must_come_whole() {
    let site = Site::new(patient().head_timeout(SHORT));
    let mut client = site.connect();
    client.send("GET /x HTTP/1.1\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 408);
    assert!(answer.closes());
    client.expect_end();
    drop(client);
    site.close();
}

/// A byte from time to time must not extend it.
#[test]
fn a_head_that_drips_is_cut_like_one_that_stalls() {
    let site = Site::new(patient().head_timeout(SHORT).linger_timeout(Duration::ZERO));
    let mut client = site.connect();
    let begun = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nX: "
        .iter()
        .chain(std::iter::repeat(&b'x'))
    {
        if !client.try_send([*byte]) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "dripping keeps it open");
        std::thread::sleep(SHORT / 15);
    }
    site.await_connections(0);
    site.close();
}

#[test]
fn the_next_head_has_its_own_time() {
    let site = Site::new(patient().head_timeout(SHORT));
    let mut client = site.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/x").status, 404);
        site.entered("/x");
        std::thread::sleep(SHORT); // idle time is not head time
    }
    // What was sent ahead starts the time as well.
    client.send(get("/x") + "GET /y");
    assert_eq!(client.answer().status, 404);
    assert_eq!(client.answer().status, 408);
    client.expect_end();
    drop(client);
    site.entered("/x");
    site.close();
}

#[test]
fn a_body_must_come() {
    let site = Site::new(patient().body_timeout(SHORT));
    for head in [
        "Content-Length: 10\r\n\r\nsome",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nso",
    ] {
        let mut client = site.connect();
        client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{head}"));
        let answer = client.answer();
        assert_eq!(answer.status, 408);
        assert!(answer.closes());
        client.expect_end();
        site.entered("/echo");
        assert_eq!(site.event(), Event::NoBody("TooSlow".to_owned()));
    }
    site.close();
}

#[test]
fn a_body_that_drips_too_slowly_is_cut() {
    let site = Site::new(
        patient()
            .body_timeout(SHORT)
            .body_bytes_per_second_min(1_000_000)
            .linger_timeout(Duration::ZERO),
    );
    let mut client = site.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    site.entered("/echo");
    let begun = Instant::now();
    while client.try_send("x") {
        assert!(begun.elapsed() < PATIENCE, "dripping keeps it open");
        std::thread::sleep(SHORT / 15);
    }
    assert_eq!(site.event(), Event::NoBody("TooSlow".to_owned()));
    site.await_connections(0);
    site.close();
}

#[test]
fn a_body_earns_time_as_it_comes() {
    // Each byte earns a second, and nearly all come with the head, so the last may come long after the time without them.
    let site = Site::new(patient().body_timeout(SHORT).body_bytes_per_second_min(1));
    let mut client = site.connect();
    let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n\r\n";
    client.send(head.to_owned() + &"x".repeat(199));
    site.entered("/echo");
    std::thread::sleep(SHORT * 3);
    client.send("x");
    assert_eq!(client.answer().status, 200);
    site.close();
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let site = Site::new(patient().idle_timeout(SHORT));
    let mut never_spoke = site.connect();
    // On a slow machine a client's time may be over before it has spoken.
    let mut spoke = loop {
        let mut client = site.connect();
        if client.try_send(get("/x")) && client.stream.peek(&mut [0]).is_ok_and(|count| count > 0) {
            break client;
        }
    };
    assert_eq!(spoke.answer().status, 404);
    site.entered("/x");
    spoke.expect_end();
    never_spoke.expect_end();
    site.await_connections(0);
    site.close();
}

/// The same when it has given its buffers back in the meantime.
#[test]
fn idle_time_goes_on_after_the_buffers_were_given_back() {
    let site = Site::new(
        patient()
            .idle_timeout(SHORT)
            .buffer_idle_timeout(SHORT / 10),
    );
    let mut client = site.connect();
    client.expect_end();
    site.close();
}

#[test]
fn a_connection_without_buffers_serves_again() {
    let site = Site::new(patient().buffer_idle_timeout(Duration::from_millis(1)));
    let mut client = site.connect();
    let long = "l".repeat(10_000);
    for body in ["", "short", &long] {
        std::thread::sleep(Duration::from_millis(30));
        client.send(post("/echo", body) + &post("/echo", "ahead"));
        assert_eq!(client.answer().text(), body);
        assert_eq!(client.answer().text(), "ahead");
    }
    assert_eq!(site.events.try_iter().count(), 6);
    site.close();
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let site = Site::new(
        patient()
            .write_timeout(SHORT)
            .write_bytes_per_second_min(FAST),
    );
    // An event stream without end, and one answer larger than any socket's buffers.
    let mut streaming = site.connect();
    streaming.send(get("/stream"));
    site.entered("/stream");
    site.command(Command::Flood);
    assert_eq!(site.event(), Event::WriteFailed(io::ErrorKind::TimedOut));
    let mut large = site.connect();
    large.send(get("/big?50000000"));
    site.entered("/big?50000000");
    assert_eq!(site.event(), Event::WriteFailed(io::ErrorKind::TimedOut));
    site.await_connections(0);
    site.close();
}

/// A reader that takes a little from time to time earns too little.
#[test]
fn a_client_that_reads_a_little_is_cut_as_well() {
    let site = Site::new(
        patient()
            .write_timeout(SHORT * 2)
            .write_bytes_per_second_min(FAST),
    );
    let mut client = site.connect();
    client.send(get("/big?200000000"));
    site.entered("/big?200000000");
    let begun = Instant::now();
    let mut bytes = [0; 64 * 1024];
    // At this pace the whole would take a minute.
    while let Ok(1..) = client.stream.read(&mut bytes) {
        assert!(begun.elapsed() < PATIENCE, "dripping keeps it open");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(site.event(), Event::WriteFailed(io::ErrorKind::TimedOut));
    site.close();
}

/// An answer of any length reaches a reader that is slow and steady, however short the time without the bytes it takes.
#[test]
fn an_answer_earns_time_as_it_is_taken() {
    const LEN: usize = 30_000_000;
    let site = Site::new(patient().write_timeout(SHORT));
    let mut client = site.connect();
    client.send(get(&format!("/big?{LEN}")));
    site.entered(&format!("/big?{LEN}"));
    client.head();
    let begun = Instant::now();
    let mut taken = client.unread.len();
    let mut bytes = vec![0; 64 * 1024];
    while taken < LEN {
        std::thread::sleep(Duration::from_millis(1));
        let count = client.stream.read(&mut bytes).expect("it is not cut");
        assert!(count > 0, "it was cut after {taken} bytes");
        taken += count;
    }
    assert!(begun.elapsed() > SHORT * 2, "the reader was slow");
    client.unread.clear();
    assert_eq!(client.get("/x").status, 404);
    site.entered("/x");
    site.close();
}

#[test]
fn a_client_that_reads_slowly_but_in_time_gets_everything() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/big?3000000"));
    site.entered("/big?3000000");
    let mut body = client.head();
    while client.unread.len() < 3_000_000 {
        std::thread::sleep(Duration::from_millis(1));
        assert!(client.more());
    }
    body.body = std::mem::take(&mut client.unread);
    assert!(body.body.iter().all(|byte| *byte == b'b'));
    assert_eq!(client.get("/x").status, 404);
    site.entered("/x");
    site.close();
}

/// After an error it goes on reading, but not for ever.
#[test]
fn lingering_ends() {
    let site = Site::new(patient().linger_timeout(SHORT));
    let mut client = site.connect();
    client.send("nonsense\n");
    assert_eq!(client.answer().status, 400);
    client.expect_end();
    let begun = Instant::now();
    while client.try_send("more") {
        assert!(begun.elapsed() < PATIENCE, "it reads for ever");
        std::thread::sleep(SHORT / 15);
    }
    site.await_connections(0);
    site.close();
}

/// Bytes that are there are read before time is judged, in whatever state the clock is.
#[test]
fn what_has_arrived_is_read_even_when_the_time_is_over() {
    let (ours, theirs) = UnixStream::pair().expect("descriptors");
    let link = Arc::new(Link::new(Socket {
        fd: ours.into(),
        peer: None,
    }));
    let mut wire = Wire::new(link, Arc::new(patient()));
    let mut client = Client::new(theirs);
    let over = (wire.begin(), Duration::ZERO);
    let mut buffer = Vec::with_capacity(16);
    assert_eq!(wire.fill(&mut buffer, over.0, over.1), Filled::TimedOut);
    client.send("late");
    assert_eq!(wire.fill(&mut buffer, over.0, over.1), Filled::Bytes);
    assert_eq!(buffer, b"late");
    drop(client);
    assert_eq!(wire.fill(&mut buffer, over.0, over.1), Filled::Ended);
}

/// A thread that others depend on, and that nobody can relieve, waits for no client.
#[test]
fn a_thread_that_is_not_relieved_does_not_wait() {
    let (ours, _theirs) = UnixStream::pair().expect("descriptors");
    let link = Arc::new(Link::new(Socket {
        fd: ours.into(),
        peer: None,
    }));
    let mut wire = Wire::new(link, Arc::new(patient()));
    relieve_with(Some(Box::new(|| false)));
    let begun = wire.begin();
    let read = wire.fill(&mut Vec::with_capacity(16), begun, PATIENCE);
    let much = vec![0; 8 << 20];
    let written = wire.write(&mut [IoSlice::new(&much)]);
    relieve_with(None);
    assert_eq!(read, Filled::Ended);
    assert!(written.is_err());
}
