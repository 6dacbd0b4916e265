//! The protocol as data and pure functions: JSON-RPC envelopes, MCP types, version eras, header rules.
//!
//! Bytes become values here and values become bytes. No I/O, no threads, no clock; must not know handlers, lanes or transports.

pub(crate) mod digest;
pub(crate) mod errors;
pub(crate) mod id;
pub(crate) mod jsonrpc;
pub(crate) mod meta;
pub(crate) mod modern;
pub(crate) mod number;
pub(crate) mod offer;
pub(crate) mod param_headers;
pub(crate) mod plain;
pub(crate) mod raw;
pub(crate) mod results;
pub(crate) mod sentence;
pub(crate) mod subschemas;
pub(crate) mod text;
pub(crate) mod tree;
pub(crate) mod types;
pub(crate) mod uri_template;
pub(crate) mod version;
