//! How far a call has come: [`Progress`], and [`Reporter`], which reports it from any thread.
//!
//! Must not know how a notification travels.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::base::cancel::CancellationToken;
use crate::base::pulse;
use crate::base::setters::setters;
use crate::handler::control::CallControl;
use crate::outbox::EventKind;
use crate::protocol::jsonrpc;
use crate::protocol::meta::ProgressToken;
use crate::protocol::text::{write_json, write_text};

/// Reports the progress of a call from threads that its handler has started; from [`RequestContext::reporter`](crate::RequestContext::reporter). Clones
/// report for the same call. When the call has ended, reports go nowhere.
///
/// ```
/// # use mcp_threads::RequestContext;
/// fn copy(cx: &mut RequestContext, _: serde_json::Value) -> &'static str {
///     let reporter = cx.reporter();
///     std::thread::scope(|scope| {
///         scope.spawn(|| (1..=3).for_each(|file| reporter.progress((f64::from(file), 3.0))));
///     });
///     "copied"
/// }
/// # mcp_threads::Server::new("copy", "1.0.0").tool("copy", "Copies.", copy);
/// ```
#[derive(Clone)]
pub struct Reporter(Arc<dyn CallControl>);

impl Reporter {
    pub(super) fn new(call: Arc<dyn CallControl>) -> Self {
        Reporter(call)
    }

    /// As [`RequestContext::progress`](crate::RequestContext::progress): the number must grow from report to report, whichever thread reports.
    #[track_caller]
    pub fn progress(&self, progress: impl Into<Progress>) {
        self.0.pulse().beat(pulse::PROGRESS, Location::caller());
        report(&*self.0, progress.into());
    }

    /// As [`RequestContext::alive`](crate::RequestContext::alive).
    #[track_caller]
    pub fn alive(&self) {
        self.0.pulse().beat(pulse::ALIVE, Location::caller());
    }

    /// The cancellation of the call.
    pub fn cancellation(&self) -> &CancellationToken {
        self.0.cancellation()
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = &self.0.info().tag;
        f.debug_tuple("Reporter").field(&tag.as_str()).finish()
    }
}

/// Sends a report, if the client asked for progress and the number has grown. It is no sign of life by itself.
pub(super) fn report(call: &dyn CallControl, mut progress: Progress) {
    progress.total = progress.total.filter(|total| total.is_finite());
    let Some(token) = &call.info().progress_token else {
        return;
    };
    // Held while it is sent, which never waits: reports of two threads must leave in the order of their numbers.
    let mut last = call.last_progress().lock();
    let grows = last.is_none_or(|last| progress.progress > last);
    if !grows || !progress.progress.is_finite() {
        return;
    }
    *last = Some(progress.progress);
    let notification =
        jsonrpc::notification_of("notifications/progress", |out| progress.write(token, out));
    call.send_event(notification, EventKind::Progress);
}

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

    /// Written member by member: a handler may report a hundred thousand times a second.
    fn write(&self, token: &ProgressToken, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"progressToken\":");
        write_json(out, token);
        out.extend_from_slice(b",\"progress\":");
        write_json(out, &self.progress);
        if let Some(total) = &self.total {
            out.extend_from_slice(b",\"total\":");
            write_json(out, total);
        }
        if let Some(message) = &self.message {
            out.extend_from_slice(b",\"message\":");
            write_text(out, message);
        }
        out.push(b'}');
    }

    setters! {
        /// What the number will be at the end.
        total(total: f64) => total = Some(total);

        /// A sentence for people.
        message(message: impl Into<String>) => message = Some(message.into());
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
