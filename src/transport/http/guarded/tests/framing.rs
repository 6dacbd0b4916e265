//! What comes behind a request: nothing smuggled is executed, nothing unread is mistaken, and the answer is not lost.

use super::*;

/// After a framing error nothing that came behind it is executed.
#[test]
fn nothing_smuggled_is_executed() {
    let site = Site::new(patient());
    let inner = get("/smuggled");
    let fields = [
        ("Content-Length: 3\r\nContent-Length: 4", "abc"),
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "0\r\n\r\n",
        ),
        ("Transfer-Encoding: identity", ""),
        ("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("Content-Length: +0", ""),
        ("Content-Length: 0x3", "abc"),
        ("X: 1\nContent-Length: 0", ""),
        ("X: 1\r\n Content-Length: 0", ""),
    ];
    for (fields, body) in fields {
        let mut client = site.connect();
        let outer = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
        client.send(outer + &inner);
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{fields:?}");
        assert!(answer.closes());
        let error: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(error["error"]["code"], -32600);
        client.expect_end();
    }
    // None of them reached the endpoint.
    site.close();
}

#[test]
fn nothing_behind_a_broken_body_is_executed() {
    let site = Site::new(patient());
    for body in [
        "3\r\nabcd\r\n0\r\n\r\n",
        "3 \r\nabc\r\n",
        "0\r\n X: 1\r\n\r\n",
        "-1\r\n",
        "3\nabc",
    ] {
        let mut client = site.connect();
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send([head, body, &get("/smuggled")].concat());
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{body:?}");
        assert!(answer.closes());
        client.expect_end();
        site.entered("/echo");
        assert!(matches!(site.event(), Event::NoBody(_)));
    }
    site.close();
}

#[test]
fn a_short_body_that_nobody_read_is_dropped() {
    let site = Site::new(patient());
    let mut client = site.connect();
    // All of it is there when the answer is made, because it came before what was sent ahead.
    client.send(post("/ignore", &get("/smuggled")) + &post("/echo", "next"));
    let answer = client.answer();
    assert_eq!(answer.status, 404);
    assert!(!answer.closes());
    assert_eq!(client.answer().text(), "next");
    let chunked = "POST /ignore HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    client.send([chunked, &post("/echo", "next")].concat());
    assert!(!client.answer().closes());
    assert_eq!(client.answer().text(), "next");
    assert_eq!(site.events.try_iter().count(), 4);
    site.close();
}

#[test]
fn an_unread_body_that_is_still_to_come_ends_the_connection() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome");
    let answer = client.answer();
    assert_eq!(answer.status, 404);
    assert!(answer.closes());
    // It may go on sending what it was about to, and still reads the end.
    client.send("x".repeat(996) + &get("/smuggled"));
    client.expect_end();
    drop(client);
    site.entered("/ignore");
    site.close();
}

/// The answer must not be lost to a reset that unread bytes cause.
#[test]
fn an_answer_reaches_a_client_that_goes_on_sending() {
    let site = Site::new(patient());
    let body = vec![b'x'; 8 * 1024 * 1024];
    for _ in 0..10 {
        let mut client = site.connect();
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n");
        client.send(&body);
        let answer = client.answer();
        assert_eq!(answer.status, 413);
        assert!(answer.closes());
        client.expect_end();
        site.entered("/echo");
        assert_eq!(site.event(), Event::NoBody("TooLarge".to_owned()));
    }
    site.close();
}
