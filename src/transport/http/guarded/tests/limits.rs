//! Each bound over the wire, at its edge and one past it.

use super::super::head::{FIELDS_MAX, TARGET_BYTES_MAX};
use super::super::intake::UNREAD_BODY_BYTES_MAX;
use super::*;
use crate::transport::http::exchange::FREE_BODY_BYTES;

/// What a connection is told that sends these bytes.
#[track_caller]
fn check(site: &Site, request: &str, status: u16) {
    let mut client = site.connect();
    client.try_send(request);
    let answer = client.answer();
    assert_eq!(answer.status, status);
    if status != 404 && status != 200 {
        assert!(answer.closes());
        client.expect_end();
    }
    for _ in site.events.try_iter() {}
}

#[test]
fn head_bytes() {
    let site = Site::new(patient().head_bytes_max(100));
    let of_len = |len: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        let filler = "x".repeat(len - frame);
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n")
    };
    check(&site, &of_len(100), 404);
    check(&site, &of_len(101), 431);
    // Without an end in sight: refused at the bound, and never kept.
    check(&site, &"x".repeat(100_000), 431);
    check(
        &site,
        &format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(5_000_000)),
        431,
    );
    site.close();
}

#[test]
fn header_count() {
    let site = Site::new(patient());
    let of_count = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: 1\r\n".repeat(count - 1)
        )
    };
    check(&site, &of_count(FIELDS_MAX), 404);
    check(&site, &of_count(FIELDS_MAX + 1), 431);
    site.close();
}

#[test]
fn target_bytes() {
    let site = Site::new(patient());
    check(
        &site,
        &get(&format!("/{}", "t".repeat(TARGET_BYTES_MAX - 1))),
        404,
    );
    check(
        &site,
        &get(&format!("/{}", "t".repeat(TARGET_BYTES_MAX))),
        414,
    );
    site.close();
}

#[test]
fn body_bytes() {
    let site = Site::new(patient().body_bytes_max(1000));
    let chunked = |sizes: &[usize]| {
        let chunk = |size: &usize| format!("{size:x}\r\n{}\r\n", "c".repeat(*size));
        let chunks: String = sizes.iter().map(chunk).collect();
        format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        )
    };
    check(&site, &post("/echo", &"b".repeat(1000)), 200);
    check(&site, &post("/echo", &"b".repeat(1001)), 413);
    check(
        &site,
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
        413,
    );
    check(&site, &chunked(&[999, 1]), 200);
    check(&site, &chunked(&[999, 2]), 413);
    site.close();
}

#[test]
fn unread_body_bytes() {
    let site = Site::new(patient());
    // What was sent ahead proves that all of the body has arrived.
    for (len, closes) in [
        (UNREAD_BODY_BYTES_MAX, false),
        (UNREAD_BODY_BYTES_MAX + 1, true),
    ] {
        let mut client = site.connect();
        client.send(post("/ignore", &"b".repeat(len)) + &get("/x"));
        assert_eq!(client.answer().closes(), closes, "{len}");
        if closes {
            client.expect_end();
        } else {
            assert_eq!(client.answer().status, 404);
        }
    }
    assert_eq!(site.events.try_iter().count(), 3);
    site.close();
}

#[test]
fn requests_per_connection() {
    let site = Site::new(patient().requests_per_connection_max(2));
    let mut client = site.connect();
    client.send(get("/1") + &get("/2") + &get("/3"));
    assert!(!client.answer().closes());
    assert!(client.answer().closes());
    client.expect_end();
    site.entered("/1");
    site.entered("/2");
    site.close();
}

/// All bodies that arrive share the server's memory: what does not fit is refused while it arrives, whatever its framing, and what has been
/// answered costs nothing any more.
#[test]
fn law_13_bodies_in_flight_have_a_common_bound() {
    const LEN: usize = 600_000;
    let site = Site::within(any_port(), patient(), 1_000_000);
    let half = "b".repeat(LEN / 2);
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    let mut first = site.connect();
    first.send(format!("{head}Content-Length: {LEN}\r\n\r\n{half}"));
    site.entered("/echo");
    await_that("its bytes to be charged", || site.memory.used() >= LEN / 2);
    for framing in [
        format!("Content-Length: {LEN}\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{LEN:x}\r\n"),
    ] {
        let mut client = site.connect();
        client.try_send(format!("{head}{framing}{half}{half}"));
        let answer = client.answer();
        assert_eq!(answer.status, 503);
        assert!(answer.closes());
        site.entered("/echo");
        let Event::NoBody(why) = site.event() else {
            panic!("it had no memory");
        };
        assert!(why.contains("Unavailable"), "{why}");
    }
    // A short one needs none of it.
    let short = "s".repeat(FREE_BODY_BYTES);
    let used = site.memory.used();
    assert_eq!(site.connect().get("/x").status, 404);
    site.entered("/x");
    let mut small = site.connect();
    small.send(post("/echo", &short));
    assert_eq!(small.answer().body.len(), FREE_BODY_BYTES);
    site.entered("/echo");
    assert_eq!(site.memory.used(), used);
    // And the first connection is served.
    first.send(half);
    assert_eq!(first.answer().body.len(), LEN);
    assert_eq!(first.get("/x").status, 404);
    site.entered("/x");
    assert_eq!(site.memory.used(), 0);
    site.close();
}

#[test]
fn a_declared_length_alone_takes_no_memory() {
    // Sixty-four promises of 4 GiB each, which this machine does not have.
    let site = Site::new(patient().body_bytes_max(4 << 30));
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let mut client = site.connect();
            client.send(format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\nx",
                4_u64 << 30
            ));
            site.entered("/echo");
            client
        })
        .collect();
    if let Some(kib) = status_kib("VmSize") {
        assert!(kib < 32 << 20, "{kib} KiB of address space");
    }
    drop(clients);
    for _ in 0..64 {
        assert_eq!(site.event(), Event::NoBody("Gone".to_owned()));
    }
    site.close();
}

/// In a process of its own, because memory belongs to the process.
#[test]
fn an_idle_connection_holds_no_buffer() {
    in_own_process("limits::many_idle_connections");
}

/// The child of the test above; on its own it does nothing.
#[test]
fn many_idle_connections() {
    // Without the pages of the program itself, which come in as it runs and are the more the larger it is.
    let before = match status_kib("RssAnon") {
        Some(kib) if is_own_process() => kib,
        _ => return,
    };
    let site = Site::new(
        patient()
            .head_bytes_max(64 * 1024)
            .buffer_idle_timeout(Duration::from_millis(1)),
    );
    // Each has read a head for which it needed 60 KiB.
    let filler = "x".repeat(60_000);
    let clients: Vec<_> = (0..300)
        .map(|_| {
            let mut client = site.connect();
            client.send(format!("GET /x HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n"));
            assert_eq!(client.answer().status, 404);
            site.entered("/x");
            client
        })
        .collect();
    let of_each = |kib: u64| kib.saturating_sub(before) / clients.len() as u64;
    await_that("the buffers to be given back", || {
        of_each(status_kib("RssAnon").unwrap_or_default()) < 40
    });
    drop(clients);
    site.await_connections(0);
    site.close();
}
