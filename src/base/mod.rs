//! What every room may use: errors, bounds, cancellation, deadlines, panics, counters.
//!
//! Must not know what a request is.

pub(crate) mod cancel;
pub(crate) mod deadline;
pub(crate) mod error;
pub(crate) mod limits;
pub(crate) mod panics;
pub(crate) mod stats;
