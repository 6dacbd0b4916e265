//! What everything in the engine shares, calls included: the catalogue, the sessions, who is told of changes, and what the bounds are.
//!
//! A call reaches the server by this and not by the engine, which owns the lanes and so the calls. Must not know how calls arrive or run.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::aside::AsideThreads;
use crate::base::budget::Budget;
use crate::base::cancel::CancellationToken;
use crate::base::clock::Tick;
use crate::base::errands::dropping;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::log;
use crate::base::owner::SESSION;
use crate::base::stats::Stats;
use crate::desk::Desk;
use crate::desk::wire::EXTENSION;
use crate::engine::call::Call;
use crate::engine::catalogue::Catalogue;
use crate::engine::identity::Identity;
use crate::engine::rounds::RoundRules;
use crate::engine::stalled::Liveness;
use crate::engine::subscriptions::{Subscriptions, notification};
#[cfg(unix)]
use crate::handler::command::children::Children;
use crate::lane::{Meter, Waits};
use crate::legacy::{AskCounter, SessionTable, Sessions};
use crate::outbox::Accounts;
use crate::pool::table::PoolTable;
use crate::protocol::offer::{Change, OfferKind};
use crate::protocol::version::Era;

pub(crate) struct Shared {
    pub(crate) limits: Arc<Limits>,
    /// What is kept for all peers together.
    pub(crate) memory: Arc<Budget>,
    /// The share of it for what is kept between requests, sessions and subscriptions: half, so that requests have the other half whatever is kept.
    pub(crate) kept: Arc<Budget>,
    /// The share of it for bodies that have not arrived whole: half, so that clients which never send the rest keep nobody's short requests out.
    pub(crate) bodies: Arc<Budget>,
    /// The accounts of what waits to be read. Events have a quarter, so that clients that do not read take nobody else's answers.
    pub(crate) waiting: Accounts,
    pub(crate) identity: Identity,
    pub(crate) catalogue: Catalogue,
    /// Whether arguments may be spelled otherwise than their schema has it.
    pub(crate) lenient_arguments: bool,
    /// The header fields that handlers may see.
    pub(crate) request_headers: Vec<Arc<str>>,
    /// What handlers that are registered while serving fork, whatever its type.
    pub(crate) state: Arc<dyn Any + Send + Sync>,
    pub(crate) rounds: RoundRules,
    /// Requests of ours that handshake-era clients have not answered yet.
    pub(crate) asks: Arc<AskCounter>,
    pub(crate) sessions: SessionTable,
    /// What becomes of sessions over HTTP.
    pub(crate) legacy_sessions: Sessions,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) meters: Vec<Meter>,
    /// The permits of each lane for handlers that wait.
    pub(crate) waits: Vec<Arc<Waits>>,
    /// Whom the watchdog tells of stalled calls.
    pub(crate) liveness: Liveness,
    /// Background jobs and workspaces.
    pub(crate) desk: Desk,
    /// Calls that wait for a change of a job, or for their errand after that. Those that have ended go with the next that comes.
    pub(crate) parked: Lock<Vec<Weak<Call>>>,
    /// What its handlers share and the server looks after.
    pub(crate) pools: Vec<Arc<PoolTable>>,
    /// The process groups of the commands that handlers run.
    #[cfg(unix)]
    pub(crate) children: Arc<Children>,
    /// Whether new calls are refused.
    pub(crate) draining: AtomicBool,
    /// Fires when somebody has lost patience with a drain.
    pub(crate) hurry: CancellationToken,
    /// Open connections, kept by the transports.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Open event streams, kept by the transports.
    pub(crate) streams: Arc<AtomicUsize>,
}

/// How often idle sessions are looked for, at most and at least.
const SWEEP_INTERVALS: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(30)];

/// How often the desk is looked over. Waits for a job end this late at most.
const DESK_INTERVAL: Duration = Duration::from_millis(250);

impl Shared {
    /// Sees to it that sessions make room when memory runs short. What requests take comes and goes: for that none ends, or one client with answers that it
    /// does not read would end those of all others.
    pub(crate) fn make_room_on_shortage(self: &Arc<Self>) {
        let on_shortage = |account: &Arc<Budget>, make_room: fn(&SessionTable, usize)| {
            let shared = Arc::downgrade(self);
            account.on_shortage(move |bytes| {
                if let Some(shared) = shared.upgrade() {
                    shared.subscriptions.prune();
                    make_room(&shared.sessions, bytes);
                }
            });
        };
        on_shortage(&self.memory, |sessions, bytes| {
            sessions.forget_what_waits(bytes);
        });
        on_shortage(&self.kept, SessionTable::free);
    }

    /// Ends the sessions that nobody asks for any more.
    pub(crate) fn sweep(self: &Arc<Self>) -> Tick {
        let [least, most] = SWEEP_INTERVALS;
        let shared = Arc::downgrade(self);
        let interval = (self.limits.session_idle_timeout / 8).clamp(least, most);
        Tick::every(interval, move || {
            if let Some(shared) = shared.upgrade() {
                shared.sessions.sweep();
                shared.subscriptions.prune();
            }
        })
    }

    /// Looks the desk over from time to time.
    pub(super) fn sweep_desk(self: &Arc<Self>) -> Tick {
        let shared = Arc::downgrade(self);
        // A store may hang, and nothing else of this may wait for it. One at a time: of errands there would be another with each tick.
        let aside = AsideThreads::new("the sweep of jobs", 1);
        Tick::every(DESK_INTERVAL, move || {
            if let Some(shared) = shared.upgrade() {
                shared.desk.errands.run(shared.desk.watch.sweep());
                shared.sweep_workspaces();
                shared.sweep_pools();
                shared.catalogue.sweep();
                if let Some(jobs) = &shared.desk.jobs
                    && jobs.has_to_be_swept()
                {
                    let jobs = Arc::clone(jobs);
                    aside.try_run(move || jobs.sweep());
                }
            }
        })
    }

    /// Closes workspaces that are idle or whose session has ended.
    pub(super) fn sweep_workspaces(&self) {
        let Some((workspaces, _)) = &self.desk.workspaces else {
            return;
        };
        let has_gone = |owner: &str| {
            let session = owner.strip_prefix(SESSION);
            session.is_some_and(|id| !self.sessions.lives(id))
        };
        let closed = workspaces.sweep(has_gone);
        for (workspace, _) in &closed {
            log::debug!("the workspace `{}` is closed", workspace.name);
        }
        let closed = closed.into_iter().map(|(_, value)| dropping(value));
        workspaces.waste.run(closed);
    }

    /// Gives back what was kept for what has ended, and looks for what is held too long.
    pub(super) fn sweep_pools(&self) {
        self.pools.iter().for_each(|pool| pool.sweep());
    }

    /// A call will not give back what it has claimed: its thread hangs with it.
    pub(super) fn forfeit(&self, call: &CancellationToken) {
        for pool in &self.pools {
            pool.forfeit(call);
            pool.sweep();
        }
    }

    /// Tells of every change of a job those who wait for it, and the streams that have subscribed to it.
    pub(super) fn tell_of_jobs(self: &Arc<Self>) {
        let Some(jobs) = &self.desk.jobs else {
            return;
        };
        let shared = Arc::downgrade(self);
        jobs.on_change(move |record| {
            if let Some(shared) = shared.upgrade() {
                shared.desk.watch.wake(&record.id);
                if record.status.is_final() {
                    shared.sweep_pools();
                }
                if let Some(jobs) = &shared.desk.jobs {
                    shared.subscriptions.publish_task(jobs, record);
                }
            }
        });
    }

    /// Whether a drain waits for the calls of this lane no longer.
    pub(crate) fn has_no_patience_with(&self, lane: usize) -> bool {
        let desk = &self.desk;
        let is_of_jobs = || lane == desk.jobs_lane && desk.is_over.load(Ordering::SeqCst);
        self.hurry.is_cancelled() || is_of_jobs()
    }

    /// The calls that wait for a change of a job.
    pub(crate) fn waiting_for_jobs(&self) -> Vec<Arc<Call>> {
        let parked = self.parked.lock();
        let living = parked.iter().filter_map(Weak::upgrade);
        living.filter(|call| !call.has_ended()).collect()
    }

    /// A snapshot of everything that runs or waits. Never waits for a handler.
    pub(crate) fn stats(&self) -> Stats {
        let (jobs, workspaces) = (&self.desk.jobs, &self.desk.workspaces);
        Stats {
            lanes: self.meters.iter().map(|meter| meter()).collect(),
            connections: self.connections.load(Ordering::Relaxed),
            streams: self.streams.load(Ordering::Relaxed),
            sessions: self.sessions.len(),
            asks: self.asks.open(),
            subscriptions: self.subscriptions.len(),
            jobs: jobs.as_ref().map(|jobs| jobs.counts()).unwrap_or_default(),
            waiting_for_jobs: self.waiting_for_jobs().len(),
            workspaces: workspaces.as_ref().map_or(0, |(all, _)| all.len()),
            waiting_for_workspaces: workspaces.as_ref().map_or(0, |(all, _)| all.waiting()),
            draining: self.draining.load(Ordering::Acquire),
        }
    }

    /// Tells of a change everybody who wants to know: the streams of the modern era, and the sessions of the handshake era. Never waits: each client has its
    /// own bounded outbox, and one that reads slowly loses its oldest events.
    pub(crate) fn publish(&self, change: Change<'_>) {
        if !self.announces(change) {
            return;
        }
        self.subscriptions.publish(change);
        for session in self.sessions.all() {
            let wants = match change {
                Change::Resource(uri) => session.watched.lock().contains_key(uri),
                Change::List(_) => true,
            };
            if wants {
                session.streams.announce(notification(change, None));
            }
        }
    }

    /// What the server can do now. Of what may come while it serves, it says only what has come; tasks are of the modern era alone.
    pub(crate) fn capabilities(&self, era: Era) -> Value {
        let mut all = json!({ "tools": { "listChanged": true }, "logging": {} });
        if self.catalogue.declares(OfferKind::Prompt) {
            all["prompts"] = json!({ "listChanged": true });
        }
        if self.catalogue.declares(OfferKind::Resource) {
            all["resources"] = json!({ "listChanged": true, "subscribe": true });
        }
        if self.catalogue.has_completers() {
            all["completions"] = json!({});
        }
        if era == Era::Modern && self.desk.jobs.is_some() {
            all["extensions"] = json!({ EXTENSION: {} });
        }
        all
    }

    /// Whether the server has said that it tells of such changes.
    pub(crate) fn announces(&self, change: Change<'_>) -> bool {
        self.catalogue.declares(match change {
            Change::List(kind) => kind,
            Change::Resource(_) => OfferKind::Resource,
        })
    }
}
