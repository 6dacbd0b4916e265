//! Server-sent events: one event, one comment.
//!
//! Pure: values in, bytes appended. A message of ours is JSON without line breaks, so it is always one `data` line.

/// Appends one event that carries this message.
pub(crate) fn write_event(out: &mut Vec<u8>, message: &[u8]) {
    debug_assert!(!message.contains(&b'\n'), "JSON is written on one line");
    out.reserve(message.len() + 8);
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(message);
    out.extend_from_slice(b"\n\n");
}

/// A comment line, which clients ignore: proof of life.
pub(crate) const HEARTBEAT: &[u8] = b":\n\n";
