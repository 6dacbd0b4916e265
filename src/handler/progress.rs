//! How far a call has come, as its handler says it, as its client is told, and as a job says it of itself.
//!
//! Must not know how a notification travels.

use crate::base::setters::setters;
use crate::protocol::id::RequestId;
use crate::protocol::jsonrpc;
use crate::protocol::text::{write_json, write_text};

/// How far a call has come. Most are made from a tuple; see [`RequestContext::progress`](crate::RequestContext::progress).
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    progress: f64,
    total: Option<f64>,
    message: Option<String>,
}

impl Progress {
    /// A number that grows with each report.
    pub fn new(progress: f64) -> Self {
        Progress {
            progress,
            total: None,
            message: None,
        }
    }

    /// What may be told of it after the number `last`, which it replaces: one that does not grow is left out.
    pub(crate) fn after(mut self, last: &mut Option<f64>) -> Option<Self> {
        let grows = last.is_none_or(|last| self.progress > last);
        if !grows || !self.progress.is_finite() {
            return None;
        }
        *last = Some(self.progress);
        self.total = self.total.filter(|total| total.is_finite());
        Some(self)
    }

    /// Written member by member: a handler may report a hundred thousand times a second.
    pub(crate) fn notification(&self, token: &RequestId) -> Vec<u8> {
        jsonrpc::call(None, "notifications/progress", |out| {
            out.extend_from_slice(b"{\"progressToken\":");
            write_json(out, token);
            out.extend_from_slice(b",\"progress\":");
            write_number(out, self.progress);
            if let Some(total) = &self.total {
                out.extend_from_slice(b",\"total\":");
                write_number(out, *total);
            }
            if let Some(message) = &self.message {
                out.extend_from_slice(b",\"message\":");
                write_text(out, message);
            }
            out.push(b'}');
        })
    }

    /// The same for people, as a job says it of itself.
    pub(crate) fn into_sentence(self) -> String {
        let progress = self.progress;
        match (self.message, self.total) {
            (Some(message), Some(total)) => format!("{message} ({progress} of {total})"),
            (Some(message), None) => message,
            (None, Some(total)) => format!("{progress} of {total}"),
            (None, None) => progress.to_string(),
        }
    }

    setters! {
        /// What the number will be at the end.
        total(total: f64) => total = Some(total);

        /// A sentence for people.
        message(message: impl Into<String>) => message = Some(message.into());
    }
}

/// A whole number without a fraction, which readers of whole numbers take, too.
fn write_number(out: &mut Vec<u8>, number: f64) {
    let whole = number as i64;
    match whole as f64 == number && whole.unsigned_abs() < 1 << 53 {
        true => write_json(out, &whole),
        false => write_json(out, &number),
    }
}

impl From<f64> for Progress {
    fn from(progress: f64) -> Self {
        Progress::new(progress)
    }
}

impl From<(f64, f64)> for Progress {
    fn from((progress, total): (f64, f64)) -> Self {
        Progress::new(progress).total(total)
    }
}

impl<M: Into<String>> From<(f64, f64, M)> for Progress {
    fn from((progress, total, message): (f64, f64, M)) -> Self {
        Progress::new(progress).total(total).message(message)
    }
}
