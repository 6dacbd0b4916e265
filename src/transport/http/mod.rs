//! MCP over HTTP: the rules once, the fronts below them.
//!
//! `exchange` is the seam. `policy` and `endpoint` stand above it, `response` and the fronts below.

pub(crate) mod endpoint;
pub(crate) mod exchange;
#[cfg(all(feature = "http", unix))]
pub(crate) mod guarded;
pub(crate) mod policy;
pub(crate) mod response;
#[cfg(feature = "tiny-http")]
pub(crate) mod tiny;
