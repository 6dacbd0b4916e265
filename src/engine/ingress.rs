//! How a message came in, by the rules of which era it is served, and what its transport asks of the engine and hears of
//! what becomes of it.
//!
//! Modern metadata settle the era. A message that has none is served as its session, its header field or its pipe says, or not at all. Must not know what a
//! message means. Specification: `basic/versioning` ("Backward Compatibility") of revision 2026-07-28.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::budget::Budget;
use crate::base::lock::Lock;
use crate::base::owner::Owner;
use crate::engine::call::{Call, CallsInFlight};
use crate::engine::lifecycle::Engine;
use crate::engine::reply::{AnswerPort, Refusal};
use crate::engine::shared::Shared;
use crate::handler::client::Client;
use crate::legacy::{Listening, Session, Sessions, Streams};
use crate::observe::access::{self, RequestTag};
use crate::outbox::{Admission, Bounds, Outbox, OutboxReceiver, outbox};
use crate::protocol::errors::ErrorObject;
use crate::protocol::jsonrpc::Message;
use crate::protocol::meta::note_asker;
use crate::protocol::modern::{HeaderFields, VERSION_FIELD};
use crate::protocol::version::{Era, ProtocolVersion};

/// What a message came by, as far as its meaning depends on it. An HTTP `Origin` is something else; the engine never sees it.
pub(crate) enum Via<'a> {
    /// Its own HTTP request: the session it names, and its header fields.
    Http {
        session_id: Option<&'a str>,
        fields: &'a dyn HeaderFields,
    },
    /// A pipe, which is one conversation.
    Pipe(&'a Pipe),
}

impl<'a> Via<'a> {
    /// Whom a request without a session belongs to.
    pub(super) fn owner(&self) -> Owner {
        match self {
            Via::Http { .. } => Owner::Nobody,
            Via::Pipe(pipe) => pipe.owner.clone(),
        }
    }

    /// Where such a request can be found by its id. A modern HTTP client cancels by closing the stream.
    pub(super) fn calls(&self) -> Option<&'a Arc<CallsInFlight>> {
        match self {
            Via::Http { .. } => None,
            Via::Pipe(pipe) => Some(&pipe.calls),
        }
    }

    pub(super) fn fields(&self) -> Option<&'a dyn HeaderFields> {
        match self {
            Via::Http { fields, .. } => Some(*fields),
            Via::Pipe(_) => None,
        }
    }
}

/// What a pipe remembers: its calls by id, and its handshake if there was one.
pub(crate) struct Pipe {
    owner: Owner,
    pub(super) calls: Arc<CallsInFlight>,
    /// It listens to what is announced from the first to the last.
    session: Lock<Option<(Arc<Session>, Option<Listening>)>>,
}

impl Pipe {
    pub(crate) fn new() -> Self {
        let calls = CallsInFlight::default();
        calls.keep_ended(true);
        Pipe {
            owner: Owner::new_pipe(),
            calls: Arc::new(calls),
            session: Lock::default(),
        }
    }

    /// Cancels everything that is still open, because nobody reads any more.
    pub(crate) fn cancel_all(&self) {
        self.calls.cancel_all();
    }

    /// Nothing more will be read, answers to requests of ours included.
    pub(crate) fn end_reading(&self) {
        self.calls.keep_ended(false);
        if let Some(session) = self.session() {
            session.asks.close();
        }
    }

    /// Remembers the handshake; a second one replaces the first, whose questions nobody answers any more. What the session announces goes into `outbox`.
    pub(super) fn begin_session(&self, session: Session, outbox: Option<Outbox>) -> Arc<Session> {
        let listening = outbox.and_then(|outbox| session.streams.listen(outbox));
        let session = Arc::new(session);
        let conversation = (Arc::clone(&session), listening);
        let before = self.session.lock().replace(conversation);
        if let Some((before, _)) = &before {
            before.asks.close();
        }
        session
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        let held = self.session.lock();
        held.as_ref().map(|(session, _)| Arc::clone(session))
    }
}

/// What has become of a message, as far as its transport must know besides what comes through the outbox.
pub(crate) enum Accepted {
    /// Nothing that the transport can do anything about.
    NothingToDo,
    /// A modern call is under way, which ends when its client leaves.
    Call(Arc<Call>),
    /// It opened the session of this id.
    Opened(Arc<str>),
    /// It belongs to a session of these streams: if its answer becomes one of them, the client can come back for it.
    InSession(Arc<Streams>),
}

impl Accepted {
    /// For a request that stands alone nobody can come back.
    pub(super) fn in_session(session: &Session) -> Self {
        match session.stands_alone() {
            true => Accepted::NothingToDo,
            false => Accepted::InSession(Arc::clone(&session.streams)),
        }
    }

    pub(super) fn call(call: Option<Arc<Call>>) -> Self {
        call.map_or(Accepted::NothingToDo, Accepted::Call)
    }
}

/// One message on its way through the engine.
pub(super) struct Ingress<'a> {
    pub(super) tag: RequestTag,
    pub(super) via: Via<'a>,
}

/// On what footing a message is served: by the rules of which era.
pub(super) enum Footing {
    Modern,
    Legacy(Arc<Session>),
    /// `initialize`, or a `ping` before it.
    Handshake,
}

/// Why a message of the handshake era is served by no rules at all.
pub(super) type Misplaced = (Admission, &'static str);

const UNKNOWN_SESSION: Misplaced = (
    Admission::UnknownSession,
    "No such session; send `initialize` to open a new one",
);
const NO_SESSION: Misplaced = (
    Admission::Malformed,
    "Send `initialize` first, then its Mcp-Session-Id with every request",
);
const WRONG_VERSION: Misplaced = (
    Admission::Malformed,
    "MCP-Protocol-Version is not a version this session can have; send the one `initialize` answered",
);

impl Refusal<'_> {
    pub(super) fn misplaced(self, (admission, message): Misplaced, port: AnswerPort) {
        let refusal = Refusal { admission, ..self };
        refusal.send(&ErrorObject::invalid_request(message), port);
    }
}

impl Engine {
    /// The era of a message. Modern metadata always makes it modern; then the session it names, the version it names, or
    /// the handshake it is makes it legacy.
    pub(super) fn footing(
        &self,
        message: &Message<'_>,
        ingress: &Ingress<'_>,
    ) -> Result<Footing, Misplaced> {
        let (is_handshake, is_ping) = match message {
            Message::Request(_, Ok(params)) if params.is_modern() => return Ok(Footing::Modern),
            Message::Request(request, _) => {
                (request.method == "initialize", request.method == "ping")
            }
            _ => (false, false),
        };
        match &ingress.via {
            Via::Pipe(pipe) => Ok(match pipe.session() {
                _ if is_handshake => Footing::Handshake,
                Some(session) => Footing::Legacy(session),
                None if is_ping => Footing::Handshake,
                None => Footing::Modern,
            }),
            // Whatever version its header names, none has been negotiated yet: Java's SDK and Agora send their own newest, which we may not know, and
            // would not get as far as being told ours by a 400.
            Via::Http { .. } if is_handshake => Ok(Footing::Handshake),
            Via::Http { session_id, fields } => {
                self.footing_by_fields(fields.value(VERSION_FIELD), *session_id)
            }
        }
    }

    /// The same by the header fields for the version and the session.
    fn footing_by_fields(
        &self,
        version: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<Footing, Misplaced> {
        let version = version.map(ProtocolVersion::parse);
        let is_legacy = matches!(version, Some(Some(version)) if version.era() == Era::Legacy);
        let spoken = version.flatten();
        let stands_alone = self.shared.legacy_sessions == Sessions::Stateless;
        let (session, otherwise) = match session_id {
            _ if stands_alone && (is_legacy || version.is_none()) => {
                (self.lone_session(spoken), NO_SESSION)
            }
            Some(_) if version.is_some() && !is_legacy => return Err(WRONG_VERSION),
            Some(id) => (self.session(id, spoken), UNKNOWN_SESSION),
            None if is_legacy => return Err(NO_SESSION),
            None => return Ok(Footing::Modern),
        };
        session.map(Footing::Legacy).ok_or(otherwise)
    }
}

/// What a transport asks of the engine besides [`accept`](Engine::accept).
impl Engine {
    /// A way out for one exchange or one pipe, on which so many answers may wait.
    pub(crate) fn outbox(&self, answers_max: usize) -> (Outbox, OutboxReceiver) {
        let bytes_max = self.shared.limits.outbox_bytes_max;
        let bounds = Bounds {
            answers_max,
            bytes_max,
        };
        outbox(bounds, self.shared.waiting.clone())
    }

    /// The account of the bodies that arrive, for the transports to charge.
    pub(crate) fn bodies(&self) -> &Arc<Budget> {
        &self.shared.bodies
    }

    /// The number of open connections, for the transports to keep.
    pub(crate) fn connections(&self) -> &Arc<AtomicUsize> {
        &self.shared.connections
    }

    /// The number of open event streams, for the transports to keep.
    pub(crate) fn streams(&self) -> &Arc<AtomicUsize> {
        &self.shared.streams
    }

    /// Notes for the access log whose session this is, of a request that only the transport sees.
    pub(crate) fn note_session(&self, tag: &RequestTag, session_id: &str) {
        if access::is_logged()
            && let Some(session) = self.shared.sessions.find(session_id)
        {
            session.note_on(tag);
        }
    }

    /// What becomes of sessions over HTTP.
    pub(crate) fn legacy_sessions(&self) -> Sessions {
        self.shared.legacy_sessions
    }

    /// Cancels the job that a call has become: its client has left without its id, so nobody will ever ask for it.
    pub(crate) fn cancel_job_of(&self, call: &Call) {
        if let (Some(jobs), Some(id)) = (&self.shared.desk.jobs, call.job.get()) {
            let _has_ended = jobs.cancel(id);
        }
    }

    /// Ends a session because its client says so; see [`SessionTable::delete`](crate::legacy::SessionTable::delete).
    pub(crate) fn end_session(&self, id: &str) -> bool {
        let ended = match self.shared.legacy_sessions {
            Sessions::Adopt => self.shared.sessions.delete(id),
            Sessions::Kept | Sessions::Stateless => self.shared.sessions.end(id),
        };
        self.shared.sweep_workspaces();
        ended
    }

    /// The streams of the session with this id, whose client names this version, if there is one or it is adopted.
    pub(crate) fn streams_of(&self, id: &str, version: Option<&str>) -> Option<Arc<Streams>> {
        let version = version.and_then(ProtocolVersion::parse);
        let session = self.session(id, version)?;
        Some(Arc::clone(&session.streams))
    }

    /// See [`SessionTable::end_one_stream`](crate::legacy::SessionTable::end_one_stream).
    pub(crate) fn end_one_stream(&self) -> bool {
        self.shared.sessions.end_one_stream()
    }

    /// The living session with this id, or a fresh one if it may be adopted.
    pub(super) fn session(
        &self,
        id: &str,
        version: Option<ProtocolVersion>,
    ) -> Option<Arc<Session>> {
        let Shared {
            sessions,
            legacy_sessions,
            limits,
            kept,
            ..
        } = &*self.shared;
        let found = sessions.find(id);
        if found.is_some() || *legacy_sessions != Sessions::Adopt || !sessions.may_adopt(id) {
            return found;
        }
        let client = Client::unknown(version);
        let owner = Owner::Session(id.into());
        let calls = Arc::new(CallsInFlight::with_twins());
        let mut session = Session::new(owner, client, calls, limits, kept).ok()?;
        session.is_adopted = true;
        sessions.open(session)?;
        sessions.find(id)
    }

    /// A session for one request that stands alone. Nothing is kept in it, so it is on nobody's account.
    pub(super) fn lone_session(&self, version: Option<ProtocolVersion>) -> Option<Arc<Session>> {
        let limits = &self.shared.limits;
        let nobodys = Budget::whole(usize::MAX);
        let client = Client::unknown(version);
        let session = Session::new(Owner::Nobody, client, Arc::default(), limits, &nobodys);
        session.ok().map(Arc::new)
    }

    /// Whether new calls are refused.
    pub(crate) fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }
}

impl Ingress<'_> {
    /// Notes for the access log who asks, if anybody reads it.
    pub(super) fn note(&self, footing: &Result<Footing, Misplaced>, message: &Message<'_>) {
        if !access::is_logged() {
            return;
        }
        let params = match message {
            Message::Request(_, Ok(params)) => Some(params),
            _ => None,
        };
        let (era, introduced) = match footing {
            Ok(Footing::Legacy(session)) => return session.note_on(&self.tag),
            Ok(Footing::Modern) => (
                Era::Modern,
                params.and_then(|params| params.meta.as_ref()?.client_info),
            ),
            Ok(Footing::Handshake) | Err(_) => {
                (Era::Legacy, params.and_then(|params| params.client_info))
            }
        };
        note_asker(&self.tag, era, introduced);
    }
}
