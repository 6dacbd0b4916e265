//! The life of one call: queued, running, ended. This file is the only one that changes it.
//!
//! However a call ends (its handler returns or panics, the client cancels, the server shuts down, its job is lost), the first
//! one to say so takes the place for the answer, and nobody else finds it. That is how there is exactly one terminal message, or none for a
//! cancelled call. Must not know lanes or transports.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;

use crate::base::budget::Budget;
use crate::base::cancel::{CancellationToken, Canceller, cancellation};
use crate::base::in_flight::{self, Cancel, Taken};
use crate::base::limits::Limits;
use crate::base::stats::Stats;
use crate::engine::Engine;
use crate::engine::reply::afford;
use crate::engine::rounds::Rounds;
use crate::handler::ask::{Ask, AskError};
#[cfg(unix)]
use crate::handler::command::children::Children;
use crate::handler::context::{CallControl, Overview, RequestInfo};
use crate::legacy::Asks;
use crate::legacy::ReplySlot;
use crate::observe::access::{Access, Outcome};
use crate::outbox::{Answer, EventKind, Source, Standing};
use crate::protocol::change::Change;
use crate::protocol::jsonrpc::{self, ErrorCode, ErrorObject, RequestId};
use crate::protocol::method::Method;
use crate::protocol::trace::TraceContext;
use crate::protocol::tree::TreeRoom;
use crate::protocol::types::LoggingLevel;
use crate::protocol::version::Era;

const HELD: &str = "no code panics while it holds a call";

/// The calls of one pipe or one legacy session, by the id their client gave them.
pub(crate) type InFlight = in_flight::InFlight<RequestId>;

/// One call, shared by its worker, its transport and whoever may cancel it.
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) era: Era,
    pub(crate) method: Method,
    /// What it calls, as it was registered.
    pub(crate) name: Arc<str>,
    pub(crate) lane: Arc<str>,
    pub(crate) info: RequestInfo,
    engine: Weak<Engine>,
    /// Where a legacy session's client is asked while it runs.
    asks: Option<Arc<Asks>>,
    /// What a modern call asks and keeps.
    rounds: Mutex<Rounds>,
    source: Arc<Source>,
    /// Where the call can be found by its id; `None` where ids need not be found (modern HTTP).
    registry: Option<Arc<InFlight>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` once the call has ended. Whoever takes it answers.
    open: Option<Open>,
    queued_at: Instant,
    started_at: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    slot: ReplySlot,
    canceller: Canceller,
}

/// What a call is opened with.
pub(crate) struct Opening {
    pub(crate) id: RequestId,
    pub(crate) era: Era,
    pub(crate) method: Method,
    pub(crate) name: Arc<str>,
    pub(crate) lane: Arc<str>,
    pub(crate) info: RequestInfo,
    pub(crate) engine: Weak<Engine>,
    pub(crate) asks: Option<Arc<Asks>>,
}

impl Call {
    /// Opens a call and registers it; if the pipe or session has ended meanwhile, so has the call. A call of the same client with the same id that
    /// has not ended keeps the id: the new one gets its id and slot back.
    pub(crate) fn open(
        opening: Opening,
        slot: ReplySlot,
        registry: Option<&Arc<InFlight>>,
    ) -> Result<Arc<Call>, (RequestId, ReplySlot)> {
        let (canceller, token) = cancellation();
        let Opening {
            id,
            era,
            method,
            name,
            lane,
            info,
            engine,
            asks,
        } = opening;
        let call = Arc::new(Call {
            id,
            era,
            method,
            name,
            lane,
            info,
            engine,
            asks,
            rounds: Mutex::default(),
            source: Source::new(token),
            registry: registry.map(Arc::clone),
            state: Mutex::new(State {
                open: Some(Open { slot, canceller }),
                queued_at: Instant::now(),
                started_at: None,
            }),
        });
        if let Some(registry) = registry
            && let Err(Taken) = registry.add(call.id.clone(), Arc::<Call>::clone(&call))
            && let Some(Open { slot, .. }) = call.lock().open.take()
        {
            return Err((call.id.clone(), slot));
        }
        Ok(call)
    }

    /// Marks the moment its handler begins.
    pub(crate) fn start(&self) {
        self.lock().started_at = Some(Instant::now());
    }

    /// Whether the server has lost patience with its calls.
    pub(crate) fn engine_is_hurried(&self) -> bool {
        self.engine
            .upgrade()
            .is_some_and(|engine| engine.is_hurried())
    }

    /// Whether its client can find it among these calls.
    pub(crate) fn is_among(&self, calls: &Arc<InFlight>) -> bool {
        let registry = self.registry.as_ref();
        registry.is_some_and(|registry| Arc::ptr_eq(registry, calls))
    }

    /// Sends what its client must read before anything else of it.
    pub(crate) fn send_opening(&self, notification: Vec<u8>) {
        let state = self.lock();
        if let Some(outbox) = state.open.as_ref().and_then(|open| open.slot.outbox()) {
            outbox.send_opening(notification, &self.source);
        }
    }

    /// How many of its events were dropped because they were not read in time.
    pub(crate) fn dropped(&self) -> usize {
        self.source.dropped()
    }

    /// Warns a client that wants log messages that some of what it should have heard was dropped.
    pub(crate) fn warn_of_dropped(&self) {
        let level = LoggingLevel::Warning;
        let dropped = self.dropped();
        if dropped > 0 && self.info.log_level.is_some_and(|least| level >= least) {
            let text = format!(
                "{dropped} events of this call were dropped, because they were not read in time"
            );
            let params = json!({ "level": level, "data": text });
            let warning = jsonrpc::notification("notifications/message", &params);
            self.send_event(warning, EventKind::Message);
        }
    }

    /// Whether it has been answered or cancelled.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().open.is_none()
    }

    /// Answers with a whole JSON-RPC message. Goes nowhere if the call has ended.
    pub(crate) fn answer(&self, body: Vec<u8>, error: Option<i64>, outcome: Outcome) {
        let Some((open, access)) = self.end(outcome) else {
            return;
        };
        let answer = self.message(body, error, access);
        let answer = afford(answer, &self.id, open.slot.outbox());
        open.slot.send(answer);
    }

    /// Answers with a JSON-RPC error.
    pub(crate) fn fail(&self, error: &ErrorObject, outcome: Outcome) {
        let Some((open, mut access)) = self.end(outcome) else {
            return;
        };
        if outcome == Outcome::Refused {
            access = access.because(&error.message);
        }
        let body = jsonrpc::error_response(Some(&self.id), error);
        open.slot.send(self.message(body, Some(error.code), access));
    }

    /// The client does not want it any more: no answer, and the handler is told.
    pub(crate) fn cancel(&self) {
        let Some((open, access)) = self.end(Outcome::Cancelled) else {
            return;
        };
        open.canceller.cancel();
        open.slot.withdraw(access);
    }

    /// The server cannot wait any longer: the client gets this error, and the handler is told.
    pub(crate) fn abort(&self, error: &ErrorObject) {
        let Some((open, access)) = self.end(Outcome::Cancelled) else {
            return;
        };
        open.canceller.cancel();
        let body = jsonrpc::error_response(Some(&self.id), error);
        let access = access.because(&error.message);
        open.slot.send(self.message(body, Some(error.code), access));
    }

    fn message(&self, body: Vec<u8>, error: Option<i64>, access: Access) -> Answer {
        Answer {
            body,
            error,
            standing: Standing::Served,
            era: self.era,
            access,
            charge: None,
        }
    }

    /// Takes the place for the answer, if it is still there. The id is free again before the answer can be read, because its reader may use
    /// it at once.
    fn end(&self, outcome: Outcome) -> Option<(Open, Access)> {
        let (open, queued_at, started_at) = {
            let mut state = self.lock();
            (state.open.take()?, state.queued_at, state.started_at)
        };
        if let Some(registry) = &self.registry {
            registry.remove(&self.id);
        }
        let now = Instant::now();
        let access = Access {
            tag: self.info.tag.clone(),
            method: self.method.name(),
            name: Some(Arc::clone(&self.name)),
            lane: Some(Arc::clone(&self.lane)),
            outcome,
            queued: started_at.unwrap_or(now) - queued_at,
            running: started_at.map_or(Duration::ZERO, |started_at| now - started_at),
            dropped: self.source.dropped(),
            traceparent: self.info.trace.as_deref().and_then(TraceContext::logged),
            reason: None,
        };
        Some((open, access))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(HELD)
    }

    /// What it asks and keeps. Only its own worker looks, so nobody waits here.
    pub(crate) fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds
            .lock()
            .expect("no code panics while it holds the rounds")
    }

    /// Says that something has changed.
    pub(crate) fn announce(&self, notification: Vec<u8>) {
        let state = self.lock();
        if let Some(outbox) = state.open.as_ref().and_then(|open| open.slot.outbox()) {
            outbox.announce(notification, Some(&self.source));
        }
    }

    /// Sends a request of ours on the call's own stream. False when nobody reads there any more.
    fn send_request(&self, request: Vec<u8>) -> Result<bool, AskError> {
        let state = self.lock();
        let outbox = state.open.as_ref().and_then(|open| open.slot.outbox());
        let outbox = outbox.ok_or(AskError::Cancelled)?;
        Ok(outbox.send_request(request, &self.source))
    }

    /// Asks a legacy session's client on the call's own stream, and waits.
    fn ask_now(&self, asks: &Asks, ask: &Ask) -> Result<Box<RawValue>, AskError> {
        let engine = self.engine.upgrade().ok_or(AskError::Cancelled)?;
        let pending = asks.open(&engine.asks)?;
        let patience = engine.limits.ask_timeout;
        // Waiting must not keep the engine alive.
        drop(engine);
        let request = jsonrpc::request(&pending.id(), ask.method, &ask.params);
        if !self.send_request(request)? {
            return Err(AskError::Left);
        }
        let answer = pending.wait(&self.source.token, patience);
        if matches!(answer, Err(AskError::TimedOut)) {
            let params = json!({ "requestId": pending.id(), "reason": "no answer in time" });
            let cancelled = jsonrpc::notification("notifications/cancelled", &params);
            self.send_event(cancelled, EventKind::Message);
        }
        answer
    }
}

impl Cancel for Call {
    fn cancel(&self, reason: &str) {
        let tag = &self.info.tag;
        log::debug!("the client cancels a call: {reason:?} request_id={tag}");
        Call::cancel(self);
    }
}

impl CallControl for Call {
    fn info(&self) -> &RequestInfo {
        &self.info
    }

    fn cancellation(&self) -> &CancellationToken {
        &self.source.token
    }

    fn send_event(&self, notification: Vec<u8>, kind: EventKind) {
        // The lock is held while sending, so that no event can slip in behind the answer.
        let state = self.lock();
        if let Some(outbox) = state.open.as_ref().and_then(|open| open.slot.outbox()) {
            outbox.send_event(notification, kind, &self.source);
        }
    }

    fn tree_room(&self) -> TreeRoom {
        match self.engine.upgrade() {
            Some(engine) => TreeRoom::new(&engine.limits, engine.memory()),
            None => TreeRoom::new(&Limits::default(), &Budget::whole(0)),
        }
    }

    fn ask(&self, key: &str, ask: &Ask) -> Result<Box<RawValue>, AskError> {
        match &self.asks {
            _ if self.method == Method::Complete => Err(AskError::NotHere),
            Some(asks) => self.ask_now(asks, ask),
            None => self.rounds().ask(key, ask),
        }
    }

    fn kept(&self, key: &str) -> Option<Box<RawValue>> {
        self.rounds().kept(key)
    }

    fn keep(&self, key: &str, value: Box<RawValue>) {
        self.rounds().keep(key, value);
    }

    fn close_stream(&self) {
        if self.era == Era::Modern {
            // There the end of the stream is the end of the call.
            return;
        }
        let state = self.lock();
        if let Some(outbox) = state.open.as_ref().and_then(|open| open.slot.outbox()) {
            outbox.pause();
        }
    }

    fn changed(&self, change: Change<'_>) {
        if let Some(engine) = self.engine.upgrade() {
            engine.publish(change);
        }
    }

    #[cfg(unix)]
    fn children(&self) -> Option<Arc<Children>> {
        let engine = self.engine.upgrade()?;
        Some(Arc::clone(&engine.children))
    }

    fn stats(&self) -> Stats {
        self.engine
            .upgrade()
            .map(|engine| engine.stats())
            .unwrap_or_default()
    }
}

/// The duty to end a call. If it is dropped before anyone has, the client gets an internal error, so that no call is ever lost.
pub(crate) struct Responder(pub(crate) Arc<Call>);

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            log::error!(
                "a call was dropped without an answer request_id={}",
                self.0.info.tag
            );
            self.0.fail(&internal_error(&self.0), Outcome::Panicked);
        }
    }
}

/// What a client hears of a panic: that there was one, and under which id the log has the rest.
pub(crate) fn internal_error(call: &Call) -> ErrorObject {
    let tag = call.info.tag.as_str();
    ErrorObject::new(
        ErrorCode::INTERNAL_ERROR,
        format!("Internal error; the server's log has more under request id {tag}"),
    )
    .with_data(json!({ "requestId": tag }))
}
