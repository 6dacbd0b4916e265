//! The engine from its start to its end: what it is made of, and how it drains.
//!
//! Must not know what a message means.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::base::budget::Budget;
use crate::base::cancel::{CancellationToken, Canceller, cancellation};
use crate::base::clock::{Clock, Tick};
use crate::base::deadline::after;
use crate::base::error::Error;
use crate::base::limits::Limits;
use crate::base::stats::Stats;
use crate::engine::call_job::CallJob;
use crate::engine::catalogue::Catalogue;
use crate::engine::identity::Identity;
use crate::engine::reply::shutting_down;
use crate::engine::rounds::RoundRules;
use crate::engine::seal::Sealer;
use crate::engine::subscriptions::Subscriptions;
#[cfg(unix)]
use crate::handler::command::children::Children;
use crate::handler::context::Overview;
use crate::handler::registration::Registration;
use crate::lane::{Lane, RunningLane};
use crate::legacy::{AskCounter, Sessions, Streams};
use crate::observe::access::{self, AccessLog, Observer, RequestTag};
use crate::outbox::{Accounts, Bounds, Outbox, OutboxReader, outbox};
use crate::protocol::results::CacheHint;
use crate::protocol::types::Implementation;

/// The server's mind: its catalogue, its lanes, its sessions.
pub(crate) struct Engine {
    pub(super) limits: Arc<Limits>,
    /// What is kept for all peers together.
    pub(super) memory: Arc<Budget>,
    /// The share of it for what is kept between requests, sessions and subscriptions: half, so that requests have the other half whatever is kept.
    pub(super) kept: Arc<Budget>,
    /// The accounts of what waits to be read. Events have a quarter, so that clients that do not read take nobody else's answers.
    waiting: Accounts,
    pub(super) identity: Arc<Identity>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) catalogue: Catalogue,
    /// What handlers that are registered while serving fork, whatever its type.
    pub(super) state: Arc<dyn Any + Send + Sync>,
    pub(super) rounds: Arc<RoundRules>,
    /// Requests of ours that legacy clients have not answered yet.
    pub(super) asks: Arc<AskCounter>,
    pub(super) lanes: Vec<RunningLane<CallJob>>,
    pub(super) sessions: Sessions,
    pub(super) subscriptions: Subscriptions,
    pub(super) draining: AtomicBool,
    /// Fires when a drain must not wait any longer.
    pub(super) hurry: CancellationToken,
    /// `None` once it has fired.
    pub(super) hurrier: Mutex<Option<Canceller>>,
    /// Open connections, kept by the transports.
    pub(super) connections: Arc<AtomicUsize>,
    /// Open event streams, kept by the transports.
    pub(super) streams: Arc<AtomicUsize>,
    /// The process groups of the commands that handlers run.
    #[cfg(unix)]
    pub(super) children: Arc<Children>,
    /// Given to calls, so that a handler can look at the whole.
    pub(super) me: Weak<Engine>,
    /// Ends what has been idle too long.
    clock: OnceLock<Clock>,
}

/// How often idle sessions are looked for, at most and at least.
const SWEEP_INTERVALS: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(30)];

/// What the engine is made of, before its threads start.
pub(crate) struct Plan {
    pub(crate) implementation: Implementation,
    pub(crate) instructions: Option<String>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) state: Arc<dyn Any + Send + Sync>,
    pub(crate) registrations: Vec<Result<Registration, String>>,
    pub(crate) list_cache: CacheHint,
    /// The key that seals what travels between rounds; a random one if it is `None`.
    pub(crate) seal_key: Option<Vec<u8>>,
    pub(crate) limits: Arc<Limits>,
}

impl Engine {
    /// Checks the plan and starts the lanes.
    pub(crate) fn start(plan: Plan) -> Result<Arc<Self>, Error> {
        let identity = Arc::new(Identity::new(plan.implementation, plan.instructions));
        let catalogue = Catalogue::new(
            plan.lanes
                .iter()
                .map(|lane| Arc::clone(&lane.name))
                .collect(),
            plan.limits.page_len,
            plan.list_cache,
            &identity.server_info,
        );
        for registration in plan.registrations {
            catalogue.add(registration.map_err(Error::configuration)?)?;
        }
        let rounds = Arc::new(RoundRules {
            sealer: plan
                .seal_key
                .map_or_else(Sealer::random, |key| Sealer::new(&key)),
            state_bytes_max: plan.limits.request_state_bytes_max,
            state_ttl: plan.limits.request_state_ttl,
        });
        let lanes = plan
            .lanes
            .into_iter()
            .map(RunningLane::start)
            .collect::<Result<_, _>>()?;
        let (hurrier, hurry) = cancellation();
        let memory = Budget::whole(plan.limits.memory_bytes_max);
        let engine = Arc::new_cyclic(|me| Engine {
            kept: memory.of_peer(plan.limits.memory_bytes_max / 2),
            waiting: Accounts {
                answers: Arc::clone(&memory),
                events: memory.of_peer(plan.limits.memory_bytes_max / 4),
            },
            memory,
            observer: Arc::new(AccessLog),
            identity,
            catalogue,
            state: plan.state,
            rounds,
            asks: Arc::default(),
            lanes,
            sessions: Sessions::new(plan.limits.sessions_max, plan.limits.session_idle_timeout),
            subscriptions: Subscriptions::default(),
            draining: AtomicBool::new(false),
            hurry,
            hurrier: Mutex::new(Some(hurrier)),
            connections: Arc::default(),
            streams: Arc::default(),
            #[cfg(unix)]
            children: Arc::default(),
            me: me.clone(),
            clock: OnceLock::new(),
            limits: plan.limits,
        });
        engine.tend_sessions()?;
        Ok(engine)
    }

    /// Sees to it that sessions end that nobody asks for any more, and that they make room when memory runs short.
    fn tend_sessions(&self) -> Result<(), Error> {
        let me = self.me.clone();
        self.memory.on_shortage(move |bytes| {
            if let Some(engine) = me.upgrade() {
                engine.subscriptions.prune();
                engine.sessions.free(bytes);
            }
        });
        let me = self.me.clone();
        let [least, most] = SWEEP_INTERVALS;
        let sweep = Tick {
            every: (self.limits.session_idle_timeout / 8).clamp(least, most),
            run: Box::new(move || {
                if let Some(engine) = me.upgrade() {
                    engine.sessions.sweep();
                    engine.subscriptions.prune();
                }
            }),
        };
        let clock = Clock::start(vec![sweep])?;
        assert!(self.clock.set(clock).is_ok(), "it is started once");
        Ok(())
    }

    /// Who sees every request's end.
    pub(crate) fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }

    /// A way out for one exchange or one pipe.
    pub(crate) fn outbox(&self, bounds: Bounds) -> (Outbox, OutboxReader) {
        outbox(bounds, self.waiting.clone(), &self.observer)
    }

    /// The account of the whole server, for the transports to charge.
    pub(crate) fn memory(&self) -> &Arc<Budget> {
        &self.memory
    }

    /// The number of open connections, for the transports to keep.
    pub(crate) fn connections(&self) -> &Arc<AtomicUsize> {
        &self.connections
    }

    /// The number of open event streams, for the transports to keep.
    pub(crate) fn streams(&self) -> &Arc<AtomicUsize> {
        &self.streams
    }

    /// Notes for the access log whose session this is, of a request that only the transport sees.
    pub(crate) fn note_session(&self, tag: &RequestTag, session_id: &str) {
        if access::is_logged()
            && let Some(session) = self.sessions.find(session_id)
        {
            session.note_on(tag);
        }
    }

    /// Ends a legacy session; see [`Sessions::end`].
    pub(crate) fn end_session(&self, id: &str) -> bool {
        self.sessions.end(id)
    }

    /// The streams of the legacy session with this id, if there is one.
    pub(crate) fn streams_of(&self, session_id: &str) -> Option<Arc<Streams>> {
        let session = self.sessions.find(session_id)?;
        Some(Arc::clone(&session.streams))
    }

    /// Refuses new calls from now on, and ends what would go on for ever.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
        for lane in &self.lanes {
            // All at once, so that none waits for the patience with another.
            lane.refuse_more();
        }
        self.sessions.end_listening();
        self.end_subscriptions();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Lets what was accepted finish until `deadline` or until someone is in a hurry, cancels the rest, and waits `grace` for it. Says how many
    /// handlers had not returned by then; their threads are given up.
    pub(crate) fn drain(&self, deadline: Instant, grace: Duration) -> usize {
        self.begin_drain();
        let hurry = self.hurry.channel();
        let mut late: Vec<_> = self
            .lanes
            .iter()
            .filter(|lane| lane.close(deadline, hurry) > 0)
            .collect();
        if late.is_empty() {
            self.end_children();
            return 0;
        }
        self.cancel_all();
        let deadline = after(grace);
        let never = crossbeam_channel::never();
        late.retain(|lane| lane.close(deadline, &never) > 0);
        // A handler whose command has ignored its SIGTERM for all of the grace returns when the command is dead.
        self.end_children();
        late.iter()
            .map(|lane| abandon(lane, after(KILLED_GRACE)))
            .sum()
    }

    /// Ends what is left of the commands that handlers have run.
    fn end_children(&self) {
        #[cfg(unix)]
        match self.children.end_all(after(KILLED_GRACE)) {
            0 => {}
            left => log::error!("{left} process groups of commands are left; they were killed"),
        }
    }

    /// Whether somebody has lost patience with a drain.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurry.is_cancelled()
    }

    /// Cancels every call, running or queued, and ends the patience of a drain. Each client is told why.
    pub(crate) fn cancel_all(&self) {
        self.begin_drain();
        if let Some(hurrier) = self
            .hurrier
            .lock()
            .expect("no code panics while it holds the hurrier")
            .take()
        {
            hurrier.cancel();
        }
        let error = shutting_down();
        for lane in &self.lanes {
            for job in lane.take_queued() {
                job.responder.0.abort(&error);
            }
            for call in lane.running() {
                call.abort(&error);
            }
        }
    }
}

/// How long what has been killed may take to be gone, and its handler to return.
const KILLED_GRACE: Duration = Duration::from_millis(500);

/// Waits for a lane whose calls have been cancelled, and gives up what does not return.
fn abandon(lane: &RunningLane<CallJob>, deadline: Instant) -> usize {
    let abandoned = lane.close(deadline, &crossbeam_channel::never());
    if abandoned > 0 {
        log::error!(
            "lane `{}`: {abandoned} handlers ignored their cancellation and are abandoned",
            lane.name()
        );
    }
    abandoned
}

impl Overview for Engine {
    fn stats(&self) -> Stats {
        Stats {
            lanes: self.lanes.iter().map(RunningLane::stats).collect(),
            connections: self.connections.load(Ordering::Relaxed),
            streams: self.streams.load(Ordering::Relaxed),
            sessions: self.sessions.len(),
            asks: self.asks.open(),
            subscriptions: self.subscriptions.len(),
            draining: self.is_draining(),
        }
    }
}
