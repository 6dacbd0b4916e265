//! The job that runs one call on a worker: fork, call, catch, encode, answer.
//!
//! Everything here happens on the worker's thread. Must not know which lane it is on, or how the answer travels.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::base::panics;
use crate::engine::encode;
use crate::engine::identity::Identity;
use crate::engine::in_flight::{Call, Responder, internal_error};
use crate::engine::reply::shutting_down;
use crate::engine::rounds::{Attempted, Retry, RoundRules};
use crate::handler::client::ClientSource;
use crate::handler::context::CallControl;
use crate::handler::registration::Target;
use crate::handler::reply::Reply;
use crate::lane::{Ended, Job};
use crate::observe::access::Outcome;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::version::ProtocolVersion;

/// A call on its way to a worker.
pub(crate) struct CallJob {
    pub(crate) responder: Responder,
    pub(crate) target: Arc<Target>,
    /// `None` stands for `{}`.
    pub(crate) arguments: Option<Box<RawValue>>,
    /// What a modern client came back with.
    pub(crate) retry: Option<Retry>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) rules: Arc<RoundRules>,
}

impl Job for CallJob {
    type Running = Arc<Call>;

    fn is_stale(&self) -> bool {
        self.responder.0.has_ended()
    }

    fn running(&self) -> Arc<Call> {
        Arc::clone(&self.responder.0)
    }

    fn run(mut self) -> Ended {
        let retry = self.retry.take();
        let call = &self.responder.0;
        call.start();
        // Whoever cancels everything may have looked for this call after it left the queue and before it was seen running.
        if call.engine_is_hurried() {
            call.abort(&shutting_down());
        }
        // What its client has been told is over must not begin.
        if call.has_ended() {
            return Ended::Cancelled;
        }
        // Whatever the handler leaves half done when it panics is its own fork of the state, dropped with it, or shared by its author's choice.
        match panics::catch(|| self.invoke(retry)) {
            Err(panic) => {
                log::error!(
                    "{} `{}` panicked: {panic} request_id={}{}",
                    call.method.name(),
                    self.target.name,
                    call.info.tag,
                    panic.way()
                );
                call.fail(&internal_error(call), Outcome::Panicked);
                Ended::Panicked
            }
            _ if call.has_ended() => Ended::Cancelled,
            Ok(result) => {
                self.answer(result);
                Ended::Done
            }
        }
    }
}

impl CallJob {
    /// Gives the attempt what earlier ones left for it, and calls the handler.
    fn invoke(&self, retry: Option<Retry>) -> Result<Reply, ErrorObject> {
        if let Some(retry) = retry {
            let mut rounds = self.responder.0.rounds();
            rounds.resume(retry, &self.attempted(), &self.rules)?;
        }
        let call: Arc<dyn CallControl> = Arc::<Call>::clone(&self.responder.0);
        match &self.arguments {
            Some(arguments) => self.target.handler.invoke(call, arguments),
            None => {
                let empty = RawValue::from_string("{}".into()).expect("an empty object is JSON");
                self.target.handler.invoke(call, &empty)
            }
        }
    }

    /// Answers with what the handler returned, unless it asked the client something: then that is the answer, whatever it returned.
    fn answer(&self, result: Result<Reply, ErrorObject>) {
        let call = &self.responder.0;
        let server_info = &self.identity.server_info;
        let rounds = call.rounds();
        let required = rounds.required(&self.attempted(), &self.rules, server_info);
        match required {
            Some(Ok(required)) => {
                let body = encode::write(&call.id, &required);
                return call.answer(body, None, Outcome::Ok);
            }
            Some(Err(error)) => return call.fail(&error, Outcome::Error),
            None => {}
        }
        match result {
            Ok(mut reply) => {
                call.warn_of_dropped();
                if knows_no_links(&call.info.client) {
                    reply.links_as_text();
                }
                let outcome = match &reply {
                    Reply::Tool(result) if result.is_error => Outcome::ToolError,
                    _ => Outcome::Ok,
                };
                let body =
                    encode::response(&call.id, &reply, call.era, server_info, call.dropped());
                call.answer(body, None, outcome);
            }
            Err(error) => call.fail(&error.in_era(call.era), Outcome::Error),
        }
    }

    fn attempted(&self) -> Attempted<'_> {
        let call = &self.responder.0;
        Attempted {
            method: call.method.name(),
            target: &call.info.target,
            arguments: self.arguments.as_deref(),
        }
    }
}

/// Whether a client speaks the revision that has no links to resources.
fn knows_no_links(client: &ClientSource) -> bool {
    let first = ProtocolVersion::V2025_03_26;
    matches!(client, ClientSource::Session(client) if client.protocol_version() == first)
}
