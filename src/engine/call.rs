//! The life of one call: queued, running, ended. This file is the only one that changes it.
//!
//! ```text
//!              open                start                answer | fail: the handler returned or panicked
//!  (request) ───────> queued ───────────────> running ──────────────────────────────────────────────> ended
//!                       │                        │                                                      ▲
//!                       └────────────────────────┴─ cancel (client: no answer) | abort (server: error) ──────────┘
//!                                                   fail (queued: its lane is full)
//! ```
//!
//! A running call has two more ends: `pause`, when a job has asked its client, or may not wait on its worker, which is free until it goes on, and `give_up`, when its handler
//! was silent, was told so (`stall`, which ends nothing), and has not returned in its grace.
//!
//! However a call ends (its handler returns or panics, the client cancels, the server shuts down, its job is lost), the first
//! one to say so takes the port for the answer, and nobody else finds it. That is how there is exactly one terminal message, or none for a
//! cancelled call. A call that has ended may still run: its worker is busy until the handler returns. Must not know lanes, handlers or
//! transports.

use std::any::Any;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::base::budget::Charge;
use crate::base::cancel::{CancellationToken, Canceller, cancellation};
use crate::base::in_flight::{self, Cancel, DuplicateId};
use crate::base::life::Span;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::owner::Owner;
use crate::base::pulse::Pulse;
use crate::engine::errors::internal_error;
use crate::engine::reply::{AnswerPort, Asked, RecordPort, afford};
use crate::engine::rounds::Rounds;
use crate::observe::access::{self, Access, Details, Outcome, RequestTag};
use crate::outbox::{Answer, EventSource, Outbox};
use crate::protocol::errors::ErrorObject;
use crate::protocol::id::RequestId;
use crate::protocol::meta::Params;
use crate::protocol::version::Era;
use crate::protocol::{jsonrpc, meta};

/// The calls of one pipe or one handshake-era session, by the ids their client gave them.
pub(crate) type CallsInFlight = in_flight::InFlight<RequestId>;

/// What is known of a call from its beginning. Immutable.
pub(crate) struct Facts {
    pub(crate) id: RequestId,
    pub(crate) era: Era,
    pub(crate) method: &'static str,
    /// What it calls, as it was registered. `None`, like the lane, if it runs no handler.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) lane: Option<Arc<str>>,
    pub(crate) tag: RequestTag,
    pub(crate) owner: Owner,
    pub(crate) traceparent: Option<Box<str>>,
}

/// One call, shared by its worker, its transport and everybody who may cancel it.
pub(crate) struct Call {
    pub(crate) facts: Facts,
    token: CancellationToken,
    /// Made for its first event; most calls have none.
    source: OnceLock<Arc<EventSource>>,
    /// Where the call can be found by its id; `None` where ids need not be found (modern HTTP).
    registry: Option<Arc<CallsInFlight>>,
    /// The signs of life of its handler.
    pub(crate) pulse: Pulse,
    /// The background job that it has become.
    pub(super) job: OnceLock<Arc<str>>,
    state: Lock<CallState>,
    /// Whether nothing is open in it any more, for who only wants to know that. Set while the state is locked.
    ended: AtomicBool,
}

struct CallState {
    /// `None` once the call has ended: taking it is the right to answer.
    open: Option<OpenCall>,
    /// `None` if nobody reads the access log, which is all that asks when.
    queued_at: Option<Instant>,
    started_at: Option<Instant>,
    /// How long it had been silent when it was cancelled for that.
    stalled: Option<Duration>,
    /// Until its handler begins, or it ends before that. Afterwards what was allocated where the call arrived, and is freed with it.
    input: HandlerInput,
    /// What it was queued in, for the same reason.
    left: Option<Box<dyn Any + Send>>,
}

/// What a handler is to have.
#[derive(Debug, Default)]
pub(super) struct HandlerInput {
    /// `None` stands for `{}`.
    pub(super) arguments: Option<Box<RawValue>>,
    /// What a modern client came back with, or what earlier attempts have left.
    pub(super) rounds: Option<Box<Rounds>>,
    /// What they cost until the call has been executed.
    pub(super) _kept: Option<Charge>,
}

/// Arguments up to this size live as long as their call, which may be a little longer than its handler needs them.
const LEFT_BYTES_MAX: usize = 1024;

struct OpenCall {
    port: AnswerPort,
    /// `None` once the call has been cancelled for its silence; its answer is still to come.
    canceller: Option<Canceller>,
}

impl<'a> Asked<'a> {
    /// What is known of the call that it becomes, which runs no handler if nobody says so, the port for its answer, and its parameters.
    pub(super) fn into_call(self, owner: Owner) -> (Facts, AnswerPort, Box<Params<'a>>) {
        let facts = Facts {
            id: self.id,
            era: self.era,
            method: self.method,
            name: None,
            lane: None,
            tag: self.tag.clone(),
            owner,
            traceparent: meta::logged_trace(self.params.meta.as_ref()),
        };
        (facts, self.port, self.params)
    }
}

impl Call {
    /// Opens a call that can be found by its id; if the pipe or session has ended meanwhile, so has the call. `None` when the id belongs to another request
    /// of the same client that has not ended; then it has been refused.
    pub(super) fn registered(
        facts: Facts,
        liveness: Option<Duration>,
        port: AnswerPort,
        registry: Option<&Arc<CallsInFlight>>,
        input: HandlerInput,
    ) -> Option<Arc<Call>> {
        let call = Self::open(facts, liveness, port, registry.map(Arc::clone), input);
        if let Some(registry) = &call.registry {
            let entry = Arc::<Call>::clone(&call);
            if let Err(DuplicateId) = registry.add(call.facts.id.clone(), entry) {
                let message = "A request with this `id` is still in flight";
                call.fail(&ErrorObject::invalid_request(message), Outcome::Error);
                return None;
            }
        }
        Some(call)
    }

    /// Opens one that nobody can find yet.
    pub(super) fn open(
        facts: Facts,
        liveness: Option<Duration>,
        port: AnswerPort,
        registry: Option<Arc<CallsInFlight>>,
        input: HandlerInput,
    ) -> Arc<Call> {
        let (canceller, token) = cancellation();
        // Written where it stays: `Arc::new` has it on the stack twice.
        Arc::new_cyclic(|_| Call {
            facts,
            token,
            source: OnceLock::new(),
            registry,
            pulse: Pulse::new(liveness),
            job: OnceLock::new(),
            state: Lock::new(CallState {
                open: Some(OpenCall {
                    port,
                    canceller: Some(canceller),
                }),
                queued_at: access::is_logged().then(Instant::now),
                started_at: None,
                stalled: None,
                input,
                left: None,
            }),
            ended: AtomicBool::new(false),
        })
    }

    /// How long the pipe or the session lives that it came by.
    pub(crate) fn client_span(&self) -> Option<Span> {
        self.registry.as_ref().map(|registry| registry.span())
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// How many of its events were dropped because they were not read in time.
    pub(crate) fn dropped(&self) -> usize {
        self.source.get().map_or(0, |source| source.dropped())
    }

    /// Marks the moment its handler begins, which takes its input. `None` if it has been answered or cancelled.
    pub(super) fn start(&self) -> Option<HandlerInput> {
        let mut state = self.state.lock();
        state.started_at = state.queued_at.map(|_| Instant::now());
        state.open.as_ref()?;
        Some(mem::take(&mut state.input))
    }

    /// Takes what its handler needs no more, if it is small, and what it was queued in: the call itself is mostly freed by the thread it arrived on, and so is
    /// this; see [`CallsInFlight`].
    pub(crate) fn keep_arguments(
        &self,
        arguments: Option<Box<RawValue>>,
        queued: Option<Box<dyn Any + Send>>,
    ) {
        let small = arguments.filter(|raw| raw.get().len() <= LEFT_BYTES_MAX);
        let mut state = self.state.lock();
        state.input.arguments = small;
        state.left = queued;
    }

    /// Whether it has been answered or cancelled.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether it has become a background job, whose id is its answer.
    pub(crate) fn is_a_job(&self) -> bool {
        self.job.get().is_some()
    }

    /// Answers with a whole JSON-RPC message. False, and it goes nowhere, if the call has ended.
    pub(crate) fn answer(&self, body: Vec<u8>, error: Option<i64>, outcome: Outcome) -> bool {
        let Some((open, access)) = self.end(outcome) else {
            return false;
        };
        let answer = Answer::new(body, error, self.facts.era, access);
        let answer = afford(answer, &self.facts.id, &open.port);
        open.port.send(answer);
        true
    }

    /// Answers with a JSON-RPC error. False, and it goes nowhere, if the call has ended.
    pub(crate) fn fail(&self, error: &ErrorObject, outcome: Outcome) -> bool {
        self.end_with(error, outcome, drop)
    }

    /// Ends the attempt of a job that goes on later: nothing is answered, and its line is the caller's to write. `None` if it has ended.
    pub(crate) fn pause(&self) -> Option<(RecordPort, Access)> {
        let (OpenCall { port, .. }, access) = self.end(Outcome::Ok)?;
        match port {
            AnswerPort::Record(record) => Some((record, access)),
            AnswerPort::Outbox(_) | AnswerPort::Batch(_) => None,
        }
    }

    /// The client does not want it any more: no answer, and the handler is told.
    pub(crate) fn cancel(&self) {
        if let Some((open, access)) = self.end(Outcome::Cancelled) {
            if let Some(canceller) = open.canceller {
                canceller.cancel();
            }
            open.port.withdraw(access);
        }
    }

    /// The server cannot wait any longer: the client gets this error, and the handler is told.
    pub(crate) fn abort(&self, error: &ErrorObject) {
        self.end_with(error, Outcome::Cancelled, Canceller::cancel);
    }

    /// Its handler is given up: the same.
    pub(super) fn give_up(&self, error: &ErrorObject) {
        self.end_with(error, Outcome::Abandoned, Canceller::stall);
    }

    /// It has been silent for too long: the handler is told, and what it returns in time is the answer.
    pub(super) fn stall(&self, silent_for: Duration) {
        let canceller = {
            let mut state = self.state.lock();
            state.stalled = Some(silent_for);
            state.open.as_mut().and_then(|open| open.canceller.take())
        };
        if let Some(canceller) = canceller {
            canceller.stall();
        }
    }

    /// How long it had been silent when it was told so.
    pub(super) fn stalled(&self) -> Option<Duration> {
        self.state.lock().stalled
    }

    fn end_with(&self, error: &ErrorObject, outcome: Outcome, tell: fn(Canceller)) -> bool {
        let Some((open, mut access)) = self.end(outcome) else {
            return false;
        };
        open.canceller.map(tell);
        // What a handler returned, and why it panicked, stands elsewhere.
        if !matches!(outcome, Outcome::Error | Outcome::Panicked) {
            access = access.because(&error.message);
        }
        match open.port {
            AnswerPort::Record(record) => record.fail(error, access),
            port => {
                let body = jsonrpc::error_response(Some(&self.facts.id), error);
                port.send(Answer::new(body, Some(error.code), self.facts.era, access));
            }
        }
        true
    }

    /// Takes the port for the answer, if it is still there. The id is free again before the answer can be read, because its reader may use
    /// it at once; so is what the input takes of a call that has not begun, though its place in the queue is not.
    fn end(&self, outcome: Outcome) -> Option<(OpenCall, Access)> {
        let (open, queued_at, started_at, unread) = {
            let mut state = self.state.lock();
            let open = state.open.take()?;
            self.ended.store(true, Ordering::Release);
            let unread = mem::take(&mut state.input);
            (open, state.queued_at, state.started_at, unread)
        };
        drop(unread);
        let taken_back = self.source.get().and_then(|of| of.taken_back.lock().take());
        if let (Some(taken_back), Some(outbox)) = (taken_back, open.port.outbox()) {
            // Of no call, for what belongs to one that is cancelled is not sent.
            outbox.announce(taken_back, None);
        }
        let facts = &self.facts;
        if let Some(registry) = &self.registry {
            registry.remove(&facts.id, self);
        }
        let access = Access::new(&facts.tag, facts.method, outcome, || {
            let now = Instant::now();
            let began_at = started_at.unwrap_or(now);
            Details {
                name: facts.name.clone(),
                lane: facts.lane.clone(),
                queued: began_at - queued_at.unwrap_or(began_at),
                running: now - began_at,
                dropped: self.dropped(),
                traceparent: facts.traceparent.clone(),
                reason: None,
            }
        });
        Some((open, access))
    }

    /// Hands its outbox to `send`, unless the call has ended. The lock is held meanwhile, so that nothing can slip in behind the answer.
    pub(crate) fn with_outbox<T>(
        &self,
        send: impl FnOnce(&Outbox, &Arc<EventSource>) -> T,
    ) -> Option<T> {
        let state = self.state.lock();
        let outbox = state.open.as_ref()?.port.outbox()?;
        let make = || EventSource::new(self.token.clone());
        Some(send(outbox, self.source.get_or_init(make)))
    }
}

impl Cancel for Call {
    fn cancel(&self, reason: &str) {
        let tag = &self.facts.tag;
        log::debug!("the client cancels a call: {reason:?} request_id={tag}");
        Call::cancel(self);
    }
}

/// The duty to end a call. If it is dropped before anyone has, the client gets an internal error, so that no call is ever lost.
pub(crate) struct Responder(pub(crate) Arc<Call>);

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            let tag = &self.0.facts.tag;
            log::error!("a call was dropped without an answer request_id={tag}");
            self.0.fail(&internal_error(tag), Outcome::Panicked);
        }
    }
}
