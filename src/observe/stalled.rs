//! [`StalledCall`]: what is known of a call that gives no sign of life, for the log and for the embedder.
//!
//! Must not know who found it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A call that gave no sign of life for as long as its [`liveness`](crate::Tool::liveness), or that was
/// [given up](crate::CancellationToken::give_up). See [`Server::on_stalled`](crate::Server::on_stalled).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StalledCall {
    /// What was called: the name of a tool or a prompt, the URI of a resource, as it was registered.
    pub name: Arc<str>,
    /// The request id under which the log has it.
    pub request_id: String,
    /// The lane on whose worker it runs.
    pub lane: Arc<str>,
    /// How long it has given no sign of life, suspended time left out.
    pub silent_for: Duration,
    /// Its last sign of life, and the line of code that gave it, such as `progress at src/main.rs:17:8`. `None` if there was none.
    pub last_sign: Option<String>,
    /// What it waits for in one of the library's own places, such as a claim.
    pub waits_for: Option<String>,
    /// Linux: the id of its thread, the thread's state, and in what it waits in the kernel. For people; the form may change.
    pub thread: Option<String>,
    /// The reason with which it was given up. `None` when it was found silent.
    pub given_up: Option<String>,
}

impl fmt::Display for StalledCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let silent_ms = self.silent_for.as_millis();
        let last_sign = self.last_sign.as_deref().unwrap_or("none");
        write!(
            f,
            "`{}` on lane `{}`: silent_ms={silent_ms} last_sign={last_sign:?}",
            self.name, self.lane
        )?;
        for (name, text) in [("waits_for", &self.waits_for), ("given_up", &self.given_up)] {
            if let Some(text) = text {
                write!(f, " {name}={text:?}")?;
            }
        }
        if let Some(thread) = &self.thread {
            write!(f, " {thread}")?;
        }
        write!(f, " request_id={}", self.request_id)
    }
}
