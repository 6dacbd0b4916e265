//! The rule at the top of `connection.rs`: when a client has left, and when it has not.

use super::*;

#[test]
fn a_client_that_closes_has_left_a_call() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/wait"));
    site.entered("/wait");
    assert!(!site.client_left());
    drop(client);
    assert_eq!(site.event(), Event::Departed);
    site.await_connections(0);
    site.close();
}

#[test]
fn a_client_that_closes_has_left_a_stream() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/stream"));
    site.entered("/stream");
    site.command(Command::Send(b"one".to_vec()));
    client.take_through(b"one\r\n");
    assert!(!site.client_left());
    drop(client);
    assert_eq!(site.event(), Event::Departed);
    site.await_connections(0);
    site.close();
}

#[test]
fn a_client_that_waits_has_not_left() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/wait"));
    site.entered("/wait");
    for _ in 0..20 {
        assert!(!site.client_left());
    }
    site.command(Command::Answer);
    assert_eq!(client.answer().text(), "waited");
    site.close();
}

/// Looking takes nothing away and does not change how the socket blocks.
#[test]
fn looking_costs_nothing_of_what_was_sent_ahead() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/wait") + &post("/echo", "ahead"));
    site.entered("/wait");
    client.send(post("/echo", "later"));
    for _ in 0..5 {
        assert!(!site.client_left());
    }
    site.command(Command::Answer);
    for text in ["waited", "ahead", "later"] {
        assert_eq!(client.answer().text(), text);
    }
    client.send("PO");
    std::thread::sleep(Duration::from_millis(20)); // the front waits, blocking, for the rest
    client.send(&post("/echo", "slowly")[2..]);
    assert_eq!(client.answer().text(), "slowly");
    assert_eq!(site.events.try_iter().count(), 3);
    site.close();
}

/// What was sent ahead does not hide that the client has gone, and is not executed any more.
#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn a_departure_is_seen_past_what_was_sent_ahead() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/wait"));
    site.entered("/wait");
    client.send(get("/never"));
    assert!(!site.client_left());
    client.half_close();
    assert_eq!(site.event(), Event::Departed);
    client.expect_end_or_reset();
    site.close();
}

/// A client that has only shut its writing side looks like one that left, and is treated so.
#[test]
fn a_half_closed_client_counts_as_gone_once_somebody_looks() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/wait"));
    site.entered("/wait");
    client.half_close();
    assert_eq!(site.event(), Event::Departed);
    client.expect_end();
    site.close();
}

/// But nobody looks during a fast call: it gets its answer.
#[test]
fn a_half_closed_client_is_answered_if_nobody_looks() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(post("/echo", "quick") + &post("/echo", "and again"));
    client.half_close();
    assert_eq!(client.answer().text(), "quick");
    assert_eq!(client.answer().text(), "and again");
    client.expect_end();
    assert_eq!(site.events.try_iter().count(), 2);
    site.close();
}

/// And one that was seen to leave but is answered all the same can read the answer. What it had sent ahead is not executed.
#[test]
fn an_answer_after_a_departure_still_reaches_a_half_closed_client() {
    // Only the test looks.
    let site = Site::looking(any_port(), patient(), usize::MAX, PATIENCE);
    let mut client = site.connect();
    client.send(get("/wait") + &get("/never"));
    site.entered("/wait");
    client.half_close();
    await_that("the end of its side", || site.client_left());
    site.command(Command::Answer);
    assert_eq!(client.answer().text(), "waited");
    client.expect_end();
    site.close();
}

/// Where nobody asks, a write that fails says it.
#[test]
fn writing_to_a_client_that_has_gone_fails() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/stream"));
    site.entered("/stream");
    site.command(Command::Send(b"one".to_vec()));
    client.take_through(b"one\r\n");
    site.command(Command::Flood);
    drop(client);
    assert!(matches!(site.event(), Event::WriteFailed(_)));
    site.await_connections(0);
    site.close();
}

#[test]
fn a_client_that_leaves_within_its_body_is_gone() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nsome");
    site.entered("/echo");
    drop(client);
    assert_eq!(site.event(), Event::NoBody("Gone".to_owned()));
    site.await_connections(0);
    site.close();
}

#[test]
fn a_client_that_leaves_within_its_head_is_forgotten() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("GET /x HT");
    client.half_close();
    client.expect_end();
    site.await_connections(0);
    site.close();
}
