//! A session of the handshake era: what one handshake established, and everything that is kept for it.
//!
//! ```text
//!                initialize             next message              idle_timeout (the clock) | DELETE | pipe closed
//!  (handshake) ─────────────▶ UNUSED ────────────────▶ USED ◀─┐ ──────────────────────────────────────────────▶ ENDED
//!                                │                       └────┘   sessions_max: the longest idle makes room; half of   ▲
//!                                └───── goes first ────────────── memory_bytes_max: the idle one that keeps the most ─┘
//! ```
//!
//! A session is idle while no message comes, no call of it is under way and no stream is open. Its end cancels its calls, closes the questions it was
//! asked and forgets its streams; a request that names it afterwards gets `404`, unless [`Sessions`](crate::Sessions) says otherwise.
//!
//! A pipe has at most one, without an id; so has a request that stands alone. Must not know HTTP, or where sessions are found. Specification: `basic/lifecycle`,
//! `basic/transports` ("Session Management") and `server/resources` ("Subscriptions") of revision 2025-11-25.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::awake;
use crate::base::budget::{Budget, Charge, OverBudget};
use crate::base::in_flight::InFlight;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::owner::Owner;
use crate::handler::client::Client;
use crate::legacy::asks::Asks;
use crate::legacy::streams::Streams;
use crate::observe::access::RequestTag;
use crate::protocol::id::RequestId;
use crate::protocol::types::LoggingLevel;
use crate::protocol::version::{Era, ProtocolVersion};

/// What one handshake established.
pub(crate) struct Session {
    /// To whom its requests belong: itself, or its pipe; nobody if it is that of one request.
    pub(crate) owner: Owner,
    /// Whether it was not opened by a handshake with this server.
    pub(crate) is_adopted: bool,
    pub(crate) client: Arc<Client>,
    pub(crate) version: ProtocolVersion,
    pub(crate) calls: Arc<InFlight<RequestId>>,
    pub(crate) asks: Arc<Asks>,
    pub(crate) streams: Arc<Streams>,
    /// The resources that it watches, compared as they are written, each with what that costs.
    pub(crate) watched: Lock<HashMap<Box<str>, Charge>>,
    /// The account of everything that is kept for it.
    pub(crate) memory: Arc<Budget>,
    /// That of what its calls take while they wait and run: one session leaves half of the server's memory to the others. `None` where it has no id, on a pipe, which
    /// is mostly all that is served.
    pub(crate) calls_memory: Option<Arc<Budget>>,
    state: Lock<SessionState>,
    /// Itself, and what its client says about itself.
    _kept: Charge,
}

struct SessionState {
    /// `info` until the client sets one; the specification leaves the choice to the server.
    log_level: LoggingLevel,
    last_seen: Instant,
    /// Whether anything has come from its client since `initialize`.
    is_used: bool,
}

/// In the order of what counts: the greatest goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dispensable {
    pub(super) is_adopted: bool,
    /// Nothing has come from its client since `initialize`.
    pub(super) is_unused: bool,
    pub(super) idle_for: Duration,
}

/// What a session costs in which nothing has happened, in bytes.
pub(super) const SESSION_BYTES: usize = 2 * 1024;

impl Session {
    /// A session whose account is part of `memory`.
    ///
    /// # Errors
    ///
    /// When there is no room for what its client says about itself.
    pub(crate) fn new(
        owner: Owner,
        client: Client,
        calls: Arc<InFlight<RequestId>>,
        limits: &Arc<Limits>,
        memory: &Arc<Budget>,
    ) -> Result<Self, OverBudget> {
        let has_id = matches!(owner, Owner::Session(_));
        let calls_memory = has_id.then(|| memory.top().of_peer(limits.memory_bytes_max / 2));
        let memory = memory.of_peer(limits.session_bytes_max);
        let streams = Arc::new(Streams::new(client.protocol_version(), limits, &memory));
        let parked = Arc::downgrade(&streams);
        memory.on_shortage(move |bytes| {
            if let Some(streams) = parked.upgrade() {
                streams.make_room(bytes);
            }
        });
        let state = SessionState {
            log_level: LoggingLevel::Info,
            last_seen: awake::now(),
            is_used: false,
        };
        Ok(Session {
            owner,
            is_adopted: false,
            _kept: memory.charge(SESSION_BYTES + client.len())?,
            version: client.protocol_version(),
            streams,
            client: Arc::new(client),
            calls,
            asks: Arc::default(),
            watched: Lock::default(),
            state: Lock::new(state),
            memory,
            calls_memory,
        })
    }

    /// Notes for the access log who asks.
    pub(crate) fn note_on(&self, tag: &RequestTag) {
        let info = self.client.info();
        let name = info.as_ref().map(|info| &*info.name);
        tag.note_asker(Era::Legacy.as_str(), name);
    }

    pub(crate) fn log_level(&self) -> LoggingLevel {
        self.state.lock().log_level
    }

    pub(crate) fn set_log_level(&self, level: LoggingLevel) {
        self.state.lock().log_level = level;
    }

    /// Cancels its calls and lets go of everything it keeps.
    pub(super) fn end(&self) {
        self.calls.cancel_all();
        self.asks.close();
        self.streams.end();
        *self.watched.lock() = HashMap::new();
    }

    pub(super) fn touch(&self) {
        let mut state = self.state.lock();
        state.last_seen = awake::now();
        state.is_used = true;
    }

    /// How willingly it makes room for a new one. `None` when it is busy.
    pub(super) fn dispensable(&self, now: Instant) -> Option<Dispensable> {
        let idle_for = self.idle_for(now);
        (!idle_for.is_zero()).then(|| Dispensable {
            is_adopted: self.is_adopted,
            is_unused: !self.state.lock().is_used,
            idle_for,
        })
    }

    /// Whether it is that of one request.
    pub(crate) fn stands_alone(&self) -> bool {
        self.owner == Owner::Nobody
    }

    /// How long before `now` anything has happened in it: a message, a call under way, an open stream. Who compares sessions asks all of them for one moment.
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        let silent = now.saturating_duration_since(self.state.lock().last_seen);
        let others = [self.calls.idle_for(now), self.streams.idle_for(now)];
        others.into_iter().flatten().fold(silent, Duration::min)
    }
}

/// Version negotiation: the version asked for if it is a legacy one, else the newest of them.
pub(crate) fn negotiate(requested: &str) -> ProtocolVersion {
    ProtocolVersion::parse(requested)
        .filter(|version| version.era() == Era::Legacy)
        .unwrap_or(ProtocolVersion::LATEST_LEGACY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_negotiated() {
        for (asked, settled) in [
            ("2025-03-26", "2025-03-26"),
            ("2025-06-18", "2025-06-18"),
            ("2024-11-05", "2024-11-05"),
            ("2024-10-07", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
        ] {
            assert_eq!(negotiate(asked).as_str(), settled);
        }
    }
}
