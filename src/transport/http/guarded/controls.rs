//! Heads with control characters in `Mcp-*` fields, which have rules and a refusal of their own.
//!
//! Pure. Must not know what those fields say. Specification: `basic/transports/streamable-http` ("Server Validation") of revision 2026-07-28.

use super::head::{BAD_VALUE, Head, Refused};

/// Parses a whole head as [`Head::parse`] does; control characters in `Mcp-*` fields are let through, as replacement characters.
pub(super) fn parse(head: &mut Head, bytes: &[u8]) -> Result<(), Refused> {
    match head.parse(bytes) {
        Err(BAD_VALUE) => {
            let marked = with_controls_marked(bytes).ok_or(BAD_VALUE)?;
            head.parse(&marked)?;
            head.len = bytes.len();
            Ok(())
        }
        parsed => parsed,
    }
}

/// The head with a replacement character for each control character in the values of `Mcp-*` fields: they go on to the rules of those fields, which
/// refuse what is not ASCII under the request's id. `None` if there is none.
fn with_controls_marked(bytes: &[u8]) -> Option<Vec<u8>> {
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
    (marked.len() > bytes.len()).then_some(marked)
}
