//! What happened to a request, for whoever watches the server.
//!
//! Must not know who serves it.

pub(crate) mod access;
pub(crate) mod stalled;
