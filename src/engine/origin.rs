//! Where a message came from, and what its transport has to know of it.
//!
//! Must not know what a message means.

use std::sync::{Arc, Mutex};

use crate::engine::in_flight::{Call, InFlight};
use crate::legacy::{Listening, Session, Streams};
use crate::observe::access::RequestTag;
use crate::outbox::Outbox;
use crate::protocol::modern::Mirrored;
use crate::protocol::param_headers::HeaderFields;

/// Where a message came from, as far as its meaning depends on it.
pub(crate) enum Origin<'a> {
    /// Its own HTTP request: mirrored header fields, the session it names, and any other field.
    Http {
        mirrored: Mirrored<'a>,
        session_id: Option<&'a str>,
        fields: &'a dyn HeaderFields,
    },
    /// A pipe, which is one conversation.
    Pipe(&'a Pipe),
}

impl<'a> Origin<'a> {
    pub(super) fn mirrored(&self) -> Option<&Mirrored<'a>> {
        match self {
            Origin::Http { mirrored, .. } => Some(mirrored),
            Origin::Pipe(_) => None,
        }
    }

    pub(super) fn fields(&self) -> Option<&'a dyn HeaderFields> {
        match self {
            Origin::Http { fields, .. } => Some(*fields),
            Origin::Pipe(_) => None,
        }
    }
}

const PIPE_HELD: &str = "no code panics while it holds the pipe's session";

/// What a pipe remembers: its calls by id, and its handshake if there was one.
#[derive(Default)]
pub(crate) struct Pipe {
    pub(super) calls: Arc<InFlight>,
    session: Mutex<Option<Conversation>>,
}

/// A session on a pipe, which listens to what is announced from the first to the last.
struct Conversation {
    session: Arc<Session>,
    _listening: Option<Listening>,
}

impl Pipe {
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
        let before = self.session.lock().expect(PIPE_HELD).replace(conversation);
        if let Some(before) = before {
            before.session.asks.close();
        }
        session
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        let held = self.session.lock().expect(PIPE_HELD);
        let session = held.as_ref().map(|held| &held.session);
        session.map(Arc::clone)
    }
}

/// What the transport has to know of a message it handed in, besides what comes through the outbox.
#[derive(Default)]
pub(crate) struct Accepted {
    /// The modern call that ends when its client leaves.
    pub(crate) call: Option<Arc<Call>>,
    /// The session that this message opened.
    pub(crate) opened: Option<Arc<str>>,
    /// The streams of the session it belongs to: if its answer becomes one of them, the client can come back for it.
    pub(crate) streams: Option<Arc<Streams>>,
}

/// One message on its way through the engine.
pub(super) struct Arrival<'a> {
    pub(super) tag: RequestTag,
    pub(super) origin: Origin<'a>,
}
