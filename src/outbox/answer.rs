//! The answer to one request, and how far the request got.
//!
//! Must not know how it waits or who writes it.

use crate::base::budget::Charge;
use crate::observe::access::Access;
use crate::protocol::version::Era;

/// The terminal message of one request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    /// The code, if the message is a JSON-RPC error.
    pub(crate) error: Option<i64>,
    pub(crate) standing: Standing,
    pub(crate) era: Era,
    pub(crate) access: Access,
    /// What its body costs; small ones are not charged.
    pub(crate) charge: Option<Charge>,
}

/// How far a request got before it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was understood; the answer is the method's own.
    Served,
    /// It was refused before any method saw it.
    Malformed,
    /// It named a session that does not exist, or no more.
    UnknownSession,
}
