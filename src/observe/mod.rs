//! Observability: what happened to a request, for those who watch the server.
//!
//! Must not know who serves it.

pub(crate) mod access;
pub(crate) mod stalled;
