//! What happens at the desk without anybody asking for it: results expire, workspaces are closed, changes of jobs are told.
//!
//! Must not know how any of it works.

use std::sync::Arc;
use std::time::Duration;

use crate::base::aside::AsideThreads;
use crate::base::cancel::CancellationToken;
use crate::base::clock::Tick;
use crate::base::errands::dropping;
use crate::base::log;
use crate::base::owner::SESSION;
use crate::engine::shared::Shared;

/// How often the desk is looked over. Waits for a job end this late at most.
const DESK_INTERVAL: Duration = Duration::from_millis(250);

impl Shared {
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
        for closed in &closed {
            log::debug!("the workspace `{}` is closed", closed.workspace.name);
        }
        let closed = closed.into_iter().map(|closed| dropping(closed.value));
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
}
