//! Server-sent events: one event, one comment, one event that only says where to come back.
//!
//! Pure: values in, bytes appended. A message of ours is JSON without line breaks, so it is always one `data` line.

use crate::base::heap;
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

/// What stands before a message. The type of the event is what it would be anyway, but some clients act only on events that say it.
pub(crate) const EVENT_START: &[u8] = b"event: message\ndata: ";

/// What stands behind a message.
pub(crate) const EVENT_END: &[u8] = b"\n\n";

/// Appends one event that carries this message.
pub(crate) fn write_event(out: &mut Vec<u8>, message: &[u8]) {
    debug_assert!(!message.contains(&b'\n'), "JSON is written on one line");
    heap::reserve(out, message.len() + 32);
    out.extend_from_slice(EVENT_START);
    out.extend_from_slice(message);
    out.extend_from_slice(EVENT_END);
}

/// Appends the id of the event that follows.
pub(crate) fn write_id(out: &mut Vec<u8>, id: impl Display) {
    writeln!(out, "id: {id}").expect("a Vec takes any number of bytes");
}

/// Appends an event without a message and without a type, which no client takes for a message: from now on the client has an id to come back with, and knows how long it shall wait before.
pub(crate) fn write_priming(out: &mut Vec<u8>, id: impl Display, retry: Duration) {
    write_id(out, id);
    let millis = retry.as_millis();
    write!(out, "retry: {millis}\ndata:\n\n").expect("a Vec takes any number of bytes");
}

/// A comment line, which clients ignore: proof of life.
pub(crate) const HEARTBEAT: &[u8] = b":\n\n";
