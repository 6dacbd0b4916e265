//! JSON strings, written fast.
//!
//! serde_json looks at each byte by itself. What tools answer is mostly text with nothing to escape for long stretches, so here whole
//! stretches are looked at, and copied, at once; where escapes stand close together, as in JSON within JSON, serde_json is faster and takes
//! over. Pure.

use crate::protocol::jsonrpc::write_json;

/// How much is looked at in one go: what a compiler turns into a few vector instructions.
const STRIDE: usize = 32;
/// Two escapes within so many bytes are close together.
const CLOSE: usize = 16;
/// So many of them one after the other, and serde_json takes over.
const CLOSE_MAX: usize = 16;

/// Appends this text as a JSON string, the same bytes that serde_json writes.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    let mut close = 0;
    out.push(b'"');
    while let Some(at) = first_to_escape(rest.as_bytes()) {
        close = if at < CLOSE { close + 1 } else { 0 };
        if close > CLOSE_MAX {
            let quote = out.len();
            write_json(out, rest);
            out.remove(quote);
            return;
        }
        out.extend_from_slice(&rest.as_bytes()[..at]);
        write_escaped(out, rest.as_bytes()[at]);
        // What is escaped is one byte long.
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
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

    fn assert_same(text: &str) {
        let mut out = b"before".to_vec();
        write_text(&mut out, text);
        let expected = serde_json::to_string(text).expect("text is JSON");
        assert_eq!(out, format!("before{expected}").into_bytes());
    }

    #[test]
    fn every_character_that_is_escaped_is_so_wherever_it_stands() {
        for escaped in (0..=0x7f).map(char::from) {
            for before in [0, 1, STRIDE - 1, STRIDE, 2 * STRIDE] {
                assert_same(&format!("{}{escaped}é", "a".repeat(before)));
            }
        }
        assert_same("");
        for close in [CLOSE_MAX - 1, CLOSE_MAX, CLOSE_MAX + 1, 3 * CLOSE_MAX] {
            assert_same(&format!("{}é and more", "\"".repeat(close)));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_what_serde_json_writes(text in "(\\PC{0,40}|[\\x00-\\x7f]{0,40}|\\n|\"){0,60}") {
            assert_same(&text);
        }
    }
}
