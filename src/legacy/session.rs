//! The handshake era's sessions: opened by `initialize`, found by `Mcp-Session-Id`, ended by `DELETE`, by silence or by the cap.
//!
//! A pipe has at most one session, without an id. Must not know HTTP. Specification: `basic/lifecycle` and `basic/transports`
//! ("Session Management") of revision 2025-11-25.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::base::in_flight::InFlight;
use crate::base::limits::Limits;
use crate::handler::client::Client;
use crate::legacy::asks::Asks;
use crate::legacy::streams::Streams;
use crate::legacy::watched::Watched;
use crate::protocol::jsonrpc::RequestId;
use crate::protocol::types::LoggingLevel;
use crate::protocol::version::{Era, ProtocolVersion};

const HELD: &str = "no code panics while it holds a session";
const SESSIONS_HELD: &str = "no code panics while it holds the sessions";

/// What one handshake established.
pub(crate) struct Session {
    pub(crate) client: Arc<Client>,
    pub(crate) version: ProtocolVersion,
    pub(crate) calls: Arc<InFlight<RequestId>>,
    pub(crate) asks: Arc<Asks>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) watched: Watched,
    mutable: Mutex<Mutable>,
}

#[derive(Debug)]
struct Mutable {
    /// `info` until the client sets one; the specification leaves the choice to the server.
    log_level: LoggingLevel,
    last_seen: Instant,
}

impl Session {
    pub(crate) fn new(client: Client, calls: Arc<InFlight<RequestId>>, limits: &Limits) -> Self {
        let mutable = Mutable {
            log_level: LoggingLevel::Info,
            last_seen: Instant::now(),
        };
        Session {
            version: client.protocol_version(),
            streams: Arc::new(Streams::new(client.protocol_version(), limits)),
            client: Arc::new(client),
            calls,
            asks: Arc::default(),
            watched: Watched::default(),
            mutable: Mutex::new(mutable),
        }
    }

    pub(crate) fn log_level(&self) -> LoggingLevel {
        self.lock().log_level
    }

    pub(crate) fn set_log_level(&self, level: LoggingLevel) {
        self.lock().log_level = level;
    }

    /// Sends a notification that belongs to no request, once. On HTTP it waits until the client listens.
    pub(crate) fn announce(&self, notification: Vec<u8>) {
        self.streams.announce(notification);
    }

    /// Cancels its calls and lets go of its streams.
    fn end(&self) {
        self.calls.cancel_all();
        self.streams.end();
    }

    fn touch(&self) {
        self.lock().last_seen = Instant::now();
    }

    /// How long nothing has happened in it: no message, no call under way, no stream open.
    fn idle_for(&self) -> Duration {
        let silent = self.lock().last_seen.elapsed();
        let others = [self.calls.idle_for(), self.streams.idle_for()];
        others.into_iter().flatten().fold(silent, Duration::min)
    }

    fn lock(&self) -> MutexGuard<'_, Mutable> {
        self.mutable.lock().expect(HELD)
    }
}

/// The version a handshake settles on: the one asked for if it is a legacy one, else the newest of them.
pub(crate) fn negotiate(requested: &str) -> ProtocolVersion {
    ProtocolVersion::parse(requested)
        .filter(|version| version.era() == Era::Legacy)
        .unwrap_or(ProtocolVersion::LATEST_LEGACY)
}

type ById = HashMap<Arc<str>, Arc<Session>>;

/// Every living session with an id.
pub(crate) struct Sessions {
    sessions_max: usize,
    idle_timeout: Duration,
    by_id: Mutex<ById>,
    /// Those without an id. Each belongs to its pipe.
    on_pipes: Mutex<Vec<Weak<Session>>>,
}

impl Sessions {
    pub(crate) fn new(sessions_max: usize, idle_timeout: Duration) -> Self {
        Sessions {
            sessions_max,
            idle_timeout,
            by_id: Mutex::default(),
            on_pipes: Mutex::default(),
        }
    }

    /// Keeps a session and gives it an id that cannot be guessed. `None` when as many as may live are all busy.
    pub(crate) fn open(&self, session: Session) -> Option<Arc<str>> {
        let id: Arc<str> = Uuid::new_v4().to_string().into();
        let mut by_id = self.lock();
        let outlived = self.make_room(&mut by_id)?;
        by_id.insert(Arc::clone(&id), Arc::new(session));
        drop(by_id);
        // Ending one writes to the log, for which nobody shall wait who looks for a session.
        for (session, idle_for) in outlived {
            log::info!("a session that was idle for {idle_for:?} ends, to make room for a new one");
            session.end();
        }
        Some(id)
    }

    /// Takes out who has been idle too long, if there is no room for one more, and then whoever has been idle the longest. `None` when nobody
    /// is idle.
    fn make_room(&self, by_id: &mut ById) -> Option<Vec<(Arc<Session>, Duration)>> {
        if by_id.len() < self.sessions_max {
            return Some(Vec::new());
        }
        let mut idle: Vec<_> = by_id
            .iter()
            .map(|(id, session)| (session.idle_for(), Arc::clone(id)))
            .collect();
        idle.sort_unstable_by_key(|(idle_for, _)| Reverse(*idle_for));
        let (longest, _) = idle.first()?;
        if longest.is_zero() {
            return None;
        }
        let gone = idle
            .iter()
            .take_while(|(idle_for, _)| *idle_for >= self.idle_timeout)
            .count();
        idle.truncate(gone.max(1));
        let ends = idle.into_iter();
        Some(
            ends.filter_map(|(idle_for, id)| Some((by_id.remove(&id)?, idle_for)))
                .collect(),
        )
    }

    /// Remembers a session that has no id, for as long as its pipe does.
    pub(crate) fn add_on_pipe(&self, session: &Arc<Session>) {
        let mut on_pipes = self.on_pipes.lock().expect(SESSIONS_HELD);
        on_pipes.retain(|session| session.strong_count() > 0);
        on_pipes.push(Arc::downgrade(session));
    }

    /// Every living session.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.lock().values().map(Arc::clone).collect();
        let on_pipes = self.on_pipes.lock().expect(SESSIONS_HELD);
        all.extend(on_pipes.iter().filter_map(Weak::upgrade));
        all
    }

    /// The living session with this id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Session>> {
        let mut by_id = self.lock();
        let session = Arc::clone(by_id.get(id)?);
        if session.idle_for() >= self.idle_timeout {
            by_id.remove(id);
            drop(by_id);
            session.end();
            return None;
        }
        session.touch();
        Some(session)
    }

    /// Ends a session and cancels its calls. Says whether there was one.
    pub(crate) fn end(&self, id: &str) -> bool {
        let ended = self.lock().remove(id);
        if let Some(session) = &ended {
            session.end();
        }
        ended.is_some()
    }

    /// Ends every stream that only listens, in every session.
    pub(crate) fn end_listening(&self) {
        for session in self.lock().values() {
            session.streams.end_listening();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, ById> {
        self.by_id.lock().expect(SESSIONS_HELD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::access::{AccessLog, Observer};
    use crate::outbox::{Bounds, Outbox, outbox};

    fn session() -> Session {
        Session::new(
            Client::new(None, None, ProtocolVersion::V2025_11_25),
            Arc::default(),
            &Limits::default(),
        )
    }

    fn new_outbox() -> Outbox {
        let bounds = Bounds {
            answers_max: 1,
            events_max: 1,
            bytes_max: 1,
        };
        outbox(bounds, &(Arc::new(AccessLog) as Arc<dyn Observer>)).0
    }

    #[test]
    fn law_9_the_longest_idle_session_makes_room() {
        let sessions = Sessions::new(2, Duration::from_secs(3600));
        let first = sessions.open(session()).expect("there is room");
        let second = sessions.open(session()).expect("there is room");
        assert!(
            sessions.find(&first).is_some(),
            "found, so it is the more recently used one"
        );
        let third = sessions.open(session()).expect("the second makes room");
        assert_eq!(sessions.len(), 2);
        assert!(sessions.find(&second).is_none());
        assert!(sessions.find(&first).is_some() && sessions.find(&third).is_some());
    }

    #[test]
    fn a_session_with_an_open_stream_is_not_idle() {
        let sessions = Sessions::new(1, Duration::from_secs(3600));
        let id = sessions.open(session()).expect("there is room");
        let streams = Arc::clone(&sessions.find(&id).expect("it lives").streams);
        let listening = streams.listen(new_outbox());
        assert!(sessions.open(session()).is_none(), "its client is alive");
        drop(listening);
        assert!(sessions.open(session()).is_some(), "it makes room");
        assert!(sessions.find(&id).is_none());
        assert!(streams.listen(new_outbox()).is_none(), "it has ended");
    }

    #[test]
    fn a_silent_session_ends() {
        let sessions = Sessions::new(2, Duration::ZERO);
        let id = sessions.open(session()).expect("there is room");
        assert!(sessions.find(&id).is_none());
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn versions_are_negotiated() {
        for (asked, settled) in [
            ("2025-03-26", "2025-03-26"),
            ("2025-06-18", "2025-06-18"),
            ("2024-11-05", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
        ] {
            assert_eq!(negotiate(asked).as_str(), settled);
        }
    }
}
