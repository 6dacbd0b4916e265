//! Heads with control characters in `Mcp-*` fields, which have rules and a refusal of their own, and with values that are not UTF-8.
//!
//! Pure. Must not know what those fields say. RFC 9110 §5.5 (obs-text). Specification: `basic/transports/streamable-http` ("Server Validation") of revision 2026-07-28.

use super::head::{BAD_VALUE, Head, NOT_UTF8, Refused};

/// Parses a whole head as [`Head::parse`] does; control characters in `Mcp-*` fields are let through, as replacement characters, and bytes that are not
/// UTF-8 in any field, as Latin-1.
pub(super) fn parse(head: &mut Head, bytes: &[u8]) -> Result<(), Refused> {
    match head.parse(bytes) {
        Err(why @ (BAD_VALUE | NOT_UTF8)) => {
            let marked = in_utf8(&with_controls_marked(bytes));
            if marked.len() == bytes.len() {
                return Err(why);
            }
            head.parse(marked.as_bytes())?;
            head.len = bytes.len();
            Ok(())
        }
        parsed => parsed,
    }
}

/// The head with a replacement character for each control character in the values of `Mcp-*` fields: they go on to the rules of those fields, which
/// refuse what is not ASCII under the request's id.
fn with_controls_marked(bytes: &[u8]) -> Vec<u8> {
    let mut marked = Vec::with_capacity(bytes.len() + 64);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let is_mcp = (line.get(..4)).is_some_and(|start| start.eq_ignore_ascii_case(b"mcp-"));
        let value_at = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(value_at.filter(|_| is_mcp).unwrap_or(line.len()));
        marked.extend_from_slice(name);
        for byte in value {
            match byte {
                b'\0' | b'\t' | b'\r' | b'\n' | b' '..=b'~' | 0x80.. => marked.push(*byte),
                _ => marked.extend_from_slice("\u{fffd}".as_bytes()),
            }
        }
    }
    marked
}

/// The head with a letter of Latin-1 for each byte that is not UTF-8: opaque in most fields, refused like any that is not ASCII in `Mcp-*` fields.
fn in_utf8(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 64);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().copied().map(char::from));
    }
    text
}
