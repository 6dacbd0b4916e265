//! On whose behalf a request runs: what sessions, seals, streams and resources can be bound to.
//!
//! Travels with every request from its arrival to its end. Must not know what a request is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// What the name of a pipe's things begins with.
pub(crate) const PIPE: &str = "pipe:";
/// And that of a session's.
pub(crate) const SESSION: &str = "session:";

/// Who a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An HTTP request that stands alone, as those of the modern era do.
    Nobody,
    /// The client at the other end of a pipe.
    Pipe(u64),
    /// The client of a handshake-era session, by the session's id.
    Session(Arc<str>),
}

impl Owner {
    /// The client of a pipe that begins.
    pub(crate) fn new_pipe() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Owner::Pipe(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The client of a session that begins; its id cannot be guessed.
    pub(crate) fn new_session() -> Self {
        Owner::Session(Uuid::new_v4().to_string().into())
    }

    /// A name for what is kept for it, which no other owner has; `None` for nobody.
    pub(crate) fn key(&self) -> Option<Arc<str>> {
        match self {
            Owner::Nobody => None,
            Owner::Pipe(number) => Some(format!("{PIPE}{number}").into()),
            Owner::Session(id) => Some(format!("{SESSION}{id}").into()),
        }
    }
}
