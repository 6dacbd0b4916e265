//! JSON strings, written fast.
//!
//! serde_json looks at each byte by itself. What tools answer is mostly text with nothing to escape for long stretches, so here whole
//! stretches are looked at, and copied, at once; where escapes stand close together, as in JSON within JSON, serde_json is faster and takes
//! over. U+2028, U+2029 and U+0085 are escaped in everything that is written, because some readers of lines take them for line ends. Pure.

use std::borrow::Cow;
use std::io;

use crate::base::heap;
use serde::Serialize;
use serde_json::ser::Formatter;

/// A string that borrows when it has no escapes, also inside an `Option`.
#[derive(serde::Deserialize, Debug)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Appends a value of ours as JSON.
///
/// # Panics
///
/// When the value cannot be JSON at all, such as a map with keys that are not strings. Only for types of this crate.
pub(crate) fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    value
        .serialize(&mut serde_json::Serializer::with_formatter(
            Growing(out),
            OneLine,
        ))
        .expect("the library's own types are always JSON and a Vec takes every write");
}

/// How long a value of ours is as JSON, as [`write_json`] writes it.
pub(crate) fn json_len<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut counted = Counting(0);
    let mut counter = serde_json::Serializer::with_formatter(&mut counted, OneLine);
    let written = value.serialize(&mut counter);
    written.expect("the library's own types are always JSON and a counter takes every write");
    counted.0
}

struct Counting(usize);

impl io::Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Grows as [`heap`] has it.
struct Growing<'a>(&'a mut Vec<u8>);

impl io::Write for Growing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        heap::append(self.0, bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        heap::append(self.0, bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON without anything in it that a reader could take for the end of a line.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_on_one_line(out, fragment)
    }

    /// Outside of strings, JSON has no such character.
    fn write_raw_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_on_one_line(out, fragment)
    }
}

/// Writes a piece of JSON, or of a string in it, with its line ends beyond ASCII escaped.
fn write_on_one_line<W: io::Write + ?Sized>(out: &mut W, piece: &str) -> io::Result<()> {
    let bytes = piece.as_bytes();
    if bytes.is_ascii() {
        return out.write_all(bytes);
    }
    let mut from = 0;
    for at in memchr::memchr2_iter(0xc2, 0xe2, bytes) {
        let (escape, length) = match &bytes[at..] {
            [0xc2, 0x85, ..] => (b"\\u0085", 2),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            _ => continue,
        };
        out.write_all(&bytes[from..at])?;
        out.write_all(escape)?;
        from = at + length;
    }
    out.write_all(&bytes[from..])
}

/// How much is looked at in one go: what a compiler turns into a few vector instructions.
const STRIDE: usize = 32;
/// Two escapes within so many bytes are close together.
const CLOSE: usize = 16;
/// So many of them one after the other, and serde_json takes over.
const CLOSE_MAX: usize = 16;

/// Room for what stands behind a long text in an answer, so that it is not moved for it.
const BEHIND_BYTES: usize = 256;

/// Appends this text as a JSON string, the same bytes that [`write_json`] writes.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    let behind = if text.len() < BEHIND_BYTES {
        2
    } else {
        BEHIND_BYTES
    };
    heap::reserve(out, text.len() + behind);
    out.push(b'"');
    let (plain, mut rest) = text.split_at(plain_len(text.as_bytes()));
    out.extend_from_slice(plain.as_bytes());
    let mut close = 0;
    while let Some(at) = first_to_escape(rest.as_bytes()) {
        close = if at < CLOSE { close + 1 } else { 0 };
        if close > CLOSE_MAX {
            let quote = out.len();
            write_json(out, rest);
            out.remove(quote);
            return;
        }
        push(out, &rest[..at]);
        write_escaped(out, rest.as_bytes()[at]);
        // What is escaped is one byte long.
        rest = &rest[at + 1..];
    }
    push(out, rest);
    out.push(b'"');
}

fn push(out: &mut Vec<u8>, clean: &str) {
    write_on_one_line(out, clean).expect("a Vec takes every write");
}

/// How many bytes at the beginning, in whole strides, are ASCII and not to be escaped: mostly all, found in one look.
fn plain_len(bytes: &[u8]) -> usize {
    // Seen with a sign, what is no ASCII is less than a space as well.
    let is_plain = |stride: &[u8]| {
        let look = |found, byte: &u8| found | (byte.cast_signed() < 32) | is_escaped(*byte);
        !stride.iter().fold(false, look)
    };
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    let plain = strides.iter().take_while(|stride| is_plain(&stride[..]));
    match plain.count() {
        plain if plain == strides.len() && is_plain(rest) => bytes.len(),
        plain => plain * STRIDE,
    }
}

fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    let has_one = |stride: &[u8]| {
        // Without a short cut, so that all of it is looked at together.
        stride
            .iter()
            .fold(false, |found, byte| found | is_escaped(*byte))
    };
    let clean = bytes.chunks(STRIDE).take_while(|stride| !has_one(stride));
    let from = clean.map(<[u8]>::len).sum();
    let at = bytes[from..].iter().position(|byte| is_escaped(*byte))?;
    Some(from + at)
}

fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// By how many bytes the escapes in a text make it longer, at most: those that have a letter count as if they had none.
pub(crate) fn escapes_len(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' => 1,
        0x85 | 0xa8 | 0xa9 => 4, // the last byte of what some readers take for a line's end
        _ => 5 * usize::from(byte < b' '),
    };
    text.bytes().map(more).sum()
}

fn write_escaped(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digits = [byte >> 4, byte & 0xf].map(|digit| HEX[usize::from(digit)]);
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BREAKS: [(char, &str); 3] = [
        ('\u{85}', "\\u0085"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];

    fn assert_same(text: &str) {
        let mut out = b"before".to_vec();
        write_text(&mut out, text);
        let mut expected = serde_json::to_string(text).expect("text is JSON");
        for (break_, escape) in BREAKS {
            expected = expected.replace(break_, escape);
        }
        let expected = format!("before{expected}").into_bytes();
        assert_eq!(out, expected);
        let mut written = b"before".to_vec();
        write_json(&mut written, text);
        assert_eq!(written, expected);
        let len = expected.len() - "before".len();
        assert_eq!(json_len(text), len);
        assert!(text.len() + escapes_len(text) + 2 >= len, "{text:?}");
    }

    #[test]
    fn every_character_that_is_escaped_is_so_wherever_it_stands() {
        for escaped in (0..=0x7f).map(char::from) {
            for before in [0, 1, STRIDE - 1, STRIDE, 2 * STRIDE] {
                assert_same(&format!("{}{escaped}é", "a".repeat(before)));
            }
        }
        assert_same("");
        for break_ in BREAKS.map(|(char, _)| char) {
            for before in [0, 1, STRIDE - 1, STRIDE] {
                assert_same(&format!(
                    "{}{break_}\u{84}\u{2027}—“é{break_}",
                    "a".repeat(before)
                ));
            }
        }
        for close in [CLOSE_MAX - 1, CLOSE_MAX, CLOSE_MAX + 1, 3 * CLOSE_MAX] {
            assert_same(&format!("{}é and more", "\"".repeat(close)));
        }
    }

    #[test]
    fn names_and_raw_values_are_escaped_as_well() {
        let raw: &serde_json::value::RawValue =
            serde_json::from_str("{\"\u{2028}\":\"\u{2029}\"}").expect("it is JSON");
        let mut out = Vec::new();
        write_json(
            &mut out,
            &std::collections::BTreeMap::from([("\u{85}", raw)]),
        );
        assert_eq!(out, br#"{"\u0085":{"\u2028":"\u2029"}}"#);
    }

    proptest! {
        #[test]
        fn any_text_is_what_serde_json_writes_but_for_line_ends(text in "(\\PC{0,40}|[\\x00-\\x7f]{0,40}|[\u{80}-\u{88}\u{2027}-\u{202a}]|\\n|\"){0,60}") {
            assert_same(&text);
        }
    }
}
