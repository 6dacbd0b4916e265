//! [`RequestContext`], all that a handler sees of the server, and [`Reporter`], by which other threads report the progress of a call.
//!
//! It reaches the rest of the library through [`CallControl`]. Must not know lanes or transports.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::base::cancel::CancellationToken;
use crate::base::log;
use crate::base::pulse;
use crate::base::stats::Stats;
use crate::handler::client::Client;
use crate::handler::control::CallControl;
use crate::handler::progress::Progress;
use crate::outbox::EventKind;
use crate::protocol::jsonrpc;
use crate::protocol::meta::{NO_TRACE, TraceContext};
use crate::protocol::offer::{Change, OfferKind};
use crate::protocol::tree::TreeCharge;
use crate::protocol::types::LoggingLevel;

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
    /// What the client's answers take, which the handler may keep until it returns.
    answers: Vec<TreeCharge>,
}

impl<S> RequestContext<S> {
    pub(crate) fn new(state: S, call: Arc<dyn CallControl>) -> Self {
        RequestContext {
            state,
            call,
            answers: Vec::new(),
        }
    }

    /// Keeps the charge of an answer for as long as the handler runs.
    pub(crate) fn charged<T>(&mut self, (answer, charge): (T, Option<TreeCharge>)) -> T {
        self.answers.extend(charge);
        answer
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

    /// The address that the request came from: the client's, or that of the proxy in front. `None` on a pipe, on a Unix-domain socket and in a background job.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.call.info().tag.peer()
    }

    /// A header field of the HTTP request, one of those that [`Server::request_header`](crate::Server::request_header) names. `None` if the request has none or
    /// several of this name, and on a pipe and in a background job. Bytes of it that are not UTF-8 are read as Latin-1.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.call.info().headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&found.1)
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
        let _paused = self.waiting("a sleep");
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
    pub(crate) fn report(&self, progress: Progress) {
        self.call.progress(progress);
    }

    /// A handle that reports progress of this call from other threads.
    pub fn reporter(&self) -> Reporter {
        Reporter(Arc::clone(&self.call))
    }

    /// Says in a progress report what the call waits for. That is no sign of life, and its number hardly grows, so that it does not overtake the
    /// handler's own.
    pub(crate) fn report_wait(&self, message: String) {
        let last = self.call.last_progress();
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
        match serde_json::to_value(data) {
            Ok(data) => {
                let params = json!({ "level": level, "data": data });
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

    /// Ends the response stream of a long call but not the call, so that no connection has to stay open for all of it. The client reconnects and gets
    /// the events since then, and the answer. Never waits.
    ///
    /// Has an effect only over HTTP in a session of revision 2025-11-25, whose clients know that a stream may end early.
    /// Specification: `basic/transports` ("Sending Messages to the Server") of that revision.
    pub fn close_stream(&self) {
        self.call.close_stream();
    }

    /// Notifies the subscribed clients that the list of tools has changed (`notifications/tools/list_changed`). Never waits.
    /// [`ServerHandle::add_tool`](crate::ServerHandle::add_tool), `remove_tool` and `enable_tool` do this themselves.
    pub fn tools_changed(&self) {
        self.control().changed(Change::List(OfferKind::Tool));
    }

    /// Notifies the subscribed clients that the list of prompts has changed (`notifications/prompts/list_changed`). Never waits.
    pub fn prompts_changed(&self) {
        self.control().changed(Change::List(OfferKind::Prompt));
    }

    /// Notifies the subscribed clients that the list of resources or of templates has changed (`notifications/resources/list_changed`). Never waits.
    pub fn resources_changed(&self) {
        self.control().changed(Change::List(OfferKind::Resource));
    }

    /// Notifies the clients subscribed to this resource that its contents have changed (`notifications/resources/updated`). Never waits. URIs are
    /// compared as they are written.
    pub fn resource_updated(&self, uri: &str) {
        self.control().changed(Change::Resource(uri));
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

/// The call has been cancelled; leave it with `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call was cancelled")
    }
}

impl std::error::Error for Cancelled {}

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
    /// As [`RequestContext::progress`](crate::RequestContext::progress): the number must grow from report to report, whichever thread reports.
    #[track_caller]
    pub fn progress(&self, progress: impl Into<Progress>) {
        self.0.pulse().beat(pulse::PROGRESS, Location::caller());
        self.0.progress(progress.into());
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
