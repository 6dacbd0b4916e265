//! Where the answer of a background job's attempt goes: into the job's record.
//!
//! An attempt is a call like any other, with the record in the place of its client. What it answers ends the job. Must not know how an attempt is run.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::base::errands::{Errand, Errands};
use crate::desk::jobs::{Jobs, failed};
use crate::desk::record::JobOutcome;
use crate::observe::access::{Access, Outcome};
use crate::outbox::Answer;
use crate::protocol::errors::{ErrorCode, ErrorObject};
use crate::protocol::raw;

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
