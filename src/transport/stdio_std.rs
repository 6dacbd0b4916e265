//! The process's own stdin and stdout where they cannot be taken out of everyone's reach, on systems that are not Unix.
//!
//! What else prints to stdout there corrupts the protocol, and a shutdown cannot interrupt what reads. Must not know messages.

use std::io::{self, Stdin, Stdout};

use crate::transport::pipe::Ears;

/// The protocol's ends, which are everybody's.
pub(crate) struct Stdio {
    pub(crate) read: Stdin,
    pub(crate) write: Stdout,
    pub(crate) ears: Option<Ears>,
}

/// As std gives them.
pub(crate) fn take() -> io::Result<Stdio> {
    Ok(Stdio {
        read: io::stdin(),
        write: io::stdout(),
        ears: None,
    })
}
