//! [`CallControl`], by which a handler's call reaches the rest of the library, and which the engine implements; and the facts of a request.
//!
//! With it the context can be read, and tested, without an engine. Must not know lanes' threads or transports.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

#[cfg(all(feature = "scripts", unix))]
use crate::base::budget::Charge;
use crate::base::cancel::CancellationToken;
use crate::base::life::Span;
use crate::base::owner::Owner;
use crate::base::pulse::Pulse;
use crate::base::stats::Stats;
use crate::handler::ask::{Ask, AskError};
use crate::handler::client::ClientSource;
#[cfg(unix)]
use crate::handler::command::children::Children;
use crate::handler::progress::Progress;
use crate::handler::workspace::Inside;
use crate::lane::{Permit, Waits};
use crate::observe::access::RequestTag;
use crate::outbox::EventKind;
use crate::protocol::id::RequestId;
use crate::protocol::meta::TraceContext;
use crate::protocol::offer::Change;
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
    /// The last number that was reported as progress.
    fn last_progress(&self) -> Option<f64>;
    /// Tells whom it concerns how far it has come, if the number has grown. It is no sign of life by itself.
    fn progress(&self, progress: Progress);
    /// Sends a notification that belongs to this call; never waits, and goes nowhere once the call has ended.
    fn send_event(&self, notification: Vec<u8>, kind: EventKind);
    /// What JSON may take when it is read for this call.
    fn tree_room(&self) -> TreeRoom<'_>;
    /// Keeps the charge of what it answers with until it has been answered.
    #[cfg(all(feature = "scripts", unix))]
    fn keep_charged(&self, charge: Charge);
    /// Whether other spellings of arguments are taken.
    fn is_lenient(&self) -> bool;
    /// Asks the client, or says what it has answered already; where it comes back with its answers, ends the attempt. `lacking` are the capabilities
    /// that it would have to declare, if it did not.
    fn ask(&self, key: &str, ask: Ask, lacking: Option<Value>) -> Result<Box<RawValue>, AskError>;
    /// A value that an earlier attempt, or this one, has kept.
    fn kept(&self, key: &str) -> Option<Box<RawValue>>;
    fn keep(&self, key: &str, value: Box<RawValue>);
    /// Ends the response stream; the client comes back for the rest.
    fn close_stream(&self);
    /// Notifies the subscribers; never waits.
    fn changed(&self, change: Change<'_>);
    fn stats(&self) -> Stats;
    /// The process groups of the server that commands belong to.
    #[cfg(unix)]
    fn children(&self) -> &Arc<Children>;
    /// The workspace that the call is in, if its tool is in one.
    fn workspace(&self) -> Option<&Inside>;
    /// On whose behalf it runs.
    fn owner(&self) -> &Owner;
    /// The background job that it is an attempt of, if it is: its id, and how long it lives.
    fn job(&self) -> Option<(Arc<str>, Span)>;
    /// How long the session or the pipe lives that it came by, if there is one.
    fn session(&self) -> Option<Span>;
    /// The permits of its lane for handlers that wait.
    fn waits(&self) -> &Arc<Waits>;
    /// The one of them for which its job stood in line, if it did, once.
    fn handed_permit(&self) -> Option<Permit>;
    /// Its handler has done nothing, could not get a permit, and leaves: a job stands in line for one and begins anew, instead of ending with what is returned.
    fn postpone(&self);
}

/// The facts of one request that its handler may ask for. Immutable.
pub(crate) struct RequestInfo {
    pub(crate) tag: RequestTag,
    /// What the client named: a tool, a prompt, a resource's URI.
    pub(crate) target: Arc<str>,
    pub(crate) client: ClientSource,
    /// `None` when it is part of none; see [`TraceContext::read`].
    pub(crate) trace: Option<Box<TraceContext>>,
    pub(crate) progress_token: Option<RequestId>,
    /// The header fields that the server wants, by the names it wants them.
    pub(crate) headers: Vec<(Arc<str>, Box<str>)>,
    /// The least serious log message the client wants; `None` when it wants none.
    pub(crate) log_level: Option<LoggingLevel>,
}
