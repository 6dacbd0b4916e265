//! MCP over HTTP: the rules once, the fronts below them.
//!
//! `exchange` is the seam: one request and its answer. Above it an exchange goes through `serve` (begin reading there),
//! which asks `endpoint` and `policy`, hands the message to the engine, and what comes out of its outbox to `write`; `get` serves a
//! handshake-era client that listens or comes back. `refusal` is the one form of everything that is refused before there is a message; `endpoint` is what
//! all exchanges share, with the table of paths. Below the seam stand `response`, which both fronts encode with, and the fronts.

pub(crate) mod endpoint;
pub(crate) mod exchange;
mod get;
#[cfg(all(feature = "http", unix))]
pub(crate) mod guarded;
pub(crate) mod policy;
mod refusal;
pub(crate) mod response;
mod serve;
#[cfg(feature = "tiny-http")]
pub(crate) mod tiny;
mod write;

pub(crate) use self::endpoint::Callers;
