//! The protocol over real sockets: what is answered, in what order, and in how many writes.

use crate::base::lock::Lock;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::super::connection::Common;
use super::super::reactor;
use super::super::registry::Connections;
use super::super::socket::Socket;
use super::*;

#[test]
fn a_connection_serves_many_requests() {
    let site = Site::new(patient());
    let mut client = site.connect();
    for body in ["one", "", "three"] {
        client.send(post("/echo", body));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, body));
        assert!(!answer.closes());
        let date = answer.field("Date").expect("a date");
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        site.entered("/echo");
    }
    drop(client);
    site.await_connections(0);
    site.close();
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let site = Site::new(patient());
    let mut client = site.connect();
    let chunked =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n";
    client.send(
        [
            post("/echo", "one"),
            chunked.to_owned(),
            post("/echo", "three"),
            get("/x"),
        ]
        .concat(),
    );
    for body in ["one", "two", "three", "what?"] {
        assert_eq!(client.answer().text(), body);
    }
    drop(client);
    site.await_connections(0);
    assert_eq!(site.events.try_iter().count(), 4);
    site.close();
}

#[test]
fn a_request_may_come_in_pieces_of_any_size() {
    let site = Site::new(patient());
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\ntwo\r\n0\r\nT: 1\r\n\r\n";
    let both = post("/echo", "one") + chunked;
    let mut client = site.connect();
    for step in [1, 2, 7, 50] {
        for piece in both.as_bytes().chunks(step) {
            client.send(piece);
        }
        assert_eq!(client.answer().text(), "one");
        assert_eq!(client.answer().text(), "two");
    }
    drop(client);
    site.await_connections(0);
    assert_eq!(site.events.try_iter().count(), 8);
    site.close();
}

#[test]
fn large_bodies_pass_in_both_framings() {
    let site = Site::new(patient());
    let body: String = (0..300_000)
        .map(|n| char::from(b'a' + (n % 23) as u8))
        .collect();
    let mut chunked =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for piece in body.as_bytes().chunks(70_001) {
        let piece = std::str::from_utf8(piece).expect("ASCII");
        chunked += &format!("{:x}\r\n{piece}\r\n", piece.len());
    }
    chunked += "0\r\n\r\n";
    let mut client = site.connect();
    let both = [post("/echo", &body), chunked, post("/echo", "after")].concat();
    let mut writer = client.stream.try_clone().expect("a descriptor");
    let writing = std::thread::spawn(move || writer.write_all(both.as_bytes()));
    assert!(client.answer().body == body.as_bytes());
    assert!(client.answer().body == body.as_bytes());
    assert_eq!(client.answer().text(), "after");
    writing.join().expect("no panic").expect("all was read");
    drop(client);
    site.await_connections(0);
    assert_eq!(site.events.try_iter().count(), 3);
    site.close();
}

#[test]
fn the_head_can_be_asked_for_after_the_body_was_read() {
    let (front, _) = saying(patient(), |request, _| Some(request.to_owned()));
    let mut client = connect(&front);
    let chunk = "x".repeat(100_000);
    client.send(format!(
        "POST /late HTTP/1.1\r\nHost: a\r\nX-Field: 1\r\nTransfer-Encoding: chunked\r\nx-field: 2\r\n\r\n186a0\r\n{chunk}\r\n0\r\n\r\n"
    ));
    assert_eq!(client.answer().text(), r#"POST /late ["1", "2"] 100000"#);
    drop(client);
    assert_eq!(front.join(Instant::now() + PATIENCE), 0);
}

#[test]
fn fields_are_found_without_case_in_order_and_trimmed() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("PUT /fields?q HTTP/1.1\r\nHost: a\r\nX-Field:  one \r\nOther: 1\r\nx-fIELD:two\r\nX-Fiel: 3\r\n\r\n");
    assert_eq!(client.answer().text(), "PUT /fields?q one|two");
    site.entered("/fields?q");
    site.close();
}

#[test]
fn an_absolute_target_is_served_as_its_path() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("GET http://localhost/fields?q HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().text(), "GET /fields?q ");
    site.entered("/fields?q");
    site.close();
}

#[test]
fn the_body_is_asked_for_when_it_is_first_read() {
    let site = Site::new(patient());
    let mut client = site.connect();
    let head =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    client.send(head);
    assert_eq!(client.head().status, 100);
    client.send("body");
    assert_eq!(client.answer().text(), "body");
    // A body that is there already was not waited for.
    client.send([head, "here"].concat());
    assert_eq!(client.answer().text(), "here");
    // One that nobody reads is not asked for, and may or may not follow: the connection cannot go on.
    client.send(head.replace("/echo", "/ignore"));
    let answer = client.answer();
    assert_eq!(answer.status, 404);
    assert!(answer.closes());
    client.expect_end();
    drop(client);
    assert_eq!(site.events.try_iter().count(), 3);
    site.close();
}

#[test]
fn a_body_too_large_is_not_asked_for() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 413);
    client.expect_end();
    drop(client);
    site.entered("/echo");
    assert_eq!(site.event(), Event::NoBody("TooLarge".to_owned()));
    site.close();
}

#[test]
fn an_old_client_gets_its_answer_and_the_end() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("POST /echo HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi");
    let answer = client.answer();
    assert_eq!(answer.text(), "hi");
    assert!(answer.closes());
    client.expect_end();
    site.entered("/echo");

    let mut client = site.connect();
    client.send("GET /stream HTTP/1.0\r\n\r\n");
    site.entered("/stream");
    site.command(Command::Send(b"one ".to_vec()));
    site.command(Command::Send(vec![b'2'; 20_000]));
    site.command(Command::Finish(b" three".to_vec()));
    let head = client.head();
    assert!(
        head.closes() && head.field("Transfer-Encoding").is_none(),
        "{}",
        head.head
    );
    assert_eq!(
        client.rest(),
        format!("one {} three", "2".repeat(20_000)).as_bytes()
    );
    site.close();
}

#[test]
fn a_client_that_asks_for_the_end_gets_it() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(client.answer().closes());
    client.expect_end();
    site.entered("/x");
    site.close();
}

#[test]
fn a_head_request_never_gets_a_body() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("HEAD /big?50000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().field("Content-Length"), Some("50000"));
    site.entered("/big?50000");
    client.send("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    site.entered("/stream");
    site.command(Command::Send(b"event".to_vec()));
    site.command(Command::Send(vec![b'e'; 20_000]));
    site.command(Command::Finish(b"last".to_vec()));
    assert_eq!(client.head().status, 200);
    // What comes next is the next answer.
    assert_eq!(client.get("/x").text(), "what?");
    site.entered("/x");
    site.close();
}

#[test]
fn a_status_without_a_body_has_none() {
    let site = Site::new(patient());
    let mut client = site.connect();
    for status in [204, 304] {
        let answer = client.get(&format!("/status?{status}"));
        assert_eq!(answer.status, status);
        assert_eq!(answer.field("Content-Length"), None);
    }
    let answer = client.get("/status?202");
    assert_eq!(answer.text(), "body");
    assert_eq!(site.events.try_iter().count(), 3);
    site.close();
}

#[test]
fn options_of_the_whole_server_reach_the_endpoint() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    site.entered("*");
    site.close();
}

#[test]
fn events_are_chunks_written_as_they_come() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send(get("/stream"));
    site.entered("/stream");
    site.command(Command::Send(b"data: 1\n\n".to_vec()));
    let head = client.head();
    assert_eq!(head.field("Content-Type"), Some("text/event-stream"));
    assert_eq!(head.field("X-Stream"), Some("yes"));
    assert_eq!(head.field("Transfer-Encoding"), Some("chunked"));
    assert_eq!(client.take_through(b"\n\n\r\n"), b"9\r\ndata: 1\n\n\r\n");
    site.command(Command::Send(b"data: 2\n\n".to_vec()));
    assert_eq!(client.take_through(b"\n\n\r\n"), b"9\r\ndata: 2\n\n\r\n");
    let large = vec![b'l'; 20_000];
    site.command(Command::Send(large.clone()));
    assert_eq!(client.take_through(b"\r\n"), b"4e20\r\n");
    assert_eq!(client.take_through(b"\r\n"), [&large[..], b"\r\n"].concat());
    site.command(Command::Finish(large.clone()));
    assert_eq!(client.take_through(b"\r\n"), b"4e20\r\n");
    assert_eq!(client.take_through(b"\r\n"), [&large[..], b"\r\n"].concat());
    assert_eq!(client.take_through(b"\r\n\r\n"), b"0\r\n\r\n");
    // And the connection goes on.
    assert_eq!(client.get("/x").status, 404);
    site.entered("/x");
    site.close();
}

#[test]
fn a_panic_ends_one_connection_with_a_500() {
    let site = Site::new(patient());
    let mut client = site.connect();
    let mut other = site.connect();
    let answer = client.get("/panic");
    assert_eq!(answer.status, 500);
    assert!(answer.closes());
    assert!(!answer.text().contains("told to"));
    client.expect_end();
    site.entered("/panic");
    assert_eq!(other.get("/x").status, 404);
    site.entered("/x");
    site.close();
}

#[test]
fn a_request_left_without_an_answer_gets_a_500() {
    let site = Site::new(patient());
    let mut client = site.connect();
    let answer = client.get("/silent");
    assert_eq!(answer.status, 500);
    assert!(answer.closes());
    client.expect_end();
    site.entered("/silent");
    site.close();
}

#[test]
fn blank_lines_between_requests_are_skipped() {
    let site = Site::new(patient());
    let mut client = site.connect();
    client.send([&post("/echo", "one"), "\r\n\r\n", &post("/echo", "two")].concat());
    assert_eq!(client.answer().text(), "one");
    assert_eq!(client.answer().text(), "two");
    assert_eq!(site.events.try_iter().count(), 2);
    site.close();
}

/// A connection on sockets that keep writes apart: what one write sends, one read returns.
fn connect_by_packets(site: &Site) -> (Client<UnixStream>, Arc<Connections>) {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let (ours, theirs) = socketpair(family, kind, SocketFlags::empty(), None).expect("descriptors");
    for socket in [&ours, &theirs] {
        rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC).expect("it is open");
    }
    let connections = Arc::new(Connections::default());
    let toy = Arc::clone(&site.toy);
    let common = Arc::new(Common {
        connections: Arc::clone(&connections),
        limits: Arc::clone(&toy.limits),
        memory: Arc::clone(&site.memory),
        slips: Lock::default(),
    });
    let welcome = reactor::start(&toy, &common).expect("it starts");
    let socket = Socket {
        fd: ours,
        peer: None,
    };
    let admitted = connections.admit(socket, 1).ok();
    let (link, leave) = admitted.expect("there is room");
    welcome(link, leave);
    let stream = UnixStream::from(theirs);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    (Client::new(stream), connections)
}

fn one_write(client: &mut Client<UnixStream>) -> Vec<u8> {
    let mut bytes = vec![0; 64 * 1024];
    let count = client.stream.read(&mut bytes).expect("bytes");
    bytes.truncate(count);
    bytes
}

#[test]
fn an_answer_is_one_write_and_so_is_the_end_of_a_stream() {
    let site = Site::new(patient());
    let (mut client, connections) = connect_by_packets(&site);
    client.send(post("/echo", "small"));
    assert!(one_write(&mut client).ends_with(b"\r\n\r\nsmall"));
    site.entered("/echo");
    client.send(get("/big?20000"));
    let large = one_write(&mut client);
    assert!(large.starts_with(b"HTTP/1.1 200 OK\r\n") && large.len() > 20_000);
    site.entered("/big?20000");
    client.send(get("/stream"));
    site.entered("/stream");
    site.command(Command::Send(b"first".to_vec()));
    let first = one_write(&mut client);
    assert!(first.starts_with(b"HTTP/1.1 200 OK\r\n") && first.ends_with(b"5\r\nfirst\r\n"));
    site.command(Command::Send(vec![b'x'; 20_000]));
    assert_eq!(one_write(&mut client).len(), 20_000 + "4e20\r\n\r\n".len());
    site.command(Command::Finish(b"last".to_vec()));
    assert_eq!(one_write(&mut client), b"4\r\nlast\r\n0\r\n\r\n");
    // A stream of one event is one write, even a large one; and one without any ends properly.
    for (event, end) in [
        (b"only".to_vec(), &b"\r\n\r\n4\r\nonly\r\n0\r\n\r\n"[..]),
        (vec![b'x'; 20_000], b"xxx\r\n0\r\n\r\n"),
        (Vec::new(), b"\r\n\r\n0\r\n\r\n"),
    ] {
        client.send(get("/stream"));
        site.entered("/stream");
        site.command(Command::Finish(event));
        let whole = one_write(&mut client);
        assert!(whole.starts_with(b"HTTP/1.1 200 OK\r\n") && whole.ends_with(end));
    }
    drop(client);
    connections.stop();
    assert_eq!(connections.join(Instant::now() + PATIENCE), 0);
    site.close();
}
