//! Where the answer of a background job's attempt goes: into the job's record.
//!
//! An attempt is a call like any other, with the record in the place of its client. What it answers ends the job; what it reports becomes the job's status
//! message. Must not know how an attempt is run.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::desk::jobs::Jobs;
use crate::desk::record::JobOutcome;
use crate::observe::access::{Access, Observer, Outcome};
use crate::outbox::Answer;
use crate::protocol::errors::ErrorCode;

/// The port of one job's record. Dropped unused, it changes nothing.
pub(crate) struct RecordPort {
    pub(crate) id: Arc<str>,
    pub(crate) jobs: Arc<Jobs>,
    /// Whether it runs again when a server's end has interrupted it.
    pub(crate) restartable: bool,
    pub(crate) observer: Arc<dyn Observer>,
}

impl RecordPort {
    /// Ends the job with what its call was answered.
    pub(crate) fn send(self, answer: &Answer) {
        #[derive(Deserialize)]
        struct Response<'a> {
            #[serde(borrow)]
            result: Option<&'a RawValue>,
            #[serde(borrow)]
            error: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Said {
            message: String,
        }
        let response: Response<'_> =
            serde_json::from_slice(&answer.body).expect("an answer is a response");
        let outcome = match (response.result, response.error) {
            (Some(result), _) => JobOutcome::Result(result.to_owned().into()),
            (None, Some(error)) => {
                let said = serde_json::from_str(error.get()).map(|Said { message }| message);
                JobOutcome::Error(error.to_owned().into(), said.unwrap_or_default())
            }
            (None, None) => unreachable!("a response has a result or an error"),
        };
        // Not what was refused for another reason with the same code: nobody would run that again before the next start.
        let is_interrupted = answer.error == Some(ErrorCode::OVERLOADED)
            && answer.access.outcome == Outcome::Cancelled;
        if !(self.restartable && is_interrupted) {
            self.jobs.end(&self.id, outcome);
        }
        self.observer.ended(&answer.access, None);
    }

    /// The attempt has ended, and the job goes on later.
    pub(crate) fn pause(self, access: &Access) {
        self.observer.ended(access, None);
    }

    /// The call was cancelled, and so is the job, if it has not ended.
    pub(crate) fn withdraw(self, access: &Access) {
        self.jobs.end(&self.id, JobOutcome::Cancelled);
        self.observer.ended(access, None);
    }
}

/// What a job says of itself in a notification of its attempt: its progress.
pub(crate) fn progress_message(notification: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Notification {
        method: String,
        params: Progress,
    }
    #[derive(Deserialize)]
    struct Progress {
        progress: f64,
        total: Option<f64>,
        message: Option<String>,
    }
    let Notification { method, params } = serde_json::from_slice(notification).ok()?;
    if method != "notifications/progress" {
        return None;
    }
    let Progress {
        progress,
        total,
        message,
    } = params;
    Some(match (message, total) {
        (Some(message), Some(total)) => format!("{message} ({progress} of {total})"),
        (Some(message), None) => message,
        (None, Some(total)) => format!("{progress} of {total}"),
        (None, None) => progress.to_string(),
    })
}

impl std::fmt::Debug for RecordPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecordPort({})", self.id)
    }
}
