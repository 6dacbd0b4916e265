//! The rules for heads once more, as slowly and plainly as possible, and random heads to compare the two.

use proptest::prelude::*;

use super::super::head::{BodyFraming, Version};
use super::head::{Said, feed};

/// For whole heads of the origin form. `None`: not accepted.
fn naive(bytes: &[u8]) -> Option<Said> {
    let mut start = bytes;
    while let Some(rest) = start.strip_prefix(b"\r\n") {
        start = rest;
    }
    let skipped = bytes.len() - start.len();
    let end = start.windows(4).position(|four| four == b"\r\n\r\n")?;
    // What stands behind the head is not its business.
    let head = std::str::from_utf8(&start[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let request_line: Vec<&str> = lines.next()?.split(' ').collect();
    let [method, target, version] = request_line[..] else {
        return None;
    };
    let token = |text: &str| {
        let all = text.chars();
        let mut all = all.map(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
        !text.is_empty() && all.all(|good| good)
    };
    let printable = |text: &str| {
        text.chars()
            .all(|c| c == '\t' || (c >= ' ' && c != '\u{7f}'))
    };
    let fields: Option<Vec<(String, String)>> = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            let value = value.trim_matches([' ', '\t']);
            let good = token(name) && printable(value);
            good.then(|| (name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect();
    let fields = fields?;
    let values = |name: &str| -> Vec<String> {
        let named = fields.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.clone()).collect()
    };
    let version = match version {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ => return None,
    };
    let old = version == Version::Http10;
    let visible = |text: &str| text.chars().all(|c| ('!'..='~').contains(&c));
    if !token(method) || !target.starts_with('/') || !visible(target) {
        return None;
    }
    match values("host").as_slice() {
        [] if old => {}
        [host] if !host.contains([' ', '\t', ',', '/', '@', '?', '#', '"', '<', '\\']) => {
            if !host.is_ascii() || host.contains(['>', '^', '`', '{', '|', '}']) {
                return None;
            }
        }
        _ => return None,
    }
    let framing = match (
        values("content-length").as_slice(),
        values("transfer-encoding").as_slice(),
    ) {
        ([], []) => BodyFraming::Empty,
        ([length], []) if length.chars().all(|c| c.is_ascii_digit()) => {
            BodyFraming::Length(length.parse().ok()?)
        }
        ([], [coding]) if !old && coding.eq_ignore_ascii_case("chunked") => BodyFraming::Chunked,
        _ => return None,
    };
    let expected = values("expect");
    if !old
        && expected
            .iter()
            .any(|value| !value.eq_ignore_ascii_case("100-continue"))
    {
        return None;
    }
    let closing = values("connection").join(",").to_ascii_lowercase();
    Some(Said {
        len: skipped + end + 4,
        method: method.to_owned(),
        target: target.to_owned(),
        version,
        framing,
        expects_continue: !old && !expected.is_empty(),
        wants_close: old || closing.split(',').any(|item| item.trim() == "close"),
        x: values("x"),
    })
}

fn some_head() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just("Host: a:1".to_owned()),
        Just("X: 1".to_owned()),
        Just("x:\ttwo words ".to_owned()),
        Just("Connection: x, close".to_owned()),
        Just("Expect: 100-continue".to_owned()),
        Just("Transfer-Encoding: chunked".to_owned()),
        (0_u64..1000).prop_map(|length| format!("Content-Length: {length}")),
        "[A-Za-z-]{1,8}:[ -~]{0,12}",
    ];
    let line = prop_oneof![
        Just("GET / HTTP/1.1".to_owned()),
        Just("POST /mcp HTTP/1.1".to_owned()),
        Just("POST /a?b HTTP/1.0".to_owned()),
        "[A-Z]{1,5} /[!-~]{0,9} HTTP/1.[012]",
    ];
    let fields = proptest::collection::vec(field, 0..5);
    (line, fields, 0..4_u8).prop_map(|(line, fields, hostless)| {
        let host = if hostless > 0 { "Host: b\r\n" } else { "" };
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{line}\r\n{host}{fields}\r\n").into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A head with up to two bytes added or replaced is understood as the oracle understands it, however it is cut.
    #[test]
    fn heads_are_understood_as_the_oracle_does(
        head in some_head(),
        changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<bool>(), prop_oneof![
                prop::sample::select(&b"\r\n \t:,;0a\0\x7f\x0b/"[..]), any::<u8>()
            ]),
            0..3,
        ),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut bytes = head;
        for (at, insert, byte) in changes {
            let at = at.index(bytes.len());
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        let whole = feed(&bytes, &[]);
        prop_assert_eq!(&feed(&bytes, &cuts), &whole);
        prop_assert_eq!(whole.unwrap_or(None), naive(&bytes), "{}", bytes.escape_ascii());
    }
}
