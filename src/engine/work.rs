//! What runs on a worker: call, catch, encode, answer.
//!
//! A [`HandlerCall`] is what is executed, a handler and its arguments, with the duty to answer; a [`QueuedCall`] is one with the control that its context
//! reaches the server by. A handler runs on the worker's thread; that of an inline tool where its call arrived, or where its wait for a job ends. `turn_away`
//! and `answer_with` run wherever a call is refused or answered. Must not know how a lane queues, or how the answer travels.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::base::budget::Charge;
use crate::base::log;
use crate::base::panics;
use crate::base::waiting::after;
use crate::desk::record::Carried;
use crate::desk::workspace::Turn;
use crate::engine::call::{Call, Facts, HandlerInput, Responder};
use crate::engine::control::Control;
use crate::engine::encode;
use crate::engine::errors::{internal_error, over_budget, shutting_down, silent, wedged};
use crate::engine::rounds::Rounds;
use crate::engine::seal::Binding;
use crate::engine::shared::Shared;
use crate::handler::control::CallControl;
use crate::handler::registration::{Callable, Reply};
use crate::lane::{WorkEnd, WorkItem};
use crate::observe::access::Outcome;
use crate::protocol::errors::ErrorObject;
use crate::protocol::raw;
use crate::protocol::results::CacheHint;
use crate::protocol::version::ProtocolVersion;

/// A call on its way to a worker. Boxed where it is opened: handed on by value it would be written once for each hand, and on the stack of the thread it arrived on,
/// which is cold where there are many. Empty once it has begun, and freed by the thread it was opened on.
pub(crate) struct QueuedCall(Box<Option<WaitingCall>>);

/// What waits. Its control is shared only once it has begun: what is allocated and freed by one thread, its worker, costs a fraction of what goes from thread to thread.
pub(crate) struct WaitingCall {
    pub(crate) handler_call: HandlerCall,
    pub(crate) control: Control,
}

/// What is executed, with the duty to answer for it. Its drop is the end of the call, whether it was run, refused or dropped as stale, and happens exactly
/// once: what must hear of the end is a field.
pub(crate) struct HandlerCall {
    _responder: Responder,
    pub(crate) callable: Arc<Callable>,
    /// Empty until it begins.
    input: HandlerInput,
    /// What all else costs until it has been executed.
    pub(super) kept: Option<Charge>,
    /// What becomes of it when its handler has returned without an error; then the result itself is dropped.
    pub(super) then: Option<Then>,
    /// What it was queued in, once it has begun.
    left: Option<QueuedCall>,
    /// Its turn in a workspace. Dropped after the answer.
    pub(super) turn: Option<Box<Turn>>,
}

/// Goes on with a call, with what was asked and kept in it, and with its arguments. Says whether it was answered, and not cancelled before.
pub(crate) type Then = Box<dyn FnOnce(&Arc<Call>, Carried, Option<Box<RawValue>>) -> bool + Send>;

/// How long a job waits for memory that its arguments take, for all that it knows in vain, and how often it looks.
const ROOM_PATIENCE: Duration = Duration::from_secs(60);
const ROOM_INTERVAL: Duration = Duration::from_millis(250);

impl WorkItem for QueuedCall {
    type Running = Arc<Control>;

    fn is_stale(&self) -> bool {
        self.control.call.has_ended()
    }

    fn turn_away(self, lane: &str) {
        let error = wedged(lane);
        self.control.call.fail(&error, Outcome::Refused);
    }

    fn begin(mut self) -> (Arc<Control>, impl FnOnce(&dyn Fn()) -> WorkEnd) {
        let WaitingCall {
            mut handler_call,
            control,
        } = self.0.take().expect(WAITS);
        handler_call.left = Some(self);
        let control = Arc::new(control);
        let running = Arc::clone(&control);
        (running, move |returned: &dyn Fn()| {
            handler_call.run(&control, returned)
        })
    }
}

const WAITS: &str = "only what has begun is empty";

impl Deref for QueuedCall {
    type Target = WaitingCall;

    fn deref(&self) -> &WaitingCall {
        self.0.as_ref().as_ref().expect(WAITS)
    }
}

impl DerefMut for QueuedCall {
    fn deref_mut(&mut self) -> &mut WaitingCall {
        self.0.as_mut().as_mut().expect(WAITS)
    }
}

impl QueuedCall {
    pub(super) fn new(control: Control, callable: Arc<Callable>) -> Self {
        let handler_call = HandlerCall {
            _responder: Responder(Arc::clone(&control.call)),
            callable,
            input: HandlerInput::default(),
            kept: None,
            then: None,
            left: None,
            turn: None,
        };
        QueuedCall(Box::new(Some(WaitingCall {
            handler_call,
            control,
        })))
    }
}

impl HandlerCall {
    fn run(mut self, control: &Arc<Control>, returned: &dyn Fn()) -> WorkEnd {
        let call = &control.call;
        // What its client has been told is over must not begin.
        let Some(input) = call.start() else {
            return WorkEnd::Cancelled;
        };
        self.input = input;
        if let Some(rounds) = self.input.rounds.take() {
            *control.rounds.lock() = Some(rounds);
        }
        // Happens-before: a drain that has lost patience may have looked for this call after it left the queue and before it was seen running.
        if control.shared.has_no_patience_with(control.lane) {
            call.abort(&shutting_down());
            return WorkEnd::Cancelled;
        }
        // Unwind safety: what the handler leaves half done when it panics is its own fork of the state, which is dropped with it, or shared
        // by its author's choice.
        let result = panics::catch(|| self.invoke_when_there_is_room(control));
        // From here on nobody else ends the call for its silence; or else somebody has, and this worker has been written off.
        let is_given_up = !call.pulse.try_end();
        if !is_given_up {
            returned();
        }
        match result {
            Err(panic) => {
                log::error!(
                    detail: panic.backtrace(),
                    "{} `{}` panicked: {panic} request_id={}",
                    call.facts.method,
                    self.callable.name,
                    call.facts.tag
                );
                call.fail(&internal_error(&call.facts.tag), Outcome::Panicked);
                match is_given_up {
                    true => WorkEnd::GivenUp,
                    false => WorkEnd::Panicked,
                }
            }
            _ if is_given_up => {
                let tag = &call.facts.tag;
                log::warn!("a handler that had been given up has returned request_id={tag}");
                WorkEnd::GivenUp
            }
            _ if call.has_ended() => WorkEnd::Cancelled,
            Ok(result) => {
                let ended = self.conclude(control, in_time(call, result));
                let arguments = self.input.arguments.take();
                call.keep_arguments(arguments, self.left.take().map(|left| left.0 as _));
                ended
            }
        }
    }

    /// Calls the handler. A job whose arguments do not fit into the memory that is left tries again when there is more, as long as it may wait.
    fn invoke_when_there_is_room(&self, control: &Arc<Control>) -> Result<Reply, ErrorObject> {
        let Some((jobs, id)) = &control.record else {
            return self.invoke(control);
        };
        jobs.has_room(id);
        let mut result = self.invoke(control);
        let Shared { memory, kept, .. } = &*control.shared;
        let mut end = None;
        // Told before its handler has done anything.
        while result.as_ref().err() == Some(&ErrorObject::no_memory()) {
            // Sessions and subscriptions keep what they have.
            if jobs.waits_in_vain(id, memory.used().saturating_sub(kept.used())) {
                return result;
            }
            let handed = control.handed_permit();
            let Some(permit) = handed.or_else(|| control.waits().take().ok()) else {
                control.postpone();
                return result;
            };
            let end = *end.get_or_insert_with(|| {
                let said = jobs.say(id, "waiting for memory".into());
                said.iter().for_each(|record| jobs.announce(record));
                after(ROOM_PATIENCE)
            });
            let call = &control.call;
            let wait = call.pulse.begin_wait("memory".into());
            let is_over = call.token().wait(ROOM_INTERVAL) || Instant::now() >= end;
            call.pulse.end_wait(wait);
            if is_over {
                return result;
            }
            *control.permit.lock() = Some(permit);
            // Else each look would take for a while all that is left.
            if memory.would_fit(control.wanted.load(Ordering::Relaxed), 0) {
                jobs.has_room(id);
                result = self.invoke(control);
            }
        }
        result
    }

    /// Gives the attempt what earlier ones left for it, and calls the handler.
    fn invoke(&self, control: &Arc<Control>) -> Result<Reply, ErrorObject> {
        if let Some(rounds) = &mut *control.rounds.lock() {
            rounds.open(&self.binding(control), &control.shared.rounds)?;
        }
        let handler = &self.callable.handler;
        let control: Arc<dyn CallControl> = Arc::<Control>::clone(control);
        let arguments = self.input.arguments.as_deref();
        handler.call(control, arguments.unwrap_or(&raw::EMPTY))
    }

    /// A job keeps what it asks, and goes on when it is answered, or when it may wait; a call that is to become a job does so now; all others are answered.
    fn conclude(&mut self, control: &Control, result: Result<Reply, ErrorObject>) -> WorkEnd {
        let then = self.then.take();
        let result = result.map_err(|error| match &mut *control.rounds.lock() {
            Some(rounds) => rounds.give_up(error),
            None => error,
        });
        let left_over = match (&control.record, &then) {
            (Some(_), _) | (_, Some(_)) => {
                let rounds = control.rounds.lock();
                rounds.as_ref().and_then(|rounds| rounds.left_over())
            }
            (None, None) => None,
        };
        match (&control.record, left_over, then) {
            (Some((jobs, id)), Some((questions, carried)), _) => {
                let is_asked = control.call.pause().is_some_and(|(_, access)| {
                    access.ended(None);
                    jobs.ask(id, questions, carried)
                });
                match is_asked {
                    true => WorkEnd::Done,
                    false => WorkEnd::Cancelled,
                }
            }
            (Some(_), None, _) if control.is_postponed.load(Ordering::Relaxed) => {
                // Nothing has ended, so nothing is told: another attempt will be.
                let Some((port, _)) = control.call.pause() else {
                    return WorkEnd::Cancelled;
                };
                port.postpone();
                WorkEnd::Postponed
            }
            (None, None, Some(then)) if is_success(&result) => {
                let rounds = control.rounds.lock().take();
                // Charged until the job's record is.
                let Rounds {
                    carried,
                    answered: _charged,
                    ..
                } = rounds.map_or_else(Rounds::default, |rounds| *rounds);
                match then(&control.call, carried, self.input.arguments.take()) {
                    true => WorkEnd::Done,
                    false => WorkEnd::Cancelled,
                }
            }
            _ => self.answer(control, result),
        }
    }

    /// Answers with what the handler returned, unless it asked the client something: then that is the answer, whatever it returned. Says what
    /// the call has come to, which is a cancellation if that came first.
    fn answer(&self, control: &Control, result: Result<Reply, ErrorObject>) -> WorkEnd {
        let Control { call, shared, .. } = control;
        let Facts { id, era, .. } = &call.facts;
        let server_info = &shared.identity.server_info;
        // Written here, for an answer may reach the kernel and others' sessions: no lock may be held over it.
        let required = control.rounds.lock().as_ref().and_then(|rounds| {
            let binding = self.binding(control);
            let required = rounds.required(&binding, &shared.rounds, server_info)?;
            Some(required.map(|required| encode::write(id, &required)))
        });
        let answered = match (required, result) {
            (Some(Ok(required)), _) => call.answer(required, None, Outcome::Ok),
            (Some(Err(error)), _) => call.fail(&error, Outcome::Error),
            (None, Ok(mut reply)) => {
                control.warn_of_dropped();
                // Earlier revisions have no links to resources.
                if control.info.client.get().protocol_version() <= ProtocolVersion::V2025_03_26 {
                    reply.links_as_text();
                }
                // What somebody has answered is for nobody else, nor for the next time.
                if let Reply::Resource(result) = &mut reply
                    && control.rounds.lock().is_some()
                {
                    result.cache = result.cache.map(|_| CacheHint::NONE);
                }
                answer_with(call, &reply, shared)
            }
            (None, Err(error)) => {
                let outcome = match call.stalled() {
                    Some(_) => Outcome::Stalled,
                    None => Outcome::Error,
                };
                call.fail(&error.in_era(*era), outcome)
            }
        };
        match answered {
            true => WorkEnd::Done,
            false => WorkEnd::Cancelled,
        }
    }

    fn binding<'a>(&'a self, control: &'a Control) -> Binding<'a> {
        let Control { call, info, .. } = control;
        Binding {
            method: call.facts.method,
            target: &info.target,
            arguments: self.input.arguments.as_deref(),
        }
    }
}

/// What a handler returned that had been silent for too long: a success is what everybody has waited for, anything else is for want of life.
fn in_time(call: &Call, result: Result<Reply, ErrorObject>) -> Result<Reply, ErrorObject> {
    let stalled = (!is_success(&result)).then(|| call.stalled()).flatten();
    match stalled {
        Some(silent_for) => Err(silent(&call.facts.tag, silent_for, None)),
        None => result,
    }
}

/// Answers a call with a result, written as its era wants it. What that takes is charged before it is written, if it is long.
pub(super) fn answer_with(call: &Call, reply: &Reply, shared: &Shared) -> bool {
    let outcome = match reply {
        Reply::Tool(result) if result.is_error => Outcome::ToolError,
        _ => Outcome::Ok,
    };
    let Facts { id, era, .. } = &call.facts;
    let long = encode::long_len(reply);
    let charged = match (long > 0).then(|| shared.memory.charge(long)) {
        Some(Err(account)) => return call.fail(&over_budget(account), Outcome::Refused),
        charged => charged,
    };
    let server_info = &shared.identity.server_info;
    let body = encode::response(id, reply, *era, server_info, call.dropped(), long);
    drop(charged); // the client's account takes it over
    call.answer(body, None, outcome)
}

fn is_success(result: &Result<Reply, ErrorObject>) -> bool {
    match result {
        Ok(Reply::Tool(result)) => !result.is_error,
        Ok(_) => true,
        Err(_) => false,
    }
}
