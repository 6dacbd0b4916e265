//! Literal chunked bodies through one check, every prefix and every split of the good ones, and a naive oracle.

use proptest::prelude::*;

use super::super::body::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_LINE_BYTES_MAX, Chunked, Decoded, TRAILER_BYTES_MAX,
};
use crate::transport::http::exchange::BodyError;

/// What became of some bytes: the content and how many bytes it took, or that more are needed, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Body(Vec<u8>, usize),
    More,
    TooLarge,
    Malformed,
}

fn feed(bytes: &[u8], cuts: &[usize], bytes_max: usize) -> Outcome {
    let mut decoder = Chunked::new();
    let mut body = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        match decoder.decode(&bytes[start..end], &mut body, bytes_max) {
            Ok(Decoded {
                consumed,
                done: true,
            }) => return Outcome::Body(body, start + consumed),
            Ok(Decoded { consumed, .. }) => assert_eq!(consumed, end - start),
            Err(BodyError::TooLarge) => return Outcome::TooLarge,
            Err(BodyError::Malformed(_)) => return Outcome::Malformed,
            Err(other) => panic!("not a matter of framing: {other:?}"),
        }
        start = end;
    }
    Outcome::More
}

#[track_caller]
fn check(bytes: impl AsRef<[u8]>, wanted: &Outcome) {
    let bytes = bytes.as_ref();
    let got = feed(bytes, &[], 1000);
    assert_eq!(got, *wanted, "{}", bytes.escape_ascii());
    for cut in 0..bytes.len().min(600) {
        let split = feed(bytes, &[cut], 1000);
        assert_eq!(split, *wanted, "{} cut at {cut}", bytes.escape_ascii());
    }
}

#[track_caller]
fn good(bytes: &str, content: &str, rest: &str) {
    let len = bytes.len() - rest.len();
    check(bytes, &Outcome::Body(content.into(), len));
    for end in 0..len {
        let prefix = feed(&bytes.as_bytes()[..end], &[], 1000);
        assert_eq!(prefix, Outcome::More, "{:?}", &bytes[..end]);
    }
}

#[test]
fn chunks_are_joined() {
    good("0\r\n\r\n", "", "");
    good("000\r\n\r\nGET", "", "GET");
    good("3\r\nabc\r\n0\r\n\r\n", "abc", "");
    good(
        "00a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\nx",
        "01234567890123456789",
        "x",
    );
    good("3;a=b;c=\"d e\"\r\n\r\n\r\r\n0;\r\n\r\n", "\r\n\r", "");
    good(
        "1\r\na\r\n0\r\nX: 1\r\nY:\r\nContent-Length: 5\r\n\r\n",
        "a",
        "",
    );
}

#[test]
fn whatever_else_is_refused() {
    for bytes in [
        "\r\n",
        ";",
        " 3",
        "3 ",
        "3\t;",
        "+3",
        "-3",
        "0x3",
        "g",
        "3\n",
        "3\r3",
        "3\r\r",
        "\n",
        "3;\n",
        "3;a\0",
        "3;a\u{7f}",
        "3;a\rb",
        "3\r\nabcd",
        "3\r\nabc\n",
        "3\r\nabc\rx",
        "3\r\nabc0\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\nX\r\n",
        "0\r\n: 1",
        "0\r\n X: 1",
        "0\r\nX: 1\n",
        "0\r\nX : 1",
        "0\r\nX: 1\r\n Y",
        "0\r\nX: \0",
        "0\r\nX: 1\rY",
    ] {
        check(bytes, &Outcome::Malformed);
    }
}

#[test]
fn a_size_line_may_have_so_many_bytes() {
    let max = CHUNK_LINE_BYTES_MAX;
    let line = |len: usize| format!("{}\r", "0".repeat(len - 1));
    check(line(max), &Outcome::More);
    check(line(max + 1), &Outcome::Malformed);
    let extended = |len: usize| format!("1;{}\r", "x".repeat(len - 3));
    check(extended(max), &Outcome::More);
    check(extended(max + 1), &Outcome::Malformed);
}

#[test]
fn all_extensions_together_may_have_so_many_bytes() {
    // A hundred bytes with the carriage return behind each semicolon.
    let one = format!("1;{}\r\na\r\n", "x".repeat(99));
    let most = one.repeat(CHUNK_EXTENSION_BYTES_MAX / 100);
    let rest = "x".repeat(CHUNK_EXTENSION_BYTES_MAX % 100);
    let at_edge = most + "1;" + &rest;
    assert_eq!(feed(at_edge.as_bytes(), &[], 1000), Outcome::More);
    let too_much = at_edge + "x";
    assert_eq!(feed(too_much.as_bytes(), &[], 1000), Outcome::Malformed);
}

#[test]
fn trailers_may_have_so_many_bytes() {
    let max = TRAILER_BYTES_MAX;
    let of_len = |len: usize| format!("0\r\nX: {}\r\n\r\n", "x".repeat(len - "X: \r\n".len()));
    let edge = of_len(max);
    check(&edge, &Outcome::Body(Vec::new(), edge.len()));
    check(of_len(max + 1), &Outcome::Malformed);
}

#[test]
fn content_may_have_so_many_bytes() {
    let body = |sizes: &[usize]| {
        let chunks = sizes
            .iter()
            .map(|size| format!("{size:x}\r\n{}\r\n", "x".repeat(*size)));
        chunks.collect::<String>() + "0\r\n\r\n"
    };
    for sizes in [&[1000][..], &[999, 1]] {
        let wire = body(sizes);
        check(&wire, &Outcome::Body(vec![b'x'; 1000], wire.len()));
    }
    check(body(&[1001]), &Outcome::TooLarge);
    check(body(&[1000, 1]), &Outcome::TooLarge);
    // Refused by its announcement, not when it has come.
    check("ffffffffffffffff\r\n", &Outcome::TooLarge);
}

/// The same rules, plainly, for bytes that will not be followed by more: what is incomplete counts as malformed.
fn naive(wire: &[u8], bytes_max: usize) -> Outcome {
    let mut body = Vec::new();
    let mut rest = wire;
    let line = |rest: &mut &[u8]| -> Option<Vec<u8>> {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let (line, behind) = rest.split_at(end);
        *rest = &behind[2..];
        Some(line.to_vec())
    };
    let text = |bytes: &[u8]| bytes.iter().all(|b| *b == b'\t' || (*b >= 32 && *b != 127));
    loop {
        let Some(announced) = line(&mut rest) else {
            return Outcome::Malformed;
        };
        let semicolon = announced.iter().position(|byte| *byte == b';');
        let (digits, extension) = announced.split_at(semicolon.unwrap_or(announced.len()));
        let digits = String::from_utf8_lossy(digits);
        let only_digits = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        if !only_digits || !text(extension) {
            return Outcome::Malformed;
        }
        let Ok(size) = u64::from_str_radix(&digits, 16) else {
            return Outcome::Malformed;
        };
        if size == 0 {
            break;
        }
        if body.len() as u64 + size > bytes_max as u64 {
            return Outcome::TooLarge;
        }
        let size = size as usize;
        if rest.len() < size + 2 || &rest[size..size + 2] != b"\r\n" {
            return Outcome::Malformed;
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
    loop {
        match line(&mut rest) {
            None => return Outcome::Malformed,
            Some(line) if line.is_empty() => return Outcome::Body(body, wire.len() - rest.len()),
            Some(line) => {
                let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
                let (name, value) = line.split_at(colon);
                let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
                if name.is_empty() || !name.iter().all(token) || !text(value) {
                    return Outcome::Malformed;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_are_understood_as_the_oracle_does(
        chunks in proptest::collection::vec(("[ -~\r\n]{1,20}", "(;[a-z]{0,3}(=[a-z\"]{0,3})?)?"), 0..4),
        trailers in proptest::collection::vec("[A-Za-z]{1,3}:[ -~]{0,5}\r\n", 0..2),
        changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<bool>(), prop_oneof![
                prop::sample::select(&b"\r\n \t:;0afF\0\x7f"[..]), any::<u8>()
            ]),
            0..3,
        ),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        bytes_max in 20_usize..100,
    ) {
        let mut wire = Vec::new();
        for (content, extension) in chunks {
            wire.extend(format!("{:x}{extension}\r\n{content}\r\n", content.len()).bytes());
        }
        wire.extend(format!("0\r\n{}\r\nGET /next", trailers.concat()).bytes());
        for (at, insert, byte) in changes {
            let at = at.index(wire.len());
            if insert { wire.insert(at, byte) } else { wire[at] = byte }
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        cuts.sort_unstable();
        let whole = feed(&wire, &[], bytes_max);
        prop_assert_eq!(&feed(&wire, &cuts, bytes_max), &whole);
        // Nothing follows: a body that waits for more will never come.
        let whole = if whole == Outcome::More { Outcome::Malformed } else { whole };
        prop_assert_eq!(whole, naive(&wire, bytes_max), "{}", wire.escape_ascii());
    }
}
