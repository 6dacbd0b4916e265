//! Answers that need no worker, and where any answer goes.
//!
//! A [`AnswerPort`] takes the one answer to one request. [`Asked`] is a request that was understood, on its way to an answer; [`Refusal`] is the one
//! builder of errors that no handler is asked for. Must not know what a method means, or who drains an outbox.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::base::errands::{Errand, Errands};
use crate::base::heap;
use crate::desk::jobs::{Jobs, failed};
use crate::desk::record::JobOutcome;
use crate::engine::errors::over_budget;
use crate::legacy::Member;
use crate::observe::access::{Access, Details, Outcome, RequestTag};
use crate::outbox::{Admission, Answer, AnswerSlot, Outbox};
use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::id::RequestId;
use crate::protocol::meta::Params;
use crate::protocol::version::Era;
use crate::protocol::{jsonrpc, meta, raw};

/// An answer up to this size is sent whatever the accounts say, since the slots bound how many may wait; it is charged only once it waits in a queue.
const FREE_ANSWER_BYTES: usize = 4 * 1024;

/// Where the answer to one request goes. Dropped unused, it says that no answer will come.
pub(crate) enum AnswerPort {
    /// To the client, by the connection or pipe it asked on.
    Outbox(AnswerSlot),
    /// Into the array that answers a batch.
    Batch(Member),
    /// Into the record of a background job.
    Record(RecordPort),
}

impl AnswerPort {
    /// Sends the answer. Waits for no peer; that of a job is written to its store.
    pub(crate) fn send(self, answer: Answer) {
        match self {
            AnswerPort::Outbox(slot) => slot.send(answer),
            AnswerPort::Batch(member) => member.send(answer),
            AnswerPort::Record(record) => record.send(answer),
        }
    }

    /// Ends the request without an answer, because it was cancelled.
    pub(crate) fn withdraw(self, access: Access) {
        match self {
            AnswerPort::Outbox(slot) => slot.withdraw(access),
            AnswerPort::Batch(member) => member.withdraw(&access),
            AnswerPort::Record(record) => record.withdraw(access),
        }
    }

    /// Where events of the same request go.
    pub(crate) fn outbox(&self) -> Option<&Outbox> {
        match self {
            AnswerPort::Outbox(slot) => slot.outbox(),
            AnswerPort::Batch(member) => member.outbox(),
            AnswerPort::Record(_) => None,
        }
    }
}

/// The port of one job's record. Dropped unused, it changes nothing.
pub(crate) struct RecordPort {
    pub(crate) id: Arc<str>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) errands: Arc<Errands>,
    /// Whether it runs again when a server's end has interrupted it.
    pub(crate) restartable: bool,
    /// Hands in the next attempt, which keeps its lane open. `None` where there is none that could wait outside of a workspace.
    pub(crate) again: Option<Again>,
}

pub(crate) type Again = Box<dyn FnOnce() + Send>;

impl RecordPort {
    /// Ends the job with the result that its call was answered with.
    pub(crate) fn send(self, answer: Answer) {
        let response: &RawValue =
            serde_json::from_slice(&answer.body).expect("an answer is a response");
        let result = raw::member(response, "result").expect("an error is told by `fail`");
        let outcome = JobOutcome::Result(raw::owned(result).into());
        self.end(outcome, answer.access);
    }

    /// Ends the job with the error of its call, unless it may run again because it was interrupted.
    pub(crate) fn fail(self, error: &ErrorObject, access: Access) {
        // Not what was refused for another reason with the same code: nobody would run that again before the next start.
        let is_interrupted =
            error.code == ErrorCode::OVERLOADED && access.outcome == Outcome::Cancelled;
        if self.restartable && is_interrupted {
            return access.ended(None);
        }
        let outcome = failed(error);
        match access.outcome {
            // No worker says so, but the clock, a shutdown, or a thread that serves clients; and the store may hang.
            Outcome::Abandoned | Outcome::Cancelled | Outcome::Refused => {
                let RecordPort { id, jobs, .. } = self;
                let end = move || {
                    jobs.end(&id, outcome);
                    access.ended(None);
                };
                self.errands.run([Box::new(end) as Errand]);
            }
            _ => self.end(outcome, access),
        }
    }

    /// The call was cancelled, and so is the job, if it has not ended.
    pub(crate) fn withdraw(self, access: Access) {
        self.end(JobOutcome::Cancelled, access);
    }

    fn end(mut self, outcome: JobOutcome, access: Access) {
        // The lane may close while the store hangs.
        self.again = None;
        self.jobs.end(&self.id, outcome);
        access.ended(None);
    }

    /// The attempt, which is over, has done nothing: another one begins when it may wait.
    pub(crate) fn postpone(self) {
        self.jobs.pause(&self.id);
        self.again.into_iter().for_each(|again| again());
    }
}

/// One request that was understood, with its parameters and the port for its answer.
pub(super) struct Asked<'a> {
    pub(super) id: RequestId,
    /// What stands in the access log; never a client's text.
    pub(super) method: &'static str,
    pub(super) params: Box<Params<'a>>,
    pub(super) port: AnswerPort,
    pub(super) tag: &'a RequestTag,
    pub(super) era: Era,
}

impl Asked<'_> {
    /// Answers with a result that has been rendered already.
    pub(super) fn answer(self, result: &[u8]) {
        let room = heap::room(64 + result.len());
        let write = |out: &mut Vec<u8>| out.extend_from_slice(result);
        let body = jsonrpc::result_response(room, &self.id, write);
        let access = Access::new(self.tag, self.method, Outcome::Ok, || Details {
            traceparent: meta::logged_trace(self.params.meta.as_ref()),
            ..Details::default()
        });
        let answer = Answer::new(body, None, self.era, access);
        let answer = afford(answer, &self.id, &self.port);
        self.port.send(answer);
    }

    /// Answers that it is done, or why not.
    pub(super) fn acknowledge(self, done: Result<(), ErrorObject>) {
        match done {
            Ok(()) => self.answer(b"{}"),
            Err(error) => self.fail(&error),
        }
    }

    /// Answers with the method's own error.
    pub(super) fn fail(self, error: &ErrorObject) {
        self.refuse(Admission::Admitted, error);
    }

    /// Answers with an error.
    pub(super) fn refuse(self, admission: Admission, error: &ErrorObject) {
        let refusal = Refusal {
            id: Some(&self.id),
            method: self.method,
            era: self.era,
            admission,
            traceparent: meta::logged_trace(self.params.meta.as_ref()),
            tag: self.tag,
        };
        refusal.send(error, self.port);
    }
}

/// The circumstances of an error that is sent without asking a handler. What a transport adds because it is one (a status, header fields)
/// follows from the error's code and the admission.
pub(crate) struct Refusal<'a> {
    pub(crate) tag: &'a RequestTag,
    /// As far as it could be read.
    pub(crate) id: Option<&'a RequestId>,
    /// What stands in the access log.
    pub(crate) method: &'static str,
    pub(crate) era: Era,
    pub(crate) admission: Admission,
    pub(crate) traceparent: Option<Box<str>>,
}

impl<'a> Refusal<'a> {
    /// Of what could not even be read as a request.
    pub(crate) fn new(tag: &'a RequestTag) -> Self {
        Refusal {
            tag,
            id: None,
            method: "-",
            era: Era::Modern,
            admission: Admission::Malformed,
            traceparent: None,
        }
    }

    pub(crate) fn send(self, error: &ErrorObject, port: AnswerPort) {
        let outcome = if error.code == ErrorCode::OVERLOADED {
            Outcome::Refused
        } else {
            Outcome::Error
        };
        let body = jsonrpc::error_response(self.id, error);
        let access = Access::new(self.tag, self.method, outcome, || Details {
            traceparent: self.traceparent,
            ..Details::default()
        });
        let access = access.because(&error.message);
        port.send(Answer {
            admission: self.admission,
            ..Answer::new(body, Some(error.code), self.era, access)
        });
    }
}

/// Puts what an answer costs on its client's account. When there is no room it becomes the refusal that says so.
pub(super) fn afford(mut answer: Answer, id: &RequestId, port: &AnswerPort) -> Answer {
    let is_alone = matches!(port, AnswerPort::Outbox(_));
    if is_alone && answer.body.len() <= FREE_ANSWER_BYTES {
        return answer;
    }
    let charged = port
        .outbox()
        .map(|outbox| outbox.charge_answer(answer.body.len()));
    match charged {
        Some(Ok(charge)) => answer.charge = Some(charge),
        Some(Err(account)) => {
            let error = over_budget(account);
            answer.body = jsonrpc::error_response(Some(id), &error);
            answer.error = Some(error.code);
            answer.access.outcome = Outcome::Refused;
        }
        // A job's record is charged by the desk; anything else nobody reads.
        None => {}
    }
    answer
}
