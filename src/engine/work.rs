//! What runs on a worker: fork, call, catch, encode, answer.
//!
//! A [`HandlerCall`] is what is executed: a handler, its arguments, the control that its context reaches the server by. A [`QueuedCall`] is one with the
//! duty to answer for it. Everything here happens on the worker's thread; only the
//! server's own job tools run where they arrive. Must not know which lane it is on, or how the answer travels.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::base::budget::Charge;
use crate::base::log;
use crate::base::panics;
use crate::desk::jobs::failed;
use crate::desk::record::Carried;
use crate::desk::workspace::Turn;
use crate::engine::call::{Call, Facts, Responder};
use crate::engine::control::Control;
use crate::engine::encode;
use crate::engine::errors::{internal_error, shutting_down, silent, wedged};
use crate::engine::rounds::{Attempted, Retry};
use crate::handler::client::ClientSource;
use crate::handler::control::CallControl;
use crate::handler::registration::{Callable, Reply};
use crate::lane::{WorkEnd, WorkItem};
use crate::observe::access::Outcome;
use crate::protocol::errors::ErrorObject;
use crate::protocol::version::ProtocolVersion;

/// What is executed, wherever its result goes.
pub(crate) struct HandlerCall {
    pub(crate) control: Arc<Control>,
    pub(crate) callable: Arc<Callable>,
    /// `None` stands for `{}`.
    pub(crate) arguments: Option<Box<RawValue>>,
    /// What a modern client came back with.
    pub(crate) retry: Option<Retry>,
    /// What it costs until it has been executed.
    pub(super) kept: Option<Charge>,
}

/// A call on its way to a worker. Its drop is its end, whether it was run, refused or dropped as stale, and happens exactly once: what must hear of the
/// end is a field.
pub(crate) struct QueuedCall {
    pub(crate) responder: Responder,
    pub(crate) handler_call: HandlerCall,
    /// What becomes of it when its handler has returned without an error; then the result itself is dropped.
    pub(crate) then: Option<Then>,
    /// Its turn in a workspace. Dropped after the answer.
    pub(crate) turn: Option<Turn>,
}

/// Goes on with a call, and with what was asked and kept in it.
pub(crate) type Then = Box<dyn FnOnce(&Arc<Call>, Carried) + Send>;

impl WorkItem for QueuedCall {
    type Running = Arc<Control>;

    fn is_stale(&self) -> bool {
        self.responder.0.has_ended()
    }

    fn running(&self) -> Arc<Control> {
        Arc::clone(&self.handler_call.control)
    }

    fn turn_away(self, lane: &str) {
        let error = wedged(lane);
        // What is refused may be tried again, but nobody tries a job again.
        if let Some((jobs, id)) = &self.handler_call.control.record {
            jobs.end(id, failed(&error));
        }
        self.responder.0.fail(&error, Outcome::Refused);
    }

    fn run(mut self) -> WorkEnd {
        let retry = self.handler_call.retry.take();
        let call = &self.responder.0;
        let handler_call = &self.handler_call;
        call.start();
        // Happens-before: a drain that has lost patience may have looked for this call after it left the queue and before it was seen running.
        if handler_call.control.shared.is_hurried() {
            call.abort(&shutting_down());
        }
        // What its client has been told is over must not begin.
        if call.has_ended() {
            return WorkEnd::Cancelled;
        }
        // Unwind safety: what the handler leaves half done when it panics is its own fork of the state, which is dropped with it, or shared
        // by its author's choice.
        let result = panics::catch(|| handler_call.invoke(retry));
        // From here on nobody else ends the call for its silence; or else somebody has, and this worker has been written off.
        let is_given_up = !call.pulse.has_returned();
        match result {
            Err(panic) => {
                log::error!(
                    detail: &panic.backtrace().to_string(),
                    "{} `{}` panicked: {panic} request_id={}",
                    call.facts.method,
                    handler_call.callable.name,
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
                let then = self.then.take();
                self.conclude(self.in_time(result), then)
            }
        }
    }
}

impl QueuedCall {
    pub(super) fn new(
        control: Control,
        callable: Arc<Callable>,
        arguments: Option<Box<RawValue>>,
    ) -> Self {
        QueuedCall {
            responder: Responder(Arc::clone(&control.call)),
            handler_call: HandlerCall {
                control: Arc::new(control),
                callable,
                arguments,
                retry: None,
                kept: None,
            },
            then: None,
            turn: None,
        }
    }

    /// What a handler returned that had been silent for too long: a success is what everybody has waited for, anything else is for want of life.
    fn in_time(&self, result: Result<Reply, ErrorObject>) -> Result<Reply, ErrorObject> {
        let call = &self.responder.0;
        match call.stalled() {
            Some(silent_for) if !is_success(&result) => {
                Err(silent(&call.facts.tag, silent_for, None))
            }
            _ => result,
        }
    }

    /// A job keeps what it asks, and goes on when it is answered; a call that is to become a job does so now; all others are answered.
    fn conclude(&self, result: Result<Reply, ErrorObject>, then: Option<Then>) -> WorkEnd {
        let control = &self.handler_call.control;
        let left_over = match (&control.record, &then) {
            (Some(_), _) | (_, Some(_)) => control.rounds.lock().left_over(),
            (None, None) => None,
        };
        match (&control.record, left_over, then) {
            (Some((jobs, id)), Some((questions, carried)), _) => {
                match self.responder.0.pause() && jobs.ask(id, questions, carried) {
                    true => WorkEnd::Done,
                    false => WorkEnd::Cancelled,
                }
            }
            (None, None, Some(then)) if is_success(&result) => {
                let carried = control.rounds.lock().take_carried();
                then(&self.responder.0, carried);
                WorkEnd::Done
            }
            _ => self.answer(result),
        }
    }

    /// Answers with what the handler returned, unless it asked the client something: then that is the answer, whatever it returned. Says what
    /// the call has come to, which is a cancellation if that came first.
    fn answer(&self, result: Result<Reply, ErrorObject>) -> WorkEnd {
        let call = &self.responder.0;
        let HandlerCall { control, .. } = &self.handler_call;
        let shared = &control.shared;
        let Facts { id, era, .. } = &call.facts;
        let server_info = &shared.identity.server_info;
        let rounds = control.rounds.lock();
        let required = rounds.required(&self.handler_call.attempted(), &shared.rounds, server_info);
        let answered = match (required, result) {
            (Some(Ok(required)), _) => call.answer(encode::write(id, &required), None, Outcome::Ok),
            (Some(Err(error)), _) => call.fail(&error, Outcome::Error),
            (None, Ok(mut reply)) => {
                control.warn_of_dropped();
                if knows_no_links(&control.info.client) {
                    reply.links_as_text();
                }
                let outcome = match &reply {
                    Reply::Tool(result) if result.is_error => Outcome::ToolError,
                    _ => Outcome::Ok,
                };
                let body = encode::response(id, &reply, *era, server_info, call.dropped());
                call.answer(body, None, outcome)
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
}

impl HandlerCall {
    /// Gives the attempt what earlier ones left for it, and calls the handler.
    fn invoke(&self, retry: Option<Retry>) -> Result<Reply, ErrorObject> {
        if let Some(retry) = retry {
            let mut rounds = self.control.rounds.lock();
            rounds.resume(retry, &self.attempted(), &self.control.shared.rounds)?;
        }
        let control: Arc<dyn CallControl> = Arc::<Control>::clone(&self.control);
        match &self.arguments {
            Some(arguments) => (self.callable.handler)(control, arguments),
            None => {
                let empty = RawValue::from_string("{}".into()).expect("an empty object is JSON");
                (self.callable.handler)(control, &empty)
            }
        }
    }

    fn attempted(&self) -> Attempted<'_> {
        let Control { call, info, .. } = &*self.control;
        Attempted {
            owner: &call.facts.owner,
            method: call.facts.method,
            target: &info.target,
            arguments: self.arguments.as_deref(),
        }
    }
}

fn is_success(result: &Result<Reply, ErrorObject>) -> bool {
    match result {
        Ok(Reply::Tool(result)) => !result.is_error,
        Ok(_) => true,
        Err(_) => false,
    }
}

/// Whether a client speaks a revision that has no links to resources.
fn knows_no_links(client: &ClientSource) -> bool {
    let last = ProtocolVersion::V2025_03_26;
    matches!(client, ClientSource::Session(client) if client.protocol_version() <= last)
}
