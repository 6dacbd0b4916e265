//! MCP over HTTP: the rules once, the fronts below them.
//!
//! `exchange` is the seam. `policy`, `endpoint`, `reply` and `get` stand above it, `response` and the fronts below.

pub(crate) mod endpoint;
pub(crate) mod exchange;
mod get;
#[cfg(all(feature = "http", unix))]
pub(crate) mod guarded;
pub(crate) mod policy;
mod reply;
pub(crate) mod response;
mod serve;
#[cfg(feature = "tiny-http")]
pub(crate) mod tiny;
