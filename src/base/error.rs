//! [`Error`], for the program that embeds the server: what went wrong while it was set up, started or stopped.
//!
//! It is one of three errors for three readers. The peer's program reads an [`ErrorObject`](crate::ErrorObject) with a code; the model reads a
//! [`ToolError`](crate::ToolError) in prose. Neither turns into this one. Must not know JSON-RPC codes or HTTP status.

use std::fmt;
use std::io;

/// A result whose error is an [`Error`]: what setting up, starting and stopping a server returns.
///
/// Not for handlers, whose errors are for the model or the client: use `Result<T, `[`ToolError`](crate::ToolError)`>` there.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server could not be configured, started or stopped.
///
/// The `is_..` methods tell the kinds apart, `Display` has the message, and [`source`](std::error::Error::source) the I/O error behind it, if any.
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    Configuration,
    Bind,
    Spawn,
    Signal,
    Io,
}

impl Error {
    fn of(kind: ErrorKind, what: impl Into<String>, source: Option<io::Error>) -> Self {
        let what = what.into();
        Error { kind, what, source }
    }

    pub(crate) fn configuration(what: impl Into<String>) -> Self {
        Error::of(ErrorKind::Configuration, what, None)
    }

    pub(crate) fn bind(address: impl fmt::Display, source: io::Error) -> Self {
        let what = format!("cannot listen on {address}");
        Error::of(ErrorKind::Bind, what, Some(source))
    }

    pub(crate) fn spawn(thread: &str, source: io::Error) -> Self {
        let what = format!("cannot start the thread `{thread}`");
        Error::of(ErrorKind::Spawn, what, Some(source))
    }

    #[cfg(feature = "ctrlc")]
    pub(crate) fn signal(what: impl Into<String>) -> Self {
        Error::of(ErrorKind::Signal, what, None)
    }

    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Error::of(ErrorKind::Io, what, Some(source))
    }

    /// Whether the configuration is wrong: a name is used twice, a schema is invalid, a lane does not exist.
    pub fn is_configuration(&self) -> bool {
        self.kind == ErrorKind::Configuration
    }

    /// Whether the server could not listen on the address.
    pub fn is_bind(&self) -> bool {
        self.kind == ErrorKind::Bind
    }

    /// Whether a listener, stdin or stdout could not be used.
    pub fn is_io(&self) -> bool {
        self.kind == ErrorKind::Io
    }

    /// Whether a thread could not be started.
    pub fn is_spawn(&self) -> bool {
        self.kind == ErrorKind::Spawn
    }

    /// Whether the signal handler could not be installed, usually because the program has one already.
    pub fn is_signal(&self) -> bool {
        self.kind == ErrorKind::Signal
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// The same as `Display`, so that `fn main() -> mcp_threads::Result<()>` prints a sentence.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
