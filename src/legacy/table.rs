//! The living sessions of the handshake era: opened by `initialize`, found by `Mcp-Session-Id`, ended by `DELETE`, by silence or by the cap.
//!
//! Must not know HTTP, or what a session keeps. Specification: `basic/transports` ("Session Management") of revision 2025-11-25.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::awake;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::log_rate::LogRate;
use crate::base::owner::Owner;
use crate::legacy::session::Session;

type ById = HashMap<Arc<str>, Arc<Session>>;

/// What becomes of the sessions of handshake-era clients over HTTP; see [`Server::legacy_sessions`](crate::Server::legacy_sessions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sessions {
    /// The server gives each client a session and keeps it: it can be asked, listen, come back for a broken stream and watch resources. A session
    /// that the server does not know gets `404`, on which a client should begin anew. The default, and right for one instance.
    #[default]
    Kept,
    /// No session is given; every request stands alone. What needs one is not declared: log messages, changes, watched resources; a client cannot be
    /// asked, `GET` and `DELETE` get `405`, and **a cancellation cannot be matched to its call**, so it is ignored. Right for several instances
    /// behind one address, and where restarts must not be noticed.
    Stateless,
    /// As `Kept`, but an unknown session id is served as a fresh session whose client has declared nothing, never one that was ended by `DELETE`. Many
    /// clients never begin anew after a `404`; this keeps them alive when the server restarts. What the session had (its log level, what it watched)
    /// is gone. Adopted sessions are the first to go when there are too many, and never take the place of one that is used.
    Adopt,
}

/// Every living session with an id.
pub(crate) struct SessionTable {
    sessions_max: usize,
    idle_timeout: Duration,
    by_id: Lock<ById>,
    /// Those without an id. Each belongs to its pipe.
    on_pipes: Lock<Vec<Weak<Session>>>,
    /// What was ended by `DELETE` where others may be adopted, hashed, the oldest first.
    deleted: Lock<VecDeque<u64>>,
    hasher: RandomState,
    /// Those that ended for the number of sessions, and for what they keep.
    made_room: Lock<LogRate>,
    freed: Lock<LogRate>,
}

/// So many sessions that were ended by `DELETE` are remembered, eight bytes each.
const DELETED_MAX: usize = 16 * 1024;

/// One in so many sessions may be one that is not used yet without having to go first.
const NEWCOMERS: usize = 16;

/// The longest id that is adopted, in bytes.
const ADOPTED_ID_MAX: usize = 128;

impl SessionTable {
    pub(crate) fn new(sessions_max: usize, idle_timeout: Duration) -> Self {
        SessionTable {
            sessions_max,
            idle_timeout,
            by_id: Lock::default(),
            on_pipes: Lock::default(),
            deleted: Lock::default(),
            hasher: RandomState::new(),
            made_room: Lock::default(),
            freed: Lock::default(),
        }
    }

    /// Keeps a session, which owns itself, and says its id. `None` when as many as may live are all busy.
    pub(crate) fn open(&self, session: Session) -> Option<Arc<str>> {
        let Owner::Session(id) = &session.owner else {
            return None;
        };
        let id = Arc::clone(id);
        let mut by_id = self.by_id.lock();
        if by_id.contains_key(&id) {
            // Two requests have found that it may be adopted: the session of the first is that of both.
            return Some(id);
        }
        let ends = match by_id.len() < self.sessions_max {
            true => None,
            false => Some(self.make_room(&mut by_id, session.is_adopted)?),
        };
        by_id.insert(Arc::clone(&id), Arc::new(session));
        drop(by_id);
        // Ending one takes its time, for which nobody shall wait who looks for a session.
        if let Some((session, idle_for)) = ends {
            let count = self.made_room.lock().again();
            if let Some(count) = count {
                log::info!(
                    "{count} session(s) ended to make room for a new one, the last after it was idle for {idle_for:?}"
                );
            }
            session.end();
        }
        Some(id)
    }

    /// Takes out the most dispensable one; for one that is adopted, none that is used. Those that are not used yet go first, but a few may stay, or in
    /// a full table a client that has just been introduced would be gone before its second message.
    fn make_room(&self, by_id: &mut ById, adopts: bool) -> Option<(Arc<Session>, Duration)> {
        let now = awake::now();
        let rated = by_id
            .iter()
            .filter_map(|(id, session)| Some((session.dispensable(now)?, id)));
        let mut rated: Vec<_> = rated.collect();
        let unused = rated.iter().filter(|(rate, _)| rate.is_unused).count();
        if !adopts && unused <= self.sessions_max / NEWCOMERS {
            for (rate, _) in &mut rated {
                rate.is_unused = false;
            }
        }
        let (rate, id) = rated.into_iter().max()?;
        let id = (!adopts || rate.is_adopted || rate.is_unused).then(|| Arc::clone(id))?;
        Some((by_id.remove(&id)?, rate.idle_for))
    }

    /// Whether an unknown id may become a session.
    pub(crate) fn may_adopt(&self, id: &str) -> bool {
        let hash = self.hasher.hash_one(id);
        (1..=ADOPTED_ID_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_graphic())
            && !self.deleted.lock().contains(&hash)
    }

    /// Ends a session for good: it is not adopted later. Says whether there was one.
    pub(crate) fn delete(&self, id: &str) -> bool {
        let mut deleted = self.deleted.lock();
        if deleted.len() >= DELETED_MAX {
            deleted.pop_front();
        }
        deleted.push_back(self.hasher.hash_one(id));
        drop(deleted);
        self.end(id)
    }

    /// Ends those that have been idle too long.
    pub(crate) fn sweep(&self) {
        let now = awake::now();
        let is_over = |session: &Session| session.idle_for(now) >= self.idle_timeout;
        let over: Vec<_> = self
            .by_id
            .lock()
            .extract_if(|_, session| is_over(session))
            .collect();
        for (_, session) in over {
            session.end();
        }
    }

    /// Forgets what waits for clients to come back or to listen, those who have been idle the longest first, until so many bytes are free. How many are.
    pub(crate) fn forget_what_waits(&self, bytes: usize) -> usize {
        let now = awake::now();
        let all = self.by_id.lock();
        let sessions = all.values();
        let mut sessions: Vec<_> = sessions
            .map(|session| (session.idle_for(now), Arc::clone(session)))
            .collect();
        drop(all);
        sessions.sort_unstable_by_key(|(idle_for, _)| Reverse(*idle_for));
        let mut freed = 0;
        for (_, session) in sessions {
            if freed >= bytes {
                break;
            }
            let used = session.memory.used();
            session.streams.forget_what_waits();
            freed += used.saturating_sub(session.memory.used());
        }
        freed
    }

    /// Frees so many bytes of what sessions keep, if that can be: what waits, and then an idle session whose end alone is enough, so that none ends for
    /// next to nothing. Unused ones go first, then whichever keeps the most.
    pub(crate) fn free(&self, bytes: usize) {
        let missing = bytes.saturating_sub(self.forget_what_waits(bytes));
        if missing == 0 {
            return;
        }
        let now = awake::now();
        let all = self.by_id.lock();
        let enough = all.iter().filter_map(|(id, session)| {
            let keeps = session.memory.used();
            let rate = session.dispensable(now).filter(|_| keeps >= missing)?;
            let is_new = (rate.is_adopted, rate.is_unused);
            Some((is_new, keeps, rate.idle_for, Arc::clone(id)))
        });
        let ends = enough.max();
        drop(all);
        if let Some((_, keeps, _, id)) = ends {
            let count = self.freed.lock().again();
            if let Some(count) = count {
                log::info!(
                    "{count} idle session(s) ended, the last with {keeps} bytes, because the server keeps as much as it may"
                );
            }
            self.end(&id);
        }
    }

    /// Remembers a session that has no id, for as long as its pipe does.
    pub(crate) fn add_on_pipe(&self, session: &Arc<Session>) {
        let mut on_pipes = self.on_pipes.lock();
        on_pipes.retain(|session| session.strong_count() > 0);
        on_pipes.push(Arc::downgrade(session));
    }

    /// Every living session.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.by_id.lock().values().map(Arc::clone).collect();
        let on_pipes = self.on_pipes.lock();
        all.extend(on_pipes.iter().filter_map(Weak::upgrade));
        all
    }

    /// The living session with this id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Session>> {
        let mut by_id = self.by_id.lock();
        let session = Arc::clone(by_id.get(id)?);
        if session.idle_for(awake::now()) >= self.idle_timeout {
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
        let ended = self.by_id.lock().remove(id);
        if let Some(session) = &ended {
            session.end();
        }
        ended.is_some()
    }

    /// Ends every stream that only listens, in every session.
    pub(crate) fn end_listening(&self) {
        for session in self.by_id.lock().values() {
            session.streams.end_listening();
        }
    }

    /// Ends one of the streams that listen of the session that has the most of them, if those are several.
    pub(crate) fn end_one_stream(&self) -> bool {
        let by_id = self.by_id.lock();
        let most = by_id.values().max_by_key(|one| one.streams.listening());
        let most = most.map(Arc::clone);
        drop(by_id);
        most.is_some_and(|session| session.streams.end_one_of_several())
    }

    /// Whether there is one with this id; looking keeps it from nothing.
    pub(crate) fn lives(&self, id: &str) -> bool {
        self.by_id.lock().contains_key(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.lock().len()
    }
}

#[cfg(test)]
mod tests;
