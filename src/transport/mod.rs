//! Transports: bytes to messages, events to bytes.
//!
//! One thread at a time has a connection, for as long as its turn lasts: it alone reads it then, and writes what a worker did not send at once; a pipe has one
//! that reads and one that writes. Must not know handlers or lanes.

pub(crate) mod front;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
pub(crate) mod http;
mod lines;
pub(crate) mod pipe;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
pub(crate) mod sse;
#[cfg_attr(not(unix), path = "stdio_std.rs")]
pub(crate) mod stdio;
