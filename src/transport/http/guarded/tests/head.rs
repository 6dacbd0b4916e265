//! Literal heads through one check, every prefix and every split of the good ones.

use super::super::head::{BodyFraming, Head, Refused, TARGET_BYTES_MAX, Version, chain};
use super::super::scan::Scanner;

/// What the tests compare: everything that a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) len: usize,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) framing: BodyFraming,
    pub(super) expects_continue: bool,
    pub(super) wants_close: bool,
    pub(super) x: Vec<String>,
}

/// Feeds the bytes piece by piece, each piece ending at one of `cuts`, then the rest. The first piece is tried at once, as a connection does.
pub(super) fn feed(bytes: &[u8], cuts: &[usize]) -> Result<Option<Said>, Refused> {
    let first = cuts.first().copied().unwrap_or(bytes.len());
    let mut head = Head::default();
    if head.parse_at_once(&bytes[..first], HEAD_BYTES_MAX) {
        let said = Said::of(&head);
        assert_eq!(scan(bytes, cuts), Ok(Some(said.clone())));
        return Ok(Some(said));
    }
    scan(bytes, cuts)
}

fn scan(bytes: &[u8], cuts: &[usize]) -> Result<Option<Said>, Refused> {
    let mut scanner = Scanner::default();
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let Some(len) = scanner.scan(&bytes[..end], HEAD_BYTES_MAX)? else {
            continue;
        };
        let mut head = Head::default();
        head.parse(&bytes[..len])?;
        return Ok(Some(Said::of(&head)));
    }
    Ok(None)
}

impl Said {
    fn of(head: &Head) -> Said {
        Said {
            len: head.len,
            method: head.method().to_owned(),
            target: head.target().to_owned(),
            version: head.version,
            framing: head.framing,
            expects_continue: head.expects_continue,
            wants_close: head.wants_close,
            x: head.fields("X").map(str::to_owned).collect(),
        }
    }
}

const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The status with which these bytes are refused, the same for every way of cutting them in two; 0 if they are not refused.
#[track_caller]
fn check(bytes: impl AsRef<[u8]>, status: u16) {
    let bytes = bytes.as_ref();
    let whole = feed(bytes, &[]);
    let got = whole.as_ref().map_or_else(|refusal| refusal.status, |_| 0);
    assert_eq!(got, status, "{} gave {whole:?}", bytes.escape_ascii());
    if bytes.len() < 1024 {
        for cut in 0..bytes.len() {
            let split = feed(bytes, &[cut]);
            assert_eq!(split, whole, "{} cut at {cut}", bytes.escape_ascii());
        }
    }
}

#[track_caller]
fn said(bytes: &str) -> Said {
    let said = feed(bytes.as_bytes(), &[]);
    said.expect("accepted").expect("complete")
}

const GOOD: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\r\nPOST /mcp?x=1 HTTP/1.1\r\nhOsT: a:80\r\nContent-Length: 12\r\nX: one\r\nx:\ttwo \t \r\nX:\r\n\r\nbody and more",
    "POST / HTTP/1.1\r\nHost: [::1]:8080\r\nTransfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: \r\nConnection: keep-alive, Close\r\n\r\n",
    "get /\u{7e} HTTP/1.1\r\nHost: a\r\nX: \u{e9}t\u{e9}\r\n\r\n",
];

#[test]
fn every_prefix_of_a_good_head_wants_more_bytes() {
    for good in GOOD {
        let bytes = good.as_bytes();
        let len = said(good).len;
        for end in 0..len {
            let prefix = feed(&bytes[..end], &[]);
            assert_eq!(prefix, Ok(None), "{}", bytes[..end].escape_ascii());
        }
        assert!(bytes[..len].ends_with(b"\r\n\r\n"));
    }
}

#[test]
fn every_split_of_a_good_head_says_the_same() {
    for good in GOOD {
        let bytes = good.as_bytes();
        let whole = feed(bytes, &[]);
        for first in 0..bytes.len() {
            for second in first..bytes.len() {
                let split = feed(bytes, &[first, second]);
                assert_eq!(split, whole, "{good:?} cut at {first} and {second}");
            }
        }
        let byte_by_byte: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(feed(bytes, &byte_by_byte), whole);
    }
}

#[test]
fn a_head_says_what_it_says() {
    let second = said(GOOD[1]);
    assert_eq!(second.method, "POST");
    assert_eq!(second.target, "/mcp?x=1");
    assert_eq!(second.framing, BodyFraming::Length(12));
    assert_eq!(second.x, ["one", "two", ""]);
    assert!(!second.wants_close && !second.expects_continue);
    let third = said(GOOD[2]);
    assert_eq!(third.framing, BodyFraming::Chunked);
    assert!(third.expects_continue);
    let old = said(GOOD[3]);
    assert_eq!(old.version, Version::Http10);
    assert!(old.wants_close);
    assert!(said(GOOD[4]).wants_close);
    assert_eq!(said(GOOD[5]).x, ["\u{e9}t\u{e9}"]);
}

#[test]
fn names_that_are_looked_for_in_each_request_share_no_chain() {
    let names = "accept content-encoding content-type host last-event-id mcp-method mcp-name mcp-protocol-version mcp-session-id origin x-request-id";
    let mut chains = std::collections::HashSet::new();
    for name in names.split(' ') {
        assert_eq!(
            chain(name.as_bytes()),
            chain(name.to_ascii_uppercase().as_bytes())
        );
        assert!(chains.insert(chain(name.as_bytes())), "{name}");
    }
}

#[test]
fn fields_of_one_chain_are_told_apart_and_keep_their_order() {
    // The same length, the same first and last letter.
    let head =
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX-a-X: 2\r\nX-b-X: 3\r\nx: 4\r\nX-A-x: 5\r\n\r\n";
    let mut parsed = Head::default();
    assert!(parsed.parse_at_once(head.as_bytes(), HEAD_BYTES_MAX));
    for (name, values) in [
        ("x", vec!["1", "4"]),
        ("x-a-x", vec!["2", "5"]),
        ("X-B-X", vec!["3"]),
        ("X-C-X", vec![]),
    ] {
        assert_eq!(parsed.fields(name).collect::<Vec<_>>(), values, "{name}");
    }
}

#[test]
fn one_value_parses_many_heads_without_remembering_the_last() {
    let mut head = Head::default();
    let mut parse = |bytes: &[u8]| {
        let mut scanner = Scanner::default();
        let len = scanner.scan(bytes, HEAD_BYTES_MAX);
        assert_eq!(len, Ok(Some(bytes.len())));
        head.parse(bytes).expect("good");
        let x = head.fields("x").count();
        (head.framing, head.wants_close, head.expects_continue, x)
    };
    let first = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\nX: 1\r\n\r\n";
    assert_eq!(parse(first), (BodyFraming::Length(3), true, false, 1));
    let second = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(parse(second), (BodyFraming::Empty, false, true, 0));
    let third = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse(third), (BodyFraming::Empty, false, false, 0));
}

#[test]
fn ambiguous_lengths_are_refused() {
    let with = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    check(with("Content-Length: 5"), 0);
    check(with("Content-Length: 007"), 0);
    check(with("Content-Length: 18446744073709551615"), 0);
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5 5",
        "Content-Length: 0x5",
        "Content-Length: 5;",
        "Content-Length: 5.0",
        "Content-Length: 1_000",
        "Content-Length:",
        "Content-Length: ",
        "Content-Length: \u{665}",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999",
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "X: 1\r\n Content-Length: 5",
        "Content-Length: 5\r\n 6",
        "Content-Length: 5\r\n\t",
        "Content-Length: \r\n 5",
        "Content-Length: 5\rX: 1",
        "\u{b}Content-Length: 5",
        "Content-Length\0: 5",
        "Content-Length: 5\0",
        "Content-Length: 5\u{b}",
    ] {
        check(with(fields), 400);
    }
}

#[test]
fn only_a_final_chunked_delimits_a_body() {
    let with = |codings: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {codings}\r\n\r\n")
    };
    check(with("chunked"), 0);
    check(with("CHUNKED"), 0);
    check(with("chunked \t"), 0);
    for codings in [
        "",
        "identity",
        "gzip",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "gzip,, chunked",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "chunked identity",
        "chun\tked",
        "chun\u{212a}ed",
        "chunked\0",
        "\u{b}chunked",
    ] {
        check(with(codings), 400);
    }
    check(with("gzip, chunked"), 501);
    check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
        400,
    );
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
        400,
    );
}

#[test]
fn lines_end_in_both_characters() {
    check("GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
    check("GET / HTTP/1.1\n\n", 400);
    check("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check("GET / HTTP/1.1\rHost: a\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a\r\nX: a\nb\r\n\r\n", 400);
}

#[test]
fn header_lines_are_a_name_a_colon_and_a_value() {
    let with = |line: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
    check(with("X: a b\tc, \"d\" (e)"), 0);
    check(with("X:"), 0);
    check(with("X_y.z~!#$%&'*+-^`|: 1"), 0);
    for line in [
        "X",
        ": 1",
        " X: 1",
        "\tX: 1",
        "X : 1",
        "X Y: 1",
        "X\t: 1",
        "X(y): 1",
        "X\u{e9}: 1",
        "X: a\0b",
        "X: a\u{1}b",
        "X: a\u{7f}b",
        "X\0: 1",
        "\0",
    ] {
        check(with(line), 400);
    }
    check(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n", 400);
}

#[test]
fn a_request_names_its_host_once() {
    check("GET / HTTP/1.1\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nX: 1\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400);
    check("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    check("GET / HTTP/1.1\r\nHost: \r\n\r\n", 0);
    check("GET / HTTP/1.0\r\n\r\n", 0);
}

#[test]
fn an_absolute_target_names_the_same_host() {
    let at = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let target = |target: &str, host: &str| said(&at(target, host)).target;
    assert_eq!(target("http://a/mcp?x=1", "a"), "/mcp?x=1");
    assert_eq!(target("HTTP://A:80/mcp", "a"), "/mcp");
    assert_eq!(target("https://a/", "a:443"), "/");
    assert_eq!(target("http://a:8080", "a:8080"), "/");
    assert_eq!(target("http://[::1]:1/", "[::1]:1"), "/");
    check(at("http://b/", "a"), 400);
    check(at("http://a:81/", "a"), 400);
    check(at("http://a:443/", "a"), 400);
    check(at("http://u@a/", "a"), 400);
    check(at("http:///", ""), 400);
    check(at("http://a?x", "a"), 400);
    check(at("ftp://a/", "a"), 400);
    check(at("a/b", "a"), 400);
    check(at("a", "a"), 400);
    check(at("*", "a"), 400);
    check(at("/\u{e9}", "a"), 400);
    check("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501);
}

#[test]
fn the_request_line_has_three_parts() {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    check(line("GET  / HTTP/1.1"), 400);
    check(line("GET /  HTTP/1.1"), 400);
    check(line("GET / HTTP/1.1 "), 400);
    check(line("GET / "), 400);
    check(line("GET /"), 400);
    check(line("GET"), 400);
    check(line(" GET / HTTP/1.1"), 400);
    check(line("GET\t/\tHTTP/1.1"), 400);
    check(line("G(T / HTTP/1.1"), 400);
    check(line("GET / http/1.1"), 400);
    check(line("GET / HTTP/1"), 400);
    check(line("GET / HTTP/11"), 400);
    check(line("GET / HTTP/1.10"), 400);
    check(line("GET /a b HTTP/1.1"), 400);
    check(line("GET /\0 HTTP/1.1"), 400);
    check(line("GET / HTTP/2.0"), 505);
    check(line("GET / HTTP/1.2"), 505);
    check(line("GET / HTTP/0.9"), 505);
    check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    check("\r\nGET / HTTP/3.0\r\n\r\n", 505);
}

#[test]
fn what_is_not_http_is_refused_at_its_first_byte() {
    check(b"\x16\x03\x01\x02", 400);
    check(b"{\"jsonrpc\"", 400);
    check(b"\0", 400);
    check(b" ", 400);
    check(b"\r\n\x16", 400);
}

#[test]
fn only_one_expectation_is_known() {
    let with = |line: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nExpect: {line}\r\n\r\n");
    check(with("100-continue"), 0);
    check(with("200-ok"), 417);
    check(with(""), 417);
    check("GET / HTTP/1.0\r\nExpect: 200-ok\r\n\r\n", 0);
}

#[test]
fn the_head_may_have_so_many_bytes() {
    let of_len = |len: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        let filler = "x".repeat(len - frame);
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n")
    };
    let at_edge = of_len(HEAD_BYTES_MAX);
    assert_eq!(said(&at_edge).len, 16 * 1024);
    check(&at_edge, 0);
    check(of_len(HEAD_BYTES_MAX + 1), 431);
    // Refused when the bound is reached, not when the head ends.
    check(&of_len(HEAD_BYTES_MAX + 1)[..HEAD_BYTES_MAX], 431);
    check(&at_edge[..HEAD_BYTES_MAX - 1], 0);
    check("\r\n".repeat(HEAD_BYTES_MAX), 431);
    check("G".repeat(HEAD_BYTES_MAX), 431);
}

#[test]
fn there_may_be_so_many_fields() {
    let of_count = |count: usize| {
        let fields = "X: 1\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    assert_eq!(said(&of_count(100)).x.len(), 99);
    check(of_count(100), 0);
    check(of_count(101), 431);
}

#[test]
fn the_target_may_have_so_many_bytes() {
    let max = TARGET_BYTES_MAX;
    let of_len = |len: usize| {
        let path = "p".repeat(len - 1);
        format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    assert_eq!(said(&of_len(max)).target.len(), max);
    check(of_len(max), 0);
    check(of_len(max + 1), 414);
    let early = "GET /".len() + max;
    check(&of_len(max + 1)[..early], 414);
    check(&of_len(max + 1)[..early - 1], 0);
}
