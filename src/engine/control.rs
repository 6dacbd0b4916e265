//! What a handler may know of its call and do about it: the engine's side of a request context.
//!
//! Everything it sends goes by the call's port; questions go to a session's client at once, or end the attempt. Must not know lanes or
//! transports.

use std::sync::{Arc, OnceLock};

use serde_json::json;
use serde_json::value::RawValue;

use crate::base::cancel::CancellationToken;
use crate::base::life::Span;
use crate::base::lock::Lock;
use crate::base::owner::Owner;
use crate::base::pulse::Pulse;
use crate::base::stats::Stats;
use crate::desk::jobs::Jobs;
use crate::desk::workspace::Seat;
use crate::engine::call::Call;
use crate::engine::record_port::progress_message;
use crate::engine::rounds::Rounds;
use crate::engine::shared::Shared;
use crate::handler::ask::{Ask, AskError};
#[cfg(unix)]
use crate::handler::command::children::Children;
use crate::handler::control::{CallControl, RequestInfo};
use crate::handler::workspace::Inside;
use crate::lane::Waits;
use crate::legacy::Asks;
use crate::outbox::EventKind;
use crate::protocol::change::Change;
use crate::protocol::jsonrpc;
use crate::protocol::tree::TreeRoom;
use crate::protocol::types::LoggingLevel;
use crate::protocol::version::Era;

/// A call as its handler has it.
pub(crate) struct Control {
    pub(crate) call: Arc<Call>,
    pub(crate) info: RequestInfo,
    pub(crate) asking: Asking,
    /// What it asks by its answer, and keeps. Only its own worker looks, so nobody waits here.
    pub(crate) rounds: Lock<Rounds>,
    /// The places of its lane for handlers that wait.
    pub(crate) waits: Arc<Waits>,
    pub(crate) last_progress: Lock<Option<f64>>,
    /// The background job that this is an attempt of.
    pub(crate) record: Option<(Arc<Jobs>, Arc<str>)>,
    /// Its place in a workspace, once its turn has come.
    pub(crate) inside: OnceLock<Inside>,
    /// The same for the watchdog, which takes the place from it.
    pub(crate) seat: OnceLock<Seat>,
    pub(crate) shared: Arc<Shared>,
}

/// How the client of a call is asked.
pub(crate) enum Asking {
    /// A handshake-era session's client: now, while the call runs.
    Session(Arc<Asks>),
    /// By an answer that wants more, after which the client comes back.
    Rounds,
    /// Not at all: what is completed is asked for while a person types.
    Never,
}

impl Control {
    pub(crate) fn new(
        call: Arc<Call>,
        info: RequestInfo,
        asking: Asking,
        waits: &Arc<Waits>,
        shared: &Arc<Shared>,
    ) -> Self {
        Control {
            call,
            info,
            asking,
            rounds: Lock::default(),
            waits: Arc::clone(waits),
            last_progress: Lock::default(),
            record: None,
            inside: OnceLock::new(),
            seat: OnceLock::new(),
            shared: Arc::clone(shared),
        }
    }

    /// Warns a client that wants log messages that some of what it should have heard was dropped.
    pub(crate) fn warn_of_dropped(&self) {
        let level = LoggingLevel::Warning;
        let dropped = self.call.dropped();
        if dropped > 0 && self.info.log_level.is_some_and(|least| level >= least) {
            let text = format!(
                "{dropped} events of this call were dropped, because they were not read in time"
            );
            let params = json!({ "level": level, "data": text });
            let warning = jsonrpc::notification("notifications/message", &params);
            self.send_event(warning, EventKind::Message);
        }
    }

    /// Asks a session's client on the call's own stream, and waits.
    fn ask_now(&self, asks: &Asks, ask: &Ask) -> Result<Box<RawValue>, AskError> {
        let _place = self.waits.take().ok_or_else(|| AskError::TooMany {
            lane: self.waits.lane().to_owned(),
            most: self.waits.most(),
        })?;
        let pending = asks.open(&self.shared.asks)?;
        let request = jsonrpc::request(&pending.id(), ask.method, &ask.params);
        let sent = self
            .call
            .with_outbox(|outbox, call| outbox.send_request(request, call));
        // Nobody reads there any more, if it has gone nowhere.
        let unread = sent.ok_or(AskError::Cancelled)?.ok_or(AskError::Left)?;
        let patience = self.shared.limits.ask_timeout;
        let paused = self.call.pulse.waiting("an answer of the client");
        let answer = pending.wait(self.call.token(), &unread, patience);
        drop(paused);
        if matches!(answer, Err(AskError::TimedOut)) {
            let params = json!({ "requestId": pending.id(), "reason": "no answer in time" });
            let cancelled = jsonrpc::notification("notifications/cancelled", &params);
            self.send_event(cancelled, EventKind::Message);
        }
        answer
    }
}

impl CallControl for Control {
    fn info(&self) -> &RequestInfo {
        &self.info
    }

    fn cancellation(&self) -> &CancellationToken {
        self.call.token()
    }

    fn kept_cancellation(&self) -> &CancellationToken {
        self.call.token().tell(&self.shared.liveness.nudge)
    }

    fn pulse(&self) -> &Pulse {
        &self.call.pulse
    }

    fn last_progress(&self) -> &Lock<Option<f64>> {
        &self.last_progress
    }

    fn send_event(&self, notification: Vec<u8>, kind: EventKind) {
        match &self.record {
            // Progress is what a job says of itself; nobody listens to its log messages.
            Some((jobs, id)) => {
                if let Some(message) = progress_message(&notification) {
                    jobs.tell(id, message);
                }
            }
            None => {
                self.call
                    .with_outbox(|outbox, call| outbox.send_event(notification, kind, call));
            }
        }
    }

    fn tree_room(&self) -> TreeRoom {
        TreeRoom::new(&self.shared.limits, &self.shared.memory)
    }

    fn is_lenient(&self) -> bool {
        self.shared.lenient_arguments
    }

    fn ask(&self, key: &str, ask: &Ask) -> Result<Box<RawValue>, AskError> {
        match &self.asking {
            Asking::Session(asks) => self.ask_now(asks, ask),
            Asking::Rounds => self.rounds.lock().ask(key, ask),
            Asking::Never => Err(AskError::NotHere),
        }
    }

    fn kept(&self, key: &str) -> Option<Box<RawValue>> {
        self.rounds.lock().kept(key)
    }

    fn keep(&self, key: &str, value: Box<RawValue>) {
        self.rounds.lock().keep(key, value);
    }

    fn close_stream(&self) {
        // In the modern era the end of the stream is the end of the call.
        if self.call.facts.era == Era::Legacy {
            self.call.with_outbox(|outbox, _| outbox.detach());
        }
    }

    fn changed(&self, change: Change<'_>) {
        self.shared.publish(change);
    }

    #[cfg(unix)]
    fn children(&self) -> Option<Arc<Children>> {
        Some(Arc::clone(&self.shared.children))
    }

    fn stats(&self) -> Stats {
        self.shared.stats()
    }

    fn workspace(&self) -> Option<&Inside> {
        self.inside.get()
    }

    fn owner(&self) -> &Owner {
        &self.call.facts.owner
    }

    fn job(&self) -> Option<(Arc<str>, Span)> {
        let (jobs, id) = self.record.as_ref()?;
        Some((Arc::clone(id), jobs.span(id)?))
    }

    fn session(&self) -> Option<Span> {
        self.call.client_span()
    }

    fn waits(&self) -> &Arc<Waits> {
        &self.waits
    }
}
