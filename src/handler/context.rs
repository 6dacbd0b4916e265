//! [`RequestContext`], all that a handler sees of the server.
//!
//! It reaches the rest of the library through [`CallControl`], so that it can be read, and tested, without an engine. Must not know
//! lanes or transports.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::cancel::CancellationToken;
use crate::base::life::Span;
use crate::base::log;
use crate::base::owner::Owner;
use crate::base::pulse::{self, Pulse};
use crate::base::stats::Stats;
use crate::handler::ask::{Ask, AskError};
use crate::handler::client::{Client, ClientSource};
#[cfg(unix)]
use crate::handler::command::children::Children;
use crate::handler::workspace::Inside;
use crate::lane::Waits;
use crate::observe::access::RequestTag;
use crate::outbox::EventKind;
use crate::protocol::change::Change;
use crate::protocol::jsonrpc;
use crate::protocol::meta::ProgressToken;
use crate::protocol::trace::{NO_TRACE, TraceContext};
use crate::protocol::tree::TreeRoom;
use crate::protocol::types::LoggingLevel;

/// What a handler may know of its call and do about it. Implemented by the engine.
pub(crate) trait CallControl: Send + Sync {
    fn info(&self) -> &RequestInfo;
    fn cancellation(&self) -> &CancellationToken;
    /// The same for a handler to keep, who may give the call up by it.
    fn kept_cancellation(&self) -> &CancellationToken;
    /// Its signs of life.
    fn pulse(&self) -> &Pulse;
    /// Sends a notification that belongs to this call; never waits, and goes nowhere once the call has ended.
    fn send_event(&self, notification: Vec<u8>, kind: EventKind);
    /// What JSON may take when it is read for this call.
    fn tree_room(&self) -> TreeRoom;
    /// Whether other spellings of arguments are taken.
    fn is_lenient(&self) -> bool;
    /// Asks the client; in the modern era, says what it answered already or ends the attempt.
    fn ask(&self, key: &str, ask: &Ask) -> Result<Box<RawValue>, AskError>;
    /// A value that an earlier attempt, or this one, has kept.
    fn kept(&self, key: &str) -> Option<Box<RawValue>>;
    fn keep(&self, key: &str, value: Box<RawValue>);
    /// Ends the response stream; the client comes back for the rest.
    fn close_stream(&self);
    /// Tells whoever wants to know; never waits.
    fn changed(&self, change: Change<'_>);
    fn stats(&self) -> Stats;
    /// The process groups of the server that commands belong to; `None` when it has ended.
    #[cfg(unix)]
    fn children(&self) -> Option<Arc<Children>>;
    /// The workspace that the call is in, if its tool is in one.
    fn workspace(&self) -> Option<&Inside>;
    /// On whose behalf it runs.
    fn owner(&self) -> &Owner;
    /// The background job that it is an attempt of, if it is: its id, and how long it lives.
    fn job(&self) -> Option<(Arc<str>, Span)>;
    /// How long the session or the pipe lives that it came by, if there is one.
    fn session(&self) -> Option<Span>;
    /// The places of its lane for handlers that wait.
    fn waits(&self) -> &Arc<Waits>;
}

/// The facts of one request that its handler may ask for. Immutable.
#[derive(Debug)]
pub(crate) struct RequestInfo {
    pub(crate) tag: RequestTag,
    /// What the client named: a tool, a prompt, a resource's URI.
    pub(crate) target: Arc<str>,
    pub(crate) client: ClientSource,
    /// `None` when it is part of none; see [`TraceContext::read`].
    pub(crate) trace: Option<Box<TraceContext>>,
    pub(crate) progress_token: Option<ProgressToken>,
    /// The least serious log message the client wants; `None` when it wants none.
    pub(crate) log_level: Option<LoggingLevel>,
}

/// What a handler sees of its call: the state, the client, progress, log messages, cancellation, and questions to the client.
///
/// A handler runs on a worker thread of its lane. It may block, lock, sleep and compute; only the capacity of its own lane suffers. A cancelled call
/// keeps its worker until the handler returns, so a long handler should call [`check`](Self::check) now and then, or wait with
/// [`sleep`](Self::sleep).
///
/// ```
/// use mcp_threads::{Cancelled, RequestContext};
/// fn count(cx: &mut RequestContext) -> Result<&'static str, Cancelled> {
///     for step in 0..3 {
///         cx.check()?;
///         cx.progress((f64::from(step), 3.0, "counting"));
///     }
///     Ok("three")
/// }
/// ```
pub struct RequestContext<S = ()> {
    state: S,
    call: Arc<dyn CallControl>,
    last_progress: Option<f64>,
}

impl<S> RequestContext<S> {
    pub(crate) fn new(state: S, call: Arc<dyn CallControl>) -> Self {
        RequestContext {
            state,
            call,
            last_progress: None,
        }
    }

    pub(crate) fn control(&self) -> &dyn CallControl {
        &*self.call
    }

    /// The name of the tool or prompt that was called, or the URI of the resource.
    pub fn target(&self) -> &str {
        &self.call.info().target
    }

    /// This call's own copy of the state, made with [`Fork`](crate::Fork).
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The same, to change. No other call sees the change.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// The id of this request in the log: the client's `X-Request-Id` header, or else a new UUID. Not the JSON-RPC id.
    pub fn request_id(&self) -> &str {
        self.call.info().tag.as_str()
    }

    /// The trace context that the client sent with this request; empty if there was none. Specification: `basic/index` ("`_meta`").
    pub fn trace(&self) -> &TraceContext {
        self.call.info().trace.as_deref().unwrap_or(&NO_TRACE)
    }

    /// The client that sent this request.
    pub fn client(&self) -> &Client {
        self.call.info().client.get()
    }

    /// What the server is doing now: lanes, connections, sessions. Never waits, so that a tool on the `urgent` lane can show it when
    /// everything else is stuck.
    pub fn stats(&self) -> Stats {
        self.call.stats()
    }

    /// Whether the call has been cancelled: its client said so, or left, or the deadline of a shutdown has passed. A client that leaves cancels its
    /// modern calls, and every call on a pipe; a handshake-era call over HTTP goes on, for its client can come back for the answer.
    /// Specification: `basic/patterns/cancellation`.
    pub fn cancelled(&self) -> bool {
        self.call.cancellation().is_cancelled()
    }

    /// Call it with `?` to leave a handler whose call has been cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] when the call has been cancelled. What the handler returns is then dropped.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }

    /// Says that the handler makes progress, for the watchdog; see [`Tool::liveness`](crate::Tool::liveness). Costs next to nothing. Call it where work has
    /// been done (a row read, a message received), not where a timer has run. [`progress`](Self::progress) and the output of a command say it too.
    #[track_caller]
    pub fn alive(&self) {
        self.call.pulse().beat(pulse::ALIVE, Location::caller());
    }

    /// The same for what the library does in the handler's name at `place`.
    pub(crate) fn beat(&self, what: &'static str, place: &'static Location<'static>) {
        self.call.pulse().beat(what, place);
    }

    /// Waits in one of the library's own places, for `what`, as long as the guard lives: silence does not grow meanwhile, nor is it forgotten. The text
    /// stands in the log if the call is given up, so it should name the claim and who holds it.
    pub(crate) fn waiting(&self, what: impl Into<Cow<'static, str>>) -> Pause {
        Pause {
            number: self.call.pulse().begin_wait(what.into()),
            call: Arc::clone(&self.call),
        }
    }

    /// Sleeps, and wakes at once when the call is cancelled. To the watchdog a sleep is no sign of life; it pauses only while it lasts.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] when the call was cancelled before or while it slept.
    pub fn sleep(&self, duration: Duration) -> Result<(), Cancelled> {
        let _paused = self.call.pulse().waiting("a sleep");
        if self.call.cancellation().wait(duration) {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }

    /// The cancellation itself, to clone into a thread or to put into a `select!`.
    ///
    /// Another thread that holds a clone, and knows that the handler hangs, can say so: [`CancellationToken::give_up`].
    pub fn cancellation(&self) -> &CancellationToken {
        self.call.kept_cancellation()
    }

    /// Reports progress, if the client asked for it (with a `progressToken`). Never waits.
    ///
    /// Takes a number, a pair of number and total, or a triple of number, total and message. The number must grow from report to report; one that
    /// does not is left out, as the specification demands. When the client reads too slowly, the oldest reports are dropped.
    /// Specification: `basic/patterns/progress`.
    #[track_caller]
    pub fn progress(&mut self, progress: impl Into<Progress>) {
        self.beat(pulse::PROGRESS, Location::caller());
        self.report(progress.into());
    }

    /// The same without its being a sign of life.
    pub(crate) fn report(&mut self, mut progress: Progress) {
        progress.total = progress.total.filter(|total| total.is_finite());
        let Some(token) = &self.call.info().progress_token else {
            return;
        };
        let grows = self
            .last_progress
            .is_none_or(|last| progress.progress > last);
        if !grows || !progress.progress.is_finite() {
            return;
        }
        self.last_progress = Some(progress.progress);
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Params<'a> {
            progress_token: &'a ProgressToken,
            #[serde(flatten)]
            progress: &'a Progress,
        }
        let params = Params {
            progress_token: token,
            progress: &progress,
        };
        let notification = jsonrpc::notification("notifications/progress", &params);
        self.call.send_event(notification, EventKind::Progress);
    }

    /// Says in a progress report what the call waits for. Its number hardly grows, so that it does not get in the way of the handler's own.
    pub(crate) fn report_wait(&mut self, message: String) {
        let last = self.last_progress;
        let next = last.map_or(0.0, |last| last + last.abs().max(1.0) * 1e-6);
        self.report(Progress::new(next).message(message));
    }

    /// Sends a log message to the client, if the client wants messages of this level. Never waits. A value that cannot be JSON is left out.
    ///
    /// For your own log use the `log` crate. Specification: `server/utilities/logging`.
    pub fn log(&self, level: LoggingLevel, data: impl Serialize) {
        if self.call.info().log_level.is_none_or(|least| level < least) {
            return;
        }
        #[derive(Serialize)]
        struct Params {
            level: LoggingLevel,
            data: Value,
        }
        match serde_json::to_value(data) {
            Ok(data) => {
                let params = Params { level, data };
                let notification = jsonrpc::notification("notifications/message", &params);
                self.call.send_event(notification, EventKind::Message);
            }
            Err(error) => {
                log::warn!(
                    "a log message for the client is not JSON: {error} request_id={}",
                    self.request_id()
                );
            }
        }
    }
}

impl<S> RequestContext<S> {
    /// Ends the response stream of a long call but not the call, so that no connection has to stay open for all of it. The client reconnects and gets
    /// the events since then, and the answer. Never waits.
    ///
    /// Has an effect only over HTTP in a session of revision 2025-11-25, whose clients know that a stream may end early.
    /// Specification: `basic/transports` ("Sending Messages to the Server") of that revision.
    pub fn close_stream(&self) {
        self.call.close_stream();
    }
}

/// A wait in one of the library's own places; see [`RequestContext::waiting`]. Owns what it needs, so that the context can be used meanwhile.
pub(crate) struct Pause {
    call: Arc<dyn CallControl>,
    number: u64,
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.call.pulse().end_wait(self.number);
    }
}

impl<S: fmt::Debug> fmt::Debug for RequestContext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("state", &self.state)
            .field("request_id", &self.request_id())
            .field("cancelled", &self.cancelled())
            .finish_non_exhaustive()
    }
}

/// How far a call has come. Most are made from a tuple; see [`RequestContext::progress`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    progress: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
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

    /// What the number will be at the end.
    #[must_use]
    pub fn total(mut self, total: f64) -> Self {
        self.total = Some(total);
        self
    }

    /// A sentence for people.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
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

/// The call has been cancelled; leave it with `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call was cancelled")
    }
}

impl std::error::Error for Cancelled {}
