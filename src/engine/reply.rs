//! Answers that need no worker: rendered results and refusals.
//!
//! Must not know what a method means, or where its answer goes from the slot.

use crate::base::budget::OverBudget;
use crate::legacy::ReplySlot;
use crate::observe::access::{Access, Outcome, RequestTag, Traceparent};
use crate::outbox::{Answer, Outbox, Standing};
use crate::protocol::jsonrpc::{self, ErrorCode, ErrorObject, RequestId};
use crate::protocol::meta::Params;
use crate::protocol::method::Method;
use crate::protocol::trace;
use crate::protocol::version::Era;

/// One request that was understood, with its parameters and the place for its answer.
pub(super) struct Asked<'a> {
    pub(super) id: RequestId,
    pub(super) params: Box<Params<'a>>,
    pub(super) slot: ReplySlot,
    pub(super) tag: &'a RequestTag,
    pub(super) era: Era,
}

impl Asked<'_> {
    /// Answers with a result that has been rendered already.
    pub(super) fn answer(self, method: Method, result: &[u8]) {
        let mut body = Vec::with_capacity(64 + result.len());
        jsonrpc::open_result(&mut body, &self.id);
        body.extend_from_slice(result);
        jsonrpc::close_response(&mut body);
        let access = Access {
            traceparent: trace::logged(self.params.meta.as_ref()),
            ..Access::immediate(self.tag.clone(), method.name(), Outcome::Ok)
        };
        let answer = Answer {
            body,
            error: None,
            standing: Standing::Served,
            era: self.era,
            access,
            charge: None,
        };
        let answer = afford(answer, &self.id, self.slot.outbox());
        self.slot.send(answer);
    }

    /// Answers with an error.
    pub(super) fn fail(self, method: &'static str, error: &ErrorObject) {
        let refusal = Refusal {
            tag: self.tag,
            id: Some(&self.id),
            method,
            era: self.era,
            standing: Standing::Served,
            traceparent: trace::logged(self.params.meta.as_ref()),
        };
        refusal.send(error, self.slot);
    }
}

/// The circumstances of an error that is sent without asking a handler.
pub(super) struct Refusal<'a> {
    pub(super) tag: &'a RequestTag,
    /// As far as it could be read.
    pub(super) id: Option<&'a RequestId>,
    /// What stands in the access log.
    pub(super) method: &'static str,
    pub(super) era: Era,
    pub(super) standing: Standing,
    pub(super) traceparent: Option<Traceparent>,
}

impl Refusal<'_> {
    pub(super) fn send(self, error: &ErrorObject, slot: ReplySlot) {
        let outcome = if error.code == ErrorCode::OVERLOADED {
            Outcome::Refused
        } else {
            Outcome::Error
        };
        slot.send(Answer {
            body: jsonrpc::error_response(self.id, error),
            error: Some(error.code),
            standing: self.standing,
            era: self.era,
            access: Access {
                traceparent: self.traceparent,
                ..Access::immediate(self.tag.clone(), self.method, outcome).because(&error.message)
            },
            charge: None,
        });
    }
}

/// Refuses a request whose id belongs to another one, of the same client, that has not ended.
pub(super) fn refuse_taken_id(
    (id, slot): (RequestId, ReplySlot),
    tag: &RequestTag,
    method: Method,
    era: Era,
    traceparent: Option<Traceparent>,
) {
    let refusal = Refusal {
        tag,
        id: Some(&id),
        method: method.name(),
        era,
        standing: Standing::Malformed,
        traceparent,
    };
    let error = ErrorObject::invalid_request("A request with this `id` is still in flight");
    refusal.send(&error, slot);
}

/// Puts what an answer costs on its client's account. When there is no room it becomes the refusal that says so.
pub(super) fn afford(answer: Answer, id: &RequestId, outbox: Option<&Outbox>) -> Answer {
    match outbox.map(|outbox| outbox.charge_answer(answer.body.len())) {
        Some(Ok(charge)) => Answer {
            charge: Some(charge),
            ..answer
        },
        Some(Err(account)) => {
            let error = over_budget(account);
            let outcome = Outcome::Refused;
            Answer {
                body: jsonrpc::error_response(Some(id), &error),
                error: Some(error.code),
                access: Access {
                    outcome,
                    ..answer.access
                },
                ..answer
            }
        }
        // Nobody reads it.
        None => answer,
    }
}

/// What a client hears for which nothing more can be kept.
pub(super) fn over_budget(account: OverBudget) -> ErrorObject {
    ErrorObject::overloaded(match account {
        OverBudget::Own => "The server keeps as much for this client as it may",
        OverBudget::Whole => "The server keeps as much for its clients as it may; try again later",
    })
}

/// What a call hears that came too late.
pub(super) fn shutting_down() -> ErrorObject {
    ErrorObject::overloaded("The server is shutting down")
}
