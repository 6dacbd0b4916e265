//! How a message came in, and what its transport has to know of what becomes of it.
//!
//! Must not know what a message means.

use std::sync::Arc;

use crate::base::lock::Lock;
use crate::base::owner::Owner;
use crate::engine::call::{Call, CallsInFlight};
use crate::legacy::{Listening, Session, Streams};
use crate::observe::access::RequestTag;
use crate::outbox::Outbox;
use crate::protocol::modern::Mirrored;
use crate::protocol::param_headers::HeaderFields;

/// What a message came by, as far as its meaning depends on it. An HTTP `Origin` is something else; the engine never sees it.
pub(crate) enum Via<'a> {
    /// Its own HTTP request: mirrored header fields, the session it names, and any other field.
    Http {
        mirrored: Mirrored<'a>,
        session_id: Option<&'a str>,
        fields: &'a dyn HeaderFields,
    },
    /// A pipe, which is one conversation.
    Pipe(&'a Pipe),
}

impl<'a> Via<'a> {
    pub(super) fn mirrored(&self) -> Option<&Mirrored<'a>> {
        match self {
            Via::Http { mirrored, .. } => Some(mirrored),
            Via::Pipe(_) => None,
        }
    }

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
    session: Lock<Option<Conversation>>,
}

/// A session on a pipe, which listens to what is announced from the first to the last.
struct Conversation {
    session: Arc<Session>,
    _listening: Option<Listening>,
}

impl Pipe {
    pub(crate) fn new() -> Self {
        Pipe {
            owner: Owner::new_pipe(),
            calls: Arc::default(),
            session: Lock::default(),
        }
    }

    /// Cancels everything that is still open, because nobody reads any more.
    pub(crate) fn cancel_all(&self) {
        self.calls.cancel_all();
    }

    /// Nothing more will be read, answers to requests of ours included.
    pub(crate) fn end_asks(&self) {
        if let Some(session) = self.session() {
            session.asks.close();
        }
    }

    /// Remembers the handshake; a second one replaces the first, whose questions nobody answers any more. What the session announces goes into `outbox`.
    pub(super) fn begin_session(&self, session: Session, outbox: Option<Outbox>) -> Arc<Session> {
        let _listening = outbox.and_then(|outbox| session.streams.listen(outbox));
        let session = Arc::new(session);
        let conversation = Conversation {
            session: Arc::clone(&session),
            _listening,
        };
        let before = self.session.lock().replace(conversation);
        if let Some(before) = before {
            before.session.asks.close();
        }
        session
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        let held = self.session.lock();
        let session = held.as_ref().map(|held| &held.session);
        session.map(Arc::clone)
    }
}

/// What has become of a message, as far as its transport must know besides what comes through the outbox.
pub(crate) enum Accepted {
    /// Nothing that the transport can do anything about.
    Plain,
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
            true => Accepted::Plain,
            false => Accepted::InSession(Arc::clone(&session.streams)),
        }
    }

    pub(super) fn call(call: Option<Arc<Call>>) -> Self {
        call.map_or(Accepted::Plain, Accepted::Call)
    }
}

/// One message on its way through the engine.
pub(super) struct Ingress<'a> {
    pub(super) tag: RequestTag,
    pub(super) via: Via<'a>,
}
