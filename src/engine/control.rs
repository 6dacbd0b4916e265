//! What a handler may know of its call and do about it: the engine's side of a request context.
//!
//! Everything it sends goes by the call's port; questions go to a session's client at once, or end the attempt. Must not know how a lane
//! runs, or transports.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::base::budget::Budget;
#[cfg(all(feature = "scripts", unix))]
use crate::base::budget::Charge;
use crate::base::cancel::CancellationToken;
use crate::base::life::Span;
use crate::base::lock::Lock;
use crate::base::owner::Owner;
use crate::base::pulse::Pulse;
use crate::base::stats::Stats;
use crate::desk::jobs::Jobs;
use crate::desk::workspace::Seat;
use crate::engine::call::Call;
use crate::engine::rounds::Rounds;
use crate::engine::shared::Shared;
use crate::handler::ask::{Ask, AskError, is_answer_to};
#[cfg(unix)]
use crate::handler::command::children::Children;
use crate::handler::control::{CallControl, RequestInfo};
use crate::handler::progress::Progress;
use crate::handler::workspace::Inside;
use crate::lane::{Permit, Waits};
use crate::legacy::Asks;
use crate::outbox::EventKind;
use crate::protocol::jsonrpc;
use crate::protocol::offer::Change;
use crate::protocol::text::write_json;
use crate::protocol::tree::TreeRoom;
use crate::protocol::types::LoggingLevel;
use crate::protocol::version::Era;

/// A call as its handler has it.
pub(crate) struct Control {
    pub(crate) call: Arc<Call>,
    pub(crate) info: RequestInfo,
    pub(crate) asking: Asking,
    /// What it asks by its answer, and keeps, if it does or was given something. Only its own worker looks, so nobody waits here.
    pub(crate) rounds: Lock<Option<Box<Rounds>>>,
    /// Whether a job follows that is to have the answers.
    pub(crate) precedes_job: bool,
    /// The index of the lane that it runs on.
    pub(crate) lane: usize,
    pub(crate) last_progress: Lock<Option<f64>>,
    /// The background job that this is an attempt of.
    pub(crate) record: Option<(Arc<Jobs>, Arc<str>)>,
    /// The memory that was not there when its job last wanted some.
    pub(crate) wanted: AtomicUsize,
    /// Its place in a workspace, once its turn has come.
    pub(crate) inside: OnceLock<Box<Inside>>,
    /// The same for the watchdog, which takes the place from it.
    pub(crate) seat: OnceLock<Seat>,
    /// What it stood in line for, until its handler takes it.
    pub(crate) permit: Lock<Option<Permit>>,
    /// Whether its job is to begin anew.
    pub(crate) is_postponed: AtomicBool,
    /// The account of its session's calls, if it has one.
    pub(crate) memory: Option<Arc<Budget>>,
    pub(crate) shared: Arc<Shared>,
}

/// How the client of a call is asked.
pub(crate) enum Asking {
    /// A handshake-era session's client: now, while the call runs.
    Session(Arc<Asks>),
    /// By an answer that wants more, after which the client comes back.
    Rounds,
    /// Not at all: what is completed is asked for while a person types, and a job's client may follow no tasks. What it answered before is there.
    Never,
}

impl Control {
    pub(crate) fn new(
        call: Arc<Call>,
        info: RequestInfo,
        asking: Asking,
        lane: usize,
        shared: &Arc<Shared>,
    ) -> Self {
        Control {
            call,
            info,
            asking,
            rounds: Lock::default(),
            precedes_job: false,
            lane,
            last_progress: Lock::default(),
            record: None,
            wanted: AtomicUsize::new(0),
            inside: OnceLock::new(),
            seat: OnceLock::new(),
            permit: Lock::default(),
            is_postponed: AtomicBool::new(false),
            memory: None,
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
    fn ask_now(&self, asks: &Asks, key: &str, ask: &Ask) -> Result<Box<RawValue>, AskError> {
        let permit = self.waits().take();
        let _permit = permit.map_err(|(lane, most)| AskError::TooMany { lane, most })?;
        let pending = asks.open(&self.shared.asks)?;
        let request = jsonrpc::call(Some(&pending.id), ask.method, |out| {
            write_json(out, &ask.params);
        });
        let charge = self.shared.memory.charge(request.len());
        let charge = charge.map_err(|_| AskError::NoRoom)?;
        let params = json!({ "requestId": pending.id, "reason": "no answer is waited for" });
        let taken_back = jsonrpc::notification("notifications/cancelled", &params);
        let sent = self.call.with_outbox(|outbox, call| {
            *call.taken_back.lock() = Some(taken_back);
            outbox.send_request(request, charge, call)
        });
        // Nobody reads there any more, if it has gone nowhere.
        let unread = sent.ok_or(AskError::Cancelled)?.ok_or(AskError::Left)?;
        let patience = self.shared.limits.ask_timeout;
        let wait = self.call.pulse.begin_wait("an answer of the client".into());
        let answer = pending.wait(self.call.token(), &unread, patience);
        self.call.pulse.end_wait(wait);
        // Has been sent already if the call has ended.
        self.call.with_outbox(|outbox, call| {
            let taken_back = call.taken_back.lock().take();
            let taken_back = taken_back.filter(|_| answer.as_ref().is_err_and(is_in_vain));
            if let Some(taken_back) = taken_back {
                outbox.announce(taken_back, None);
            }
        });
        let (answer, charge) = answer?;
        if !is_answer_to(ask.method, &answer) {
            let problem = format!("it is no answer to `{}`", ask.method);
            return Err(AskError::Invalid(problem));
        }
        let copy = self
            .precedes_job
            .then(|| self.shared.memory.charge(answer.get().len()));
        let copy = copy.transpose().map_err(|_| AskError::NoRoom)?;
        if charge.is_some() || copy.is_some() {
            let mut rounds = self.rounds.lock();
            let rounds = rounds.get_or_insert_default();
            match copy {
                Some(copy) => rounds.carry(key, &answer, copy),
                None => rounds.answered.clear(),
            }
            rounds.answered.extend(charge);
        }
        Ok(answer)
    }
}

/// Whether a question is still open that this is the end of.
fn is_in_vain(wait: &AskError) -> bool {
    matches!(wait, AskError::TimedOut | AskError::Cancelled)
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

    fn last_progress(&self) -> Option<f64> {
        *self.last_progress.lock()
    }

    fn progress(&self, progress: Progress) {
        // Held until it is said: reports of two threads must leave in the order of their numbers.
        let mut last = self.last_progress.lock();
        let Some(progress) = progress.after(&mut last) else {
            return;
        };
        if let Some((jobs, id)) = &self.record {
            let said = jobs.say(id, progress.into_sentence());
            drop(last);
            said.iter().for_each(|record| jobs.announce(record));
        } else if let Some(token) = &self.info.progress_token {
            self.send_event(progress.notification(token), EventKind::Progress);
        }
    }

    fn send_event(&self, notification: Vec<u8>, kind: EventKind) {
        self.call
            .with_outbox(|outbox, call| outbox.send_event(notification, kind, call));
    }

    fn tree_room(&self) -> TreeRoom<'_> {
        let Shared { limits, .. } = &*self.shared;
        let mut room = TreeRoom::new(limits, &self.shared.memory);
        if let Some(memory) = &self.memory {
            room = TreeRoom::new(limits, memory);
            room.left_max = memory.bytes_max();
        }
        if let Some((jobs, id)) = &self.record {
            room.left_max = limits.memory_bytes_max.saturating_sub(jobs.charged(id));
            room.wanted = Some(&self.wanted);
        }
        room
    }

    #[cfg(all(feature = "scripts", unix))]
    fn keep_charged(&self, charge: Charge) {
        let mut rounds = self.rounds.lock();
        rounds.get_or_insert_default().answered.push(charge);
    }

    fn is_lenient(&self) -> bool {
        self.shared.lenient_arguments
    }

    fn ask(&self, key: &str, ask: Ask, lacking: Option<Value>) -> Result<Box<RawValue>, AskError> {
        match &self.asking {
            Asking::Session(asks) => match lacking {
                Some(required) => Err(AskError::Unsupported {
                    required,
                    era: Era::Legacy,
                }),
                None => self.ask_now(asks, key, &ask),
            },
            Asking::Rounds => {
                let mut held = self.rounds.lock();
                let rounds = held.get_or_insert_default();
                let is_another = rounds.has_asked_another(key, &ask);
                let answer = rounds.ask(key, ask, lacking);
                // Its handler may survive the panic, and its answer needs the lock.
                drop(held);
                debug_assert!(
                    !is_another,
                    "the key `{key}` has been used for another question of this handler"
                );
                answer
            }
            Asking::Never => {
                let rounds = self.rounds.lock();
                let answered = rounds.as_ref().and_then(|rounds| rounds.answer(key));
                answered.ok_or(AskError::NotHere)
            }
        }
    }

    fn kept(&self, key: &str) -> Option<Box<RawValue>> {
        self.rounds.lock().as_ref()?.carried.kept.get(key).cloned()
    }

    fn keep(&self, key: &str, value: Box<RawValue>) {
        let mut rounds = self.rounds.lock();
        let kept = &mut rounds.get_or_insert_default().carried.kept;
        kept.insert(key.to_owned(), value);
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
    fn children(&self) -> &Arc<Children> {
        &self.shared.children
    }

    fn stats(&self) -> Stats {
        self.shared.stats()
    }

    fn workspace(&self) -> Option<&Inside> {
        self.inside.get().map(|inside| &**inside)
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
        &self.shared.waits[self.lane]
    }

    fn handed_permit(&self) -> Option<Permit> {
        self.permit.lock().take()
    }

    fn postpone(&self) {
        // In a workspace it would have to wait for its turn again.
        let can_wait = self.record.is_some() && self.inside.get().is_none();
        self.is_postponed.store(can_wait, Ordering::Relaxed);
    }
}
