//! What a message means: validate, route, register, submit, or answer at once.
//!
//! The way in is [`Engine::accept`], which never blocks: it is called by the thread that owns the connection or pipe, and whatever
//! might take time goes to a lane. Must not know sockets, pipes or HTTP words.

mod accept;
mod asks;
mod batch;
mod call_job;
mod calls;
mod catalogue;
mod changes;
mod encode;
mod identity;
mod in_flight;
mod legacy;
mod listing;
mod reply;
mod rounds;
mod routes;
mod seal;
mod streams;
mod subscriptions;
mod target;
mod tools;
mod watched;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) use self::in_flight::Call;
#[cfg(any(feature = "tiny-http", all(feature = "http", unix)))]
pub(crate) use self::streams::{Cursor, OpenStream, Resumed};
pub(crate) use self::streams::{Listening, Streams};

use self::asks::AskCounter;
use self::call_job::CallJob;
use self::catalogue::Catalogue;
use self::identity::Identity;
use self::in_flight::InFlight;
use self::legacy::{Session, Sessions};
use self::rounds::RoundRules;
use self::seal::Sealer;
use self::subscriptions::Subscriptions;
use self::target::Rules;
use crate::base::budget::Budget;
use crate::base::cancel::{CancellationToken, Canceller, cancellation};
use crate::base::deadline::after;
use crate::base::error::Error;
use crate::base::limits::Limits;
use crate::base::stats::Stats;
use crate::handler::context::Overview;
use crate::handler::registration::Registration;
use crate::lane::{Lane, RunningLane};
use crate::observe::access::RequestTag;
use crate::outbox::Outbox;
use crate::protocol::jsonrpc::{ErrorCode, ErrorObject};
use crate::protocol::modern::Mirrored;
use crate::protocol::param_headers::HeaderFields;
use crate::protocol::results::CacheHint;
use crate::protocol::types::Implementation;

/// The server's mind: its catalogue, its lanes, its sessions.
pub(crate) struct Engine {
    limits: Arc<Limits>,
    /// What is kept for all peers together.
    memory: Arc<Budget>,
    identity: Arc<Identity>,
    catalogue: Catalogue,
    /// How long clients may keep a list.
    list_cache: CacheHint,
    rounds: Arc<RoundRules>,
    /// Requests of ours that legacy clients have not answered yet.
    asks: Arc<AskCounter>,
    lanes: Vec<RunningLane<CallJob>>,
    sessions: Sessions,
    subscriptions: Subscriptions,
    draining: AtomicBool,
    /// Fires when a drain must not wait any longer.
    hurry: CancellationToken,
    /// `None` once it has fired.
    hurrier: Mutex<Option<Canceller>>,
    /// Open connections, kept by the transports.
    connections: Arc<AtomicUsize>,
    /// Open event streams, kept by the transports.
    streams: Arc<AtomicUsize>,
    /// Given to calls, so that a handler can look at the whole.
    me: Weak<Engine>,
}

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
    fn mirrored(&self) -> Option<&Mirrored<'a>> {
        match self {
            Origin::Http { mirrored, .. } => Some(mirrored),
            Origin::Pipe(_) => None,
        }
    }

    fn fields(&self) -> Option<&'a dyn HeaderFields> {
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
    calls: Arc<InFlight>,
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
    fn begin_session(&self, session: Session, outbox: Option<Outbox>) -> Arc<Session> {
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

    fn session(&self) -> Option<Arc<Session>> {
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
struct Arrival<'a> {
    tag: RequestTag,
    origin: Origin<'a>,
}

/// What the engine is made of, before its threads start.
pub(crate) struct Plan {
    pub(crate) implementation: Implementation,
    pub(crate) instructions: Option<String>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) registrations: Vec<Registration>,
    pub(crate) list_cache: CacheHint,
    /// The key that seals what travels between rounds; a random one if it is `None`.
    pub(crate) seal_key: Option<Vec<u8>>,
    pub(crate) limits: Arc<Limits>,
}

impl Engine {
    /// Checks the plan and starts the lanes.
    pub(crate) fn start(plan: Plan) -> Result<Arc<Self>, Error> {
        let names: Vec<_> = plan
            .lanes
            .iter()
            .map(|lane| Arc::clone(&lane.name))
            .collect();
        let server_info = identity::server_info(&plan.implementation);
        let catalogue = Catalogue::new(
            plan.registrations,
            &Rules {
                lane: &|name| names.iter().position(|lane| **lane == *name),
                page_len: plan.limits.page_len,
                list_cache: plan.list_cache,
                server_info: &server_info,
            },
        )?;
        let identity = Arc::new(Identity::new(
            plan.implementation,
            plan.instructions,
            server_info,
            capabilities(&catalogue),
        ));
        let rounds = Arc::new(RoundRules {
            sealer: plan
                .seal_key
                .map_or_else(Sealer::random, |key| Sealer::new(&key)),
            state_bytes_max: plan.limits.request_state_bytes_max,
            state_ttl: plan.limits.request_state_ttl,
        });
        let lanes = plan
            .lanes
            .into_iter()
            .map(RunningLane::start)
            .collect::<Result<_, _>>()?;
        let (hurrier, hurry) = cancellation();
        Ok(Arc::new_cyclic(|me| Engine {
            memory: Budget::whole(plan.limits.memory_bytes_max),
            identity,
            catalogue,
            list_cache: plan.list_cache,
            rounds,
            asks: Arc::default(),
            lanes,
            sessions: Sessions::new(plan.limits.sessions_max, plan.limits.session_idle_timeout),
            subscriptions: Subscriptions::default(),
            draining: AtomicBool::new(false),
            hurry,
            hurrier: Mutex::new(Some(hurrier)),
            connections: Arc::default(),
            streams: Arc::default(),
            me: me.clone(),
            limits: plan.limits,
        }))
    }

    /// The account of the whole server, for the transports to charge.
    pub(crate) fn memory(&self) -> &Arc<Budget> {
        &self.memory
    }

    /// The number of open connections, for the transports to keep.
    pub(crate) fn connections(&self) -> &Arc<AtomicUsize> {
        &self.connections
    }

    /// The number of open event streams, for the transports to keep.
    pub(crate) fn streams(&self) -> &Arc<AtomicUsize> {
        &self.streams
    }

    /// Ends a legacy session; see [`Sessions::end`].
    pub(crate) fn end_session(&self, id: &str) -> bool {
        self.sessions.end(id)
    }

    /// The streams of the legacy session with this id, if there is one.
    pub(crate) fn streams_of(&self, session_id: &str) -> Option<Arc<Streams>> {
        let session = self.sessions.find(session_id)?;
        Some(Arc::clone(&session.streams))
    }

    /// Refuses new calls from now on, and ends what would go on for ever.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
        for lane in &self.lanes {
            // All at once, so that none waits for the patience with another.
            lane.refuse_more();
        }
        self.sessions.end_listening();
        self.end_subscriptions();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Lets what was accepted finish until `deadline` or until someone is in a hurry, cancels the rest, and waits `grace` for it. Says how many
    /// handlers had not returned by then; their threads are given up.
    pub(crate) fn drain(&self, deadline: Instant, grace: Duration) -> usize {
        self.begin_drain();
        let hurry = self.hurry.channel();
        let late: Vec<_> = self
            .lanes
            .iter()
            .filter(|lane| lane.close(deadline, hurry) > 0)
            .collect();
        if late.is_empty() {
            return 0;
        }
        self.cancel_all();
        let deadline = after(grace);
        late.iter().map(|lane| abandon(lane, deadline)).sum()
    }

    /// Whether somebody has lost patience with a drain.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurry.is_cancelled()
    }

    /// Cancels every call, running or queued, and ends the patience of a drain. Each client is told why.
    pub(crate) fn cancel_all(&self) {
        self.begin_drain();
        if let Some(hurrier) = self
            .hurrier
            .lock()
            .expect("no code panics while it holds the hurrier")
            .take()
        {
            hurrier.cancel();
        }
        let error = shutting_down();
        for lane in &self.lanes {
            for job in lane.take_queued() {
                job.responder.0.abort(&error);
            }
            for call in lane.running() {
                call.abort(&error);
            }
        }
    }
}

/// Waits for a lane whose calls have been cancelled, and gives up what does not return.
fn abandon(lane: &RunningLane<CallJob>, deadline: Instant) -> usize {
    let abandoned = lane.close(deadline, &crossbeam_channel::never());
    if abandoned > 0 {
        log::error!(
            "lane `{}`: {abandoned} handlers ignored their cancellation and are abandoned",
            lane.name()
        );
    }
    abandoned
}

impl Overview for Engine {
    fn stats(&self) -> Stats {
        Stats {
            lanes: self.lanes.iter().map(RunningLane::stats).collect(),
            connections: self.connections.load(Ordering::Relaxed),
            streams: self.streams.load(Ordering::Relaxed),
            sessions: self.sessions.len(),
            asks: self.asks.open(),
            subscriptions: self.subscriptions.len(),
            draining: self.is_draining(),
        }
    }
}

/// What the server can do; the same in both eras.
fn capabilities(catalogue: &Catalogue) -> Value {
    let mut capabilities = json!({ "tools": { "listChanged": true }, "logging": {} });
    if catalogue.has_prompts() {
        capabilities["prompts"] = json!({ "listChanged": true });
    }
    if catalogue.has_resources() {
        capabilities["resources"] = json!({ "listChanged": true, "subscribe": true });
    }
    if catalogue.has_completers() {
        capabilities["completions"] = json!({});
    }
    capabilities
}

/// What a call hears that came too late.
fn shutting_down() -> ErrorObject {
    ErrorObject::new(ErrorCode::OVERLOADED, "The server is shutting down")
}
