//! Transports: bytes to messages, events to bytes.
//!
//! Each connection or pipe has one thread that owns its reading and writing. Must not know handlers or lanes.

pub(crate) mod front;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
pub(crate) mod http;
pub(crate) mod pipe;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
pub(crate) mod sse;
#[cfg(unix)]
pub(crate) mod stdio;
