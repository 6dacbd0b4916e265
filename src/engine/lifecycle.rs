//! The engine from its start to its end: what it is made of, and how it drains.
//!
//! Must not know what a message means.

use std::any::Any;
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::base::budget::Budget;
use crate::base::cancel::{CancellationToken, Canceller, cancellation};
use crate::base::clock::Clock;
use crate::base::error::Error;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::owner::Owner;
use crate::base::panics;
use crate::base::stats::Stats;
use crate::base::waiting::after;
use crate::engine::background::{Lanes, Starter};
use crate::engine::call::CallsInFlight;
use crate::engine::catalogue::Catalogue;
use crate::engine::desk_plan::{DeskPlan, OpenedDesk};
use crate::engine::desk_tools;
use crate::engine::errors::shutting_down;
use crate::engine::identity::Identity;
use crate::engine::rounds::RoundRules;
use crate::engine::shared::Shared;
use crate::engine::stalled::{Liveness, OnStalled};
use crate::engine::subscriptions::Subscriptions;
use crate::engine::work::QueuedCall;
use crate::handler::client::Client;
use crate::handler::registration::Registration;
use crate::lane::{Lane, RunningLane};
use crate::legacy::{Session, SessionTable, Sessions, Streams};
use crate::observe::access::{self, AccessLog, Observer, RequestTag};
use crate::outbox::{Accounts, Bounds, Outbox, OutboxReceiver, outbox};
use crate::protocol::change::Change;
use crate::protocol::errors::ErrorObject;
use crate::protocol::results::CacheHint;
use crate::protocol::types::Implementation;
use crate::protocol::version::ProtocolVersion;

/// The engine: what its calls share, and the lanes that run them.
pub(crate) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: Arc<Lanes>,
    /// `None` once it has fired.
    hurrier: Lock<Option<Canceller>>,
    /// Ends what has been idle too long.
    _clock: Clock,
}

/// What the engine is made of, before its threads start.
pub(crate) struct EnginePlan {
    pub(crate) implementation: Implementation,
    pub(crate) instructions: Option<String>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) registrations: Vec<Result<Registration, String>>,
    pub(crate) list_cache: CacheHint,
    /// The key that seals what travels between rounds; a random one if it is `None`.
    pub(crate) seal_key: Option<Vec<u8>>,
    pub(crate) legacy_sessions: Sessions,
    pub(crate) request_headers: Vec<Arc<str>>,
    pub(crate) lenient_arguments: bool,
    pub(crate) limits: Arc<Limits>,
    pub(crate) desk: DeskPlan,
    /// How long a call may be silent whose tool and lane say nothing of it.
    pub(crate) liveness: Option<Duration>,
    pub(crate) on_stalled: Option<OnStalled>,
}

impl Engine {
    /// Checks the plan and starts the lanes.
    pub(crate) fn start(
        mut plan: EnginePlan,
        state: Arc<dyn Any + Send + Sync>,
    ) -> Result<Arc<Self>, Error> {
        let desk = mem::take(&mut plan.desk);
        let (registrations, lanes) = (&plan.registrations, &mut plan.lanes);
        let mut desk = OpenedDesk::open(desk, registrations, lanes, &plan.limits)?;
        let interrupted = mem::take(&mut desk.interrupted);
        let registrations = mem::take(&mut plan.registrations);
        let lanes = mem::take(&mut plan.lanes);
        let lanes = start_lanes(lanes, plan.liveness)?;
        let (hurrier, hurry) = cancellation();
        let (liveness, nudges) = Liveness::start(plan.on_stalled.take())?;
        let shared = Arc::new(share(plan, state, desk, &lanes, hurry, liveness));
        for registration in registrations {
            let registration = registration.map_err(Error::configuration)?;
            shared.catalogue.add(registration)?;
        }
        shared.make_room_on_shortage();
        shared.tell_of_jobs();
        for registration in desk_tools::all(&shared) {
            shared.catalogue.add(registration)?;
        }
        let ticks = vec![shared.sweep(), shared.sweep_desk(), shared.watch(&lanes)];
        let engine = Arc::new(Engine {
            _clock: Clock::start(ticks, nudges)?,
            shared,
            lanes,
            hurrier: Lock::new(Some(hurrier)),
        });
        engine.resume(interrupted);
        Ok(engine)
    }

    /// What can start calls and jobs.
    pub(super) fn starter(&self) -> Starter {
        Starter {
            shared: Arc::clone(&self.shared),
            lanes: Arc::downgrade(&self.lanes),
        }
    }

    /// Runs jobs again that the end of another server has interrupted.
    fn resume(&self, interrupted: Vec<Arc<str>>) {
        for id in interrupted {
            if let Some(ticket) = self.lanes[self.shared.jobs_lane].ticket() {
                self.starter().attempt(&id, ticket);
            }
        }
    }

    /// Who sees every request's end.
    pub(crate) fn observer(&self) -> &Arc<dyn Observer> {
        &self.shared.observer
    }

    /// A way out for one exchange or one pipe.
    pub(crate) fn outbox(&self, bounds: Bounds) -> (Outbox, OutboxReceiver) {
        outbox(bounds, self.shared.waiting.clone(), &self.shared.observer)
    }

    /// The account of the bodies that arrive, for the transports to charge.
    pub(crate) fn bodies(&self) -> &Arc<Budget> {
        &self.shared.bodies
    }

    /// The number of open connections, for the transports to keep.
    pub(crate) fn connections(&self) -> &Arc<AtomicUsize> {
        &self.shared.connections
    }

    /// The number of open event streams, for the transports to keep.
    pub(crate) fn streams(&self) -> &Arc<AtomicUsize> {
        &self.shared.streams
    }

    /// Notes for the access log whose session this is, of a request that only the transport sees.
    pub(crate) fn note_session(&self, tag: &RequestTag, session_id: &str) {
        if access::is_logged()
            && let Some(session) = self.shared.sessions.find(session_id)
        {
            session.note_on(tag);
        }
    }

    /// What becomes of sessions over HTTP.
    pub(crate) fn legacy_sessions(&self) -> Sessions {
        self.shared.legacy_sessions
    }

    /// Ends a session because its client says so; see [`SessionTable::delete`].
    pub(crate) fn end_session(&self, id: &str) -> bool {
        let ended = match self.shared.legacy_sessions {
            Sessions::Adopt => self.shared.sessions.delete(id),
            Sessions::Kept | Sessions::Stateless => self.shared.sessions.end(id),
        };
        self.shared.sweep_workspaces();
        ended
    }

    /// The streams of the session with this id, whose client names this version, if there is one or it is adopted.
    pub(crate) fn streams_of(&self, id: &str, version: Option<&str>) -> Option<Arc<Streams>> {
        let version = version.and_then(ProtocolVersion::parse);
        let session = self.session(id, version)?;
        Some(Arc::clone(&session.streams))
    }

    /// The living session with this id, or a fresh one if it may be adopted.
    pub(super) fn session(
        &self,
        id: &str,
        version: Option<ProtocolVersion>,
    ) -> Option<Arc<Session>> {
        let Shared {
            sessions,
            legacy_sessions,
            limits,
            kept,
            ..
        } = &*self.shared;
        let found = sessions.find(id);
        if found.is_some() || *legacy_sessions != Sessions::Adopt || !sessions.may_adopt(id) {
            return found;
        }
        let client = Client::unknown(version);
        let owner = Owner::Session(id.into());
        let calls = Arc::new(CallsInFlight::with_twins());
        let mut session = Session::new(owner, client, calls, limits, kept).ok()?;
        session.is_adopted = true;
        sessions.open(session)?;
        sessions.find(id)
    }

    /// A session for one request that stands alone. Nothing is kept in it, so it is on nobody's account.
    pub(super) fn lone_session(&self, version: Option<ProtocolVersion>) -> Option<Arc<Session>> {
        let limits = &self.shared.limits;
        let nobodys = Budget::whole(usize::MAX);
        let client = Client::unknown(version);
        let session = Session::new(Owner::Nobody, client, Arc::default(), limits, &nobodys);
        session.ok().map(Arc::new)
    }

    /// Refuses new calls from now on, and ends what would go on for ever.
    pub(crate) fn begin_drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
        for lane in &*self.lanes {
            // All at once, so that none waits for the patience with another.
            lane.refuse_more();
        }
        self.shared.desk.watch.end();
        self.shared.sessions.end_listening();
        self.shared
            .subscriptions
            .end(&self.shared.identity.server_info);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// See [`Shared::stats`].
    pub(crate) fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// See [`Shared::publish`].
    pub(crate) fn publish(&self, change: Change<'_>) {
        self.shared.publish(change);
    }

    /// Lets what was accepted finish until `deadline` or until someone is in a hurry, cancels the rest, and waits `grace` for it. Says how many
    /// handlers had not returned by then; their threads are given up.
    pub(crate) fn drain(&self, deadline: Instant, grace: Duration) -> usize {
        self.begin_drain();
        let hurry = self.shared.hurry.channel();
        self.drain_jobs(deadline, hurry);
        let mut late: Vec<_> = self
            .lanes
            .iter()
            .filter(|lane| lane.close(deadline, hurry) > 0)
            .collect();
        if late.is_empty() {
            self.end_children();
            return self.left_behind();
        }
        self.cancel_all();
        let deadline = after(grace);
        let never = crossbeam_channel::never();
        late.retain(|lane| lane.close(deadline, &never) > 0);
        // A handler whose command has ignored its SIGTERM for all of the grace returns when the command is dead.
        self.end_children();
        let late: usize = late
            .iter()
            .map(|lane| abandon(lane, after(KILLED_GRACE)))
            .sum();
        late + self.left_behind()
    }

    /// How many handlers had been given up before, and have not returned.
    fn left_behind(&self) -> usize {
        self.lanes.iter().map(RunningLane::abandoned).sum()
    }

    /// Lets jobs finish until their own deadline, if they have one. What is cut is recorded; what is still queued has a record that says so, too.
    fn drain_jobs(&self, deadline: Instant, hurry: &Receiver<Infallible>) {
        let Some(patience) = self.shared.desk.drain_deadline else {
            return;
        };
        let lane = &self.lanes[self.shared.jobs_lane];
        if lane.close(deadline.min(after(patience)), hurry) > 0 {
            abort_all(lane, &shutting_down());
        }
    }

    /// Ends what is left of the commands that handlers have run.
    fn end_children(&self) {
        #[cfg(unix)]
        match self.shared.children.end_all(after(KILLED_GRACE)) {
            0 => {}
            left => log::error!("{left} process groups of commands are left; they were killed"),
        }
    }

    /// Whether somebody has lost patience with a drain.
    pub(crate) fn is_hurried(&self) -> bool {
        self.shared.is_hurried()
    }

    /// Cancels every call, running or queued, and ends the patience of a drain. Each client is told why.
    pub(crate) fn cancel_all(&self) {
        self.begin_drain();
        if let Some(hurrier) = self.hurrier.lock().take() {
            hurrier.cancel();
        }
        let error = shutting_down();
        let workspaces = self.shared.desk.workspaces.as_ref();
        let closed = workspaces.map(|(workspaces, _)| workspaces.close_all());
        for lane in &*self.lanes {
            abort_all(lane, &error);
        }
        // Last, for a value may take its time or panic while it is dropped.
        for one in closed.into_iter().flatten() {
            if let Err(panic) = panics::catch(|| drop(one)) {
                log::error!("a workspace panicked while it was dropped: {panic}");
            }
        }
    }
}

/// Starts the lanes.
fn start_lanes(lanes: Vec<Lane>, liveness: Option<Duration>) -> Result<Arc<Lanes>, Error> {
    let start = |mut lane: Lane| {
        lane.liveness = lane.liveness.or(liveness);
        RunningLane::start(lane)
    };
    lanes.into_iter().map(start).collect()
}

/// What all calls share: a catalogue that is still empty, the accounts, and everything that has a bound.
fn share(
    plan: EnginePlan,
    state: Arc<dyn Any + Send + Sync>,
    desk: OpenedDesk,
    lanes: &Lanes,
    hurry: CancellationToken,
    liveness: Liveness,
) -> Shared {
    let identity = Identity::new(plan.implementation, plan.instructions);
    let names = lanes.iter().map(|lane| Arc::clone(lane.name())).collect();
    let (limits, cache) = (plan.limits, plan.list_cache);
    let catalogue = Catalogue::new(names, limits.page_len, cache, &identity.server_info);
    let (memory, most) = (desk.memory, limits.memory_bytes_max);
    let waiting = Accounts {
        answers: Arc::clone(&memory),
        events: memory.of_peer(most / 4),
    };
    Shared {
        kept: memory.of_peer(most / 2),
        bodies: memory.of_peer(most / 2),
        waiting,
        memory,
        observer: Arc::new(AccessLog),
        identity,
        catalogue,
        state,
        rounds: RoundRules::new(plan.seal_key.as_deref(), &limits),
        asks: Arc::default(),
        sessions: SessionTable::new(limits.sessions_max, limits.session_idle_timeout),
        legacy_sessions: plan.legacy_sessions,
        request_headers: plan.request_headers,
        lenient_arguments: plan.lenient_arguments,
        subscriptions: Subscriptions::default(),
        liveness,
        desk: desk.desk,
        pools: desk.pools,
        jobs_lane: desk.jobs_lane,
        meters: lanes.iter().map(RunningLane::meter).collect(),
        #[cfg(unix)]
        children: Arc::default(),
        draining: AtomicBool::new(false),
        hurry,
        connections: Arc::default(),
        streams: Arc::default(),
        limits,
    }
}

fn abort_all(lane: &RunningLane<QueuedCall>, error: &ErrorObject) {
    for job in lane.take_queued() {
        job.responder.0.abort(error);
    }
    for control in lane.running() {
        control.call.abort(error);
    }
}

/// How long what has been killed may take to be gone, and its handler to return.
const KILLED_GRACE: Duration = Duration::from_millis(500);

/// Waits for a lane whose calls have been cancelled, and gives up what does not return.
fn abandon(lane: &RunningLane<QueuedCall>, deadline: Instant) -> usize {
    let abandoned = lane.close(deadline, &crossbeam_channel::never());
    if abandoned > 0 {
        log::error!(
            "lane `{}`: {abandoned} handlers ignored their cancellation and are abandoned",
            lane.name()
        );
    }
    abandoned
}
