//! The handshake era's sessions: opened by `initialize`, found by `Mcp-Session-Id`, ended by `DELETE`, by silence or by the cap.
//!
//! A pipe has at most one session, without an id. Must not know HTTP. Specification: `basic/lifecycle` and `basic/transports`
//! ("Session Management") of revision 2025-11-25.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::base::budget::{Budget, Charge, OverBudget};
use crate::base::in_flight::InFlight;
use crate::base::limits::Limits;
use crate::base::log;
use crate::base::owner::Owner;
use crate::handler::client::Client;
use crate::legacy::asks::Asks;
use crate::legacy::streams::Streams;
use crate::legacy::watched::Watched;
use crate::observe::access::RequestTag;
use crate::protocol::jsonrpc::RequestId;
use crate::protocol::types::LoggingLevel;
use crate::protocol::version::{Era, ProtocolVersion};

const HELD: &str = "no code panics while it holds a session";
const SESSIONS_HELD: &str = "no code panics while it holds the sessions";

/// What one handshake established.
pub(crate) struct Session {
    /// To whom its requests belong: itself, or its pipe.
    pub(crate) owner: Owner,
    pub(crate) client: Arc<Client>,
    pub(crate) version: ProtocolVersion,
    pub(crate) calls: Arc<InFlight<RequestId>>,
    pub(crate) asks: Arc<Asks>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) watched: Watched,
    /// The account of everything that is kept for it.
    pub(crate) memory: Arc<Budget>,
    mutable: Mutex<Mutable>,
    /// Itself, and what its client says about itself.
    _kept: Charge,
}

#[derive(Debug)]
struct Mutable {
    /// `info` until the client sets one; the specification leaves the choice to the server.
    log_level: LoggingLevel,
    last_seen: Instant,
    /// Whether anything has come from its client since `initialize`.
    is_used: bool,
}

/// What a session costs in which nothing has happened, in bytes.
const SESSION_BYTES: usize = 2 * 1024;

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
        limits: &Limits,
        memory: &Arc<Budget>,
    ) -> Result<Self, OverBudget> {
        let memory = memory.of_peer(limits.session_bytes_max);
        let mutable = Mutable {
            log_level: LoggingLevel::Info,
            last_seen: Instant::now(),
            is_used: false,
        };
        Ok(Session {
            owner,
            _kept: memory.charge(SESSION_BYTES + client.len())?,
            version: client.protocol_version(),
            streams: Arc::new(Streams::new(client.protocol_version(), limits, &memory)),
            client: Arc::new(client),
            calls,
            asks: Arc::default(),
            watched: Watched::default(),
            mutable: Mutex::new(mutable),
            memory,
        })
    }

    /// Notes for the access log who asks.
    pub(crate) fn note_on(&self, tag: &RequestTag) {
        tag.note_era(Era::Legacy.as_str());
        if let Some(info) = self.client.info() {
            tag.note_client(&info.name);
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

    /// Cancels its calls and lets go of everything it keeps.
    fn end(&self) {
        self.calls.cancel_all();
        self.asks.close();
        self.streams.end();
        self.watched.clear();
    }

    fn touch(&self) {
        let mut mutable = self.lock();
        mutable.last_seen = Instant::now();
        mutable.is_used = true;
    }

    /// How willingly it makes room for a new one: rather when nothing has come from its client since `initialize`, and the longer it is idle. `None`
    /// when it is busy.
    fn dispensable(&self) -> Option<(bool, Duration)> {
        let idle_for = self.idle_for();
        (!idle_for.is_zero()).then(|| (!self.lock().is_used, idle_for))
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

    /// Keeps a session, which owns itself, and says its id. `None` when as many as may live are all busy.
    pub(crate) fn open(&self, session: Session) -> Option<Arc<str>> {
        let Owner::Session(id) = &session.owner else {
            return None;
        };
        let id = Arc::clone(id);
        let mut by_id = self.lock();
        let ends = match by_id.len() < self.sessions_max {
            true => None,
            false => Some(Self::make_room(&mut by_id)?),
        };
        by_id.insert(Arc::clone(&id), Arc::new(session));
        drop(by_id);
        // Ending one writes to the log, for which nobody shall wait who looks for a session.
        if let Some((session, idle_for)) = ends {
            log::info!("a session that was idle for {idle_for:?} ends, to make room for a new one");
            session.end();
        }
        Some(id)
    }

    /// Takes out the most dispensable one.
    fn make_room(by_id: &mut ById) -> Option<(Arc<Session>, Duration)> {
        let rated = by_id
            .iter()
            .filter_map(|(id, session)| Some((session.dispensable()?, id)));
        let ((_, idle_for), id) = rated.max()?;
        let id = Arc::clone(id);
        Some((by_id.remove(&id)?, idle_for))
    }

    /// Ends those that have been idle too long.
    pub(crate) fn sweep(&self) {
        let is_over = |session: &Session| session.idle_for() >= self.idle_timeout;
        let over: Vec<_> = self
            .lock()
            .extract_if(|_, session| is_over(session))
            .collect();
        for (_, session) in over {
            session.end();
        }
    }

    /// Frees so many bytes, if that can be: what waits for clients to come back or to listen, those who have been idle the longest first, and then
    /// whole sessions that are idle.
    pub(crate) fn free(&self, bytes: usize) {
        let all = self.lock();
        let mut sessions: Vec<_> = all
            .iter()
            .map(|(id, session)| (session.idle_for(), Arc::clone(id), Arc::clone(session)))
            .collect();
        drop(all);
        sessions.sort_unstable_by_key(|(idle_for, ..)| Reverse(*idle_for));
        let mut freed = 0;
        for (_, _, session) in &sessions {
            if freed >= bytes {
                return;
            }
            let used = session.memory.used();
            session.streams.forget_what_waits();
            freed += used.saturating_sub(session.memory.used());
        }
        for (_, id, session) in sessions {
            if freed >= bytes {
                return;
            }
            if !session.idle_for().is_zero() {
                freed += session.memory.used();
                log::info!("an idle session ends, because the server keeps as much as it may");
                self.end(&id);
            }
        }
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
    use crate::outbox::{self, Outbox};

    fn session() -> Session {
        session_in(&Budget::whole(usize::MAX))
    }

    fn session_in(memory: &Arc<Budget>) -> Session {
        let client = Client::new(None, None, ProtocolVersion::V2025_11_25);
        Session::new(
            Owner::new_session(),
            client,
            Arc::default(),
            &Limits::default(),
            memory,
        )
        .expect("there is room")
    }

    fn new_outbox() -> Outbox {
        outbox::new_outbox(1, 1).0
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
    fn law_9_a_session_that_was_never_used_makes_room_first() {
        let sessions = Sessions::new(3, Duration::from_secs(3600));
        let used = sessions.open(session()).expect("there is room");
        assert!(sessions.find(&used).is_some());
        let flood: Vec<_> = (0..100)
            .map(|_| sessions.open(session()).expect("one makes room"))
            .collect();
        assert_eq!(sessions.len(), 3);
        assert!(sessions.find(&used).is_some(), "the only one that was used");
        let newest = flood.last().expect("there are many");
        assert!(sessions.find(newest).is_some(), "the oldest went first");
        assert!(sessions.find(&flood[98]).is_some());
        let last = sessions.open(session()).expect("one makes room");
        assert!(sessions.find(&used).is_none(), "now the longest idle");
        assert!(sessions.find(&last).is_some());
    }

    #[test]
    fn law_13_what_waits_makes_room_and_then_sessions_that_are_idle() {
        let memory = Budget::whole(usize::MAX);
        let sessions = Sessions::new(9, Duration::from_secs(3600));
        let opened = [0, 1, 2].map(|_| {
            let id = sessions.open(session_in(&memory)).expect("there is room");
            sessions.find(&id).expect("it lives")
        });
        for session in &opened {
            session.announce(vec![0; 1000]);
        }
        let waits = || {
            opened
                .each_ref()
                .map(|session| session.memory.used() > SESSION_BYTES)
        };
        sessions.free(1500);
        assert_eq!(waits(), [false, false, true], "the longest idle first");
        let listened = opened[1].streams.listen(new_outbox());
        sessions.free(1000 + SESSION_BYTES);
        assert_eq!(waits(), [false; 3]);
        assert_eq!(
            sessions.len(),
            2,
            "then the session that is idle the longest"
        );
        sessions.free(usize::MAX);
        assert_eq!(sessions.len(), 1, "one whose client listens is not idle");
        drop(listened);
        drop(opened);
        sessions.free(usize::MAX);
        assert_eq!((sessions.len(), memory.used()), (0, 0));
    }

    #[test]
    fn law_13_what_a_client_says_about_itself_is_charged() {
        let memory = Budget::whole(SESSION_BYTES + 20);
        let raw = serde_json::value::RawValue::from_string(format!("\"{}\"", "x".repeat(18)));
        let raw = raw.expect("it is JSON");
        let version = ProtocolVersion::V2025_11_25;
        let open = |info| {
            let client = Client::new(info, None, version);
            Session::new(
                Owner::new_session(),
                client,
                Arc::default(),
                &Limits::default(),
                &memory,
            )
        };
        let first = open(Some(&raw)).expect("it just fits");
        assert_eq!(open(None).err(), Some(OverBudget::Whole));
        drop(first);
        open(None).expect("there is room again");
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
        for sweep in [false, true] {
            let sessions = Sessions::new(2, Duration::ZERO);
            let id = sessions.open(session()).expect("there is room");
            match sweep {
                true => sessions.sweep(),
                false => assert!(sessions.find(&id).is_none()),
            }
            assert_eq!(sessions.len(), 0);
        }
        let sessions = Sessions::new(2, Duration::from_secs(3600));
        sessions.open(session()).expect("there is room");
        sessions.sweep();
        assert_eq!(sessions.len(), 1);
    }

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
