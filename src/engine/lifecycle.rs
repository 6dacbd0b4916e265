//! The engine from its start to its end: what it is made of, what comes and goes while it serves, and how it drains.
//!
//! Must not know what a message means.

use std::any::Any;
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::base::budget::Budget;
use crate::base::cancel::{CancellationToken, Canceller, cancellation};
use crate::base::clock::Clock;
use crate::base::errands::dropping;
use crate::base::error::Error;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::waiting::after;
use crate::desk::Desk;
use crate::engine::background::{Lanes, Standing, Starter};
use crate::engine::catalogue::{Catalogue, IfTaken};
use crate::engine::desk_plan::{DeskPlan, check_added};
use crate::engine::desk_tools;
use crate::engine::errors::shutting_down;
use crate::engine::identity::Identity;
use crate::engine::rounds::RoundRules;
use crate::engine::shared::Shared;
use crate::engine::stalled::{Liveness, OnStalled};
use crate::engine::subscriptions::Subscriptions;
use crate::engine::work::QueuedCall;
use crate::handler::registration::Registration;
use crate::lane::{Lane, RunningLane};
use crate::legacy::{SessionTable, Sessions};
use crate::outbox::Accounts;
use crate::pool::table::PoolTable;
use crate::protocol::errors::ErrorObject;
use crate::protocol::offer::{Change, OfferKind};
use crate::protocol::results::CacheHint;
use crate::protocol::types::Implementation;

/// The engine: what its calls share, and the lanes that run them.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(super) lanes: Arc<Lanes>,
    /// `None` once it has fired.
    hurrier: Lock<Option<Canceller>>,
    /// Ends what has been idle too long.
    _clock: Clock,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.desk.errands.end();
    }
}

/// What the engine is made of, before its threads start.
#[derive(Default)]
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
    /// The pools that the server looks after.
    pub(crate) pools: Vec<Arc<PoolTable>>,
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
        let memory = Budget::whole(plan.limits.memory_bytes_max);
        let desk = mem::take(&mut plan.desk);
        let mut lanes = mem::take(&mut plan.lanes);
        let (desk, interrupted) =
            desk.open(&plan.registrations, &mut lanes, &plan.limits, &memory)?;
        let registrations = mem::take(&mut plan.registrations);
        let lanes = start_lanes(lanes, plan.liveness)?;
        plan.pools.iter().for_each(|pool| pool.mark_swept());
        let (hurrier, hurry) = cancellation();
        let (liveness, nudges) = Liveness::start(plan.on_stalled.take())?;
        let shared = Arc::new(share(plan, state, (memory, desk), &lanes, hurry, liveness));
        for registration in registrations {
            let registration = registration.map_err(Error::configuration)?;
            shared.catalogue.put(registration, IfTaken::Refuse)?;
        }
        shared.make_room_on_shortage();
        shared.tell_of_jobs();
        for tool in desk_tools::all(&shared) {
            let registration = tool.into_registration(&Arc::new(()));
            let registration = registration.map_err(Error::configuration)?;
            shared.catalogue.put(registration, IfTaken::Refuse)?;
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
            if let Some(ticket) = self.lanes[self.shared.desk.jobs_lane].ticket() {
                self.starter().attempt(&id, ticket, Standing::Accepted);
            }
        }
    }

    /// Refuses new calls from now on, and ends what would go on for ever.
    pub(crate) fn begin_drain(&self) {
        for lane in &*self.lanes {
            // All at once, so that none waits for the patience with another.
            lane.refuse_more();
        }
        // After the lanes, so that a server that says that it drains takes no call any more.
        self.shared.draining.store(true, Ordering::Release);
        let desk = &self.shared.desk;
        desk.errands.run(desk.watch.end());
        self.shared.sessions.end_listening();
        self.shared
            .subscriptions
            .end(&self.shared.identity.server_info);
    }

    /// Adds something while serving, at the end of its list, or in the place of that of its name.
    pub(crate) fn put(&self, registration: Registration, if_taken: IfTaken) -> Result<(), Error> {
        let kind = registration.kind;
        check_added(&registration, &self.shared.desk)?;
        let replaced = self.shared.catalogue.put(registration, if_taken)?;
        self.shared.liveness.look_soon();
        self.shared.publish(Change::List(kind));
        // After it has been told, for a destructor may take its time.
        if let Some(callable) = replaced {
            self.shared.catalogue.discard(callable);
        }
        Ok(())
    }

    pub(crate) fn remove(&self, kind: OfferKind, name: &str) -> bool {
        let Some(removed) = self.shared.catalogue.offers(kind).remove(name) else {
            return false;
        };
        self.shared.publish(Change::List(kind));
        self.shared.catalogue.discard(removed);
        true
    }

    /// Offers something or keeps it back. False when there is none of that kind and name.
    pub(crate) fn enable(&self, kind: OfferKind, name: &str, enabled: bool) -> bool {
        let changed = self.shared.catalogue.offers(kind).enable(name, enabled);
        if changed == Some(true) {
            self.shared.publish(Change::List(kind));
        }
        changed.is_some()
    }

    /// The server's state, if it is of this type.
    pub(crate) fn state<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        Arc::clone(&self.shared.state).downcast().ok()
    }

    /// Lets what was accepted finish until `deadline` or until someone is in a hurry, cancels the rest, and waits `grace` for it. Says how many
    /// handlers had not returned by then, whose threads are given up, and how many errands the store of jobs has left undone.
    pub(crate) fn drain(&self, deadline: Instant, grace: Duration) -> (usize, usize) {
        self.begin_drain();
        let hurry = self.shared.hurry.channel();
        self.drain_jobs(deadline, hurry);
        let mut late: Vec<_> = self
            .lanes
            .iter()
            .filter(|lane| lane.close(deadline, hurry) > 0)
            .collect();
        let errands = &self.shared.desk.errands;
        if errands.settle(deadline, hurry) == 0 && late.is_empty() {
            self.end_children(after(KILLED_GRACE));
            return (self.left_behind(), 0);
        }
        self.cancel_all();
        // One deadline for all of them together, however many lanes there are.
        let (deadline, last) = (after(grace), after(grace.saturating_add(KILLED_GRACE)));
        let never = crossbeam_channel::never();
        late.retain(|lane| lane.close(deadline, &never) > 0);
        let unstored = errands.settle(deadline, &never);
        if unstored > 0 {
            log::error!("the job store hangs: {unstored} ends of jobs or waits for one are left");
        }
        // A handler whose command has ignored its SIGTERM for all of the grace returns when the command is dead.
        self.end_children(last);
        let late: usize = late.iter().map(|lane| abandon(lane, last)).sum();
        (late + self.left_behind(), unstored)
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
        let lane = &self.lanes[self.shared.desk.jobs_lane];
        if lane.close(deadline.min(after(patience)), hurry) > 0 {
            self.shared.desk.is_over.store(true, Ordering::SeqCst);
            abort_all(lane, &shutting_down());
        }
    }

    /// Ends what is left of the commands that handlers have run.
    fn end_children(&self, deadline: Instant) {
        #[cfg(not(unix))]
        let _there_are_none = deadline;
        #[cfg(unix)]
        match self.shared.children.end_all(deadline) {
            0 => {}
            left => log::error!("{left} process groups of commands are left; they were killed"),
        }
    }

    /// Cancels every call, running or queued, and ends the patience of a drain. Each client is told why.
    pub(crate) fn cancel_all(&self) {
        self.begin_drain();
        if let Some(hurrier) = self.hurrier.lock().take() {
            hurrier.cancel();
        }
        let error = shutting_down();
        let workspaces = self.shared.desk.workspaces.as_ref();
        let closed = workspaces.map(|(workspaces, _)| (workspaces, workspaces.close_all()));
        for lane in &*self.lanes {
            abort_all(lane, &error);
        }
        for call in self.shared.waiting_for_jobs() {
            call.abort(&error);
        }
        // Last, for a value may take its time while it is dropped.
        if let Some((workspaces, closed)) = closed {
            let closed = closed.into_iter().map(dropping);
            workspaces.waste.run_and_wait(closed);
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
    (memory, desk): (Arc<Budget>, Desk),
    lanes: &Lanes,
    hurry: CancellationToken,
    liveness: Liveness,
) -> Shared {
    let identity = Identity::new(plan.implementation, plan.instructions);
    let names = lanes.iter().map(|lane| Arc::clone(lane.name())).collect();
    let (limits, cache) = (plan.limits, plan.list_cache);
    let catalogue = Catalogue::new(names, limits.page_len, cache, &identity.server_info);
    let most = limits.memory_bytes_max;
    let waiting = Accounts {
        answers: Arc::clone(&memory),
        events: memory.of_peer(most / 4),
    };
    Shared {
        kept: memory.of_peer(most / 2),
        bodies: memory.of_peer(most / 2),
        waiting,
        memory,
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
        desk,
        pools: plan.pools,
        parked: Lock::default(),
        meters: lanes.iter().map(RunningLane::meter).collect(),
        waits: lanes.iter().map(RunningLane::waits).cloned().collect(),
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
    for queued in lane.take_queued() {
        queued.control.call.abort(error);
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
