//! The handshake era (`2025-11-25` and before): what a session is and keeps.
//!
//! Sessions, the questions they are asked, their streams and what is replayed of them, the resources they watch, the batches of revision
//! 2025-03-26. Must not know the engine, nor how HTTP or a pipe is read and written.

mod asks;
mod batch;
mod session;
mod streams;
mod table;

pub(crate) use self::asks::{AskCounter, Asks};
pub(crate) use self::batch::{Member, split};
pub(crate) use self::session::{Session, negotiate};
pub(crate) use self::streams::{Cursor, Listening, OpenStream, Resumed, Streams};
pub(crate) use self::table::SessionTable;
pub use self::table::Sessions;
